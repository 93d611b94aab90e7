//! Replication connections: each has a server of its own.

use std::net::TcpListener;

use crate::harness::{
    Client, Login, Manner, PATIENCE, Pooler, Postgres, Psql, Release, SqlState, StandIn, Wire,
    wait_for,
};

/// A login that asks for replication of one database.
pub(crate) fn logical() -> Login {
    Login::new().parameter("replication", "database")
}

/// A login that asks for replication of the whole cluster.
pub(crate) fn physical() -> Login {
    Login::new()
        .database("replication")
        .parameter("replication", "true")
}

/// Begins a stream of decoded changes from a new slot; what happens in the
/// database from now on will be in it.
pub(crate) fn stream(client: &Client, slot: &str) {
    let create = format!("CREATE_REPLICATION_SLOT {slot} LOGICAL test_decoding");
    client.query(&create).expect("a slot can be made");
    let _answered_by_copying =
        client.start_query(&format!("START_REPLICATION SLOT {slot} LOGICAL 0/0"));
    client.read_until(b'W');
}

/// Server processes that speak replication.
pub(crate) fn walsenders(postgres: &Postgres) -> i64 {
    postgres.number("select count(*) from pg_stat_activity where backend_type = 'walsender'")
}

/// Waits until so many servers speak replication.
pub(crate) fn wait_walsenders(postgres: &Postgres, count: i64) {
    let what = format!("{count} servers that speak replication");
    wait_for(&what, PATIENCE, || walsenders(postgres) == count);
}

#[test]
fn both_kinds_speak_their_own_commands_in_every_pool_mode() {
    let postgres = Postgres::start_for_replication();
    let system = postgres.query("select system_identifier::text from pg_control_system()");
    for mode in ["session", "transaction", "statement"] {
        let pooler = Pooler::start(&postgres, &format!("pool_mode = {mode}"));
        let client = pooler.connect_as(&logical());
        let row = client.value("IDENTIFY_SYSTEM");
        assert!(row.starts_with(&format!("{}|1|", system[0])), "{row}");
        assert!(row.ends_with("|postgres"), "{row}");
        assert_eq!(client.value("select 'SQL as well'"), "SQL as well");
        // A snapshot is made in a transaction block, whatever the pool's mode.
        let begin = "BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ";
        client.query(begin).unwrap();
        let slot = "CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL test_decoding USE_SNAPSHOT";
        assert!(client.value(slot).starts_with("s|"));
        client.query("COMMIT").unwrap();
        client.close();

        let client = pooler.connect_as(&physical());
        assert!(client.value("IDENTIFY_SYSTEM").starts_with(&system[0]));
        assert_eq!(client.query("select 1"), Err(SqlState("0A000")));
        assert_eq!(client.value("SHOW wal_level"), "logical");
        client.close();
    }
}

#[test]
fn newest_release_streams_and_is_cancelled_by_its_long_key() {
    let postgres = Postgres::start_release_for_replication(Release::Eighteen);
    postgres.query("create table t (a int)");
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let client = pooler.connect_to_worker_as(1, &logical().minor_version(2));
    pooler.wait_log("protocol=3.2");
    stream(&client, "s");
    postgres.query("insert into t values (1)");
    let row = b"table public.t: INSERT: a[integer]:1";
    while !client.read_until(b'd').body.ends_with(row) {}
    client.cancel_through_worker(2);
    assert_eq!(client.pending().wait(), Err(SqlState("57014")));
    assert_eq!(client.value("select count(*) from t"), "1");
    assert!(
        pooler
            .connect_as(&physical())
            .query("IDENTIFY_SYSTEM")
            .is_ok()
    );
}

#[test]
fn server_is_nobody_elses_and_ends_with_its_client() {
    let postgres = Postgres::start_for_replication();
    let pooler = Pooler::start(&postgres, "workers = 1\npool_mode = transaction");
    let first = pooler.connect_as(&logical());
    let second = pooler.connect_as(&logical());
    let pid = "select pg_backend_pid()";
    let ordinary = pooler.connect().value(pid);
    assert_ne!(first.value(pid), second.value(pid));
    assert_ne!(first.value(pid), ordinary);
    assert_eq!(first.value(pid), first.value(pid));
    first.query("set work_mem = '7MB'").unwrap();
    assert_eq!(first.value("show work_mem"), "7MB");
    assert_eq!(walsenders(&postgres), 2);

    // The shared one is lent on, the others are closed.
    first.close();
    second.close();
    wait_walsenders(&postgres, 0);
    assert_eq!(pooler.connect().value(pid), ordinary);
    pooler.wait_log(": login, replication=logical");
    pooler.wait_log("replication client was closed");
}

#[test]
fn greeting_is_what_the_server_itself_says() {
    let postgres = Postgres::start_for_replication();
    let database = format!(
        "* = {} application_name=entry timezone=UTC",
        postgres.address()
    );
    let pooler = Pooler::start_for(&database, "ignore_startup_parameters = geqo");
    let ordinary = pooler.connect();
    let login = logical()
        .minor_version(2)
        .parameter("application_name", "abc")
        .parameter("DateStyle", "German")
        .parameter("work_mem", "3MB")
        .parameter("geqo", "off")
        .parameter(
            "options",
            "-c IntervalStyle=iso_8601 --enable-seqscan=off -e",
        );
    let client = pooler.connect_as(&login);
    for (name, value) in [
        ("application_name", "abc"),
        ("TimeZone", "UTC"),
        ("DateStyle", "German, DMY"),
        ("IntervalStyle", "iso_8601"),
    ] {
        assert_eq!(client.parameter(name).as_deref(), Some(value), "{name}");
    }
    // Nobody will ask it to go, so it is not told how that would look.
    assert_eq!(client.parameter("disconnect_requested"), None);
    assert_eq!(
        ordinary.parameter("application_name").as_deref(),
        Some("entry")
    );
    for (name, value) in [
        ("work_mem", "3MB"),
        ("enable_seqscan", "off"),
        ("geqo", "on"),
    ] {
        assert_eq!(client.value(&format!("SHOW {name}")), value, "{name}");
    }
    assert_eq!(client.secret().len(), 32);
    assert!((1..=2).contains(&client.slot()));
}

#[test]
fn address_of_the_client_is_in_the_name_that_its_server_gets() {
    let postgres = Postgres::start_for_replication();
    let settings = "workers = 1\napplication_name_add_host = 1";
    let pooler = Pooler::start(&postgres, settings);
    let _client = pooler.connect_as(&logical().parameter("application_name", "abc"));
    let sql = "select application_name from pg_stat_activity where backend_type = 'walsender'";
    let name = postgres.query(sql).remove(0);
    assert!(name.starts_with("abc - 127."), "{name}");
}

#[test]
fn startup_packet_of_the_server_has_what_the_client_has_asked_for() {
    let server = StandIn::start(|_| Manner::serve(Vec::new()));
    let database = format!("shop = {} dbname=shop_1 timezone=UTC", server.address());
    let pooler = Pooler::start_for(&database, "workers = 1");
    for (asked, sent) in [
        ("true", Some("true")),
        ("ON", Some("true")),
        ("1", Some("true")),
        ("database", Some("database")),
        ("off", None),
    ] {
        let login = Login::new().database("shop").user("alice");
        server.forget();
        let login = login.parameter("replication", asked);
        pooler.connect_as(&login).query("select").unwrap();
        let packet = &server.packets()[0];
        let parameter = |name: &str| packet.parameter(name);
        assert_eq!(parameter("replication").as_deref(), sent, "{asked}");
        assert_eq!(parameter("database").as_deref(), Some("shop_1"));
        assert_eq!(parameter("user").as_deref(), Some("alice"));
        assert_eq!(parameter("timezone").as_deref(), Some("UTC"));
    }

    // What the client says wins, whatever its case, and goes as it is.
    server.forget();
    let login = Login::new().database("shop").user("alice");
    let login = login
        .parameter("replication", "database")
        .parameter("options", r"-c a=\ b -d 5")
        .parameter("TimeZone", "CET")
        .parameter("x.y", "z");
    pooler.connect_as(&login);
    let packet = &server.packets()[0];
    assert_eq!(
        packet.parameter("options").as_deref(),
        Some(r"-c a=\ b -d 5")
    );
    assert_eq!(packet.parameter("TimeZone").as_deref(), Some("CET"));
    assert_eq!(packet.parameter("timezone"), None);
    assert_eq!(packet.parameter("x.y").as_deref(), Some("z"));
}

#[test]
fn old_server_is_asked_for_the_same_once_more() {
    let server = StandIn::start(|asked| match asked.version().as_str() {
        "3.0" => Manner::serve(Vec::new()),
        _ => Manner::Close,
    });
    let pooler = Pooler::start_for(&format!("* = {}", server.address()), "workers = 1");
    let login = logical().parameter("options", "-c a=b");
    pooler.connect_as(&login).query("select").unwrap();
    assert_eq!(server.versions(), ["3.2", "3.0"]);
    for packet in server.packets() {
        let value = packet.parameter("replication");
        assert_eq!(value.as_deref(), Some("database"));
        assert_eq!(packet.parameter("options").as_deref(), Some("-c a=b"));
    }
}

#[test]
fn server_that_never_answers_ends_with_the_login_or_ends_the_login() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let database = format!("* = host=127.0.0.1 port={}", address.port());
    let pooler = Pooler::start_for(&database, "workers = 1\nserver_connect_timeout = 2");
    let mut wire = pooler.wire();
    wire.send(&logical().packet());
    let (server, _) = listener.accept().unwrap();
    let mut server = Wire::tcp(server);
    server.read_byte().expect("a startup packet");
    drop(wire);
    server.read_to_end();
    pooler.wait_log("closed: replication client was closed");

    let error = pooler.try_connect(&logical()).unwrap_err();
    let expected = ("08006", "connect timeout");
    assert_eq!((&*error.sqlstate, &*error.message), expected);
}

#[test]
fn value_that_means_nothing_is_refused() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "");
    for value in ["maybe", "Database", ""] {
        let login = Login::new().parameter("replication", value);
        let error = pooler.try_connect(&login).unwrap_err();
        assert_eq!((&*error.severity, &*error.sqlstate), ("FATAL", "22023"));
        let text = format!("invalid value for parameter \"replication\": \"{value}\"");
        assert_eq!(error.message, text);
        let hint = "Valid values are: \"false\", 0, \"true\", 1, \"database\".";
        assert_eq!(error.hint, hint);
    }
}

#[test]
fn refusal_of_the_server_is_the_clients_and_nobody_elses() {
    let postgres = Postgres::start_for_replication();
    let pooler = Pooler::start(&postgres, "workers = 1\npool_mode = transaction");
    let alice = || Login::new().user("alice");
    for _ in 0..3 {
        let error = pooler.try_connect(&logical().user("alice")).unwrap_err();
        assert_eq!((&*error.severity, &*error.sqlstate), ("FATAL", "42501"));
        assert!(error.message.contains("replication"), "{error:?}");
    }
    let error = pooler.try_connect(&logical().database("none")).unwrap_err();
    assert_eq!(error.sqlstate, "3D000");
    let options = logical().parameter("options", "-c no_such_setting=1");
    assert_eq!(pooler.try_connect(&options).unwrap_err().sqlstate, "42704");

    // The pool is not held back by that.
    assert_eq!(pooler.connect_as(&alice()).value("select 'in'"), "in");
    assert_eq!(pooler.connect_as(&logical()).value("select 'in'"), "in");
}

#[test]
fn server_that_cannot_be_reached_is_told_at_once() {
    let pooler = Pooler::start_for("* = host=127.0.0.1 port=1", "workers = 1");
    let error = pooler.try_connect(&logical()).unwrap_err();
    assert_eq!(error.sqlstate, "08006");
    assert!(error.message.starts_with("connect failed"), "{error:?}");
    let error = pooler.try_connect(&logical()).unwrap_err();
    let text = "server login has been failing, cached error: connect failed";
    assert!(error.message.starts_with(text), "{error:?}");
}

#[test]
fn password_of_the_client_opens_the_server() {
    let postgres = Postgres::start_for_replication();
    postgres.query("alter role scram_user replication");
    let sql = "select rolpassword from pg_authid where rolname = 'scram_user'";
    let secret = postgres.query(sql).remove(0);
    let pooler = Pooler::start(&postgres, "auth_type = scram-sha-256\nworkers = 1");
    // Only what a client proves can open a server.
    pooler.write_file("users.txt", &format!("\"scram_user\" \"{secret}\"\n"));
    pooler.reload_files();
    let psql = |password: &str| {
        let psql = pooler.psql().user("scram_user").password(password);
        identify(&psql.option("replication", "database"))
    };
    assert!(psql("wrong").is_err());
    assert!(psql("secret").unwrap().ends_with("|postgres"));
    let physical = pooler.psql().user("scram_user").password("secret");
    let physical = physical.database("replication").option("replication", "1");
    assert!(identify(&physical).unwrap().ends_with('|'));
}

#[test]
fn cancel_reaches_the_server_of_its_client() {
    let postgres = Postgres::start_for_replication();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let client = pooler.connect_to_worker_as(1, &logical());
    for worker in [1, 2] {
        let query = client.start_long_query();
        client.cancel_through_worker(worker);
        assert_eq!(query.wait(), Err(SqlState("57014")));
    }
    // A stream as well, as with PostgreSQL itself.
    stream(&client, "s");
    client.cancel_through_worker(2);
    assert_eq!(client.pending().wait(), Err(SqlState("57014")));
    assert_eq!(client.value("select 'still here'"), "still here");
}

/// What IDENTIFY_SYSTEM says, or what psql says instead.
fn identify(psql: &Psql) -> Result<String, String> {
    let run = psql.run("IDENTIFY_SYSTEM");
    match run.code {
        Some(0) => Ok(run.stdout.trim_end().to_owned()),
        _ => Err(run.stderr),
    }
}
