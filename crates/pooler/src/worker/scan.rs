//! Scan: where frames begin and end, and what happens to each.
//!
//! A scan walks over frames as long as they all go to the other side, and
//! stops where something else is to be done.

use std::fmt;

use pgskein_pool::flow::{ClientVerdict, Flow, Ready, ServerVerdict};
use pgskein_pool::parameters::Parameters;
use pgskein_protocol::tag::{backend, frontend};
use pgskein_protocol::{ErrorFields, FrameError, Header, TransactionStatus};

use super::client::{Rest, Session, SessionState};
use super::server::Server;

/// Why a scan of frames stopped.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stop {
    /// The rest is less than a header, or less than the whole that is needed.
    Tail,
    /// The next bytes are dropped; the session or server says how many.
    Drop,
    /// The next message needs a server.
    NeedsServer,
    /// A Sync ends what the client is made to skip.
    SkippedToSync,
    /// The transaction that the next message belongs to has lost its server.
    Lost(Header),
    /// The next message may name a prepared statement.
    Plan(Header),
    /// The next message waits until the server has answered what it has.
    Hold,
    /// The client says good-bye.
    Terminate,
    /// The next frame ends the connection.
    Bad(Fault),
    /// A ReadyForQuery; one of ours is still to be dropped.
    Ready(Ready),
    /// A whole ParameterStatus, not consumed yet.
    Parameter(Header),
    /// A whole error that answers a query of ours, not consumed yet.
    OwnError(Header),
    /// A whole error that may name a prepared statement, not consumed or noted
    /// yet.
    Error(Header),
    /// An answer of ours comes before the next frame.
    Answer,
    /// The next frame answers what stands for a DEALLOCATE; not consumed yet.
    Deallocated(Header),
    /// A GoAway, which is to be dropped.
    GoAway,
    /// A whole error with which the server ends the connection, not consumed or
    /// noted yet.
    Farewell(Header),
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// Its header.
    Frame(FrameError),
    /// Its length field, in bytes, is over the limit.
    TooLarge(u32),
    /// There is no message with this tag.
    Unknown(u8),
    /// It is a ReadyForQuery without a status.
    Ready,
}

impl Rest {
    /// Undecided `at` over the bytes that are there, up to `end`.
    #[inline]
    pub(super) fn take(&mut self, end: usize, at: &mut usize) {
        let (Self::Forward(left) | Self::Drop(left)) = self else {
            return;
        };
        let step = (*left).min(end - *at);
        *at += step;
        *left -= step;
        if *left == 0 {
            *self = Self::None;
        }
    }
}

/// Walks over the frames of a linked client that go to its server.
#[inline(always)]
pub(super) fn scan_linked(
    session: &mut Session,
    server: &mut Server,
    parameters: &Parameters,
    bytes: &[u8],
    at: &mut usize,
    max: u32,
) -> Stop {
    match session.rest {
        Rest::None => {}
        Rest::Forward(_) => {
            let from = *at;
            session.rest.take(bytes.len(), at);
            if server.watch.reads() {
                let piece = bytes.get(from..*at).unwrap_or_default();
                server.look_at_more(piece, session.rest == Rest::None, parameters);
            }
            if session.rest != Rest::None {
                return Stop::Tail;
            }
        }
        Rest::Drop(_) => return Stop::drop_at(*at, bytes),
    }
    loop {
        let here = bytes.get(*at..).unwrap_or_default();
        let header = match Header::peek(here) {
            Ok(Some(header)) if header.length <= max => header,
            Ok(Some(header)) => return Stop::Bad(Fault::TooLarge(header.length)),
            Ok(None) => return Stop::Tail,
            Err(error) => return Stop::Bad(Fault::Frame(error)),
        };
        if server.flow.holds(header.tag) {
            return Stop::Hold;
        }
        if header.tag == frontend::QUERY && server.flow.renames() && !server.flow.skipping() {
            // Of a DEALLOCATE or DISCARD the text is needed.
            let first = here.get(HEADER);
            if server.flow.query_may_be_skipped() || may_deallocate(first) {
                return Stop::Plan(header);
            }
            if let Some(prepared) = &mut session.prepared {
                prepared.unnamed.clear();
            }
        }
        match server.flow.on_client(header.tag) {
            ClientVerdict::Plan if !is_plain(session, &mut server.flow, header, here) => {
                return Stop::Plan(header);
            }
            ClientVerdict::Forward | ClientVerdict::Plan => {
                server.look_at(header, here, parameters);
                if here.len() >= header.total() {
                    *at += header.total();
                    continue;
                }
                session.rest = Rest::Forward(header.total() - here.len());
                *at = bytes.len();
                return Stop::Tail;
            }
            ClientVerdict::Drop => {
                session.rest = Rest::Drop(header.total());
                return Stop::Drop;
            }
            ClientVerdict::Terminate => return Stop::Terminate,
            ClientVerdict::Unknown => return Stop::Bad(Fault::Unknown(header.tag)),
        }
    }
}

/// Whether a message that may name a prepared statement goes as it is: the
/// usual ones of a client that names none. It is noted then.
#[inline]
fn is_plain(session: &mut Session, flow: &mut Flow, header: Header, here: &[u8]) -> bool {
    let body = here.get(HEADER..).unwrap_or_default();
    if header.tag != frontend::PARSE {
        return flow.on_plain(header.tag, body);
    }
    // It may be a DEALLOCATE.
    let kept = body.first() == Some(&0)
        && !matches!(body.get(1), Some(b'd' | b'D'))
        && !flow.skipping()
        && body
            .get(1..header.body_len())
            .zip(session.prepared.as_mut())
            .is_some_and(|(tail, prepared)| {
                let settled = flow.unnamed_settled();
                prepared.unnamed.parse_in_place(tail, settled)
            });
    if kept {
        flow.on_unnamed_parse();
    }
    kept
}

/// Whether a text that begins like this may be a DEALLOCATE or a DISCARD.
#[inline]
fn may_deallocate(first: Option<&u8>) -> bool {
    matches!(
        first,
        None | Some(b'd' | b'D' | b' ' | b'\t' | b'\n' | b'\r' | b'-' | b'/')
    )
}

/// Walks over the frames of a client without a server.
#[inline]
pub(super) fn scan_unlinked(session: &mut Session, bytes: &[u8], at: &mut usize, max: u32) -> Stop {
    if session.state == SessionState::Waiting {
        return Stop::Tail;
    }
    match session.rest {
        Rest::None => {}
        Rest::Forward(left) | Rest::Drop(left) => {
            session.rest = Rest::Drop(left);
            return if *at < bytes.len() {
                Stop::Drop
            } else {
                Stop::Tail
            };
        }
    }
    let header = match Header::peek(bytes.get(*at..).unwrap_or_default()) {
        Ok(Some(header)) if header.length <= max => header,
        Ok(Some(header)) => return Stop::Bad(Fault::TooLarge(header.length)),
        Ok(None) => return Stop::Tail,
        Err(error) => return Stop::Bad(Fault::Frame(error)),
    };
    let skipping = session.state == SessionState::Skipping;
    match Flow::unlinked(header.tag) {
        ClientVerdict::Forward if session.state == SessionState::Lost => Stop::Lost(header),
        ClientVerdict::Forward if !skipping => Stop::NeedsServer,
        ClientVerdict::Forward | ClientVerdict::Plan | ClientVerdict::Drop => {
            session.rest = Rest::Drop(header.total());
            if skipping && header.tag == frontend::SYNC {
                Stop::SkippedToSync
            } else {
                Stop::Drop
            }
        }
        ClientVerdict::Terminate => Stop::Terminate,
        ClientVerdict::Unknown => Stop::Bad(Fault::Unknown(header.tag)),
    }
}

/// Walks over the frames of a server that go to its client.
#[inline]
pub(super) fn scan_server(server: &mut Server, client: bool, bytes: &[u8], at: &mut usize) -> Stop {
    match server.rest {
        Rest::None => {}
        Rest::Forward(_) => {
            server.rest.take(bytes.len(), at);
            if server.rest != Rest::None {
                return Stop::Tail;
            }
        }
        Rest::Drop(_) => return Stop::drop_at(*at, bytes),
    }
    if client && is_row(bytes.get(*at)) {
        *at += rows(&server.flow, bytes.get(*at..).unwrap_or_default());
    }
    loop {
        let here = bytes.get(*at..).unwrap_or_default();
        let header = match Header::peek(here) {
            Ok(Some(header)) => header,
            Ok(None) => return Stop::Tail,
            Err(error) => return Stop::Bad(Fault::Frame(error)),
        };
        let whole = here.len() >= header.total();
        if header.tag == backend::ERROR && header.total() <= WHOLE_MAX && server.farewell.is_none()
        {
            if !whole {
                return Stop::Tail;
            }
            if says_why(here.get(HEADER..header.total())) {
                return Stop::Farewell(header);
            }
        }
        if server.flow.renames()
            && let Some(stop) = scan_names(server, header, here)
        {
            return stop;
        }
        match server.flow.on_server(header.tag) {
            ServerVerdict::Forward if client => {
                if !whole {
                    server.rest = Rest::Forward(header.total() - here.len());
                    *at = bytes.len();
                    return Stop::Tail;
                }
                *at += header.total();
                if is_row(Some(&header.tag)) {
                    *at += rows(&server.flow, bytes.get(*at..).unwrap_or_default());
                }
            }
            ServerVerdict::Forward | ServerVerdict::Drop => {
                server.rest = Rest::Drop(header.total());
                return Stop::drop_at(*at, bytes);
            }
            ServerVerdict::Whole if header.total() > WHOLE_MAX => {
                return Stop::Bad(Fault::TooLarge(header.length));
            }
            ServerVerdict::Whole if !whole => return Stop::Tail,
            ServerVerdict::Whole if header.tag == backend::READY_FOR_QUERY => {
                let body = here.get(HEADER..header.total()).unwrap_or_default();
                let Some(status) = TransactionStatus::parse(body) else {
                    return Stop::Bad(Fault::Ready);
                };
                let ready = server.flow.on_ready(status);
                if !ready.own && !ready.retry {
                    *at += header.total();
                }
                return Stop::Ready(ready);
            }
            ServerVerdict::Whole if header.tag == backend::PARAMETER_STATUS => {
                return Stop::Parameter(header);
            }
            ServerVerdict::Whole => return Stop::OwnError(header),
            ServerVerdict::Answer => return Stop::Answer,
            ServerVerdict::Deallocated => return Stop::Deallocated(header),
            ServerVerdict::GoAway => {
                server.rest = Rest::Drop(header.total());
                return Stop::GoAway;
            }
        }
    }
}

/// Whether rows may follow a frame with this tag.
#[inline(always)]
fn is_row(tag: Option<&u8>) -> bool {
    matches!(
        tag,
        Some(&(backend::ROW_DESCRIPTION | backend::DATA_ROW | backend::COPY_DATA))
    )
}

/// The length, in bytes, of the whole frames at the front that take nothing
/// off what is due and tell nothing: the rows of a result, and what is around
/// those of a simple query.
#[inline(always)]
fn rows(flow: &Flow, bytes: &[u8]) -> usize {
    let Some(rows) = flow.rows() else {
        return 0;
    };
    let mut at = 0;
    while let Ok(Some(header)) = Header::peek(bytes.get(at..).unwrap_or_default()) {
        // These tell of prepared statements.
        let telling = header.tag == backend::COMMAND_COMPLETE
            && matches!(header.length, DISCARD_ALL_LENGTH | DEALLOCATE_ALL_LENGTH);
        let end = at + header.total();
        if !rows.hold(header.tag) || telling || end > bytes.len() {
            break;
        }
        at = end;
    }
    at
}

/// Looks for what is told of prepared statements: an error may name one, and a
/// command may have taken all away.
#[inline]
fn scan_names(server: &mut Server, header: Header, here: &[u8]) -> Option<Stop> {
    let body = || here.get(HEADER..header.total());
    match (header.tag, header.length) {
        (backend::ERROR, _) if !server.flow.answers_own() && header.total() <= WHOLE_MAX => {
            if server.flow.owes_answer() {
                return Some(Stop::Answer);
            }
            Some(body().map_or(Stop::Tail, |_| Stop::Error(header)))
        }
        (backend::COMMAND_COMPLETE, DISCARD_ALL_LENGTH | DEALLOCATE_ALL_LENGTH) => {
            let Some(body) = body() else {
                return Some(Stop::Tail);
            };
            if matches!(body, b"DISCARD ALL\0" | b"DEALLOCATE ALL\0") {
                server.flow.on_deallocated();
            }
            None
        }
        _ => None,
    }
}

/// Whether an error is the last word of a server.
fn says_why(body: Option<&[u8]>) -> bool {
    let severity = body
        .map(ErrorFields::parse)
        .and_then(|fields| fields.severity());
    matches!(severity, Some("FATAL" | "PANIC"))
}

impl Stop {
    /// Bytes are dropped, if there are any.
    fn drop_at(at: usize, bytes: &[u8]) -> Self {
        if at < bytes.len() {
            Self::Drop
        } else {
            Self::Tail
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::TooLarge(length) => write!(f, "message of {length} bytes is too large"),
            Self::Unknown(tag) => write!(f, "unknown pkt: {tag:#04x}"),
            Self::Ready => f.write_str("malformed ReadyForQuery"),
        }
    }
}

/// Length fields of the tags that end all prepared statements of a session.
const DISCARD_ALL_LENGTH: u32 = 4 + 12;
const DEALLOCATE_ALL_LENGTH: u32 = 4 + 15;

/// Length of a frame's header, in bytes.
pub(super) const HEADER: usize = pgskein_protocol::HEADER_LEN;

/// Largest message from a server that is kept until it is whole.
const WHOLE_MAX: usize = 1024 * 1024;
