//! How a login can fail: what the client is told, and what the log says.

use crate::harness::{
    Certificates, Client, ErrorFields, Login, Pooler, Postgres, Wire, startup_packet,
};

/// SQLSTATE and text for the client, and what the log has behind its name.
type Refusal = (Login, &'static str, &'static str, &'static str);

#[test]
fn every_refusal_has_its_sqlstate_and_its_line_in_the_log() {
    let postgres = Postgres::start();
    let pooler = start(
        &postgres,
        "host  all      bob                  all reject\n\
         host  all      md5_user,scram_user,ghost all password\n\
         host  nowhere,refused,pgskein alice all trust\n\
         host  postgres alice,nobody         all trust\n",
    );
    let user = |user: &str| Login::new().user(user);
    let refusals: [Refusal; 12] = [
        (
            user("bob"),
            "28000",
            "login rejected",
            " (reject), hba=*:1, age=",
        ),
        (
            user("carol"),
            "28000",
            "login rejected",
            " (no line of auth_hba_file fits), age=",
        ),
        (
            user("md5_user").password("wrong"),
            "28P01",
            "password authentication failed",
            " (wrong password), hba=*:2, age=",
        ),
        (
            user("scram_user").password("wrong"),
            "28P01",
            "password authentication failed",
            " (wrong password), hba=*:2, age=",
        ),
        (
            user("ghost").password("secret"),
            "28P01",
            "password authentication failed",
            " (unknown user), hba=*:2, age=",
        ),
        (
            user("md5_user"),
            "28P01",
            "empty password returned by client",
            ", hba=*:2, age=",
        ),
        (
            user("nobody"),
            "28000",
            "\"trust\" authentication failed",
            " (unknown user), hba=*:4, age=",
        ),
        (user(""), "28000", "no username supplied", ", age="),
        (
            user("alice").database("nowhere"),
            "3D000",
            "no such database: nowhere",
            ", hba=*:3, age=",
        ),
        (
            user("alice").database("pgskein"),
            "28000",
            "not allowed",
            ", hba=*:3, age=",
        ),
        (
            user("alice").parameter("work_mem", "1"),
            "22023",
            "unsupported startup parameter: work_mem",
            ", age=",
        ),
        // What PostgreSQL says is passed on.
        (
            user("alice").database("refused"),
            "3D000",
            "database \"missing\" does not exist",
            ", hba=*:3, age=",
        ),
    ];
    for (login, sqlstate, message, logged) in &refusals {
        let error = pooler.try_connect(login).unwrap_err();
        let told = (error.severity.as_str(), error.sqlstate.as_str());
        assert_eq!(told, ("FATAL", *sqlstate), "{login:?}: {error:?}");
        assert_eq!(&error.message, message, "{login:?}");
        let logged = logged.replace("hba=*", &format!("hba={}", hba_file(&pooler)));
        pooler.wait_logged(&format!("@127.|: closed: {message}{logged}"));
    }
    // Whose login it was stands in front, as far as it was said.
    for name in [
        "postgres/bob@",
        "postgres/ghost@",
        "nowhere/alice@",
        "pgskein/alice@",
    ] {
        assert!(pooler.log_contains(&format!(" {name}127.")), "{name}");
    }
}

#[test]
fn what_is_no_login_is_told_so() {
    let postgres = Postgres::start();
    let certificates = Certificates::make("authority");
    certificates.issue("pooler");
    let settings = certificates.settings("require", "pooler");
    let pooler = Pooler::start(&postgres, &format!("workers = 1\n{settings}"));
    let error = pooler.try_connect(&Login::new()).unwrap_err();
    assert_eq!(told(&error), ("28000", "SSL required"));
    pooler.wait_logged("@127.|: closed: SSL required, age=");

    let tls = || {
        pooler
            .wire()
            .ask_for_tls(&certificates.client(&[]))
            .unwrap()
    };
    let answer = |mut wire: Wire, bytes: &[u8]| {
        wire.send(bytes);
        let messages = wire.read_to_end();
        messages.last().expect("an error").error()
    };
    let old = startup_packet(0x0002_0000, &[("user", "alice")]);
    let text = "unsupported frontend protocol 2.0: server supports 3.0 to 3.2";
    assert_eq!(told(&answer(tls(), &old)), ("0A000", text));
    let mut torn = Login::new().packet();
    torn.pop();
    let length = u32::try_from(torn.len()).unwrap().to_be_bytes();
    torn[..4].copy_from_slice(&length);
    let text = "invalid startup packet layout: expected terminator as last byte";
    assert_eq!(told(&answer(tls(), &torn)), ("08P01", text));
    // Who is let in by TLS is told inside of it what is wrong.
    let login = Login::new().user("stranger");
    let error = Client::log_in(tls(), &login).unwrap_err();
    assert_eq!(told(&error), ("28000", "\"trust\" authentication failed"));
    pooler.wait_logged("/stranger@127.|(unknown user), age=");
}

/// A pooler with these lines in its HBA file.
fn start(postgres: &Postgres, lines: &str) -> Pooler {
    let address = postgres.address();
    let databases = format!("postgres = {address}\nrefused = {address} dbname=missing\n");
    let pooler = Pooler::start_for(&databases, "workers = 1");
    let hba = pooler.write_file("hba.conf", lines);
    let settings = format!(
        "workers = 1\nauth_type = hba\nauth_hba_file = {}\nadmin_users = postgres\n",
        hba.display()
    );
    pooler.write_ini(&databases, &settings);
    pooler.reload_files();
    pooler
}

fn hba_file(pooler: &Pooler) -> String {
    let ini = pooler.ini();
    let folder = ini.parent().expect("the file is in a folder");
    folder.join("hba.conf").display().to_string()
}

fn told(error: &ErrorFields) -> (&str, &str) {
    (&error.sqlstate, &error.message)
}
