//! Behind a real HAProxy that says who its clients are, their addresses are known.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use socket2::{Domain, Socket, Type};

use crate::harness::{Client, Hosts, Login, PATIENCE, Postgres, SqlState, Wire, wait_for};

/// HAProxy connects from 127.0.0.1, and nobody else here does.
const SETTINGS: &str = "workers = 2\npool_mode = transaction\nproxy_protocol = 1\n\
    proxy_protocol_from = 127.0.0.1/32\n";

#[test]
fn clients_of_haproxy_have_their_own_addresses() {
    let postgres = Postgres::start();
    let hosts = Hosts::start_changed(&postgres, 2, SETTINGS, |text| {
        let line = "# default-server send-proxy-v2";
        assert!(text.contains(line));
        text.replace(line, "default-server send-proxy-v2")
    });
    let addresses = [1, 2].map(|last| Ipv4Addr::new(127, 0, 77, last));
    let clients = addresses.map(|address| {
        let wire = wire_from(address, hosts.balancer.port());
        Client::log_in(wire, &Login::new()).unwrap()
    });
    for (client, address) in clients.iter().zip(addresses) {
        assert_eq!(client.value("select 'served'"), "served");
        let address = address.to_string();
        wait_for("SHOW CLIENTS to have the address", PATIENCE, || {
            hosts.groups.iter().any(|host| {
                let console = host.pooler.connect_unix(&Login::new().database("pgskein"));
                let rows = console.unwrap().table("SHOW CLIENTS");
                rows.iter().any(|row| row["addr"] == address)
            })
        });
        let logged = |host: &crate::harness::Host| {
            host.pooler
                .log_contains(&format!("postgres/postgres@{address}:"))
        };
        wait_for("a log to have the address", PATIENCE, || {
            hosts.groups.iter().any(logged)
        });
    }
    // Who comes past the balancer needs no header, and may not have one.
    let past = hosts.groups[0].pooler.connect();
    assert_eq!(past.query("select 1/0"), Err(SqlState("22012")));
}

fn wire_from(address: Ipv4Addr, port: u16) -> Wire {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddrV4::new(address, 0).into()).unwrap();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    socket.connect_timeout(&to.into(), PATIENCE).unwrap();
    Wire::tcp(socket.into())
}
