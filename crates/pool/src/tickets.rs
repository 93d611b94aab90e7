//! Tickets: the secrets by which clients resume their TLS sessions.
//!
//! A ticket is a session that the client keeps for us, encrypted. The supervisor
//! draws the secrets for that and tells them to all workers, so that a session is
//! resumed whichever worker is reached. New tickets are made by the newest secret;
//! one more is kept, so that a ticket is good for at least [`TICKET_LIFETIME`],
//! and then no secret is left by which it could be read.
//!
//! Source: RFC 8446, "New Session Ticket Message"; RFC 5077, "Session Lifetime".

use std::fmt;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::octets::{Octets, Truncated, put_count, put_duration};

/// What the keys of tickets are derived from.
#[derive(Clone, Eq, PartialEq)]
pub struct TicketSecret(Zeroizing<[u8; 32]>);

/// The secrets of the group, the newest first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TicketSecrets(Vec<TicketSecret>);

/// The supervisor's book of them: which there are, and when the next is due.
#[derive(Debug)]
pub struct TicketBook {
    secrets: TicketSecrets,
    due: Instant,
}

impl TicketSecret {
    /// A secret of these bytes, which have to be random.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TicketSecrets {
    /// All of them, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = &TicketSecret> {
        self.0.iter()
    }

    /// Appends them to `out`: their number (4), and 32 bytes of each.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_count(out, self.0.len());
        for secret in &self.0 {
            out.extend_from_slice(secret.bytes());
        }
    }

    /// Takes them from the start of `octets`.
    pub(crate) fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        octets
            .list(|octets| Ok(TicketSecret::new(Zeroizing::new(octets.array()?))))
            .map(Self)
    }
}

impl TicketBook {
    /// A book without any; the first is due.
    pub fn new(now: Instant) -> Self {
        Self {
            secrets: TicketSecrets::default(),
            due: now,
        }
    }

    /// When the next secret is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Takes a new secret, and forgets the oldest.
    pub fn renew(&mut self, secret: TicketSecret, now: Instant) {
        self.secrets.0.insert(0, secret);
        self.secrets.0.truncate(KEPT);
        self.due = now + TICKET_LIFETIME;
    }

    /// There was no new secret to be had; it is due again later.
    pub fn postpone(&mut self, now: Instant) {
        self.due = now + RETRY;
    }

    /// The secrets.
    pub fn secrets(&self) -> &TicketSecrets {
        &self.secrets
    }

    /// Appends the book to `out`, as it is at `now`: version (1), how long until
    /// the next secret is due (8), the secrets.
    pub(crate) fn encode(&self, now: Instant, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_duration(out, self.due.saturating_duration_since(now));
        self.secrets.encode(out);
    }

    /// Takes a book that was written at `now` from the start of `octets`.
    pub(crate) fn decode(octets: &mut Octets<'_>, now: Instant) -> Result<Self, Truncated> {
        if octets.u8()? != VERSION {
            return Err(Truncated);
        }
        let left = octets.duration()?.min(TICKET_LIFETIME);
        Ok(Self {
            secrets: TicketSecrets::decode(octets)?,
            due: now + left,
        })
    }
}

impl fmt::Debug for TicketSecret {
    /// Shows no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketSecret")
    }
}

/// How long a ticket is good, at least; until then it may be twice as long.
///
/// It bounds what somebody learns who gets hold of the secrets.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(4 * 3600);

/// When a secret that could not be had is due again.
const RETRY: Duration = Duration::from_secs(60);

/// Secrets that there are at once.
const KEPT: usize = 2;

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ToWorker;

    fn secret(byte: u8) -> TicketSecret {
        TicketSecret::new(Zeroizing::new([byte; 32]))
    }

    fn of(book: &TicketBook) -> Vec<u8> {
        book.secrets().iter().map(|one| one.bytes()[0]).collect()
    }

    #[test]
    fn keeps_the_secret_before_the_newest_and_forgets_older_ones() {
        let start = Instant::now();
        let mut book = TicketBook::new(start);
        assert_eq!((of(&book), book.due()), (vec![], start));
        book.renew(secret(1), start);
        assert_eq!((of(&book), book.due()), (vec![1], start + TICKET_LIFETIME));
        let later = start + TICKET_LIFETIME;
        book.renew(secret(2), later);
        assert_eq!(
            (of(&book), book.due()),
            (vec![2, 1], later + TICKET_LIFETIME)
        );
        book.renew(secret(3), later);
        assert_eq!(of(&book), [3, 2]);
    }

    /// Version 1 as it was first written; it never changes.
    #[test]
    fn carries_the_recorded_sample_of_version_1() {
        let now = Instant::now();
        let mut book = TicketBook::new(now);
        book.renew(secret(b'a'), now);
        book.renew(secret(b'b'), now);
        let mut written = Vec::new();
        book.encode(
            now + TICKET_LIFETIME - Duration::from_micros(258),
            &mut written,
        );
        let sample = [
            b"\x01\0\0\0\0\0\0\x01\x02\0\0\0\x02".as_slice(),
            &[b'b'; 32],
            &[b'a'; 32],
        ]
        .concat();
        assert_eq!(written, sample);
        let read = TicketBook::decode(&mut Octets(&sample), now).unwrap();
        assert_eq!(of(&read), of(&book));
        assert_eq!(read.due(), now + Duration::from_micros(258));
        for end in 0..sample.len() {
            assert!(TicketBook::decode(&mut Octets(&sample[..end]), now).is_err());
        }
    }

    /// The message as it was first written; it never changes.
    #[test]
    fn writes_and_accepts_the_recorded_frame_to_a_worker() {
        let secrets = TicketSecrets(vec![secret(b'b'), secret(b'a')]);
        let frame = [
            b"\0\0\0\x47\x01\xaa\0\0\0\0\x02".as_slice(),
            &[b'b'; 32],
            &[b'a'; 32],
        ]
        .concat();
        let message = ToWorker::Tickets(secrets);
        let mut written = Vec::new();
        message.encode(&mut written);
        assert_eq!(written, frame);
        assert_eq!(ToWorker::decode(&frame), Ok(message));
    }

    #[test]
    fn shows_no_secret() {
        let mut book = TicketBook::new(Instant::now());
        book.renew(secret(b'a'), Instant::now());
        let shown = format!("{book:?}");
        assert!(!shown.contains("97, 97"), "{shown}");
    }
}
