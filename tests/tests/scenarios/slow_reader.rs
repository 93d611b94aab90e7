//! A client that does not read stops its own server, and nobody else.

use crate::harness::{Client, PATIENCE, Pooler, Postgres, Process, Wire, wait_for};

#[test]
fn result_of_a_gibibyte_that_nobody_reads_stays_in_postgresql() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let worker = pooler.worker(1);
    let sibling = pooler.connect_to_worker(1);
    sibling.value("select 'warm'");
    let before = worker.resident();

    let mut wire = pooler.wire_to_worker(1);
    wire.send(&crate::harness::Login::new().packet());
    while wire.read_message().expect("a login").tag != b'Z' {}
    let reader = SlowReader {
        wire,
        postgres: &postgres,
        worker,
        before,
        most_held: MOST_HELD,
    };
    reader.has_its_result_kept_where_it_is(1024, &sibling);
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

/// A client that does not read its result for a while.
pub(crate) struct SlowReader<'a> {
    /// Its connection, which is logged in.
    pub wire: Wire,
    /// Where its result comes from.
    pub postgres: &'a Postgres,
    /// The worker that it is at.
    pub worker: Process,
    /// Memory of the worker before, in bytes.
    pub before: u64,
    /// Memory that the worker may have for it, in bytes.
    pub most_held: u64,
}

impl SlowReader<'_> {
    /// Asks for so many rows of a mebibyte each, reads nothing while a sibling at
    /// the same worker has its queries answered, and then everything.
    pub(crate) fn has_its_result_kept_where_it_is(mut self, rows: u64, sibling: &Client) {
        let query = format!("select repeat('x', 1048576) from generate_series(1, {rows})\0");
        self.wire.send_message(b'Q', query.as_bytes());
        let stopped = "select count(*) from pg_stat_activity where wait_event = 'ClientWrite'";
        wait_for("PostgreSQL to be stopped", PATIENCE, || {
            self.postgres.number(stopped) == 1
        });
        for _ in 0..200 {
            assert_eq!(sibling.value("select 'goes on'"), "goes on");
        }
        let held = self.worker.resident().saturating_sub(self.before);
        assert!(held < self.most_held, "{held} bytes for one slow reader");

        // Then it reads, and nothing is missing.
        let mut bytes = 0;
        loop {
            let (tag, length) = self.wire.read_header().expect("the rest of the result");
            assert_eq!(self.wire.skip(length.into()), u64::from(length));
            match tag {
                b'D' => bytes += u64::from(length) - 6,
                b'Z' => break,
                b'T' | b'C' => {}
                _ => panic!("{tag}"),
            }
        }
        assert_eq!(bytes, rows << 20);
        let held = self.worker.peak_resident().saturating_sub(self.before);
        assert!(held < self.most_held, "{held} bytes at the peak");
    }
}
