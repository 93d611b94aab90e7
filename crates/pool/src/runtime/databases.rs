//! Sets of databases: some by their names, or all but some.

use std::collections::BTreeSet;

/// Some databases, by their names, or all but some.
///
/// "All" is more than a list could be: the entry `*` serves any name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Databases {
    /// The names are of those that are not in the set.
    all: bool,
    names: BTreeSet<String>,
}

impl Databases {
    /// Every database.
    pub fn all() -> Self {
        Self::new(true, BTreeSet::new())
    }

    /// The databases of these names, or all others.
    pub(super) fn new(all: bool, names: BTreeSet<String>) -> Self {
        Self { all, names }
    }

    /// Whether this database is in the set.
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(name) != self.all
    }

    /// Whether no database is in the set.
    pub fn is_empty(&self) -> bool {
        !self.all && self.names.is_empty()
    }

    /// Whether a database is in the set unless something else was said of it.
    pub fn is_all(&self) -> bool {
        self.all
    }

    /// Puts a database into the set; says whether it was not there.
    pub fn insert(&mut self, name: &str) -> bool {
        if self.all {
            self.names.remove(name)
        } else {
            self.names.insert(name.to_owned())
        }
    }

    /// Takes a database out of the set; says whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        if self.all {
            self.names.insert(name.to_owned())
        } else {
            self.names.remove(name)
        }
    }

    /// The names that make the difference.
    pub(super) fn names(&self) -> &BTreeSet<String> {
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_names_and_exceptions_apart() {
        let mut some = Databases::default();
        assert!(some.is_empty());
        assert!(some.insert("a") && !some.insert("a"));
        assert!(some.contains("a") && !some.contains("b"));
        assert!(some.remove("a") && !some.remove("a"));
        let mut all = Databases::all();
        assert!(all.contains("a") && !all.is_empty());
        assert!(all.remove("a") && !all.remove("a"));
        assert!(!all.contains("a") && all.contains("b"));
        assert!(all.insert("a") && all.contains("a"));
    }
}
