//! A network that stands still in the middle of a handshake, until it is told.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::wait::PATIENCE;

/// A proxy for one connection.
#[derive(Debug)]
pub struct Pause {
    port: u16,
    held: Receiver<()>,
    released: Sender<()>,
}

impl Pause {
    /// Passes on to `port`, and back, but holds the piece behind the first
    /// `pieces` of the client.
    pub fn before(port: u16, pieces: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let own = listener.local_addr().expect("it has an address").port();
        let (holds, held) = channel();
        let (released, waits) = channel();
        thread::spawn(move || {
            let (client, _) = listener.accept().expect("one comes");
            let server = TcpStream::connect(("127.0.0.1", port)).expect("it accepts");
            let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || pass_on(back.0, back.1, |_| {}));
            pass_on(client, server, |piece| {
                if piece == pieces {
                    let _ = holds.send(());
                    let _ = waits.recv();
                }
            });
        });
        Self {
            port: own,
            held,
            released,
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until it holds something.
    pub fn wait_held(&self) {
        let held = self.held.recv_timeout(PATIENCE);
        held.expect("the client goes so far");
    }

    /// Lets everything pass from now on.
    pub fn release(&self) {
        // It is gone with its connection.
        let _ = self.released.send(());
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, before: impl Fn(usize)) {
    let mut bytes = [0; 16 * 1024];
    let mut pieces = 0;
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        before(pieces);
        pieces += 1;
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Write));
}
