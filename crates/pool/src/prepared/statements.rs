//! Statements: each text with its parameter types once for a worker.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::num::NonZeroU32;

use siphasher::sip128::SipHasher24;

use crate::text::Classes;

/// The secret that names of statements on servers are made of: without it no
/// client can forge the name of another's.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct StatementKey(pub [u8; 16]);

/// The name of a statement on the servers.
///
/// It is a keyed hash of the text and the types, the same in every worker, and
/// nobody without the key can tell the name of a text.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Name(u128);

/// A statement that somebody uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StatementId(NonZeroU32);

/// There is no room for one more statement of this client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OutOfMemory;

/// The statements of a worker, and the bytes that all its caches take.
///
/// Always true: a statement with no users is in `free`.
#[derive(Debug)]
pub struct Statements {
    key: StatementKey,
    limit: usize,
    bytes: usize,
    /// Clients that have prepared something.
    clients: usize,
    texts: Vec<Text>,
    by_name: HashMap<Name, u32, BuildHasherDefault<Spread>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Text {
    name: Name,
    /// The name as it is written.
    written: [u8; Name::LEN],
    /// The body of Parse behind the name.
    tail: Box<[u8]>,
    /// What it changes for later users of its server.
    classes: Classes,
    users: u32,
}

impl StatementId {
    fn new(index: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(index))
    }

    #[inline]
    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl Name {
    /// Length of a name as it is written, in bytes.
    pub const LEN: usize = Self::PREFIX.len() + 32;

    /// How every name begins.
    pub const PREFIX: &[u8] = b"pgskein_";

    /// The name of the Parse whose body behind the name is `tail`.
    pub fn of(key: StatementKey, tail: &[u8]) -> Self {
        let hash = SipHasher24::new_with_key(&key.0).hash(tail);
        Self((u128::from(hash.h1) << 64) | u128::from(hash.h2))
    }

    /// The name with these bytes, which [`Name::to_bytes`] has given.
    pub fn of_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The bytes of the hash.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The name as it is written.
    pub fn written(self) -> [u8; Self::LEN] {
        let mut written = [0; Self::LEN];
        let digits = format!("{:032x}", self.0);
        for (place, byte) in written
            .iter_mut()
            .zip(Self::PREFIX.iter().chain(digits.as_bytes()))
        {
            *place = *byte;
        }
        written
    }
}

impl Statements {
    /// No statements yet; `key` is secret, and the same in all workers.
    pub fn new(key: impl Into<StatementKey>) -> Self {
        Self {
            key: key.into(),
            limit: usize::MAX,
            bytes: 0,
            clients: 0,
            texts: Vec::new(),
            by_name: HashMap::default(),
            free: Vec::new(),
        }
    }

    /// What the names are made of.
    pub fn key(&self) -> StatementKey {
        self.key
    }

    /// Sets how many bytes all caches together may take.
    pub fn limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// Longest body of Parse that may be kept, in bytes.
    pub fn max_len(&self) -> usize {
        self.limit
    }

    /// Bytes that all caches take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of different statements.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// One more user of the statement with this body of Parse, of a client that
    /// is charged for `own` bytes so far.
    ///
    /// Half of the memory is for whoever comes first; of the rest each client
    /// gets an equal share.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`]; nothing has changed then.
    pub fn intern(
        &mut self,
        tail: &[u8],
        own: usize,
        classes: impl FnOnce(&[u8]) -> Classes,
    ) -> Result<StatementId, OutOfMemory> {
        let name = Name::of(self.key, tail);
        let known = self.by_name.get(&name).copied();
        let cost = Self::cost(tail);
        let more = if known.is_some() { 0 } else { cost };
        let share = self.limit / 2 / self.clients.max(1);
        let crowded = self.bytes.saturating_add(more) > self.limit / 2;
        if self.bytes.saturating_add(more) > self.limit
            || (crowded && own.saturating_add(cost) > share)
        {
            return Err(OutOfMemory);
        }
        if let Some(number) = known {
            self.keep(StatementId::new(number));
            return Ok(StatementId::new(number));
        }
        self.bytes += cost;
        let text = Text {
            name,
            written: name.written(),
            tail: tail.into(),
            classes: classes(tail),
            users: 1,
        };
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(place) = self.texts.get_mut(number as usize) {
                    *place = text;
                }
                number
            }
            None => {
                self.texts.push(text);
                u32::try_from(self.texts.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.by_name.insert(name, number);
        Ok(StatementId::new(number))
    }

    /// One more user.
    pub fn keep(&mut self, id: StatementId) {
        if let Some(text) = self.texts.get_mut(id.index()) {
            text.users += 1;
        }
    }

    /// One user less.
    pub fn release(&mut self, id: StatementId) {
        let Some(text) = self.texts.get_mut(id.index()) else {
            return;
        };
        debug_assert!(text.users > 0, "released more often than kept");
        text.users = text.users.saturating_sub(1);
        if text.users == 0 {
            let tail = std::mem::take(&mut text.tail);
            self.by_name.remove(&text.name);
            self.free.push(id.0.get() - 1);
            self.refund(Self::cost(&tail));
        }
    }

    /// The name on the servers.
    #[inline]
    pub fn name(&self, id: StatementId) -> Option<Name> {
        self.texts.get(id.index()).map(|text| text.name)
    }

    /// The name as it is written.
    #[inline]
    pub fn written(&self, id: StatementId) -> &[u8] {
        self.texts
            .get(id.index())
            .map_or(&[][..], |text| &text.written)
    }

    /// The body of Parse behind the name.
    pub fn tail(&self, id: StatementId) -> &[u8] {
        self.texts
            .get(id.index())
            .map_or(&[][..], |text| &text.tail)
    }

    /// What its execution may change for later users of its server.
    #[inline]
    pub fn classes(&self, id: StatementId) -> Classes {
        self.texts
            .get(id.index())
            .map_or(Classes::NONE, |text| text.classes)
    }

    /// Bytes that a statement is charged for.
    pub fn cost(tail: &[u8]) -> usize {
        tail.len() + size_of::<Text>() + ENTRY_COST
    }

    /// Charges for `bytes` of another cache; false when there is no room, and
    /// nothing is charged.
    pub fn charge(&mut self, bytes: usize) -> bool {
        let fits = self.bytes.saturating_add(bytes) <= self.limit;
        if fits {
            self.bytes += bytes;
        }
        fits
    }

    /// Whether the caches take no more than they may.
    pub fn fits(&self) -> bool {
        self.bytes <= self.limit
    }

    /// Charges for `bytes` that are needed whatever the limit is.
    pub fn charge_anyway(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Takes back what was charged.
    pub fn refund(&mut self, bytes: usize) {
        debug_assert!(self.bytes >= bytes, "refunded more than was charged");
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// One more client that prepares statements.
    pub fn client_came(&mut self) {
        self.clients += 1;
    }

    /// One client less.
    pub fn client_left(&mut self) {
        self.clients = self.clients.saturating_sub(1);
    }
}

impl From<[u8; 16]> for StatementKey {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for StatementKey {
    /// Shows no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatementKey")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pgskein_{:032x}", self.0)
    }
}

/// Takes a name, which is a hash already, as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "half of a hash is enough")]
    #[inline]
    fn write_u128(&mut self, name: u128) {
        self.0 = name as u64;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

/// What a place in a table is taken to cost, in bytes.
pub(super) const ENTRY_COST: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &[u8]) -> Classes {
        Classes::default()
    }

    fn tail(number: usize) -> Vec<u8> {
        format!("select {number:08}\0\0\0").into_bytes()
    }

    #[test]
    fn keeps_a_text_once_and_forgets_it_with_its_last_user() {
        let mut statements = Statements::new([7; 16]);
        let one = statements.intern(&tail(1), 0, none).unwrap();
        assert_eq!(statements.intern(&tail(1), 0, none), Ok(one));
        assert_eq!(statements.len(), 1);
        statements.release(one);
        assert_eq!(statements.tail(one), tail(1));
        statements.release(one);
        assert_eq!((statements.len(), statements.bytes()), (0, 0));
        assert_eq!(statements.intern(&tail(2), 0, none), Ok(one));
    }

    #[test]
    fn names_a_text_by_its_types_and_the_key_as_well() {
        let plain = Name::of([7; 16].into(), b"select $1\0\0\0");
        assert_eq!(plain, Name::of([7; 16].into(), b"select $1\0\0\0"));
        assert_ne!(plain, Name::of([8; 16].into(), b"select $1\0\0\0"));
        assert_ne!(
            plain,
            Name::of([7; 16].into(), b"select $1\0\0\x01\0\0\0\x17")
        );
        let written = plain.written();
        assert!(written.starts_with(Name::PREFIX));
        assert_eq!(written[..], *plain.to_string().as_bytes());
    }

    #[test]
    fn a_client_with_a_million_statements_leaves_room_for_others() {
        let mut statements = Statements::new([7; 16]);
        statements.limit(1 << 20);
        statements.client_came();
        statements.client_came();
        let (mut greedy, mut accepted) = (0, 0);
        for number in 0..1_000_000 {
            if statements.intern(&tail(number), greedy, none).is_ok() {
                greedy += Statements::cost(&tail(number));
                accepted += 1;
            }
        }
        assert!(accepted > 100 && statements.bytes() <= 1 << 19);
        let mut modest = 0;
        for number in 1_000_000..1_000_100 {
            statements.intern(&tail(number), modest, none).unwrap();
            modest += Statements::cost(&tail(number));
        }
    }

    #[test]
    fn never_takes_more_than_its_limit() {
        let mut statements = Statements::new([7; 16]);
        statements.limit(10_000);
        for number in 0..1_000 {
            statements.client_came();
            let _ = statements.intern(&tail(number), 0, none);
            assert!(statements.bytes() <= 10_000);
        }
        assert!(!statements.charge(10_000));
    }
}
