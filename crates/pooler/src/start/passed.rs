//! Sockets that the service manager has opened for the group.
//!
//! They take the place of those that the configuration names: TCP sockets that
//! of `listen_addr`, a unix socket that of `unix_socket_dir`. They stay open
//! there, so whoever connects while the group is restarted waits in their queue.
//!
//! One TCP socket is one queue, from which all workers accept. Several of one
//! address, which the service manager opens with SO_REUSEPORT, are dealt to the
//! slots.
//!
//! Source: sd_listen_fds(3), systemd.socket(5).

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::AcceptConn;
use pgskein_config::Settings;
use socket2::{Domain, SockRef, Type};

use super::error::StartError;
use crate::sys::descriptors::PassedDescriptor;
use crate::sys::socket::defer_accept;

/// Sockets that the service manager has opened for the group.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// By address, in the order in which they came.
    tcp: BTreeMap<SocketAddr, Vec<TcpListener>>,
    unix: Option<UnixListener>,
}

impl Passed {
    /// Finds out what these are; none of them blocks from then on.
    ///
    /// # Errors
    ///
    /// [`StartError::Passed`] for one that clients cannot come from, or for a
    /// second unix socket.
    pub(crate) fn sort(descriptors: Vec<PassedDescriptor>) -> Result<Self, StartError> {
        let mut sorted = Self::default();
        for PassedDescriptor { fd, name } in descriptors {
            let taken = sorted.take(fd);
            taken.map_err(|cause| StartError::Passed { name, cause })?;
        }
        Ok(sorted)
    }

    pub(crate) fn has_tcp(&self) -> bool {
        !self.tcp.is_empty()
    }

    /// Those at addresses where nobody comes who is a client.
    pub(crate) fn take_apart(&mut self, addresses: &[SocketAddr]) -> Vec<TcpListener> {
        let sockets = addresses.iter().filter_map(|it| self.tcp.remove(it));
        sockets.flatten().collect()
    }

    pub(crate) fn take_unix(&mut self) -> Option<UnixListener> {
        self.unix.take()
    }

    /// TCP listeners of all slots, those of one slot together: every slot has
    /// one of each address, and every socket is in some slot.
    ///
    /// # Errors
    ///
    /// [`StartError::System`].
    pub(crate) fn deal(
        &self,
        settings: &Settings,
        slots: usize,
    ) -> Result<Vec<Vec<TcpListener>>, StartError> {
        let mut dealt: Vec<Vec<TcpListener>> = (0..slots).map(|_| Vec::new()).collect();
        for (address, sockets) in &self.tcp {
            if address.port() != settings.listen_port {
                log::warn!(
                    "{address} was opened by the service manager, but listen_port is {}",
                    settings.listen_port
                );
            }
            for turn in 0..slots.max(sockets.len()) {
                let (Some(slot), Some(socket)) = (
                    dealt.get_mut(turn % slots.max(1)),
                    sockets.get(turn % sockets.len().max(1)),
                ) else {
                    continue;
                };
                let failed = StartError::system("share a socket of the service manager");
                slot.push(socket.try_clone().map_err(failed)?);
            }
            if settings.tcp_defer_accept {
                for socket in sockets {
                    let failed = StartError::system("set TCP_DEFER_ACCEPT");
                    defer_accept(socket.as_fd()).map_err(failed)?;
                }
            }
        }
        Ok(dealt)
    }

    fn take(&mut self, fd: OwnedFd) -> io::Result<()> {
        let socket = SockRef::from(&fd);
        let domain = socket.domain()?;
        let known = [Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&domain);
        if !known || socket.r#type()? != Type::STREAM {
            return Err(io::Error::other(
                "it is neither of TCP nor a unix stream socket",
            ));
        }
        if !getsockopt(&fd, AcceptConn)? {
            return Err(io::Error::other("it does not listen"));
        }
        socket.set_nonblocking(true)?;
        if domain != Domain::UNIX {
            let socket = TcpListener::from(fd);
            let address = socket.local_addr()?;
            self.tcp.entry(address).or_default().push(socket);
            return Ok(());
        }
        if self.unix.replace(fd.into()).is_some() {
            return Err(io::Error::other("there is another unix socket"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn passed(socket: impl Into<OwnedFd>) -> PassedDescriptor {
        PassedDescriptor {
            fd: socket.into(),
            name: "it".to_owned(),
        }
    }

    fn tcp(count: usize) -> Passed {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let sockets = (0..count).map(|_| passed(socket.try_clone().unwrap()));
        Passed::sort(sockets.collect()).unwrap()
    }

    #[test]
    fn deals_every_socket_to_some_slot_and_some_socket_to_every_slot() {
        for (sockets, slots, expected) in [
            (1, 3, vec![1, 1, 1]),
            (3, 3, vec![1, 1, 1]),
            (2, 3, vec![1, 1, 1]),
            (5, 2, vec![3, 2]),
        ] {
            let dealt = tcp(sockets).deal(&Settings::default(), slots).unwrap();
            let counts: Vec<usize> = dealt.iter().map(Vec::len).collect();
            assert_eq!(counts, expected, "{sockets} sockets");
        }
    }

    #[test]
    fn takes_sockets_for_cancels_from_those_for_clients() {
        let mut passed = tcp(2);
        let address = *passed.tcp.keys().next().unwrap();
        let other = SocketAddr::from(([127, 0, 0, 9], 1));
        assert!(passed.take_apart(&[other]).is_empty());
        assert_eq!(passed.take_apart(&[other, address]).len(), 2);
        assert!(!passed.has_tcp());
    }

    #[test]
    fn rejects_what_clients_cannot_come_from() {
        let (one, _other) = UnixStream::pair().unwrap();
        let error = Passed::sort(vec![passed(one)]).unwrap_err();
        assert_eq!(
            crate::chain(&error),
            "cannot use the socket it of the service manager: it does not listen"
        );
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(Passed::sort(vec![passed(datagrams)]).is_err());
    }
}
