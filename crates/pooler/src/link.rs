//! One end of a control link: whole frames and descriptors, both ways.
//!
//! A link is a unix stream socket that never blocks. Frames are parsed by
//! their length, because one `recvmsg` is not one message; descriptors are
//! queued as they arrive and taken by the number in the header of the frame
//! they travel with. Frames that cannot be written wait here.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::io::IoSlice;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use pgskein_pool::control::DESCRIPTORS_AT;
use pgskein_pool::legacy;

use crate::sys::descriptors;

/// One end of a control link.
///
/// Register its descriptor with mio for both directions. On a readable event
/// call [`Link::receive`] until it gives `None`; on a writable one, and after
/// sending, [`Link::flush`].
#[derive(Debug)]
pub(crate) struct Link {
    socket: UnixStream,
    /// Bytes of frames that are not whole yet.
    inbox: Vec<u8>,
    arrived: VecDeque<OwnedFd>,
    outbox: VecDeque<Outgoing>,
}

/// The other side is gone, or what it sent is no frame.
#[derive(Debug)]
pub(crate) enum LinkClosed {
    /// The stream ended.
    End,
    /// The socket failed.
    Io(io::Error),
    /// A frame longer than [`MAX_FRAME`] bytes or shorter than its header was
    /// announced, or its descriptors did not come.
    Garbled,
}

/// A whole frame and the descriptors that came with it.
pub(crate) type Received = (Vec<u8>, Vec<OwnedFd>);

/// A frame, or what is left of it, that waits to be written.
#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
    /// They go with the first byte.
    descriptors: Vec<OwnedFd>,
}

impl Link {
    /// Makes the two ends of a new link.
    ///
    /// # Errors
    ///
    /// The error of `socketpair(2)` or `fcntl(2)`.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Self::new(one)?, Self::new(other)?))
    }

    /// Takes a connected stream socket as a link.
    ///
    /// # Errors
    ///
    /// The error of `fcntl(2)`.
    pub(crate) fn new(socket: UnixStream) -> io::Result<Self> {
        Self::after(socket, Vec::new())
    }

    /// The same, when the first bytes of its frames were read already.
    ///
    /// # Errors
    ///
    /// The error of `fcntl(2)`.
    pub(crate) fn after(socket: UnixStream, inbox: Vec<u8>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            inbox,
            arrived: VecDeque::new(),
            outbox: VecDeque::new(),
        })
    }

    /// The link that another program has had in this process.
    pub(crate) fn inherited(
        socket: OwnedFd,
        inbox: Vec<u8>,
        outbox: Vec<(Vec<u8>, Vec<OwnedFd>)>,
    ) -> Self {
        let outbox = outbox.into_iter().map(|(bytes, descriptors)| Outgoing {
            bytes,
            written: 0,
            descriptors,
        });
        Self {
            socket: socket.into(),
            inbox,
            arrived: VecDeque::new(),
            outbox: outbox.collect(),
        }
    }

    /// What the next program needs to go on where this one stops.
    pub(crate) fn legacy(&self) -> legacy::Link {
        let left = |outgoing: &Outgoing| {
            let bytes = outgoing.bytes.get(outgoing.written..).unwrap_or_default();
            let descriptors = outgoing.descriptors.iter().map(AsRawFd::as_raw_fd);
            (bytes.to_vec(), descriptors.collect())
        };
        legacy::Link {
            socket: self.socket.as_raw_fd(),
            inbox: self.inbox.clone(),
            outbox: self.outbox.iter().map(left).collect(),
        }
    }

    /// Queues one encoded frame and the descriptors that travel with it, then
    /// writes what the socket takes.
    ///
    /// The number of descriptors is filled into the frame; they are duplicated
    /// first, the caller keeps its own. At most 253 can travel with one frame.
    ///
    /// # Errors
    ///
    /// The error of `dup(2)`, or of the socket: the link is then useless, and
    /// is shut down. What the other side has said before can still be received,
    /// and then the end.
    pub(crate) fn send(&mut self, frame: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.try_to_send(frame, descriptors).inspect_err(|_| {
            let _closed_already = self.socket.shutdown(Shutdown::Both);
        })
    }

    fn try_to_send(&mut self, frame: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut bytes = frame.to_vec();
        let count = u8::try_from(descriptors.len())
            .ok()
            .filter(|count| usize::from(*count) <= descriptors::MAX_DESCRIPTORS);
        match (bytes.get_mut(DESCRIPTORS_AT), count) {
            (Some(place), Some(count)) => *place = count,
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
        let descriptors = descriptors
            .iter()
            .map(BorrowedFd::try_clone_to_owned)
            .collect::<io::Result<_>>()?;
        self.outbox.push_back(Outgoing {
            bytes,
            written: 0,
            descriptors,
        });
        self.flush().map(|_| ())
    }

    /// Writes what the socket takes; true when nothing is left.
    ///
    /// # Errors
    ///
    /// The error of the socket: the link is then useless.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        while let Some(first) = self.outbox.front_mut() {
            match first.write(self.socket.as_fd()) {
                Ok(true) => drop(self.outbox.pop_front()),
                Ok(false) => {}
                Err(Errno::EAGAIN) => return Ok(false),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Whether everything that was sent is written.
    pub(crate) fn has_sent_all(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Takes the next whole frame and its descriptors; `None` when nothing
    /// more has come yet.
    ///
    /// The frame is as it was encoded, its length included.
    ///
    /// # Errors
    ///
    /// [`LinkClosed`] for everything that is not "nothing yet". Whole frames
    /// that came before the end are given out first.
    pub(crate) fn receive(&mut self) -> Result<Option<Received>, LinkClosed> {
        loop {
            if let Some(length) = self.whole_frame()? {
                return self.take(length).map(Some);
            }
            let mut scratch = [0; SCRATCH];
            match descriptors::receive(self.socket.as_fd(), &mut scratch, &mut self.arrived) {
                Ok(0) => return Err(LinkClosed::End),
                Ok(count) => self.inbox.extend(scratch.iter().take(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LinkClosed::Io(error)),
            }
        }
    }

    /// Length of the first frame of the inbox, if all of it is there.
    fn whole_frame(&self) -> Result<Option<usize>, LinkClosed> {
        let Some((length, _)) = self.inbox.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if !(MIN_FRAME..=MAX_FRAME).contains(&length) {
            return Err(LinkClosed::Garbled);
        }
        let total = length + 4;
        Ok((self.inbox.len() >= total).then_some(total))
    }

    fn take(&mut self, length: usize) -> Result<Received, LinkClosed> {
        let rest = self.inbox.split_off(length);
        let frame = std::mem::replace(&mut self.inbox, rest);
        let count = usize::from(*frame.get(DESCRIPTORS_AT).ok_or(LinkClosed::Garbled)?);
        if count > self.arrived.len() {
            return Err(LinkClosed::Garbled);
        }
        let descriptors = self.arrived.drain(..count).collect();
        Ok((frame, descriptors))
    }
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Outgoing {
    /// Writes once; true when nothing is left.
    fn write(&mut self, socket: BorrowedFd<'_>) -> nix::Result<bool> {
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

impl fmt::Display for LinkClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str("the other side closed the control link"),
            Self::Io(_) => f.write_str("the control link failed"),
            Self::Garbled => f.write_str("the control link carried no valid frame"),
        }
    }
}

impl std::error::Error for LinkClosed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::End | Self::Garbled => None,
        }
    }
}

/// Longest frame after its length field, in bytes: a configuration with all
/// its files has to fit.
pub(crate) const MAX_FRAME: usize = 64 * 1024 * 1024;

/// Version, kind and number of descriptors.
const MIN_FRAME: usize = 3;
const SCRATCH: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use pgskein_pool::control::ToWorker;

    use super::*;

    fn frame(message: &ToWorker) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    #[test]
    fn hears_the_last_words_of_one_that_cannot_be_told_anything() {
        let (mut one, mut other) = Link::pair().unwrap();
        one.send(&frame(&ToWorker::Exit), &[]).unwrap();
        drop(one);
        other
            .send(&frame(&ToWorker::StopAccepting), &[])
            .unwrap_err();
        let (bytes, _) = other.receive().unwrap().unwrap();
        assert_eq!(bytes, frame(&ToWorker::Exit));
        let end = other.receive().unwrap_err();
        assert!(matches!(end, LinkClosed::End), "{end}");
    }

    #[test]
    fn carries_frames_in_order_and_then_the_end() {
        let (mut one, mut other) = Link::pair().unwrap();
        one.send(&frame(&ToWorker::Exit), &[]).unwrap();
        one.send(&frame(&ToWorker::StopAccepting), &[]).unwrap();
        drop(one);
        for expected in [ToWorker::Exit, ToWorker::StopAccepting] {
            let (bytes, _) = other.receive().unwrap().unwrap();
            assert_eq!(ToWorker::decode(&bytes), Ok(expected));
        }
        assert!(matches!(other.receive(), Err(LinkClosed::End)));
    }

    #[test]
    fn carries_descriptors_with_their_frame() {
        let (mut one, mut other) = Link::pair().unwrap();
        let (mut file, copy) = UnixStream::pair().unwrap();
        one.send(&frame(&ToWorker::Exit), &[]).unwrap();
        one.send(&frame(&ToWorker::StopAccepting), &[copy.as_fd(); 3])
            .unwrap();
        let (_, none) = other.receive().unwrap().unwrap();
        assert!(none.is_empty());
        let (_, three) = other.receive().unwrap().unwrap();
        assert_eq!(three.len(), 3);
        file.write_all(b"x").unwrap();
        let mut byte = [0];
        let mut received = UnixStream::from(three.into_iter().next().unwrap());
        std::io::Read::read_exact(&mut received, &mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn keeps_what_the_socket_does_not_take() {
        let (mut one, mut other) = Link::pair().unwrap();
        let large = ToWorker::Prepare {
            version: 1,
            sources: vec![7; 3_000_000],
        };
        one.send(&frame(&large), &[]).unwrap();
        one.send(&frame(&ToWorker::Exit), &[]).unwrap();
        assert!(!one.outbox.is_empty());
        let mut received = Vec::new();
        while received.len() < 2 {
            one.flush().unwrap();
            if let Some((bytes, _)) = other.receive().unwrap() {
                received.push(ToWorker::decode(&bytes).unwrap());
            }
        }
        assert_eq!(received, [large, ToWorker::Exit]);
        assert!(one.outbox.is_empty());
    }

    #[test]
    fn rejects_an_oversized_frame_before_its_body_arrives() {
        let (mut raw, socket) = UnixStream::pair().unwrap();
        let mut link = Link::new(socket).unwrap();
        raw.write_all(b"\x7f\xff\xff\xff").unwrap();
        assert!(matches!(link.receive(), Err(LinkClosed::Garbled)));
    }

    #[test]
    fn rejects_a_frame_that_claims_descriptors_it_does_not_bring() {
        let (mut raw, socket) = UnixStream::pair().unwrap();
        let mut link = Link::new(socket).unwrap();
        raw.write_all(b"\0\0\0\x03\x01\x4a\x01").unwrap();
        assert!(matches!(link.receive(), Err(LinkClosed::Garbled)));
    }

    #[test]
    fn reports_the_reset_of_an_end_that_died_with_unread_bytes_as_closed() {
        let (mut one, other) = Link::pair().unwrap();
        one.send(&frame(&ToWorker::Exit), &[]).unwrap();
        drop(other);
        assert!(one.receive().is_err());
    }
}
