//! Tokens: what an event is about, in one word.

use mio::Token;
use pgskein_pool::slab::{ClientId, ErrandId, Id, ServerId, WayId};

/// What an event is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Subject {
    /// A client.
    Client(ClientId),
    /// A server.
    Server(ServerId),
    /// A connection that carries one request.
    Errand(ErrandId),
    /// A stream from or to a worker that hands something over.
    Way(WayId),
    /// A listener of clients, by its place.
    Listener(usize),
    /// The control link.
    Control,
    /// The worker's own peer socket.
    Peers,
    /// A chore was done by another thread.
    Chores,
    /// It is time for the sweep.
    Ticker,
}

impl Subject {
    /// The token of this subject.
    pub(super) fn token(self) -> Token {
        Token(match self {
            Self::Client(id) => pack(CLIENT, id),
            Self::Server(id) => pack(SERVER, id),
            Self::Errand(id) => pack(ERRAND, id),
            Self::Way(id) => pack(WAY, id),
            Self::Listener(place) => FIXED | (LISTENERS + place),
            Self::Control => FIXED,
            Self::Peers => FIXED | 1,
            Self::Chores => FIXED | 2,
            Self::Ticker => FIXED | 3,
        })
    }

    /// The subject of a token.
    #[inline]
    pub(super) fn of(token: Token) -> Self {
        match token.0 & KIND_MASK {
            CLIENT => Self::Client(unpack(token.0)),
            SERVER => Self::Server(unpack(token.0)),
            ERRAND => Self::Errand(unpack(token.0)),
            WAY => Self::Way(unpack(token.0)),
            _ => match token.0 & !KIND_MASK {
                0 => Self::Control,
                1 => Self::Peers,
                2 => Self::Chores,
                3 => Self::Ticker,
                place => Self::Listener(place.saturating_sub(LISTENERS)),
            },
        }
    }
}

fn pack<K: Id>(kind: usize, id: K) -> usize {
    kind | (id.generation() as usize) << 32 | id.index() as usize
}

#[inline]
fn unpack<K: Id>(token: usize) -> K {
    let generation = ((token & !KIND_MASK) >> 32) & u32::MAX as usize;
    let index = token & u32::MAX as usize;
    K::new(
        u32::try_from(index).unwrap_or_default(),
        u32::try_from(generation).unwrap_or_default(),
    )
}

const CLIENT: usize = 0;
const SERVER: usize = 1 << 60;
const ERRAND: usize = 2 << 60;
const FIXED: usize = 3 << 60;
const WAY: usize = 4 << 60;
const KIND_MASK: usize = 7 << 60;
const LISTENERS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_subject_of_its_token() {
        for subject in [
            Subject::Client(ClientId::new(7, 3)),
            Subject::Server(ServerId::new(u32::MAX, 0x0fff_ffff)),
            Subject::Errand(ErrandId::new(0, 0)),
            Subject::Way(WayId::new(2, 0x0fff_ffff)),
            Subject::Listener(0),
            Subject::Listener(5),
            Subject::Control,
            Subject::Peers,
            Subject::Chores,
            Subject::Ticker,
        ] {
            assert_eq!(Subject::of(subject.token()), subject);
        }
    }
}
