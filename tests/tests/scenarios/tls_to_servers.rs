//! What servers are offered and told by TLS, and sessions of it that break off.

use crate::harness::{Certificates, Client, Login, PATIENCE, Pooler, Postgres, Tap, wait_for};

/// Version and cipher, as PostgreSQL sees them.
const AGREED: &str =
    "select version || '/' || cipher from pg_stat_ssl where pid = pg_backend_pid()";

/// An authority that has issued a certificate for this host.
fn authority() -> Certificates {
    let certificates = Certificates::make("authority");
    certificates.issue("localhost");
    certificates
}

#[test]
fn versions_and_ciphers_hold_towards_servers_too() {
    let certificates = authority();
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    let databases = format!("* = host=localhost port={}", postgres.port());
    let settings = |more: &str| {
        let full = certificates.server_settings("verify-full");
        format!("workers = 1\npool_mode = transaction\nserver_login_retry = 0.1\n{full}{more}")
    };
    let pooler = Pooler::start_for(&databases, &settings(""));
    let client = pooler.connect();
    let console = pooler.connect_as(&Login::new().database("pgskein"));
    for (more, agreed) in [
        ("", "TLSv1.3/TLS_AES_256_GCM_SHA384"),
        (
            "server_tls_protocols = tlsv1.2\n",
            "TLSv1.2/ECDHE-ECDSA-AES256-GCM-SHA384",
        ),
        (
            "server_tls_protocols = tlsv1.2\nserver_tls_ciphers = ECDHE-ECDSA-CHACHA20-POLY1305\n",
            "TLSv1.2/ECDHE-ECDSA-CHACHA20-POLY1305",
        ),
        (
            "server_tls13_ciphers = TLS_AES_128_GCM_SHA256\n",
            "TLSv1.3/TLS_AES_128_GCM_SHA256",
        ),
    ] {
        pooler.reload(&settings(more));
        assert_eq!(client.value(AGREED), agreed, "{more}");
        let shown = console.table("SHOW SERVERS");
        let shown: Vec<_> = shown.iter().map(|row| row["tls"].as_str()).collect();
        assert!(shown.contains(&agreed), "{more}: {shown:?}");
    }
    // PostgreSQL's certificate is not for RSA, and it knows no other.
    pooler.reload(&settings(
        "server_tls_protocols = tlsv1.2\nserver_tls_ciphers = ECDHE-RSA-AES256-GCM-SHA384\n",
    ));
    let error = pooler.try_connect(&Login::new().user("alice")).unwrap_err();
    assert_eq!(error.sqlstate, "08006", "{error:?}");
    assert!(error.message.contains("TLS: "), "{error:?}");
}

#[test]
fn servers_are_told_the_name_of_the_host() {
    let certificates = authority();
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    for (host, told) in [("localhost", true), ("127.0.0.1", false)] {
        let tap = Tap::before(postgres.port());
        let databases = format!("* = host={host} port={}", tap.port());
        let settings = format!(
            "workers = 1\n{}",
            certificates.server_settings("verify-full")
        );
        let pooler = Pooler::start_for(&databases, &settings);
        assert_eq!(pooler.connect().value("select 1"), "1");
        // An address is no name to be told.
        let heard = tap.heard().concat();
        let contains = |text: &[u8]| heard.windows(text.len()).any(|bytes| bytes == text);
        assert_eq!(contains(b"localhost"), told, "{host}");
        assert!(!contains(b"127.0.0.1"), "{host}");
    }
}

#[test]
fn server_that_dies_in_the_middle_ends_its_session_and_no_other() {
    let certificates = authority();
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    let databases = format!("* = host=localhost port={}", postgres.port());
    let settings = format!(
        "workers = 1\npool_mode = transaction\nserver_login_retry = 0.1\n{}{}",
        certificates.settings("allow", "localhost"),
        certificates.server_settings("verify-full"),
    );
    let pooler = Pooler::start_for(&databases, &settings);
    let worker = pooler.worker(1);
    let log_in = |user: &str| {
        let wire = pooler
            .wire()
            .ask_for_tls(&certificates.client(&[]))
            .unwrap();
        Client::log_in(wire, &Login::new().user(user)).unwrap()
    };
    let (busy, resting) = (log_in("postgres"), log_in("alice"));
    let query = busy.start_long_query();
    assert_eq!(resting.value("select 1"), "1");
    postgres.crash();
    let error = query.wait().unwrap_err();
    assert!(matches!(error.0, "08006" | "57P02"), "{error:?}");
    wait_for("all servers to be lost", PATIENCE, || {
        pooler.console("SHOW SERVERS").is_empty()
    });
    postgres.start_again();
    assert_eq!(resting.value("select 2"), "2");
    assert!(worker.is_alive(), "the same worker as before");
    assert!(!pooler.log_contains(" ERROR "), "{}", pooler.log());
}
