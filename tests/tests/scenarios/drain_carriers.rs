//! By which of the two carriers a client is asked to go.

use std::time::Duration;

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, Signal};

#[test]
fn both_tells_each_client_by_the_carrier_that_it_can_take() {
    let seen = drain_with("both");
    assert_eq!(seen, ["g", "S"]);
}

#[test]
fn goaway_tells_only_those_who_asked_for_it() {
    let seen = drain_with("goaway");
    assert_eq!(seen, ["g", ""]);
}

#[test]
fn parameter_tells_everyone_by_parameter() {
    let seen = drain_with("parameter");
    assert_eq!(seen, ["S", "S"]);
}

#[test]
fn none_tells_nobody() {
    let seen = drain_with("none");
    assert_eq!(seen, ["", ""]);
}

#[test]
fn goaway_is_five_bytes_and_the_parameter_twenty_nine() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction");
    let asked = pooler.connect_as(&Login::new().goaway());
    let plain = pooler.connect();
    pooler.signal(Signal::SIGTERM);
    let goaway = asked.read_message().unwrap();
    assert_eq!((goaway.tag, goaway.body.as_slice()), (b'g', &b""[..]));
    let parameter = plain.read_message().unwrap();
    assert_eq!(
        (parameter.tag, parameter.body.as_slice()),
        (b'S', &b"disconnect_requested\0on\0"[..])
    );
}

#[test]
fn parameter_of_a_server_is_not_mixed_up_with_ours() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction\nworkers = 1");
    let first = pooler.connect();
    pooler.signal(Signal::SIGTERM);
    first.wait_parameter("disconnect_requested", "on");
    // It is no setting of PostgreSQL: to replay it would be an error.
    for _ in 0..5 {
        assert_eq!(first.value("select 1"), "1");
    }
    assert_eq!(first.last_error(), None);
}

#[test]
fn goaway_is_granted_at_any_version_and_its_value_is_checked() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction");
    for minor in [0, 2] {
        let client = pooler.connect_as(&Login::new().minor_version(minor).goaway());
        assert_eq!(
            client.negotiated(),
            None,
            "nothing to negotiate in 3.{minor}"
        );
    }
    let login = Login::new().parameter("_pq_.goaway", "yes");
    let error = pooler.try_connect(&login).unwrap_err();
    assert_eq!(error.severity, "FATAL");
    assert_eq!(error.sqlstate, "08P01");
    assert_eq!(
        error.message,
        "invalid value for protocol option \"_pq_.goaway\": \"yes\""
    );
    assert_eq!(error.hint, "Valid values are: \"1\".");
}

/// What a client that asked for GoAway and one that did not are sent when a
/// drain begins.
fn drain_with(notify: &str) -> [String; 2] {
    let postgres = Postgres::start();
    let settings = format!("workers = 1\npool_mode = transaction\ndrain_notify = {notify}");
    let pooler = Pooler::start(&postgres, &settings);
    let clients = [pooler.connect_as(&Login::new().goaway()), pooler.connect()];
    pooler.signal(Signal::SIGTERM);
    let refused = || pooler.try_wire().is_err();
    crate::harness::wait_for("the drain to begin", PATIENCE, refused);
    let seen = clients.each_ref().map(|client| {
        client.absorb(Duration::from_millis(300));
        client.take_transcript()
    });
    for client in &clients {
        assert_eq!(client.value("select 'usable'"), "usable");
    }
    clients.into_iter().for_each(Client::close);
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
    seen
}
