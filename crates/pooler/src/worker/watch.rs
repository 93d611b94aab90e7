//! Watch: what clients change on their servers, seen in the texts they send.
//!
//! In session mode nobody looks, nor where `session_state = pass`, nor where
//! every release runs `server_reset_query` anyway. Parse messages that are
//! planned are looked at there.
//!
//! Source: PostgreSQL documentation, "Message Formats".

use pgskein_config::{PoolMode, PoolSettings, SessionState, Settings};
use pgskein_pool::parameters::Parameters;
use pgskein_pool::text::{self, Classes, Scanner};
use pgskein_protocol::Header;
use pgskein_protocol::frontend::Statement;
use pgskein_protocol::tag::frontend;

use super::scan::HEADER;
use super::server::Server;

/// Looks at the texts for one server.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Whether it does so for the client that is linked.
    on: bool,
    /// Reads a text of which more is to come.
    text: Option<Box<Scanner>>,
}

impl Watch {
    /// Begins to look at the texts of another client, if that is of use.
    #[inline]
    pub(super) fn begin(&mut self, pool: Option<&PoolSettings>, settings: &Settings) {
        self.on = pool.is_some_and(|pool| {
            pool.pool_mode != PoolMode::Session && pool.session_state != SessionState::Pass
        }) && !resets_always(settings);
        self.text = None;
    }

    /// Whether it reads a text of which more is to come.
    #[inline]
    pub(super) fn reads(&self) -> bool {
        self.text.is_some()
    }
}

impl Server {
    /// Looks at a message that is sent, of which `frame` is there, unless its
    /// plan does.
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

    #[inline(always)]
    fn look_at_query(&mut self, header: Header, frame: &[u8], parameters: &Parameters) {
        match frame.get(HEADER..header.total()) {
            Some(text) if text::is_harmless(text) => {}
            Some(text) => self.look_at_text(text, parameters),
            None => self.begin_text(frame.get(HEADER..), parameters),
        }
    }

    /// What a Parse of a statement with a name changes is known when it is bound.
    #[inline]
    fn look_at_parse(&mut self, header: Header, frame: &[u8], parameters: &Parameters) {
        if let Some([0, tail @ ..]) = frame.get(HEADER..header.total()) {
            let text = Statement::text(tail);
            self.dirty |= text::classes(text, &position(parameters));
        } else if !self.flow.renames() || frame.get(HEADER) == Some(&0) {
            let body = frame.get(HEADER..).unwrap_or_default();
            let whole = header.body_len() <= body.len();
            let body = body.get(..header.body_len()).unwrap_or(body);
            self.look_at_unplanned_parse(body, whole, parameters);
        }
    }

    /// Looks at more of a text that was begun; `ends` with the last of it.
    #[cold]
    pub(super) fn look_at_more(&mut self, piece: &[u8], ends: bool, parameters: &Parameters) {
        let Some(scanner) = &mut self.watch.text else {
            return;
        };
        // In a Parse other things follow the text.
        let end = piece.iter().position(|byte| *byte == 0);
        let text = piece.get(..end.unwrap_or(piece.len())).unwrap_or_default();
        scanner.feed(text, &position(parameters));
        if (ends || end.is_some())
            && let Some(scanner) = self.watch.text.take()
        {
            self.dirty |= scanner.finish();
        }
    }

    /// What has to be undone before somebody else gets the server.
    ///
    /// A parameter that it reports is not among that: it follows each client.
    pub(super) fn leftovers(&self, parameters: &Parameters) -> Classes {
        self.dirty
            .settle(|position| parameters.knows(self.parameters, position as usize))
    }

    #[cold]
    fn look_at_text(&mut self, text: &[u8], parameters: &Parameters) {
        self.dirty |= text::classes(text, &position(parameters));
    }

    #[cold]
    fn look_at_unplanned_parse(&mut self, body: &[u8], whole: bool, parameters: &Parameters) {
        let name = body.iter().position(|byte| *byte == 0);
        match name.and_then(|end| body.get(end + 1..)) {
            Some(rest) if whole => {
                let text = rest.split(|byte| *byte == 0).next().unwrap_or_default();
                self.look_at_text(text, parameters);
            }
            Some(rest) => self.begin_text(Some(rest), parameters),
            // A name as long as that is nobody's.
            None => self.dirty |= Classes::ALL,
        }
    }

    #[cold]
    fn begin_text(&mut self, piece: Option<&[u8]>, parameters: &Parameters) {
        self.watch.text = Some(Box::default());
        self.look_at_more(piece.unwrap_or_default(), false, parameters);
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
