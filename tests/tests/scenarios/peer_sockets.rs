//! The sockets that processes of a group have for each other.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;

use crate::harness::{PATIENCE, Pooler, Postgres};

#[test]
fn nobody_of_another_user_is_listened_to() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2");
    if !pooler.account().is_switched() {
        // There is no other user to be.
        return;
    }
    let client = pooler.connect();
    let query = client.start_long_query();
    let folder = fs::read_dir(pooler.runtime_folder()).unwrap();
    let sockets: Vec<_> = folder
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_socket())
        .collect();
    assert!(sockets.len() >= 2, "one for each worker: {sockets:?}");
    for socket in sockets {
        // Root may open it, and is not who the pooler runs as.
        let mut stream = UnixStream::connect(socket.path()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        drop(stream.write_all(&client.cancel_packet()));
        let mut answer = Vec::new();
        // It may be reset with what it was sent.
        drop(stream.read_to_end(&mut answer));
        assert_eq!(answer, b"", "{socket:?}");
    }
    for worker in 1..=2 {
        pooler.wait_logged(&format!(
            "worker {worker} WARN|refused a peer of another user"
        ));
    }
    client.cancel();
    assert_eq!(query.wait().unwrap_err().0, "57014");
    assert_eq!(client.value("select 1"), "1");
}
