//! Cancel requests with unknown keys are slowed down, and good ones never.
//!
//! How long one waits is not measured: it is seen from others that wait as well.

use crate::harness::{
    Client, Login, PATIENCE, Peers, Pooler, Postgres, Signal, SqlState, Wire, cancel_at, wait_for,
};

const CANCELLED: SqlState = SqlState("57014");

/// A cancel request with a key that nobody has.
fn wrong(client: &Client) -> Vec<u8> {
    let mut packet = client.cancel_packet();
    *packet.last_mut().unwrap() ^= 0x80;
    packet
}

/// Sends so many wrong keys at once, each over its own connection.
fn guess(pooler: &Pooler, client: &Client, count: usize) -> Vec<Wire> {
    let mut wires: Vec<Wire> = (0..count).map(|_| pooler.wire()).collect();
    for wire in &mut wires {
        wire.send(&wrong(client));
    }
    wires
}

/// Waits for the ends of connections, which are the whole answer.
fn finish(wires: Vec<Wire>) {
    for mut wire in wires {
        wire.set_deadline(PATIENCE);
        assert_eq!(wire.read_to_end(), []);
    }
}

fn console(pooler: &Pooler) -> Client {
    pooler.connect_as(&Login::new().database("pgskein"))
}

/// What SHOW LISTS says there are of this.
fn items(console: &Client, list: &str) -> usize {
    let rows = console.query("SHOW LISTS").unwrap();
    let mut rows = rows.iter().filter_map(|row| row.split_once('|'));
    let row = rows.find(|(name, _)| *name == list);
    row.expect("a row of the list").1.parse().unwrap()
}

/// Waits until so many wrong keys have been looked at; the most that were held.
fn wait_looked_at(console: &Client, count: usize) -> usize {
    let mut most = 0;
    wait_for("all to be looked at", PATIENCE, || {
        let all = items(console, "unknown_cancels") == count;
        most = most.max(items(console, "held_cancels"));
        all
    });
    most
}

#[test]
fn who_guesses_waits_and_who_knows_does_not() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let (client, console) = (pooler.connect_to_worker(2), console(&pooler));

    // A few cost nothing, as after the end of a query; many do.
    finish(guess(&pooler, &client, 1));
    pooler.wait_log("cancel requests with unknown keys: count=1 ");
    let wires = guess(&pooler, &client, 15);
    let mut guesses = 16;
    assert_eq!(wait_looked_at(&console, guesses), 0, "too many already");
    finish(wires);
    wait_for("guesses to be held", PATIENCE, || {
        let wires = guess(&pooler, &client, 40);
        guesses += 40;
        let most = wait_looked_at(&console, guesses);
        finish(wires);
        most > 0
    });

    // From the same address a good key works while a bad one waits.
    wait_for("a good key to be faster than a bad one", PATIENCE, || {
        let query = client.start_long_query();
        let mut bad = pooler.wire_to_worker(1);
        // So many that a bad one is held for long.
        let wires = guess(&pooler, &client, 150);
        guesses += 151;
        wait_looked_at(&console, guesses - 1);
        bad.send(&wrong(&client));
        client.cancel_through_worker(1);
        assert_eq!(query.wait(), Err(CANCELLED));
        let faster = bad.read_arrived();
        finish(wires);
        finish(vec![bad]);
        faster
    });
    assert_eq!(items(&console, "unknown_cancels"), guesses);
    wait_for("nobody to be held", PATIENCE, || {
        items(&console, "held_cancels") == 0
    });
}

#[test]
fn so_many_are_held_and_the_others_closed_at_once() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 1\npool_mode = transaction");
    let (client, console) = (pooler.connect(), console(&pooler));
    let mut guesses = 0;
    // None is held for longer than two seconds, which is enough for all of them.
    wait_for("as many to be held as may be", PATIENCE, || {
        let wires = guess(&pooler, &client, 400);
        guesses += 400;
        let most = wait_looked_at(&console, guesses);
        assert!(most <= 256, "{most}");
        finish(wires);
        most == 256
    });
}

#[test]
fn wrong_keys_that_another_host_forwards_hold_up_no_good_one() {
    let postgres = Postgres::start();
    let peers = Peers::start(&postgres, 2, "workers = 1\npool_mode = transaction");
    let [forwards, owner] = [1, 2].map(|id| peers.group(id));
    let (client, console) = (owner.connect(), console(owner));
    let wires = guess(forwards, &client, 100);
    assert_eq!(wait_looked_at(&console, 100), 0, "held");
    let query = client.start_long_query();
    cancel_at(forwards, 1, &client.cancel_packet());
    assert_eq!(query.wait(), Err(CANCELLED));
    finish(wires);

    // They are counted: whoever sends some himself waits.
    let mut guesses = 100;
    wait_for("a guess to be held", PATIENCE, || {
        let wires = guess(owner, &client, 20);
        guesses += 20;
        let most = wait_looked_at(&console, guesses);
        finish(wires);
        most > 0
    });
}

#[test]
fn who_does_not_wait_is_forgotten_and_no_drain_waits_for_a_guess() {
    let postgres = Postgres::start();
    let settings = "workers = 1\npool_mode = transaction\ndrain_listen = answer";
    let pooler = Pooler::start(&postgres, settings);
    let (client, console) = (pooler.connect(), console(&pooler));
    let mut guesses = 0;
    wait_for("who leaves to be gone before who stays", PATIENCE, || {
        drop(guess(&pooler, &client, 120));
        wait_looked_at(&console, guesses + 120);
        // Each is held as long as any by now, so that the first one ends first.
        let mut stays = guess(&pooler, &client, 1);
        let leave = guess(&pooler, &client, 20);
        guesses += 141;
        wait_looked_at(&console, guesses);
        drop(leave);
        let mut before = false;
        wait_for("who stays to be alone or closed", PATIENCE, || {
            // Beside the client and the console.
            let alone = items(&console, "used_clients") == 3;
            let open = stays.iter_mut().all(Wire::read_arrived);
            before = alone && open;
            alone || !open
        });
        finish(stays);
        before
    });

    pooler.signal(Signal::SIGTERM);
    client.wait_parameter("disconnect_requested", "on");
    wait_for("nobody to be held", PATIENCE, || {
        items(&console, "held_cancels") == 0
    });
    let wires = guess(&pooler, &client, 100);
    assert_eq!(
        wait_looked_at(&console, guesses + 100),
        0,
        "held by a drain"
    );
    finish(wires);
    client.close();
    assert!(pooler.wait_exit(PATIENCE).success());
}
