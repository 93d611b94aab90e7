//! Cancels for other hosts in a group that drains or is restarted.

use crate::harness::{
    Login, PATIENCE, Peers, Pooler, Postgres, RecordingPeer, Signal, SqlState, cancel_at, finish,
    restart, wait_for,
};

/// A request for peer 2.
fn request() -> Vec<u8> {
    [
        &[0, 0, 0, 16, 4, 210, 22, 46, 1, 2, 0, 1][..],
        &[1, 2, 3, 0xff],
    ]
    .concat()
}

/// A group with a peer 2 that does not answer yet, and gets so many at a time.
fn with_silent_peer(postgres: &Postgres, pool_size: u32) -> (Peers, RecordingPeer) {
    let settings = "workers = 1\nadmin_users = postgres\ncancel_wait_timeout = 60";
    let peers = Peers::start(postgres, 1, settings);
    let recorder = RecordingPeer::start();
    recorder.be_silent();
    let port = recorder.port();
    peers.introduce(
        1,
        &format!("2 = host=127.0.0.1 port={port} pool_size={pool_size}\n"),
    );
    (peers, recorder)
}

/// Waits until a second request waits, or has got the place of the first.
fn wait_second(group: &Pooler, recorder: &RecordingPeer) {
    let console = group.connect_as(&Login::new().database("pgskein"));
    wait_for("a second request", PATIENCE, || {
        console.table("show peer_pools")[0]["cl_waiting_cancel_req"] == "1"
            || recorder.packets().len() == 2
    });
    console.close();
}

#[test]
fn requests_of_clients_that_have_left_are_delivered_by_a_group_that_ends() {
    let postgres = Postgres::start();
    let (peers, recorder) = with_silent_peer(&postgres, 1);
    let group = peers.group(1);
    // One is on its way, one waits.
    for _ in 0..2 {
        let mut wire = group.wire();
        wire.send(&request());
        drop(wire);
    }
    recorder.wait_packets(1);
    wait_second(group, &recorder);
    group.signal(Signal::SIGTERM);
    group.wait_log("draining");
    recorder.speak();
    recorder.wait_packets(2);
    assert!(group.wait_exit(PATIENCE).success());
}

#[test]
fn group_ends_although_requests_for_a_silent_peer_keep_coming() {
    let postgres = Postgres::start();
    let settings = "workers = 1\nadmin_users = postgres\ncancel_wait_timeout = 1";
    let peers = Peers::start(&postgres, 1, settings);
    let recorder = RecordingPeer::start();
    recorder.be_silent();
    let line = format!("2 = host=127.0.0.1 port={}\n", recorder.port());
    peers.introduce(1, &line);
    let group = peers.group(1);
    let mut wires = Vec::new();
    let mut ask = || {
        // The unix socket is open to the end.
        if let Ok(mut wire) = group.try_unix_wire() {
            let _ = wire.try_send(&request());
            wires.push(wire);
        }
    };
    ask();
    recorder.wait_packets(1);
    group.signal(Signal::SIGTERM);
    wait_for("the end of the group", PATIENCE, || {
        ask();
        group.exit_status().is_some()
    });
    assert!(group.wait_exit(PATIENCE).success());
}

#[test]
fn request_that_is_on_its_way_outlives_the_restart_of_its_worker() {
    let postgres = Postgres::start();
    let (peers, recorder) = with_silent_peer(&postgres, 8);
    let group = peers.group(1);
    let mut old = group.wire();
    old.send(&request());
    recorder.wait_packets(1);
    restart(group);
    let mut new = group.wire();
    new.send(&request());
    recorder.wait_packets(2);
    assert!(old.read_arrived() && new.read_arrived(), "closed early");
    recorder.speak();
    finish(old);
    finish(new);
}

#[test]
fn group_that_drains_forwards_and_is_forwarded_to() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\ndrain_listen = answer";
    let peers = Peers::start(&postgres, 2, settings);
    let clients = [1, 2].map(|id| peers.group(id).connect_to_worker(1));
    peers.group(1).signal(Signal::SIGTERM);
    peers.group(1).wait_log("draining");
    for (client, other) in clients.iter().zip([2, 1]) {
        let query = client.start_long_query();
        // A login that finds out which worker it reaches would be refused.
        let mut wire = peers.group(other).wire();
        wire.send(&client.cancel_packet());
        finish(wire);
        assert_eq!(query.wait(), Err(SqlState("57014")), "at group {other}");
    }
}

#[test]
fn numbers_of_before_are_known_to_workers_that_a_restart_brings() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction";
    let peers = Peers::start(&postgres, 1, settings);
    let recorder = RecordingPeer::start();
    let group = peers.group(1);
    let client = group.connect_to_worker(1);
    // What was its own number is another host's now, and the session moves on.
    let line = format!("1 = host=127.0.0.1 port={}\n", recorder.port());
    let text = peers.with_peers(1, &line);
    group.reload(&text.replace("peer_id = 1", "peer_id = 5"));
    restart(group);
    let query = client.start_long_query();
    cancel_at(group, 2, &client.cancel_packet());
    assert_eq!(query.wait(), Err(SqlState("57014")));
    assert_eq!(recorder.packets(), Vec::<Vec<u8>>::new());
}
