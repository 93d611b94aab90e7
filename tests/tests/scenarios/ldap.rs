//! Passwords that a directory knows.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use crate::harness::{
    Certificates, Directory, Login, PATIENCE, Pooler, Postgres, Signal, Wire, wait_for,
};

#[test]
fn users_log_in_by_the_name_that_is_made_of_theirs() {
    let (postgres, _tls, directory) = world();
    let pooler = start(&postgres, &simple(directory.port()));
    assert_eq!(
        pooler.psql().user("alice").password("rabbit").who().ok(),
        "alice"
    );
    for (user, password, why) in [
        (
            "alice",
            "hare",
            "bind of the user: invalid credentials (49)",
        ),
        (
            "bob",
            "rabbit",
            "bind of the user: invalid credentials (49)",
        ),
    ] {
        let said = pooler.psql().user(user).password(password).who().refused();
        assert!(said.contains("LDAP authentication failed"), "{said}");
        assert!(!said.contains("credentials"), "{said}");
        pooler.wait_logged(&format!(
            "postgres/{user}@127.|closed: LDAP authentication failed ({why}), age="
        ));
    }
    let (sqlstate, message) = refused(&pooler, "alice", b"hare\0");
    assert_eq!(sqlstate, "28000");
    assert_eq!(message, "LDAP authentication failed");
    // A directory says success to these.
    let (sqlstate, message) = refused(&pooler, "alice", b"\0");
    assert_eq!(sqlstate, "28P01");
    assert_eq!(message, "empty password returned by client");
    assert!(!pooler.log().contains("rabbit"));
}

#[test]
fn users_are_searched_for_and_must_be_found_once() {
    let (postgres, _tls, directory) = world();
    let search = |more: &str| {
        let port = directory.port();
        format!(
            "ldapserver=127.0.0.1 ldapport={port} ldapbasedn=\"dc=example,dc=net\" \
             ldapbinddn=\"cn=searcher,dc=example,dc=net\" {more}"
        )
    };
    let pooler = start(&postgres, &search("ldapbindpasswd=finder"));
    assert_eq!(
        pooler.psql().user("alice").password("rabbit").who().ok(),
        "alice"
    );
    pooler.psql().user("alice").password("hare").who().refused();
    pooler
        .psql()
        .user("carol")
        .password("rabbit")
        .who()
        .refused();
    pooler.wait_logged("/carol@|(the directory does not know the user)");
    // By the mail that two people have, and by what only one of them has.
    for (filter, outcome) in [
        (
            "(mail=$username@example.net)",
            Err("the user is not unique"),
        ),
        ("(&(mail=$username@example.net)(uid=alice))", Ok(())),
        ("(|(uid=al*e)(uid:=nobody))", Ok(())),
        ("(!(uid=*))", Err("invalid credentials (49)")),
    ] {
        let filter = format!("ldapbindpasswd=finder ldapsearchfilter=\"{filter}\"");
        reload(&pooler, &search(&filter));
        let run = pooler.psql().user("alice").password("rabbit").who();
        match outcome {
            Ok(()) => assert_eq!(run.ok(), "alice", "{filter}"),
            Err(why) => {
                run.refused();
                pooler.wait_logged(&format!("/alice@|{why})"));
            }
        }
    }
    // Who searches has to be let in.
    reload(&pooler, &search("ldapbindpasswd=loser"));
    pooler
        .psql()
        .user("alice")
        .password("rabbit")
        .who()
        .refused();
    pooler.wait_logged("/alice@|bind of ldapbinddn: invalid credentials (49)");
    let log = pooler.log();
    assert!(!log.contains("finder") && !log.contains("loser"));
}

#[test]
fn names_mean_nothing_but_names() {
    let (postgres, _tls, directory) = world();
    postgres.query(&format!("create role \"{SPECIAL}\" login"));
    let port = directory.port();
    let url = format!(
        "ldapurl=\"ldap://127.0.0.1:{port}/ou=people,dc=example,dc=net?uid?one\" \
         ldapbinddn=\"cn=searcher,dc=example,dc=net\" ldapbindpasswd=finder"
    );
    for options in [simple(port), url] {
        let pooler = start(&postgres, &options);
        // A backslash is doubled in what psql is given.
        let psql = |user: &str| pooler.psql().user(&user.replace('\\', "\\\\"));
        let special = psql(SPECIAL).password("rabbit");
        assert_eq!(special.who().ok(), SPECIAL, "{options}");
        for user in [
            "*",
            "al*",
            "a)(uid=*",
            "alice,ou=people",
            "\\2a",
            "nobody)(|(uid=alice",
        ] {
            let run = psql(user).password("rabbit").who();
            let said = run.refused();
            assert!(
                said.contains("LDAP authentication failed"),
                "{user}: {said}"
            );
        }
    }
    // Where a name cannot be escaped it is not sent.
    let suffix = format!("ldapserver=127.0.0.1 ldapport={port} ldapsuffix=\"@example.net\"");
    let pooler = start(&postgres, &suffix);
    let user = "uid=alice,ou=people,dc=example,dc=net";
    pooler.psql().user(user).password("rabbit").who().refused();
    pooler.wait_logged("(the name of the user has characters that mean something else)");
}

#[test]
fn directories_are_spoken_to_over_tls_and_must_be_known() {
    let (postgres, tls, directory) = world();
    let (port, tls_port) = (directory.port(), directory.tls_port());
    let people = "ou=people,dc=example,dc=net";
    let prefix = format!("ldapprefix=\"uid=\" ldapsuffix=\",{people}\"");
    let authority = tls.path("ca.pem").display().to_string();
    let pooler = Pooler::start(&postgres, "");
    let use_options = |options: &str, authority: &str| {
        pooler.reload(&format!(
            "auth_type = ldap\nauth_ldap_ca_file = {authority}\nauth_ldap_options = {options}\n"
        ));
    };
    let psql = pooler.psql().user("alice").password("rabbit");
    let ways = [
        format!("ldapserver=localhost ldapport={port} ldaptls=1 {prefix}"),
        format!("ldapserver=localhost ldapport={tls_port} ldapscheme=ldaps {prefix}"),
        format!(
            "ldapurl=\"ldaps://127.0.0.1:{tls_port}/{people}?uid?sub\" \
             ldapbinddn=\"cn=searcher,dc=example,dc=net\" ldapbindpasswd=finder"
        ),
    ];
    for options in &ways {
        use_options(options, &authority);
        assert_eq!(psql.who().ok(), "alice", "{options}");
        psql.clone().password("hare").who().refused();
    }
    // Another authority, and a host that the certificate is not for.
    let others = Certificates::make("others");
    let unknown = others.path("ca.pem").display().to_string();
    for options in &ways {
        use_options(options, &unknown);
        psql.who().refused();
    }
    pooler.wait_logged("/alice@|invalid peer certificate: UnknownIssuer");
    let other_host = format!("ldapserver=127.0.0.2 ldapport={tls_port} ldapscheme=ldaps {prefix}");
    use_options(&other_host, &authority);
    psql.who().refused();
    pooler.wait_logged("/alice@|invalid peer certificate: certificate not valid for name");
    // A file of authorities that is none changes nothing.
    use_options(&ways[0], &authority);
    pooler.write_settings(&format!(
        "auth_type = ldap\nauth_ldap_ca_file = {}\nauth_ldap_options = {}\n",
        tls.path("localhost.key").display(),
        ways[0],
    ));
    pooler.signal(Signal::SIGHUP);
    pooler.wait_logged("auth_ldap_ca_file|localhost.key: holds no certificate");
    assert_eq!(psql.who().ok(), "alice");
}

#[test]
fn tls_that_is_asked_for_is_not_begun_by_what_others_put_in_between() {
    let postgres = Postgres::start();
    let tls = certificates();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Says yes, and adds that the user is let in.
    let intruder = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut asked = [0; 31];
        socket.read_exact(&mut asked).unwrap();
        let yes = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";
        let admitted = b"\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x00\x04\x00\x04\x00";
        socket.write_all(&[&yes[..], admitted].concat()).unwrap();
        let mut more = Vec::new();
        drop(socket.read_to_end(&mut more));
        more
    });
    let pooler = Pooler::start(
        &postgres,
        &format!(
            "auth_type = ldap\nauth_ldap_ca_file = {}\n\
             auth_ldap_options = ldapserver=127.0.0.1 ldapport={port} ldaptls=1 ldapprefix=\"uid=\"",
            tls.path("ca.pem").display()
        ),
    );
    pooler
        .psql()
        .user("alice")
        .password("rabbit")
        .who()
        .refused();
    pooler.wait_logged("/alice@|unencrypted data after the answer to StartTLS");
    assert_eq!(
        intruder.join().unwrap(),
        b"",
        "nothing is said in the clear"
    );
}

#[test]
fn next_server_is_asked_when_one_does_not_answer() {
    let (postgres, _tls, mut directory) = world();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let port = directory.port();
    let pooler = start_with(
        &postgres,
        &format!(
            "ldapserver=\"127.0.0.1:{silent_port} 127.0.0.1:1 127.0.0.1:{port}\" \
             ldapprefix=\"uid=\" ldapsuffix=\",ou=people,dc=example,dc=net\""
        ),
        "auth_ldap_timeout = 0.3\nworkers = 1",
    );
    let psql = pooler.psql().user("alice").password("rabbit");
    assert_eq!(psql.who().ok(), "alice");
    pooler.wait_logged("WARN|LDAP server 127.0.0.1:|no answer within 0.3s");
    pooler.wait_logged("WARN|LDAP server 127.0.0.1:1: |Connection refused");
    // It is not tried first any more.
    silent.set_nonblocking(true).unwrap();
    drop(silent.accept().unwrap());
    assert_eq!(psql.who().ok(), "alice");
    psql.clone().password("hare").who().refused();
    assert!(silent.accept().is_err());
    // No server is left.
    directory.stop();
    let said = psql.who().refused();
    assert!(said.contains("LDAP authentication failed"), "{said}");
    pooler.wait_logged("/alice@|LDAP authentication failed (127.0.0.1:|no answer within");
    // All are tried then, so it is found when it is there again.
    directory.start_again();
    assert_eq!(psql.who().ok(), "alice");
}

#[test]
fn directory_that_does_not_answer_delays_nobody_else() {
    let (postgres, _tls, directory) = world();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let pooler = Pooler::start(&postgres, "workers = 1");
    let hba = pooler.write_file(
        "hba.conf",
        &format!(
            "host all bob all ldap ldapserver=127.0.0.1 ldapport={silent_port} ldapprefix=\"uid=\"\n\
             host all alice all ldap {}\n\
             host all scram_user all scram-sha-256\n",
            simple(directory.port())
        ),
    );
    let settings = format!(
        "workers = 1\nmax_client_conn = 500\nauth_type = hba\nauth_hba_file = {}\n\
         auth_ldap_timeout = 60",
        hba.display()
    );
    pooler.reload(&settings);
    // As many as are asked about at once, and as many as may wait.
    let mut waiting: Vec<Wire> = (0..108).map(|_| say(&pooler, "bob", b"rabbit\0")).collect();
    wait_for("a login to be refused", PATIENCE, || {
        let (sqlstate, message) = match last(&pooler, "bob") {
            Some(error) => error,
            None => return false,
        };
        assert_eq!(sqlstate, "53300");
        assert_eq!(message, "too many logins wait for LDAP authentication");
        true
    });
    pooler.wait_logged("/bob@|too many logins wait for LDAP authentication, hba=");
    assert_eq!(
        pooler.psql().user("alice").password("rabbit").who().ok(),
        "alice"
    );
    let scram = pooler.psql().user("scram_user").password("secret");
    assert_eq!(scram.who().ok(), "scram_user");
    // Who leaves makes room.
    waiting.truncate(50);
    wait_for("room for a login", PATIENCE, || {
        last(&pooler, "bob").is_none()
    });
    // Nobody waits for the directory when the pooler ends.
    pooler.signal(Signal::SIGQUIT);
    pooler.wait_exit(PATIENCE);
    drop(waiting);
}

#[test]
fn console_is_entered_by_the_same_password() {
    let postgres = Postgres::start();
    let tls = certificates();
    let directory = Directory::start(&[("postgres", "p@example.net")], &tls);
    let options = format!("{} ldaptls=0", simple(directory.port()));
    let pooler = start(&postgres, &options);
    let psql = pooler.psql().user("postgres").database("pgskein");
    psql.clone().password("hare").run("show version").refused();
    psql.password("rabbit").run("show version").ok();
}

#[test]
fn password_of_who_searches_is_not_shown() {
    let (postgres, _tls, directory) = world();
    let pooler = start(
        &postgres,
        &format!(
            "ldapserver=127.0.0.1 ldapport={} ldapbasedn=\"dc=example,dc=net\" \
             ldapbinddn=\"cn=searcher,dc=example,dc=net\" ldapbindpasswd=finder",
            directory.port()
        ),
    );
    let local = pooler.local_psql().user("pgskein").database("pgskein");
    let shown = local.run("show config").ok();
    assert!(shown.contains("ldapbindpasswd=\"****\""), "{shown}");
    assert!(!shown.contains("finder"));
    let options = "ldapserver=a ldapbasedn=b ldapbinddn=c ldapbindpasswd=seeker";
    local
        .run(&format!("set auth_ldap_options = '{options}'"))
        .ok();
    pooler.wait_logged("SET auth_ldap_options=|ldapbindpasswd=\"****\"| command issued");
    assert!(!pooler.log().contains("seeker"));
}

/// A server, certificates, and a directory of people.
fn world() -> (Postgres, Certificates, Directory) {
    let certificates = certificates();
    let people = [
        ("alice", "alice@example.net"),
        ("twin", "alice@example.net"),
        (SPECIAL, "special@example.net"),
    ];
    let directory = Directory::start(&people, &certificates);
    (Postgres::start(), certificates, directory)
}

pub(crate) fn certificates() -> Certificates {
    let certificates = Certificates::make("directories");
    certificates.issue("localhost");
    certificates
}

/// Options by which people bind as themselves.
pub(crate) fn simple(port: u16) -> String {
    format!(
        "ldapserver=127.0.0.1 ldapport={port} ldapprefix=\"uid=\" \
         ldapsuffix=\",ou=people,dc=example,dc=net\""
    )
}

fn start(postgres: &Postgres, options: &str) -> Pooler {
    start_with(postgres, options, "")
}

pub(crate) fn start_with(postgres: &Postgres, options: &str, more: &str) -> Pooler {
    let settings = format!("{more}\nauth_type = ldap\nauth_ldap_options = {options}");
    Pooler::start(postgres, &settings)
}

fn reload(pooler: &Pooler, options: &str) {
    pooler.reload(&format!("auth_type = ldap\nauth_ldap_options = {options}"));
}

/// A client that has said its password, with the zero behind it.
pub(crate) fn say(pooler: &Pooler, user: &str, password: &[u8]) -> Wire {
    let mut wire = pooler.wire();
    wire.send(&Login::new().user(user).packet());
    let request = wire.read_message().expect("a request");
    assert_eq!(request.body, [0, 0, 0, 3], "a password in the clear");
    wire.send_message(b'p', password);
    wire
}

/// SQLSTATE and text that such a client gets.
fn refused(pooler: &Pooler, user: &str, password: &[u8]) -> (String, String) {
    let mut wire = say(pooler, user, password);
    let error = wire.read_message().expect("an answer").error();
    (error.sqlstate, error.message)
}

/// What one more login is told at once; nothing if it waits.
fn last(pooler: &Pooler, user: &str) -> Option<(String, String)> {
    let mut wire = say(pooler, user, b"rabbit\0");
    let error = wire.poll_message(Duration::from_millis(300))?.error();
    Some((error.sqlstate, error.message))
}

/// A name with what has a meaning in filters and in distinguished names.
const SPECIAL: &str = "a*b)(c\\d,e=f+g";
