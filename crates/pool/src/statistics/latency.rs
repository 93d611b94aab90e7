//! What a worker counts of one of its pools.

use std::time::Instant;

use super::counters::{Counters, Traffic};
use super::histogram::Histogram;

/// The counters of a pool, and how long things took.
#[derive(Debug, Default)]
pub struct PoolStatistics {
    server_assignments: u64,
    client_logins: u64,
    /// Of servers that are gone.
    traffic: Traffic,
    /// Left unfinished.
    unfinished: (u64, u64),
    /// Transactions of one query: the time of one is that of the other.
    single: Times,
    /// Queries of other transactions.
    query: Times,
    /// Other transactions.
    transaction: Times,
    /// Waits for a server, of those who had to wait.
    wait: Times,
    /// `server_assignments` when the last period began, and the running one.
    assignments: [u64; 2],
}

/// What a distribution is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LatencyKind {
    /// The wait for a server; nothing for those who were lent one at once.
    Wait,
    /// Queries.
    Query,
    /// Transactions.
    Transaction,
}

/// How long things took in the running and in the last period.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Latency {
    /// How many fell into each bucket of a [`Histogram`].
    pub counts: Vec<u64>,
    /// The longest, in microseconds.
    pub max: u64,
}

/// How often, how long in all, and how they are distributed.
#[derive(Debug, Default)]
struct Times {
    count: u64,
    /// In microseconds.
    sum: u64,
    current: Histogram,
    last: Histogram,
}

impl PoolStatistics {
    /// A server was lent to a client.
    #[inline]
    pub fn on_assigned(&mut self) {
        self.server_assignments += 1;
    }

    /// A client has logged in.
    pub fn on_login(&mut self) {
        self.client_logins += 1;
    }

    /// A client was lent a server for which it has waited.
    #[inline]
    pub fn on_waited(&mut self, since: Instant, now: Instant) {
        self.wait.add(micros(since, now));
    }

    /// A query has ended, and its transaction with it if `ended`.
    ///
    /// The query began at `query`, the transaction at `transaction`; these are
    /// the same for the first query.
    // Inlined it would take registers from the loop over messages.
    #[inline(never)]
    pub fn on_answered(&mut self, transaction: Instant, query: Instant, now: Instant, ended: bool) {
        let time = micros(query, now);
        if ended && transaction == query {
            self.single.add(time);
        } else {
            self.on_answered_in_block(transaction, time, now, ended);
        }
    }

    /// A client has left, or lost its server, with a query or a transaction
    /// that has not ended. It counts, and takes no time.
    pub fn on_unfinished(&mut self, query: bool) {
        self.unfinished.0 += u64::from(query);
        self.unfinished.1 += 1;
    }

    /// Adds what a server has counted that is gone, or bytes that reached none.
    pub fn on_traffic(&mut self, traffic: &Traffic) {
        self.traffic.received += traffic.received;
        self.traffic.sent += traffic.sent;
        self.traffic.client_parses += traffic.client_parses;
        self.traffic.server_parses += traffic.server_parses;
        self.traffic.binds += traffic.binds;
    }

    /// Takes over the counters of a pool that is removed together with this one.
    pub fn take_over(&mut self, other: &Self) {
        self.server_assignments += other.server_assignments;
        self.client_logins += other.client_logins;
        self.unfinished.0 += other.unfinished.0;
        self.unfinished.1 += other.unfinished.1;
        self.on_traffic(&other.traffic);
        for (own, other) in [
            (&mut self.single, &other.single),
            (&mut self.query, &other.query),
            (&mut self.transaction, &other.transaction),
            (&mut self.wait, &other.wait),
        ] {
            own.count += other.count;
            own.sum += other.sum;
        }
    }

    /// A new period begins: of what happened before the last one nothing is
    /// kept but the counters.
    pub fn on_period(&mut self) {
        for times in [
            &mut self.single,
            &mut self.query,
            &mut self.transaction,
            &mut self.wait,
        ] {
            times.on_period();
        }
        let [_, begun] = self.assignments;
        self.assignments = [begun, self.server_assignments];
    }

    /// The counters, without those of the servers that are there.
    pub fn counters(&self) -> Counters {
        let mut counters = Counters {
            server_assignments: self.server_assignments,
            transactions: self.single.count + self.transaction.count + self.unfinished.1,
            queries: self.single.count + self.query.count + self.unfinished.0,
            transaction_time: self.single.sum + self.transaction.sum,
            query_time: self.single.sum + self.query.sum,
            wait_time: self.wait.sum,
            client_logins: self.client_logins,
            ..Counters::default()
        };
        counters.add_traffic(&self.traffic);
        counters
    }

    /// How long things of a kind took lately.
    pub fn latency(&self, kind: LatencyKind) -> Latency {
        let mut latency = Latency::default();
        match kind {
            LatencyKind::Query => {
                latency.add(&self.single);
                latency.add(&self.query);
            }
            LatencyKind::Transaction => {
                latency.add(&self.single);
                latency.add(&self.transaction);
            }
            LatencyKind::Wait => {
                latency.add(&self.wait);
                let [begun, _] = self.assignments;
                let waits: u64 = latency.counts.iter().sum();
                let at_once = (self.server_assignments - begun).saturating_sub(waits);
                if at_once > 0 {
                    if latency.counts.is_empty() {
                        latency.counts.push(0);
                    }
                    if let Some(count) = latency.counts.first_mut() {
                        *count += at_once;
                    }
                }
            }
        }
        latency
    }

    fn on_answered_in_block(&mut self, transaction: Instant, time: u64, now: Instant, ended: bool) {
        self.query.add(time);
        if ended {
            self.transaction.add(micros(transaction, now));
        }
    }
}

impl LatencyKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Query, Self::Transaction, Self::Wait];

    /// Its name on the console.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Query => "query",
            Self::Transaction => "transaction",
        }
    }
}

impl Latency {
    fn add(&mut self, times: &Times) {
        for histogram in [&times.last, &times.current] {
            histogram.add_to(&mut self.counts);
            self.max = self.max.max(histogram.max());
        }
    }
}

impl Times {
    #[inline]
    fn add(&mut self, micros: u64) {
        self.count += 1;
        self.sum += micros;
        self.current.record(micros);
    }

    fn on_period(&mut self) {
        std::mem::swap(&mut self.current, &mut self.last);
        self.current.clear();
    }
}

/// The time between two instants, in microseconds.
#[inline]
fn micros(from: Instant, to: Instant) -> u64 {
    let time = to.saturating_duration_since(from);
    time.as_secs() * 1_000_000 + u64::from(time.subsec_micros())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::histogram::quantile;
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn counts_a_transaction_of_one_query_as_both() {
        let mut pool = PoolStatistics::default();
        let start = Instant::now();
        pool.on_assigned();
        pool.on_answered(start, start, start + ms(3), true);
        let counters = pool.counters();
        assert_eq!((counters.queries, counters.transactions), (1, 1));
        assert_eq!(
            (counters.query_time, counters.transaction_time),
            (3000, 3000)
        );
        for kind in [LatencyKind::Query, LatencyKind::Transaction] {
            let latency = pool.latency(kind);
            assert_eq!(quantile(&latency.counts, 500, latency.max), 3000);
        }
    }

    #[test]
    fn counts_a_transaction_of_three_queries_with_the_time_between_them() {
        let mut pool = PoolStatistics::default();
        let start = Instant::now();
        for query in 0..3 {
            let began = start + ms(10 * query);
            pool.on_answered(start, began, began + ms(1), query == 2);
        }
        let counters = pool.counters();
        assert_eq!((counters.queries, counters.transactions), (3, 1));
        assert_eq!(
            (counters.query_time, counters.transaction_time),
            (3000, 21_000)
        );
        assert_eq!(pool.latency(LatencyKind::Transaction).max, 21_000);
        assert_eq!(pool.latency(LatencyKind::Query).max, 1000);
    }

    #[test]
    fn counts_who_did_not_wait_as_a_wait_of_nothing() {
        let mut pool = PoolStatistics::default();
        let start = Instant::now();
        for _ in 0..4 {
            pool.on_assigned();
        }
        pool.on_waited(start, start + ms(5));
        let latency = pool.latency(LatencyKind::Wait);
        assert_eq!(latency.counts.iter().sum::<u64>(), 4);
        assert_eq!(quantile(&latency.counts, 750, latency.max), 0);
        assert_eq!(quantile(&latency.counts, 760, latency.max), 5000);
        assert_eq!(pool.counters().wait_time, 5000);
    }

    #[test]
    fn counts_what_was_left_unfinished_without_a_time() {
        let mut pool = PoolStatistics::default();
        pool.on_unfinished(true);
        pool.on_unfinished(false);
        let counters = pool.counters();
        assert_eq!((counters.queries, counters.transactions), (1, 2));
        assert_eq!((counters.query_time, counters.transaction_time), (0, 0));
    }

    #[test]
    fn takes_over_every_counter_of_another_pool() {
        let mut pool = PoolStatistics::default();
        let start = Instant::now();
        pool.on_assigned();
        pool.on_login();
        pool.on_waited(start, start + ms(1));
        pool.on_answered(start, start, start + ms(3), true);
        pool.on_answered(start, start + ms(1), start + ms(3), false);
        pool.on_answered(start, start + ms(4), start + ms(5), true);
        pool.on_unfinished(true);
        pool.on_traffic(&Traffic {
            received: 1,
            sent: 2,
            client_parses: 3,
            server_parses: 4,
            binds: 5,
        });
        let mut other = PoolStatistics::default();
        other.take_over(&pool);
        assert_eq!(other.counters(), pool.counters());
        other.take_over(&pool);
        let twice = pool.counters().to_array().map(|counter| 2 * counter);
        assert_eq!(other.counters().to_array(), twice);
        assert!(twice.iter().all(|counter| *counter > 0));
    }

    #[test]
    fn forgets_distributions_after_two_periods_and_no_counter_ever() {
        let mut pool = PoolStatistics::default();
        let start = Instant::now();
        pool.on_assigned();
        pool.on_answered(start, start, start + ms(3), true);
        let before = pool.counters();
        for (periods, left) in [(1, 1), (2, 0), (3, 0)] {
            pool.on_period();
            for kind in LatencyKind::ALL {
                let count: u64 = pool.latency(kind).counts.iter().sum();
                assert_eq!(count, left, "{kind:?} after {periods} periods");
            }
        }
        assert_eq!(pool.counters(), before);
    }
}
