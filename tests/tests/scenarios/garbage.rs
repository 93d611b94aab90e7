//! Bytes that make no sense close their own connection, and nothing else.

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, Wire, startup_packet, wait_for};

const SETTINGS: &str = "workers = 1\npool_mode = transaction\nclient_login_timeout = 1";

/// Lengths above 2^31 among them: CVE-2026-107348.
#[test]
fn garbage_instead_of_a_startup_packet_closes_the_connection() {
    let postgres = Postgres::start();
    let (pooler, witness) = start(&postgres);
    let garbage: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\nHost: db\r\n\r\n",
        b"\0\0\0\0",
        b"\0\0\0\x03",
        b"\0\0\0\x07\0\x03\0",
        b"\x7f\xff\xff\xff\0\x03\0\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\x27\x15\0\x03\0\0user\0x\0\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    ];
    for bytes in garbage {
        let mut wire = pooler.wire();
        wire.send(bytes);
        let answer = wire.read_to_end();
        assert!(
            answer.iter().all(|message| message.tag == b'E'),
            "{answer:?} to {}",
            bytes.escape_ascii()
        );
    }
    untouched(&pooler, &witness);
}

#[test]
fn startup_packet_without_its_terminator_is_refused() {
    let postgres = Postgres::start();
    let (pooler, witness) = start(&postgres);
    let mut packet = startup_packet(0x0003_0000, &[("user", "postgres")]);
    *packet.last_mut().unwrap() = b'x';
    let error = refusal(&pooler, &packet);
    assert_eq!(error.0, "08P01");
    assert_eq!(
        error.1,
        "invalid startup packet layout: expected terminator as last byte"
    );
    untouched(&pooler, &witness);
}

#[test]
fn startup_packet_without_a_user_is_refused() {
    let postgres = Postgres::start();
    let (pooler, witness) = start(&postgres);
    let packet = startup_packet(0x0003_0000, &[("database", "postgres")]);
    let (sqlstate, message) = refusal(&pooler, &packet);
    assert!(matches!(sqlstate.as_str(), "28000" | "08P01"), "{sqlstate}");
    assert_eq!(message, "no username supplied");
    untouched(&pooler, &witness);
}

#[test]
fn half_a_startup_packet_and_silence_end_at_the_login_timeout() {
    let postgres = Postgres::start();
    let (pooler, witness) = start(&postgres);
    let mut half = pooler.wire();
    half.send(&Login::new().packet()[..20]);
    let mut silent = pooler.wire();
    // Bytes one by one are a packet all the same.
    let mut slow = pooler.wire();
    for byte in Login::new().packet() {
        slow.send(&[byte]);
    }
    assert_eq!(slow.read_message().unwrap().tag, b'R');
    for wire in [&mut half, &mut silent] {
        if let Some(last) = wire.read_to_end().pop() {
            assert_eq!(last.error().sqlstate, "57014");
            assert_eq!(last.error().message, "client_login_timeout");
        }
    }
    untouched(&pooler, &witness);
}

#[test]
fn silence_that_ends_frees_its_place() {
    let postgres = Postgres::start();
    let (pooler, witness) = start(&postgres);
    let silent: Vec<Wire> = (0..50).map(|_| pooler.wire()).collect();
    drop(silent);
    wait_for("the silent ones to be forgotten", PATIENCE, || {
        let row = pooler.console("SHOW WORKERS").remove(0);
        // The witness alone: consoles are not counted.
        row.split('|').nth(5) == Some("1")
    });
    untouched(&pooler, &witness);
}

/// CVE-2021-23214, CVE-2021-3935.
#[test]
fn bytes_stuffed_after_an_ssl_request_are_refused() {
    let postgres = Postgres::start();
    let (pooler, witness) = start(&postgres);
    for code in [[4, 210, 22, 47], [4, 210, 22, 48]] {
        let mut wire = pooler.wire();
        let mut bytes = vec![0, 0, 0, 8];
        bytes.extend_from_slice(&code);
        bytes.extend_from_slice(&Login::new().packet());
        wire.send(&bytes);
        // Either the whole connection is refused, or the answer comes first.
        let mut first = wire.read_byte();
        if first == Some(b'N') {
            first = wire.read_byte();
        }
        assert!(matches!(first, Some(b'E') | None), "{first:?}");
    }
    untouched(&pooler, &witness);
}

#[test]
fn encryption_is_declined_at_most_once_each_and_login_goes_on() {
    let postgres = Postgres::start();
    let (pooler, witness) = start(&postgres);
    let (gss, ssl) = ([0, 0, 0, 8, 4, 210, 22, 48], [0, 0, 0, 8, 4, 210, 22, 47]);
    let mut wire = pooler.wire();
    wire.send(&gss);
    assert_eq!(wire.read_byte(), Some(b'N'));
    wire.send(&ssl);
    assert_eq!(wire.read_byte(), Some(b'N'));
    let client = Client::log_in(wire, &Login::new()).unwrap();
    assert_eq!(client.value("select 'in'"), "in");

    let mut wire = pooler.wire();
    wire.send(&ssl);
    assert_eq!(wire.read_byte(), Some(b'N'));
    wire.send(&ssl);
    assert_ne!(wire.read_byte(), Some(b'N'), "declined twice");
    untouched(&pooler, &witness);
}

#[test]
fn garbage_after_the_login_closes_the_connection() {
    let postgres = Postgres::start();
    let (pooler, witness) = start(&postgres);
    let garbage: [&[u8]; 3] = [b"\0\0\0\0\0\0\0\0\0\0", b"Q\0\0\0\x03", b"Z\0\0\0\x05I"];
    for bytes in garbage {
        let client = pooler.connect();
        client.send(bytes);
        let answer = client.wait_closed();
        assert!(
            answer.iter().all(|message| message.tag == b'E'),
            "{answer:?} to {}",
            bytes.escape_ascii()
        );
        if let Some(last) = answer.last() {
            assert_eq!(last.error().sqlstate, "08P01");
        }
    }
    untouched(&pooler, &witness);
}

/// CVE-2026-107349: `-c=` was read for ever.
#[test]
fn options_with_an_empty_name_are_refused() {
    let postgres = Postgres::start();
    let (pooler, witness) = start(&postgres);
    for options in ["-c=", "-c =1", "--=1", "-c", "--"] {
        let error = pooler.try_connect(&Login::new().parameter("options", options));
        assert_eq!(error.unwrap_err().sqlstate, "22023", "{options:?}");
    }
    untouched(&pooler, &witness);
}

#[test]
fn cancel_requests_of_impossible_length_are_closed_without_a_byte() {
    let postgres = Postgres::start();
    let (pooler, witness) = start(&postgres);
    for secret in [0_usize, 257, 1000] {
        let mut packet = u32::try_from(12 + secret).unwrap().to_be_bytes().to_vec();
        packet.extend_from_slice(&80_877_102_u32.to_be_bytes());
        packet.extend_from_slice(&witness.process_id().to_be_bytes());
        packet.resize(12 + secret, 7);
        let mut wire = pooler.wire();
        wire.send(&packet);
        assert_eq!(wire.read_to_end(), [], "{secret} bytes of secret");
    }
    untouched(&pooler, &witness);
}

fn start(postgres: &Postgres) -> (Pooler, Client) {
    let pooler = Pooler::start(postgres, SETTINGS);
    let witness = pooler.connect();
    (pooler, witness)
}

/// SQLSTATE and text of the error that is all the answer to `packet`.
fn refusal(pooler: &Pooler, packet: &[u8]) -> (String, String) {
    let mut wire = pooler.wire();
    wire.send(packet);
    let answer = wire.read_to_end();
    assert_eq!(answer.len(), 1, "{answer:?}");
    let error = answer[0].error();
    assert_eq!(error.severity, "FATAL");
    (error.sqlstate, error.message)
}

/// The worker is the same one and serves its other client.
fn untouched(pooler: &Pooler, witness: &Client) {
    assert_eq!(witness.value("select 'untouched'"), "untouched");
    assert_eq!(pooler.connect().value("select 'served'"), "served");
}
