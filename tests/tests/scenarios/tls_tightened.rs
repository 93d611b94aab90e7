//! TLS that is to be another after a reload: what was opened, or had begun, before
//! does not go on as if it were not.

use crate::harness::{
    Certificates, Client, Login, Message, Pooler, Postgres, Wire, startup_packet,
};

/// Whether the connection to PostgreSQL is encrypted, as it says itself.
const ENCRYPTED: &str = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";

/// GSSENCRequest.
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

#[test]
fn servers_leave_that_were_opened_by_other_tls() {
    let certificates = Certificates::make("authority");
    certificates.issue("localhost");
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    let settings = |tls: &str| format!("workers = 1\npool_mode = transaction\n{tls}");
    let pooler = Pooler::start(&postgres, &settings("server_tls_sslmode = disable\n"));
    let (client, busy) = (pooler.connect(), pooler.connect());
    assert_eq!(client.value(ENCRYPTED), "f");
    busy.query("begin").unwrap();
    assert_eq!(busy.value(ENCRYPTED), "f");
    let full = certificates.server_settings("verify-full");
    pooler.reload(&settings(&full));
    assert_eq!(client.value(ENCRYPTED), "t");
    // A transaction goes on to its end.
    assert_eq!(busy.value(ENCRYPTED), "f");
    busy.query("commit").unwrap();
    assert_eq!(busy.value(ENCRYPTED), "t");
    // A setting that only stands elsewhere changes nothing.
    let pid = "select pg_backend_pid()";
    let before = client.value(pid);
    pooler.reload(&settings(&format!("; a comment\n{full}")));
    assert_eq!(client.value(pid), before);
}

#[test]
fn handshake_by_a_lost_authority_is_no_way_in_by_a_password_either() {
    let certificates = Certificates::make("authority");
    certificates.issue("localhost");
    certificates.issue("alice");
    let postgres = Postgres::start();
    let settings = certificates.settings("verify-full", "localhost");
    let settings = format!("workers = 1\nauth_type = trust\n{settings}");
    let pooler = Pooler::start(&postgres, &settings);
    let tls = certificates.client_as("alice");
    let shaken = || {
        let mut wire = pooler.wire().ask_for_tls(&tls).unwrap();
        // The pooler is done with the handshake when it answers what came behind it.
        wire.send(&GSS_REQUEST);
        assert_eq!(wire.read_byte(), Some(b'N'));
        wire
    };
    let (early, late) = (shaken(), shaken());
    assert!(Client::log_in(early, &Login::new()).is_ok());
    let others = Certificates::make("another authority");
    std::fs::copy(others.path("ca.pem"), certificates.path("ca.pem")).unwrap();
    pooler.reload_files();
    let error = Client::log_in(late, &Login::new()).unwrap_err();
    assert_eq!(error.message, "certificate authentication failed");
}

#[test]
fn login_in_the_clear_ends_where_tls_is_needed_from_now_on() {
    let certificates = Certificates::make("authority");
    certificates.issue("localhost");
    let postgres = Postgres::start();
    let settings = |mode| {
        format!(
            "workers = 1\nauth_type = plain\n{}",
            certificates.settings(mode, "localhost")
        )
    };
    let pooler = Pooler::start(&postgres, &settings("allow"));
    let (mut plain, mut encrypted) = (asked(pooler.wire()), {
        let tls = certificates.client(&[]);
        asked(pooler.wire().ask_for_tls(&tls).unwrap())
    });
    // A certificate of its own that is renewed keeps nobody out.
    certificates.issue("other");
    certificates.replace("localhost", "other");
    pooler.reload(&settings("allow"));
    encrypted.send_message(b'p', b"wrong\0");
    let answer = encrypted.read_message().expect("an answer");
    assert_eq!(answer.error().sqlstate, "28P01", "it is listened to");
    pooler.reload(&settings("require"));
    let answer = plain.read_message().expect("an answer");
    assert_eq!(answer.error().sqlstate, "57P03");
}

/// A login that was asked for its password.
fn asked(mut wire: Wire) -> Wire {
    let names = [("user", "postgres"), ("database", "postgres")];
    wire.send(&startup_packet(0x0003_0000, &names));
    let Message { tag, .. } = wire.read_message().expect("a question");
    assert_eq!(tag, b'R');
    wire
}
