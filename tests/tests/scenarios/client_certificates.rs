//! Who may come in by a certificate, and which lines are for TLS.

use crate::harness::{Certificates, Client, Login, Pooler, Postgres, Psql, Release, Wire};

/// GSSENCRequest.
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

#[test]
fn certificate_says_who_may_come_in() {
    let postgres = Postgres::start();
    let certificates = authority();
    let settings = "auth_type = cert\nauth_file = \nadmin_users = alice\n";
    let settings = settings.to_owned() + &certificates.settings("verify-full", "pooler");
    let pooler = Pooler::start(&postgres, &settings);
    for release in [Release::System, Release::Eighteen] {
        let alice = with(&pooler, &certificates, "alice").release(release);
        assert_eq!(alice.clone().user("alice").who().ok(), "alice");
        let said = alice.user("bob").who().refused();
        assert!(said.contains("certificate authentication failed"), "{said}");
    }
    pooler.wait_logged(
        "postgres/alice@|: login, tls=TLSv1.3/TLS_AES_256_GCM_SHA384, certificate=\"alice\"",
    );
    pooler.wait_logged("postgres/bob@|closed: certificate authentication failed (the name in the certificate may not be this user), certificate=\"alice\", age=");
    // The right of a name at the console is one thing, who has the name another.
    let console = with(&pooler, &certificates, "alice").database("pgskein");
    console.clone().user("alice").run("SHOW VERSION").ok();
    console.user("bob").run("SHOW VERSION").refused();
    // Without a certificate there is no session, and no other way in.
    let psql = pooler.psql().database("postgres").user("alice");
    psql.option("sslmode", "require").who().refused();
    let error = pooler
        .connect_unix(&Login::new().user("alice"))
        .unwrap_err();
    assert_eq!(
        (error.sqlstate.as_str(), error.message.as_str()),
        ("28000", "TLS connection required")
    );
    let code = error_as(&pooler, &certificates, "alice", "bob");
    assert_eq!(code.0, "28000");
}

#[test]
fn servers_get_the_secret_that_the_database_knows_of_whom_a_certificate_names() {
    let postgres = Postgres::start();
    let certificates = authority();
    certificates.issue("md5_user");
    certificates.issue("nobody");
    let settings = "auth_type = cert\nauth_file = \nauth_user = postgres\n";
    let settings = settings.to_owned() + &certificates.settings("verify-full", "pooler");
    let pooler = Pooler::start(&postgres, &settings);
    let shown = |name: &str| with(&pooler, &certificates, name).user(name).who();
    assert_eq!(shown("md5_user").ok(), "md5_user");
    // Of a secret for SCRAM the server wants to see more than is stored.
    let said = shown("scram_user").refused();
    assert!(said.contains("server asks for a password"), "{said}");
    let said = shown("nobody").refused();
    assert!(said.contains("role \"nobody\" does not exist"), "{said}");
}

#[test]
fn handshake_from_before_a_reload_is_no_way_in_by_what_is_not_believed_any_more() {
    let postgres = Postgres::start();
    let certificates = authority();
    let pooler = start(&postgres, &certificates, "hostssl all alice all cert\n");
    let shaken = || {
        let wire = pooler.wire();
        wire.ask_for_tls(&certificates.client_as("alice")).unwrap()
    };
    let (mut early, mut late) = (shaken(), shaken());
    // The pooler is done with the handshake when it answers what came behind it.
    let login = Login::new().user("alice");
    for wire in [&mut early, &mut late] {
        wire.send(&GSS_REQUEST);
        assert_eq!(wire.read_byte(), Some(b'N'));
    }
    assert!(Client::log_in(early, &login).is_ok());
    let others = Certificates::make("another authority");
    std::fs::copy(others.path("ca.pem"), certificates.path("ca.pem")).unwrap();
    pooler.reload_files();
    let error = Client::log_in(late, &login).unwrap_err();
    assert_eq!(error.message, "certificate authentication failed");
    pooler.wait_logged("postgres/alice@|(the certificate is not believed any more)");
}

#[test]
fn certificates_are_asked_for_by_the_lines_that_want_them() {
    let postgres = Postgres::start();
    let certificates = authority();
    let pooler = start(
        &postgres,
        &certificates,
        "hostssl all carol,bob all cert map=staff\n\
         hostssl all alice all cert\n\
         hostssl all plain_user all scram-sha-256 clientcert=verify-ca\n\
         hostssl all scram_user all scram-sha-256 clientcert=verify-full\n\
         hostnossl all alice all reject\n",
    );
    let shown = |name: &str, user: &str, password: &str| {
        with(&pooler, &certificates, name)
            .user(user)
            .password(password)
            .who()
    };
    assert_eq!(shown("alice", "alice", "").ok(), "alice");
    // By the map alice is bob as well, and carol nobody but herself.
    assert_eq!(shown("alice", "bob", "").ok(), "bob");
    shown("alice", "carol", "").refused();
    shown("scram_user", "alice", "").refused();
    // Any certificate of the authority, and the password.
    assert_eq!(shown("alice", "plain_user", "secret").ok(), "plain_user");
    shown("alice", "plain_user", "wrong").refused();
    // The own certificate, and the password.
    assert_eq!(
        shown("scram_user", "scram_user", "secret").ok(),
        "scram_user"
    );
    shown("scram_user", "scram_user", "wrong").refused();
    let said = shown("alice", "scram_user", "secret").refused();
    assert!(said.contains("certificate authentication failed"), "{said}");
    pooler.wait_logged("postgres/scram_user@|failed (the name in|, hba=|hba.conf:4, age=");
    pooler
        .wait_logged("postgres/bob@|: login, tls=TLSv1.|, certificate=\"alice\", hba=|hba.conf:1");
    // Nothing is shown.
    for user in ["alice", "plain_user", "scram_user"] {
        let psql = pooler
            .psql()
            .database("postgres")
            .user(user)
            .password("secret");
        let said = psql.option("sslmode", "require").who().refused();
        assert!(
            said.contains("TLS client certificate required"),
            "{user}: {said}"
        );
    }
    // Of an authority that nobody knows, nobody needs it, and it does no good.
    let others = Certificates::make("another authority");
    others.issue("alice");
    with(&pooler, &others, "alice")
        .user("alice")
        .who()
        .refused();
    pooler.wait_logged("closed: TLS: invalid peer certificate: UnknownIssuer");
    let error = pooler.try_connect(&Login::new().user("alice")).unwrap_err();
    assert_eq!(
        (error.sqlstate.as_str(), error.message.as_str()),
        ("28000", "login rejected")
    );
}

#[test]
fn lines_for_tls_fit_those_who_speak_it() {
    let postgres = Postgres::start();
    let certificates = authority();
    let pooler = start(
        &postgres,
        &certificates,
        "hostssl all alice all trust\nhostnossl all bob all trust\nlocal all carol trust\n",
    );
    let tls = |user: &str| {
        let wire = pooler
            .wire()
            .ask_for_tls(&certificates.client(&[]))
            .unwrap();
        Client::log_in(wire, &Login::new().user(user)).is_ok()
    };
    let direct = |user: &str| {
        let wire = pooler
            .wire()
            .tls(&certificates.client(&["postgresql"]))
            .unwrap();
        Client::log_in(wire, &Login::new().user(user)).is_ok()
    };
    let plain = |user: &str| pooler.try_connect(&Login::new().user(user)).is_ok();
    let local = |user: &str| pooler.connect_unix(&Login::new().user(user)).is_ok();
    for (user, expected) in [
        ("alice", [true, true, false, false]),
        ("bob", [false, false, true, false]),
        ("carol", [false, false, false, true]),
    ] {
        let comes_in = [tls(user), direct(user), plain(user), local(user)];
        assert_eq!(comes_in, expected, "{user}");
    }
    // On a unix socket there is no TLS.
    let mut wire = pooler.unix_wire();
    wire.send(&crate::harness::SSL_REQUEST);
    assert_eq!(wire.read_byte(), Some(b'N'));
}

#[test]
fn configuration_that_cannot_know_anybody_is_refused() {
    let postgres = Postgres::start();
    let certificates = authority();
    let settings = |mode: &str| {
        format!(
            "auth_type = cert\n{}",
            certificates.settings(mode, "pooler")
        )
    };
    let databases = format!("* = {}", postgres.address());
    let refused = Pooler::try_start(&databases, &settings("verify-ca"));
    let said = refused.unwrap_err().stderr;
    assert!(
        said.contains("auth_type: cert needs client_tls_sslmode = verify-full"),
        "{said}"
    );
    // Certificates of nobody in particular.
    let pooler = start(&postgres, &certificates, "hostssl all all all md5\n");
    pooler.write_file("hba.conf", "hostssl all all all md5 clientcert=verify-ca\n");
    let without = certificates
        .settings("prefer", "pooler")
        .replace("client_tls_ca_file", ";");
    pooler.write_settings(&format!("{}{without}", hba_settings(&pooler)));
    let reload = pooler.local_psql().user("pgskein").database("pgskein");
    assert_ne!(reload.run("RELOAD").code, Some(0));
    pooler.wait_log(
        "hba.conf:1: certificates of clients can be checked only with client_tls_ca_file",
    );
    // Lines that can fit nobody are worth a word.
    pooler.reload(&hba_settings(&pooler));
    pooler.wait_log("hba.conf:1: hostssl fits nobody with client_tls_sslmode = disable");
}

/// An authority that has issued a certificate for a pooler and for some users.
fn authority() -> Certificates {
    let certificates = Certificates::make("authority");
    for name in ["pooler", "alice", "scram_user"] {
        certificates.issue(name);
    }
    certificates
}

/// A pooler that offers TLS, with these lines in its HBA file.
fn start(postgres: &Postgres, certificates: &Certificates, lines: &str) -> Pooler {
    let pooler = Pooler::start(postgres, "workers = 1");
    pooler.write_file("hba.conf", lines);
    pooler.write_file("ident.conf", "staff alice bob\nstaff /^(carol)$ \\1\n");
    let tls = certificates.settings("prefer", "pooler");
    pooler.reload(&format!("{}{tls}", hba_settings(&pooler)));
    pooler
}

fn hba_settings(pooler: &Pooler) -> String {
    let ini = pooler.ini();
    let folder = ini.parent().expect("the file is in a folder").display();
    format!(
        "workers = 1\nauth_type = hba\nauth_hba_file = {folder}/hba.conf\n\
         auth_ident_file = {folder}/ident.conf\n"
    )
}

/// psql that shows the certificate of this name.
fn with(pooler: &Pooler, certificates: &Certificates, name: &str) -> Psql {
    let path = |suffix: &str| {
        certificates
            .path(&format!("{name}.{suffix}"))
            .display()
            .to_string()
    };
    let psql = pooler
        .psql()
        .database("postgres")
        .option("sslmode", "require");
    psql.option("sslcert", &path("pem"))
        .option("sslkey", &path("key"))
}

/// SQLSTATE and text for who shows a certificate of this name as `user`.
fn error_as(
    pooler: &Pooler,
    certificates: &Certificates,
    name: &str,
    user: &str,
) -> (String, String) {
    let wire: Wire = pooler
        .wire()
        .ask_for_tls(&certificates.client_as(name))
        .unwrap();
    let error = Client::log_in(wire, &Login::new().user(user)).unwrap_err();
    (error.sqlstate, error.message)
}
