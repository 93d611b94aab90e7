//! Unnamed: the statement without a name that a client has.
//!
//! A Parse changes it when the server carries it out: one that fails leaves
//! none, one that is skipped after an error leaves what was there before. A
//! simple query and a Close take it away, unless they are skipped. So each
//! change is kept as a version until it is answered.
//!
//! Source: PostgreSQL documentation, "Extended Query".

use super::statements::Statements;

/// The versions of a client's unnamed statement.
///
/// Always true: `bytes` is the texts of all versions, one after the other.
#[derive(Debug, Default)]
pub struct Unnamed {
    bytes: Vec<u8>,
    versions: Vec<Version>,
}

#[derive(Clone, Copy, Debug)]
struct Version {
    len: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// The statement has this text.
    Text,
    /// There is no statement, or none that was kept.
    Gone,
    /// The server has skipped it.
    Skipped,
}

impl Unnamed {
    /// The body of its Parse behind the name, if there is a statement and all
    /// its changes are answered.
    pub fn text(&self) -> Option<&[u8]> {
        let mut end = self.bytes.len();
        for version in self.versions.iter().rev() {
            let start = end.saturating_sub(version.len as usize);
            match version.state {
                State::Text => return self.bytes.get(start..end),
                State::Gone => return None,
                State::Skipped => end = start,
            }
        }
        None
    }

    /// Whether a text of `len` bytes has to wait until versions are answered.
    pub fn is_full(&self, len: usize) -> bool {
        self.bytes.len() + len > BYTES_MAX || self.versions.len() >= VERSIONS_MAX
    }

    /// Notes a Parse. `settled` says that all changes before are answered.
    ///
    /// A text that is very long, or for which there is no memory, is not kept.
    #[inline]
    pub fn parse(&mut self, tail: &[u8], settled: bool, memory: &mut Statements) {
        if settled {
            self.settle();
        }
        let room = self.bytes.capacity() - self.bytes.len();
        if tail.len() <= room || self.make_room(tail.len(), memory) {
            self.bytes.extend_from_slice(tail);
            self.push(tail.len(), State::Text);
        } else {
            self.push(0, State::Gone);
        }
    }

    /// [`Unnamed::parse`] where that needs no more memory; false, and nothing
    /// kept, where it does.
    #[inline]
    pub fn parse_in_place(&mut self, tail: &[u8], settled: bool) -> bool {
        if settled {
            self.settle();
        }
        let fits = tail.len() <= self.bytes.capacity() - self.bytes.len()
            && self.versions.len() < VERSIONS_MAX;
        if fits {
            self.bytes.extend_from_slice(tail);
            self.push(tail.len(), State::Text);
        }
        fits
    }

    /// Notes a message that takes the statement away. `settled` says that all
    /// changes before are answered.
    pub fn close(&mut self, settled: bool) {
        if settled {
            self.settle();
        }
        self.push(0, State::Gone);
    }

    /// Notes a query that takes the statement away, and that nothing can keep
    /// from being carried out.
    #[inline]
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.versions.clear();
    }

    /// The server has skipped a change: the last but `back - 1`.
    pub fn skipped(&mut self, back: usize) {
        self.set(back, State::Skipped);
    }

    /// The server has refused a change: the last but `back - 1`.
    pub fn refused(&mut self, back: usize) {
        self.set(back, State::Gone);
    }

    /// Gives back what it was charged for.
    pub fn release(&mut self, memory: &mut Statements) {
        memory.refund(self.bytes.capacity());
        *self = Self::default();
    }

    #[inline]
    fn push(&mut self, len: usize, state: State) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.versions.push(Version { len, state });
    }

    fn set(&mut self, back: usize, state: State) {
        let index = self.versions.len().checked_sub(back);
        if let Some(version) = index.and_then(|index| self.versions.get_mut(index)) {
            version.state = state;
        }
    }

    /// Keeps only what the statement is now.
    #[inline]
    fn settle(&mut self) {
        match self.versions[..] {
            [] => {}
            [version] if version.state == State::Text => {}
            _ => self.keep_last(),
        }
    }

    fn keep_last(&mut self) {
        let mut end = self.bytes.len();
        while let Some(version) = self.versions.pop() {
            let start = end.saturating_sub(version.len as usize);
            match version.state {
                State::Skipped => end = start,
                State::Gone => break,
                State::Text => {
                    self.bytes.copy_within(start..end, 0);
                    self.bytes.truncate(end - start);
                    self.versions.clear();
                    self.versions.push(version);
                    return;
                }
            }
        }
        self.clear();
    }

    #[cold]
    fn make_room(&mut self, len: usize, memory: &mut Statements) -> bool {
        let before = self.bytes.capacity();
        let wanted = self.bytes.len() + len;
        if len > Self::TEXT_MAX || wanted > BYTES_MAX || !memory.charge(wanted) {
            return false;
        }
        self.bytes.reserve_exact(len);
        memory.charge_anyway(self.bytes.capacity().saturating_sub(wanted));
        memory.refund(before);
        true
    }

    /// Longest text that is kept for a later transaction, in bytes.
    pub const TEXT_MAX: usize = 16 * 1024;
}

/// Most bytes of texts that wait for their answers.
const BYTES_MAX: usize = 64 * 1024;
/// Most changes that wait for their answers.
const VERSIONS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&[u8]]) -> (Unnamed, Statements) {
        let (mut unnamed, mut memory) = (Unnamed::default(), Statements::new([1; 16]));
        for text in texts {
            unnamed.parse(text, false, &mut memory);
        }
        (unnamed, memory)
    }

    #[test]
    fn keeps_the_last_text_that_was_not_skipped() {
        let (mut unnamed, mut memory) = parsed(&[b"one", b"two", b"three"]);
        assert_eq!(unnamed.text(), Some(&b"three"[..]));
        unnamed.skipped(1);
        unnamed.skipped(2);
        assert_eq!(unnamed.text(), Some(&b"one"[..]));
        unnamed.parse(b"four", true, &mut memory);
        unnamed.skipped(1);
        assert_eq!(unnamed.text(), Some(&b"one"[..]));
        unnamed.refused(2);
        assert_eq!(unnamed.text(), None);
    }

    #[test]
    fn forgets_what_was_taken_away() {
        let (mut unnamed, mut memory) = parsed(&[b"one"]);
        unnamed.close(false);
        assert_eq!(unnamed.text(), None);
        unnamed.skipped(1);
        assert_eq!(unnamed.text(), Some(&b"one"[..]));
        unnamed.clear();
        assert_eq!(unnamed.text(), None);
        unnamed.parse(b"two", true, &mut memory);
        assert_eq!(unnamed.text(), Some(&b"two"[..]));
        assert_eq!(unnamed.versions.len(), 1);
    }

    #[test]
    fn does_not_keep_what_is_too_long() {
        let (mut unnamed, mut memory) = parsed(&[b"one"]);
        unnamed.parse(&[b'x'; Unnamed::TEXT_MAX + 1], true, &mut memory);
        assert_eq!(unnamed.text(), None);
        unnamed.parse(b"two", true, &mut memory);
        assert_eq!(unnamed.text(), Some(&b"two"[..]));
    }

    #[test]
    fn keeps_no_more_than_two_texts_when_each_is_answered() {
        let (mut unnamed, mut memory) = parsed(&[]);
        for length in 1..200 {
            unnamed.parse(&vec![b'x'; length], true, &mut memory);
            assert!(unnamed.versions.len() <= 2);
            assert_eq!(unnamed.text().map(<[u8]>::len), Some(length));
        }
        assert!(unnamed.bytes.capacity() < 500);
        unnamed.release(&mut memory);
        assert_eq!(memory.bytes(), 0);
    }
}
