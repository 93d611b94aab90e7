//! Peers that are known by their names, and a host that is numbered by its own.

use crate::harness::{
    Client, Names, PATIENCE, Pooler, Postgres, RecordingPeer, SqlState, cancel_at, wait_for,
};

const CANCELLED: SqlState = SqlState("57014");

const SETTINGS: &str = "workers = 1\npool_mode = transaction\nadmin_users = postgres";

/// A request for peer 2.
fn request() -> Vec<u8> {
    [
        &[0, 0, 0, 16, 4, 210, 22, 46, 1, 2, 0, 1][..],
        &[1, 2, 3, 0xff],
    ]
    .concat()
}

fn start(postgres: &Postgres, names: &Names, settings: &str) -> Pooler {
    Pooler::start_in(postgres, settings, &names.environment())
}

#[test]
fn peer_is_found_where_its_name_leads_now() {
    let postgres = Postgres::start();
    let names = Names::make();
    let first = RecordingPeer::start();
    let port = first.port();
    // The same port at another address: the peer has moved.
    let second = RecordingPeer::at_address([127, 0, 0, 2], port);
    names.put("peer-1.test", "127.0.0.1");
    let lines = format!("[peers]\n1-3 = host=peer-%d.test port={port}\n");
    let settings = format!("{SETTINGS}\npeer_id = 1\ndns_max_ttl = 1\n{lines}");
    let group = start(&postgres, &names, &settings);
    cancel_at(&group, 1, &request());
    assert_eq!((first.packets().len(), second.packets().len()), (1, 0));

    // After dns_max_ttl it is looked up again, while both answer.
    names.put("peer-1.test", "127.0.0.2");
    wait_for("the new address to be used", PATIENCE, || {
        cancel_at(&group, 1, &request());
        second.packets().len() == 1
    });
}

#[test]
fn peer_that_is_gone_from_its_address_is_looked_up_again_at_once() {
    let postgres = Postgres::start();
    let names = Names::make();
    let first = RecordingPeer::start();
    let port = first.port();
    names.put("peer-1.test", "127.0.0.1");
    let lines = format!("[peers]\n2 = host=peer-1.test port={port}\n");
    let settings = format!("{SETTINGS}\npeer_id = 1\ndns_max_ttl = 3600\n{lines}");
    let group = start(&postgres, &names, &settings);
    cancel_at(&group, 1, &request());
    assert_eq!(first.packets().len(), 1);

    first.stop();
    let second = RecordingPeer::at_address([127, 0, 0, 2], port);
    names.put("peer-1.test", "127.0.0.2");
    cancel_at(&group, 1, &request());
    assert_eq!(second.packets().len(), 1, "the first request finds it");

    // Of several addresses each is tried, and a name that has none is asked for
    // again by the next request.
    names.put("peer-1.test", "127.0.0.3 127.0.0.4 127.0.0.2");
    group.reload_files();
    cancel_at(&group, 1, &request());
    assert_eq!(second.packets().len(), 2);
    names.remove("peer-1.test");
    group.reload_files();
    cancel_at(&group, 1, &request());
    assert_eq!(second.packets().len(), 2);
    names.put("peer-1.test", "127.0.0.2");
    cancel_at(&group, 1, &request());
    assert_eq!(second.packets().len(), 3);
}

#[test]
fn one_file_serves_every_pod_of_a_stateful_set() {
    let postgres = Postgres::start();
    let names = [0, 1].map(|ordinal| {
        let names = Names::make();
        names.be_called(&format!("pgskein-{ordinal}"));
        names
    });
    let file = |lines: &str| format!("{SETTINGS}\npeer_id = hostname\n[peers]\n{lines}[pgskein]\n");
    let pods = names
        .each_ref()
        .map(|names| start(&postgres, names, &file("")));
    // The ports differ here, as they would not in a cluster.
    for (pod, other) in [(0, 1), (1, 0)] {
        let port = pods[other].port();
        names[pod].put(&format!("pgskein-{other}.test"), "127.0.0.1");
        let lines = format!("1-2 = host=pgskein-%d.test port={port} kind=pgskein\n");
        pods[pod].reload(&file(&lines));
    }
    for (pod, other) in [(0, 1), (1, 0)] {
        let client: Client = pods[pod].connect();
        let id = u8::try_from(pod + 1).unwrap();
        assert_eq!(client.process_id().to_be_bytes()[1..3], [id, 0]);
        let query = client.start_long_query();
        cancel_at(&pods[other], 1, &client.cancel_packet());
        assert_eq!(query.wait(), Err(CANCELLED), "pod {pod}");
    }
}

#[test]
fn host_without_an_ordinal_is_named_in_the_error() {
    let postgres = Postgres::start();
    let names = Names::make();
    names.be_called("f3a9c2b41e07");
    let group = start(&postgres, &names, SETTINGS);
    let settings = format!("{SETTINGS}\npeer_id = hostname");
    group.write_settings(&settings);
    let psql = group.local_psql().user("pgskein").database("pgskein");
    let said = psql.run("RELOAD").refused();
    assert!(
        said.contains("the name of this host, \"f3a9c2b41e07\""),
        "{said}"
    );
    assert!(said.contains("peer_id"), "{said}");
}
