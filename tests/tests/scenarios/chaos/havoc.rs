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
            Deed::PostgresRestart => {
                self.postgres.shut_down(Signal::SIGINT);
                self.postgres.wait_down();
                self.postgres.start_again();
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

const DECK: [Deed; 11] = [
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
    Deed::PostgresRestart,
];
