//! Versions and options of the protocol.

use crate::harness::{Login, Pooler, Postgres, startup_packet};

#[test]
fn versions_3_0_to_3_2_are_taken_as_they_are() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction");
    for (minor, secret) in [(0, 4), (1, 4), (2, 32)] {
        let client = pooler.connect_as(&Login::new().minor_version(minor));
        assert_eq!(client.negotiated(), None, "3.{minor}");
        assert_eq!(client.secret().len(), secret, "3.{minor}");
        assert_eq!(client.value("select 'served'"), "served");
    }
}

#[test]
fn higher_minor_versions_and_unknown_options_are_negotiated() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction");

    let newer = pooler.connect_as(&Login::new().minor_version(9999));
    assert_eq!(newer.negotiated(), Some((0x0003_0002, vec![])));
    assert_eq!(newer.secret().len(), 32);

    let login = Login::new()
        .parameter("_pq_.foo", "1")
        .parameter("_pq_.goaway", "1")
        .parameter("_pq_.bar", "");
    let options = pooler.connect_as(&login);
    let unknown = vec!["_pq_.foo".to_owned(), "_pq_.bar".to_owned()];
    assert_eq!(options.negotiated(), Some((0x0003_0000, unknown)));

    for minor in [1, 2] {
        let login = Login::new().minor_version(minor).parameter("_pq_.foo", "1");
        let client = pooler.connect_as(&login);
        let unknown = vec!["_pq_.foo".to_owned()];
        let word = 0x0003_0000 | u32::from(minor);
        assert_eq!(client.negotiated(), Some((word, unknown)), "3.{minor}");
    }

    let login = Login::new()
        .minor_version(9999)
        .parameter("_pq_.test_protocol_negotiation", "");
    let greasing = pooler.connect_as(&login);
    let unknown = vec!["_pq_.test_protocol_negotiation".to_owned()];
    assert_eq!(greasing.negotiated(), Some((0x0003_0002, unknown)));
    assert_eq!(greasing.value("select 'served'"), "served");
}

#[test]
fn negotiation_comes_before_authentication_and_once() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction");
    let mut wire = pooler.wire();
    wire.send(&Login::new().minor_version(7).packet());
    let tags: Vec<u8> = std::iter::from_fn(|| wire.read_message())
        .map(|message| message.tag)
        .take_while(|tag| *tag != b'Z')
        .collect();
    assert_eq!(&tags[..2], b"vR");
    assert_eq!(tags.iter().filter(|tag| **tag == b'v').count(), 1);
}

#[test]
fn other_major_versions_are_refused_in_postgresqls_words() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction");
    for (version, name) in [(0x0002_0000, "2.0"), (0x0004_0000, "4.0")] {
        let mut wire = pooler.wire();
        wire.send(&startup_packet(version, &[("user", "postgres")]));
        let answer = wire.read_to_end();
        let error = answer.first().expect("an error").error();
        assert_eq!(error.sqlstate, "0A000");
        assert_eq!(
            error.message,
            format!("unsupported frontend protocol {name}: server supports 3.0 to 3.2")
        );
    }
}

#[test]
fn goaway_has_one_value() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction");
    for value in ["", "0", "2", "11", "on", "true"] {
        let login = Login::new().parameter("_pq_.goaway", value);
        let error = pooler.try_connect(&login).unwrap_err();
        assert_eq!((&*error.severity, &*error.sqlstate), ("FATAL", "08P01"));
        assert_eq!(
            error.message,
            format!("invalid value for protocol option \"_pq_.goaway\": \"{value}\"")
        );
        assert_eq!(error.hint, "Valid values are: \"1\".");
    }
}
