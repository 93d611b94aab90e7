//! Pipe: one end of the stream that handoffs go over.
//!
//! Frames are parsed by their length, because one read is not one frame.
//! Descriptors come in batches, one for each frame that has some, and in the
//! order of those frames. What the socket does not take waits here.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::sys::descriptors::receive_message;

/// One end of the stream.
#[derive(Debug)]
pub(super) struct Pipe {
    socket: UnixStream,
    /// Bytes of which no whole frame was taken yet.
    pub inbox: Vec<u8>,
    arrived: VecDeque<Batch>,
    outbox: VecDeque<Outgoing>,
    gate: Gate,
}

/// What may go out of the outbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Gate {
    /// The first frame.
    Hello,
    /// Nothing: the first frame was not answered yet.
    Shut,
    /// Everything.
    Open,
    /// Nothing: nobody would read it.
    Broken,
}

/// The descriptors of one frame.
#[derive(Debug)]
struct Batch {
    descriptors: Vec<OwnedFd>,
    /// For some of them there was no room here.
    lost: bool,
}

/// A frame, or what is left of it, that waits to be written.
#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
    /// They go with the first byte.
    descriptors: Vec<OwnedFd>,
    /// The number of the offer that it is.
    offer: Option<u32>,
}

/// What a read gave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Read {
    /// Something.
    Some,
    /// Nothing now.
    Nothing,
    /// The other side has gone.
    End,
}

/// Why descriptors are not what a frame says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NotThere {
    /// There was no room for all of them.
    Lost,
    /// Others, or none, were sent.
    Wrong,
}

impl Pipe {
    /// Its socket.
    pub(super) fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// The end of a connected socket over which `hello` goes out first, and
    /// nothing else before [`Pipe::open`].
    pub(super) fn calling(socket: UnixStream, hello: Vec<u8>) -> Self {
        let mut pipe = Self::new(socket);
        pipe.gate = Gate::Hello;
        pipe.outbox.push_back(Outgoing::new(hello));
        pipe
    }

    /// The end of a socket over which the other side has called.
    pub(super) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            inbox: Vec::new(),
            arrived: VecDeque::new(),
            outbox: VecDeque::new(),
            gate: Gate::Open,
        }
    }

    /// Registers for both directions, once and for all.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut SourceFd(&self.socket.as_raw_fd()), token, interest)
    }

    /// Takes the socket out of the event loop, before it is closed.
    pub(super) fn deregister(&self, registry: &Registry) {
        // A socket that was never registered has nothing to be taken out.
        let _ = registry.deregister(&mut SourceFd(&self.socket.as_raw_fd()));
    }

    /// Everything may go out from now on.
    pub(super) fn open(&mut self) {
        if self.gate == Gate::Shut {
            self.gate = Gate::Open;
        }
    }

    /// Queues a frame; [`Pipe::flush`] writes it.
    pub(super) fn push(&mut self, bytes: Vec<u8>) {
        self.outbox.push_back(Outgoing::new(bytes));
    }

    /// Queues an offer with what goes along; [`Pipe::flush`] writes it.
    pub(super) fn push_offer(&mut self, number: u32, bytes: Vec<u8>, descriptors: Vec<OwnedFd>) {
        self.outbox.push_back(Outgoing {
            descriptors,
            offer: Some(number),
            ..Outgoing::new(bytes)
        });
    }

    /// Takes an offer back; false if a byte of it was written already.
    pub(super) fn unsend(&mut self, number: u32) -> bool {
        let unsent = |out: &Outgoing| out.offer == Some(number) && out.written == 0;
        match self.outbox.iter().position(unsent) {
            Some(place) => self.outbox.remove(place).is_some(),
            None => false,
        }
    }

    /// Whether an offer was written to its last byte.
    pub(super) fn was_sent(&self, number: u32) -> bool {
        self.outbox.iter().all(|out| out.offer != Some(number))
    }

    /// Writes what the socket takes.
    ///
    /// If the other side has gone nothing is written any more: what it has said
    /// before is still to be read, and then its end.
    pub(super) fn flush(&mut self) {
        while !matches!(self.gate, Gate::Shut | Gate::Broken)
            && let Some(first) = self.outbox.front_mut()
        {
            match first.write(&self.socket) {
                Ok(true) => {
                    self.outbox.pop_front();
                    if self.gate == Gate::Hello {
                        self.gate = Gate::Shut;
                    }
                }
                Ok(false) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                // Of these nobody says when they are over: the sweep tries again.
                Err(Errno::ETOOMANYREFS | Errno::ENOBUFS | Errno::ENOMEM) => return,
                Err(_) => {
                    self.gate = Gate::Broken;
                    // One that is not there does not need to be told.
                    let _ = self.socket.shutdown(Shutdown::Write);
                }
            }
        }
    }

    /// Whether nothing waits to be written.
    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.is_empty() || self.gate == Gate::Broken
    }

    /// Reads once, behind what the inbox has.
    ///
    /// # Errors
    ///
    /// The error of the socket: the stream is then useless.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> io::Result<Read> {
        let message = match receive_message(self.socket.as_fd(), scratch) {
            Ok(message) => message,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Read::Nothing),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Read::Some),
            Err(error) => return Err(error),
        };
        if message.lost || !message.descriptors.is_empty() {
            self.arrived.push_back(Batch {
                descriptors: message.descriptors,
                lost: message.lost,
            });
        }
        let bytes = scratch.get(..message.length).unwrap_or_default();
        self.inbox.extend_from_slice(bytes);
        Ok(if bytes.is_empty() {
            Read::End
        } else {
            Read::Some
        })
    }

    /// The descriptors of the frame that was taken from the inbox.
    ///
    /// # Errors
    ///
    /// [`NotThere`]; after [`NotThere::Wrong`] the stream is useless.
    pub(super) fn descriptors(&mut self, count: u8) -> Result<Vec<OwnedFd>, NotThere> {
        if count == 0 {
            return Ok(Vec::new());
        }
        match self.arrived.pop_front() {
            Some(batch) if batch.lost => Err(NotThere::Lost),
            Some(batch) if batch.descriptors.len() == usize::from(count) => Ok(batch.descriptors),
            _ => Err(NotThere::Wrong),
        }
    }
}

impl Outgoing {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            written: 0,
            descriptors: Vec::new(),
            offer: None,
        }
    }

    /// Writes once; true when nothing is left.
    fn write(&mut self, socket: &UnixStream) -> nix::Result<bool> {
        let rest = self.bytes.get(self.written..).unwrap_or_default();
        let raw: Vec<RawFd> = self.descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[] } else { &rights[..] };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let slices = [IoSlice::new(rest)];
        self.written += sendmsg::<()>(socket.as_raw_fd(), &slices, control, flags, None)?;
        self.descriptors.clear();
        Ok(self.written >= self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Pipe, Pipe) {
        let (one, other) = UnixStream::pair().unwrap();
        (Pipe::new(one), Pipe::new(other))
    }

    fn descriptor() -> OwnedFd {
        UnixStream::pair().unwrap().0.into()
    }

    fn read_all(pipe: &mut Pipe) -> Read {
        let mut scratch = [0; 64];
        loop {
            match pipe.read(&mut scratch).unwrap() {
                Read::Some => {}
                other => return other,
            }
        }
    }

    #[test]
    fn carries_descriptors_with_their_frames() {
        let (mut one, mut other) = pair();
        one.push_offer(1, b"aa".to_vec(), vec![descriptor()]);
        one.push(b"bb".to_vec());
        one.push_offer(1, b"cc".to_vec(), vec![descriptor(), descriptor()]);
        one.flush();
        assert!(one.is_flushed());
        assert_eq!(read_all(&mut other), Read::Nothing);
        assert_eq!(other.inbox, b"aabbcc");
        assert_eq!(other.descriptors(1).unwrap().len(), 1);
        assert_eq!(other.descriptors(0).unwrap().len(), 0);
        assert_eq!(other.descriptors(2).unwrap().len(), 2);
        assert_eq!(other.descriptors(1).unwrap_err(), NotThere::Wrong);
        drop(one);
        assert_eq!(read_all(&mut other), Read::End);
    }

    #[test]
    fn rejects_another_number_of_descriptors_than_its_frame_says() {
        let (mut one, mut other) = pair();
        one.push_offer(1, b"aa".to_vec(), vec![descriptor()]);
        one.flush();
        read_all(&mut other);
        assert_eq!(other.descriptors(2).unwrap_err(), NotThere::Wrong);
    }

    #[test]
    fn holds_everything_behind_the_first_frame_back_until_it_is_opened() {
        let (one, other) = UnixStream::pair().unwrap();
        let mut one = Pipe::calling(one, b"hello".to_vec());
        let mut other = Pipe::new(other);
        one.push_offer(1, b"aa".to_vec(), vec![descriptor()]);
        one.flush();
        read_all(&mut other);
        assert_eq!(other.inbox, b"hello");
        one.flush();
        read_all(&mut other);
        assert_eq!(other.inbox, b"hello");
        one.open();
        one.flush();
        read_all(&mut other);
        assert_eq!(other.inbox, b"helloaa");
    }

    #[test]
    fn takes_back_an_offer_of_which_nothing_was_written() {
        let (one, other) = UnixStream::pair().unwrap();
        let mut one = Pipe::calling(one, b"hello".to_vec());
        let mut other = Pipe::new(other);
        one.push_offer(1, b"aa".to_vec(), vec![descriptor()]);
        one.push_offer(2, vec![7; 1 << 20], vec![descriptor()]);
        assert!(one.unsend(1));
        one.flush();
        one.open();
        one.flush();
        assert!(!one.unsend(2), "a part of it is written");
        assert!(!one.was_sent(2));
        while other.inbox.len() < 5 + (1 << 20) {
            read_all(&mut other);
            one.flush();
        }
        assert!(one.was_sent(2));
        assert!(!one.unsend(2));
    }

    #[test]
    fn reads_what_was_said_before_the_other_side_has_gone() {
        let (mut one, mut other) = pair();
        other.push(b"unread".to_vec());
        other.flush();
        one.push_offer(1, b"aa".to_vec(), vec![descriptor()]);
        one.flush();
        drop(one);
        other.push(b"bb".to_vec());
        other.flush();
        assert!(other.is_flushed());
        let mut scratch = [0; 64];
        assert_eq!(other.read(&mut scratch).unwrap(), Read::Some);
        assert_eq!(other.inbox, b"aa");
        assert_eq!(other.descriptors(1).unwrap().len(), 1);
        let end = other.read(&mut scratch);
        assert!(end.is_err() || end.unwrap() == Read::End);
    }

    #[test]
    fn sends_the_rest_of_a_long_frame_without_its_descriptors_again() {
        let (mut one, mut other) = pair();
        one.push_offer(1, vec![7; 1 << 20], vec![descriptor()]);
        one.flush();
        assert!(!one.is_flushed());
        while other.inbox.len() < 1 << 20 {
            read_all(&mut other);
            one.flush();
        }
        assert_eq!(other.descriptors(1).unwrap().len(), 1);
        assert!(other.arrived.is_empty());
    }
}
