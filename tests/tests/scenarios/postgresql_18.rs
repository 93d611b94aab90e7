//! In front of PostgreSQL 18, with clients of its libpq: protocol 3.2 on both
//! sides, and parameters that earlier versions do not report.

use crate::harness::{Login, PATIENCE, Pooler, Postgres, Release, Signal, SqlState, wait_for};

const ONE_SERVER: &str = "workers = 1\npool_mode = transaction\ndefault_pool_size = 1";

#[test]
fn protocol_3_2_is_spoken_and_goaway_is_not() {
    let postgres = Postgres::start_release(Release::Eighteen);
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    for worker in [1, 2] {
        let client = pooler.connect_to_worker(worker);
        assert!(client.value("show server_version").starts_with("18."));
    }
    pooler.wait_log("connected, protocol=3.2");
    assert!(!pooler.log_contains("protocol=3.0"), "nothing was refused");

    // For a cancel PostgreSQL wants all 32 bytes of its key.
    let client = pooler.connect_to_worker(1);
    let query = client.start_long_query();
    client.cancel_through_worker(2);
    assert_eq!(query.wait(), Err(SqlState("57014")));
    assert_eq!(client.value("select 'served'"), "served");
}

#[test]
fn plain_3_0_can_be_had_from_it() {
    let postgres = Postgres::start_release(Release::Eighteen);
    let pooler = Pooler::start(&postgres, "workers = 1\nserver_protocol = 3.0");
    let client = pooler.connect();
    pooler.wait_log("connected, protocol=3.0");
    let query = client.start_long_query();
    client.cancel();
    assert_eq!(query.wait(), Err(SqlState("57014")));
}

#[test]
fn libpq_18_speaks_3_2_through_the_pooler() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 4\npool_mode = transaction");
    for (asked, spoken) in [("3.0", "3.0"), ("3.2", "3.2"), ("latest", "3.2")] {
        let psql = pooler.psql().user("postgres").release(Release::Eighteen);
        let psql = psql.option("max_protocol_version", asked);
        let said = psql.run("\\conninfo").ok();
        assert!(
            said.contains(&format!("Protocol Version|{spoken}")),
            "{asked}: {said}"
        );
        // Ctrl-C sends its whole key to whichever worker the kernel picks.
        for _ in 0..4 {
            let running = psql.start("select pg_sleep(60)");
            wait_for("psql's query to run", PATIENCE, || {
                postgres.busy_connections() == 1
            });
            running.process().signal(Signal::SIGINT);
            let said = running.wait();
            assert!(said.contains("57014"), "{said}");
        }
    }
    // It demands what it gets.
    let demanding = pooler.psql().user("postgres").release(Release::Eighteen);
    let demanding = demanding.option("min_protocol_version", "3.2");
    let demanding = demanding.option("max_protocol_version", "3.2");
    assert_eq!(demanding.run("select 42").ok(), "42");
}

#[test]
fn each_client_keeps_the_parameters_that_18_reports() {
    let postgres = Postgres::start_release(Release::Eighteen);
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let (one, two) = (pooler.connect(), pooler.connect());
    let long = (0..1000)
        .map(|number| format!("schema_{number:03}"))
        .collect::<Vec<_>>()
        .join(", ");
    assert!(long.len() > 10_000);
    let settings = [
        ("search_path", long.as_str(), "\"$user\", public"),
        ("scram_iterations", "5000", "4096"),
    ];
    for (name, first, second) in settings {
        one.query(&format!("set {name} = {first}")).unwrap();
        two.query(&format!("set {name} = {second}")).unwrap();
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
fn search_path_of_the_startup_packet_holds() {
    let postgres = Postgres::start_release(Release::Eighteen);
    postgres.query("create schema one; create table one.here (a int)");
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let plain = pooler.connect();
    let own = Login::new().parameter("search_path", "one, public");
    let options = Login::new().parameter("options", r"-c search_path=one,\ public");
    for login in [own, options] {
        let client = pooler.connect_as(&login);
        assert_eq!(client.value("select count(*) from here"), "0");
        assert_eq!(plain.query("select * from here"), Err(SqlState("42P01")));
    }
}

#[test]
fn names_beyond_ascii_keep_their_meaning_in_every_encoding() {
    let postgres = Postgres::start_release(Release::Eighteen);
    postgres.query("create schema größe; create table größe.here as select 'found' as word");
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let unicode = pooler.connect();
    let latin = pooler.connect_as(&Login::new().parameter("client_encoding", "LATIN1"));
    let plain = pooler.connect();
    unicode.query("set search_path = größe").unwrap();
    latin.send_message(b'Q', b"set search_path = gr\xf6\xdfe\0");
    latin.pending().wait().unwrap();
    for _ in 0..2 {
        assert_eq!(unicode.value("select word from here"), "found");
        assert_eq!(latin.value("select word from here"), "found");
        assert_eq!(plain.query("select * from here"), Err(SqlState("42P01")));
    }
}
