//! What passes through TLS on both sides comes out as it went in.

use std::fmt::Write as _;

use crate::harness::{Certificates, Client, Drivers, Login, Pooler, Postgres, Script, message};

/// A pooler with TLS on both sides in front of a PostgreSQL, and the certificates.
fn start(settings: &str) -> (Postgres, Pooler, Certificates) {
    let certificates = Certificates::make("authority");
    certificates.issue("localhost");
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    let databases = format!("* = host=localhost port={}", postgres.port());
    let settings = format!(
        "workers = 1\n{settings}{}{}",
        certificates.settings("require", "localhost"),
        certificates.server_settings("verify-full")
    );
    let pooler = Pooler::start_for(&databases, &settings);
    (postgres, pooler, certificates)
}

fn log_in(pooler: &Pooler, certificates: &Certificates) -> Client {
    let wire = pooler.wire().ask_for_tls(&certificates.client(&[]));
    Client::log_in(wire.unwrap(), &Login::new()).expect("a login")
}

#[test]
fn copies_of_twenty_megabytes_come_out_as_they_went_in() {
    let (postgres, pooler, certificates) = start("pool_mode = transaction\n");
    let client = log_in(&pooler, &certificates);
    client
        .query("create table copied (number int, text text)")
        .unwrap();
    // In pieces of all sizes around those of TLS records.
    let mut data = String::new();
    for number in 0..20_000 {
        writeln!(data, "{number}\t{:0>1000}", number * 7919).unwrap();
    }
    assert!(data.len() > 20_000_000);
    client.send_message(b'Q', b"copy copied from stdin\0");
    client.read_until(b'G');
    let sizes = [1, 16_383, 16_384, 16_385, 5, 65_536, 100_000, 8_192];
    let mut rest = data.as_bytes();
    for size in sizes.into_iter().cycle() {
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        client.send_message(b'd', piece);
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    client.send_message(b'c', b"");
    client.pending().wait().unwrap();
    let checksum = "select md5(string_agg(number || text, ',' order by number)) from copied";
    let expected = postgres.query(
        "select md5(string_agg(i || lpad((i * 7919)::text, 1000, '0'), ',' order by i)) \
         from generate_series(0, 19999) i",
    );
    assert_eq!(postgres.query(checksum), expected);
    // And back.
    client.send_message(b'Q', b"copy copied to stdout\0");
    client.read_until(b'H');
    let mut back = Vec::new();
    loop {
        let message = client.read_message().expect("the copy goes on");
        match message.tag {
            b'd' => back.extend_from_slice(&message.body),
            b'c' => break,
            other => panic!("{:?}", char::from(other)),
        }
    }
    client.pending().wait().unwrap();
    assert!(
        back == data.as_bytes(),
        "{} bytes, not {}",
        back.len(),
        data.len()
    );
    assert_eq!(client.value("select 1"), "1");
}

#[test]
fn pipelines_notifications_and_prepared_statements_pass_through_tls() {
    let (_postgres, pooler, certificates) = start("");
    // A pipeline that is far longer than a record, in one write.
    let client = log_in(&pooler, &certificates);
    let mut pipeline = message(b'P', b"s\0select $1::int4\0\0\0");
    for number in 0..2000 {
        let value = format!("{number}");
        let length = u32::try_from(value.len()).unwrap().to_be_bytes();
        let bind = [b"\0s\0\0\0\0\x01", &length[..], value.as_bytes(), b"\0\0"].concat();
        pipeline.extend(message(b'B', &bind));
        pipeline.extend(message(b'E', b"\0\0\0\0\0"));
    }
    pipeline.extend(message(b'S', b""));
    client.send(&pipeline);
    let rows = client.pending().wait().unwrap();
    assert_eq!(rows.len(), 2000);
    assert!(
        rows.iter()
            .enumerate()
            .all(|(number, row)| *row == number.to_string())
    );
    // Who is idle hears of what others say.
    client.query("listen news").unwrap();
    let other = log_in(&pooler, &certificates);
    other.query("notify news, 'now'").unwrap();
    let notified = client.read_until(b'A');
    assert_eq!(notified.body[4..], *b"news\0now\0");
    other
        .query(&format!("select pg_notify('news', '{}')", "x".repeat(7000)))
        .unwrap();
    assert_eq!(client.read_until(b'A').body.len(), 4 + 5 + 7001);
}

#[test]
fn pgbench_prepares_in_transaction_mode_through_tls() {
    let (postgres, pooler, _certificates) =
        start("pool_mode = transaction\ndefault_pool_size = 2\n");
    // libpq takes part in TLS without being told.
    assert_eq!(pooler.pgbench("-M prepared -S -c 4 -j 2 -t 100"), 400);
    assert_eq!(pooler.pgbench("-M extended -N -c 4 -j 2 -t 25"), 100);
    assert!(postgres.connections() <= 2);
}

#[test]
fn drivers_verify_the_pooler_and_cancel_through_tls() {
    let (_postgres, pooler, certificates) =
        start("pool_mode = transaction\ndefault_pool_size = 4\n");
    let root = certificates.path("ca.pem").display().to_string();
    let others = Certificates::make("another authority");
    let stranger = others.path("ca.pem").display().to_string();
    for (drivers, count) in [(Drivers::Old, "3"), (Drivers::New, "2")] {
        let script = Script::python(drivers, "python_tls.py");
        let run = script.run(pooler.port(), &[&root, &stranger]);
        assert_eq!(run.ok(), count, "{drivers:?}");
        let script = Script::node(drivers, "node_tls.js");
        assert_eq!(
            script.run(pooler.port(), &[&root, &stranger]).ok(),
            "1",
            "{drivers:?}"
        );
    }
}
