//! Watch: what clients change on their servers, seen in the texts they send.
//!
//! In session mode nobody looks, nor where `session_state = pass`, nor where
//! every release runs `server_reset_query` anyway. What a named statement
//! changes is kept with its text, and noted when it is bound.
//!
//! Source: PostgreSQL documentation, "Message Formats".

use memchr::memchr;
use pgskein_config::{PoolMode, PoolSettings, SessionState, Settings};
use pgskein_pool::parameters::Parameters;
use pgskein_pool::text::{self, Classes, Scanner};
use pgskein_protocol::Header;
use pgskein_protocol::tag::frontend;

use super::scan::HEADER;
use super::server::Server;

/// Looks at the texts for one server.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Whether it does so for the client that is linked.
    on: bool,
    /// A message of which more is to come.
    message: Option<Box<Message>>,
}

/// A message that is read in pieces.
#[derive(Debug)]
struct Message {
    /// Whether the name before the text has not ended yet.
    in_name: bool,
    text: Scanner,
}

impl Watch {
    /// Begins to look at the texts of another client, if that is of use.
    #[inline]
    pub(super) fn begin(&mut self, pool: Option<&PoolSettings>, settings: &Settings) {
        self.on = pool.is_some_and(|pool| {
            pool.pool_mode != PoolMode::Session && pool.session_state != SessionState::Pass
        }) && !resets_always(settings);
        self.message = None;
    }

    /// Whether it waits for more of a message.
    #[inline]
    pub(super) fn reads(&self) -> bool {
        self.message.is_some()
    }
}

impl Message {
    /// Reads the next piece of its body; says whether the text has ended.
    fn read(&mut self, mut piece: &[u8], parameters: &Parameters) -> bool {
        if self.in_name {
            let Some(end) = memchr(0, piece) else {
                return false;
            };
            self.in_name = false;
            piece = piece.get(end + 1..).unwrap_or_default();
        }
        // In a Parse other things follow the text.
        let end = memchr(0, piece);
        let text = piece.get(..end.unwrap_or(piece.len())).unwrap_or_default();
        self.text.feed(text, &position(parameters));
        end.is_some()
    }
}

impl Server {
    /// Looks at a message that is sent, of which `frame` is there.
    #[inline(always)]
    pub(super) fn look_at(&mut self, header: Header, frame: &[u8], parameters: &Parameters) {
        if !self.watch.on {
            return;
        }
        match header.tag {
            frontend::QUERY => self.look_at_query(header, frame, parameters),
            frontend::PARSE => self.look_at_parse(header, frame, parameters),
            _ => {}
        }
    }

    /// Looks at more of a message that was begun; `ends` with the last of it.
    #[cold]
    pub(super) fn look_at_more(&mut self, piece: &[u8], ends: bool, parameters: &Parameters) {
        if let Some(message) = &mut self.watch.message
            && (message.read(piece, parameters) || ends)
            && let Some(message) = self.watch.message.take()
        {
            self.dirty |= message.text.finish();
        }
    }

    /// What has to be undone before somebody else gets the server.
    ///
    /// A parameter that it reports is not among that: it follows each client.
    pub(super) fn leftovers(&self, parameters: &Parameters) -> Classes {
        self.dirty
            .settle(|position| parameters.knows(self.parameters, position as usize))
    }

    #[inline(always)]
    fn look_at_query(&mut self, header: Header, frame: &[u8], parameters: &Parameters) {
        match frame.get(HEADER..header.total()) {
            Some(text) if text::is_harmless(text) => {}
            Some(text) => self.look_closer(text, parameters),
            None => self.look_at_start(header, frame, parameters),
        }
    }

    /// What a Parse changes that gives a statement another name is noted when
    /// that is bound.
    #[inline]
    fn look_at_parse(&mut self, header: Header, frame: &[u8], parameters: &Parameters) {
        match frame.get(HEADER..header.total()) {
            // Without types of parameters; should these be some of a text, it
            // is harmless even so.
            Some([0, text @ .., 0, 0]) if text::is_harmless(text) => {}
            Some([first, ..]) if *first != 0 && self.flow.renames() => {}
            Some(_) | None => self.look_at_start(header, frame, parameters),
        }
    }

    #[cold]
    fn look_closer(&mut self, text: &[u8], parameters: &Parameters) {
        self.dirty |= text::classes(text, &position(parameters));
    }

    /// Looks at a message that is not all there, or has more than a text.
    #[cold]
    fn look_at_start(&mut self, header: Header, frame: &[u8], parameters: &Parameters) {
        self.watch.message = Some(Box::new(Message {
            in_name: header.tag == frontend::PARSE,
            text: Scanner::new(),
        }));
        let end = header.total().min(frame.len());
        let body = frame.get(HEADER..end).unwrap_or_default();
        self.look_at_more(body, end == header.total(), parameters);
    }
}

/// Whether every release runs `server_reset_query`.
#[inline]
pub(super) fn resets_always(settings: &Settings) -> bool {
    settings.server_reset_query_always && !settings.server_reset_query.is_empty()
}

/// The position of a followed parameter, by its name.
fn position(parameters: &Parameters) -> impl Fn(&[u8]) -> Option<u32> {
    |name| u32::try_from(parameters.position(name)?).ok()
}
