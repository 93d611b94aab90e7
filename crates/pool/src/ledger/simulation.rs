//! The ledger and its workers in one process, in virtual time.
//!
//! Everything that happens follows from one seed: clients that come and go,
//! messages that take their time, connects that fail or hang, workers that are
//! killed or replaced, supervisors that begin anew, limits that change. The
//! workers use the pools of the real ones. After every step the state of the
//! whole group is checked.
//!
//! A failure names its seed. `PGSKEIN_SEED` runs that one, `PGSKEIN_SEEDS` so
//! many from there on.

mod check;
mod fairness;
mod faults;
mod link;
mod moves;
mod process;
mod random;
mod servers;
mod setup;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use self::setup::Setup;
use self::world::World;

#[test]
fn keeps_every_promise_whatever_happens() {
    for_each_seed(1, 1000, |seed| World::new(Setup::draw(seed)).run());
}

#[test]
fn keeps_every_promise_whatever_else_happens() {
    for_each_seed(1_000_001, 1000, |seed| World::new(Setup::draw(seed)).run());
}

/// Runs `simulate` with seeds from `first` on, or with those of the
/// environment, and names the one that fails.
fn for_each_seed(first: u64, count: u64, simulate: impl Fn(u64)) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let given: Option<u64> = number("PGSKEIN_SEED");
    let first = given.unwrap_or(first);
    let count = number("PGSKEIN_SEEDS").unwrap_or(if given.is_some() { 1 } else { count });
    for seed in first..first + count {
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| simulate(seed))) {
            eprintln!("the seed that failed: PGSKEIN_SEED={seed}");
            resume_unwind(cause);
        }
    }
}
