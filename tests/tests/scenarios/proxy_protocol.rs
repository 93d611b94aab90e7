//! Clients that come through a proxy are known by their own addresses.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::harness::{
    Certificates, Client, Login, PATIENCE, Pooler, Postgres, SqlState, Wire, wait_for,
};

const SETTINGS: &str = "workers = 2\npool_mode = transaction\nproxy_protocol = 1\n\
                        proxy_protocol_from = 127.0.0.5, 127.0.1.0/24";

/// Where the trusted proxy is.
const PROXY: [u8; 4] = [127, 0, 0, 5];
/// Nobody believes this one.
const OTHER: [u8; 4] = [127, 0, 0, 6];

const LINE: &[u8] = b"PROXY TCP4 198.51.100.7 10.0.0.1 50000 6432\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A binary header.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, body].concat()
}

/// One for a client of 203.0.113.9, with something added.
fn binary_v4() -> Vec<u8> {
    let addresses = [203, 0, 113, 9, 10, 0, 0, 1, 0xc3, 0x50, 0x19, 0x20];
    binary(0x21, 0x11, &[&addresses[..], b"\x01\0\x02h2"].concat())
}

fn binary_v6() -> Vec<u8> {
    let source = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    let ports = [0xc3, 0x50, 0x19, 0x20];
    binary(0x21, 0x21, &[&source[..], &source, &ports].concat())
}

/// A connection that comes from this address.
fn wire_from(pooler: &Pooler, source: [u8; 4]) -> Wire {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source = SocketAddrV4::new(Ipv4Addr::from(source), 0);
    socket.bind(&source.into()).unwrap();
    let pooler = SocketAddrV4::new(Ipv4Addr::LOCALHOST, pooler.port());
    socket.connect(&pooler.into()).unwrap();
    Wire::tcp(TcpStream::from(socket))
}

/// A connection through the trusted proxy, which has sent this header.
fn through_proxy(pooler: &Pooler, header: &[u8]) -> Wire {
    let mut wire = wire_from(pooler, PROXY);
    wire.send(header);
    wire
}

fn log_in(wire: Wire, user: &str) -> Client {
    Client::log_in(wire, &Login::new().user(user)).expect("a login")
}

/// The row that the console has of this user's client.
fn shown(pooler: &Pooler, user: &str) -> BTreeMap<String, String> {
    let console = pooler.connect_as(&Login::new().database("pgskein"));
    let mut rows = console.table("SHOW CLIENTS").into_iter();
    rows.find(|row| row["user"] == user)
        .expect("a row of the client")
}

#[test]
fn client_behind_a_proxy_is_known_by_its_own_address() {
    let postgres = Postgres::start();
    let settings = format!("{SETTINGS}\napplication_name_add_host = 1");
    let pooler = Pooler::start(&postgres, &settings);
    for (user, header, address) in [
        ("alice", LINE.to_vec(), "198.51.100.7"),
        ("bob", binary_v4(), "203.0.113.9"),
        ("carol", binary_v6(), "2001:db8::7"),
    ] {
        let client = log_in(through_proxy(&pooler, &header), user);
        let row = shown(&pooler, user);
        assert_eq!((&*row["addr"], &*row["port"]), (address, "50000"));
        let name = client.value("select current_setting('application_name')");
        assert!(name.contains(address), "{name}");
        client.close();
        wait_for("the log to name the address", PATIENCE, || {
            let log = pooler.log();
            let mut lines = log.lines().filter(|line| line.contains(user));
            lines.any(|line| line.contains(address) && line.contains(": closed"))
        });
    }
}

#[test]
fn header_may_come_in_pieces_or_with_what_follows() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    for header in [LINE.to_vec(), binary_v4()] {
        let mut wire = wire_from(&pooler, PROXY);
        for byte in &header {
            wire.send(&[*byte]);
        }
        assert_eq!(log_in(wire, "alice").value("select 'pieces'"), "pieces");

        // An SSLRequest in the same packet is answered like any other.
        let mut wire = wire_from(&pooler, PROXY);
        wire.send(&[&header[..], &[0, 0, 0, 8, 4, 210, 22, 47]].concat());
        assert_eq!(wire.read_byte(), Some(b'N'));
        assert_eq!(log_in(wire, "alice").value("select 'flight'"), "flight");
    }
}

#[test]
fn proxy_that_says_nothing_of_its_client_is_closed_without_a_byte() {
    let postgres = Postgres::start();
    let settings = format!("{SETTINGS}\nclient_login_timeout = 1");
    let pooler = Pooler::start(&postgres, &settings);
    let too_long = binary(0x21, 0x11, &[0; 9000]);
    for (bytes, why) in [
        (
            &Login::new().packet()[..],
            "no header of the PROXY protocol",
        ),
        (b"PROXY TCP4 1.2.3.4\r\n", "malformed line of"),
        (&[b'P'; 1], "client_login_timeout"),
        (&[LINE, LINE].concat(), "invalid length of startup packet"),
        (
            &binary(0x25, 0x11, &[0; 12]),
            "unknown version or command 0x25",
        ),
        (&binary(0x21, 0x12, &[0; 12]), "unknown address family 0x12"),
        (&too_long[..16], "with a length of 9016 bytes"),
        (&binary(0x21, 0x11, &[0; 13]), "malformed additions"),
    ] {
        let mut wire = through_proxy(&pooler, bytes);
        // What is told is told when the header was right, or none has come.
        let told = why.contains("startup packet") || why.contains("timeout");
        assert_eq!(wire.read_byte(), told.then_some(b'E'), "{why}");
        pooler.wait_log(why);
    }
}

#[test]
fn only_trusted_proxies_may_say_whose_connection_it_is() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    for header in [LINE.to_vec(), binary_v4()] {
        let mut wire = wire_from(&pooler, OTHER);
        wire.send(&header);
        let error = wire.read_message().expect("an error").error();
        assert_eq!(error.sqlstate, "08P01");
        assert_eq!(wire.read_byte(), None);
    }
    // Whoever is not a proxy is served as itself.
    let _client = log_in(wire_from(&pooler, OTHER), "alice");
    assert_eq!(shown(&pooler, "alice")["addr"], "127.0.0.6");
    assert!(pooler.connect_unix(&Login::new()).is_ok());

    // Who is one is said anew by a reload.
    pooler.reload(&SETTINGS.replace("127.0.0.5", "127.0.0.6"));
    let mut wire = wire_from(&pooler, OTHER);
    wire.send(LINE);
    let _other = log_in(wire, "bob");
    assert_eq!(shown(&pooler, "bob")["addr"], "198.51.100.7");
    let _former = log_in(wire_from(&pooler, PROXY), "carol");
    assert_eq!(shown(&pooler, "carol")["addr"], "127.0.0.5");
}

#[test]
fn connection_of_the_proxy_itself_keeps_its_address() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    for (user, header) in [
        ("alice", b"PROXY UNKNOWN\r\n".to_vec()),
        ("bob", binary(0x20, 0, b"")),
        ("carol", binary(0x21, 0x31, &[0; 216])),
    ] {
        let _client = log_in(through_proxy(&pooler, &header), user);
        assert_eq!(shown(&pooler, user)["addr"], "127.0.0.5");
    }
}

#[test]
fn cancels_come_through_the_proxy_as_well() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = log_in(through_proxy(&pooler, &binary_v4()), "alice");
    let query = client.start_long_query();
    let mut wire = through_proxy(&pooler, LINE);
    wire.send(&client.cancel_packet());
    assert_eq!(query.wait(), Err(SqlState("57014")));
    assert_eq!(wire.read_to_end(), []);

    // Who guesses is known by its own network too.
    let mut packet = client.cancel_packet();
    *packet.last_mut().unwrap() ^= 0x80;
    let mut wire = through_proxy(&pooler, &[LINE, &packet].concat());
    assert_eq!(wire.read_to_end(), []);
    pooler.wait_log("the last from 198.51.100.0/24");
}

#[test]
fn lines_of_the_hba_file_are_for_the_clients_own_addresses() {
    let postgres = Postgres::start();
    let certificates = Certificates::make("authority");
    certificates.issue("pooler");
    let pooler = Pooler::start(&postgres, SETTINGS);
    let hba = pooler.write_file(
        "hba.conf",
        "host    all alice 198.51.100.0/24 trust\n\
         hostssl all bob   203.0.113.9/32  trust\n\
         host    all all   2001:db8::/32   reject\n\
         host    all carol all             trust\n",
    );
    pooler.reload(&format!(
        "{SETTINGS}\nauth_type = hba\nauth_hba_file = {}\n{}",
        hba.display(),
        certificates.settings("allow", "pooler")
    ));
    let tls = certificates.client(&[]);
    let encrypted = |header: &[u8]| through_proxy(&pooler, header).ask_for_tls(&tls).unwrap();
    for (wire, user, comes_in) in [
        (through_proxy(&pooler, LINE), "alice", true),
        (encrypted(LINE), "alice", true),
        (through_proxy(&pooler, &binary_v4()), "alice", false),
        // Nor is the address of the proxy that of who comes through it.
        (wire_from(&pooler, OTHER), "alice", false),
        (through_proxy(&pooler, &binary_v4()), "bob", false),
        (encrypted(&binary_v4()), "bob", true),
        (encrypted(LINE), "bob", false),
        (through_proxy(&pooler, LINE), "carol", true),
        (through_proxy(&pooler, &binary_v6()), "carol", false),
    ] {
        match Client::log_in(wire, &Login::new().user(user)) {
            Ok(client) => assert!(comes_in && client.value("select 1") == "1", "{user}"),
            Err(error) => {
                assert!(!comes_in, "{user}: {error:?}");
                assert_eq!(error.message, "login rejected", "{user}");
            }
        }
    }
    pooler
        .wait_logged("postgres/carol@|2001:db8::7|closed: login rejected (reject), hba=|:3, age=");
}

#[test]
fn address_goes_along_when_the_client_does() {
    let postgres = Postgres::start();
    let settings = format!("{SETTINGS}\nbalance = 1");
    let pooler = Pooler::start(&postgres, &settings);
    // Whoever accepts them, half of them are served by each.
    let header = binary_v4();
    let clients: Vec<Client> = (0..8)
        .map(|_| log_in(through_proxy(&pooler, &header), "alice"))
        .collect();
    let is_known = || {
        let console = pooler.connect_as(&Login::new().database("pgskein"));
        let rows = console.table("SHOW CLIENTS");
        let rows = rows.iter().filter(|row| row["user"] == "alice");
        let known = rows.filter(|row| row["addr"] == "203.0.113.9");
        known.count() == clients.len()
    };
    assert!(is_known());

    let (first, second) = (pooler.worker(1), pooler.worker(2));
    pooler
        .local_psql()
        .user("pgskein")
        .database("pgskein")
        .run("RESTART")
        .ok();
    pooler.wait_replaced(1, first);
    pooler.wait_replaced(2, second);
    wait_for("all clients to be known", PATIENCE, is_known);
    for client in &clients {
        assert_eq!(client.value("select 'moved'"), "moved");
    }
}
