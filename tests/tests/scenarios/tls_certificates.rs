//! All kinds of certificates and keys, on both sides.

use std::fs;

use crate::harness::{Certificates, Login, Names, Pooler, Postgres, Special};

/// An authority, and certificates of many kinds.
fn authority() -> Certificates {
    let certificates = Certificates::make("authority");
    let usual = Special::default();
    let rsa = "rsa:2048";
    for (name, special) in [
        ("ec", usual),
        (
            "p384",
            Special {
                key: "ec -pkeyopt ec_paramgen_curve:P-384",
                ..usual
            },
        ),
        ("rsa", Special { key: rsa, ..usual }),
        (
            "expired",
            Special {
                until: "20200101000000Z",
                ..usual
            },
        ),
        (
            "early",
            Special {
                from: "20980101000000Z",
                ..usual
            },
        ),
        (
            "elsewhere",
            Special {
                names: "DNS:elsewhere.test",
                ..usual
            },
        ),
        (
            "address",
            Special {
                names: "IP:127.0.0.1",
                ..usual
            },
        ),
        (
            "wildcard",
            Special {
                names: "DNS:*.shop.test",
                ..usual
            },
        ),
        ("nameless", Special { names: "", ..usual }),
        (
            "between",
            Special {
                authority: true,
                ..usual
            },
        ),
        (
            "chained",
            Special {
                issuer: "between",
                ..usual
            },
        ),
        (
            "unchained",
            Special {
                issuer: "between",
                ..usual
            },
        ),
    ] {
        certificates.issue_special(name, &special);
    }
    certificates.append("chained.pem", "between.pem");
    certificates.sign_itself("itself");
    certificates.sign_itself("stranger");
    let late = Special {
        authority: true,
        issuer: "itself-late",
        until: "20200101000000Z",
        ..usual
    };
    certificates.issue_special("itself-late", &late);
    certificates.issue_of_version_1("version1");
    certificates
}

/// A certificate, the host that the server is known by, and what
/// `server_tls_sslmode` of verify-ca and of verify-full have to say to it; nothing
/// is well. Where nothing is verified, all is.
const OF_SERVERS: [(&str, &str, &str, &str); 21] = [
    ("ec", "localhost", "", ""),
    ("p384", "localhost", "", ""),
    ("rsa", "localhost", "", ""),
    ("ec", "127.0.0.1", "", ""),
    (
        "expired",
        "localhost",
        "certificate expired",
        "certificate expired",
    ),
    (
        "early",
        "localhost",
        "certificate not valid yet",
        "certificate not valid yet",
    ),
    (
        "elsewhere",
        "localhost",
        "",
        "not valid for name \"localhost\"",
    ),
    ("elsewhere", "elsewhere.test", "", ""),
    ("address", "127.0.0.1", "", ""),
    (
        "address",
        "localhost",
        "",
        "not valid for name \"localhost\"",
    ),
    ("wildcard", "db.shop.test", "", ""),
    (
        "wildcard",
        "a.db.shop.test",
        "",
        "not valid for name \"a.db.shop.test\"",
    ),
    ("wildcard", "db_1.shop.test", "", ""),
    (
        "wildcard",
        "-db.shop.test",
        "",
        "-db.shop.test is no name that a certificate could have",
    ),
    (
        "nameless",
        "localhost",
        "",
        "not valid for name \"localhost\"",
    ),
    ("chained", "localhost", "", ""),
    ("unchained", "localhost", "UnknownIssuer", "UnknownIssuer"),
    ("itself", "localhost", "", ""),
    (
        "itself-late",
        "localhost",
        "certificate expired",
        "certificate expired",
    ),
    (
        "stranger",
        "localhost",
        "CaUsedAsEndEntity",
        "CaUsedAsEndEntity",
    ),
    (
        "version1",
        "localhost",
        "UnsupportedCertVersion",
        "UnsupportedCertVersion",
    ),
];

#[test]
fn certificates_of_servers_are_taken_or_refused_for_what_they_are() {
    let certificates = authority();
    let names = Names::make();
    for name in [
        "elsewhere.test",
        "db.shop.test",
        "db_1.shop.test",
        "-db.shop.test",
        "a.db.shop.test",
    ] {
        names.put(name, "127.0.0.1");
    }
    certificates.issue("localhost");
    certificates.issue("localhost");
    certificates.replace("localhost", "ec");
    // Whoever has signed itself has to be known by itself.
    certificates.write("ca-and-itself.pem", "");
    certificates.append("ca-and-itself.pem", "ca.pem");
    certificates.append("ca-and-itself.pem", "itself.pem");
    certificates.append("ca-and-itself.pem", "itself-late.pem");
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    let databases: String = OF_SERVERS
        .iter()
        .map(|(kind, host, ..)| {
            let port = postgres.port();
            format!("{kind}_{host} = host={host} port={port} dbname=postgres\n")
        })
        .collect();
    let start = |mode: &str| {
        let settings = certificates.server_settings(mode);
        let settings = settings.replace("ca.pem", "ca-and-itself.pem");
        Pooler::start_with(
            &databases,
            &format!("workers = 1\n{settings}"),
            &names.environment(),
        )
    };
    let poolers = ["prefer", "verify-ca", "verify-full"].map(|mode| (mode, start(mode)));
    let mut shown = "ec";
    let older = format!("workers = 1\nserver_tls_sslmode = require\n{TLS_1_2}");
    let older = Pooler::start_with(&databases, &older, &names.environment());
    for (kind, host, of_authority, of_name) in OF_SERVERS {
        if kind != shown {
            certificates.replace("localhost", kind);
            postgres.reload();
            shown = kind;
        }
        let login = Login::new().database(&format!("{kind}_{host}"));
        assert_eq!(older.connect_as(&login).value("select 1"), "1", "{kind}");
        for ((mode, pooler), expected) in poolers.iter().zip(["", of_authority, of_name]) {
            match (expected, pooler.try_connect(&login)) {
                ("", Ok(client)) => {
                    let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
                    assert_eq!(client.value(sql), "t", "{mode}, {kind} of {host}");
                }
                (reason, Err(error)) if !reason.is_empty() => {
                    let told = error.message.contains(&format!("TLS: {reason}"))
                        || error
                            .message
                            .contains(&format!("TLS: invalid peer certificate: {reason}"))
                        || error.message.contains(reason);
                    assert!(told, "{mode}, {kind} of {host}: {error:?}");
                }
                (expected, found) => {
                    panic!("{mode}, {kind} of {host}: {found:?}, not {expected:?}")
                }
            }
        }
    }
}

#[test]
fn poolers_show_psql_certificates_and_keys_of_all_kinds() {
    let certificates = authority();
    let own = |name: &str, to: &str, arguments: &[&str]| {
        certificates.convert_key(name, to, arguments);
    };
    own("rsa", "rsa-pkcs1.key", &["rsa", "-traditional"]);
    own("rsa", "rsa-pkcs8.key", &["pkcs8", "-topk8", "-nocrypt"]);
    own("ec", "ec-sec1.key", &["ec"]);
    own("ec", "ec-pkcs8.key", &["pkcs8", "-topk8", "-nocrypt"]);
    // As `openssl ecparam -genkey` writes it: what curve it is on comes first.
    certificates.write("ec-parameters.key", EC_PARAMETERS);
    certificates.append("ec-parameters.key", "ec-sec1.key");
    let postgres = Postgres::start();
    certificates.issue("localhost");
    let settings = format!(
        "workers = 1\n{}",
        certificates.settings("require", "localhost")
    );
    let pooler = Pooler::start(&postgres, &settings);
    let root = certificates.path("ca.pem").display().to_string();
    for (certificate, key) in [
        ("rsa", "rsa-pkcs1.key"),
        ("rsa", "rsa-pkcs8.key"),
        ("ec", "ec-sec1.key"),
        ("ec", "ec-pkcs8.key"),
        ("ec", "ec-parameters.key"),
        ("p384", "p384.key"),
        ("chained", "chained.key"),
        ("address", "address.key"),
        ("wildcard", "wildcard.key"),
        ("version1", "version1.key"),
    ] {
        let pem = format!("{certificate}.pem");
        fs::copy(certificates.path(&pem), certificates.path("localhost.pem")).unwrap();
        fs::copy(certificates.path(key), certificates.path("localhost.key")).unwrap();
        pooler.reload_files();
        let psql = pooler
            .psql()
            .user("postgres")
            .option("sslmode", "verify-full");
        let psql = psql.option("sslrootcert", &root);
        let host = match certificate {
            "address" => "127.0.0.1",
            "wildcard" => "db.shop.test",
            "version1" => "version1",
            _ => "localhost",
        };
        // The certificate has to be for the host by its name.
        let psql = psql.option("host", host).option("hostaddr", "127.0.0.1");
        assert_eq!(
            psql.run("select 1").ok().trim(),
            "1",
            "{certificate}, {key}"
        );
        let wrong = psql.option("host", "elsewhere.test").run("select 1");
        assert!(
            wrong.stderr.contains("does not match host name"),
            "{certificate}: {wrong:?}"
        );
    }
}

#[test]
fn certificates_of_clients_are_taken_or_refused_for_what_they_are() {
    let certificates = authority();
    certificates.issue("pooler");
    let postgres = Postgres::start();
    let settings = format!(
        "workers = 1\n{}",
        certificates.settings("verify-ca", "pooler")
    );
    let pooler = Pooler::start(&postgres, &settings);
    for (name, reason) in [
        ("ec", ""),
        ("rsa", ""),
        ("nameless", ""),
        ("chained", ""),
        ("expired", "certificate expired"),
        ("early", "certificate not valid yet"),
        ("unchained", "UnknownIssuer"),
        ("itself", "CaUsedAsEndEntity"),
        ("version1", "UnsupportedCertVersion"),
    ] {
        let path = |suffix: &str| {
            certificates
                .path(&format!("{name}.{suffix}"))
                .display()
                .to_string()
        };
        let psql = pooler.psql().user("postgres").option("sslmode", "require");
        let psql = psql
            .option("sslcert", &path("pem"))
            .option("sslkey", &path("key"));
        let before = pooler.log().len();
        let run = psql.run("select 1");
        if reason.is_empty() {
            assert_eq!(run.ok().trim(), "1", "{name}");
            continue;
        }
        assert_ne!(run.code, Some(0), "{name}");
        let log = pooler.log();
        let line = log[before..].lines().find(|line| line.contains("TLS: "));
        assert!(
            line.is_some_and(|line| line.contains(reason)),
            "{name}: {line:?}"
        );
    }
}

/// Only the older version.
const TLS_1_2: &str = "server_tls_protocols = tlsv1.2\n";

/// The parameters of P-256.
const EC_PARAMETERS: &str =
    "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
