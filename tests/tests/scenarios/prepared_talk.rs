//! Messages about prepared statements, and their answers in short.

use crate::harness::Client;

/// Sends messages that end with one Sync or more, and gives what comes.
pub(crate) fn talk(client: &Client, messages: &[Vec<u8>]) -> String {
    let syncs = messages.iter().filter(|message| message[0] == b'S').count();
    talk_for(client, messages, syncs)
}

pub(crate) fn talk_for(client: &Client, messages: &[Vec<u8>], mut ready: usize) -> String {
    send(client, messages);
    let mut words = Vec::new();
    while ready > 0 {
        let word = word(client);
        ready -= usize::from(word == "Z");
        words.push(word);
    }
    words.join(" ")
}

pub(crate) fn send(client: &Client, messages: &[Vec<u8>]) {
    client.send(&messages.concat());
}

/// The next message in short.
pub(crate) fn word(client: &Client) -> String {
    let message = client.read_message().expect("a message");
    match message.tag {
        b'D' => {
            let columns: Vec<_> = message.columns().into_iter().flatten().collect();
            format!("D:{}", columns.join(","))
        }
        b'E' => {
            let error = message.error();
            format!("E:{}:{}", error.sqlstate, error.message)
        }
        tag => char::from(tag).to_string(),
    }
}

pub(crate) fn run(name: &str) -> Vec<Vec<u8>> {
    vec![bind("", name), execute(), sync()]
}

pub(crate) fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

pub(crate) fn bind(portal: &str, name: &str) -> Vec<u8> {
    message(b'B', format!("{portal}\0{name}\0\0\0\0\0\0\0").as_bytes())
}

pub(crate) fn describe(name: &str) -> Vec<u8> {
    message(b'D', format!("S{name}\0").as_bytes())
}

pub(crate) fn describe_portal() -> Vec<u8> {
    message(b'D', b"P\0")
}

pub(crate) fn close(name: &str) -> Vec<u8> {
    message(b'C', format!("S{name}\0").as_bytes())
}

pub(crate) fn execute() -> Vec<u8> {
    message(b'E', &[0; 5])
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

pub(crate) fn flush() -> Vec<u8> {
    message(b'H', b"")
}

pub(crate) fn sync() -> Vec<u8> {
    message(b'S', b"")
}

pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag][..], &length.to_be_bytes(), body].concat()
}
