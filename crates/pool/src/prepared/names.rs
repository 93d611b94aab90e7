//! Names: what one client has prepared.

use std::collections::HashMap;

use super::statements::{ENTRY_COST, OutOfMemory, StatementId, Statements};

/// The prepared statements of a client, by the names that it gave them.
///
/// [`Prepared::release`] gives back what it holds.
#[derive(Debug)]
pub struct Prepared {
    names: HashMap<Box<[u8]>, StatementId>,
    /// The body of its last Parse of the unnamed statement, behind the name.
    unnamed: Vec<u8>,
    /// Whether the unnamed statement is what `unnamed` says.
    has_unnamed: bool,
    /// Bytes of its names and of the statements behind them, as if it were
    /// their only user.
    own: usize,
}

impl Prepared {
    /// A client that has prepared nothing.
    pub fn new(memory: &mut Statements) -> Self {
        memory.client_came();
        Self {
            names: HashMap::new(),
            unnamed: Vec::new(),
            has_unnamed: false,
            own: 0,
        }
    }

    /// Gives back all that it holds.
    pub fn release(mut self, memory: &mut Statements) {
        self.clear(memory);
        memory.refund(self.unnamed.capacity());
        memory.client_left();
    }

    /// The statement that it calls `name`.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<StatementId> {
        self.names.get(name).copied()
    }

    /// What it calls the statement that is called `written` on the servers.
    pub fn name_of(&self, written: &[u8], statements: &Statements) -> Option<&[u8]> {
        self.names
            .iter()
            .find(|(_, id)| statements.written(**id) == written)
            .map(|(name, _)| &**name)
    }

    /// Bytes that its statements would take if it were their only user.
    pub fn own(&self) -> usize {
        self.own
    }

    /// Number of its named statements.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether it has no named statement.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Gives a statement a name; its use is the name's from now on.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`]; nothing has changed then.
    pub fn define(
        &mut self,
        name: &[u8],
        id: StatementId,
        memory: &mut Statements,
    ) -> Result<(), OutOfMemory> {
        if !memory.charge(name.len() + ENTRY_COST) {
            return Err(OutOfMemory);
        }
        self.insert(name, id, memory);
        Ok(())
    }

    /// Undoes [`Prepared::remove`].
    pub fn restore(&mut self, name: &[u8], id: StatementId, memory: &mut Statements) {
        memory.charge_anyway(name.len() + ENTRY_COST);
        self.insert(name, id, memory);
    }

    /// Takes a name away; its use of the statement is the caller's from now on.
    pub fn remove(&mut self, name: &[u8], memory: &mut Statements) -> Option<StatementId> {
        let id = self.names.remove(name)?;
        memory.refund(name.len() + ENTRY_COST);
        self.own = self
            .own
            .saturating_sub(name.len() + Statements::cost(memory.tail(id)));
        Some(id)
    }

    /// Forgets all named statements.
    pub fn clear(&mut self, memory: &mut Statements) {
        for (name, id) in std::mem::take(&mut self.names) {
            memory.refund(name.len() + ENTRY_COST);
            memory.release(id);
        }
        self.own = 0;
    }

    /// The body of Parse of the unnamed statement, behind the name.
    pub fn unnamed(&self) -> Option<&[u8]> {
        self.has_unnamed.then_some(&self.unnamed)
    }

    /// Notes a Parse of the unnamed statement.
    ///
    /// A text that is very long, or for which there is no memory, is not kept.
    #[inline]
    pub fn keep_unnamed(&mut self, tail: &[u8], memory: &mut Statements) {
        let capacity = self.unnamed.capacity();
        self.unnamed.clear();
        self.has_unnamed = tail.len() <= capacity || self.make_room(tail.len(), memory);
        if self.has_unnamed {
            self.unnamed.extend_from_slice(tail);
        }
    }

    /// [`Prepared::keep_unnamed`] where that needs no more memory; false, and
    /// nothing kept, where it does.
    #[inline]
    pub fn keep_unnamed_in_place(&mut self, tail: &[u8]) -> bool {
        let fits = tail.len() <= self.unnamed.capacity();
        if fits {
            self.unnamed.clear();
            self.unnamed.extend_from_slice(tail);
            self.has_unnamed = true;
        }
        fits
    }

    /// Gives the unnamed statement away, with what was charged for it.
    pub fn take_unnamed(&mut self) -> Option<Vec<u8>> {
        let taken = std::mem::take(&mut self.has_unnamed);
        taken.then(|| std::mem::take(&mut self.unnamed))
    }

    /// Takes back what [`Prepared::take_unnamed`] gave away.
    pub fn put_unnamed(&mut self, before: Option<Vec<u8>>, memory: &mut Statements) {
        self.has_unnamed = before.is_some();
        if let Some(before) = before {
            memory.refund(self.unnamed.capacity());
            self.unnamed = before;
        }
    }

    /// Notes that there is no unnamed statement any more.
    #[inline]
    pub fn drop_unnamed(&mut self) {
        self.has_unnamed = false;
    }

    #[cold]
    fn make_room(&mut self, len: usize, memory: &mut Statements) -> bool {
        let before = self.unnamed.capacity();
        if len > UNNAMED_MAX || !memory.charge(len) {
            return false;
        }
        self.unnamed = Vec::with_capacity(len);
        memory.charge_anyway(self.unnamed.capacity() - len);
        memory.refund(before);
        true
    }

    fn insert(&mut self, name: &[u8], id: StatementId, memory: &Statements) {
        self.own += name.len() + Statements::cost(memory.tail(id));
        let before = self.names.insert(name.into(), id);
        debug_assert!(before.is_none(), "a name that was taken");
    }
}

/// Longest unnamed statement that is kept for a later transaction, in bytes.
pub(super) const UNNAMED_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Classes;

    fn intern(memory: &mut Statements, tail: &[u8]) -> StatementId {
        memory.intern(tail, 0, |_| Classes::default()).unwrap()
    }

    #[test]
    fn gives_back_what_it_was_charged_for() {
        let mut memory = Statements::new([1; 16]);
        let mut prepared = Prepared::new(&mut memory);
        let one = intern(&mut memory, b"select 1\0\0\0");
        prepared.define(b"a", one, &mut memory).unwrap();
        memory.keep(one);
        prepared.define(b"b", one, &mut memory).unwrap();
        prepared.keep_unnamed(&[b'x'; 300], &mut memory);
        prepared.keep_unnamed(&[b'y'; 20], &mut memory);
        let removed = prepared.remove(b"a", &mut memory).unwrap();
        prepared.restore(b"a", removed, &mut memory);
        assert!(memory.bytes() > 0);
        prepared.release(&mut memory);
        assert_eq!((memory.bytes(), memory.len()), (0, 0));
    }

    #[test]
    fn keeps_the_last_unnamed_statement_unless_it_is_too_long() {
        let mut memory = Statements::new([1; 16]);
        let mut prepared = Prepared::new(&mut memory);
        prepared.keep_unnamed(b"one", &mut memory);
        prepared.keep_unnamed(b"two", &mut memory);
        assert_eq!(prepared.unnamed(), Some(&b"two"[..]));
        prepared.keep_unnamed(&vec![b'x'; UNNAMED_MAX + 1], &mut memory);
        assert_eq!(prepared.unnamed(), None);
    }
}
