//! Servers behind users whose passwords a directory knows.

use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use crate::harness::{Directory, PATIENCE, Pooler, Postgres, Wire, message, wait_for};
use crate::ldap::{certificates, say, simple, start_with};

#[test]
fn servers_are_logged_in_to_by_the_password_that_the_directory_knows() {
    let postgres = Postgres::start();
    let tls = certificates();
    let people = [("scram_user", "s@example.net"), ("alice", "a@example.net")];
    let directory = Directory::start(&people, &tls);
    postgres.query("alter role scram_user password 'rabbit'");
    let pooler = start_with(
        &postgres,
        &simple(directory.port()),
        "workers = 1\nauth_file =",
    );
    let psql = pooler.psql().user("scram_user").password("rabbit");
    assert_eq!(psql.who().ok(), "scram_user");
    // By the same password that was said before.
    postgres.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'scram_user'",
    );
    wait_for("a new server", PATIENCE, || psql.who().code == Some(0));
}

#[test]
fn password_that_a_server_refuses_is_not_tried_again() {
    let tls = certificates();
    let directory = Directory::start(&[("alice", "a@example.net")], &tls);
    // A server that asks a directory itself, where wrong passwords are counted.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let (said, heard) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    thread::spawn(move || {
        let mut first = true;
        for socket in server.incoming().map_while(Result::ok) {
            let mut wire = Wire::tcp(socket);
            let length = [0; 4].map(|_| wire.read_byte().unwrap_or_default());
            wire.skip(u64::from(u32::from_be_bytes(length)).saturating_sub(4));
            drop(wire.try_send(&message(b'R', &[0, 0, 0, 3])));
            let password = wire.read_message().is_some();
            if std::mem::replace(&mut first, false) {
                let admitted = [
                    message(b'R', &[0; 4]),
                    message(b'S', b"server_version\x0015\0"),
                    message(b'K', &[7; 8]),
                    message(b'Z', b"I"),
                ];
                wire.send(&admitted.concat());
                let _it_is_time = left.recv();
                continue;
            }
            let error = b"SFATAL\0C28000\0MLDAP authentication failed for user \"alice\"\0\0";
            drop(wire.try_send(&message(b'E', error)));
            if said.send(password).is_err() {
                break;
            }
        }
    });
    let options = simple(directory.port());
    let pooler = Pooler::start_for(
        &format!("postgres = host=127.0.0.1 port={}", address.port()),
        &format!(
            "workers = 1\nserver_login_retry = 0.1\nauth_file =\nauth_type = ldap\n\
             auth_ldap_options = {options}"
        ),
    );
    let mut client = say(&pooler, "alice", b"rabbit\0");
    while client.read_message().expect("a session").tag != b'Z' {}
    drop(leave);
    pooler.wait_logged("postgres/alice@127.0.0.1|server conn crashed?");
    client.send_message(b'Q', b"select 1\0");
    let told: Vec<bool> = (0..4)
        .map(|_| heard.recv_timeout(PATIENCE).expect("an attempt"))
        .collect();
    assert_eq!(told, [true, false, false, false]);
}
