//! Streams of TLS that end, that begin and go no further, that nobody reads.

use crate::harness::{
    Certificates, Client, Login, PATIENCE, Pooler, Postgres, SSL_REQUEST, Wire, wait_for,
};
use crate::slow_reader::SlowReader;

/// A pooler with TLS, and what was issued for it.
fn start(postgres: &Postgres, more: &str) -> (Pooler, Certificates) {
    let certificates = Certificates::make("authority");
    certificates.issue("pooler");
    let settings = certificates.settings("allow", "pooler");
    let pooler = Pooler::start(postgres, &format!("workers = 1\n{settings}{more}"));
    (pooler, certificates)
}

/// An encrypted connection that has logged in.
fn log_in(pooler: &Pooler, certificates: &Certificates) -> Wire {
    let tls = certificates.client(&[]);
    let mut wire = pooler.wire().ask_for_tls(&tls).unwrap();
    wire.send(&Login::new().packet());
    while wire.read_message().expect("a login").tag != b'Z' {}
    wire
}

#[test]
fn streams_are_ended_in_order_by_either_side() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "");
    // The client closes the session, and leaves the socket open.
    let mut wire = log_in(&pooler, &certificates);
    wire.end_tls();
    assert!(wire.ends_in_order());
    pooler.wait_log("closed: client unexpected eof");
    // It says good-bye.
    let mut wire = log_in(&pooler, &certificates);
    wire.send_message(b'X', b"");
    assert!(wire.ends_in_order());
    // The same at once.
    let mut wire = log_in(&pooler, &certificates);
    wire.send_message(b'X', b"");
    wire.end_tls();
    assert!(wire.ends_in_order());
    // It is refused.
    let tls = certificates.client(&[]);
    let mut wire = pooler.wire().ask_for_tls(&tls).unwrap();
    wire.send(b"\0\0\0\x08\0\x04\0\0");
    assert_eq!(
        wire.read_message().expect("an error").error().sqlstate,
        "0A000"
    );
    assert!(wire.ends_in_order());
    assert!(!pooler.log_contains(" ERROR "));
}

#[test]
fn handshake_that_goes_no_further_ends_with_the_time_for_a_login() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "client_login_timeout = 1\n");
    let mut silent = pooler.wire();
    silent.send(&SSL_REQUEST);
    assert_eq!(silent.read_byte(), Some(b'S'));
    let mut begun = pooler.wire();
    begun.send(&SSL_REQUEST);
    assert_eq!(begun.read_byte(), Some(b'S'));
    begun.send(&[0x16, 3, 1, 2, 0, 1, 0, 1, 252]);
    let mut shaken = pooler
        .wire()
        .ask_for_tls(&certificates.client(&[]))
        .unwrap();
    for mut wire in [silent, begun] {
        assert_eq!(wire.read_byte(), Some(ALERT));
    }
    let error = shaken.read_message().expect("an error").error();
    assert_eq!(error.sqlstate, "57014");
    assert!(shaken.ends_in_order());
    let timeouts = || pooler.log().matches("closed: client_login_timeout").count();
    wait_for("three lines in the log", PATIENCE, || timeouts() == 3);
}

#[test]
fn encrypted_result_that_nobody_reads_stays_in_postgresql() {
    let certificates = Certificates::make("authority");
    certificates.issue("localhost");
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    let databases = format!("* = host=127.0.0.1 port={}", postgres.port());
    let settings = [
        "workers = 1\n",
        &certificates.settings("allow", "localhost"),
        &certificates.server_settings("require"),
    ];
    let pooler = Pooler::start_for(&databases, &settings.concat());
    let worker = pooler.worker(1);
    let tls = certificates.client(&[]);
    let wire = pooler.wire().ask_for_tls(&tls).unwrap();
    let sibling = Client::log_in(wire, &Login::new()).unwrap();
    sibling.value("select 'warm'");
    let wire = log_in(&pooler, &certificates);
    let reader = SlowReader {
        before: worker.resident(),
        wire,
        postgres: &postgres,
        worker,
        most_held: MOST_HELD,
    };
    reader.has_its_result_kept_where_it_is(64, &sibling);
}

/// The first byte of a record that says what ends TLS.
const ALERT: u8 = 0x15;

/// Most that a worker may hold for a client that does not read, in bytes.
const MOST_HELD: u64 = 2 * 1024 * 1024;
