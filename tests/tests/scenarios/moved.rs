//! Sessions that go on with the successor of their worker, and notice nothing.

use std::collections::BTreeMap;

use crate::harness::{
    Client, Login, PATIENCE, Pooler, Postgres, SqlState, Stall, restart, wait_for,
};
use crate::moved_sessions::about_the_same_time;
use crate::replication::logical;

const SETTINGS: &str = "workers = 2\npool_mode = transaction";

#[test]
fn session_keeps_all_it_has_in_every_mode() {
    let postgres = Postgres::start();
    for mode in ["session", "transaction", "statement"] {
        let pooler = Pooler::start(&postgres, &format!("workers = 2\npool_mode = {mode}"));
        let login = Login::new().parameter("application_name", "mover");
        let clients = [1, 2].map(|worker| pooler.connect_to_worker_as(worker, &login));
        for client in &clients {
            client.query("set timezone = 'Asia/Tokyo'").unwrap();
            prepare(client);
            client.take_transcript();
        }
        let servers = clients.each_ref().map(pid);
        let before = shown(&pooler);
        for generation in 2..5 {
            restart_whole(&pooler);
            for (client, slot) in clients.iter().zip([1, 2]) {
                assert_eq!(client.value("show timezone"), "Asia/Tokyo", "{mode}");
                assert_eq!(client.value("show application_name"), "mover");
                assert_eq!(run_prepared(client), Ok(vec!["named|z".to_owned()]));
                assert_eq!(client.slot(), slot, "the key is as before");
                assert!(
                    !client.transcript().contains('S'),
                    "{}",
                    client.transcript()
                );
            }
            let mut now = shown(&pooler);
            for (id, row) in &mut now {
                let then = &before[id][CONNECT_TIME];
                assert!(about_the_same_time(&row[CONNECT_TIME], then), "{row:?}");
                row[CONNECT_TIME].clone_from(then);
            }
            assert_eq!(now, before, "{mode}, generation {generation}");
        }
        if mode == "session" {
            assert_eq!(clients.each_ref().map(pid), servers, "servers are kept");
        }
        // Cancels still find them, whichever worker they reach.
        if mode != "statement" {
            for (client, through) in clients.iter().zip([2, 1]) {
                let query = client.start_long_query();
                client.cancel_through_worker(through);
                assert_eq!(query.wait(), Err(SqlState("57014")));
            }
        }
    }
}

#[test]
fn client_moves_in_its_transaction_and_after_its_query_and_is_not_asked_to_go() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2].map(|worker| pooler.connect_to_worker(worker));
    for client in &clients {
        client.query("begin").unwrap();
    }
    let servers = clients.each_ref().map(pid);
    let busy = pooler.connect_to_worker(1);
    let query = busy.start_long_query();
    let before = pooler.workers();
    restart(&pooler);
    wait_for("the idle worker to end", PATIENCE, || {
        pooler.generations() == ["1.1", "1.2", "2.2"]
    });
    assert_eq!(clients.each_ref().map(pid), servers, "in the transaction");
    busy.cancel();
    assert_eq!(query.wait(), Err(SqlState("57014")));
    wait_for("the busy worker to end", PATIENCE, || {
        !before[&1].is_alive()
    });
    for client in clients.iter().chain([&busy]) {
        client.query("commit").unwrap();
        assert_eq!(client.value("select 'served'"), "served");
        let asked = client.parameter("disconnect_requested");
        assert_eq!(asked.as_deref(), Some("off"));
    }
}

#[test]
fn client_that_logs_in_at_a_worker_that_leaves_moves_as_well() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let mut wire = pooler.wire_to_worker(1);
    wire.send(&[0, 0, 0, 8, 4, 210, 22, 47]);
    assert_eq!(wire.read_byte(), Some(b'N'));
    restart(&pooler);
    let client = Client::log_in(wire, &Login::new()).unwrap();
    wait_for("the old workers to end", PATIENCE, || {
        pooler.generations() == ["1.2", "2.2"]
    });
    assert_eq!(client.value("select 'served'"), "served");
}

#[test]
fn told_client_stays_told_and_is_not_told_twice() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect_to_worker_as(2, &Login::new().goaway());
    pooler.console("GOAWAY ALL TIMEOUT 600");
    client.wait_goaway();
    restart_whole(&pooler);
    let console = pooler.console_of(1);
    console.query("GOAWAY ALL").unwrap();
    assert_eq!(client.value("select 'served'"), "served");
    assert_eq!(client.transcript().matches('g').count(), 1);
    client.close();
}

#[test]
fn stream_of_replication_stays_where_it_is() {
    let postgres = Postgres::start_for_replication();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let stream = pooler.connect_to_worker_as(1, &logical());
    let moves = pooler.connect_to_worker(1);
    restart(&pooler);
    let console = pooler.console_of(1);
    let mut last = None;
    wait_for("the other to move", PATIENCE, || {
        let rows = console.table("SHOW DRAIN");
        last = rows
            .into_iter()
            .find(|row| row["kind"] == "wait_for_clients" && row["moved"] == "1");
        last.is_some()
    });
    let row = last.unwrap();
    assert_eq!(
        (&*row["refused_replication"], &*row["remaining"]),
        ("1", "1")
    );
    let workers = console.table("SHOW WORKERS");
    let old = workers
        .iter()
        .find(|row| row["state"] == "draining")
        .unwrap();
    // The console of RESTART may have moved before it was closed.
    assert!(matches!(&*old["moved"], "1" | "2"), "{old:?}");
    assert_eq!(old["refused"], "1", "{old:?}");
    assert_eq!(stream.value("select 'goes on'"), "goes on");
    stream.close();
    wait_for("the old worker to end", PATIENCE, || {
        pooler.generations() == ["1.2", "2.2"]
    });
    assert_eq!(moves.value("select 'served'"), "served");
}

#[test]
fn stream_of_replication_is_closed_at_restart_drain_timeout() {
    let postgres = Postgres::start_for_replication();
    let settings = format!("{SETTINGS}\nrestart_drain_timeout = 1");
    let pooler = Pooler::start(&postgres, &settings);
    let stream = pooler.connect_to_worker_as(1, &logical());
    restart(&pooler);
    stream.wait_closed();
    assert_eq!(stream.last_error().unwrap().sqlstate, "57P01");
}

/// As after an upgrade to a program that says more of its sessions, and back.
#[test]
fn sessions_of_which_a_later_program_says_more_are_asked_to_go() {
    let postgres = Postgres::start();
    let stall = Stall::make();
    let pooler = Pooler::start_in(&postgres, SETTINGS, &stall.environment());
    let client = pooler.connect_to_worker(1);
    let newer = stall.newer();
    restart(&pooler);
    client.wait_parameter("disconnect_requested", "on");
    let console = pooler.console_of(2);
    wait_for("the reason to be counted", PATIENCE, || {
        let rows = console.table("SHOW DRAIN");
        let refused = |row: &BTreeMap<String, String>| row["refused_unknown"].parse::<u32>();
        // The probes of the harness may have logged in there as well.
        rows.iter()
            .any(|row| refused(row).is_ok_and(|count| count > 0))
    });
    assert_eq!(client.value("select 'goes on'"), "goes on");
    client.close();
    wait_for("the old worker to end", PATIENCE, || {
        pooler.generations() == ["1.2", "2.2"]
    });
    drop(newer);
    let client = pooler.connect_to_worker(1);
    restart_whole(&pooler);
    assert_eq!(client.value("select 'moved'"), "moved");
    assert_eq!(client.parameter("disconnect_requested").unwrap(), "off");
}

#[test]
fn console_goes_on_over_a_restart() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let consoles = [1, 2].map(|worker| pooler.console_of(worker));
    for turn in 0..3 {
        // Whoever has asked is answered, and then moves as well.
        let asks = &consoles[turn % 2];
        wait_for("a restart", PATIENCE, || asks.query("RESTART").is_ok());
        for console in &consoles {
            assert_eq!(console.query("SHOW VERSION").map(|rows| rows.len()), Ok(1));
        }
    }
    wait_for("the old workers to end", PATIENCE, || {
        pooler.generations() == ["1.4", "2.4"]
    });
    for console in &consoles {
        assert_eq!(console.query("SHOW VERSION").map(|rows| rows.len()), Ok(1));
    }
}

/// Restarts the group, and waits until nothing of the generation before is left.
fn restart_whole(pooler: &Pooler) {
    restart(pooler);
    wait_for("the old workers to end", PATIENCE, || {
        pooler.generations().len() == pooler.workers().len()
    });
}

/// Where [`shown`] has the time of the login.
const CONNECT_TIME: usize = 4;

/// What the console shows of every client that has named itself and does not
/// change in a move, by its id.
fn shown(pooler: &Pooler) -> BTreeMap<String, Vec<String>> {
    let rows = pooler.console_of(1).table("SHOW CLIENTS");
    let clients = rows
        .into_iter()
        .filter(|row| row["application_name"] == "mover");
    let kept = ["user", "application_name", "addr", "port", "connect_time"];
    assert_eq!(kept[CONNECT_TIME], "connect_time");
    let clients = clients.map(|row| {
        let kept = kept.map(|name| row[name].clone());
        (row["id"].clone(), kept.to_vec())
    });
    clients.collect()
}

fn pid(client: &Client) -> String {
    client.value("select pg_backend_pid()")
}

fn prepare(client: &Client) {
    client.send_message(b'P', b"named\0select 'named', $1::text\0\0\0");
    client.send_message(b'S', b"");
    assert_eq!(client.pending().wait(), Ok(vec![]));
}

fn run_prepared(client: &Client) -> Result<Vec<String>, SqlState> {
    client.send_message(b'B', b"\0named\0\0\0\0\x01\0\0\0\x01z\0\0");
    client.send_message(b'E', b"\0\0\0\0\0");
    client.send_message(b'S', b"");
    client.pending().wait()
}
