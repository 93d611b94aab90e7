//! How replication connections end, and what does not end them.

use std::time::Duration;

use crate::harness::{
    Client, Message, PATIENCE, Pooler, Postgres, Process, Signal, SqlState, wait_for, within,
};
use crate::replication::{logical, physical, stream, wait_walsenders, walsenders};

#[test]
fn client_ends_the_stream_and_goes_on() {
    let postgres = Postgres::start_for_replication();
    postgres.query("create table t (a int)");
    let pooler = Pooler::start(&postgres, "workers = 1\npool_mode = transaction");
    let client = pooler.connect_as(&logical());
    stream(&client, "s");
    for round in 1..=3 {
        postgres.query(&format!("insert into t values ({round})"));
        read_change(&client, &format!("INSERT: a[integer]:{round}"));
    }
    client.take_transcript();
    client.send_message(b'c', b"");
    client.pending().wait().unwrap();
    // What both sides were sending was ended, then the command itself.
    let transcript = client.take_transcript().replace('d', "");
    assert!(["cCZ", "cCCZ"].contains(&&*transcript), "{transcript}");
    assert_eq!(client.value("select count(*) from t"), "3");

    // Again, from where it was; an error ends it, and what crosses the error
    // on its way belongs to nothing.
    let client = pooler.connect_as(&logical());
    let again = "START_REPLICATION SLOT s LOGICAL 0/0";
    let _answered_by_copying = client.start_query(again);
    client.read_until(b'W');
    read_change(&client, "INSERT: a[integer]:1");
    client.cancel();
    client.send_message(b'd', b"late");
    client.send_message(b'c', b"");
    assert_eq!(client.pending().wait(), Err(SqlState("57014")));
    client.send_message(b'd', b"later");
    client.send_message(b'c', b"");
    assert_eq!(client.value("select 'still here'"), "still here");
}

#[test]
fn server_ends_with_its_client_however_that_goes() {
    let postgres = Postgres::start_for_replication();
    let settings = "workers = 1\npool_mode = transaction\ndefault_pool_size = 1";
    let pooler = Pooler::start(&postgres, settings);
    let ways: [(&str, Leave); 5] = [
        ("Terminate", |client| client.close()),
        ("end", drop),
        ("reset", Client::reset),
        ("half a message", |client| client.send(b"d\0\0\x01\0half")),
        ("long query", |client| {
            client.send_message(b'c', b"");
            client.pending().wait().unwrap();
            let _unread = client.start_long_query();
        }),
    ];
    for (number, (what, leave)) in ways.into_iter().enumerate() {
        let client = pooler.connect_as(&logical());
        stream(&client, &format!("s_{number}"));
        leave(client);
        wait_for(
            &format!("the server's end after {what}"),
            PATIENCE / 2,
            || walsenders(&postgres) == 0,
        );
        assert_eq!(pooler.connect().value("select 'next'"), "next", "{what}");
        postgres.query(&format!("select pg_drop_replication_slot('s_{number}')"));
    }
}

#[test]
fn client_ends_with_its_server_without_a_word_of_ours() {
    let postgres = Postgres::start_for_replication();
    let pooler = Pooler::start(&postgres, "workers = 1");
    let walsender = "from pg_stat_activity where backend_type = 'walsender'";
    let client = pooler.connect_as(&logical());
    stream(&client, "s");
    postgres.query(&format!("select pg_terminate_backend(pid) {walsender}"));
    let last = client.wait_closed();
    let errors: Vec<_> = last.iter().filter(|message| message.tag == b'E').collect();
    assert_eq!(errors.len(), 1, "{last:?}");
    assert_eq!(errors[0].error().sqlstate, "57P01");
    pooler.wait_log("closed: server closed the connection");

    let client = pooler.connect_as(&physical());
    let pid = postgres.query(&format!("select pid {walsender}"));
    Process(pid[0].parse().unwrap()).kill();
    assert_eq!(client.wait_closed(), []);
}

#[test]
fn worker_that_dies_takes_its_streams_along() {
    let postgres = Postgres::start_for_replication();
    let pooler = Pooler::start(&postgres, "workers = 2");
    let (first, second) = (
        pooler.connect_to_worker_as(1, &logical()),
        pooler.connect_to_worker_as(2, &logical()),
    );
    stream(&first, "first");
    stream(&second, "second");
    pooler.worker(1).kill();
    first.wait_closed();
    wait_walsenders(&postgres, 1);
    postgres.query("create table t as select 1");
    read_change(&second, "COMMIT");

    // The slot is free for whoever comes back.
    let again = pooler.connect_as(&logical());
    let _answered_by_copying = again.start_query("START_REPLICATION SLOT first LOGICAL 0/0");
    again.read_until(b'W');
    read_change(&again, "COMMIT");
}

#[test]
fn timeouts_of_queries_and_servers_leave_streams_alone() {
    let postgres = Postgres::start_for_replication();
    postgres.query("create table t (a int)");
    let settings = "workers = 1\npool_mode = transaction\nquery_timeout = 0.5\n\
                    idle_transaction_timeout = 0.5\ntransaction_timeout = 0.5\n\
                    client_idle_timeout = 0.5\nserver_lifetime = 0.5\nserver_idle_timeout = 0.5";
    let pooler = Pooler::start(&postgres, settings);
    let streaming = pooler.connect_as(&logical());
    stream(&streaming, "s");
    let in_transaction = pooler.connect_as(&logical());
    in_transaction.query("begin").unwrap();
    let idle = pooler.connect_as(&logical());

    // One that does nothing is idle like any other.
    let error = idle.wait_closed().pop().expect("an error").error();
    assert_eq!(error.sqlstate, "57P05");
    assert!(!within(Duration::from_secs(2), || walsenders(&postgres) < 2));
    assert_eq!(in_transaction.value("select 'open'"), "open");
    postgres.query("insert into t values (1)");
    read_change(&streaming, "INSERT: a[integer]:1");
}

#[test]
fn reload_ends_streams_from_where_they_no_longer_lead() {
    let postgres = Postgres::start_for_replication();
    let entry = |more: &str| format!("* = {} {more}", postgres.address());
    let pooler = Pooler::start_for(&entry(""), "workers = 1");
    let client = pooler.connect_as(&logical());
    stream(&client, "s");
    pooler.reload("workers = 1\nquery_timeout = 1");
    postgres.query("create table t as select 1");
    read_change(&client, "COMMIT");

    pooler.write_ini(&entry("timezone=CET"), "workers = 1");
    pooler.reload_files();
    let error = client.wait_closed().pop().expect("an error").error();
    let text = "database configuration changed";
    assert_eq!((&*error.sqlstate, &*error.message), ("57P01", text));
    wait_walsenders(&postgres, 0);
    let client = pooler.connect_as(&logical());
    assert_eq!(client.parameter("TimeZone").as_deref(), Some("CET"));
}

#[test]
fn drain_waits_for_streams_and_asks_none() {
    let postgres = Postgres::start_for_replication();
    let settings = "workers = 1\npool_mode = transaction\ndrain_timeout = 0.5";
    let pooler = Pooler::start(&postgres, settings);
    let streaming = pooler.connect_as(&logical().goaway());
    stream(&streaming, "s");
    let idle = pooler.connect_as(&logical());
    pooler.signal(Signal::SIGTERM);

    // Between two commands it can be closed like any other.
    let last = idle.wait_closed();
    assert_eq!(last.len(), 1, "{last:?}");
    assert_eq!(last[0].error().sqlstate, "57P01");
    assert!(!within(Duration::from_secs(2), || pooler
        .exit_status()
        .is_some()));
    postgres.query("create table t as select 1");
    read_change(&streaming, "COMMIT");
    let transcript = streaming.transcript();
    assert!(!transcript.contains(['g', 'S', 'E', 'N']), "{transcript}");
    streaming.close();
    assert!(pooler.wait_exit(PATIENCE).success());
}

#[test]
fn drain_ends_streams_at_its_last_timeout() {
    let postgres = Postgres::start_for_replication();
    let settings = "workers = 2\ndrain_timeout = 0.2\ndrain_kill_timeout = 1";
    let pooler = Pooler::start(&postgres, settings);
    let client = pooler.connect_as(&logical());
    stream(&client, "s");
    pooler.signal(Signal::SIGTERM);
    let error = client.wait_closed().pop().expect("an error").error();
    let text = "pooler is shutting down";
    assert_eq!((&*error.sqlstate, &*error.message), ("57P01", text));
    assert!(pooler.wait_exit(PATIENCE).success());
    wait_walsenders(&postgres, 0);
}

#[test]
fn interrupt_refuses_streams_that_have_no_server_yet() {
    let postgres = Postgres::start_for_replication();
    let pooler = Pooler::start(&postgres, "workers = 1\ndefault_pool_size = 1");
    let holder = pooler.connect_as(&logical());
    stream(&holder, "s");
    let mut waiting = pooler.wire();
    waiting.send(&logical().packet());
    pooler.wait_waiting_clients(1);
    pooler.signal(Signal::SIGINT);
    let last = waiting.read_to_end().pop().expect("an error").error();
    assert_eq!(last.message, "server shutting down");
    postgres.query("create table t as select 1");
    read_change(&holder, "COMMIT");
    holder.close();
    assert!(pooler.wait_exit(PATIENCE).success());
}

#[test]
fn reader_that_is_slow_stops_its_own_server_and_nobody_else() {
    let postgres = Postgres::start_for_replication();
    postgres.query("create table t (a text)");
    let settings = "workers = 1\npool_mode = transaction";
    let pooler = Pooler::start(&postgres, settings);
    let client = pooler.connect_as(&logical());
    stream(&client, "s");
    let worker = pooler.worker(1);
    let before = worker.resident();
    postgres.query("insert into t select repeat('x', 1000000) from generate_series(1, 60)");

    // The stream stands still while the client reads nothing.
    let sent = "select sent_lsn = pg_current_wal_lsn() from pg_stat_replication";
    let other = pooler.connect();
    for _ in 0..100 {
        assert_eq!(other.value("select 'served'"), "served");
    }
    let waits = "select count(*) from pg_stat_activity where backend_type = 'walsender' \
                 and wait_event = 'WalSenderWriteData'";
    wait_for("the server to wait for its reader", PATIENCE, || {
        postgres.number(waits) == 1
    });
    assert_eq!(postgres.query(sent), ["f"]);
    let grown = worker.resident().saturating_sub(before);
    assert!(grown < 20 << 20, "{grown} bytes more");

    let mut rows = 0;
    while rows < 60 {
        let change = client.read_until(b'd');
        rows += u32::from(change.body.len() > 1_000_000);
    }
    read_change(&client, "COMMIT");
}

/// A way for a client to leave.
type Leave = fn(Client);

/// Reads on up to the change with this text, and answers what the server asks
/// meanwhile.
fn read_change(client: &Client, text: &str) {
    loop {
        let Message { body, .. } = client.read_until(b'd');
        match body.split_first() {
            // XLogData: three numbers of eight bytes, then the text.
            Some((b'w', rest)) if String::from_utf8_lossy(&rest[24..]).contains(text) => return,
            // A keepalive that wants an answer.
            Some((b'k', rest)) if rest.last() == Some(&1) => {
                let mut status = vec![b'r'];
                status.extend_from_slice(&[0; 33]);
                client.send_message(b'd', &status);
            }
            _ => {}
        }
    }
}
