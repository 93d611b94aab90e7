//! What happens to the processes meanwhile.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::{Random, SETTINGS};
use crate::harness::{
    Daemon, Login, PATIENCE, Pooler, Postgres, Process, Signal, wait_for, within,
};

/// Whoever does it.
#[derive(Debug)]
pub(super) struct Havoc<'a> {
    pooler: &'a Pooler,
    postgres: &'a Postgres,
    random: Random,
    /// The groups that have followed the first one; the last one lives.
    groups: Vec<Daemon>,
    done: Done,
}

/// How often each was done.
#[derive(Debug, Default)]
pub(super) struct Done(BTreeMap<Deed, usize>);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Deed {
    WorkerKilled,
    Reload,
    SupervisorKilled,
    Restart,
    Move,
    PostgresRestart,
}

impl<'a> Havoc<'a> {
    pub(super) fn new(pooler: &'a Pooler, postgres: &'a Postgres, random: Random) -> Self {
        Self {
            pooler,
            postgres,
            random,
            groups: Vec::new(),
            done: Done::default(),
        }
    }

    /// Does all that there is in an order that differs, over and over.
    pub(super) fn wreak(&mut self, length: Duration) {
        let start = Instant::now();
        while start.elapsed() < length || self.done.0.is_empty() {
            let mut deck = DECK.to_vec();
            while !deck.is_empty() {
                let deed = deck.swap_remove(self.random.below(deck.len()));
                self.commit(deed);
                *self.done.0.entry(deed).or_default() += 1;
                let pause = Duration::from_millis(self.random.below(400) as u64);
                within(pause, || false);
            }
        }
    }

    /// Ends the last group in order.
    pub(super) fn end(mut self) -> Done {
        if let Some(group) = self.groups.pop() {
            group.stop();
        }
        self.done
    }

    fn commit(&mut self, deed: Deed) {
        match deed {
            Deed::WorkerKilled => {
                let workers = self.workers();
                if !workers.is_empty() {
                    workers[self.random.below(workers.len())].kill();
                }
            }
            Deed::Reload => {
                let size = 3 + self.random.below(4);
                let settings = format!("{SETTINGS}\ndefault_pool_size = {size}");
                self.pooler.write_settings(&settings);
                self.supervisor().signal(Signal::SIGHUP);
            }
            Deed::SupervisorKilled => {
                match self.groups.last() {
                    Some(group) => group.orphan(),
                    None => {
                        self.pooler.signal(Signal::SIGKILL);
                        self.pooler.wait_exit(PATIENCE);
                    }
                }
                self.groups.push(Daemon::start(self.pooler));
            }
            Deed::Restart => {
                // It is refused while something else is under way.
                let login = Login::new().database("pgskein");
                wait_for("RESTART to be taken", PATIENCE, || {
                    let console = self.pooler.connect_unix(&login);
                    console.is_ok_and(|console| console.query("RESTART").is_ok())
                });
            }
            Deed::Move => self.move_clients(),
            Deed::PostgresRestart => {
                self.postgres.shut_down(Signal::SIGINT);
                self.postgres.wait_down();
                self.postgres.start_again();
            }
        }
    }

    /// Sends some clients to another worker, and kills that or the one before while
    /// they are on their way, now and then.
    fn move_clients(&mut self) {
        let Ok(console) = self.pooler.connect_unix(&Login::new().database("pgskein")) else {
            return;
        };
        // A worker that dies takes the console along.
        let Ok(mut rows) = console.query("SHOW CLIENTS") else {
            return;
        };
        // Not itself.
        rows.retain(|row| !row.contains("|pgbouncer|"));
        let _refused = console.query("BALANCE");
        for _ in 0..rows.len().min(4) {
            let to = 1 + self.random.below(WORKERS);
            let row = &rows[self.random.below(rows.len())];
            let id = row.split('|').nth(ID).expect("a number");
            let sql = format!("MOVE CLIENT {id} TO {to}");
            if self.random.below(6) == 0 {
                let order = console.start_query(&sql);
                let workers = self.workers();
                if !workers.is_empty() {
                    workers[self.random.below(workers.len())].kill();
                }
                let _refused = order.wait();
            } else {
                let _refused = console.query(&sql);
            }
        }
    }

    fn supervisor(&self) -> Process {
        let last = self.groups.last();
        last.map_or(self.pooler.supervisor(), Daemon::supervisor)
    }

    fn workers(&self) -> Vec<Process> {
        let children = self.supervisor().children().into_iter();
        let workers = children.filter(|child| child.title().contains("worker"));
        workers.filter(|worker| worker.is_alive()).collect()
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self
            .0
            .iter()
            .map(|(deed, count)| format!("{deed:?} {count}"))
            .collect();
        f.write_str(&words.join(", "))
    }
}

/// As many as the group has.
const WORKERS: usize = 3;

/// The column `id` of SHOW CLIENTS.
const ID: usize = 20;

const DECK: [Deed; 14] = [
    Deed::WorkerKilled,
    Deed::WorkerKilled,
    Deed::WorkerKilled,
    Deed::WorkerKilled,
    Deed::WorkerKilled,
    Deed::Reload,
    Deed::Reload,
    Deed::SupervisorKilled,
    Deed::Restart,
    Deed::Restart,
    Deed::Move,
    Deed::Move,
    Deed::Move,
    Deed::PostgresRestart,
];
