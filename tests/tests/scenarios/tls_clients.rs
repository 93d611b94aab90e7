//! Programs that speak TLS, certificates of clients, and certificates that
//! change.

use std::fs;

use crate::harness::{
    Certificates, Client, Drivers, Login, PATIENCE, Pgskein, Pooler, Postgres, Script,
    openssl_client, wait_for,
};
use crate::tls_modes::MODES;

/// A pooler with TLS in this mode, and what was issued for it.
fn start(postgres: &Postgres, mode: &str, more: &str) -> (Pooler, Certificates) {
    let certificates = Certificates::make("authority");
    certificates.issue("pooler");
    let settings = certificates.settings(mode, "pooler");
    let pooler = Pooler::start(postgres, &format!("workers = 2\n{settings}{more}"));
    (pooler, certificates)
}

#[test]
fn psql_gets_what_its_sslmode_asks_for() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "allow", "");
    let root = certificates.path("ca.pem").display().to_string();
    let select = "select 1";
    for mode in MODES {
        let psql = pooler
            .psql()
            .user("postgres")
            .option("sslmode", mode)
            .option("sslrootcert", &root);
        assert_eq!(psql.run(select).ok().trim(), "1", "{mode}");
    }
    // Another authority knows nothing of this certificate.
    let others = Certificates::make("another authority");
    let root = others.path("ca.pem").display().to_string();
    let psql = pooler
        .psql()
        .user("postgres")
        .option("sslmode", "verify-ca")
        .option("sslrootcert", &root);
    let run = psql.run(select);
    assert!(run.stderr.contains("certificate verify failed"), "{run:?}");
}

#[test]
fn psycopg_verifies_all_and_begins_in_both_ways() {
    let postgres = Postgres::start();
    let settings = "pool_mode = transaction\ndefault_pool_size = 4\n";
    let (pooler, certificates) = start(&postgres, "require", settings);
    let root = certificates.path("ca.pem").display().to_string();
    for drivers in [Drivers::Old, Drivers::New] {
        let script = Script::python(drivers, "psycopg_tls.py");
        assert_eq!(script.run(pooler.port(), &[&root]).ok(), "4", "{drivers:?}");
    }
}

#[test]
fn openssl_gets_the_version_and_the_cipher_that_were_chosen() {
    let postgres = Postgres::start();
    let more = "client_tls_protocols = tlsv1.2\n\
                client_tls_ciphers = ECDHE-ECDSA-AES128-GCM-SHA256:AES128-SHA\n";
    let (pooler, _certificates) = start(&postgres, "require", more);
    let run = openssl_client(pooler.port(), &["-tls1_2"]);
    let cipher = "Cipher is ECDHE-ECDSA-AES128-GCM-SHA256";
    assert!(run.stdout.contains(cipher), "{run:?}");
    for (wrong, reason) in [
        (&["-tls1_3"][..], "no version of TLS in common (Tls12"),
        (
            &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"],
            "no version of TLS in common (Sig",
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
            "no cipher in common",
        ),
        (
            &["-tls1_2", "-cipher", "AES256-SHA"],
            "no cipher or curve in common",
        ),
    ] {
        let run = openssl_client(pooler.port(), wrong);
        assert!(run.stderr.contains("alert"), "{wrong:?}: {run:?}");
        pooler.wait_log(&format!("closed: TLS: {reason}"));
    }
    pooler.wait_log("client_tls_ciphers: not offered and left out: AES128-SHA");
}

#[test]
fn psql_without_tls_is_refused_where_it_is_required() {
    let postgres = Postgres::start();
    let (pooler, _certificates) = start(&postgres, "require", "");
    let run = pooler
        .psql()
        .user("postgres")
        .option("sslmode", "disable")
        .run("select 1");
    assert!(run.stderr.contains("SSL required"), "{run:?}");
    for mode in ["allow", "prefer", "require"] {
        let psql = pooler.psql().user("postgres").option("sslmode", mode);
        assert_eq!(psql.run("select 1").ok().trim(), "1", "{mode}");
    }
}

#[test]
fn clients_have_to_show_a_certificate_where_it_is_verified() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "verify-full", "");
    certificates.issue("alice");
    certificates.issue_expired("late");
    let path = |name: &str| certificates.path(name).display().to_string();
    let psql = |name: &str| {
        pooler
            .psql()
            .user("postgres")
            .option("sslmode", "require")
            .option("sslcert", &path(&format!("{name}.pem")))
            .option("sslkey", &path(&format!("{name}.key")))
    };
    assert_eq!(psql("alice").run("select 1").ok().trim(), "1");
    let none = pooler
        .psql()
        .user("postgres")
        .option("sslmode", "require")
        .run("select 1");
    assert!(none.stderr.contains("certificate required"), "{none:?}");
    assert_ne!(psql("late").run("select 1").code, Some(0));
    pooler.wait_log("TLS: peer sent no certificates");
    pooler.wait_log("TLS: invalid peer certificate: certificate expired");
    // One of another authority.
    let others = Certificates::make("another authority");
    others.issue("alice");
    let stranger = pooler
        .psql()
        .user("postgres")
        .option("sslmode", "require")
        .option("sslcert", &others.path("alice.pem").display().to_string())
        .option("sslkey", &others.path("alice.key").display().to_string());
    assert_ne!(stranger.run("select 1").code, Some(0));
    pooler.wait_log("TLS: invalid peer certificate: UnknownIssuer");
}

#[test]
fn reload_brings_new_certificates_to_new_connections() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "allow", "");
    let tls = certificates.client(&[]);
    let before = Client::log_in(pooler.wire().ask_for_tls(&tls).unwrap(), &Login::new()).unwrap();
    certificates.issue_expired("expired");
    certificates.replace("pooler", "expired");
    assert!(
        pooler.wire().ask_for_tls(&tls).is_ok(),
        "until it is reloaded"
    );
    let warned = "pooler.pem: has expired at 2020-01-01 00:00:00 UTC";
    let check = Pgskein::run(&["--check", pooler.ini().to_str().unwrap()]).ok();
    assert!(
        check.contains("client_tls_cert_file: warning: ") && check.contains(warned),
        "{check}"
    );
    pooler.reload_files();
    pooler.wait_log(warned);
    for worker in [1, 2, 1, 2] {
        let wire = pooler.wire_to_worker(worker);
        let error = wire.ask_for_tls(&tls).unwrap_err().to_string();
        assert!(error.to_lowercase().contains("expired"), "{error}");
    }
    assert!(before.is_still_served());
    certificates.issue("new");
    certificates.replace("pooler", "new");
    pooler.reload_files();
    for worker in [1, 2, 1, 2] {
        let wire = pooler.wire_to_worker(worker).ask_for_tls(&tls).unwrap();
        assert_eq!(
            Client::log_in(wire, &Login::new())
                .unwrap()
                .value("select 1"),
            "1"
        );
    }
    assert!(before.is_still_served());
}

#[test]
fn reload_with_a_key_that_does_not_fit_changes_nothing() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "require", "");
    let tls = certificates.client(&[]);
    certificates.issue("other");
    let key = certificates.path("pooler.key");
    let good = fs::read(&key).unwrap();
    let console = pooler.local_psql().user("pgskein").database("pgskein");
    let other = fs::read(certificates.path("other.key")).unwrap();
    for (bytes, problem) in [
        (&other[..], "pooler.key: is not the key of "),
        (&b"nothing"[..], "pooler.key: holds no private key"),
    ] {
        fs::write(&key, bytes).unwrap();
        let run = console.run("RELOAD");
        assert!(run.stderr.contains(problem), "{run:?}");
        assert!(run.stderr.contains("client_tls_key_file"), "{run:?}");
        assert!(!run.stderr.contains("PRIVATE KEY"), "{run:?}");
        assert!(pooler.wire().ask_for_tls(&tls).is_ok());
    }
    fs::write(&key, good).unwrap();
    console.run("RELOAD").ok();
    // The console can be had over TLS too, and switch it off for who comes.
    let wire = pooler.wire().ask_for_tls(&tls).unwrap();
    let console = Client::log_in(wire, &Login::new().database("pgskein")).unwrap();
    console.query("SET client_tls_sslmode = disable").unwrap();
    wait_for("plain clients", PATIENCE, || {
        pooler.try_connect(&Login::new()).is_ok()
    });
    assert!(console.is_still_served());
}

#[test]
fn clients_with_tls_stay_where_they_are_and_are_asked_to_go() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "allow", "pool_mode = transaction\n");
    let wire = pooler
        .wire_to_worker(1)
        .ask_for_tls(&certificates.client(&[]))
        .unwrap();
    let login = Login::new().parameter("application_name", "encrypted");
    let client = Client::log_in(wire, &login).unwrap();
    let psql = pooler.local_psql().user("pgskein").database("pgskein");
    psql.run("RESTART").ok();
    wait_for("a refused move", PATIENCE, || pooler.log_contains("tls=1 "));
    assert_eq!(client.value("select 1"), "1");
}
