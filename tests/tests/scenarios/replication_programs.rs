//! Backups and WAL through the pooler, by the programs of PostgreSQL.

use std::fs;
use std::path::Path;

use crate::harness::{
    Account, Folder, PATIENCE, Pooler, Postgres, Program, Signal, python, wait_for,
};
use crate::replication::{wait_walsenders, walsenders};

#[test]
fn pg_basebackup_makes_backups_that_stand_up_to_a_check() {
    let postgres = Postgres::start_for_replication();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let folder = Folder::make("backup", &Account::unprivileged());
    // The third one receives WAL over a second connection meanwhile.
    for (name, wal) in [("none", "none"), ("fetch", "fetch"), ("stream", "stream")] {
        let to = folder.join(name);
        basebackup(&pooler, &to, &format!("-X {wal}")).run().ok();
        let check = Program::new("pg_verifybackup").argument(&to.display().to_string());
        let check = check.arguments(if wal == "none" { "-n" } else { "" });
        assert_eq!(check.run().ok(), "backup successfully verified");
    }
    wait_walsenders(&postgres, 0);
}

#[test]
fn pg_basebackup_needs_two_servers_to_stream() {
    let postgres = Postgres::start_for_replication();
    let settings = "workers = 1\ndefault_pool_size = 1\nquery_wait_timeout = 1";
    let pooler = Pooler::start(&postgres, settings);
    let folder = Folder::make("backup", &Account::unprivileged());
    let said = basebackup(&pooler, &folder.join("stream"), "-X stream").run();
    assert!(said.refused().contains("query_wait_timeout"));
    basebackup(&pooler, &folder.join("fetch"), "-X fetch")
        .run()
        .ok();
}

#[test]
fn pg_receivewal_writes_the_segments_that_the_server_has() {
    let postgres = Postgres::start_for_replication();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let folder = Folder::make("wal", &Account::unprivileged());
    let receivewal = |arguments: &str| {
        let to = format!("host=127.0.0.1 port={} user=postgres", pooler.port());
        let program = Program::new("pg_receivewal").arguments("-d").argument(&to);
        program.arguments("-S receiver").arguments(arguments)
    };
    receivewal("--create-slot").run().ok();
    let into = format!("-n -D {}", folder.path().display());
    let receiver = receivewal(&into).start();
    wait_walsenders(&postgres, 1);
    for round in 0..3 {
        let segment = postgres.query("select pg_walfile_name(pg_current_wal_lsn())");
        postgres.query(&format!(
            "create table t_{round} as select generate_series(1, 100)"
        ));
        postgres.query("select pg_switch_wal()");
        let received = folder.join(&segment[0]);
        wait_for(&format!("the segment {}", segment[0]), PATIENCE, || {
            received.exists()
        });
        let own = postgres.data().join("pg_wal").join(&segment[0]);
        assert!(same(&received, &own), "{} differs", segment[0]);
    }
    receiver.process().signal(Signal::SIGINT);
    let run = receiver.wait();
    assert_eq!(run.code, Some(0), "{run:?}");
    receivewal("--drop-slot").run().ok();
    wait_walsenders(&postgres, 0);
    assert_eq!(
        postgres.query("select count(*) from pg_replication_slots"),
        ["0"]
    );
}

#[test]
fn pg_recvlogical_sees_every_row() {
    let postgres = Postgres::start_for_replication();
    postgres.query("create table t (a int)");
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = statement");
    let folder = Folder::make("logical", &Account::unprivileged());
    let file = folder.join("changes");
    let recvlogical = |arguments: &str| {
        let to = format!(
            "host=127.0.0.1 port={} user=postgres dbname=postgres",
            pooler.port()
        );
        let program = Program::new("pg_recvlogical").arguments("-d").argument(&to);
        program.arguments("-S changes").arguments(arguments)
    };
    recvlogical("--create-slot -P test_decoding").run().ok();
    let into = format!("--start -n -F 1 -f {}", file.display());
    let receiver = recvlogical(&into).start();
    // Through the same pool.
    let client = pooler.connect();
    for row in 1..=300 {
        client
            .query(&format!("insert into t values ({row})"))
            .unwrap();
    }
    wait_for("the last row", PATIENCE, || {
        text(&file).contains("INSERT: a[integer]:300\n")
    });
    receiver.process().signal(Signal::SIGINT);
    let run = receiver.wait();
    assert_eq!(run.code, Some(0), "{run:?}");
    let text = text(&file);
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("table public.t: INSERT: a[integer]:"));
    assert!(rows.eq((1..=300).map(|row| row.to_string())), "{text}");
    recvlogical("--drop-slot").run().ok();
    assert_eq!(
        postgres.query("select count(*) from pg_replication_slots"),
        ["0"]
    );
    wait_walsenders(&postgres, 0);
}

#[test]
fn psycopg2_consumes_a_stream_and_goes_on_with_sql() {
    let postgres = Postgres::start_for_replication();
    postgres.query("create table t (a int)");
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let dsn = format!(
        "host=127.0.0.1 port={} user=postgres dbname=postgres",
        pooler.port()
    );
    let printed = python(PSYCOPG2, &[&dsn]).ok();
    assert_eq!(
        printed,
        "logical\n5 inserts, then stopped\nphysical 1\ndropped"
    );
    assert_eq!(walsenders(&postgres), 0);
}

/// A backup into this folder.
fn basebackup(pooler: &Pooler, to: &Path, arguments: &str) -> Program {
    let from = format!("host=127.0.0.1 port={} user=postgres", pooler.port());
    let program = Program::new("pg_basebackup")
        .arguments("-d")
        .argument(&from);
    let program = program
        .arguments("--no-sync -c fast -D")
        .argument(&to.display().to_string());
    program.arguments(arguments)
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

fn same(one: &Path, other: &Path) -> bool {
    let bytes = |path: &Path| fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    bytes(one) == bytes(other)
}

const PSYCOPG2: &str = r#"
import psycopg2, psycopg2.extras, sys
dsn = sys.argv[1]
repl = psycopg2.connect(dsn, connection_factory=psycopg2.extras.LogicalReplicationConnection)
cursor = repl.cursor()
cursor.create_replication_slot("s", output_plugin="test_decoding")
cursor.start_replication("s", decode=True, status_interval=1)
print("logical")
ordinary = psycopg2.connect(dsn)
with ordinary, ordinary.cursor() as other:
    other.execute("insert into t select generate_series(1, 5)")
seen = 0
def consume(message):
    global seen
    message.cursor.send_feedback(flush_lsn=message.data_start, reply=True)
    seen += "INSERT" in message.payload
    if message.payload.startswith("COMMIT"):
        raise psycopg2.extras.StopReplication()
try:
    cursor.consume_stream(consume)
except psycopg2.extras.StopReplication:
    print(seen, "inserts, then stopped")
repl.close()
physical = psycopg2.connect(dsn, connection_factory=psycopg2.extras.PhysicalReplicationConnection)
cursor = physical.cursor()
cursor.execute("IDENTIFY_SYSTEM")
print("physical", cursor.fetchone()[1])
physical.close()
repl = psycopg2.connect(dsn, connection_factory=psycopg2.extras.LogicalReplicationConnection)
repl.cursor().drop_replication_slot("s")
print("dropped")
repl.close()
"#;
