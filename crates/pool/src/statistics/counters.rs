//! Counters: numbers that only grow.

use crate::octets::{Octets, Truncated};

/// What is counted of a database, or of a pool; times are in microseconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Servers lent to clients.
    pub server_assignments: u64,
    /// Transactions.
    pub transactions: u64,
    /// Queries: what a server ends with ReadyForQuery.
    pub queries: u64,
    /// Bytes that clients have sent after their logins.
    pub received: u64,
    /// Bytes that clients were sent after their logins.
    pub sent: u64,
    /// Time in transactions.
    pub transaction_time: u64,
    /// Time in queries.
    pub query_time: u64,
    /// Time that clients waited for servers.
    pub wait_time: u64,
    /// Named statements that clients have prepared.
    pub client_parses: u64,
    /// Named statements that were prepared on servers.
    pub server_parses: u64,
    /// Named statements that clients have bound.
    pub binds: u64,
    /// Clients that have logged in.
    pub client_logins: u64,
}

/// What a server counts itself, to be added to the counters of its pool.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// Bytes that its clients have sent.
    pub received: u64,
    /// Bytes that its clients were sent.
    pub sent: u64,
    /// Named statements that its clients have prepared.
    pub client_parses: u64,
    /// Named statements that were prepared on it.
    pub server_parses: u64,
    /// Named statements that its clients have bound.
    pub binds: u64,
}

impl Counters {
    /// How many there are.
    pub const LEN: usize = 12;

    /// All of them, in the order of SHOW STATS.
    pub fn to_array(self) -> [u64; Self::LEN] {
        [
            self.server_assignments,
            self.transactions,
            self.queries,
            self.received,
            self.sent,
            self.transaction_time,
            self.query_time,
            self.wait_time,
            self.client_parses,
            self.server_parses,
            self.binds,
            self.client_logins,
        ]
    }

    /// The opposite of [`Counters::to_array`].
    pub fn from_array(array: [u64; Self::LEN]) -> Self {
        let [
            server_assignments,
            transactions,
            queries,
            received,
            sent,
            transaction_time,
            query_time,
            wait_time,
            client_parses,
            server_parses,
            binds,
            client_logins,
        ] = array;
        Self {
            server_assignments,
            transactions,
            queries,
            received,
            sent,
            transaction_time,
            query_time,
            wait_time,
            client_parses,
            server_parses,
            binds,
            client_logins,
        }
    }

    /// Adds others, one by one.
    pub fn add(&mut self, others: &Self) {
        *self = self.combine(others, u64::saturating_add);
    }

    /// Adds what a server has counted.
    pub fn add_traffic(&mut self, traffic: &Traffic) {
        self.received += traffic.received;
        self.sent += traffic.sent;
        self.client_parses += traffic.client_parses;
        self.server_parses += traffic.server_parses;
        self.binds += traffic.binds;
    }

    /// What has been counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.combine(earlier, u64::saturating_sub)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for counter in self.to_array() {
            out.extend_from_slice(&counter.to_be_bytes());
        }
    }

    pub(super) fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        let mut array = [0; Self::LEN];
        for counter in &mut array {
            *counter = octets.u64()?;
        }
        Ok(Self::from_array(array))
    }

    fn combine(&self, others: &Self, operation: impl Fn(u64, u64) -> u64) -> Self {
        let mut array = self.to_array();
        for (own, other) in array.iter_mut().zip(others.to_array()) {
            *own = operation(*own, other);
        }
        Self::from_array(array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_each_counter_in_its_place() {
        let array: [u64; Counters::LEN] = std::array::from_fn(|at| at as u64 + 1);
        let counters = Counters::from_array(array);
        assert_eq!(counters.to_array(), array);
        assert_eq!((counters.queries, counters.client_logins), (3, 12));
        let mut twice = counters;
        twice.add(&counters);
        assert_eq!(twice.to_array(), array.map(|counter| 2 * counter));
        assert_eq!(twice.since(&counters), counters);
    }

    #[test]
    fn adds_what_a_server_has_counted() {
        let mut counters = Counters::default();
        counters.add_traffic(&Traffic {
            received: 1,
            sent: 2,
            client_parses: 3,
            server_parses: 4,
            binds: 5,
        });
        let expected = [0, 0, 0, 1, 2, 0, 0, 0, 3, 4, 5, 0];
        assert_eq!(counters.to_array(), expected);
    }
}
