//! Rows: what siblings say to each other of the console's tables.
//!
//! ```text
//! asking   ── Console{topic} ──>   saying
//!          <── Rows, Rows, … ──    one piece a turn, once the last is written
//!          <── End ────────────
//! ```

use std::io;
use std::path::Path;
use std::time::Duration;

use pgskein_pool::console::{RowReader, Topic, encode_heading, encode_row};
use pgskein_pool::peer::{MAX_PIECE, PeerAnswer, PeerRequest};
use pgskein_pool::slab::{ClientId, ErrandId};

use super::Worker;
use super::errand::{Kind, connect_peer};
use super::sweep::after;
use super::tables::Source;

/// A sibling that is asked for its rows.
#[derive(Debug)]
pub(super) struct Asking {
    console: ClientId,
    reader: RowReader,
}

/// Rows that are said to a sibling.
#[derive(Debug)]
pub(super) struct Saying {
    /// What is left of them; nothing once the end was said.
    source: Option<Source>,
    /// Encoded, and not sent yet.
    bytes: Vec<u8>,
}

impl Worker {
    /// Asks a sibling for its rows of a table.
    ///
    /// # Errors
    ///
    /// The error of connecting; [`io::ErrorKind::WouldBlock`] when its backlog
    /// is full.
    pub(super) fn ask_for_rows(
        &mut self,
        console: ClientId,
        path: &Path,
        topic: Topic,
    ) -> io::Result<ErrandId> {
        let request = PeerRequest::Console { topic };
        let (stream, outbox) = connect_peer(path, &self.config.settings, &request)?;
        let kind = Kind::AskRows(Asking {
            console,
            reader: RowReader::new(topic.table()),
        });
        // The console knows how long it waits.
        let deadline = after(self.now, Duration::ZERO);
        Ok(self.start_errand_until(stream, outbox, kind, deadline))
    }

    /// Takes what a sibling has said of a table.
    pub(super) fn on_rows(&mut self, id: ErrandId) {
        let Some(errand) = self.errands.get_mut(id) else {
            return;
        };
        let Kind::AskRows(asking) = &mut errand.kind else {
            return;
        };
        let console = asking.console;
        let inbox = std::mem::take(&mut errand.inbox);
        let (mut rest, mut rows) = (inbox.as_slice(), Vec::new());
        let end = loop {
            match PeerAnswer::split(rest) {
                Ok(None) => break None,
                Ok(Some((PeerAnswer::Rows(piece), behind))) => {
                    rest = behind;
                    if let Err(error) = asking.reader.read(piece, &mut rows) {
                        log::warn!("rows of a sibling: {error}");
                        break Some(false);
                    }
                }
                Ok(Some((PeerAnswer::End, _))) => break Some(asking.reader.end().is_ok()),
                Ok(Some(_)) | Err(_) => break Some(false),
            }
        };
        errand.inbox = rest.to_vec();
        self.on_sibling_rows(console, id, rows, end == Some(true));
        if end.is_some() {
            self.end_errand(id, true);
        }
    }

    /// The connection to a sibling has ended, whether or not it has said all.
    pub(super) fn rows_over(&mut self, id: ErrandId, asking: &Asking) {
        self.on_sibling_silent(asking.console, id);
    }

    /// Begins to say what this worker knows of a table.
    pub(super) fn say_rows(&mut self, id: ErrandId, topic: Topic) {
        let source = self.source_of(topic);
        let mut bytes = Vec::new();
        encode_heading(topic.table(), &mut bytes);
        let deadline = after(self.now, self.config.settings.console_timeout);
        if let Some(errand) = self.errands.get_mut(id) {
            errand.deadline = deadline;
            errand.kind = Kind::SayRows(Saying {
                source: Some(source),
                bytes,
            });
        }
        self.wake_errand(id);
    }

    /// Says the next piece, once the last one is written.
    pub(super) fn saying_turn(&mut self, id: ErrandId) {
        let Some(errand) = self.errands.get_mut(id) else {
            return;
        };
        if !errand.outbox.is_empty() {
            return;
        }
        let Kind::SayRows(saying) = &mut errand.kind else {
            return;
        };
        let mut bytes = std::mem::take(&mut saying.bytes);
        let Some(mut source) = saying.source.take() else {
            // The end was said, and is written.
            return self.end_errand(id, true);
        };
        let mut rows = Vec::new();
        let more = self.take_rows(&mut source, &mut rows);
        for row in &rows {
            encode_row(row, &mut bytes);
        }
        let Some(errand) = self.errands.get_mut(id) else {
            return;
        };
        let out = errand.outbox.buffer();
        for piece in bytes.chunks(MAX_PIECE) {
            PeerAnswer::Rows(piece).encode(out);
        }
        if !more {
            PeerAnswer::End.encode(out);
        }
        if let Kind::SayRows(saying) = &mut errand.kind {
            saying.source = more.then_some(source);
        }
        if errand.outbox.flush(&mut errand.stream).is_err() {
            return self.end_errand(id, false);
        }
        self.wake_errand(id);
    }
}
