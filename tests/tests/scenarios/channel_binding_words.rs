//! What clients may say of channel binding, word by word, and what a server's
//! certificate may be like.

use crate::harness::{Certificates, Login, Pooler, Postgres, Wire};

const PLUS: &str = "SCRAM-SHA-256-PLUS";
const PLAIN: &str = "SCRAM-SHA-256";

#[test]
fn words_on_channel_binding_have_to_fit_what_was_offered() {
    let postgres = Postgres::start();
    let certificates = Certificates::make("authority");
    certificates.issue("pooler");
    let settings = [
        "workers = 1\nauth_type = scram-sha-256\n",
        &certificates.settings("allow", "pooler"),
    ];
    let pooler = Pooler::start(&postgres, &settings.concat());
    let encrypted = || {
        let wire = pooler.wire();
        wire.ask_for_tls(&certificates.client(&[])).unwrap()
    };
    let (both, one) = ([PLUS, PLAIN], [PLAIN]);
    let invalid = "client selected an invalid SASL authentication mechanism";
    let negotiation = "SCRAM channel binding negotiation error";
    for (mechanism, words, answer) in [
        (PLUS, "p=tls-server-end-point", Ok(())),
        (PLAIN, "n", Ok(())),
        // It was offered: somebody on the way has taken it out.
        (PLAIN, "y", Err(("28000", negotiation))),
        (
            PLUS,
            "p=tls-unique",
            Err(("08P01", "unsupported SCRAM channel-binding type")),
        ),
        (PLUS, "n", Err(("08P01", "malformed SCRAM message"))),
        (PLUS, "y", Err(("08P01", "malformed SCRAM message"))),
        (
            PLAIN,
            "p=tls-server-end-point",
            Err(("08P01", "SCRAM channel binding was not offered")),
        ),
        ("SCRAM-SHA-1", "n", Err(("08P01", invalid))),
    ] {
        check(encrypted(), &both, mechanism, words, answer);
    }
    for (mechanism, words, answer) in [
        (PLAIN, "n", Ok(())),
        // True: nothing was offered.
        (PLAIN, "y", Ok(())),
        (PLUS, "p=tls-server-end-point", Err(("08P01", invalid))),
    ] {
        check(pooler.wire(), &one, mechanism, words, answer);
    }
    // Who is not known is asked for the same.
    for user in ["scram_user", "nobody"] {
        assert_eq!(offered(&mut encrypted(), user), both, "{user}");
        assert_eq!(offered(&mut pooler.wire(), user), one, "{user}");
    }
}

#[test]
fn server_that_cannot_be_bound_to_has_to_be_verified_where_it_matters() {
    let certificates = Certificates::make("authority");
    certificates.self_sign("localhost", "ed25519");
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    let login = Login::new().user("scram_user");
    let through = |mode: &str| {
        let settings = format!("workers = 1\nauth_type = trust\nserver_tls_sslmode = {mode}\n");
        let pooler = Pooler::start(&postgres, &settings);
        let outcome = pooler.try_connect(&login);
        let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
        outcome.map(|client| client.value(sql))
    };
    // Anybody could be in between anyway.
    assert_eq!(through("prefer").unwrap(), "t");
    let error = through("require").unwrap_err();
    let text = "server's certificate is signed in a way that SCRAM cannot be bound to";
    assert!(error.message.contains(text), "{error:?}");
}

/// Begins an exchange and compares the answer.
fn check(
    mut wire: Wire,
    mechanisms: &[&str],
    mechanism: &str,
    words: &str,
    answer: Result<(), (&str, &str)>,
) {
    assert_eq!(offered(&mut wire, "scram_user"), mechanisms);
    let message = format!("{words},,n=,r=abcdefghijklmnop");
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [mechanism.as_bytes(), b"\0", &length, message.as_bytes()];
    wire.send_message(b'p', &body.concat());
    let said = wire.read_message().expect("an answer");
    match answer {
        Ok(()) => assert_eq!(
            said.body[..4],
            [0, 0, 0, 11],
            "{mechanism} {words}: {said:?}"
        ),
        Err((sqlstate, message)) => {
            let error = said.error();
            let told = (error.sqlstate.as_str(), error.message.as_str());
            assert_eq!(told, (sqlstate, message), "{mechanism} {words}");
        }
    }
}

/// The mechanisms that somebody who wants to be this user is offered.
fn offered(wire: &mut Wire, user: &str) -> Vec<String> {
    wire.send(&Login::new().user(user).packet());
    let request = wire.read_message().expect("a request");
    assert_eq!(request.body[..4], [0, 0, 0, 10]);
    let names = request.body[4..].split(|byte| *byte == 0);
    let names = names.filter(|name| !name.is_empty());
    names
        .map(|name| String::from_utf8(name.to_vec()).unwrap())
        .collect()
}
