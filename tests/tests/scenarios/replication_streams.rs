//! PostgreSQL replicates through the pooler: subscriptions and standbys.

use crate::harness::{Account, Folder, PATIENCE, Pooler, Postgres, Program, Signal, wait_for};
use crate::replication::wait_walsenders;

#[test]
fn subscription_copies_follows_and_comes_back() {
    let publisher = Postgres::start_for_replication();
    publisher.query(
        "create table a (n int primary key); create table b (n int primary key); \
         insert into a select generate_series(1, 20000); \
         insert into b select generate_series(1, 10); \
         create publication p for table a, b",
    );
    let subscriber = Postgres::start_for_replication();
    subscriber.query("create table a (n int primary key); create table b (n int primary key)");
    let pooler = Pooler::start(&publisher, "workers = 2\npool_mode = transaction");
    let rows = |table: &str, count: i64| {
        wait_for(&format!("{count} rows in {table}"), PATIENCE, || {
            subscriber.number(&format!("select count(*) from {table}")) == count
        });
    };
    subscriber.query(&format!(
        "create subscription s connection \
         'host=127.0.0.1 port={} user=postgres dbname=postgres' publication p",
        pooler.port()
    ));
    // The tables as they are, each over a connection of its own, and then what
    // happens to them.
    rows("a", 20_000);
    rows("b", 10);
    let client = pooler.connect();
    client
        .query("insert into a select generate_series(20001, 20100)")
        .unwrap();
    rows("a", 20_100);

    let unfinished = "select count(*) from pg_subscription_rel where srsubstate <> 'r'";
    wait_for("both copies to be over", PATIENCE, || {
        subscriber.number(unfinished) == 0
    });
    wait_walsenders(&publisher, 1);

    // The server process is lost.
    let kill = "select count(pg_terminate_backend(active_pid)) from pg_replication_slots \
                where active_pid is not null";
    assert_eq!(publisher.query(kill), ["1"]);
    client.query("insert into b values (11)").unwrap();
    rows("b", 11);

    // The pooler's worker is lost, whichever it is.
    for slot in [1, 2] {
        pooler.worker(slot).kill();
        publisher.query(&format!("insert into b values (1{slot}0)"));
        rows("b", 11 + i64::from(slot));
    }

    // A drop takes the slot at the publisher along.
    subscriber.query("drop subscription s");
    assert_eq!(
        publisher.query("select count(*) from pg_replication_slots"),
        ["0"]
    );
    wait_walsenders(&publisher, 0);
}

#[test]
fn standby_follows_and_a_receiver_follows_its_promotion() {
    let primary = Postgres::start_for_replication();
    let pooler = Pooler::start(&primary, "workers = 2\npool_mode = transaction");
    let folder = Folder::make("standby", &Account::unprivileged());
    let data = folder.join("data").display().to_string();
    let from = format!("host=127.0.0.1 port={} user=postgres", pooler.port());
    let backup = Program::new("pg_basebackup")
        .arguments("-d")
        .argument(&from);
    let backup = backup.arguments("--no-sync -c fast -X stream -R -C -S standby -D");
    backup.argument(&data).run().ok();

    // What was backed up says how to go on: through the pooler.
    let standby = Postgres::start_over(folder);
    primary.query("create table t as select generate_series(1, 1000) as n");
    let count = "select count(*) from pg_class where relname = 't'";
    wait_for("the table at the standby", PATIENCE, || {
        standby.number(count) == 1
    });
    assert_eq!(standby.query("select count(*) from t"), ["1000"]);

    // Somebody receives WAL from the standby, which becomes a primary of
    // another timeline: the server ends the stream, the client goes on.
    let second = Pooler::start(&standby, "workers = 2\npool_mode = transaction");
    let received = Folder::make("wal", &Account::unprivileged());
    let from = format!("host=127.0.0.1 port={} user=postgres", second.port());
    let receiver = Program::new("pg_receivewal")
        .arguments("-d")
        .argument(&from);
    let receiver = receiver
        .arguments("-n -D")
        .argument(&received.path().display().to_string());
    let receiver = receiver.start();
    wait_walsenders(&standby, 1);
    assert_eq!(standby.query("select pg_promote()"), ["t"]);
    standby.query("insert into t values (1001)");
    standby.query("select pg_switch_wal()");
    wait_for("the history of the timeline", PATIENCE, || {
        received.join("00000002.history").exists()
    });
    wait_for("a segment of the timeline", PATIENCE, || {
        let files = received.path().read_dir().expect("the folder can be read");
        let names = files.flatten().map(|file| file.file_name().into_string());
        names
            .flatten()
            .any(|name| name.starts_with("00000002") && name.len() == 24)
    });
    receiver.process().signal(Signal::SIGINT);
    let run = receiver.wait();
    assert_eq!(run.code, Some(0), "{run:?}");
}
