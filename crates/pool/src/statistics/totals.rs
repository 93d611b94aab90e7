//! Totals: the counters of each database.

use std::collections::BTreeMap;

use super::counters::{Counters, Traffic};
use crate::octets::{Octets, Truncated, put_bytes, put_count};

/// The counters of databases by name; those of very many are one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    databases: BTreeMap<Box<str>, Counters>,
}

/// What a worker has counted since its start, of each database.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// The number of what it answers; 0 if nobody has asked.
    pub round: u64,
    /// What it has counted.
    pub totals: Totals,
}

impl Totals {
    /// Adds what was counted of a database.
    pub fn add(&mut self, database: &str, counters: &Counters) {
        self.of(database).add(counters);
    }

    /// Adds what a server to a database has counted.
    pub fn add_traffic(&mut self, database: &str, traffic: &Traffic) {
        self.of(database).add_traffic(traffic);
    }

    /// Adds others, database by database.
    pub fn add_all(&mut self, others: &Self) {
        for (database, counters) in others.iter() {
            self.add(database, counters);
        }
    }

    /// All databases, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Counters)> {
        let databases = self.databases.iter();
        databases.map(|(database, counters)| (&**database, counters))
    }

    /// The counters of a database.
    pub fn counters(&self, database: &str) -> Counters {
        self.databases.get(database).copied().unwrap_or_default()
    }

    /// All databases together.
    pub fn sum(&self) -> Counters {
        let mut sum = Counters::default();
        self.databases
            .values()
            .for_each(|counters| sum.add(counters));
        sum
    }

    /// What has been counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let databases = self.iter().map(|(database, counters)| {
            let earlier = earlier.counters(database);
            (database.into(), counters.since(&earlier))
        });
        Self {
            databases: databases.collect(),
        }
    }

    /// Appends them to `out`: their number, then name and counters of each.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_count(out, self.databases.len());
        for (database, counters) in self.iter() {
            put_bytes(out, database.as_bytes());
            counters.encode(out);
        }
    }

    /// Takes them from the start of `octets`.
    pub(super) fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        let mut totals = Self::default();
        for _ in 0..octets.u32()? {
            let database = octets.text()?;
            totals.add(&database, &Counters::decode(octets)?);
        }
        Ok(totals)
    }

    /// The counters of a database to add to.
    fn of(&mut self, database: &str) -> &mut Counters {
        let full = self.databases.len() >= MOST && !self.databases.contains_key(database);
        let name = if full { OTHERS } else { database };
        self.databases.entry(name.into()).or_default()
    }
}

impl Report {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.round.to_be_bytes());
        self.totals.encode(out);
    }

    pub(crate) fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            round: octets.u64()?,
            totals: Totals::decode(octets)?,
        })
    }
}

/// Databases that are kept apart, at most.
const MOST: usize = 4096;

/// The row of those beyond.
const OTHERS: &str = "*";

#[cfg(test)]
mod tests {
    use super::*;

    fn queries(queries: u64) -> Counters {
        Counters {
            queries,
            ..Counters::default()
        }
    }

    #[test]
    fn adds_databases_up() {
        let mut totals = Totals::default();
        totals.add("a", &queries(1));
        let earlier = totals.clone();
        totals.add("b", &queries(2));
        totals.add_all(&earlier);
        assert_eq!(totals.counters("a"), queries(2));
        assert_eq!(totals.sum(), queries(4));
        let since = totals.since(&earlier);
        assert_eq!(since.counters("a"), queries(1));
        assert_eq!(since.counters("b"), queries(2));
    }

    #[test]
    fn puts_those_beyond_the_most_together_and_loses_nothing() {
        let mut totals = Totals::default();
        for number in 0..MOST + 10 {
            totals.add(&format!("d{number}"), &queries(1));
        }
        totals.add("d0", &queries(1));
        assert_eq!(totals.counters("d0"), queries(2));
        assert_eq!(totals.counters(OTHERS), queries(10));
        assert_eq!(totals.iter().count(), MOST + 1);
        assert_eq!(totals.sum(), queries(MOST as u64 + 11));
    }
}
