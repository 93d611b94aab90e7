//! How TLS towards clients begins, or does not.

use crate::harness::{
    Certificates, Client, Login, PATIENCE, Pooler, Postgres, SSL_REQUEST, Wire, wait_for,
};

/// GSSENCRequest.
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// A pooler with TLS in this mode, and what was issued for it.
fn start(postgres: &Postgres, mode: &str) -> (Pooler, Certificates) {
    let certificates = Certificates::make("authority");
    certificates.issue("pooler");
    let settings = format!("workers = 1\n{}", certificates.settings(mode, "pooler"));
    (Pooler::start(postgres, &settings), certificates)
}

fn log_in(wire: Wire) -> Client {
    Client::log_in(wire, &Login::new()).expect("a login")
}

/// The version and the cipher of the only client of the database.
fn shown(pooler: &Pooler) -> String {
    let console = pooler.connect_as(&Login::new().database("pgskein"));
    let mut rows = console.table("SHOW CLIENTS").into_iter();
    let row = rows.find(|row| row["database"] == "postgres");
    row.map_or_else(String::new, |row| row["tls"].clone())
}

#[test]
fn client_that_asks_for_tls_is_served_by_tls() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "allow");
    let client = log_in(
        pooler
            .wire()
            .ask_for_tls(&certificates.client(&[]))
            .unwrap(),
    );
    assert_eq!(client.value("select 1"), "1");
    assert_eq!(shown(&pooler), "TLSv1.3/TLS_AES_256_GCM_SHA384");
    // One that does not is served as well.
    client.close();
    let plain = pooler.connect();
    assert_eq!(plain.value("select 2"), "2");
    wait_for("the plain client alone", PATIENCE, || {
        shown(&pooler).is_empty()
    });
}

#[test]
fn large_results_and_copies_go_through_tls_whole() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "require");
    let client = log_in(
        pooler
            .wire()
            .ask_for_tls(&certificates.client(&[]))
            .unwrap(),
    );
    let rows = client.query("select repeat(md5(i::text), 500) from generate_series(1, 2000) i");
    let rows = rows.unwrap();
    assert_eq!(rows.len(), 2000);
    assert!(rows.iter().all(|row| row.len() == 16_000));
    // As much the other way.
    let text = "x".repeat(4_000_000);
    assert_eq!(client.value(&format!("select length('{text}')")), "4000000");
    assert_eq!(client.value("select 3"), "3");
}

#[test]
fn direct_tls_needs_the_name_of_the_protocol() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "prefer");
    let direct = |protocols: &[&str]| pooler.wire().tls(&certificates.client(protocols));
    let client = log_in(direct(&["postgresql"]).unwrap());
    assert_eq!(client.value("select 1"), "1");
    // Another protocol is refused in the handshake.
    assert!(direct(&["http/1.1"]).is_err());
    // Without any there is a handshake, and nothing behind it.
    if let Ok(wire) = direct(&[]) {
        assert!(Client::log_in(wire, &Login::new()).is_err());
    }
    pooler.wait_log("TLS: direct TLS without ALPN");
    assert!(client.is_still_served());
}

#[test]
fn tls_that_is_not_offered_is_declined_by_a_byte() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 1");
    let mut wire = pooler.wire();
    wire.send(&SSL_REQUEST);
    assert_eq!(wire.read_byte(), Some(b'N'));
    assert_eq!(log_in(wire).value("select 1"), "1");
    let mut direct = pooler.wire();
    direct.send(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]);
    assert_eq!(direct.read_byte(), None);
    pooler.wait_log("TLS: direct TLS, which is not offered here");
}

#[test]
fn unix_socket_needs_no_tls_and_has_none() {
    let postgres = Postgres::start();
    let (pooler, _certificates) = start(&postgres, "require");
    let mut wire = pooler.unix_wire();
    wire.send(&SSL_REQUEST);
    assert_eq!(wire.read_byte(), Some(b'N'));
    assert_eq!(log_in(wire).value("select 1"), "1");
}

#[test]
fn client_without_tls_is_refused_where_it_is_required() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "require");
    let error = pooler.try_connect(&Login::new()).unwrap_err();
    assert_eq!(
        (error.sqlstate.as_str(), error.message.as_str()),
        ("28000", "SSL required")
    );
    // GSSAPI is declined, and TLS follows on the same connection.
    let mut wire = pooler.wire();
    wire.send(&GSS_REQUEST);
    assert_eq!(wire.read_byte(), Some(b'N'));
    let client = log_in(wire.ask_for_tls(&certificates.client(&[])).unwrap());
    assert_eq!(client.value("select 1"), "1");
}

/// CVE-2021-23214, CVE-2021-23222 and CVE-2021-3935.
#[test]
fn bytes_behind_a_request_for_tls_are_refused() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "prefer");
    for (request, what) in [(SSL_REQUEST, "SSL"), (GSS_REQUEST, "GSSAPI encryption")] {
        let mut wire = pooler.wire();
        wire.send(&[&request[..], &Login::new().packet()].concat());
        let error = wire.read_message().expect("an error").error();
        assert_eq!(error.sqlstate, "08P01");
        assert_eq!(
            error.message,
            format!("received unencrypted data after {what} request")
        );
        assert!(wire.read_to_end().is_empty());
    }
    // What comes after the answer is not taken for something encrypted.
    let mut wire = pooler.wire();
    wire.send(&SSL_REQUEST);
    assert_eq!(wire.read_byte(), Some(b'S'));
    wire.send(&Login::new().packet());
    assert!(Client::log_in(wire, &Login::new()).is_err());
    pooler.wait_log("TLS: ");
    // And a request inside TLS is one too many.
    let mut wire = pooler
        .wire()
        .ask_for_tls(&certificates.client(&[]))
        .unwrap();
    wire.send(&SSL_REQUEST);
    let error = wire.read_message().expect("an error").error();
    assert_eq!(error.message, "SSL was asked for twice");
}

#[test]
fn cancel_requests_come_before_after_and_inside_tls() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "require");
    let tls = certificates.client(&[]);
    let client = log_in(pooler.wire().ask_for_tls(&tls).unwrap());
    type Way<'a> = (&'a str, Box<dyn Fn() -> Wire + 'a>);
    let ways: [Way<'_>; 3] = [
        ("before", Box::new(|| pooler.wire())),
        (
            "instead of",
            Box::new(|| {
                let mut wire = pooler.wire();
                wire.send(&GSS_REQUEST);
                assert_eq!(wire.read_byte(), Some(b'N'));
                wire
            }),
        ),
        (
            "inside",
            Box::new(|| pooler.wire().ask_for_tls(&tls).unwrap()),
        ),
    ];
    for (way, connect) in &ways {
        let query = client.start_long_query();
        let mut wire = connect();
        wire.send(&client.cancel_packet());
        assert!(wire.read_to_end().is_empty(), "{way} TLS");
        assert_eq!(query.wait().unwrap_err().0, "57014", "{way} TLS");
    }
    assert_eq!(client.value("select 1"), "1");
}

#[test]
fn stream_that_breaks_off_ends_like_any_other() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "require");
    let tls = certificates.client(&[]);
    let ended = || pooler.log().matches("client unexpected eof").count();
    // Without close_notify.
    let client = log_in(pooler.wire().ask_for_tls(&tls).unwrap());
    let before = ended();
    drop(client);
    wait_for("its end", PATIENCE, || ended() > before);
    // In the middle of the handshake.
    let mut wire = pooler.wire();
    wire.send(&SSL_REQUEST);
    assert_eq!(wire.read_byte(), Some(b'S'));
    wire.send(&[0x16, 3, 1, 1, 0, 1]);
    drop(wire);
    wait_for("its end, too", PATIENCE, || ended() > before + 1);
    assert!(!pooler.log_contains("ERROR"));
    let other = log_in(pooler.wire().ask_for_tls(&tls).unwrap());
    assert_eq!(other.value("select 1"), "1");
}
