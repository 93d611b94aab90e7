//! A recorded legacy of every version.

use std::time::Instant;

use super::*;
use crate::client_places::ClientPlaces;
use crate::drain_order::{DrainKind, DrainScope};
use crate::ledger::Ledger;
use crate::octets::put_bytes;
use crate::old_hosts::OldHosts;
use crate::peers::Identity;
use crate::runtime::Orders;
use crate::statistics;
use crate::tickets::TicketBook;
use crate::welcomes::Welcomes;

/// Version 1 as it was first written; it never changes.
const SAMPLE_V1: &[u8] =
    b"pgskein!\x01\0\0\0\x050.1.0\0\0\0\x10/usr/bin/pgskein\x01\x02\0\0\0\0\0\0\0\x04\0\0\0\
    \x06former\0\0\0\t\0\0\0\x05a.ini\0\0\0\x01\0\0\0\x0blisten_port\0\0\0\x046432\0\0\0\0\
    \xd6\x93\xa4\0\0\0\0\x0b\0\0\0\x11/run/pgskein/6432\0\0\0\x05\0\0\0\x06\0\0\0\x07\0\0\
    \0\0\0\0\0\x03\x01\0\0\0\x10/run/pgskein.pid\x01\0\0\0\x08\0\0\0\x12/tmp/.s.PGSQL.6432\
    \x01\0\0\0\n1 2 3 4 5\n0123456789abcdef\0\0\0\x01\x02\0\0\0\x05\0\0\0\x01\0\0\0\0\x02\
    \0\0\0\t\0\0\0\n\x01\0\0\0\t\0\0\0\0\x01\x02\0\0\0\x05\0\0\0\t\0\0\x12g\x01\0\0\0\x0c\
    \0\0\0\x02in\0\0\0\x01\0\0\0\x03out\0\0\0\x01\0\0\0\r\0\0\0\0\x03\x93\x87\0\x01\0\0\0\
    \0\x03\x84D\xc0\0\0\0\0\x01\0\0\0\n\0\0\0\x0e\0\0\0\x04half\0\0\0\0\0LK@\0\0\0\x02\0\
    \x01\x01\0\0\0\t\0\0\0\0\0\0\0\x03\x04\0\0\0\x01fedcba9876543210\x04\x02\0\0\0\x04shop\
    \0\0\0\0\0\0\x01\x02\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\x01\xc9\xc3\x80\0\0\0\0\0\0\0\0\
    \0\0\0\x01\0\0\0\t\0\0\0\0\0\0\0\x03(\x01\0\0\0\t\0\0\0\0\0\0\0\x03\0\0\0\0\0\0N \0\0\
    \0\x03\0\0\0\x1ba.ini:3: listen_port: stays\0\0\0\x05books";

/// Version 2 as it was first written.
const SAMPLE: &[u8] =
    b"pgskein!\x02\0\0\0\x050.1.0\0\0\0\x10/usr/bin/pgskein\x01\x02\0\0\0\0\0\0\0\x04\0\0\0\
    \x06former\0\0\0\t\0\0\0\x05a.ini\0\0\0\x01\0\0\0\x0blisten_port\0\0\0\x046432\0\0\0\0\
    \xd6\x93\xa4\0\0\0\0\x0b\0\0\0\x11/run/pgskein/6432\0\0\0\x05\0\0\0\x06\0\0\0\x07\0\0\
    \0\0\0\0\0\x03\x01\0\0\0\x10/run/pgskein.pid\x01\0\0\0\x08\0\0\0\x12/tmp/.s.PGSQL.6432\
    \x01\0\0\0\n1 2 3 4 5\n0123456789abcdef\0\0\0\x01\0\0\0\x0f\
    \x01\0\0\0\x01\0\0\0\x10\x01\0\0\x12h\0\0\0\x11\0\0\0\x01\x02\0\0\0\x05\0\0\0\x01\0\0\0\0\x02\
    \0\0\0\t\0\0\0\n\x01\0\0\0\t\0\0\0\0\x01\x02\0\0\0\x05\0\0\0\t\0\0\x12g\x01\0\0\0\x0c\
    \0\0\0\x02in\0\0\0\x01\0\0\0\x03out\0\0\0\x01\0\0\0\r\0\0\0\0\x03\x93\x87\0\x01\0\0\0\
    \0\x03\x84D\xc0\0\0\0\0\x01\0\0\0\n\0\0\0\x0e\0\0\0\x04half\0\0\0\0\0LK@\0\0\0\x02\0\
    \x01\x01\0\0\0\t\0\0\0\0\0\0\0\x03\x04\0\0\0\x01fedcba9876543210\x04\x02\0\0\0\x04shop\
    \0\0\0\0\0\0\x01\x02\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\x01\xc9\xc3\x80\0\0\0\0\0\0\0\0\
    \0\0\0\x01\0\0\0\t\0\0\0\0\0\0\0\x03(\x01\0\0\0\t\0\0\0\0\0\0\0\x03\0\0\0\0\0\0N \0\0\
    \0\x03\0\0\0\x1ba.ini:3: listen_port: stays\0\0\0\x05books";

fn legacy() -> Legacy {
    let slot = Slot::new(2).unwrap();
    let asker = AskerId {
        worker: 9,
        request: 3,
    };
    let id = WorkerId {
        slot,
        generation: 5,
        incarnation: 9,
    };
    let mut sources = Vec::new();
    put_bytes(&mut sources, b"a.ini");
    Legacy {
        program: Program {
            version: "0.1.0".to_owned(),
            path: "/usr/bin/pgskein".into(),
            stderr: true,
            verbose: 2,
        },
        config: Configuration {
            version: 4,
            former: b"former".to_vec(),
            sources,
            fixed: vec![("listen_port".to_owned(), "6432".to_owned())],
        },
        common: Common {
            age: Duration::from_secs(3600),
            last_token: 11,
            runtime_dir: "/run/pgskein/6432".into(),
            lock: 5,
            peer: 6,
            scoreboard: 7,
            scoreboard_version: 3,
            pidfile: Some("/run/pgskein.pid".into()),
            unix: Some(UnixSocket {
                listener: 8,
                path: "/tmp/.s.PGSQL.6432".into(),
                mark: Some("1 2 3 4 5\n".to_owned()),
            }),
            statement_key: *b"0123456789abcdef",
            cancel_listeners: vec![15],
            http: Some(Http {
                listeners: vec![16],
                process: Some(HttpProcess {
                    pid: 4712,
                    link: 17,
                }),
            }),
        },
        places: vec![Place {
            slot,
            generation: 5,
            failures: 1,
            retired: false,
            listeners: vec![9, 10],
            worker: Some(9),
            adopter: None,
        }],
        workers: vec![Worker {
            id,
            pid: 4711,
            link: Some(Link {
                socket: 12,
                inbox: b"in".to_vec(),
                outbox: vec![(b"out".to_vec(), vec![13])],
            }),
            age: Duration::from_secs(60),
            ready: Some(Duration::from_secs(59)),
            kill_in: None,
        }],
        peers: vec![Peer {
            token: 10,
            socket: 14,
            inbox: b"half".to_vec(),
            left: Duration::from_secs(5),
        }],
        asked: vec![(None, Asked::Reload), (Some(asker), Asked::Restart)],
        drains: vec![DrainOrder {
            id: *b"fedcba9876543210",
            kind: DrainKind::GoAway,
            scope: DrainScope::Database("shop".to_owned()),
            given: 258,
            rate: 5,
            delay: Duration::ZERO,
            timeout: Duration::from_secs(30),
            kill_timeout: Duration::ZERO,
        }],
        tables: vec![(asker, Topic::Stats)],
        restart: Restart {
            asker: Some(asker),
            age: Duration::from_millis(20),
            workers: 3,
            notice: "a.ini:3: listen_port: stays".to_owned(),
        },
        books: b"books".to_vec(),
    }
}

#[test]
fn writes_the_recorded_sample_of_version_2() {
    assert_eq!(legacy().encode(), SAMPLE);
}

#[test]
fn accepts_the_recorded_samples_of_both_versions() {
    assert_eq!(Legacy::decode(SAMPLE), Ok(legacy()));
    let mut first = legacy();
    first.common.cancel_listeners.clear();
    first.common.http = None;
    assert_eq!(Legacy::decode(SAMPLE_V1), Ok(first));
}

#[test]
fn rejects_every_prefix_and_what_comes_after_it() {
    for end in 0..SAMPLE.len() {
        let prefix = Legacy::decode(&SAMPLE[..end]);
        assert_eq!(prefix, Err(LegacyError::Malformed), "prefix of {end} bytes");
    }
    let more = [SAMPLE, b"x"].concat();
    assert_eq!(Legacy::decode(&more), Err(LegacyError::Malformed));
}

#[test]
fn rejects_an_unknown_version_by_its_number() {
    let mut unknown = SAMPLE.to_vec();
    unknown[8] = 9;
    assert_eq!(Legacy::decode(&unknown), Err(LegacyError::Version(9)));
}

#[test]
fn names_every_descriptor_once() {
    let mut found = legacy().descriptors();
    found.sort_unstable();
    assert_eq!(found, [5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17]);
}

#[test]
fn carries_empty_books() {
    let now = Instant::now();
    let books: BooksRef<'_, Option<AskerId>> = BooksRef {
        ledger: &Ledger::new(),
        client_places: &ClientPlaces::default(),
        orders: &Orders::default(),
        statistics: &statistics::Book::new(Duration::from_secs(60), now),
        welcomes: &Welcomes::default(),
        old_hosts: &OldHosts::default(),
        identity: &Identity::default(),
        tickets: &TicketBook::new(now),
    };
    let bytes = books.encode(now, |asker| *asker);
    let read = Books::decode(&bytes, [], now, |asker: Option<AskerId>| asker).unwrap();
    assert_eq!(read.orders.version(), 0);
    assert_eq!(read.identity, Some(Identity::default()));
    assert!(read.tickets.is_some());
    // Where programs end that knew of no tickets, and of no peers.
    let without_tickets = bytes.len() - 1 - 8 - 4;
    let without_peers = without_tickets - 6;
    for end in 0..bytes.len() {
        let prefix = Books::decode(&bytes[..end], [], now, |asker: Option<AskerId>| asker);
        match prefix {
            Ok(books) => {
                assert!([without_peers, without_tickets].contains(&end));
                assert_eq!(books.identity.is_some(), end == without_tickets);
                assert!(books.tickets.is_none());
            }
            Err(_) => assert!(![without_peers, without_tickets].contains(&end)),
        }
    }
}
