//! Servers that ask to be left, by either carrier: a stand-in, since no
//! PostgreSQL that was released does.

use std::time::Duration;

use crate::harness::{
    Client, GO_AWAY, Login, Manner, PATIENCE, Pooler, StandIn, disconnect_requested, negotiate,
    wait_for, within,
};

#[test]
fn idle_server_is_left_at_once_and_another_takes_its_place() {
    for carrier in carriers() {
        let server = stand_in();
        let pooler = start(&server, "pool_mode = transaction");
        let client = pooler.connect();
        client.query("select").unwrap();
        settle(&server);
        server.say(&carrier);
        wait_for("another server", PATIENCE, || {
            server.versions().len() == 2 && server.sessions() == 1
        });
        pooler.wait_log("asks to be left");
        pooler.wait_log("closed: server asked to be left");
        assert_eq!(client.query("select"), Ok(vec![]));
        assert_eq!(server.versions().len(), 2, "the one that was opened serves");
        heard_nothing(&client);
    }
}

#[test]
fn server_in_use_is_left_after_the_transaction_and_nobody_hears_of_it() {
    for carrier in carriers() {
        let server = stand_in();
        let pooler = start(&server, "pool_mode = transaction\ndefault_pool_size = 1");
        let client = pooler.connect();
        client.query("begin").unwrap();
        settle(&server);
        server.say(&carrier);
        pooler.wait_log("asks to be left");
        assert_eq!(client.query("select"), Ok(vec![]));
        assert_eq!(client.status(), 'T');
        assert_eq!(server.versions().len(), 1);
        // Somebody waits for the one server that there may be.
        let other = pooler.connect();
        let query = other.start_query("select");
        client.query("commit").unwrap();
        assert_eq!(query.wait(), Ok(vec![]));
        assert_eq!(client.query("select"), Ok(vec![]));
        assert_eq!((server.versions().len(), server.sessions()), (2, 1));
        heard_nothing(&client);
        heard_nothing(&other);
    }
}

#[test]
fn request_behind_or_in_an_answer_is_no_part_of_it() {
    for word in ["goaway", "leave"] {
        let server = stand_in();
        let pooler = start(&server, "pool_mode = transaction");
        let client = pooler.connect();
        client.query("select").unwrap();
        settle(&server);
        client.take_transcript();
        assert_eq!(client.query(word), Ok(vec![]));
        wait_for("another server", PATIENCE, || server.versions().len() == 2);
        assert_eq!(client.query("select"), Ok(vec![]));
        assert_eq!(client.take_transcript(), "CZCZ");
    }
}

#[test]
fn client_that_keeps_its_server_is_asked_in_turn_and_once() {
    for carrier in carriers() {
        let server = stand_in();
        let pooler = start(&server, "pool_mode = session");
        let [by_goaway, by_parameter] = two_clients(&pooler);
        for client in [&by_goaway, &by_parameter] {
            client.query("select").unwrap();
        }
        settle(&server);
        // Servers may repeat themselves.
        server.say(&[&carrier[..], &carrier].concat());
        by_goaway.wait_goaway();
        by_parameter.wait_parameter("disconnect_requested", "on");
        // They may stay.
        for client in [&by_goaway, &by_parameter] {
            client.take_transcript();
            assert_eq!(client.query("select"), Ok(vec![]));
            assert_eq!(client.take_transcript(), "CZ");
        }
        by_goaway.close();
        by_parameter.close();
        wait_for("their servers to be gone", PATIENCE, || {
            pooler
                .log()
                .matches("closed: server asked to be left")
                .count()
                == 2
        });
    }
}

#[test]
fn client_in_the_middle_of_a_query_is_asked_behind_it() {
    for word in ["goaway", "leave"] {
        let server = stand_in();
        let pooler = start(&server, "pool_mode = session");
        let [by_goaway, by_parameter] = two_clients(&pooler);
        for (client, carrier) in [(by_goaway, "g"), (by_parameter, "S")] {
            client.take_transcript();
            assert_eq!(client.query(word), Ok(vec![]));
            client.read_message().unwrap();
            assert_eq!(client.take_transcript(), format!("CZ{carrier}"));
        }
    }
}

#[test]
fn request_at_the_login_is_kept_from_clients_and_opens_no_server_without_need() {
    let server = StandIn::start(|_| Manner::serve_saying(disconnect_requested("on")));
    let pooler = start(&server, "pool_mode = transaction\nmin_pool_size = 1");
    let client = pooler.connect();
    assert_eq!(
        client.parameter("disconnect_requested").as_deref(),
        Some("off")
    );
    // Each is used, once.
    for served in 1..=5 {
        assert_eq!(client.query("select"), Ok(vec![]));
        wait_for("a server for each", PATIENCE, || {
            server.versions().len() >= served
        });
    }
    heard_nothing(&client);
    let opened = server.versions().len();
    assert!(!within(Duration::from_secs(1), || {
        server.versions().len() > opened + 1
    }));
}

#[test]
fn goaway_that_was_not_agreed_upon_means_nothing() {
    let server = StandIn::start(|_| Manner::serve(negotiate(0x0003_0002, &["_pq_.goaway"])));
    let pooler = start(&server, "pool_mode = transaction");
    let client = pooler.connect();
    client.query("select").unwrap();
    settle(&server);
    server.say(&GO_AWAY);
    for _ in 0..3 {
        assert_eq!(client.query("goaway"), Ok(vec![]));
    }
    heard_nothing(&client);
    assert_eq!(server.versions().len(), 1);
    assert!(!pooler.log_contains("asks to be left"));
}

fn carriers() -> [Vec<u8>; 2] {
    [GO_AWAY.to_vec(), disconnect_requested("on")]
}

fn stand_in() -> StandIn {
    StandIn::start(|_| Manner::serve_saying(disconnect_requested("off")))
}

fn start(server: &StandIn, settings: &str) -> Pooler {
    let settings = format!("workers = 1\n{settings}");
    Pooler::start_for(&format!("* = {}", server.address()), &settings)
}

/// One that takes GoAway, and one that does not.
fn two_clients(pooler: &Pooler) -> [Client; 2] {
    [
        pooler.connect_as(&Login::new().goaway()),
        pooler.connect_as(&Login::new()),
    ]
}

/// Lets a server become one that was not opened just now: in place of such a
/// one no other is opened.
fn settle(server: &StandIn) {
    let before = server.versions().len();
    let more = || server.versions().len() > before;
    assert!(!within(Duration::from_millis(1200), more));
}

fn heard_nothing(client: &Client) {
    assert!(!client.transcript().contains('g'), "{client:?}");
    let requested = client.parameter("disconnect_requested");
    assert_eq!(requested.as_deref(), Some("off"));
}
