//! MOVE CLIENT and BALANCE: clients that an administrator has moved.

use std::collections::BTreeMap;

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, SqlState, restart, wait_for};
use crate::replication::logical;

const SETTINGS: &str = "workers = 3\npool_mode = transaction";

#[test]
fn client_goes_forth_and_back_by_the_order_of_any_console() {
    let postgres = Postgres::start();
    for mode in ["session", "transaction"] {
        let pooler = Pooler::start(&postgres, &format!("workers = 3\npool_mode = {mode}"));
        let client = pooler.connect_to_worker(1);
        client.query("set timezone = 'Asia/Tokyo'").unwrap();
        let (id, _) = only(&pooler);
        for (to, by) in [(2, 3), (3, 3), (1, 2), (1, 1), (2, 2)] {
            let console = pooler.console_of(by);
            let answer = console.query(&format!("MOVE CLIENT {id} TO {to}"));
            assert_eq!(answer, Ok(vec![]), "{:?}", console.last_error());
            assert_eq!(only(&pooler), (id.clone(), to.to_string()));
            assert_eq!(client.value("show timezone"), "Asia/Tokyo");
            // It is found at its new place, by the key of its first.
            assert_eq!(client.slot(), 1);
            let query = client.start_long_query();
            client.cancel_through_worker(3);
            assert_eq!(query.wait(), Err(SqlState("57014")));
        }
        let workers = pooler.console_of(1).table("SHOW WORKERS");
        let counts = workers.iter().map(|row| (&*row["moved"], &*row["arrived"]));
        let expected = [("2", "1"), ("1", "2"), ("1", "1")];
        assert_eq!(counts.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn busy_client_moves_when_it_is_at_rest_and_the_answer_waits() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect_to_worker(1);
    let query = client.start_long_query();
    let (id, _) = only(&pooler);
    let console = pooler.console_of(3);
    let order = console.start_query(&format!("MOVE CLIENT {id} TO 2"));
    pooler.wait_log(&format!("MOVE CLIENT {id} TO 2 command issued"));
    // It is asked once, and the first order is obeyed.
    let other = pooler.console_of(2);
    wait_for("the first order to be known", PATIENCE, || {
        let refused = other.query(&format!("MOVE CLIENT {id} TO 3"));
        refused == Err(SqlState("08P01"))
    });
    let said = other.last_error().unwrap().message;
    assert_eq!(said, "client cannot be moved: it is being moved already");
    assert_eq!(only(&pooler).1, "1");
    client.cancel();
    assert_eq!(query.wait(), Err(SqlState("57014")));
    assert_eq!(order.wait(), Ok(vec![]));
    assert_eq!(only(&pooler).1, "2");

    // One that leaves before that ends the order.
    let _query = client.start_long_query();
    let order = console.start_query(&format!("MOVE CLIENT {id} TO 1"));
    pooler.wait_log(&format!("MOVE CLIENT {id} TO 1 command issued"));
    client.send_message(b'X', b"");
    assert_eq!(order.wait(), Err(SqlState("08P01")));
    let said = console.last_error().unwrap().message;
    assert!(
        ["client has left", "client not found"].contains(&&*said),
        "{said}"
    );
}

#[test]
fn what_cannot_be_moved_is_said() {
    let postgres = Postgres::start_for_replication();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let stream = pooler.connect_to_worker_as(1, &logical());
    let console = pooler.console_of(1);
    let rows = console.table("SHOW CLIENTS");
    let ids = ["postgres", "pgbouncer"].map(|database| {
        let row = rows.iter().find(|row| row["database"] == database);
        row.unwrap()["id"].clone()
    });
    let [id, own] = ids;
    for (order, message) in [
        (
            format!("MOVE CLIENT {id} TO 2"),
            "client cannot be moved: it speaks replication",
        ),
        (
            format!("MOVE CLIENT {own} TO 2"),
            "a console cannot move itself",
        ),
        (format!("MOVE CLIENT {id} TO 3"), "no such worker: 3"),
        ("MOVE CLIENT 999999999 TO 2".to_owned(), "client not found"),
        (
            "MOVE CLIENT x TO 2".to_owned(),
            "invalid client pointer supplied",
        ),
        (
            format!("MOVE CLIENT {id}"),
            "a worker is required, by its number",
        ),
    ] {
        assert_eq!(console.query(&order), Err(SqlState("08P01")), "{order}");
        assert_eq!(console.last_error().unwrap().message, message, "{order}");
    }
    let stats = pooler.connect_as(&Login::new().user("carol").database("pgskein"));
    assert_eq!(stats.query("BALANCE"), Err(SqlState("08P01")));
    assert_eq!(stats.last_error().unwrap().message, "admin access needed");
    assert_eq!(stream.value("select 'goes on'"), "goes on");
}

#[test]
fn balance_evens_out_a_group_that_has_grown() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 1\npool_mode = transaction");
    let clients: Vec<Client> = (0..10).map(|_| pooler.connect_to_worker(1)).collect();
    let query = clients[0].start_long_query();
    pooler.write_settings("workers = 4\npool_mode = transaction");
    restart(&pooler);
    let console = pooler.console_of(2);
    // One keeps the old worker; the other nine are in the new one of its slot.
    wait_for("the others to move", PATIENCE, || {
        by_worker(&console).get("1") == Some(&10) && draining(&console) == 1
    });
    assert_eq!(console.query("BALANCE"), Ok(vec![]));
    let said = console.notices().concat();
    assert!(said.ends_with(" clients were moved"), "{said}");
    clients[0].cancel();
    assert_eq!(query.wait(), Err(SqlState("57014")));
    wait_for("the old worker to end", PATIENCE, || {
        draining(&console) == 0
    });
    assert_eq!(console.query("BALANCE"), Ok(vec![]));
    let counts: Vec<usize> = by_worker(&console).into_values().collect();
    let (least, most) = (counts.iter().min(), counts.iter().max());
    assert!(
        counts.len() == 4 && most.unwrap() - least.unwrap() <= 1,
        "{counts:?}"
    );
    for client in &clients {
        assert_eq!(client.value("select 'served'"), "served");
    }
    console.query("BALANCE").unwrap();
    assert!(console.notices().concat().ends_with("0 clients were moved"));
}

/// The id and the worker of the only client of a pool.
fn only(pooler: &Pooler) -> (String, String) {
    let console = pooler.console_of(1);
    let mut clients = Vec::new();
    // Connections that have found out who they reach may be closing still.
    wait_for("only one client", PATIENCE, || {
        clients = console.table("SHOW CLIENTS");
        clients.retain(|row| row["database"] == "postgres");
        clients.len() == 1
    });
    let client = &clients[0];
    (client["id"].clone(), client["worker"].clone())
}

/// How many clients of pools each slot has.
fn by_worker(console: &Client) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let rows = console.table("SHOW CLIENTS").into_iter();
    for row in rows.filter(|row| row["database"] == "postgres") {
        *found.entry(row["worker"].clone()).or_default() += 1;
    }
    found
}

fn draining(console: &Client) -> usize {
    let rows = console.table("SHOW WORKERS").into_iter();
    rows.filter(|row| row["state"] == "draining").count()
}
