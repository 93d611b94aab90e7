//! Drivers ask the console as they would ask PostgreSQL.

use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use crate::harness::{Client, Drivers, Login, PATIENCE, Pooler, Postgres, Script, wait_for};

#[test]
fn drivers_of_python_ask_in_their_own_protocol() {
    let (pooler, _postgres, _clients) = three_clients();
    for drivers in [Drivers::Old, Drivers::New] {
        let run = Script::python(drivers, "console.py").run(pooler.port(), &[]);
        assert_eq!(run.ok(), "psycopg asyncpg pg8000", "{drivers:?}");
    }
}

#[test]
fn node_postgres_asks_in_every_way() {
    let (pooler, _postgres, _clients) = three_clients();
    for drivers in [Drivers::Old, Drivers::New] {
        let run = Script::node(drivers, "console.js").run(pooler.port(), &[]);
        assert_eq!(run.ok(), "node-postgres", "{drivers:?}");
    }
}

#[test]
fn tokio_postgres_gets_numbers_in_binary() {
    let (pooler, _postgres, _clients) = three_clients();
    let mut config = Config::new();
    config.host("127.0.0.1").port(pooler.port());
    config.user("postgres").dbname("pgbouncer");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (client, connection) = config.connect(NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let pools = client.prepare("SHOW POOLS").await.unwrap();
        for _ in 0..3 {
            let rows = client.query(&pools, &[]).await.unwrap();
            let ours = rows.iter().find(|row| row.get::<_, &str>(0) == "postgres");
            assert_eq!(ours.unwrap().get::<_, i32>("cl_active"), 3);
            let error = client.query("SHOW NOTHING", &[]).await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), "08P01");
        }
        let cleaned = client.query_one("SHOW WORKERS", &[]).await;
        assert!(cleaned.is_err(), "two workers are two rows");
        let uptime = client.query("SHOW WORKERS", &[]).await.unwrap();
        assert!(uptime[0].get::<_, i64>("uptime") >= 0);
        let simple = client.simple_query("SHOW VERSION").await.unwrap();
        let version = simple.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get("version"),
            _ => None,
        });
        assert!(version.unwrap().starts_with("pgskein "));
        drop(client);
        connection.await.unwrap().unwrap();
    });
}

#[test]
fn errors_last_until_sync_and_the_session_goes_on() {
    let (pooler, _postgres, _clients) = three_clients();
    let console = pooler.connect_as(&Login::new().database("pgbouncer"));
    console.take_transcript();
    // The second and third command of the batch are thrown away.
    console.send_message(b'P', b"\0SHOW NOTHING\0\0\0");
    console.send_message(b'P', b"\0SHOW LISTS\0\0\0");
    console.send_message(b'E', b"\0\0\0\0\0");
    console.send_message(b'S', b"");
    console.read_until(b'Z');
    assert_eq!(console.take_transcript(), "EZ");
    assert_eq!(console.last_error().unwrap().sqlstate, "08P01");
    // A portal gives a few rows at a time and is gone with its Sync.
    console.send_message(b'P', b"\0SHOW LISTS\0\0\0");
    console.send_message(b'B', b"\0\0\0\0\0\0\0\0");
    for _ in 0..4 {
        console.send_message(b'E', b"\0\0\0\0\x05");
    }
    console.send_message(b'S', b"");
    console.send_message(b'E', b"\0\0\0\0\0");
    console.send_message(b'S', b"");
    console.read_until(b'Z');
    console.read_until(b'Z');
    assert_eq!(console.take_transcript(), "12DDDDDsDDDDDsDDDDDsDCZEZ");
    assert_eq!(console.last_error().unwrap().sqlstate, "34000");
    assert_eq!(console.query("SHOW LISTS").unwrap().len(), 16);
}

/// Three clients of the database `postgres`, at two workers.
fn three_clients() -> (Pooler, Postgres, Vec<Client>) {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let clients = [1, 2, 2].map(|worker| pooler.connect_to_worker(worker));
    let console = pooler.connect_as(&Login::new().database("pgbouncer"));
    // The logins that found the way to each worker may still be counted.
    wait_for("three clients", PATIENCE, || {
        let rows = console.query("SHOW POOLS").unwrap();
        rows.iter()
            .any(|row| row.starts_with("postgres|postgres|3|0|"))
    });
    (pooler, postgres, clients.into())
}
