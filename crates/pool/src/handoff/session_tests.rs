//! The recorded sample of a session.

use super::super::server::tests as server;
use super::*;

fn sample() -> SessionCargo {
    let age = Duration::from_micros;
    SessionCargo {
        number: 1041,
        origin: Origin::Tcp("10.0.0.7:51834".parse().unwrap()),
        pool: PoolKey {
            database: "shop".to_owned(),
            user: "app".to_owned(),
        },
        user: Some("bob".to_owned()),
        counted: true,
        claimed: false,
        ages: Ages {
            accepted: age(4),
            heard: age(3),
            since: age(2),
            turned: age(1),
        },
        key: CancelKey::from_parts(0x0102_0304, &[5, 6, 7, 8], false).unwrap(),
        carrier: Carrier::Parameter,
        parameters: vec![("DateStyle".to_owned(), b"ISO".to_vec())],
        statements: vec![(b"s1".to_vec(), b"select 1\0\0\0".to_vec())],
        unnamed: Some(b"x\0\0\0".to_vec()),
        learned: Some(Learned {
            secret: "SCRAM".to_owned(),
            client_key: [3; 32],
        }),
        server: None,
        orders: 5,
    }
}

/// Version 1.
const RECORDED: &[u8] = b"\x01\
    \0\x01\0\0\0\x08\0\0\0\0\0\0\x04\x11\
    \0\x02\0\0\0\x07\x04\x0a\0\0\x07\xca\x7a\
    \0\x03\0\0\0\x0f\0\0\0\x04shop\0\0\0\x03app\
    \0\x04\0\0\0\x03bob\
    \0\x05\0\0\0\x02\x01\0\
    \0\x06\0\0\0\x20\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01\
    \0\x07\0\0\0\x09\x01\x02\x03\x04\0\x05\x06\x07\x08\
    \0\x08\0\0\0\x01\x02\
    \0\x09\0\0\0\x18\0\0\0\x01\0\0\0\x09DateStyle\0\0\0\x03ISO\
    \0\x0a\0\0\0\x19\0\0\0\x01\0\0\0\x02s1\0\0\0\x0bselect 1\0\0\0\
    \0\x0b\0\0\0\x04x\0\0\0\
    \0\x0c\0\0\0\x29\0\0\0\x05SCRAM\
    \x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\
    \x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\
    \0\x0e\0\0\0\x08\0\0\0\0\0\0\0\x05";

#[test]
fn writes_and_reads_the_recorded_sample() {
    assert_eq!(sample().encode(), RECORDED);
    let read = SessionCargo::decode(RECORDED).unwrap();
    // Keys cannot be compared but by what they are written as.
    assert_eq!(read.encode(), RECORDED);
    let SessionCargo { number, ages, .. } = read;
    assert_eq!((number, ages), (1041, sample().ages));
    assert_eq!(
        (read.origin, read.pool, read.user, read.counted),
        (sample().origin, sample().pool, sample().user, true)
    );
    assert_eq!(read.carrier, Carrier::Parameter);
    assert_eq!(
        (read.statements, read.unnamed, read.learned),
        (sample().statements, sample().unnamed, sample().learned)
    );
    assert!(read.key.matches(&[5, 6, 7, 8]));
}

#[test]
fn takes_its_server_along() {
    let with_server = SessionCargo {
        server: Some(server::sample()),
        ..sample()
    };
    let body = with_server.encode();
    let read = SessionCargo::decode(&body).unwrap();
    assert_eq!(read.server, Some(server::sample()));
    let at = body.windows(server::RECORDED.len());
    assert!(at.into_iter().any(|window| window == server::RECORDED));
}

#[test]
fn keeps_where_a_client_comes_from() {
    let origins = [
        Origin::Tcp("[2001:db8::1]:5432".parse().unwrap()),
        Origin::Unix {
            uid: Some(1000),
            pid: None,
        },
    ];
    for origin in origins {
        let cargo = SessionCargo { origin, ..sample() };
        let read = SessionCargo::decode(&cargo.encode()).unwrap();
        assert_eq!(read.origin, origin);
    }
}

#[test]
fn rejects_what_is_not_whole() {
    for end in 0..RECORDED.len() {
        assert!(SessionCargo::decode(&RECORDED[..end]).is_err(), "{end}");
    }
    let later = [RECORDED, b"\0\x0f\0\0\0\x01x"].concat();
    let error = SessionCargo::decode(&later).unwrap_err();
    assert_eq!(error, BodyError::UnknownField(15));
}

#[test]
fn shows_no_secret() {
    let shown = format!("{:?}", sample());
    assert!(
        !shown.contains("SCRAM") && !shown.contains("3, 3"),
        "{shown}"
    );
}
