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
    let clients = pool_size * 2 + random.number(1..80);
    let slots = random.number(1..17);
    let mut setup = one_pool(random, slots, pool_size, clients);
    setup.connect = ms(connect)..ms(connect) + us(500);
    setup.pools[0].transaction = ms(transaction)..ms(transaction) * 5 / 4;
    setup
}

/// A pool that could serve all its clients, if they did not come in bursts.
fn bursting(seed: u64) -> Setup {
    let mut random = Random::new(seed);
    let transaction = random.number(3..20);
    let (slots, pool_size) = match seed % 3 {
        0 => (3, 3),
        _ => (random.number(2..9), random.number(1..7)),
    };
    let clients = pool_size * 13 + 1;
    let mut setup = one_pool(random, slots, pool_size, clients);
    // Nine tenths of what the pool can do at best.
    let idle = ms(transaction) * BURST * 13 * 10 / 9;
    setup.think = idle / 2..idle * 3 / 2;
    setup.burst = BURST;
    setup.pools[0].transaction = ms(transaction - 2)..ms(transaction + 2);
    setup
}

fn one_pool(random: Random, slots: u32, pool_size: u32, clients: u32) -> Setup {
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
        clients,
        dedicated: 0,
        transaction: ms(1)..ms(2),
    };
    Setup {
        slots: u8::try_from(slots).unwrap(),
        pools: vec![pool],
        delay: us(20)..us(300),
        connect: ms(2)..ms(4),
        goodbye: us(300)..ms(2),
        think: ms(0)..us(100),
        burst: 1,
        max_connections: usize::MAX,
        troubled: ms(0),
        fails: 1_000_000,
        refuses: 1_000_000,
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

#[test]
fn lets_nobody_wait_for_long_where_clients_come_in_bursts() {
    for_each_seed(1, 60, |seed| {
        let setup = bursting(seed);
        let pool = setup.pools[0].clone();
        let (slots, round) = (setup.slots, pool.transaction.end * BURST * 13);
        let mut world = World::new(setup);
        world.run_until(world.start + ms(1000) + round * 20);
        let longest = world.longest_wait();
        let most = round * 2 + ms(300);
        assert!(longest <= most, "{longest:?} on {slots} workers, {pool:?}");
    });
}

/// Transactions of a burst.
const BURST: u32 = 5;
