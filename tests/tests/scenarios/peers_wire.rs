//! What goes from host to host, byte by byte, and what does not go at all.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use nix::sys::socket::{Backlog, listen};

use crate::harness::{
    Client, Folder, Login, PATIENCE, Peers, Pooler, Postgres, RecordingPeer, cancel_at, finish,
    free_port, wait_for,
};

/// A CancelRequest with this key, as PostgreSQL's documentation has it.
fn packet(process_id: [u8; 4], secret: &[u8]) -> Vec<u8> {
    let length = u32::try_from(12 + secret.len()).unwrap();
    let mut packet = length.to_be_bytes().to_vec();
    packet.extend([0x04, 0xd2, 0x16, 0x2e]);
    packet.extend(process_id);
    packet.extend(secret);
    packet
}

/// Group 1 with a recording peer 2, and what else it has for peers.
fn with_recorder(postgres: &Postgres, settings: &str, more: &str) -> (Peers, RecordingPeer) {
    let peers = Peers::start(postgres, 1, settings);
    let recorder = RecordingPeer::start();
    let port = recorder.port();
    peers.introduce(1, &format!("2 = host=127.0.0.1 port={port}\n{more}"));
    (peers, recorder)
}

/// The row of a peer in SHOW PEERS: state, sent, received, failed.
fn row(group: &Pooler, id: &str) -> [String; 4] {
    let rows = console(group).table("show peers");
    let row = rows.iter().find(|row| row["peer_id"] == id);
    let row = row.unwrap_or_else(|| panic!("no peer {id} in {rows:?}"));
    ["state", "sent", "received", "failed"].map(|name| row[name].clone())
}

fn console(group: &Pooler) -> Client {
    group.connect_as(&Login::new().database("pgskein"))
}

#[test]
fn request_goes_on_as_it_came_with_one_hop_less() {
    let postgres = Postgres::start();
    let settings = "workers = 2\nadmin_users = postgres";
    let (peers, recorder) = with_recorder(&postgres, settings, "");
    let group = peers.group(1);
    let long: Vec<u8> = (0..31).chain([0b1111_1111]).collect();
    let longest = [vec![0xaa; 255], vec![0b0000_0001]].concat();
    let cases: [(&[u8], &[u8]); 4] = [
        (&[1, 2, 3, 0b1010_1011], &[1, 2, 3, 0b1010_1010]),
        (&[1, 2, 3, 0b0000_0010], &[1, 2, 3, 0b0000_0001]),
        (&long, &[&long[..31], &[0b1111_1110]].concat()),
        (&longest, &[&longest[..255], &[0b0000_0000]].concat()),
    ];
    for (number, (received, sent)) in cases.into_iter().enumerate() {
        let worker = if number.is_multiple_of(2) { 1 } else { 2 };
        // Peer 2, little-endian, in the two bytes in the middle.
        let id = [9, 2, 0, 0xee];
        cancel_at(group, worker, &packet(id, received));
        assert_eq!(recorder.packets().last(), Some(&packet(id, sent)));
        assert_eq!(recorder.packets().len(), number + 1);
    }
    assert_eq!(row(group, "2"), ["ok", "4", "0", "0"]);
}

#[test]
fn requests_that_are_not_to_be_forwarded_reach_nobody() {
    let postgres = Postgres::start();
    let settings = "workers = 2\nadmin_users = postgres";
    let (peers, recorder) = with_recorder(&postgres, settings, "1 = host=127.0.0.1 port=1\n");
    let group = peers.group(1);
    for (what, id, last) in [
        ("no hops are left", [9, 2, 0, 1], 0b1111_1100),
        ("no such peer", [9, 3, 0, 1], 0xff),
        ("the number in the other order", [9, 0, 2, 1], 0xff),
        ("our own number", [9, 1, 0, 1], 0xff),
    ] {
        cancel_at(group, 1, &packet(id, &[1, 2, 3, last]));
        assert_eq!(recorder.packets(), Vec::<Vec<u8>>::new(), "{what}");
    }
    cancel_at(group, 2, &packet([9, 2, 0, 1], &[1, 2, 3, 0xff]));
    assert_eq!(recorder.packets().len(), 1);
}

#[test]
fn request_that_two_hosts_send_to_each_other_ends() {
    let postgres = Postgres::start();
    let peers = Peers::start(&postgres, 2, "workers = 1\nadmin_users = postgres");
    // Each is sure that the other is host 9.
    let ports = [1, 2].map(|id| peers.group(id).port());
    peers.introduce(1, &format!("9 = host=127.0.0.1 port={}\n", ports[1]));
    peers.introduce(2, &format!("9 = host=127.0.0.1 port={}\n", ports[0]));

    cancel_at(peers.group(1), 1, &packet([1, 9, 0, 1], &[1, 2, 3, 0xff]));

    // 3 hops: to 2, to 1, to 2. The request that has none left is dropped there.
    assert_eq!(row(peers.group(1), "9")[1], "2");
    assert_eq!(row(peers.group(2), "9")[1], "1");
    peers
        .group(2)
        .wait_log("cancel requests with unknown keys: count=1 ");
}

#[test]
fn requests_that_others_have_forwarded_are_counted() {
    let postgres = Postgres::start();
    let settings = "workers = 1\nadmin_users = postgres\npool_mode = transaction";
    // The only peer of an address is known by it, and of several nobody is.
    for (count, rows) in [(2, [("1", "0"), ("2", "1")]), (3, [("1", "1"), ("2", "0")])] {
        let peers = Peers::start(&postgres, count, settings);
        let client = peers.group(1).connect();
        let query = client.start_long_query();
        cancel_at(peers.group(2), 1, &client.cancel_packet());
        assert!(query.wait().is_err());
        for (id, received) in rows {
            assert_eq!(row(peers.group(1), id)[2], received, "{count} hosts");
        }
        // What a client sends itself is none of them.
        let query = client.start_long_query();
        client.cancel();
        assert!(query.wait().is_err());
        let total = |group| ["1", "2"].map(|id| row(group, id)[2].clone());
        assert_eq!(total(peers.group(1)), rows.map(|(_, received)| received));
        assert_eq!(total(peers.group(2)), ["0", "0"]);
    }
}

#[test]
fn connection_of_the_client_is_held_until_the_peer_closes_its_own() {
    let postgres = Postgres::start();
    let settings = "workers = 1\nadmin_users = postgres\ncancel_wait_timeout = 60";
    let (peers, recorder) = with_recorder(&postgres, settings, "");
    let group = peers.group(1);
    recorder.be_silent();
    let mut wire = group.wire();
    wire.send(&packet([9, 2, 0, 1], &[1, 2, 3, 0xff]));
    recorder.wait_packets(1);
    let pools = console(group).table("show peer_pools");
    assert_eq!(pools[0]["peer_id"], "2");
    assert_eq!(pools[0]["cl_active_cancel_req"], "1");
    assert_eq!(pools[0]["sv_active_cancel"], "1");
    assert!(wire.read_arrived(), "closed before the peer has");
    recorder.speak();
    finish(wire);
    assert_eq!(row(group, "2"), ["ok", "1", "0", "0"]);
}

#[test]
fn peer_that_never_answers_costs_its_own_cancels_only() {
    let postgres = Postgres::start();
    let peers = Peers::start(
        &postgres,
        2,
        "workers = 1\nadmin_users = postgres\npool_mode = transaction\ncancel_wait_timeout = 8",
    );
    let silent = RecordingPeer::start();
    silent.be_silent();
    let port = silent.port();
    let lines = peers.lines("");
    peers.introduce(
        1,
        &format!("{lines}3 = host=127.0.0.1 port={port} pool_size=2\n"),
    );
    let group = peers.group(1);
    let lost: Vec<_> = (0..4)
        .map(|_| {
            let mut wire = group.wire();
            wire.send(&packet([9, 3, 0, 1], &[1, 2, 3, 0xff]));
            wire
        })
        .collect();
    // Two are on their way, and hold up nobody who is for somebody else.
    silent.wait_packets(2);
    let client = peers.group(2).connect();
    let query = client.start_long_query();
    cancel_at(group, 1, &client.cancel_packet());
    assert!(query.wait().is_err());
    // The others get their places before the first two are given up.
    silent.wait_packets(4);
    for wire in lost {
        finish(wire);
    }
    assert_eq!(row(group, "3"), ["failing", "4", "0", "4"]);

    // As soon as it answers, it is a peer like any other.
    silent.speak();
    cancel_at(group, 1, &packet([9, 3, 0, 1], &[1, 2, 3, 0xff]));
    assert_eq!(row(group, "3"), ["ok", "5", "0", "4"]);
}

#[test]
fn peer_that_refuses_is_tried_anew_for_each_request() {
    let postgres = Postgres::start();
    let peers = Peers::start(&postgres, 1, "workers = 1\nadmin_users = postgres");
    let port = free_port();
    peers.introduce(1, &format!("2 = host=127.0.0.1 port={port}\n"));
    let group = peers.group(1);
    let request = packet([9, 2, 0, 1], &[1, 2, 3, 0xff]);
    for failed in 1..=3 {
        cancel_at(group, 1, &request);
        assert_eq!(row(group, "2"), ["failing", "0", "0", &failed.to_string()]);
    }
    let rows = console(group).table("show peers");
    let error = rows.iter().find(|row| row["peer_id"] == "2").unwrap()["last_error"].clone();
    assert!(error.contains("Connection refused"), "{error}");

    let recorder = RecordingPeer::at(port);
    cancel_at(group, 1, &request);
    assert_eq!(recorder.packets().len(), 1);
    assert_eq!(row(group, "2"), ["ok", "1", "0", "3"]);
}

#[test]
fn reload_adds_and_removes_peers() {
    let postgres = Postgres::start();
    let (peers, first) = with_recorder(&postgres, "workers = 1\nadmin_users = postgres", "");
    let group = peers.group(1);
    let second = RecordingPeer::start();
    let request = |peer| packet([9, peer, 0, 1], &[1, 2, 3, 0xff]);
    cancel_at(group, 1, &request(2));
    cancel_at(group, 1, &request(3));
    assert_eq!((first.packets().len(), second.packets().len()), (1, 0));

    // Peer 2 is removed while a request is on its way there, and another waits.
    first.be_silent();
    let port = first.port();
    peers.introduce(1, &format!("2 = host=127.0.0.1 port={port} pool_size=1\n"));
    let wires: Vec<_> = (0..2)
        .map(|_| {
            let mut wire = group.wire();
            wire.send(&request(2));
            wire
        })
        .collect();
    wait_for(
        "one to wait, or to have the place of the other",
        PATIENCE,
        || {
            console(group).table("show peer_pools")[0]["cl_waiting_cancel_req"] == "1"
                || first.packets().len() == 3
        },
    );
    let port = second.port();
    peers.introduce(1, &format!("3 = host=127.0.0.1 port={port}\n"));
    cancel_at(group, 1, &request(3));
    assert_eq!(second.packets().len(), 1);
    first.speak();
    for wire in wires {
        finish(wire);
    }
    let before = first.packets();
    cancel_at(group, 1, &request(2));
    assert_eq!(first.packets(), before, "nothing after it was removed");
}

#[test]
fn peer_behind_a_unix_socket_or_an_address_of_version_6_is_reached() {
    let postgres = Postgres::start();
    let settings = "workers = 1\npool_mode = transaction\nlisten_addr = 127.0.0.1, ::1";
    let peers = Peers::start(&postgres, 3, settings);
    let folder = peers.group(2).socket_folder();
    let lines = format!(
        "2 = host={} port={}\n3 = host=::1 port={}\n",
        folder.display(),
        peers.group(2).port(),
        peers.group(3).port()
    );
    peers.introduce(1, &lines);
    for other in [2, 3] {
        let client = peers.group(other).connect();
        let query = client.start_long_query();
        cancel_at(peers.group(1), 1, &client.cancel_packet());
        assert!(query.wait().is_err(), "peer {other}");
    }
}

#[test]
fn keys_are_found_that_were_issued_under_another_number() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction";
    let peers = Peers::start(&postgres, 2, settings);
    let group = peers.group(1);
    let client = group.connect_to_worker(1);
    // Both hosts change their numbers, to the other's.
    for (id, number) in [(1, 2), (2, 1)] {
        let port = peers.group(3 - id).port();
        let lines = format!("{id} = host=127.0.0.1 port={port} kind=pgskein\n");
        let text = peers.with_peers(id, &lines);
        let text = text.replace(&format!("peer_id = {id}"), &format!("peer_id = {number}"));
        peers.group(id).reload(&text);
    }
    let later = group.connect_to_worker(1);
    assert_eq!(client.process_id().to_be_bytes()[1], 1);
    assert_eq!(later.process_id().to_be_bytes()[1], 2);
    for client in [&client, &later] {
        let query = client.start_long_query();
        cancel_at(group, 2, &client.cancel_packet());
        assert!(query.wait().is_err());
    }
}

#[test]
fn peer_whose_queue_is_full_is_tried_again_and_holds_up_nobody() {
    let postgres = Postgres::start();
    let settings = "workers = 1\nadmin_users = postgres\ncancel_wait_timeout = 60";
    let peers = Peers::start(&postgres, 1, settings);
    let group = peers.group(1);
    // Two connections fit into the queue of its unix socket.
    let folder = Folder::make("peer", group.account());
    let path = folder.join(".s.PGSQL.7000");
    let listener = UnixListener::bind(&path).unwrap();
    listen(&listener, Backlog::new(1).unwrap()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let line = format!("2 = host={} port=7000\n", folder.path().display());
    peers.introduce(1, &line);
    let wires: Vec<_> = (0..5)
        .map(|_| {
            let mut wire = group.wire();
            wire.send(&packet([9, 2, 0, 1], &[1, 2, 3, 0xff]));
            wire
        })
        .collect();
    wait_for("three to wait", PATIENCE, || {
        console(group).table("show peer_pools")[0]["cl_waiting_cancel_req"] == "3"
    });
    for _ in 0..5 {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 16];
        stream.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes[..], packet([9, 2, 0, 1], &[1, 2, 3, 0xfe]));
    }
    for wire in wires {
        finish(wire);
    }
    assert_eq!(row(group, "2"), ["ok", "5", "0", "0"]);
}
