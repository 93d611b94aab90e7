//! Names of the hosts that clients come from, for HBA lines that give names.
//!
//! The name of an address counts if it leads back to the address. Threads find
//! both out, for no client whose line does not depend on it, and it is kept for
//! `dns_max_ttl`, or `dns_nxdomain_ttl` where there is none. Whoever waits when
//! no name server answers is closed at `client_login_timeout`, and delays nobody
//! who needs no name.
//!
//! Source: PostgreSQL documentation, "The pg_hba.conf File".

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use pgskein_config::{Config, HostName, Interfaces};
use pgskein_pool::desk::Asked;
use pgskein_pool::line::Line;
use pgskein_pool::slab::ClientId;

use super::Worker;
use super::chores::{Chore, HOST_THREADS};
use super::client::Client;
use super::denied::Denied;
use super::login::Step;
use super::reason::Reason;

/// What is known of the names of clients' hosts, and of our own addresses.
#[derive(Debug)]
pub(super) struct HostNames {
    known: HashMap<IpAddr, Known>,
    /// Who waits for the name of an address.
    line: Line<IpAddr, ClientId>,
    /// Our addresses, if they count and can be read.
    interfaces: Option<Interfaces>,
}

/// The name of the host of a client.
#[derive(Clone, Debug, Default)]
pub(super) enum Host {
    /// It was not looked up.
    #[default]
    Unknown,
    /// It has none that leads back to it.
    Nameless,
    /// It has this one.
    Named(Box<str>),
}

#[derive(Debug)]
struct Known {
    until: Instant,
    host: Host,
}

impl Host {
    /// The name for the lines of the HBA file.
    pub(super) fn name(&self) -> HostName<'_> {
        match self {
            Self::Unknown => HostName::Unknown,
            Self::Nameless => HostName::Nameless,
            Self::Named(name) => HostName::Named(name),
        }
    }
}

impl HostNames {
    /// Knows no name yet.
    pub(super) fn new(config: &Config) -> Self {
        let mut names = Self {
            known: HashMap::new(),
            line: Line::new(HOST_THREADS, ROOM),
            interfaces: None,
        };
        names.reconfigure(config);
        names
    }

    /// Follows a new configuration: names are looked up again, and so are the
    /// addresses of this host, if they count.
    pub(super) fn reconfigure(&mut self, config: &Config) {
        self.known.clear();
        self.interfaces = match config.hba.wants_interfaces() {
            true => own_interfaces(),
            false => None,
        };
    }

    /// The addresses of this host, if they count and can be read.
    pub(super) fn interfaces(&self) -> Option<&Interfaces> {
        self.interfaces.as_ref()
    }

    fn find(&self, address: IpAddr, now: Instant) -> Option<&Host> {
        let known = self.known.get(&address);
        known
            .filter(|known| known.until > now)
            .map(|known| &known.host)
    }

    fn keep(&mut self, address: IpAddr, host: Host, until: Instant, now: Instant) {
        if self.known.len() >= KNOWN_MAX {
            self.known.retain(|_, known| known.until > now);
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(address, Known { until, host });
    }
}

impl Worker {
    /// Finds the name of the host of a client, which decides how it may come in;
    /// false if the client has to wait for it.
    ///
    /// # Errors
    ///
    /// [`Denied::NotLookedUp`] when too many are being looked up.
    pub(super) fn find_host(&mut self, id: ClientId, address: IpAddr) -> Result<bool, Reason> {
        let address = address.to_canonical();
        let found = self.host_names.find(address, self.now).cloned();
        let Some((login, _)) = self.login_mut(id) else {
            return Ok(false);
        };
        if let Some(host) = found {
            login.host = host;
            return Ok(true);
        }
        login.step = Step::Deriving;
        let clients = &self.clients;
        let waits = |id| clients.get(id).is_some_and(Client::is_deriving);
        match self.host_names.line.wait(address, id, waits) {
            Asked::Now(address) => {
                let started = self.start_chore(Chore::NameHost { address });
                if started.is_err() {
                    // Nothing is in the queue where this was not.
                    self.host_names.line.on_answered(&address, |_| false);
                }
                started.map(|()| false)
            }
            Asked::Waits => Ok(false),
            Asked::Full => Err(Reason::Denied(Denied::NotLookedUp)),
        }
    }

    /// The name of an address was looked up: those who have waited go on.
    pub(super) fn host_named(&mut self, address: IpAddr, name: Option<String>) {
        let settings = &self.config.settings;
        let (host, ttl) = match name {
            Some(name) => {
                log::debug!("{address} is {name}");
                (Host::Named(name.into()), settings.dns_max_ttl)
            }
            None => {
                log::debug!("{address} has no name that leads back to it");
                (Host::Nameless, settings.dns_nxdomain_ttl)
            }
        };
        let clients = &self.clients;
        let waits = |id| clients.get(id).is_some_and(Client::is_deriving);
        let (waiting, next) = self.host_names.line.on_answered(&address, waits);
        if ttl > Duration::ZERO {
            let until = self.now + ttl;
            self.host_names.keep(address, host.clone(), until, self.now);
        }
        if let Some(address) = next {
            // Its threads are there.
            let _ = self.start_chore(Chore::NameHost { address });
        }
        for id in waiting {
            match self.login_mut(id) {
                Some((login, _)) if login.step.is_deriving() => {
                    login.host = host.clone();
                }
                _ => continue,
            }
            let outcome = self.begin_authentication(id);
            self.go_on(id, outcome);
        }
    }
}

/// The addresses of the interfaces of this host.
fn own_interfaces() -> Option<Interfaces> {
    let all = match getifaddrs() {
        Ok(all) => all,
        Err(error) => {
            log::error!(
                "whoever comes to a line with samehost or samenet is refused: \
                 cannot read the addresses of interfaces: {error}"
            );
            return None;
        }
    };
    let address = |storage: nix::sys::socket::SockaddrStorage| {
        let v4 = storage.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    let own = all.filter_map(|interface| {
        let own = interface.address.and_then(address)?;
        Some((own, interface.netmask.and_then(address)))
    });
    Some(own.collect())
}

/// Names that are kept at most.
const KNOWN_MAX: usize = 10_000;

/// Names that wait for being looked up at most, while name servers do not answer.
const ROOM: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_names_for_a_while_and_not_too_many() {
        let mut names = HostNames::new(&Config::default());
        let now = Instant::now();
        let late = now + Duration::from_secs(10);
        let address = |number| IpAddr::V4(std::net::Ipv4Addr::from_bits(number));
        for number in 0..30_000 {
            let until = match number % 2 {
                0 => late,
                _ => now + Duration::from_secs(1),
            };
            names.keep(address(number), Host::Nameless, until, now);
            assert!(names.known.len() <= KNOWN_MAX);
        }
        assert!(names.find(address(29_998), now).is_some());
        assert!(names.find(address(29_999), now).is_some());
        let later = now + Duration::from_secs(1);
        assert!(names.find(address(29_998), later).is_some());
        assert!(names.find(address(29_999), later).is_none());
    }

    #[test]
    fn finds_the_addresses_of_this_host() {
        assert_ne!(own_interfaces(), Some([].into_iter().collect()));
    }
}
