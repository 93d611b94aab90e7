//! A network that takes its time: a proxy that delays every byte.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::wait::Ticker;

/// A proxy in a thread of its own, until it goes out of scope.
#[derive(Debug)]
pub struct Delay {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Delay {
    /// Passes on to `port`, and back, what comes, each `delay` later.
    pub fn before(port: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let own = listener.local_addr().expect("it has an address").port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || pass_on(&listener, port, delay, &stopped));
        Self {
            port: own,
            stop,
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// One direction of one connection.
struct Way {
    from: usize,
    to: usize,
    /// When what is to be written; nothing at all is the end.
    queue: VecDeque<(Instant, Vec<u8>)>,
    readable: bool,
    ended: bool,
}

fn pass_on(listener: &TcpListener, port: u16, delay: Duration, stop: &AtomicBool) {
    listener.set_nonblocking(true).expect("it can be set");
    let mut streams: Vec<TcpStream> = Vec::new();
    let mut ways: Vec<Way> = Vec::new();
    let mut beat = Ticker::every(Duration::from_millis(1));
    while !stop.load(Ordering::Relaxed) {
        beat.tick();
        look(&streams, &mut ways);
        while let Ok((client, _)) = listener.accept() {
            let server = TcpStream::connect(("127.0.0.1", port)).expect("it accepts");
            for stream in [client, server] {
                stream.set_nonblocking(true).expect("it can be set");
                stream.set_nodelay(true).expect("it can be set");
                streams.push(stream);
            }
            let (client, server) = (streams.len() - 2, streams.len() - 1);
            ways.extend([(client, server), (server, client)].map(|(from, to)| Way {
                from,
                to,
                queue: VecDeque::new(),
                readable: false,
                ended: false,
            }));
        }
        for way in &mut ways {
            way.turn(&streams, delay);
        }
    }
}

/// Looks who has something to read.
fn look(streams: &[TcpStream], ways: &mut [Way]) {
    let mut reading: Vec<&mut Way> = ways.iter_mut().filter(|way| !way.ended).collect();
    let fds = reading.iter().map(|way| streams[way.from].as_fd());
    let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    poll(&mut fds, PollTimeout::ZERO).expect("sockets can be looked at");
    for (way, fd) in reading.iter_mut().zip(fds) {
        way.readable = fd.any().unwrap_or(false);
    }
}

impl Way {
    fn turn(&mut self, streams: &[TcpStream], delay: Duration) {
        let now = Instant::now();
        let mut bytes = [0; 4096];
        while self.readable && !self.ended {
            match (&streams[self.from]).read(&mut bytes) {
                Ok(count) => {
                    self.ended = count == 0;
                    self.queue.push_back((now + delay, bytes[..count].to_vec()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.ended = true;
                    self.queue.push_back((now + delay, Vec::new()));
                }
            }
        }
        while self.queue.front().is_some_and(|(at, _)| *at <= now) {
            let (_, bytes) = self.queue.pop_front().expect("there is one");
            if bytes.is_empty() {
                drop(streams[self.to].shutdown(Shutdown::Write));
            } else {
                // Little is on its way; one that is gone reads no more.
                drop((&streams[self.to]).write_all(&bytes));
            }
        }
    }
}
