//! The TCP listeners: one for each slot and address.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use pgskein_config::{ListenAddress, Settings};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::error::StartError;
use crate::sys::socket::defer_accept;

/// Listeners of all slots, those of one slot together.
///
/// They share each address by SO_REUSEPORT and do not block. With `orphaned`
/// workers of a dead supervisor may still listen there, who keep their clients.
///
/// # Errors
///
/// [`StartError::Resolve`], [`StartError::AddressInUse`] or
/// [`StartError::Listen`].
pub(crate) fn listen(
    settings: &Settings,
    slots: usize,
    orphaned: bool,
) -> Result<Vec<Vec<TcpListener>>, StartError> {
    let addresses = addresses(&settings.listen_addr, settings.listen_port)?;
    if !settings.so_reuseport && !orphaned {
        for address in &addresses {
            probe(address)?;
        }
    }
    let mut listeners: Vec<Vec<TcpListener>> = (0..slots).map(|_| Vec::new()).collect();
    for address in &addresses {
        for listeners in &mut listeners {
            match bind(address.socket, settings) {
                Ok(listener) => listeners.push(listener),
                Err(error) if address.is_absent(&error) => break,
                Err(cause) => return Err(address.failed(cause)),
            }
        }
    }
    Ok(listeners)
}

/// Listeners for the cancel requests of other hosts, which all workers share.
///
/// With `orphaned` workers of a dead supervisor may still listen there. Nobody
/// else may, not even another group of this port: it would get what is meant
/// for this one.
///
/// # Errors
///
/// As [`listen`].
pub(crate) fn listen_for_cancels(
    settings: &Settings,
    orphaned: bool,
) -> Result<Vec<TcpListener>, StartError> {
    let listen = |address: &Address| {
        if !orphaned {
            probe(address)?;
        }
        match bind(address.socket, settings) {
            Err(error) if address.is_absent(&error) => Ok(None),
            bound => bound.map(Some).map_err(|cause| address.failed(cause)),
        }
    };
    let addresses = addresses_of(settings.peer_listen.as_ref())?;
    addresses
        .iter()
        .filter_map(|address| listen(address).transpose())
        .collect()
}

/// Listeners for HTTP, where that is wanted.
///
/// With `orphaned` workers of a dead supervisor its HTTP process may still listen
/// there; of a group that has just died as a whole it has a moment to notice.
///
/// # Errors
///
/// As [`listen`].
pub(crate) fn listen_for_http(
    settings: &Settings,
    orphaned: bool,
) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for address in addresses_of(settings.http_listen.as_ref())? {
        if !orphaned {
            probe_for_a_moment(&address)?;
        }
        let bound = bind_shared(address.socket).and_then(|socket| {
            socket.listen(HTTP_BACKLOG)?;
            Ok(socket.into())
        });
        match bound {
            Ok(listener) => listeners.push(listener),
            Err(error) if address.is_absent(&error) => {}
            Err(cause) => return Err(address.failed(cause)),
        }
    }
    Ok(listeners)
}

/// The addresses of a place where somebody listens, if it is set.
///
/// # Errors
///
/// [`StartError::Resolve`].
pub(crate) fn sockets(place: Option<&ListenAddress>) -> Result<Vec<SocketAddr>, StartError> {
    let addresses = addresses_of(place)?.into_iter();
    Ok(addresses.map(|address| address.socket).collect())
}

/// More listeners, for further slots: each list is bound like these, which
/// listen, and does not listen yet. Nobody is sent to them before that. Where
/// the address cannot be shared, the sockets are.
///
/// # Errors
///
/// [`StartError::Listen`].
pub(crate) fn bind_like(
    listeners: &[TcpListener],
    slots: usize,
    settings: &Settings,
) -> Result<Vec<Vec<TcpListener>>, StartError> {
    let like = |listener: &TcpListener| {
        let address = listener
            .local_addr()
            .map_err(StartError::system("ask where a socket listens"))?;
        let bound = match bind_only(address, settings) {
            // The service manager has made it, and keeps others from sharing the
            // address.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => listener.try_clone(),
            bound => bound.map(TcpListener::from),
        };
        bound.map_err(|cause| StartError::Listen { address, cause })
    };
    let bound = (0..slots).map(|_| listeners.iter().map(like).collect());
    bound.collect()
}

/// Has a socket of [`bind_like`] listen.
///
/// # Errors
///
/// The error of `listen(2)`.
pub(crate) fn begin(listener: &TcpListener, settings: &Settings) -> io::Result<()> {
    SockRef::from(listener).listen(backlog(settings))
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Address {
    socket: SocketAddr,
    /// It stands for one family of `*`, which this host may not have.
    optional: bool,
}

impl Address {
    fn failed(&self, cause: io::Error) -> StartError {
        let address = self.socket;
        if cause.kind() == io::ErrorKind::AddrInUse {
            StartError::AddressInUse { address }
        } else {
            StartError::Listen { address, cause }
        }
    }

    /// This host does not have the family of the address.
    fn is_absent(&self, error: &io::Error) -> bool {
        let no_family = error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT);
        self.optional && (no_family || error.kind() == io::ErrorKind::AddrNotAvailable)
    }
}

fn addresses_of(place: Option<&ListenAddress>) -> Result<BTreeSet<Address>, StartError> {
    match place {
        Some(place) => addresses(std::slice::from_ref(&place.host), place.port),
        None => Ok(BTreeSet::new()),
    }
}

fn addresses(names: &[String], port: u16) -> Result<BTreeSet<Address>, StartError> {
    let mut addresses = BTreeSet::new();
    for name in names {
        if name == "*" {
            let both: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
            addresses.extend(both.map(|ip| Address {
                socket: SocketAddr::new(ip, port),
                optional: true,
            }));
            continue;
        }
        // An IPv6 address may stand in brackets, as in a URL.
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let resolved = (bare, port).to_socket_addrs();
        let resolved = resolved.map_err(|cause| StartError::Resolve {
            name: name.clone(),
            cause,
        })?;
        addresses.extend(resolved.map(|socket| Address {
            socket,
            optional: false,
        }));
    }
    Ok(addresses)
}

/// Fails when somebody listens on the address, which a socket with
/// SO_REUSEPORT would not notice if it is of the same user.
fn probe(address: &Address) -> Result<(), StartError> {
    let bound = socket(address.socket).and_then(|socket| socket.bind(&address.socket.into()));
    match bound {
        Err(error) if !address.is_absent(&error) => Err(address.failed(error)),
        _ => Ok(()),
    }
}

fn probe_for_a_moment(address: &Address) -> Result<(), StartError> {
    for _ in 0..PROBES {
        if probe(address).is_ok() {
            return Ok(());
        }
        thread::sleep(PROBE_PAUSE);
    }
    probe(address)
}

fn bind(address: SocketAddr, settings: &Settings) -> io::Result<TcpListener> {
    let socket = bind_only(address, settings)?;
    socket.listen(backlog(settings))?;
    Ok(socket.into())
}

fn bind_only(address: SocketAddr, settings: &Settings) -> io::Result<Socket> {
    let socket = bind_shared(address)?;
    if settings.tcp_defer_accept {
        defer_accept(socket.as_fd())?;
    }
    Ok(socket)
}

fn bind_shared(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn backlog(settings: &Settings) -> i32 {
    i32::try_from(settings.listen_backlog).unwrap_or(i32::MAX)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Connections of an earlier process that are not forgotten yet do not
    // keep the address; somebody who listens does.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Connections that the kernel queues until the HTTP process accepts them.
const HTTP_BACKLOG: i32 = 128;

/// How often, and with which pauses, it is looked whether an address is free.
const PROBES: u32 = 20;
const PROBE_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(names: &[&str], port: u16) -> Settings {
        Settings {
            listen_addr: names.iter().map(ToString::to_string).collect(),
            listen_port: port,
            ..Settings::default()
        }
    }

    fn free_port() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    }

    #[test]
    fn binds_each_address_once_for_each_slot() {
        let listeners = listen(
            &settings(&["127.0.0.1", "127.0.0.1"], free_port()),
            3,
            false,
        )
        .unwrap();
        let counts: Vec<usize> = listeners.iter().map(Vec::len).collect();
        assert_eq!(counts, [1, 1, 1]);
    }

    #[test]
    fn binds_both_families_of_a_star() {
        let addresses = addresses(&["*".to_owned()], 5).unwrap();
        let names: Vec<String> = addresses.iter().map(|a| a.socket.to_string()).collect();
        assert_eq!(names, ["0.0.0.0:5", "[::]:5"]);
    }

    #[test]
    fn rejects_an_address_in_use_even_by_a_group_of_the_same_user() {
        let port = free_port();
        let _first = listen(&settings(&["127.0.0.1"], port), 2, false).unwrap();
        let error = listen(&settings(&["127.0.0.1"], port), 2, false).unwrap_err();
        assert!(matches!(error, StartError::AddressInUse { .. }), "{error}");
        let shared = Settings {
            so_reuseport: true,
            ..settings(&["127.0.0.1"], port)
        };
        assert!(listen(&shared, 1, false).is_ok());
        assert!(listen(&settings(&["127.0.0.1"], port), 2, true).is_ok());
    }

    #[test]
    fn binds_for_further_slots_where_nobody_is_sent_before_they_listen() {
        let settings = settings(&["127.0.0.1"], free_port());
        let first = listen(&settings, 1, false).unwrap();
        let more = bind_like(&first[0], 2, &settings).unwrap();
        assert_eq!(more.len(), 2);
        let address = first[0][0].local_addr().unwrap();
        let connect = || std::net::TcpStream::connect(address).unwrap();
        let _all_to_the_first: Vec<_> = (0..20).map(|_| connect()).collect();
        assert!((0..20).all(|_| first[0][0].accept().is_ok()));
        begin(&more[0][0], &settings).unwrap();
        assert_eq!(more[0][0].local_addr().unwrap(), address);
    }

    #[test]
    fn shares_no_address_for_cancels_but_with_orphans() {
        let port = free_port();
        let host = "127.0.0.1".to_owned();
        let settings = Settings {
            peer_listen: Some(pgskein_config::ListenAddress { host, port }),
            so_reuseport: true,
            ..settings(&["127.0.0.1"], port)
        };
        let first = listen_for_cancels(&settings, false).unwrap();
        assert_eq!(first.len(), 1);
        let error = listen_for_cancels(&settings, false).unwrap_err();
        assert!(matches!(error, StartError::AddressInUse { .. }), "{error}");
        assert!(listen_for_cancels(&settings, true).is_ok());
        assert!(
            listen_for_cancels(&Settings::default(), false)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn names_what_cannot_be_resolved() {
        let error = listen(&settings(&["no.such.host.invalid"], 1), 1, false).unwrap_err();
        assert_eq!(error.to_string(), "cannot resolve no.such.host.invalid");
    }

    #[test]
    fn makes_no_listener_without_addresses() {
        let listeners = listen(&settings(&[], 1), 2, false).unwrap();
        assert_eq!(listeners.iter().map(Vec::len).sum::<usize>(), 0);
    }
}
