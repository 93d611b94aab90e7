//! What a server reports at its login greets clients of every worker.

use crate::harness::{Login, PATIENCE, Pooler, Postgres, wait_for};

const ONE_SERVER: &str = "workers = 2\npool_mode = transaction\ndefault_pool_size = 1";

#[test]
fn login_needs_no_server_once_any_worker_has_had_one() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    pooler.learn(1, 1);
    pooler.learn(2, 3);
    let alice = Login::new().user("alice");
    let holder = pooler.connect_to_worker_as(1, &alice);
    holder.query("begin").unwrap();

    // The only server is in use, at the other worker.
    let login = alice.clone().parameter("timezone", "Asia/Tokyo");
    let client = pooler.connect_to_worker_as(2, &login);
    for name in [
        "server_version",
        "client_encoding",
        "is_superuser",
        "session_authorization",
    ] {
        assert!(client.parameter(name).is_some(), "{name}");
        assert_eq!(client.parameter(name), holder.parameter(name), "{name}");
    }
    assert_eq!(client.parameter("TimeZone").as_deref(), Some("Asia/Tokyo"));
    assert_eq!(holder.value("select 'undisturbed'"), "undisturbed");

    // Nor does a worker that is started later need one.
    let worker = pooler.worker(2);
    worker.kill();
    wait_for("the next worker 2", PATIENCE, || {
        pooler.workers().get(&2).is_some_and(|next| *next != worker)
    });
    let client = pooler.connect_to_worker_as(2, &alice);
    let query = client.start_query("select current_user");
    holder.query("commit").unwrap();
    assert_eq!(query.wait(), Ok(vec!["alice".to_owned()]));
}

#[test]
fn login_that_waits_is_greeted_when_another_worker_gets_the_server() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    pooler.learn(1, 2);
    pooler.learn(2, 2);
    let alice = Login::new().user("alice");
    // Both come when nobody has had a server; whoever gets the only one keeps
    // it in a transaction.
    let [one, two] = [1, 2].map(|worker| {
        let mut wire = pooler.wire_to_worker(worker);
        wire.send(&alice.packet());
        wire.send_message(b'Q', b"begin\0");
        wire
    });
    for mut wire in [one, two] {
        while wire.read_message().expect("no refusal").tag != b'Z' {}
    }
}

#[test]
fn changed_database_is_greeted_for_anew() {
    let postgres = Postgres::start();
    let line = |name: &str| format!("* = {} application_name={name}", postgres.address());
    let pooler = Pooler::start_for(&line("before"), ONE_SERVER);
    pooler.learn(2, 2);
    let alice = Login::new().user("alice");
    let client = pooler.connect_to_worker_as(1, &alice);
    assert_eq!(
        client.parameter("application_name").as_deref(),
        Some("before")
    );
    pooler.write_ini(&line("after"), ONE_SERVER);
    pooler.reload_files();
    let client = pooler.connect_to_worker_as(2, &alice);
    assert_eq!(
        client.parameter("application_name").as_deref(),
        Some("after")
    );
}
