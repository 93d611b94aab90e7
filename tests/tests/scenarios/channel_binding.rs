//! Logins that are bound to their TLS connection, on both sides of the pooler.

use crate::harness::{
    Certificates, Drivers, Intruder, Login, Pause, Pooler, Postgres, Psql, Release, Script,
    openssl_client,
};

#[test]
fn libpq_binds_to_the_pooler_and_the_pooler_to_postgresql() {
    let certificates = authority();
    for release in RELEASES {
        let postgres = Postgres::start_release_with_tls(release, &certificates, "localhost", &[]);
        let sql = "select rolpassword from pg_authid where rolname = 'scram_user'";
        let secret = postgres.query(sql).remove(0);
        // The password itself, and the key learned from the client.
        for text in ["secret", &secret] {
            let pooler = start(&postgres, &certificates, "require");
            pooler.write_file("users.txt", &format!("\"scram_user\" \"{text}\"\n"));
            pooler.reload_files();
            for release in RELEASES {
                let psql = bound(pooler.port()).release(release);
                assert_eq!(psql.who().ok(), "scram_user");
                psql.clone().password("wrong").who().refused();
                // Nobody has to.
                let psql = psql.option("channel_binding", "disable");
                assert_eq!(psql.who().ok(), "scram_user");
                let psql = psql.option("sslmode", "disable");
                assert_eq!(psql.who().ok(), "scram_user");
            }
            let said = bound(pooler.port())
                .option("sslmode", "disable")
                .who()
                .refused();
            assert!(said.contains("channel binding"), "{said}");
        }
    }
}

#[test]
fn drivers_without_libpq_bind_and_notice_an_intruder() {
    let postgres = Postgres::start();
    let certificates = authority();
    let (pooler, intruder) = start_behind_intruder(&postgres, &certificates);
    for script in [
        Script::python(Drivers::New, "pg8000_bound.py"),
        Script::node(Drivers::New, "node_bound.js"),
    ] {
        assert_eq!(script.run(pooler.port(), &[]).ok(), "scram_user");
        let said = script.run(intruder.port(), &[]).refused();
        assert!(
            said.contains("SCRAM channel binding check failed"),
            "{said}"
        );
    }
}

#[test]
fn hash_of_the_certificate_follows_its_signature() {
    let postgres = Postgres::start();
    let certificates = authority();
    let pooler = start(&postgres, &certificates, "disable");
    for kind in ["rsa-sha1", "rsa-sha512", "pss-sha384", "ec-sha384"] {
        certificates.self_sign("pooler", kind);
        pooler.reload_files();
        assert_eq!(bound(pooler.port()).who().ok(), "scram_user", "{kind}");
    }
    // There is none to bind to, and nobody is offered it.
    certificates.self_sign("pooler", "ed25519");
    pooler.reload_files();
    let said = bound(pooler.port()).who().refused();
    assert!(said.contains("channel binding"), "{said}");
    let psql = bound(pooler.port()).option("channel_binding", "prefer");
    assert_eq!(psql.who().ok(), "scram_user");
}

#[test]
fn login_is_bound_to_what_it_was_shown_whatever_a_reload_brings() {
    let postgres = Postgres::start();
    let certificates = authority();
    certificates.issue("later");
    let pooler = start(&postgres, &certificates, "disable");
    // SSLRequest and ClientHello pass, the end of the handshake waits.
    let pause = Pause::before(pooler.port(), 2);
    let psql = bound(pause.port());
    let running = psql.start("select current_user");
    pause.wait_held();
    certificates.replace("pooler", "later");
    pooler.reload_files();
    let shown = openssl_client(pooler.port(), &[]).stdout;
    assert!(
        shown.contains("CN = later") || shown.contains("CN=later"),
        "{shown}"
    );
    pause.release();
    assert_eq!(running.wait(), "");
    assert_eq!(bound(pooler.port()).who().ok(), "scram_user");
}

#[test]
fn intruder_before_the_pooler_is_noticed_by_both_sides() {
    let postgres = Postgres::start();
    let certificates = authority();
    let (pooler, intruder) = start_behind_intruder(&postgres, &certificates);
    for release in RELEASES {
        let psql = bound(intruder.port()).release(release);
        let said = psql.who().refused();
        assert!(
            said.contains("SCRAM channel binding check failed"),
            "{said}"
        );
        // It is noticed wherever the client can bind, asked for or not.
        let psql = psql.option("channel_binding", "prefer");
        psql.who().refused();
    }
    pooler.wait_log("closed: SCRAM channel binding check failed");
    // One with the key of the certificate is who it says it is.
    let trusting = certificates.client(&[]);
    let intruder = Intruder::before(pooler.port(), trusting, &certificates, "pooler");
    assert_eq!(bound(intruder.port()).who().ok(), "scram_user");
}

#[test]
fn intruder_before_postgresql_is_noticed_where_nobody_verifies() {
    let certificates = authority();
    let others = Certificates::make("authority");
    others.issue("localhost");
    for release in RELEASES {
        let postgres = Postgres::start_release_with_tls(release, &certificates, "localhost", &[]);
        let trusting = certificates.client(&[]);
        let intruder = Intruder::before(postgres.port(), trusting.clone(), &others, "localhost");
        let login = Login::new().user("scram_user");
        let through = |intruder: &Intruder| {
            let databases = format!("* = host=localhost port={}", intruder.port());
            let settings = "workers = 1\nauth_type = trust\nserver_tls_sslmode = require\n";
            let pooler = Pooler::start_for(&databases, settings);
            pooler
                .try_connect(&login)
                .map(|client| client.value("select 1"))
        };
        let error = through(&intruder).unwrap_err();
        assert!(
            error.message.contains("SCRAM channel binding check failed"),
            "{error:?}"
        );
        let intruder = Intruder::before(postgres.port(), trusting, &certificates, "localhost");
        assert_eq!(through(&intruder).unwrap(), "1");
    }
}

/// An authority that has issued certificates for a pooler and for PostgreSQL.
fn authority() -> Certificates {
    let certificates = Certificates::make("authority");
    certificates.issue("pooler");
    certificates.issue("localhost");
    certificates
}

/// A pooler that speaks TLS with clients, and in this mode with PostgreSQL.
fn start(postgres: &Postgres, certificates: &Certificates, mode: &str) -> Pooler {
    let settings = [
        "workers = 1\nauth_type = scram-sha-256\n",
        &certificates.settings("allow", "pooler"),
        &format!("server_tls_sslmode = {mode}\n"),
    ];
    Pooler::start(postgres, &settings.concat())
}

/// A pooler, and before it somebody who has another key for its name.
fn start_behind_intruder(postgres: &Postgres, certificates: &Certificates) -> (Pooler, Intruder) {
    let others = Certificates::make("authority");
    others.issue("pooler");
    let pooler = start(postgres, certificates, "disable");
    let trusting = certificates.client(&[]);
    let intruder = Intruder::before(pooler.port(), trusting, &others, "pooler");
    (pooler, intruder)
}

/// psql that does not log in unless it is bound.
fn bound(port: u16) -> Psql {
    let psql = Psql::to_port(port).user("scram_user").password("secret");
    let psql = psql.option("dbname", "postgres");
    psql.option("sslmode", "require")
        .option("channel_binding", "require")
}

/// Those that speak TLS.
const RELEASES: [Release; 2] = [Release::System, Release::Eighteen];
