//! Names: what one client has prepared.

use std::collections::HashMap;

use super::plan::classes;
use super::statements::{ENTRY_COST, OutOfMemory, StatementId, Statements};
use super::unnamed::Unnamed;
use crate::parameters::Parameters;

/// The prepared statements of a client, by the names that it gave them.
///
/// [`Prepared::release`] gives back what it holds.
#[derive(Debug)]
pub struct Prepared {
    names: HashMap<Box<[u8]>, StatementId>,
    /// Its unnamed statement.
    pub unnamed: Unnamed,
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
            unnamed: Unnamed::default(),
            own: 0,
        }
    }

    /// What a client has prepared that another worker hands over: its names with
    /// the body of Parse behind the name, and that of its unnamed statement.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`]; nothing is kept then.
    pub fn adopt(
        statements: &[(Vec<u8>, Vec<u8>)],
        unnamed: Option<&[u8]>,
        parameters: &Parameters,
        memory: &mut Statements,
    ) -> Result<Self, OutOfMemory> {
        let mut prepared = Self::new(memory);
        if let Some(tail) = unnamed {
            prepared.unnamed.parse(tail, true, memory);
        }
        let kept = unnamed.is_none() || prepared.unnamed.text() == unnamed;
        let all = statements.iter().try_for_each(|(name, tail)| {
            if prepared.find(name).is_some() {
                return Ok(());
            }
            let own = prepared.own();
            let id = memory.intern(tail, own, |tail| classes(tail, parameters))?;
            let defined = prepared.define(name, id, memory);
            defined.inspect_err(|_| memory.release(id))
        });
        match all {
            Ok(()) if kept => Ok(prepared),
            _ => {
                prepared.release(memory);
                Err(OutOfMemory)
            }
        }
    }

    /// The names of a client, with their statements, in an order that is the
    /// same each time.
    pub fn names(&self) -> Vec<(&[u8], StatementId)> {
        let names = self.names.iter();
        let mut names: Vec<_> = names.map(|(name, id)| (&**name, *id)).collect();
        names.sort_by_key(|(name, _)| *name);
        names
    }

    /// Gives back all that it holds.
    pub fn release(mut self, memory: &mut Statements) {
        self.clear(memory);
        self.unnamed.release(memory);
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

    /// Forgets all named statements but those that `keep` says.
    pub fn clear_but(&mut self, keep: &[Box<[u8]>], memory: &mut Statements) {
        let names: Vec<_> = self.names.keys().cloned().collect();
        for name in names.iter().filter(|name| !keep.contains(name)) {
            if let Some(id) = self.remove(name, memory) {
                memory.release(id);
            }
        }
    }

    /// Forgets all named statements.
    pub fn clear(&mut self, memory: &mut Statements) {
        for (name, id) in std::mem::take(&mut self.names) {
            memory.refund(name.len() + ENTRY_COST);
            memory.release(id);
        }
        self.own = 0;
    }

    fn insert(&mut self, name: &[u8], id: StatementId, memory: &Statements) {
        self.own += name.len() + Statements::cost(memory.tail(id));
        let before = self.names.insert(name.into(), id);
        debug_assert!(before.is_none(), "a name that was taken");
    }
}

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
        prepared.unnamed.parse(&[b'x'; 300], true, &mut memory);
        let removed = prepared.remove(b"a", &mut memory).unwrap();
        prepared.restore(b"a", removed, &mut memory);
        assert!(memory.bytes() > 0);
        prepared.release(&mut memory);
        assert_eq!((memory.bytes(), memory.len()), (0, 0));
    }

    #[test]
    fn goes_on_with_what_another_worker_had() {
        let (mut memory, parameters) = (Statements::new([1; 16]), Parameters::new(&[]));
        let statements = [
            (b"a".to_vec(), b"select 1\0\0\0".to_vec()),
            (b"b".to_vec(), b"listen x\0\0\0".to_vec()),
        ];
        let unnamed = Some(&b"select 2\0\0\0"[..]);
        let adopted = Prepared::adopt(&statements, unnamed, &parameters, &mut memory).unwrap();
        assert_eq!(adopted.unnamed.text(), unnamed);
        let names = adopted.names();
        let names: Vec<_> = names
            .iter()
            .map(|(name, id)| (name.to_vec(), memory.tail(*id).to_vec()))
            .collect();
        assert_eq!(names, statements);
        let listens = memory.classes(adopted.find(b"b").unwrap());
        assert_eq!(listens, Classes::LISTEN);
        adopted.release(&mut memory);
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn keeps_nothing_for_which_there_is_no_memory() {
        let (mut memory, parameters) = (Statements::new([1; 16]), Parameters::new(&[]));
        let tail = |number: u8| vec![number; 600];
        let statements = [(b"a".to_vec(), tail(1)), (b"b".to_vec(), tail(2))];
        memory.limit(1000);
        let adopted = Prepared::adopt(&statements, None, &parameters, &mut memory);
        assert_eq!(adopted.err(), Some(OutOfMemory));
        let adopted = Prepared::adopt(&[], Some(&tail(1)), &parameters, &mut memory);
        adopted.unwrap().release(&mut memory);
        let adopted = Prepared::adopt(&[], Some(&[7; 1200]), &parameters, &mut memory);
        assert_eq!(adopted.err(), Some(OutOfMemory));
        assert_eq!((memory.bytes(), memory.len()), (0, 0));
    }
}
