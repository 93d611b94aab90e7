//! Cancel requests over TLS, on the way in and on the way out.

use crate::harness::{
    Certificates, Client, Drivers, Login, PATIENCE, Pooler, Postgres, Psql, Release, SSL_REQUEST,
    Script, Signal, Tap, wait_for,
};

/// CancelRequest: its length, then its code, in protocol 3.0.
const CANCEL: [u8; 8] = [0, 0, 0, 16, 4, 210, 22, 46];

/// Whether what was heard began with TLS, asked for or not.
fn is_encrypted(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(&SSL_REQUEST).unwrap_or(bytes);
    bytes.first() == Some(&0x16)
}

/// psql on its way through somebody who listens.
fn psql(tap: &Tap, certificates: &Certificates, release: Release) -> Psql {
    Psql::to_port(tap.port())
        .release(release)
        .user("postgres")
        .database("postgres")
        .option("sslmode", "verify-full")
        .option(
            "sslrootcert",
            &certificates.path("ca.pem").display().to_string(),
        )
}

/// Has psql run something long, presses Ctrl-C, and gives what came by.
fn interrupted(psql: &Psql, tap: &Tap, postgres: &Postgres) -> Vec<Vec<u8>> {
    let running = psql.start("select pg_sleep(60)");
    wait_for("the query to run", PATIENCE, || {
        postgres.busy_connections() == 1
    });
    running.process().signal(Signal::SIGINT);
    let said = running.wait();
    assert!(said.contains("57014"), "{said}");
    tap.heard()
}

#[test]
fn cancels_of_libpq_are_taken_in_the_clear_and_over_tls() {
    let certificates = Certificates::make("authority");
    certificates.issue("pooler");
    let postgres = Postgres::start();
    let settings = format!(
        "workers = 2\n{}",
        certificates.settings("require", "pooler")
    );
    let pooler = Pooler::start(&postgres, &settings);
    // In a handler of signals not even that of version 18 can encrypt.
    for release in [Release::System, Release::Eighteen] {
        let tap = Tap::before(pooler.port());
        let heard = interrupted(&psql(&tap, &certificates, release), &tap, &postgres);
        assert_eq!(heard.len(), 2, "a session and a cancel");
        assert!(is_encrypted(&heard[0]));
        assert_eq!(heard[1][..8], CANCEL);
    }
    // Others encrypt it by libpq, as their session has begun.
    let root = certificates.path("ca.pem").display().to_string();
    for negotiation in ["postgres", "direct"] {
        let tap = Tap::before(pooler.port());
        let script = Script::python(Drivers::New, "psycopg_tls_cancel.py");
        script.run(tap.port(), &[&root, negotiation]).ok();
        let heard = tap.heard();
        assert!(heard.len() >= 2, "a session and a cancel");
        for bytes in heard {
            let asked = bytes.starts_with(&SSL_REQUEST);
            assert_eq!(asked, negotiation == "postgres");
            assert!(is_encrypted(&bytes));
        }
    }
}

fn cancelled_through_a_sibling(release: Release, direct: bool) {
    let certificates = Certificates::make("authority");
    certificates.issue("localhost");
    let postgres = Postgres::start_release_with_tls(release, &certificates, "localhost", &[]);
    let tap = Tap::before(postgres.port());
    let negotiation = if direct { "sslnegotiation=direct" } else { "" };
    let databases = format!("* = host=localhost port={} {negotiation}", tap.port());
    let settings = format!(
        "workers = 2\npool_mode = transaction\n{}{}",
        certificates.settings("allow", "localhost"),
        certificates.server_settings("verify-full")
    );
    let pooler = Pooler::start_for(&databases, &settings);
    let tls = certificates.client(&[]);
    let wire = pooler.wire_to_worker(1).ask_for_tls(&tls).unwrap();
    let client = Client::log_in(wire, &Login::new()).unwrap();
    assert_eq!(client.slot(), 1);
    for encrypted in [true, false] {
        let query = client.start_long_query();
        let mut wire = pooler.wire_to_worker(2);
        if encrypted {
            wire = wire.ask_for_tls(&tls).unwrap();
        }
        wire.send(&client.cancel_packet());
        assert!(wire.read_to_end().is_empty());
        assert_eq!(query.wait().unwrap_err().0, "57014");
    }
    assert_eq!(client.value("select 1"), "1");
    let heard = tap.heard();
    assert!(heard.len() >= 3, "a session and two cancels");
    for bytes in heard {
        assert_eq!(bytes.starts_with(&SSL_REQUEST), !direct);
        assert!(is_encrypted(&bytes));
    }
}

#[test]
fn cancel_through_a_sibling_is_encrypted_as_the_session_of_the_server_is() {
    cancelled_through_a_sibling(Release::System, false);
}

#[test]
fn cancel_through_a_sibling_begins_with_tls_where_the_session_did() {
    cancelled_through_a_sibling(Release::Eighteen, true);
}

#[test]
fn cancel_is_in_the_clear_where_the_session_of_the_server_is() {
    let postgres = Postgres::start();
    let tap = Tap::before(postgres.port());
    let databases = format!("* = host=127.0.0.1 port={}", tap.port());
    let settings = "workers = 1\nserver_tls_sslmode = prefer\n";
    let pooler = Pooler::start_for(&databases, settings);
    let client = pooler.connect();
    let query = client.start_long_query();
    client.cancel();
    assert_eq!(query.wait().unwrap_err().0, "57014");
    let heard = tap.heard();
    let cancel = heard.last().unwrap();
    assert_eq!(cancel[..8], CANCEL, "it is not asked once more");
}
