//! Statistics of this worker: what the supervisor is told of them.

use std::time::{Duration, Instant};

use pgskein_pool::control::ToSupervisor;
use pgskein_pool::pools::{Pool, PoolId};
use pgskein_pool::slab::ServerId;
use pgskein_pool::statistics::{Counters, Report, Totals, Traffic};
use pgskein_protocol::TransactionStatus;

use super::Worker;
use super::tables::CONSOLE;

/// What has been counted and told.
#[derive(Debug, Default)]
pub(super) struct Counting {
    /// What consoles have done.
    pub console: Counters,
    /// What pools have done that were removed.
    removed: Totals,
    /// What the supervisor was told last, and when.
    told: Option<(Totals, Instant)>,
}

impl Worker {
    /// The supervisor asks what has been counted.
    pub(super) fn on_count(&mut self, round: u64, period: bool) {
        if period {
            for (_, pool) in self.pools.iter_mut() {
                pool.statistics.on_period();
            }
        }
        self.report(round);
    }

    /// Tells the supervisor what has been counted, in answer to `round`; 0 is
    /// none.
    pub(super) fn report(&mut self, round: u64) {
        let totals = self.totals();
        self.tell_totals(round, totals);
    }

    fn tell_totals(&mut self, round: u64, totals: Totals) {
        self.counting.told = Some((totals.clone(), self.now));
        self.tell_supervisor(&ToSupervisor::Counted(Report { round, totals }));
    }

    /// Tells the supervisor what has changed, so that little is lost if this
    /// worker dies.
    pub(super) fn report_now_and_then(&mut self) {
        let last = self.counting.told.as_ref();
        let due = last.is_none_or(|(_, at)| self.now.saturating_duration_since(*at) >= INTERVAL);
        if !due {
            return;
        }
        let totals = self.totals();
        if last.is_none_or(|(told, _)| *told != totals) {
            self.tell_totals(0, totals);
        }
    }

    /// A pool is removed; what it has done stays counted.
    pub(super) fn count_removed(&mut self, pool: &Pool) {
        let counters = pool.statistics.counters();
        if counters != Counters::default() {
            self.counting.removed.add(&pool.key.database, &counters);
        }
    }

    /// Counts a command of a console.
    pub(super) fn count_command(&mut self) {
        self.counting.console.queries += 1;
        self.counting.console.transactions += 1;
    }

    /// Counts what a client leaves unfinished on its server.
    pub(super) fn count_unfinished(&mut self, server: ServerId) {
        let Some(server) = self.servers.get(server) else {
            return;
        };
        let running = server.flow.running();
        if (running || server.flow.status() != TransactionStatus::Idle)
            && let Some(pool) = self.pools.get_mut(server.pool)
        {
            pool.statistics.on_unfinished(running);
        }
    }

    /// Counts bytes of a client that go nowhere.
    #[cold]
    pub(super) fn count_dropped(&mut self, pool: PoolId, received: usize) {
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.statistics.on_traffic(&Traffic {
                received: received as u64,
                ..Traffic::default()
            });
        }
    }

    /// What has been counted of each database.
    fn totals(&self) -> Totals {
        let mut totals = self.counting.removed.clone();
        if self.counting.console != Counters::default() {
            totals.add(CONSOLE, &self.counting.console);
        }
        for (_, pool) in self.pools.iter() {
            let counters = pool.statistics.counters();
            // Whatever a client may have named is no database yet.
            if counters != Counters::default() {
                totals.add(&pool.key.database, &counters);
            }
        }
        for (_, server) in self.servers.iter() {
            if let Some(pool) = self.pools.get(server.pool) {
                totals.add_traffic(&pool.key.database, &server.traffic);
            }
        }
        totals
    }
}

/// How often the supervisor is told without being asked.
const INTERVAL: Duration = Duration::from_secs(1);
