//! Reported parameters follow their client from server to server.

use crate::harness::{Login, Pooler, Postgres};

const ONE_SERVER: &str = "workers = 1\npool_mode = transaction\ndefault_pool_size = 1";

#[test]
fn each_client_keeps_its_parameters_on_a_shared_server() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let (one, two) = (pooler.connect(), pooler.connect());
    let settings = [
        ("application_name", "first", "second"),
        ("client_encoding", "LATIN1", "UTF8"),
        ("DateStyle", "SQL, DMY", "ISO, MDY"),
        ("TimeZone", "Asia/Tokyo", "Europe/Berlin"),
        ("standard_conforming_strings", "off", "on"),
        ("IntervalStyle", "iso_8601", "postgres"),
        ("default_transaction_read_only", "on", "off"),
        ("session_authorization", "alice", "bob"),
    ];
    for (name, first, second) in settings {
        one.query(&format!("set {name} = '{first}'")).unwrap();
        two.query(&format!("set {name} = '{second}'")).unwrap();
        assert_eq!(one.parameter(name).as_deref(), Some(first), "reported");
    }
    for _ in 0..3 {
        for (name, first, second) in settings {
            assert_eq!(one.value(&format!("show {name}")), first);
            assert_eq!(two.value(&format!("show {name}")), second);
        }
    }
}

#[test]
fn parameters_of_the_startup_packet_hold() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let login = Login::new()
        .parameter("application_name", "mine")
        .parameter("datestyle", "German, DMY")
        .parameter("TimeZone", "Asia/Tokyo");
    let (mine, plain) = (pooler.connect_as(&login), pooler.connect());
    for _ in 0..2 {
        assert_eq!(mine.value("show application_name"), "mine");
        assert_eq!(mine.value("show datestyle"), "German, DMY");
        assert_eq!(mine.value("show timezone"), "Asia/Tokyo");
        assert_ne!(plain.value("show datestyle"), "German, DMY");
        assert_ne!(plain.value("show timezone"), "Asia/Tokyo");
    }
}

#[test]
fn long_values_are_applied() {
    let postgres = Postgres::start();
    let settings = format!("{ONE_SERVER}\ntrack_extra_parameters = IntervalStyle, search_path");
    let pooler = Pooler::start(&postgres, &settings);
    let long = format!("it's {}", "x".repeat(50));
    let (one, two) = (pooler.connect(), pooler.connect());
    let quoted = long.replace('\'', "''");
    one.query(&format!("set application_name = '{quoted}'"))
        .unwrap();
    two.query("set application_name = 'short'").unwrap();
    assert_eq!(one.value("show application_name"), long);
    assert_eq!(two.value("show application_name"), "short");
}

#[test]
fn set_local_and_rolled_back_settings_are_not_kept() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let client = pooler.connect();
    let before = client.value("show timezone");
    for end in ["commit", "rollback"] {
        client.query("begin").unwrap();
        client.query("set local timezone = 'Asia/Tokyo'").unwrap();
        assert_eq!(client.value("show timezone"), "Asia/Tokyo");
        client.query(end).unwrap();
        assert_eq!(client.value("show timezone"), before);
    }
    client.query("begin").unwrap();
    client.query("set timezone = 'Asia/Tokyo'").unwrap();
    client.query("rollback").unwrap();
    assert_eq!(client.value("show timezone"), before);
}

#[test]
fn change_is_reported_to_its_client_and_to_no_other() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let (one, two) = (pooler.connect(), pooler.connect());
    one.query("set timezone = 'Asia/Tokyo'").unwrap();
    assert_eq!(one.take_transcript(), "CSZ");
    // Switching the server over between them is nobody's business.
    assert_eq!(two.value("select 1"), "1");
    assert_eq!(two.take_transcript(), "TDCZ");
    assert_eq!(one.value("select 1"), "1");
    assert_eq!(one.take_transcript(), "TDCZ");
}

#[test]
fn parameters_of_the_database_line_are_the_servers_defaults() {
    let postgres = Postgres::start();
    let line = format!(
        "postgres = {} timezone=Asia/Tokyo datestyle=German application_name=pooled",
        postgres.address()
    );
    let pooler = Pooler::start_for(&line, ONE_SERVER);
    let client = pooler.connect();
    assert_eq!(client.value("show timezone"), "Asia/Tokyo");
    assert_eq!(client.value("show datestyle"), "German, DMY");
}
