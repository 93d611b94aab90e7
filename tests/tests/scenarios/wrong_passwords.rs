//! Wrong passwords and wrong names cost time, and delay nobody once those who sent
//! them are gone.

use crate::harness::{Login, Pooler, Postgres, Wire};

#[test]
fn wrong_passwords_of_clients_that_have_left_delay_nobody() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "auth_type = plain\nworkers = 1\nverbose = 1");
    let users = format!(
        "\"alice\" \"{}\"\n\"bob\" \"{}\"\n\"scram_user\" \"secret\"\n",
        secret(200_000),
        secret(4096)
    );
    pooler.write_file("users.txt", &users);
    pooler.reload_files();

    // Long comparisons queue up.
    let waiting: Vec<Wire> = (0..MANY)
        .map(|number| say(&pooler, "alice", &format!("wrong{number}\0")))
        .collect();

    // A client that needs none, and a server that keys are derived for, wait for
    // no comparison.
    let scram = pooler.psql().user("scram_user").password("secret");
    assert_eq!(scram.run("select current_user").ok(), "scram_user");
    assert_eq!(derived(&pooler, "for servers"), 1);
    assert!(derived(&pooler, "to compare it") < MANY);

    // Nobody wants the others any more: the next login has its turn.
    drop(waiting);
    let mut bob = say(&pooler, "bob", "wrong\0");
    let error = bob.read_message().expect("an answer").error();
    assert_eq!(error.sqlstate, "28P01");
    assert!(derived(&pooler, "to compare it") < MANY);
}

#[test]
fn names_that_nobody_has_delay_nobody_once_those_who_gave_them_have_left() {
    let postgres = Postgres::start();
    let settings = "auth_type = scram-sha-256\nscram_iterations = 100000\nworkers = 1\nverbose = 1";
    let pooler = Pooler::start(&postgres, settings);
    pooler.write_file("users.txt", "\"scram_user\" \"secret\"\n");
    pooler.reload_files();

    // For each of them as much is done as for a user with a plain password.
    let waiting: Vec<Wire> = (0..MANY)
        .map(|number| {
            let mut wire = pooler.wire();
            wire.send(&Login::new().user(&format!("nobody{number}")).packet());
            wire
        })
        .collect();
    drop(waiting);

    let scram = pooler.psql().user("scram_user").password("secret");
    assert_eq!(scram.run("select current_user").ok(), "scram_user");
    assert!(derived(&pooler, "to ask clients for them") < MANY);

    // Whoever stays is asked in the end.
    let mut wire = pooler.wire();
    wire.send(&Login::new().user("nobody0").packet());
    let request = wire.read_message().expect("a request");
    assert_eq!(request.body[..4], [0, 0, 0, 10], "SASL");
}

/// A secret that no password fits, and that takes long to find out.
fn secret(iterations: u32) -> String {
    let key = format!("{}=", "A".repeat(43));
    format!("SCRAM-SHA-256${iterations}:c2FsdHNhbHRzYWx0c2FsdA==${key}:{key}")
}

/// A client that has said its password, with the zero behind it.
fn say(pooler: &Pooler, user: &str, password: &str) -> Wire {
    let mut wire = pooler.wire();
    wire.send(&Login::new().user(user).packet());
    let request = wire.read_message().expect("a request");
    assert_eq!(request.body, [0, 0, 0, 3], "a password in the clear");
    wire.send_message(b'p', password.as_bytes());
    wire
}

/// How often keys were derived for something.
fn derived(pooler: &Pooler, purpose: &str) -> usize {
    let line = format!("keys of a password are derived, {purpose}");
    pooler.log().matches(&line).count()
}

/// Comparisons, or secrets, that are asked for.
const MANY: usize = 30;
