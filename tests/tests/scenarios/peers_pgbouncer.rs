//! A group of pgskein and PgBouncer, while one replaces the other.

use crate::harness::{
    Client, Login, Peers, PgBouncer, Postgres, RecordingPeer, SqlState, cancel_at, finish,
};

const CANCELLED: SqlState = SqlState("57014");

/// Protocol 3.0 and 3.2.
fn logins() -> [Login; 2] {
    [0, 2].map(|minor| Login::new().minor_version(minor))
}

fn through(bouncer: &PgBouncer, client: &Client) {
    let mut wire = bouncer.wire();
    wire.send(&client.cancel_packet());
    finish(wire);
}

#[test]
fn cancels_find_their_way_between_pgskein_and_pgbouncer() {
    let postgres = Postgres::start();
    let peers = Peers::start(&postgres, 1, "workers = 2\npool_mode = transaction");
    let group = peers.group(1);
    let line = format!("1 = host=127.0.0.1 port={}", group.port());
    let settings = format!("pool_mode = transaction\npeer_id = 2\n[peers]\n{line}");
    let bouncer = PgBouncer::start(&postgres, &settings);
    peers.introduce(1, &format!("2 = host=127.0.0.1 port={}\n", bouncer.port()));

    for login in logins() {
        let ours = [1, 2].map(|worker| group.connect_to_worker_as(worker, &login));
        for client in &ours {
            // PgBouncer takes no other.
            assert_eq!(client.secret().len(), 4);
            let query = client.start_long_query();
            through(&bouncer, client);
            assert_eq!(query.wait(), Err(CANCELLED), "{login:?}, by PgBouncer");
        }
        let theirs = bouncer.connect_as(&login);
        assert_eq!(theirs.process_id().to_be_bytes()[1..3], [2, 0]);
        for worker in [1, 2] {
            let query = theirs.start_long_query();
            cancel_at(group, worker, &theirs.cancel_packet());
            assert_eq!(query.wait(), Err(CANCELLED), "{login:?}, of PgBouncer");
        }
        for client in ours.iter().chain([&theirs]) {
            assert_eq!(client.value("select 'usable'"), "usable");
        }
    }
}

#[test]
fn pgskein_sends_to_a_peer_what_pgbouncer_sends() {
    let postgres = Postgres::start();
    let recorder = RecordingPeer::start();
    let line = format!("3 = host=127.0.0.1 port={}\n", recorder.port());
    let peers = Peers::start(&postgres, 1, "workers = 1");
    peers.introduce(1, &line);
    let bouncer = PgBouncer::start(&postgres, &format!("peer_id = 2\n[peers]\n{line}"));

    let mut sent = 0;
    for last in [0xff, 0b1111_1110, 0b1010_1001, 0b1010_1000] {
        let request = [
            &[0, 0, 0, 16, 4, 210, 22, 46, 0x11, 3, 0, 0x22][..],
            &[1, 2, 3, last],
        ]
        .concat();
        let mut wire = bouncer.wire();
        wire.send(&request);
        finish(wire);
        cancel_at(peers.group(1), 1, &request);
        let packets = recorder.packets();
        if last & 3 == 0 {
            assert_eq!(packets.len(), sent, "no hops were left");
        } else {
            let [theirs, ours] = &packets[sent..] else {
                panic!("one of each: {packets:?}");
            };
            assert_eq!(ours, theirs);
            sent += 2;
        }
    }
    assert_eq!(sent, 6);
}
