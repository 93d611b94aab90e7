//! What servers are asked for, and what is made of their answers.
//!
//! Real servers answer or refuse as their version does; what else there is in
//! the world is played by a stand-in.

use crate::harness::{
    FirstPacket, Login, Manner, PATIENCE, Pooler, Postgres, StandIn, negotiate, wait_for,
};

const V3_0: u32 = 0x0003_0000;
const V3_2: u32 = 0x0003_0002;
const REFUSED: (&str, &str) = (
    "0A000",
    "unsupported frontend protocol 3.2: server supports 1.0 to 3.0",
);

#[test]
fn postgresql_grants_what_it_has() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction");
    assert_eq!(pooler.connect().value("select 'served'"), "served");
    // It says so by NegotiateProtocolVersion: nothing is asked twice.
    pooler.wait_log("connected, protocol=3.0");
    assert!(!pooler.log_contains("speaks protocol 3.0 only"));
}

#[test]
fn server_is_asked_for_the_newest_and_for_goaway() {
    let server = StandIn::start(|_| Manner::serve(Vec::new()));
    let pooler = start(&server, "");
    serves(&pooler);
    assert_eq!(server.versions(), ["3.2"]);
    let asked = &server.packets()[0];
    assert_eq!(asked.parameter("_pq_.goaway").as_deref(), Some("1"));
    pooler.wait_log("connected, protocol=3.2");
}

#[test]
fn server_that_refuses_the_newest_is_asked_for_plain_3_0() {
    let manners: [fn() -> Manner; 2] = [|| Manner::fatal(REFUSED.0, REFUSED.1), || Manner::Close];
    for refuse in manners {
        let server = StandIn::start(move |asked| match asked.code {
            V3_0 => Manner::serve(Vec::new()),
            _ => refuse(),
        });
        let pooler = start(&server, "");
        serves(&pooler);
        assert_eq!(server.versions(), ["3.2", "3.0"]);
        let plain = &server.packets()[1];
        assert_eq!(plain.parameter("_pq_.goaway"), None);
        assert_eq!(plain.parameter("user").as_deref(), Some("postgres"));
        pooler.wait_log("speaks protocol 3.0 only");
    }
}

#[test]
fn old_host_is_remembered_by_the_group_until_a_reload() {
    let server = StandIn::start(old);
    let settings = "workers = 2\npool_mode = transaction";
    let pooler = Pooler::start_for(&format!("* = {}", server.address()), settings);
    pooler.connect_to_worker(1).query("select").unwrap();
    pooler.wait_log("speaks protocol 3.0 only");

    // The other worker, and one that is started later, know it.
    server.forget();
    pooler.connect_to_worker(2).query("select").unwrap();
    assert!(server.versions().iter().all(|v| v == "3.0"), "{server:?}");
    let worker = pooler.worker(1);
    worker.kill();
    wait_for("the next worker 1", PATIENCE, || {
        pooler.workers().get(&1).is_some_and(|next| *next != worker)
    });
    server.forget();
    pooler.connect_to_worker(1).query("select").unwrap();
    assert_eq!(server.versions(), ["3.0"]);

    // A reload makes it worth another try, by the next server that is opened.
    pooler.reload(settings);
    server.forget();
    let alice = Login::new().user("alice");
    pooler
        .connect_to_worker_as(2, &alice)
        .query("select")
        .unwrap();
    assert_eq!(server.versions(), ["3.2", "3.0"]);
}

#[test]
fn refusal_for_another_reason_is_no_question_of_versions() {
    for sqlstate in ["57P03", "28000", "28P01"] {
        let server = StandIn::start(move |_| Manner::fatal(sqlstate, "not now"));
        let pooler = start(&server, "");
        let error = pooler.try_connect(&Login::new()).unwrap_err();
        assert_eq!((&*error.sqlstate, &*error.message), (sqlstate, "not now"));
        assert_eq!(server.versions(), ["3.2"], "{sqlstate}");
    }
}

#[test]
fn host_that_refuses_both_is_not_remembered() {
    let server = StandIn::start(|_| Manner::fatal(REFUSED.0, REFUSED.1));
    let pooler = start(&server, "server_login_retry = 0.1");
    let error = pooler.try_connect(&Login::new()).unwrap_err();
    assert_eq!(error.sqlstate, REFUSED.0);
    assert_eq!(server.versions(), ["3.2", "3.0"]);
    wait_for("another try", PATIENCE, || {
        server.forget();
        pooler.try_connect(&Login::new()).unwrap_err();
        server.versions().first().is_some_and(|v| v == "3.2")
    });
}

#[test]
fn error_behind_an_authentication_message_is_final() {
    let refusal = || {
        let mut bytes = vec![b'R', 0, 0, 0, 8, 0, 0, 0, 0];
        let Manner::Refuse(error) = Manner::fatal("3D000", "no such database") else {
            unreachable!();
        };
        bytes.extend(error);
        Manner::Refuse(bytes)
    };
    let server = StandIn::start(move |_| refusal());
    let pooler = start(&server, "");
    let error = pooler.try_connect(&Login::new()).unwrap_err();
    assert_eq!(error.sqlstate, "3D000");
    assert_eq!(server.versions(), ["3.2"]);
}

#[test]
fn negotiated_answer_is_taken_and_a_wrong_one_ends_the_server() {
    for (version, names) in [
        (V3_0, &["_pq_.goaway"][..]),
        (V3_0, &[]),
        (V3_2, &["_pq_.goaway"]),
    ] {
        let server = StandIn::start(move |_| Manner::serve(negotiate(version, names)));
        serves(&start(&server, ""));
        assert_eq!(server.versions(), ["3.2"]);
    }
    let twice = [
        negotiate(V3_0, &["_pq_.goaway"]),
        negotiate(V3_0, &["_pq_.goaway"]),
    ]
    .concat();
    for (before, what) in [
        (negotiate(V3_2, &[]), "all that was asked for is granted"),
        (
            negotiate(0x0003_0003, &["_pq_.goaway"]),
            "version 3.3 was not offered",
        ),
        (
            negotiate(V3_0, &["_pq_.other"]),
            "option \"_pq_.other\" was not asked for",
        ),
        (twice, "sent twice"),
    ] {
        let server = StandIn::start(move |_| Manner::serve(before.clone()));
        let pooler = start(&server, "");
        let error = pooler.try_connect(&Login::new()).unwrap_err();
        assert!(error.message.contains(what), "{error:?}");
        assert_eq!(server.versions(), ["3.2"], "{what}");
    }
    // Asked for plain 3.0, a server has nothing to negotiate.
    let server = StandIn::start(|_| Manner::serve(negotiate(V3_0, &["_pq_.goaway"])));
    let pooler = start(&server, "server_protocol = 3.0");
    let error = pooler.try_connect(&Login::new()).unwrap_err();
    assert!(error.message.contains("nothing was asked for"), "{error:?}");
}

#[test]
fn server_protocol_forces_either() {
    let server = StandIn::start(|_| Manner::serve(Vec::new()));
    serves(&start(&server, "server_protocol = 3.0"));
    assert_eq!(server.versions(), ["3.0"]);

    let server = StandIn::start(old);
    let pooler = start(&server, "server_protocol = 3.2");
    let error = pooler.try_connect(&Login::new()).unwrap_err();
    assert_eq!(error.sqlstate, REFUSED.0);
    assert_eq!(server.versions(), ["3.2"]);

    let server = StandIn::start(|_| Manner::serve(negotiate(V3_0, &["_pq_.goaway"])));
    let pooler = start(&server, "server_protocol = 3.2");
    let error = pooler.try_connect(&Login::new()).unwrap_err();
    assert_eq!(
        error.message,
        "server speaks protocol 3.0, not 3.2 (server_protocol)"
    );
}

#[test]
fn cancel_requests_carry_the_whole_key() {
    for length in [4, 32, 256] {
        let secret: Vec<u8> = (0..length)
            .map(|i| u8::try_from(i % 251).unwrap())
            .collect();
        let theirs = secret.clone();
        let server = StandIn::start(move |_| Manner::Serve {
            before: Vec::new(),
            parameters: Vec::new(),
            secret: Some(theirs.clone()),
        });
        let pooler = start(&server, "");
        let client = pooler.connect();
        let query = client.start_query("hang");
        client.cancel();
        assert_eq!(server.wait_cancel(), (4711, secret));
        assert!(query.wait().is_err());
    }
}

#[test]
fn key_may_be_missing_and_may_not_be_long_in_3_0() {
    let server = StandIn::start(|_| Manner::Serve {
        before: Vec::new(),
        parameters: Vec::new(),
        secret: None,
    });
    serves(&start(&server, ""));

    let long = |_: &FirstPacket| Manner::Serve {
        before: negotiate(V3_0, &["_pq_.goaway"]),
        parameters: Vec::new(),
        secret: Some(vec![1; 32]),
    };
    let server = StandIn::start(long);
    let error = start(&server, "").try_connect(&Login::new()).unwrap_err();
    assert_eq!(error.message, "malformed BackendKeyData");
}

/// Refuses everything but plain 3.0.
fn old(asked: &FirstPacket) -> Manner {
    match asked.code {
        V3_0 => Manner::serve(Vec::new()),
        _ => Manner::fatal(REFUSED.0, REFUSED.1),
    }
}

fn start(server: &StandIn, settings: &str) -> Pooler {
    let settings = format!("workers = 1\npool_mode = transaction\n{settings}");
    Pooler::start_for(&format!("* = {}", server.address()), &settings)
}

fn serves(pooler: &Pooler) {
    assert_eq!(pooler.connect().query("select"), Ok(vec![]));
}
