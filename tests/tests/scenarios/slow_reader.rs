//! A client that does not read stops its own server, and nobody else.

use crate::harness::{PATIENCE, Pooler, Postgres, wait_for};

#[test]
fn result_of_a_gibibyte_that_nobody_reads_stays_in_postgresql() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let worker = pooler.worker(1);
    let sibling = pooler.connect_to_worker(1);
    sibling.value("select 'warm'");
    let before = worker.resident();

    // A thousand rows of a mebibyte each.
    let mut wire = pooler.wire_to_worker(1);
    wire.send(&crate::harness::Login::new().packet());
    while wire.read_message().expect("a login").tag != b'Z' {}
    wire.send_message(
        b'Q',
        b"select repeat('x', 1048576) from generate_series(1, 1024)\0",
    );
    wait_for("PostgreSQL to be stopped", PATIENCE, || {
        postgres.number("select count(*) from pg_stat_activity where wait_event = 'ClientWrite'")
            == 1
    });
    for _ in 0..200 {
        assert_eq!(sibling.value("select 'goes on'"), "goes on");
    }
    let held = worker.resident().saturating_sub(before);
    assert!(held < MOST_HELD, "{held} bytes for one slow reader");

    // Then it reads, and nothing is missing.
    let mut bytes = 0;
    loop {
        let (tag, length) = wire.read_header().expect("the rest of the result");
        assert_eq!(wire.skip(length.into()), u64::from(length));
        match tag {
            b'D' => bytes += u64::from(length) - 6,
            b'Z' => break,
            b'T' | b'C' => {}
            _ => panic!("{tag}"),
        }
    }
    assert_eq!(bytes, 1 << 30);
    let held = worker.peak_resident().saturating_sub(before);
    assert!(held < MOST_HELD, "{held} bytes at the peak");
}

#[test]
fn server_that_does_not_read_stops_its_own_client() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 1\npool_mode = transaction");
    let worker = pooler.worker(1);
    let (sibling, client) = (pooler.connect(), pooler.connect());
    sibling.value("select 'warm'");
    client.value("select 'warm'");
    let before = worker.resident();
    // PostgreSQL reads nothing while it sleeps.
    let _long = client.start_long_query();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut wire = pooler.wire();
            wire.send(&crate::harness::Login::new().packet());
            while wire.read_message().expect("a login").tag != b'Z' {}
            wire.send_message(b'Q', b"select pg_sleep(1.5)\0");
            // 200 MB that follow a query that is still running.
            let text = vec![b'x'; 10_000_000];
            for _ in 0..20 {
                wire.send_message(b'Q', &[b"select length('", &text[..], b"')\0"].concat());
            }
            let mut answers = 0;
            while answers < 21 {
                answers += i32::from(wire.read_message().expect("an answer").tag == b'Z');
            }
        });
        while !writer.is_finished() {
            assert_eq!(sibling.value("select 'goes on'"), "goes on");
            let held = worker.resident().saturating_sub(before);
            assert!(held < MOST_HELD, "{held} bytes for one fast writer");
        }
        writer.join().unwrap();
    });
    client.cancel();
}

/// Bytes that a worker may keep for one connection that is slower than the other.
const MOST_HELD: u64 = 16 << 20;
