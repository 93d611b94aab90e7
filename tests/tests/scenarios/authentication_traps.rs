//! Mistakes that others have made at the login, by their CVE numbers.
//!
//! Those that need no login of SCRAM or no PostgreSQL are among `garbage`, and
//! CVE-2025-12819 is with `auth_query`.

use crate::harness::{
    Client, Login, Manner, Message, PATIENCE, Pooler, Postgres, SqlState, StandIn, Wire, message,
    wait_for,
};

/// CVE-2026-107350: a second StartupMessage in the middle of an exchange logged
/// in as whom it named.
#[test]
fn second_startup_packet_in_the_middle_of_scram_is_no_login() {
    let postgres = Postgres::start();
    let (pooler, witness) = start(&postgres);
    for steps in 0..2 {
        let mut wire = challenged(&pooler, steps);
        // Of somebody whom nobody asks for a password elsewhere.
        wire.send(&Login::new().user("alice").packet());
        refused(&mut wire);
    }
    untouched(&pooler, &witness);
}

/// CVE-2026-107348: a declared length above 2^31 was waited for, for ever.
#[test]
fn impossible_lengths_in_the_middle_of_scram_end_the_login() {
    let postgres = Postgres::start();
    let (pooler, witness) = start(&postgres);
    for length in [0x7fff_ffff_u32, 0x8000_0000, 0xffff_ffff, 65_536, 3, 0] {
        for steps in 0..2 {
            let mut wire = challenged(&pooler, steps);
            let mut bytes = vec![b'p'];
            bytes.extend_from_slice(&length.to_be_bytes());
            wire.send(&bytes);
            refused(&mut wire);
        }
    }
    untouched(&pooler, &witness);
}

/// CVE-2026-6664: the length inside of a SASLInitialResponse overflowed.
#[test]
fn lying_lengths_inside_of_a_scram_message_end_the_login() {
    let postgres = Postgres::start();
    let (pooler, witness) = start(&postgres);
    for length in [
        0x7fff_ffff_u32,
        0x8000_0000,
        0xffff_fffe,
        0xffff_fff0,
        25,
        23,
        0,
    ] {
        let mut wire = challenged(&pooler, 0);
        wire.send_message(b'p', &initial(length));
        refused(&mut wire);
    }
    untouched(&pooler, &witness);
}

/// CVE-2026-6665: a server's nonce was copied to where it had no room.
#[test]
fn server_with_an_over_long_nonce_is_left() {
    let challenge = |nonce: usize| {
        let mut first = b"\0\0\0\x0br=".to_vec();
        first.resize(first.len() + nonce, b'x');
        first.extend_from_slice(b",s=c2FsdA==,i=4096");
        let mut bytes = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        bytes.extend(message(b'R', &first));
        bytes
    };
    for nonce in [1_000, 100_000] {
        let stand_in = StandIn::start(move |_| Manner::Refuse(challenge(nonce)));
        let error = login_through(&stand_in);
        assert_eq!(error.0, "08006", "{error:?}");
        assert!(error.1.len() < 200, "{error:?}");
    }
}

/// CVE-2026-6666: an ErrorResponse without a SQLSTATE was read from nowhere.
#[test]
fn error_of_a_server_without_a_sqlstate_is_an_error() {
    for body in [
        &b"SFATAL\0Mno state\0\0"[..],
        b"SFATAL\0C\0Mno state\0\0",
        b"Mno state\0",
        b"\0",
    ] {
        let stand_in = StandIn::start(|_| Manner::Refuse(message(b'E', body)));
        let error = login_through(&stand_in);
        assert_eq!(error.0.len(), 5, "{error:?} to {}", body.escape_ascii());
    }
}

/// CVE-2026-6667: KILL_CLIENT asked for no right.
#[test]
fn only_an_administrator_kills_clients() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 1");
    let victim = pooler.connect_as(&Login::new().user("alice"));
    let console = pooler.connect_as(&Login::new().user("carol").database("pgskein"));
    let id = pooler
        .console("SHOW CLIENTS")
        .into_iter()
        .find(|row| row.contains("alice"))
        .and_then(|row| {
            let mut words = row.split('|');
            words
                .find(|word| {
                    word.strip_prefix('c')
                        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
                })
                .map(str::to_owned)
        })
        .expect("an id in SHOW CLIENTS");
    for command in [
        format!("KILL_CLIENT {id}"),
        "KILL".to_owned(),
        "KILL postgres".to_owned(),
    ] {
        assert_eq!(console.query(&command), Err(SqlState("08P01")), "{command}");
        assert_eq!(console.last_error().unwrap().message, "admin access needed");
    }
    assert_eq!(victim.value("select 'alive'"), "alive");
}

/// A pooler that asks everybody but `postgres` and `carol` for SCRAM, and a
/// client that is not to notice anything.
fn start(postgres: &Postgres) -> (Pooler, Client) {
    let pooler = Pooler::start(postgres, "workers = 1");
    let hba = pooler.write_file(
        "hba.conf",
        "host all postgres all trust\nhost all all all scram-sha-256\n",
    );
    pooler.reload(&format!(
        "workers = 1\nauth_type = hba\nauth_hba_file = {}",
        hba.display()
    ));
    let witness = pooler.connect();
    (pooler, witness)
}

/// A connection that was asked for SCRAM, and has sent so many of its messages.
fn challenged(pooler: &Pooler, steps: usize) -> Wire {
    let mut wire = pooler.wire();
    wire.send(&Login::new().user("scram_user").packet());
    assert_eq!(answer(&mut wire).body[..4], [0, 0, 0, 10]);
    if steps > 0 {
        wire.send_message(b'p', &initial(24));
        assert_eq!(answer(&mut wire).body[..4], [0, 0, 0, 11]);
    }
    wire
}

/// A SASLInitialResponse of 24 bytes that are said to be so many.
fn initial(length: u32) -> Vec<u8> {
    let mut body = b"SCRAM-SHA-256\0".to_vec();
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(b"n,,n=,r=abcdefghijklmnop");
    body
}

/// Nothing but an error comes, and then the end.
fn refused(wire: &mut Wire) {
    wire.finish();
    for message in wire.read_to_end() {
        assert_eq!(message.tag, b'E', "{message:?}");
        assert_eq!(message.error().severity, "FATAL");
    }
}

fn answer(wire: &mut Wire) -> Message {
    wire.read_message().expect("an answer")
}

/// SQLSTATE and text of the error of a login that needs this server.
fn login_through(stand_in: &StandIn) -> (String, String) {
    let settings = "workers = 1\nserver_login_retry = 0.1";
    let pooler = Pooler::start_for(&format!("* = {}", stand_in.address()), settings);
    let login = Login::new().user("scram_user");
    let error = pooler.try_connect(&login).unwrap_err();
    // The worker is the same one.
    let worker = pooler.worker(1);
    wait_for("the console", PATIENCE, || {
        !pooler.console("SHOW VERSION").is_empty()
    });
    assert!(worker.is_alive());
    (error.sqlstate, error.message)
}

/// The worker is the same one and serves its other client.
fn untouched(pooler: &Pooler, witness: &Client) {
    assert_eq!(witness.value("select 'untouched'"), "untouched");
    assert_eq!(pooler.connect().value("select 'served'"), "served");
}
