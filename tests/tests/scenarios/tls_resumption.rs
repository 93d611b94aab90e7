//! Sessions of TLS that clients resume, whichever worker they reach.

use crate::harness::{
    Certificates, Client, Login, PATIENCE, Pooler, Postgres, Signal, TlsClient, openssl_client,
    restart, wait_for,
};

/// A pooler with TLS in this mode that asks nobody for a certificate, and what was
/// issued for it.
fn start(postgres: &Postgres, mode: &str, more: &str) -> (Pooler, Certificates) {
    let certificates = Certificates::make("authority");
    certificates.issue("pooler");
    let settings = certificates.settings(mode, "pooler");
    let (settings, _) = settings.split_once("client_tls_ca_file").unwrap();
    let pooler = Pooler::start(postgres, &format!("workers = 2\n{settings}{more}"));
    (pooler, certificates)
}

/// Logs in through a worker, which gives a ticket for the next time; tells
/// whether one from before was good, also where a sibling has served its slot.
fn resumes(pooler: &Pooler, worker: u8, tls: &TlsClient) -> bool {
    let mut resumed = true;
    wait_for(&format!("worker {worker} to accept"), PATIENCE, || {
        let wire = pooler.wire_to_worker(worker).ask_for_tls(tls).unwrap();
        resumed &= wire.is_resumed();
        let client = Client::log_in(wire, &Login::new()).unwrap();
        assert_eq!(client.value("select 1"), "1");
        client.slot() == worker
    });
    resumed
}

#[test]
fn sessions_are_resumed_at_any_worker_of_any_age() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "allow", "");
    let tls = certificates.client(&[]);
    assert!(!resumes(&pooler, 1, &tls), "the first one");
    assert!(resumes(&pooler, 1, &tls), "at the same worker");
    assert!(resumes(&pooler, 2, &tls), "at another one");
    let dead = pooler.worker(1);
    dead.signal(Signal::SIGKILL);
    pooler.wait_replaced(1, dead);
    assert!(resumes(&pooler, 1, &tls), "at one that came later");
    restart(&pooler);
    for worker in [2, 1] {
        assert!(resumes(&pooler, worker, &tls), "after a restart");
    }
    // Nothing that the TLS of clients depends on has changed.
    pooler.reload_files();
    assert!(resumes(&pooler, 2, &tls), "after a reload");
}

#[test]
fn openssl_resumes_with_both_versions() {
    let postgres = Postgres::start();
    let more = "client_login_timeout = 1\n";
    let (pooler, certificates) = start(&postgres, "require", more);
    let path = certificates.path("session").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        // Until the pooler ends the login, so that the ticket has come.
        let arguments = [version, "-ign_eof", "-sess_out", &path];
        let first = openssl_client(pooler.port(), &arguments);
        assert!(first.stdout.contains("\nNew, TLS"), "{version}: {first:?}");
        for _ in 0..4 {
            let again = openssl_client(pooler.port(), &[version, "-sess_in", &path]);
            assert!(
                again.stdout.contains("\nReused, TLS"),
                "{version}: {again:?}"
            );
        }
    }
}

#[test]
fn who_may_show_a_certificate_gets_no_ticket() {
    let postgres = Postgres::start();
    let certificates = Certificates::make("authority");
    for name in ["pooler", "alice"] {
        certificates.issue(name);
    }
    let clients = [certificates.client_as("alice"), certificates.client(&[])];
    for (mode, clients) in [("verify-full", &clients[..1]), ("require", &clients[..])] {
        let settings = certificates.settings(mode, "pooler");
        let pooler = Pooler::start(&postgres, &format!("workers = 2\n{settings}"));
        for tls in clients {
            for _ in 0..3 {
                let wire = pooler.wire().ask_for_tls(tls).unwrap();
                assert!(!wire.is_resumed(), "{mode}");
                let client = Client::log_in(wire, &Login::new()).unwrap();
                assert_eq!(client.value("select 1"), "1");
            }
        }
    }
}

#[test]
fn new_certificate_of_the_pooler_ends_what_began_under_the_old_one() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "allow", "");
    let tls = certificates.client(&[]);
    assert!(!resumes(&pooler, 1, &tls));
    assert!(resumes(&pooler, 2, &tls));
    certificates.issue("new");
    certificates.replace("pooler", "new");
    pooler.reload_files();
    assert!(!resumes(&pooler, 1, &tls));
    assert!(resumes(&pooler, 2, &tls));
}
