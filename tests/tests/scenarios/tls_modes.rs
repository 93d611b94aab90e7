//! Every sslmode of psql with every sslmode of the pooler, and every sslmode of
//! the pooler with everything that PostgreSQL offers.
//!
//! Source: PgBouncer documentation, "TLS settings"; PostgreSQL documentation,
//! "SSL Support" in "libpq" and "The pg_hba.conf File".

use crate::harness::{Certificates, Login, Pooler, Postgres, Psql, Release};

/// The sslmodes of both sides.
pub(crate) const MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

/// How a connection comes out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Plain,
    Encrypted,
    /// There is none, because of this.
    Refused(&'static str),
}

use Outcome::{Encrypted, Plain, Refused};

/// The client demands what the pooler does not offer.
const NOT_OFFERED: Outcome = Refused("server does not support SSL, but SSL was required");
/// The pooler demands it.
const DEMANDED: Outcome = Refused("SSL required");
/// The pooler demands a certificate.
const NO_CERTIFICATE: Outcome = Refused("certificate required");

/// A mode of the pooler, then how it comes out for each mode of psql.
type Row = (&'static str, [Outcome; 6]);

#[rustfmt::skip]
const WITHOUT_CERTIFICATE: [Row; 6] = [
    ("disable",     [Plain,    Plain,          Plain,          NOT_OFFERED,    NOT_OFFERED,    NOT_OFFERED]),
    ("allow",       [Plain,    Plain,          Encrypted,      Encrypted,      Encrypted,      Encrypted]),
    ("prefer",      [Plain,    Plain,          Encrypted,      Encrypted,      Encrypted,      Encrypted]),
    ("require",     [DEMANDED, Encrypted,      Encrypted,      Encrypted,      Encrypted,      Encrypted]),
    ("verify-ca",   [DEMANDED, NO_CERTIFICATE, NO_CERTIFICATE, NO_CERTIFICATE, NO_CERTIFICATE, NO_CERTIFICATE]),
    ("verify-full", [DEMANDED, NO_CERTIFICATE, NO_CERTIFICATE, NO_CERTIFICATE, NO_CERTIFICATE, NO_CERTIFICATE]),
];

#[rustfmt::skip]
const WITH_CERTIFICATE: [Row; 3] = [
    ("require",     [DEMANDED, Encrypted, Encrypted, Encrypted, Encrypted, Encrypted]),
    ("verify-ca",   [DEMANDED, Encrypted, Encrypted, Encrypted, Encrypted, Encrypted]),
    ("verify-full", [DEMANDED, Encrypted, Encrypted, Encrypted, Encrypted, Encrypted]),
];

/// What PostgreSQL offers: a database that it lets in by this line of its HBA
/// file, if any; without one, another server, which has no TLS.
const OFFERS: [(&str, &str); 5] = [
    ("ssl_off", ""),
    ("ssl_on", "host ssl_on all 127.0.0.0/8 trust"),
    ("hostssl", "hostssl hostssl all 127.0.0.0/8 trust"),
    ("hostnossl", "hostnossl hostnossl all 127.0.0.0/8 trust"),
    (
        "clientcert",
        "hostssl clientcert all 127.0.0.0/8 trust clientcert=verify-ca",
    ),
];

/// The pooler demands what PostgreSQL does not have.
const NONE_THERE: Outcome = Refused("TLS: server does not support SSL");
/// PostgreSQL's HBA file has no such line.
const NO_LINE: Outcome = Refused("no pg_hba.conf entry");
/// PostgreSQL demands a certificate.
const NOT_SHOWN: Outcome = Refused("connection requires a valid client certificate");

/// A mode of the pooler, then how it comes out for each offer.
type Offered = (&'static str, [Outcome; 5]);

#[rustfmt::skip]
const TO_SERVERS: [Offered; 6] = [
    ("disable",     [Plain,      Plain,     NO_LINE,   Plain,   NO_LINE]),
    ("allow",       [Plain,      Encrypted, Encrypted, Plain,   NOT_SHOWN]),
    ("prefer",      [Plain,      Encrypted, Encrypted, Plain,   NOT_SHOWN]),
    ("require",     [NONE_THERE, Encrypted, Encrypted, NO_LINE, NOT_SHOWN]),
    ("verify-ca",   [NONE_THERE, Encrypted, Encrypted, NO_LINE, NOT_SHOWN]),
    ("verify-full", [NONE_THERE, Encrypted, Encrypted, NO_LINE, NOT_SHOWN]),
];

/// psql's own account of its connection, or its complaint.
fn connect(psql: &Psql) -> Result<bool, String> {
    let run = psql.run("\\conninfo");
    if run.code == Some(0) {
        // As version 15 says it, and as version 18 does.
        let signs = ["SSL connection (", "SSL Connection|true"];
        Ok(signs.iter().any(|sign| run.stdout.contains(sign)))
    } else {
        Err(run.stderr)
    }
}

fn check(expected: Outcome, found: &Result<bool, String>, what: &str) {
    match (expected, found) {
        (Plain, Ok(false)) | (Encrypted, Ok(true)) => {}
        (Refused(reason), Err(complaint)) if complaint.contains(reason) => {}
        _ => panic!("{what}: {found:?} instead of {expected:?}"),
    }
}

fn client_side(release: Release) {
    let postgres = Postgres::start();
    let certificates = Certificates::make("authority");
    certificates.issue("pooler");
    certificates.issue("alice");
    let path = |name: &str| certificates.path(name).display().to_string();
    let pooler = Pooler::start(&postgres, "workers = 1");
    let psql = |mode: &str| {
        let psql = pooler.psql().release(release).user("postgres");
        psql.option("sslmode", mode)
            .option("sslrootcert", &path("ca.pem"))
    };
    let settings = |mode: &str| format!("workers = 1\n{}", certificates.settings(mode, "pooler"));
    for (own, outcomes) in WITHOUT_CERTIFICATE {
        pooler.reload(&settings(own));
        for (mode, expected) in MODES.into_iter().zip(outcomes) {
            let what = format!("client_tls_sslmode = {own}, psql's {mode}");
            check(expected, &connect(&psql(mode)), &what);
            // It begins at once, or leaves it.
            let direct = MODES[3..].contains(&mode);
            if release != Release::System && direct && expected == Encrypted {
                let psql = psql(mode).option("sslnegotiation", "direct");
                check(expected, &connect(&psql), &format!("{what}, direct"));
            }
        }
    }
    for (own, outcomes) in WITH_CERTIFICATE {
        pooler.reload(&settings(own));
        for (mode, expected) in MODES.into_iter().zip(outcomes) {
            let psql = psql(mode)
                .option("sslcert", &path("alice.pem"))
                .option("sslkey", &path("alice.key"));
            let what = format!("client_tls_sslmode = {own}, psql's {mode} with a certificate");
            check(expected, &connect(&psql), &what);
        }
    }
}

#[test]
fn every_sslmode_of_psql_meets_every_sslmode_of_the_pooler() {
    client_side(Release::System);
}

#[test]
fn every_sslmode_of_psql_18_meets_every_sslmode_of_the_pooler() {
    client_side(Release::Eighteen);
}

/// How a server comes out that the pooler opens for this database.
fn server(pooler: &Pooler, database: &str) -> Result<bool, String> {
    let client = pooler.try_connect(&Login::new().database(database));
    let client = client.map_err(|error| format!("{} {}", error.sqlstate, error.message))?;
    Ok(client.value("select ssl from pg_stat_ssl where pid = pg_backend_pid()") == "t")
}

fn server_side(release: Release) {
    let certificates = Certificates::make("authority");
    certificates.issue("localhost");
    certificates.issue("pooler");
    let lines = OFFERS.map(|(_, line)| line).join("\n") + "\nlocal all all trust\n";
    // The harness looks whether it is there.
    certificates.write(
        "hba.conf",
        &format!("{lines}host postgres all 127.0.0.0/8 trust\n"),
    );
    let hba = format!("hba_file={}", certificates.path("hba.conf").display());
    let with = Postgres::start_release_with_tls(release, &certificates, "localhost", &[&hba]);
    let without = Postgres::start_release(release);
    let mut databases = String::new();
    for (name, line) in OFFERS {
        let there = if line.is_empty() { &without } else { &with };
        there.query(&format!("create database {name}"));
        for (mode, _) in TO_SERVERS {
            for own in ["", "own_"] {
                databases += &format!(
                    "{own}{name}_{mode} = host=localhost port={} dbname={name}\n",
                    there.port()
                );
            }
        }
    }
    let pooler = Pooler::start_for(&databases, "workers = 1");
    let path = |name: &str| certificates.path(name).display().to_string();
    let own = format!(
        "server_tls_cert_file = {}\nserver_tls_key_file = {}\n",
        path("pooler.pem"),
        path("pooler.key")
    );
    for (mode, outcomes) in TO_SERVERS {
        let settings = format!("workers = 1\n{}", certificates.server_settings(mode));
        pooler.reload(&settings);
        for ((name, _), expected) in OFFERS.into_iter().zip(outcomes) {
            let found = server(&pooler, &format!("{name}_{mode}"));
            check(
                expected,
                &found,
                &format!("server_tls_sslmode = {mode}, {name}"),
            );
        }
        // With a certificate to show.
        pooler.reload(&format!("{settings}{own}"));
        let expected = if mode == "disable" {
            NO_LINE
        } else {
            Encrypted
        };
        let found = server(&pooler, &format!("own_clientcert_{mode}"));
        check(
            expected,
            &found,
            &format!("server_tls_sslmode = {mode}, a certificate"),
        );
    }
}

#[test]
fn every_sslmode_of_the_pooler_meets_all_that_postgresql_offers() {
    server_side(Release::System);
}

#[test]
fn every_sslmode_of_the_pooler_meets_all_that_postgresql_18_offers() {
    server_side(Release::Eighteen);
}

#[test]
fn direct_tls_is_for_servers_that_know_it() {
    let certificates = Certificates::make("authority");
    certificates.issue("localhost");
    let start =
        |release| Postgres::start_release_with_tls(release, &certificates, "localhost", &[]);
    let (new, old) = (start(Release::Eighteen), start(Release::System));
    let databases = format!(
        "new = host=localhost port={} dbname=postgres sslnegotiation=direct\n\
         old = host=localhost port={} dbname=postgres sslnegotiation=direct\n",
        new.port(),
        old.port()
    );
    let settings = certificates.server_settings("verify-full");
    let pooler = Pooler::start_for(&databases, &format!("workers = 1\n{settings}"));
    assert_eq!(server(&pooler, "new"), Ok(true));
    // It takes the first bytes for the length of a packet.
    let refusal = server(&pooler, "old").unwrap_err();
    assert!(refusal.starts_with("08006 "), "{refusal}");
    // As with libpq, there is no way back from it.
    let weaker = settings.replace("verify-full", "prefer");
    pooler.write_settings(&format!("workers = 1\n{weaker}"));
    let console = pooler.local_psql().user("pgskein").database("pgskein");
    let refused = console.run("RELOAD").stderr;
    let reason = "sslnegotiation = direct needs require, verify-ca or verify-full";
    assert!(refused.contains(reason), "{refused}");
    assert_eq!(server(&pooler, "new"), Ok(true));
}
