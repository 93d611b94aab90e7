//! Traps of TLS, by their CVE numbers where they have one; those of the first
//! bytes of clients are in `tls`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use crate::harness::{
    Certificates, Client, Login, PATIENCE, Pooler, Postgres, SSL_REQUEST, Wire, message, wait_for,
};

/// GSSENCRequest.
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// A pooler with TLS towards clients, and what was issued for it.
fn start(postgres: &Postgres, more: &str) -> (Pooler, Certificates) {
    let certificates = Certificates::make("authority");
    certificates.issue("pooler");
    let settings = certificates.settings("require", "pooler");
    let pooler = Pooler::start(postgres, &format!("workers = 1\n{settings}{more}"));
    (pooler, certificates)
}

fn log_in(pooler: &Pooler, certificates: &Certificates) -> Client {
    let wire = pooler.wire().ask_for_tls(&certificates.client(&[]));
    Client::log_in(wire.unwrap(), &Login::new()).expect("a login")
}

/// Somebody on the way who answers every SSLRequest by these bytes and reads on;
/// gives the port.
fn man_in_the_middle(answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            thread::spawn(move || {
                let mut request = [0; 8];
                if stream.read_exact(&mut request).is_err() || request != SSL_REQUEST {
                    return;
                }
                drop(stream.write_all(&answer));
                drop(stream.shutdown(Shutdown::Write));
                drop(stream.read_to_end(&mut Vec::new()));
            });
        }
    });
    port
}

/// What a server says that lets everybody in and answers a query at once.
fn false_login() -> Vec<u8> {
    [
        message(b'R', &[0; 4]),
        message(b'S', b"server_version\x0015.0\0"),
        message(b'K', &[0, 0, 0, 1, 0, 0, 0, 2]),
        message(b'Z', b"I"),
        message(b'C', b"SELECT 0\0"),
        message(b'Z', b"I"),
    ]
    .concat()
}

/// How a login ends whose server is behind somebody who answers so.
fn refusal(answer: Vec<u8>, mode: &str) -> (String, Pooler) {
    let databases = format!("* = host=127.0.0.1 port={}", man_in_the_middle(answer));
    let settings = format!("workers = 1\nserver_tls_sslmode = {mode}\n");
    let pooler = Pooler::start_for(&databases, &settings);
    let error = pooler.try_connect(&Login::new()).unwrap_err();
    assert_eq!(error.sqlstate, "08006", "{error:?}");
    (error.message, pooler)
}

/// CVE-2021-23222: what follows the answer of a server is not its own.
#[test]
fn bytes_behind_the_answer_of_a_server_are_not_taken_for_its_own() {
    let answer = [b"S".to_vec(), false_login()].concat();
    let (message, _pooler) = refusal(answer.clone(), "require");
    assert!(
        message.contains("TLS: received corrupt message"),
        "{message}"
    );
    // It is asked once more without TLS, and has nothing to say to that.
    let (_, pooler) = refusal(answer, "prefer");
    pooler.wait_log("asking again without TLS");
}

/// CVE-2024-10977: an error in place of the answer may be anybody's.
#[test]
fn error_in_place_of_the_answer_of_a_server_is_shown_to_nobody() {
    let text = "visit elsewhere.test for a new password";
    let error = message(b'E', format!("SFATAL\0C28P01\0M{text}\0\0").as_bytes());
    for mode in ["prefer", "require"] {
        let (message, pooler) = refusal(error.clone(), mode);
        assert!(!message.contains(text), "{mode}: {message}");
        pooler.wait_log("TLS: server sent an error response during SSL exchange");
        assert!(!pooler.log_contains(text), "{mode}");
    }
}

/// CVE-2021-23222 as well: who is to be encrypted is told nothing in the clear.
#[test]
fn server_that_declines_is_told_nothing_where_it_has_to_be_encrypted() {
    let answer = [b"N".to_vec(), false_login()].concat();
    let (message, _pooler) = refusal(answer, "require");
    assert!(
        message.contains("TLS: server does not support SSL"),
        "{message}"
    );
}

#[test]
fn requests_for_encryption_come_once_each_and_in_any_order() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "");
    let tls = certificates.client(&[]);
    let asked = |requests: &[([u8; 8], u8)]| {
        let mut wire = pooler.wire();
        for (request, answer) in requests {
            wire.send(request);
            assert_eq!(wire.read_byte(), Some(*answer));
        }
        wire
    };
    let wire = asked(&[(GSS_REQUEST, b'N'), (SSL_REQUEST, b'S')]);
    let client = Client::log_in(wire.tls(&tls).unwrap(), &Login::new()).unwrap();
    assert_eq!(client.value("select 1"), "1");
    let mut wire = asked(&[(GSS_REQUEST, b'N')]);
    wire.send(&GSS_REQUEST);
    let error = wire.read_message().expect("an error").error();
    assert_eq!(
        (error.sqlstate.as_str(), error.message.as_str()),
        ("08P01", "GSSAPI encryption was asked for twice")
    );
    // Direct TLS is the first thing or none, and GSSAPI is not in it.
    assert!(
        asked(&[(GSS_REQUEST, b'N')])
            .tls(&certificates.client(&["postgresql"]))
            .is_err()
    );
    let mut wire = pooler.wire().ask_for_tls(&tls).unwrap();
    wire.send(&GSS_REQUEST);
    assert!(
        wire.read_byte()
            .is_some_and(|byte| byte == b'N' || byte == b'E')
    );
    // Where TLS is not offered, both are declined.
    let plain = Pooler::start(&postgres, "workers = 1");
    let mut wire = plain.wire();
    for request in [SSL_REQUEST, GSS_REQUEST] {
        wire.send(&request);
        assert_eq!(wire.read_byte(), Some(b'N'));
    }
    let client = Client::log_in(wire, &Login::new()).unwrap();
    assert_eq!(client.value("select 1"), "1");
}

/// The first flight of a client: a ClientHello as a client of ours sends it.
fn client_hello(certificates: &Certificates) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = vec![0; 5];
        stream.read_exact(&mut bytes).unwrap();
        let length = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        bytes.resize(5 + length, 0);
        stream.read_exact(&mut bytes[5..]).unwrap();
        bytes
    });
    let wire = Wire::tcp(TcpStream::connect(("127.0.0.1", port)).unwrap());
    assert!(wire.tls(&certificates.client(&["postgresql"])).is_err());
    heard.join().unwrap()
}

#[test]
fn garbage_in_a_handshake_ends_only_its_own_connection() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "");
    let client = log_in(&pooler, &certificates);
    let hello = client_hello(&certificates);
    let worker = pooler.worker(1);
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 16).unwrap()
    };
    for turn in 0..80 {
        let mut bytes = hello.clone();
        match turn % 4 {
            // A byte is another one, but the first, by which it is TLS.
            0 => {
                let at = 1 + next() % (bytes.len() - 1);
                bytes[at] ^= u8::try_from(1 + next() % 255).unwrap();
            }
            // It is cut off, and goes on with something else.
            1 => {
                bytes.truncate(1 + next() % hello.len());
                bytes.extend((0..200).map(|n| u8::try_from((n * 7) % 256).unwrap()));
            }
            // It says that it is longer than it is.
            2 => bytes[3..5].copy_from_slice(&[0x40, u8::try_from(next() % 256).unwrap()]),
            // Something of another kind, again and again.
            _ => {
                bytes = [20 + u8::try_from(turn % 5).unwrap(), 3, 3, 0, 1, 1].repeat(40);
                bytes[0] = 0x16;
            }
        }
        let mut wire = pooler.wire();
        // At once, or after it was asked for.
        if turn % 8 < 4 {
            wire.send(&SSL_REQUEST);
            assert_eq!(wire.read_byte(), Some(b'S'));
        }
        drop(wire.try_send(&bytes));
        wire.finish();
        // What it says is an alert or the beginning of a handshake, and no message.
        let first = wire.read_byte();
        assert!(
            matches!(first, None | Some(0x15 | 0x16)),
            "turn {turn}: {first:?}"
        );
    }
    assert_eq!(client.value("select 1"), "1");
    assert_eq!(log_in(&pooler, &certificates).value("select 2"), "2");
    assert!(worker.is_alive(), "the same worker as before");
    assert!(!pooler.log_contains("ERROR"));
}

#[test]
fn handshakes_have_to_end_in_time() {
    let postgres = Postgres::start();
    let limits = "max_client_conn = 8\n";
    let (pooler, certificates) = start(&postgres, limits);
    let hello = client_hello(&certificates);
    let slow: Vec<Wire> = (0..8)
        .map(|n| {
            let mut wire = pooler.wire();
            if n % 2 == 0 {
                wire.send(&SSL_REQUEST);
                assert_eq!(wire.read_byte(), Some(b'S'));
            }
            wire.send(&hello[..1 + n * 20]);
            wire
        })
        .collect();
    // They are clients like any others: no more are let in.
    let refused = pooler
        .psql()
        .user("postgres")
        .option("sslmode", "require")
        .run("select 1");
    assert!(
        refused
            .stderr
            .contains("no more connections allowed (max_client_conn)"),
        "{refused:?}"
    );
    let settings = certificates.settings("require", "pooler");
    pooler.reload(&format!(
        "workers = 1\n{settings}{limits}client_login_timeout = 1\n"
    ));
    // Who goes on byte by byte gets no more time.
    let mut slow = slow.into_iter();
    let (mut first, mut at) = (slow.next().unwrap(), 0);
    wait_for("the end of who is slow", PATIENCE, || {
        at += 1;
        first.try_send(&hello[at % hello.len()..][..1]).is_err()
    });
    for mut wire in slow {
        // Nothing is told in the clear to who expects TLS.
        assert_eq!(wire.read_to_end(), []);
    }
    pooler.wait_log("client_login_timeout");
    wait_for("places", PATIENCE, || {
        let psql = pooler.psql().user("postgres").option("sslmode", "require");
        psql.run("select 1").code == Some(0)
    });
}

#[test]
fn client_that_is_killed_in_the_middle_leaves_its_server() {
    let certificates = Certificates::make("authority");
    certificates.issue("localhost");
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    let databases = format!("* = host=localhost port={}", postgres.port());
    let settings = format!(
        "workers = 1\npool_mode = transaction\ndefault_pool_size = 1\n{}{}",
        certificates.settings("require", "localhost"),
        certificates.server_settings("verify-full"),
    );
    let pooler = Pooler::start_for(&databases, &settings);
    let psql = pooler.psql().user("postgres").option("sslmode", "require");
    for sql in [
        "select repeat('x', 1000) from generate_series(1, 1000000)",
        "copy (select repeat('x', 1000) from generate_series(1, 10000000)) to stdout",
    ] {
        let running = psql.start(sql);
        wait_for("the query to run", PATIENCE, || {
            postgres.busy_connections() == 1
        });
        running.process().kill();
        running.wait();
        // There is only one server, and the next client needs it.
        let client = log_in(&pooler, &certificates);
        assert_eq!(client.value("select 1"), "1");
        client.close();
    }
    assert!(!pooler.log_contains("ERROR"));
}

#[test]
fn garbage_inside_a_session_ends_only_that() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "");
    let others = log_in(&pooler, &certificates);
    for garbage in [
        &b"Q\0\0\0\x0dselect 1\0"[..],
        &[0x17, 3, 3, 0, 32],
        &[0xff; 100],
    ] {
        let wire = pooler.wire();
        let mut raw = wire.socket();
        let wire = wire.ask_for_tls(&certificates.client(&[])).unwrap();
        let client = Client::log_in(wire, &Login::new()).unwrap();
        assert_eq!(client.value("select 1"), "1");
        raw.write_all(garbage).unwrap();
        // It may be closed already.
        drop(raw.write_all(&[0; 64]));
        client.wait_closed();
    }
    pooler.wait_log("TLS: ");
    assert_eq!(others.value("select 2"), "2");
    assert!(!pooler.log_contains("ERROR"));
}
