//! What clients are told beside their answers.

use std::time::{Duration, Instant};

use crate::harness::{Pooler, Postgres, python};

const QUEUED: &str = "No server connection available in postgres backend, client being queued";

#[test]
fn client_that_waits_is_told_once_each_time() {
    let postgres = Postgres::start();
    let settings = "workers = 1\npool_mode = transaction\ndefault_pool_size = 1";
    let pooler = Pooler::start(&postgres, &format!("{settings}\nquery_wait_notify = 0.5"));
    let (holder, waiting) = (pooler.connect(), pooler.connect());
    for round in 1..=2 {
        holder.query("begin").unwrap();
        let start = Instant::now();
        // One of many bytes, and one of both protocols.
        let query = if round == 1 {
            waiting.start_query(&format!("select length('{}')", "x".repeat(100_000)))
        } else {
            waiting.send_message(b'P', b"\0select 100000\0\0\0");
            waiting.send_message(b'B', b"\0\0\0\0\0\0\0\0");
            waiting.send_message(b'E', b"\0\0\0\0\0");
            waiting.send_message(b'S', b"");
            waiting.pending()
        };
        let notice = waiting.read_until(b'N').error();
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(490), "{waited:?}");
        assert_eq!((&*notice.severity, &*notice.sqlstate), ("NOTICE", "00000"));
        assert_eq!(notice.message, QUEUED);
        waiting.absorb(Duration::from_millis(800));
        holder.query("commit").unwrap();
        assert_eq!(query.wait(), Ok(vec!["100000".to_owned()]));
        assert_eq!(waiting.notices().len(), round, "once each time");
    }
    assert_eq!(holder.notices(), [""; 0]);

    pooler.reload(&format!("{settings}\nquery_wait_notify = 0"));
    holder.query("begin").unwrap();
    let query = waiting.start_query("select 'late'");
    waiting.absorb(Duration::from_millis(1000));
    holder.query("commit").unwrap();
    assert_eq!(query.wait(), Ok(vec!["late".to_owned()]));
    assert_eq!(waiting.notices().len(), 2);
}

#[test]
fn login_notify_message_comes_with_the_login() {
    let postgres = Postgres::start();
    let settings = "pool_mode = transaction\nlogin_notify_message = Behind a pooler, mind the gap";
    let pooler = Pooler::start(&postgres, settings);
    let client = pooler.connect();
    assert_eq!(client.notices(), ["Behind a pooler, mind the gap"]);
    assert_eq!(client.value("select 'served'"), "served");
    // A driver takes it, too, and hands it out.
    let program = "\
import sys, psycopg2
connection = psycopg2.connect(sys.argv[1])
cursor = connection.cursor()
cursor.execute('select 42')
print(cursor.fetchone()[0])
";
    let address = format!("host=127.0.0.1 port={} user=postgres", pooler.port());
    assert_eq!(python(program, &[&address]).ok(), "42");
    pooler.reload("pool_mode = transaction");
    assert_eq!(pooler.connect().notices(), [""; 0]);
}
