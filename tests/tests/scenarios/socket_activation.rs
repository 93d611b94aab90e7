//! Sockets that systemd opens and passes on are used in place of own ones.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use socket2::{Domain, Socket, Type};

use crate::harness::{
    Account, Client, Descriptor, Folder, Login, PATIENCE, Pgskein, Pooler, Postgres, Process,
    Signal, Stopped, Wire, wait_for,
};

const SETTINGS: &str = "workers = 2\npool_mode = transaction\nlisten_addr = 127.0.0.9";

#[test]
fn passed_sockets_are_shared_by_all_workers_and_outlive_the_group() {
    let postgres = Postgres::start();
    let folder = Folder::make("systemd", &Account::unprivileged());
    let path = folder.join("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let mut kept: Option<(TcpListener, UnixListener)> = None;
    let pooler = Pooler::start_activated(&postgres, SETTINGS, |port| {
        let tcp = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let passed = vec![
            tcp.try_clone().unwrap().into(),
            unix.try_clone().unwrap().into(),
        ];
        kept = Some((tcp, unix));
        passed
    });
    let port = pooler.port();
    assert!(pooler.log_contains(&format!("listening on 127.0.0.1:{port}")));
    assert!(pooler.log_contains(&format!("listening on unix socket {}", path.display())));
    assert!(TcpStream::connect(("127.0.0.9", port)).is_err());
    let own = pooler.socket_folder().join(format!(".s.PGSQL.{port}"));
    assert!(!own.exists());
    let over_unix = Wire::unix(UnixStream::connect(&path).unwrap());
    let over_unix = Client::log_in(over_unix, &Login::new()).unwrap();
    assert_eq!(over_unix.value("select 'unix'"), "unix");

    // There is one queue: whoever turns takes what comes.
    for slot in [1, 2] {
        let _stopped = Stopped::new(pooler.worker(slot));
        for _ in 0..10 {
            assert_eq!(pooler.connect().value("select 'served'"), "served");
        }
    }
    pooler.signal(Signal::SIGQUIT);
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
    // Whoever connects now waits for the next group.
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    assert!(UnixStream::connect(&path).is_ok());
    drop(kept);
}

#[test]
fn passed_sockets_are_kept_over_restarts_with_another_number_of_workers() {
    let postgres = Postgres::start();
    let folder = Folder::make("systemd", &Account::unprivileged());
    let path = folder.join("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let pooler = Pooler::start_activated(&postgres, SETTINGS, |port| {
        let tcp = TcpListener::bind(("127.0.0.1", port)).unwrap();
        vec![tcp.into(), unix.into()]
    });
    for workers in [3, 1] {
        pooler.write_settings(&SETTINGS.replace("workers = 2", &format!("workers = {workers}")));
        // It is refused as long as anything of the last one is left.
        wait_for("RESTART to be taken", PATIENCE, || {
            let console = Wire::unix(UnixStream::connect(&path).unwrap());
            let console = Client::log_in(console, &Login::new().database("pgskein"));
            console.unwrap().query("RESTART").is_ok()
        });
        wait_for("as many workers as are to be", PATIENCE, || {
            pooler.workers().len() == workers
        });
        for _ in 0..10 {
            assert_eq!(pooler.connect().value("select 'served'"), "served");
        }
        assert!(UnixStream::connect(&path).is_ok());
        assert!(TcpStream::connect(("127.0.0.9", pooler.port())).is_err());
    }
}

#[test]
fn sockets_that_share_an_address_are_dealt_to_the_workers() {
    let postgres = Postgres::start();
    let pooler = Pooler::start_activated(&postgres, SETTINGS, |port| {
        (0..3).map(|_| shared_socket(port)).collect()
    });
    let listeners = |worker: Process| {
        let listener = Descriptor::TcpListener(pooler.port());
        let all = worker.descriptors().into_iter();
        all.filter(|found| *found == listener).count()
    };
    // Until all are ready, one accepts for others as well.
    wait_for("each worker to have its own", PATIENCE, || {
        [1, 2].map(|slot| listeners(pooler.worker(slot))) == [2, 1]
    });
    for slot in [1, 2] {
        let client = pooler.connect_to_worker(slot);
        assert_eq!(client.value("select 'served'"), "served");
    }
    // Own ones that are not replaced are made as always.
    assert!(pooler.connect_unix(&Login::new()).is_ok());
}

#[test]
fn passed_socket_that_clients_cannot_come_from_is_refused() {
    let postgres = Postgres::start();
    let datagrams = || UdpSocket::bind("127.0.0.1:0").unwrap().into();
    let run = Pooler::try_start_activated(&postgres, SETTINGS, |_| vec![datagrams()]);
    let said = run.expect_err("it has nothing to listen on").refused();
    assert!(
        said.contains("cannot use the socket unknown of the service manager"),
        "{said}"
    );
    assert!(said.contains("neither of TCP nor"), "{said}");
}

#[test]
fn socket_unit_is_one_that_systemd_understands() {
    let folder = Folder::make("unit", &Account::unprivileged());
    let service = include_str!("../../../etc/pgskein.service");
    let program = Pgskein::path();
    let service = service.replace("/usr/bin/pgskein ", &format!("{} ", program.display()));
    let socket = include_str!("../../../etc/pgskein.socket");
    fs::write(folder.join("pgskein.service"), service).unwrap();
    fs::write(folder.join("pgskein.socket"), socket).unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]);
    let verified = verify.arg(folder.join("pgskein.socket")).output();
    let verified = verified.expect("systemd-analyze is installed");
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success(), "{said}");
    assert!(!said.contains("pgskein.socket:"), "{said}");
}

/// A socket that listens on an address together with others.
fn shared_socket(port: u16) -> OwnedFd {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    socket.bind(&address.into()).unwrap();
    socket.listen(128).unwrap();
    socket.into()
}
