//! Scan: where frames begin and end, and what happens to each.
//!
//! A scan walks over frames as long as they all go to the other side, and
//! stops where something else is to be done.

use pgskein_pool::flow::{ClientVerdict, Flow, Ready, ServerVerdict};
use pgskein_protocol::tag::{backend, frontend};
use pgskein_protocol::{ErrorFields, Header, TransactionStatus};

use super::client::{Rest, Session, SessionState};
use super::server::Server;

/// Why a scan of frames stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// The rest is less than a header, or less than the whole that is needed.
    Tail,
    /// The next bytes are dropped; the session or server says how many.
    Drop,
    /// The next message needs a server.
    NeedsServer,
    /// A Sync ends what the client is made to skip.
    SkippedToSync,
    /// The client says good-bye.
    Terminate,
    /// The next frame ends the connection.
    Bad(String),
    /// A ReadyForQuery; one of ours is still to be dropped.
    Ready(Ready),
    /// A whole ParameterStatus, not consumed yet.
    Parameter(Header),
    /// A whole error that answers a query of ours, not consumed yet.
    OwnError(Header),
}

impl Rest {
    /// Moves `at` over the bytes that are there, up to `end`.
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
#[inline]
pub(super) fn scan_linked(
    session: &mut Session,
    flow: &mut Flow,
    bytes: &[u8],
    at: &mut usize,
    max: u32,
) -> Stop {
    loop {
        match session.rest {
            Rest::None => {}
            Rest::Forward(_) => {
                session.rest.take(bytes.len(), at);
                if session.rest != Rest::None {
                    return Stop::Tail;
                }
            }
            Rest::Drop(_) => return Stop::Drop,
        }
        let header = match Header::peek(bytes.get(*at..).unwrap_or_default()) {
            Ok(Some(header)) if header.length <= max => header,
            Ok(Some(header)) => return too_large(header),
            Ok(None) => return Stop::Tail,
            Err(error) => return Stop::Bad(error.to_string()),
        };
        match flow.on_client(header.tag) {
            ClientVerdict::Forward => session.rest = Rest::Forward(header.total()),
            ClientVerdict::Drop => session.rest = Rest::Drop(header.total()),
            ClientVerdict::Terminate => return Stop::Terminate,
            ClientVerdict::Unknown => return unknown(header),
        }
    }
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
        Ok(Some(header)) => return too_large(header),
        Ok(None) => return Stop::Tail,
        Err(error) => return Stop::Bad(error.to_string()),
    };
    let skipping = session.state == SessionState::Skipping;
    match Flow::unlinked(header.tag) {
        ClientVerdict::Forward if !skipping => Stop::NeedsServer,
        ClientVerdict::Forward | ClientVerdict::Drop => {
            session.rest = Rest::Drop(header.total());
            if skipping && header.tag == frontend::SYNC {
                Stop::SkippedToSync
            } else {
                Stop::Drop
            }
        }
        ClientVerdict::Terminate => Stop::Terminate,
        ClientVerdict::Unknown => unknown(header),
    }
}

/// Walks over the frames of a server that go to its client.
#[inline]
pub(super) fn scan_server(server: &mut Server, client: bool, bytes: &[u8], at: &mut usize) -> Stop {
    loop {
        match server.rest {
            Rest::None => {}
            Rest::Forward(_) => {
                server.rest.take(bytes.len(), at);
                if server.rest != Rest::None {
                    return Stop::Tail;
                }
            }
            Rest::Drop(_) => {
                return if *at < bytes.len() {
                    Stop::Drop
                } else {
                    Stop::Tail
                };
            }
        }
        let here = bytes.get(*at..).unwrap_or_default();
        let header = match Header::peek(here) {
            Ok(Some(header)) => header,
            Ok(None) => return Stop::Tail,
            Err(error) => return Stop::Bad(error.to_string()),
        };
        let whole = here.len() >= header.total();
        match server.flow.on_server(header.tag) {
            ServerVerdict::Forward if client => {
                if header.tag == backend::ERROR && whole {
                    let fields =
                        ErrorFields::parse(here.get(HEADER..header.total()).unwrap_or_default());
                    server.said_why |= fields
                        .severity()
                        .is_some_and(|severity| severity == "FATAL");
                }
                server.rest = Rest::Forward(header.total());
            }
            ServerVerdict::Forward | ServerVerdict::Drop => {
                server.rest = Rest::Drop(header.total());
            }
            ServerVerdict::Whole if header.total() > WHOLE_MAX => {
                return Stop::Bad(format!("message of {} bytes is too large", header.length));
            }
            ServerVerdict::Whole if !whole => return Stop::Tail,
            ServerVerdict::Whole => {
                let body = here.get(HEADER..header.total()).unwrap_or_default();
                return match header.tag {
                    backend::PARAMETER_STATUS => Stop::Parameter(header),
                    backend::READY_FOR_QUERY => {
                        let Some(status) = TransactionStatus::parse(body) else {
                            return Stop::Bad("malformed ReadyForQuery".to_owned());
                        };
                        let ready = server.flow.on_ready(status);
                        if !ready.own {
                            *at += header.total();
                        }
                        Stop::Ready(ready)
                    }
                    _ => Stop::OwnError(header),
                };
            }
        }
    }
}

fn too_large(header: Header) -> Stop {
    Stop::Bad(format!(
        "message of {} bytes is larger than max_packet_size",
        header.length
    ))
}

fn unknown(header: Header) -> Stop {
    Stop::Bad(format!("unknown pkt: {:#04x}", header.tag))
}

/// Length of a frame's header, in bytes.
pub(super) const HEADER: usize = pgskein_protocol::HEADER_LEN;

/// Largest message from a server that is kept until it is whole.
const WHOLE_MAX: usize = 16 * 1024 * 1024;
