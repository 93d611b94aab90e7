//! Servers that take no TLS from us, or show a certificate without a name.

use std::fs;

use crate::harness::{Certificates, Login, Pooler, Postgres};

/// Whether the connection to PostgreSQL is encrypted, as it says itself.
const ENCRYPTED: &str = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";

/// An authority that has issued a certificate for this host.
fn authority() -> Certificates {
    let certificates = Certificates::make("authority");
    certificates.issue("localhost");
    certificates
}

/// A pooler in front of it with this mode.
fn start(postgres: &Postgres, mode: &str) -> Pooler {
    let databases = format!("* = host=127.0.0.1 port={}", postgres.port());
    let settings = format!("workers = 1\nserver_tls_sslmode = {mode}\n");
    Pooler::start_for(&databases, &settings)
}

#[test]
fn server_that_lets_nobody_in_by_tls_is_asked_without() {
    let certificates = authority();
    let hba = certificates.path("hba.conf");
    let lines = "hostnossl all all 127.0.0.0/8 trust\nlocal all all trust\n";
    fs::write(&hba, lines).unwrap();
    let hba = format!("hba_file={}", hba.display());
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[&hba]);
    for mode in ["prefer", "allow"] {
        let pooler = start(&postgres, mode);
        assert_eq!(pooler.connect().value(ENCRYPTED), "f", "{mode}");
        pooler.wait_log("asking again without TLS: no pg_hba.conf entry");
    }
    let pooler = start(&postgres, "require");
    let error = pooler.try_connect(&Login::new()).unwrap_err();
    assert_eq!(error.sqlstate, "28000", "{error:?}");
    assert!(!pooler.log_contains("without TLS"));
}

#[test]
fn server_whose_ciphers_are_not_ours_is_asked_without_tls() {
    let certificates = authority();
    let old = [
        "ssl_max_protocol_version=TLSv1.2",
        "ssl_ciphers=ECDHE-ECDSA-AES128-SHA256",
    ];
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &old);
    let pooler = start(&postgres, "prefer");
    assert_eq!(pooler.connect().value(ENCRYPTED), "f");
    pooler.wait_log("asking again without TLS: ");
    let pooler = start(&postgres, "require");
    assert!(pooler.try_connect(&Login::new()).is_err());
}

#[test]
fn password_that_is_refused_over_tls_is_not_shown_without() {
    let certificates = authority();
    let hba = certificates.path("hba.conf");
    let lines = "hostssl all all 127.0.0.0/8 scram-sha-256\n\
                 hostnossl all all 127.0.0.0/8 trust\nlocal all all trust\n";
    fs::write(&hba, lines).unwrap();
    let hba = format!("hba_file={}", hba.display());
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[&hba]);
    let databases = format!("* = host=127.0.0.1 port={} password=wrong", postgres.port());
    let pooler = Pooler::start_for(&databases, "workers = 1\nserver_tls_sslmode = prefer\n");
    let error = pooler.try_connect(&Login::new()).unwrap_err();
    assert_eq!(error.sqlstate, "28P01", "{error:?}");
    assert!(!pooler.log_contains("without TLS"));
}

#[test]
fn certificate_without_names_is_refused_with_the_reason() {
    let certificates = Certificates::make("authority");
    certificates.issue_without_names("localhost");
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    let databases = format!("* = host=localhost port={}", postgres.port());
    let by = |mode: &str| {
        let settings = certificates.server_settings(mode);
        Pooler::start_for(&databases, &format!("workers = 1\n{settings}"))
    };
    let pooler = by("verify-full");
    let error = pooler.try_connect(&Login::new()).unwrap_err();
    let reason = "not valid for any names (according to its subjectAltName extension)";
    assert!(error.message.contains(reason), "{error:?}");
    pooler.wait_log(reason);
    assert_eq!(by("verify-ca").connect().value(ENCRYPTED), "t");
}
