//! TLS towards PostgreSQL.

use std::fs;

use crate::harness::{
    Certificates, Client, Login, PATIENCE, Pooler, Postgres, SSL_REQUEST, Tap, wait_for,
};

/// Whether the connection to PostgreSQL is encrypted, as it says itself.
const ENCRYPTED: &str = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";

/// An authority that has issued a certificate for this host.
fn authority(host: &str) -> Certificates {
    let certificates = Certificates::make("authority");
    certificates.issue(host);
    certificates
}

/// A pooler in front of it by this name, with settings more.
fn start(postgres: &Postgres, host: &str, settings: &str) -> Pooler {
    let databases = format!("* = host={host} port={}", postgres.port());
    Pooler::start_for(&databases, &format!("workers = 1\n{settings}"))
}

/// Why the login of a client fails, because that of its server does.
fn refusal(pooler: &Pooler) -> String {
    let error = pooler.try_connect(&Login::new()).unwrap_err();
    assert_eq!(error.sqlstate, "08006", "{error:?}");
    error.message
}

#[test]
fn servers_are_encrypted_as_the_sslmode_says() {
    let certificates = authority("localhost");
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    for (mode, encrypted) in [
        ("disable", "f"),
        ("allow", "t"),
        ("prefer", "t"),
        ("require", "t"),
        ("verify-ca", "t"),
        ("verify-full", "t"),
    ] {
        let pooler = start(&postgres, "localhost", &certificates.server_settings(mode));
        assert_eq!(pooler.connect().value(ENCRYPTED), encrypted, "{mode}");
        let console = pooler.connect_as(&Login::new().database("pgskein"));
        let shown = console.table("SHOW SERVERS")[0]["tls"].clone();
        let expected = if encrypted == "t" {
            "TLSv1.3/TLS_AES_256_GCM_SHA384"
        } else {
            ""
        };
        assert_eq!(shown, expected, "{mode}");
    }
}

#[test]
fn server_without_tls_serves_only_where_it_may() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "127.0.0.1", "server_tls_sslmode = prefer");
    assert_eq!(pooler.connect().value(ENCRYPTED), "f");
    let pooler = start(&postgres, "127.0.0.1", "server_tls_sslmode = require");
    let message = refusal(&pooler);
    assert!(
        message.contains("TLS: server does not support SSL"),
        "{message}"
    );
}

#[test]
fn certificate_has_to_be_of_the_authority_and_for_the_host() {
    let certificates = authority("elsewhere");
    let postgres = Postgres::start_with_tls(&certificates, "elsewhere", &[]);
    let by_name = |mode: &str| start(&postgres, "localhost", &certificates.server_settings(mode));
    assert_eq!(by_name("verify-ca").connect().value(ENCRYPTED), "t");
    let message = refusal(&by_name("verify-full"));
    assert!(
        message.contains("not valid for name \"localhost\""),
        "{message}"
    );
    // Its address is in the certificate.
    let by_address = start(
        &postgres,
        "127.0.0.1",
        &certificates.server_settings("verify-full"),
    );
    assert_eq!(by_address.connect().value(ENCRYPTED), "t");
    let others = Certificates::make("another authority");
    let pooler = start(&postgres, "127.0.0.1", &others.server_settings("verify-ca"));
    let message = refusal(&pooler);
    assert!(
        message.contains("invalid peer certificate: UnknownIssuer"),
        "{message}"
    );
    // Nobody asks for whose it is where it is not verified.
    let pooler = start(&postgres, "127.0.0.1", &others.server_settings("require"));
    assert_eq!(pooler.connect().value(ENCRYPTED), "t");
}

#[test]
fn expired_certificate_is_refused() {
    let certificates = Certificates::make("authority");
    certificates.issue_expired("localhost");
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    let pooler = start(
        &postgres,
        "127.0.0.1",
        &certificates.server_settings("verify-ca"),
    );
    let message = refusal(&pooler);
    assert!(message.contains("certificate expired"), "{message}");
}

#[test]
fn pooler_shows_its_own_certificate_to_servers() {
    let certificates = authority("localhost");
    certificates.issue("pooler");
    let hba = certificates.path("hba.conf");
    let lines = "hostssl all all 127.0.0.0/8 trust clientcert=verify-ca\n\
                 hostnossl all all 127.0.0.0/8 trust\nlocal all all trust\n";
    fs::write(&hba, lines).unwrap();
    let hba = format!("hba_file={}", hba.display());
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[&hba]);
    let path = |name: &str| certificates.path(name).display().to_string();
    let own = format!(
        "{}server_tls_cert_file = {}\nserver_tls_key_file = {}\n",
        certificates.server_settings("verify-full"),
        path("pooler.pem"),
        path("pooler.key")
    );
    let pooler = start(&postgres, "localhost", &own);
    let name = "select client_dn from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(pooler.connect().value(name), "/CN=pooler");
    let pooler = start(
        &postgres,
        "localhost",
        &certificates.server_settings("verify-full"),
    );
    assert!(pooler.try_connect(&Login::new()).is_err());
}

#[test]
fn cancel_requests_to_encrypted_servers_are_encrypted() {
    let certificates = authority("localhost");
    certificates.issue("pooler");
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    let tap = Tap::before(postgres.port());
    let databases = format!("* = host=localhost port={}", tap.port());
    let settings = [
        "workers = 1\n",
        &certificates.server_settings("verify-full"),
        &certificates.settings("require", "pooler"),
    ];
    let pooler = Pooler::start_for(&databases, &settings.concat());
    let tls = certificates.client(&[]);
    let wire = pooler.wire().ask_for_tls(&tls).unwrap();
    let client = Client::log_in(wire, &Login::new()).unwrap();
    assert_eq!(client.value(ENCRYPTED), "t");
    let query = client.start_long_query();
    let mut wire = pooler.wire().ask_for_tls(&tls).unwrap();
    wire.send(&client.cancel_packet());
    assert!(wire.read_to_end().is_empty());
    assert_eq!(query.wait().unwrap_err().0, "57014");
    assert_eq!(client.value("select 1"), "1");
    let heard = tap.heard();
    assert!(heard.len() >= 2, "a session and a cancel");
    for bytes in heard {
        assert_eq!(bytes.get(..8), Some(&SSL_REQUEST[..]));
        assert_eq!(bytes.get(8), Some(&0x16), "TLS at once behind it");
    }
}

#[test]
fn large_results_and_many_clients_share_encrypted_servers() {
    let certificates = authority("localhost");
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    let more = "workers = 2\npool_mode = transaction\ndefault_pool_size = 2\n";
    let settings = certificates.server_settings("verify-full") + more;
    let pooler = start(&postgres, "localhost", &settings);
    let clients: Vec<Client> = [1, 2, 1, 2].map(|n| pooler.connect_to_worker(n)).into();
    for turn in 0..5 {
        for client in &clients {
            let sql = format!("select repeat('x', 100000) || {turn} from generate_series(1, 20)");
            let rows = client.query(&sql).unwrap();
            assert_eq!(rows.len(), 20);
            assert!(rows.iter().all(|row| row.len() == 100_001));
        }
    }
    // Servers that are encrypted are closed and opened where others are lent.
    assert!(clients.iter().all(|client| client.value(ENCRYPTED) == "t"));
}

#[test]
fn reload_of_an_authority_holds_for_new_servers() {
    let certificates = authority("localhost");
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    let pooler = start(
        &postgres,
        "localhost",
        &certificates.server_settings("verify-full"),
    );
    let client = pooler.connect();
    assert_eq!(client.value(ENCRYPTED), "t");
    let others = Certificates::make("another authority");
    pooler.reload(&format!(
        "workers = 1\n{}",
        others.server_settings("verify-full")
    ));
    assert_eq!(client.value(ENCRYPTED), "t", "it stays");
    // One more server is needed, at the login or after it.
    let second = pooler.try_connect(&Login::new());
    if let Ok(second) = &second {
        second.send_message(b'Q', b"select 1\0");
    }
    wait_for("a refused certificate", PATIENCE, || {
        pooler.log_contains("invalid peer certificate: UnknownIssuer")
    });
}

#[test]
fn poolers_speak_direct_tls_with_each_other() {
    let certificates = authority("pooler");
    let postgres = Postgres::start();
    let near = Pooler::start(&postgres, &certificates.settings("require", "pooler"));
    let tap = Tap::before(near.port());
    let databases = format!(
        "* = host=127.0.0.1 port={} sslnegotiation=direct",
        tap.port()
    );
    let settings = format!(
        "workers = 1\n{}",
        certificates.server_settings("verify-full")
    );
    let far = Pooler::start_for(&databases, &settings);
    let client = far.connect();
    assert_eq!(client.value("select 1"), "1");
    let query = client.start_long_query();
    client.cancel();
    assert_eq!(query.wait().unwrap_err().0, "57014");
    assert_eq!(client.value("select 2"), "2");
    for bytes in tap.heard() {
        assert_eq!(bytes.first(), Some(&0x16), "TLS and nothing before");
    }
}
