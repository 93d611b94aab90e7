//! What one seed makes of the group.

use std::ops::Range;
use std::time::Duration;

use pgskein_config::{Config, PoolMode, PoolSettings};

use super::super::Limits;
use super::random::Random;
use crate::control::PoolKey;

/// A group, its clients, and what will happen to it.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub random: Random,
    /// Workers at once.
    pub slots: u8,
    pub pools: Vec<PoolSetup>,
    /// How long a message takes.
    pub delay: Range<Duration>,
    /// How long it takes to open a server.
    pub connect: Range<Duration>,
    /// How long a server takes to close its side.
    pub goodbye: Range<Duration>,
    /// How long a client does nothing between two bursts.
    pub think: Range<Duration>,
    /// Transactions of a burst, about.
    pub burst: u32,
    /// Most connections that PostgreSQL takes.
    pub max_connections: usize,
    /// When things no longer go wrong.
    pub troubled: Duration,
    /// One in so many connects fails, and one hangs.
    pub fails: u32,
    /// One in so many offers of a server is refused.
    pub refuses: u32,
    /// Mean time between things that go wrong.
    pub faults: Option<Duration>,
    pub idle_timeout: Duration,
    pub linger: Duration,
    pub login_retry: Duration,
}

/// One pool of the group.
#[derive(Clone, Debug)]
pub(super) struct PoolSetup {
    pub key: PoolKey,
    pub limits: Limits,
    pub mode: PoolMode,
    /// It keeps its minimum without a client.
    pub kept: bool,
    pub clients: u32,
    /// Clients that have a server of their own.
    pub dedicated: u32,
    /// How long a client keeps a server.
    pub transaction: Range<Duration>,
}

impl Setup {
    pub(super) fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let slots = u8::try_from(match random.number(0..4) {
            0 => random.number(1..3),
            1 | 2 => random.number(2..6),
            _ => random.number(5..17),
        })
        .unwrap();
        let login_retry = ms(1000);
        let [max_db_connections, max_user_connections] =
            [0, 1].map(|_| match random.number(0..3) {
                0 => random.number(1..8),
                _ => 0,
            });
        let names = [("a", "x"), ("a", "y"), ("b", "x")];
        let count = random.number(1..4) as usize;
        let pools = names.iter().take(count).map(|(database, user)| {
            let pool_size = random.number(1..7);
            let limits = Limits {
                pool_size,
                min_pool_size: some(&mut random, 1..4).min(pool_size),
                reserve_pool_size: some(&mut random, 1..3),
                reserve_pool_timeout: ms(300),
                max_db_connections,
                max_user_connections,
                login_retry,
            };
            let session = random.once_in(4);
            let length = if session { 2000 } else { random.number(3..120) };
            PoolSetup {
                key: PoolKey {
                    database: (*database).to_owned(),
                    user: (*user).to_owned(),
                },
                limits,
                mode: if session {
                    PoolMode::Session
                } else {
                    PoolMode::Transaction
                },
                kept: random.once_in(3),
                clients: random.number(1..25),
                dedicated: some(&mut random, 1..2),
                transaction: ms(1)..ms(length),
            }
        });
        let pools: Vec<PoolSetup> = pools.collect();
        let minimum: u32 = pools.iter().map(|pool| pool.limits.min_pool_size).sum();
        let quiet = random.once_in(5);
        Self {
            slots,
            pools,
            delay: us(20)..us(random.pick(&[200, 2000, 20_000]).unwrap()),
            connect: ms(2)..ms(random.pick(&[4, 10, 60]).unwrap()),
            goodbye: us(300)..ms(random.pick(&[3, 30]).unwrap()),
            think: ms(0)..ms(random.pick(&[1, 30, 300]).unwrap()),
            burst: random.pick(&[1, 1, 6]).unwrap(),
            max_connections: match random.number(0..6) {
                // What nobody needs must not take all.
                0 => (minimum + random.number(1..6)) as usize,
                _ => usize::MAX,
            },
            troubled: ms(1500),
            fails: random.pick(&[1_000_000, 30, 6]).unwrap(),
            refuses: random.pick(&[1_000_000, 20, 2]).unwrap(),
            faults: (!quiet).then(|| ms(random.number(50..600))),
            idle_timeout: ms(1500),
            linger: ms(2000),
            login_retry,
            random,
        }
    }
}

impl PoolSetup {
    /// The settings that the pool has in a worker.
    pub(super) fn settings(&self) -> PoolSettings {
        PoolSettings {
            pool_mode: self.mode,
            pool_size: self.limits.pool_size,
            min_pool_size: self.limits.min_pool_size,
            reserve_pool_size: self.limits.reserve_pool_size,
            reserve_pool_timeout: self.limits.reserve_pool_timeout,
            max_db_connections: self.limits.max_db_connections,
            max_user_connections: self.limits.max_user_connections,
            ..Config::default().pool(&self.key.database, &self.key.user)
        }
    }
}

/// Zero, or a number of the range.
fn some(random: &mut Random, range: Range<u32>) -> u32 {
    if random.once_in(2) {
        0
    } else {
        random.number(range)
    }
}

pub(super) fn ms(milliseconds: u32) -> Duration {
    Duration::from_millis(milliseconds.into())
}

pub(super) fn us(microseconds: u32) -> Duration {
    Duration::from_micros(microseconds.into())
}
