//! Where clients come from and where servers are.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Client, Login, Pooler, Postgres, SqlState, Wire};

#[test]
fn servers_are_reached_over_unix_sockets_and_by_name() {
    let postgres = Postgres::start();
    let databases = format!(
        "folder = host={} port={port} dbname=postgres\n\
         name = host=localhost port={port} dbname=postgres\n\
         * = host=127.0.0.1 port={port}",
        postgres.socket_folder().display(),
        port = postgres.port()
    );
    let pooler = Pooler::start_for(&databases, "workers = 2\npool_mode = transaction");
    for (database, address) in [
        ("folder", ""),
        ("name", "127.0.0.1"),
        ("postgres", "127.0.0.1"),
    ] {
        let client = pooler.connect_as(&Login::new().database(database));
        assert_eq!(
            client.value("select host(inet_server_addr())"),
            address,
            "{database}"
        );
        for _ in 0..20 {
            assert_eq!(client.value("select 'served'"), "served");
        }
        let query = client.start_long_query();
        client.cancel();
        assert_eq!(query.wait(), Err(SqlState("57014")), "{database}");
    }
}

#[test]
fn host_that_nobody_knows_is_an_error() {
    let pooler = Pooler::start_for(
        "postgres = host=no-such-host.invalid",
        "workers = 1\nserver_login_retry = 1",
    );
    let error = pooler.try_connect(&Login::new()).unwrap_err();
    assert_eq!(error.severity, "FATAL");
    assert_eq!(error.sqlstate, "08006");
    assert!(error.message.contains("DNS"), "{error:?}");
}

#[test]
fn clients_are_served_over_the_unix_socket() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\nunix_socket_mode = 0750";
    let pooler = Pooler::start(&postgres, settings);
    let path = pooler
        .socket_folder()
        .join(format!(".s.PGSQL.{}", pooler.port()));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750);

    let clients: Vec<Client> = (0..20)
        .map(|_| pooler.connect_unix(&Login::new()).unwrap())
        .collect();
    for client in &clients {
        assert_eq!(client.value("select 'served'"), "served");
        let text = "x".repeat(300_000);
        assert_eq!(client.value(&format!("select '{text}'")), text);
    }
    assert_eq!(
        pooler
            .local_psql()
            .user("postgres")
            .database("postgres")
            .run("select 1")
            .ok(),
        "1"
    );
}

#[test]
fn every_listen_address_is_served() {
    let postgres = Postgres::start();
    let ipv6 = TcpStream::connect("[::1]:1").is_err_and(|e| e.raw_os_error() == Some(REFUSED));
    let addresses = if ipv6 {
        "127.0.0.1, ::1"
    } else {
        "127.0.0.1, 127.0.0.2"
    };
    let settings = format!("workers = 2\npool_mode = transaction\nlisten_addr = {addresses}");
    let pooler = Pooler::start(&postgres, &settings);
    for address in addresses.split(", ") {
        for _ in 0..10 {
            let stream = TcpStream::connect((address, pooler.port())).unwrap();
            let client = Client::log_in(Wire::tcp(stream), &Login::new()).unwrap();
            assert_eq!(client.value("select 'served'"), "served", "{address}");
        }
    }
}

#[test]
fn star_listens_everywhere() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\nlisten_addr = *");
    for address in ["127.0.0.1", "127.0.0.3"] {
        let stream = TcpStream::connect((address, pooler.port())).unwrap();
        assert!(Client::log_in(Wire::tcp(stream), &Login::new()).is_ok());
    }
}

/// ECONNREFUSED: the address exists and nobody listens there.
const REFUSED: i32 = 111;
