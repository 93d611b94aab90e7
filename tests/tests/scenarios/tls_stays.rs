//! Clients with TLS stay where they are when others move, and are asked to go.

use crate::harness::{
    Certificates, Client, Login, PATIENCE, Pooler, Postgres, Signal, SqlState, restart, wait_for,
};

const SETTINGS: &str = "workers = 2\npool_mode = transaction\n";

#[test]
fn restart_asks_them_to_go_and_ends_when_they_have() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "");
    let client = encrypted(&pooler, &certificates, &Login::new());
    let plain = pooler.connect_to_worker(1);
    let old = pooler.worker(1);
    restart(&pooler);
    client.wait_parameter("disconnect_requested", "on");
    // It is asked only, and served on by the worker that it came to.
    client.query("begin").unwrap();
    assert_eq!(client.value("select 1"), "1");
    client.query("commit").unwrap();
    assert!(old.is_alive());
    // Others have moved, and those that come are encrypted by the new ones.
    assert_eq!(plain.value("select 2"), "2");
    let newer = encrypted(&pooler, &certificates, &Login::new());
    assert_eq!(newer.value("select 3"), "3");
    client.close();
    wait_for("the old worker to end", PATIENCE, || !old.is_alive());
    assert_eq!(newer.value("select 4"), "4");
    assert_eq!(plain.value("select 5"), "5");
}

#[test]
fn order_to_move_one_says_why_it_cannot() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "");
    let client = encrypted(&pooler, &certificates, &Login::new());
    let console = pooler.connect_as(&Login::new().database("pgskein"));
    let rows = console.table("SHOW CLIENTS");
    let row = rows.iter().find(|row| row["tls"].starts_with("TLSv1.3/"));
    let number = &row.expect("the client is shown")["id"];
    let text = "client cannot be moved: its connection is encrypted";
    // The other worker may not be ready yet.
    wait_for(text, PATIENCE, || {
        let refused = console.query(&format!("MOVE CLIENT {number} TO 2"));
        assert_eq!(refused, Err(SqlState("08P01")));
        console.last_error().expect("an error").message == text
    });
    assert_eq!(client.value("select 1"), "1");
}

#[test]
fn shutdown_closes_them_at_its_end_and_says_so_by_tls() {
    let postgres = Postgres::start();
    let (pooler, certificates) = start(&postgres, "drain_timeout = 0.5\n");
    let client = encrypted(&pooler, &certificates, &Login::new().goaway());
    pooler.signal(Signal::SIGTERM);
    let last = client.wait_closed().pop().expect("a reason");
    assert_eq!(client.transcript(), "gE");
    assert_eq!(last.error().sqlstate, "57P01");
    // What it has to say is waited for.
    drop(client);
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

fn start(postgres: &Postgres, more: &str) -> (Pooler, Certificates) {
    let certificates = Certificates::make("authority");
    certificates.issue("pooler");
    let tls = certificates.settings("allow", "pooler");
    let pooler = Pooler::start(postgres, &format!("{SETTINGS}{tls}{more}"));
    (pooler, certificates)
}

/// A client of worker 1 that speaks TLS.
fn encrypted(pooler: &Pooler, certificates: &Certificates, login: &Login) -> Client {
    let wire = pooler.wire_to_worker(1);
    let wire = wire.ask_for_tls(&certificates.client(&[])).unwrap();
    Client::log_in(wire, login).expect("a login")
}
