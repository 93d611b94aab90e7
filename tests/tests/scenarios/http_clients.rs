//! Nobody who asks over HTTP can hold up the process that answers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::harness::{Http, HttpAnswer, PATIENCE, Pooler, Postgres, wait_for, within};
use crate::http::process_of;

const SETTINGS: &str = "workers = 1\npool_mode = transaction\n";

fn start(postgres: &Postgres) -> (Pooler, Http) {
    let http = Http::unused();
    let pooler = Pooler::start(postgres, &format!("{SETTINGS}{}", http.setting()));
    http.wait_ready();
    (pooler, http)
}

#[test]
fn what_is_not_there_or_not_allowed_or_no_http_is_told_so() {
    let postgres = Postgres::start();
    let (pooler, http) = start(&postgres);
    let before = process_of(&pooler);
    let long = format!("GET /ready HTTP/1.1\r\nX: {}", "x".repeat(9000));
    let many = format!("GET /ready HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200));
    for (request, status) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], 404),
        (b"GET /ready/ HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"GET /ready?a=b HTTP/1.0\r\n\r\n", 200),
        (b"DELETE /ready HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"POST /live HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"GET /ready\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\0\0\0\x08\x04\xd2\x16\x2f", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (long.as_bytes(), 431),
        (many.as_bytes(), 431),
    ] {
        let answer = http.send(request).unwrap();
        assert_eq!(answer.status, status, "{}", request.escape_ascii());
        assert!(answer.head.contains("\r\nConnection: close"));
        assert_eq!(answer.head.contains("\r\nAllow: GET, HEAD"), status == 405);
    }
    assert_eq!(process_of(&pooler), before);
    let log = pooler.log();
    let told = log.lines().filter(|line| line.contains("] http "));
    assert_eq!(told.count(), 0, "{log}");
}

#[test]
fn head_has_no_body_and_a_request_may_come_byte_by_byte() {
    let postgres = Postgres::start();
    let (_pooler, http) = start(&postgres);
    let answer = http
        .send(b"HEAD /ready HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!((answer.status, &*answer.body), (200, ""));
    assert!(answer.head.contains("Content-Length: 17"));
    let mut slow = http.connect().unwrap();
    slow.set_nodelay(true).unwrap();
    for byte in b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n" {
        slow.write_all(&[*byte]).unwrap();
        assert!(http.is_ready());
    }
    // Who asks may have closed its side already.
    slow.shutdown(Shutdown::Write).unwrap();
    let answer = HttpAnswer::read(&mut slow).unwrap();
    assert!(answer.says(200, "ready, workers=1"), "{answer:?}");
}

#[test]
fn crowd_that_says_nothing_or_reads_nothing_keeps_nobody_waiting() {
    let postgres = Postgres::start();
    let (pooler, http) = start(&postgres);
    let before = process_of(&pooler);
    let crowd: Vec<TcpStream> = (0..300)
        .map(|number| {
            let mut one = http.connect().unwrap();
            let half = b"GET /ready HTTP/1.1\r\n";
            // Those whom others have pushed out already see a reset.
            let _pushed_out = one.write_all(&half[..number % half.len()]);
            one
        })
        .collect();
    for _ in 0..20 {
        assert!(http.get("/ready").says(200, "ready, workers=1"));
    }
    // Each is closed in the end, by its deadline if not by others.
    for mut one in crowd {
        let mut rest = Vec::new();
        let closed = match one.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        assert!(closed, "it was left open for {PATIENCE:?}");
        assert_eq!(rest, []);
    }
    assert_eq!(process_of(&pooler), before);
}

#[test]
fn who_goes_on_sending_is_closed_and_costs_no_time() {
    let postgres = Postgres::start();
    let (pooler, http) = start(&postgres);
    let process = process_of(&pooler);
    let mut endless = http.connect().unwrap();
    endless.write_all(b"GET /ready HTTP/1.1\r\n\r\n").unwrap();
    let closed = within(PATIENCE, || {
        let _may_have_been_reset = endless.write_all(&[b'x'; 4096]);
        let sent = endless.write_all(&[b'x'; 4096]);
        assert!(http.is_ready());
        sent.is_err()
    });
    assert!(closed, "it may send for ever");
    drop(endless);
    // Nothing is left that would have it turn.
    wait_for("the process to rest", PATIENCE, || {
        let before = process.processor_time();
        !within(std::time::Duration::from_millis(300), || {
            process.processor_time() > before
        })
    });
}
