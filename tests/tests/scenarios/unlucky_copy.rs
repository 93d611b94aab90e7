//! Messages that come early, late or cut in two, in COPY and around queries.

use crate::harness::{Login, Pooler, Postgres, SqlState};

#[test]
fn rest_of_a_copy_that_has_failed_keeps_no_server() {
    let postgres = Postgres::start();
    postgres.query("create table t (a int)");
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let (client, other) = (pooler.connect(), pooler.connect());
    for whole_frames in [0, 3] {
        let query = client.start_query("copy t from stdin");
        client.read_until(b'G');
        // A frame that fails, and a part of a large one that nobody wants.
        let large = message(b'd', &b"1\n".repeat(500_000));
        let (early, late) = large.split_at(20_000);
        client.send(&[&message(b'd', b"not a number\n"), early].concat());
        assert_eq!(query.wait(), Err(SqlState("22P02")));
        client.send(late);
        for _ in 0..whole_frames {
            client.send_message(b'd', b"2\n");
        }
        client.send_message(b'c', b"");

        // It stays, and its server serves another.
        assert_eq!(other.value("select count(*) from t"), "0");
        assert_eq!(client.value("select 'stays'"), "stays");
    }
}

#[test]
fn query_in_the_same_segment_as_the_startup_message_is_answered() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    // The first login waits for a server to be opened, the second does not.
    for _ in 0..2 {
        let mut wire = pooler.wire();
        let startup = Login::new().packet();
        wire.send(&[startup, message(b'Q', b"select 'early'\0")].concat());
        while wire.read_message().expect("a login").tag != b'Z' {}
        let mut row = None;
        loop {
            let message = wire.read_message().expect("an answer");
            match message.tag {
                b'D' => row = message.columns().pop().flatten(),
                b'Z' => break,
                _ => {}
            }
        }
        assert_eq!(row.as_deref(), Some("early"));
        wire.send_message(b'X', b"");
        assert_eq!(wire.read_message(), None);
    }
}

#[test]
fn query_behind_a_batch_without_sync_frees_the_server() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let (client, other) = (pooler.connect(), pooler.connect());
    for _ in 0..3 {
        client.send_message(b'P', b"\0select 1\0\0\0");
        client.send_message(b'H', b"");
        client.read_until(b'1');
        assert_eq!(client.value("select 2"), "2");
        assert_eq!(client.status(), 'I');
        assert_eq!(other.value("select 'served'"), "served");
    }
}

#[test]
fn flush_of_an_idle_client_takes_no_server() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let (client, other) = (pooler.connect(), pooler.connect());
    other.query("begin").unwrap();
    client.send_message(b'H', b"");
    // A client that waited for a server would now be told so.
    client.cancel();
    other.query("commit").unwrap();
    assert_eq!(client.query("select 'stays'"), Ok(vec!["stays".to_owned()]));
    assert_eq!(client.take_transcript(), "TDCZ");
    assert_eq!(other.value("select 'served'"), "served");
}

#[test]
fn transaction_block_in_one_segment_is_refused_in_statement_mode() {
    let postgres = Postgres::start();
    let settings = "workers = 1\npool_mode = statement\ndefault_pool_size = 1";
    let pooler = Pooler::start(&postgres, settings);
    let next = pooler.connect();
    for _ in 0..5 {
        let refused = pooler.connect();
        let block = ["begin", "select 'inside'", "commit"];
        let block = block.map(|sql| message(b'Q', format!("{sql}\0").as_bytes()));
        refused.send(&block.concat());
        refused.wait_closed();
        let error = refused.last_error().expect("a reason");
        assert_eq!(error.sqlstate, "0A000");
        // It was never told that it is in a block, nor what was selected there.
        let transcript = refused.transcript();
        assert!(!transcript.contains(['Z', 'D']), "{transcript}");

        // Neither the block nor what was left of it reaches the next.
        let sql =
            "select pg_current_xact_id_if_assigned() is null and now() = statement_timestamp()";
        assert_eq!(next.value(sql), "t");
        assert_eq!(next.status(), 'I');
        assert_eq!(next.notices(), Vec::<String>::new());
    }
}

/// A message with its type and length.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

const ONE_SERVER: &str = "workers = 1\npool_mode = transaction\ndefault_pool_size = 1";
