//! Who may come in by the name or the network of the host it comes from.

use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, Socket, Type};

use crate::harness::{
    Client, Drivers, Login, Names, PATIENCE, Pooler, Postgres, Script, Wire, wait_for,
};

#[test]
fn name_that_leads_back_to_the_address_opens_its_lines() {
    let (postgres, names) = (Postgres::start(), Names::make());
    names.call("127.0.0.1", "App.shop.test");
    names.put("App.shop.test", "10.0.0.9 127.0.0.1");
    let pooler = start(
        &postgres,
        &names,
        "dns_max_ttl = 1000",
        "host all alice app.SHOP.test trust\n\
         host all bob .shop.test trust\n\
         host all carol shop.test,.other.test trust\n",
    );
    let problem = "one address is expected, not a list";
    assert!(pooler.log_contains(problem), "no list of addresses");
    let lines = "host all alice app.SHOP.test trust\n\
                 host all bob .shop.test trust\n\
                 host all carol shop.test trust\n\
                 host all scram_user .shop.test scram-sha-256\n";
    pooler.write_file("hba.conf", lines);
    pooler.reload(&settings(&pooler, "dns_max_ttl = 1000"));
    for user in ["alice", "bob"] {
        assert_eq!(pooler.psql().user(user).who().ok(), user);
    }
    let said = pooler.psql().user("carol").who().refused();
    assert!(said.contains("login rejected"), "{said}");
    let script = Script::python(Drivers::New, "psycopg_login.py");
    let run = script.run(pooler.port(), &["scram_user", "secret", ""]);
    assert_eq!(run.ok(), "scram_user");
    // It is asked for once by each worker, as long as it holds.
    let asked = names.asked("127.0.0.1");
    assert!((1..=2).contains(&asked), "asked {asked} times");

    // A name that leads elsewhere is none, whoever owns the address says so.
    names.put("App.shop.test", "10.0.0.9");
    pooler.reload_files();
    pooler.psql().user("alice").who().refused();
    pooler.wait_log("127.0.0.1 has no name that leads back to it");
    names.remove("App.shop.test");
    pooler.reload_files();
    pooler.psql().user("bob").who().refused();
}

#[test]
fn names_are_looked_up_only_where_they_decide() {
    let (postgres, names) = (Postgres::start(), Names::make());
    names.call("127.0.0.1", "app.test");
    names.put("app.test", "127.0.0.1");
    let pooler = start(
        &postgres,
        &names,
        "",
        "host all bob 127.0.0.0/8 trust\n\
         host shop alice app.test trust\n\
         hostssl all all app.test trust\n\
         local all alice trust\n\
         host all alice all trust\n",
    );
    for user in ["alice", "bob"] {
        assert_eq!(pooler.psql().user(user).who().ok(), user);
    }
    let local = pooler.local_psql().user("alice").database("postgres");
    assert_eq!(local.who().ok(), "alice");
    assert_eq!(names.asked("127.0.0.1"), 0);
    // This line is for it, and there is no such database.
    pooler.psql().user("alice").database("shop").who().refused();
    assert_eq!(names.asked("127.0.0.1"), 1);
}

#[test]
fn name_server_that_does_not_answer_delays_only_who_needs_it() {
    let (postgres, names) = (Postgres::start(), Names::make());
    let pooler = start(
        &postgres,
        &names,
        "",
        "host all bob 127.0.0.0/8 trust\nhost all alice app.test trust\n",
    );
    names.put("app.test", "127.0.3.1 127.0.3.7");
    names.put("db.test", "127.0.0.1");
    pooler.write_ini(
        &format!("* = host=db.test port={}", postgres.port()),
        &settings(&pooler, ""),
    );
    pooler.reload_files();
    // More than there are threads, all of them stuck.
    let mut stuck: Vec<_> = (1..=7)
        .map(|last| {
            names.call(&format!("127.0.3.{last}"), "wait");
            let mut wire = from(&pooler, last);
            wire.send(&Login::new().user("alice").packet());
            wire
        })
        .collect();
    wait_for("names that are looked up", PATIENCE, || {
        (1..=7).any(|last| names.asked(&format!("127.0.3.{last}")) > 0)
    });
    // Names of servers are found, and everybody else comes in.
    assert_eq!(pooler.psql().user("bob").who().ok(), "bob");
    let bob = Client::log_in(from(&pooler, 1), &Login::new().user("bob")).unwrap();
    assert_eq!(bob.value("select 1"), "1");
    for wire in &mut stuck {
        let waits = wire.read_arrived() && wire.next_arrived().is_none();
        assert!(waits, "nobody was answered");
    }
    // The name server is back: they go on where they were.
    for last in 1..=7 {
        names.call(&format!("127.0.3.{last}"), "app.test");
    }
    for (last, mut wire) in (1..=7).zip(stuck) {
        let answer = wire.read_message().expect("an answer").tag;
        let expected = if last == 1 || last == 7 { b'R' } else { b'E' };
        assert_eq!(answer, expected, "127.0.3.{last}");
    }
}

#[test]
fn login_that_waits_for_a_name_ends_at_its_timeout() {
    let (postgres, names) = (Postgres::start(), Names::make());
    let pooler = start(
        &postgres,
        &names,
        "client_login_timeout = 1",
        "host all alice app.test trust\n",
    );
    names.call("127.0.3.1", "wait");
    let error = Client::log_in(from(&pooler, 1), &Login::new().user("alice")).unwrap_err();
    assert_eq!(error.sqlstate, "57014");
    assert_eq!(error.message, "client_login_timeout");
    names.call("127.0.3.1", "nobody.test");
}

#[test]
fn same_host_and_same_network_are_those_of_the_interfaces() {
    let (postgres, names) = (Postgres::start(), Names::make());
    let pooler = start(
        &postgres,
        &names,
        "",
        "host all alice samehost trust\nhost all bob samenet trust\n",
    );
    assert_eq!(pooler.psql().user("alice").who().ok(), "alice");
    assert_eq!(pooler.psql().user("bob").who().ok(), "bob");
    // 127.0.0.1 is the address of the interface, and 127.0.0.0/8 its network.
    let log_in = |user| Client::log_in(from(&pooler, 1), &Login::new().user(user));
    assert_eq!(log_in("alice").unwrap_err().message, "login rejected");
    assert_eq!(log_in("bob").unwrap().value("select current_user"), "bob");
}

/// A pooler that knows these names, and has these lines in its HBA file.
fn start(postgres: &Postgres, names: &Names, more: &str, lines: &str) -> Pooler {
    let pooler = Pooler::start_in(postgres, "workers = 2\nverbose = 1", &names.environment());
    pooler.write_file("hba.conf", lines);
    pooler.write_settings(&settings(&pooler, more));
    // Some scenarios begin with a mistake.
    let console = pooler.local_psql().user("pgskein").database("pgskein");
    console.run("RELOAD");
    pooler
}

fn settings(pooler: &Pooler, more: &str) -> String {
    let hba = pooler.ini().with_file_name("hba.conf");
    format!(
        "workers = 2\nverbose = 1\nauth_type = hba\nauth_hba_file = {}\n{more}",
        hba.display()
    )
}

/// A connection from 127.0.3.`last`.
fn from(pooler: &Pooler, last: u8) -> Wire {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source = SocketAddrV4::new(Ipv4Addr::new(127, 0, 3, last), 0);
    socket.bind(&source.into()).unwrap();
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, pooler.port());
    socket
        .connect_timeout(&address.into(), PATIENCE)
        .expect("the pooler accepts connections");
    Wire::tcp(socket.into())
}
