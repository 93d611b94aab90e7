//! Cancel requests with unknown keys are slowed down, and good ones never.

use std::time::{Duration, Instant};

use crate::harness::{Client, PATIENCE, Pooler, Postgres, SqlState, Wire, wait_for, within};

const CANCELLED: SqlState = SqlState("57014");

/// A cancel request with a key that nobody has.
fn wrong(client: &Client) -> Vec<u8> {
    let mut packet = client.cancel_packet();
    *packet.last_mut().unwrap() ^= 0x80;
    packet
}

/// Sends a wrong key and waits for the end of its connection.
fn guess(pooler: &Pooler, client: &Client) -> Duration {
    let mut wire = pooler.wire();
    wire.send(&wrong(client));
    let begun = Instant::now();
    assert_eq!(wire.read_to_end(), []);
    begun.elapsed()
}

/// What SHOW LISTS says there are of this.
fn items(pooler: &Pooler, list: &str) -> u64 {
    let rows = pooler.console("SHOW LISTS");
    let mut rows = rows.iter().filter_map(|row| row.split_once('|'));
    let row = rows.find(|(name, _)| *name == list);
    row.expect("a row of the list").1.parse().unwrap()
}

#[test]
fn who_guesses_waits_and_who_knows_does_not() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let client = pooler.connect();

    // A few cost nothing, as after the end of a query; many do.
    let mut guesses = 1;
    guess(&pooler, &client);
    pooler.wait_log("cancel requests with unknown keys: count=1 ");
    wait_for("guesses to be slowed down", PATIENCE, || {
        guesses += 1;
        guess(&pooler, &client) > Duration::from_millis(200)
    });
    assert!(guesses > 16, "{guesses} guesses were too many already");

    // From the same address a good key works while bad ones wait.
    let mut waiting: Vec<Wire> = (0..40).map(|_| pooler.wire()).collect();
    for wire in &mut waiting {
        wire.send(&wrong(&client));
    }
    wait_for("guesses to be held", PATIENCE, || {
        items(&pooler, "held_cancels") > 0
    });
    let cancel = |_| {
        let query = client.start_long_query();
        let begun = Instant::now();
        client.cancel();
        assert_eq!(query.wait(), Err(CANCELLED));
        begun.elapsed()
    };
    // A wrong one waits for two seconds by now, every time.
    let fastest = (0..5).map(cancel).min().unwrap();
    assert!(fastest < Duration::from_millis(1500), "{fastest:?}");
    for mut wire in waiting {
        assert_eq!(wire.read_to_end(), []);
    }
    assert_eq!(items(&pooler, "unknown_cancels"), guesses + 40);
    assert_eq!(items(&pooler, "held_cancels"), 0);
}

#[test]
fn so_many_are_held_and_the_others_closed_at_once() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 1\npool_mode = transaction");
    let client = pooler.connect();
    let mut wires: Vec<Wire> = (0..400).map(|_| pooler.wire()).collect();
    for wire in &mut wires {
        wire.send(&wrong(&client));
    }
    wait_for("all to be looked at", PATIENCE, || {
        items(&pooler, "unknown_cancels") == 400
    });
    assert!(items(&pooler, "held_cancels") <= 256);
    for mut wire in wires {
        assert_eq!(wire.read_to_end(), []);
    }
}

#[test]
fn who_does_not_wait_is_forgotten_and_no_drain_waits_for_a_guess() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 1\npool_mode = transaction");
    let client = pooler.connect();
    for _ in 0..60 {
        pooler.wire().send(&wrong(&client));
    }
    wait_for("all to be looked at", PATIENCE, || {
        items(&pooler, "unknown_cancels") == 60
    });
    let used = || items(&pooler, "used_clients") <= 2;
    assert!(within(PATIENCE, used), "who has left is still there");
}
