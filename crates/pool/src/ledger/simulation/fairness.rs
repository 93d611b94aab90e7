//! How evenly clients wait, whichever worker they came to.

use std::time::Duration;

use super::super::Limits;
use super::super::book::TURN;
use super::for_each_seed;
use super::random::Random;
use super::setup::{PoolSetup, Setup, ms, us};
use super::world::World;
use crate::control::PoolKey;
use pgskein_config::PoolMode;

/// A pool with more clients than servers, in which nothing goes wrong and a
/// transaction takes longer than a connect.
fn crowded(seed: u64) -> Setup {
    let mut random = Random::new(seed);
    let connect = random.number(1..8);
    let transaction = connect + 2 + random.number(0..60);
    let pool_size = random.number(1..12);
    let limits = Limits {
        pool_size,
        min_pool_size: 0,
        reserve_pool_size: 0,
        reserve_pool_timeout: ms(5000),
        max_db_connections: 0,
        max_user_connections: 0,
        login_retry: ms(1000),
    };
    let pool = PoolSetup {
        key: PoolKey {
            database: "a".to_owned(),
            user: "x".to_owned(),
        },
        limits,
        mode: PoolMode::Transaction,
        kept: false,
        clients: pool_size * 2 + random.number(1..80),
        dedicated: 0,
        transaction: ms(transaction)..ms(transaction) * 5 / 4,
    };
    Setup {
        slots: u8::try_from(random.number(1..17)).unwrap(),
        pools: vec![pool],
        delay: us(20)..us(300),
        connect: ms(connect)..ms(connect) + us(500),
        goodbye: us(300)..ms(2),
        think: ms(0)..us(100),
        max_connections: usize::MAX,
        troubled: ms(0),
        fails: 1_000_000,
        faults: None,
        idle_timeout: ms(60_000),
        linger: ms(5000),
        login_retry: ms(1000),
        random,
    }
}

#[test]
fn lets_nobody_wait_much_longer_than_others() {
    for_each_seed(1, 60, |seed| {
        let setup = crowded(seed);
        let (workers, pool) = (u32::from(setup.slots), setup.pools[0].clone());
        let mut world = World::new(setup);
        world.run_until(world.start + ms(3000));
        world.waits.clear();
        world.opened = 0;
        let round = pool.transaction.end * pool.clients / pool.limits.pool_size;
        world.run_until(world.now + round * 10 + ms(5000));
        let mut waits = std::mem::take(&mut world.waits);
        waits.sort_unstable();
        let count = u32::try_from(waits.len()).unwrap();
        let mean = waits.iter().sum::<Duration>() / count;
        let p99 = waits[waits.len() * 99 / 100];
        assert!(
            p99 <= mean * 2 + TURN * workers,
            "p99 {p99:?}, mean {mean:?}, {workers} workers"
        );
        // Nor are servers opened only to be given up.
        let opened = world.opened;
        assert!(opened <= count, "{opened} opened for {count} transactions");
    });
}
