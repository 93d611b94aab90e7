//! One text is one statement, on every server and for every client.

use crate::harness::{Client, Pooler, Postgres, Process, Stopped};
use crate::prepared_talk::{flush, parse, run, send, sync, talk, word};

#[test]
fn one_text_has_one_name_on_the_servers_of_two_workers() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let clients = [1, 2].map(|worker| pooler.connect_to_worker(worker));
    // Each in a transaction, so that these are two servers.
    let names = clients.each_ref().map(|client| {
        client.query("begin").unwrap();
        name_on_server(client)
    });
    let [one, two] = clients
        .each_ref()
        .map(|client| client.value("select pg_backend_pid()"));
    assert_ne!(one, two);
    assert_eq!(names[0], names[1]);
    assert_is_ours(&names[0]);
    // Another text has another one.
    assert_eq!(talk(&clients[0], &[parse("t", "select 43"), sync()]), "1 Z");
    let sql = "select count(distinct name) from pg_prepared_statements";
    assert_eq!(clients[0].value(sql), "2");
}

#[test]
fn a_parse_that_the_linked_server_has_is_answered_without_asking_it() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 1\npool_mode = transaction");
    let client = pooler.connect();
    client.query("begin").unwrap();
    let backend = client.value("select pg_backend_pid()").parse().unwrap();
    assert_eq!(talk(&client, &[parse("a", "select 42"), sync()]), "1 Z");
    let stopped = Stopped::new(Process(backend));
    send(&client, &[parse("b", "select 42"), flush()]);
    assert_eq!(word(&client), "1");
    drop(stopped);
    assert_eq!(talk(&client, &[sync()]), "Z");
    assert_eq!(talk(&client, &run("b")), "2 D:42 C Z");
    assert_eq!(client.query("commit"), Ok(vec![]));
}

/// Prepares a text and asks the server, in the same transaction, for its name.
fn name_on_server(client: &Client) -> String {
    assert_eq!(talk(client, &[parse("s", "select 42"), sync()]), "1 Z");
    client.value("select name from pg_prepared_statements where statement = 'select 42'")
}

fn assert_is_ours(name: &str) {
    let digits = name.strip_prefix("pgskein_").unwrap_or_default();
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    assert!(digits.len() == 32 && digits.chars().all(hex), "{name}");
}
