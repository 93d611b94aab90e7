//! Chores: what would block the loop is done by threads.
//!
//! Resolution of names, of hosts and users, and the derivation of keys. The
//! threads are started when the first chore comes, after the fork; they get
//! chores over a channel and wake the loop when one is done. Each kind of chores
//! has threads and a queue of its own: what one waits for delays no other. Whoever
//! starts chores sees to it that they are not too many.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::Waker;
use nix::unistd::{Uid, User};
use pgskein_protocol::scram::{Challenge, ScramKeys};
use pgskein_protocol::secret::ScramSecret;

use zeroize::Zeroizing;

use super::credentials::{Comparison, Derivation, Making};
use crate::sys::resolver;

/// Something that may take long.
pub(super) enum Chore {
    /// Find the addresses of a host.
    Resolve {
        /// The host's name.
        host: String,
    },
    /// Make the SCRAM secret of a plain password.
    DeriveSecret {
        /// What is made.
        making: Making,
        /// The password.
        password: Zeroizing<String>,
        /// Bytes that make equal passwords different.
        salt: Vec<u8>,
    },
    /// Compare a password with a SCRAM secret.
    Compare {
        /// What is compared.
        comparison: Comparison,
        /// The password.
        password: Zeroizing<String>,
        /// The secret.
        secret: ScramSecret,
    },
    /// Find the name of a user of the system.
    NameUser {
        /// The number of the user.
        uid: u32,
    },
    /// Find the name of the host that clients come from.
    NameHost {
        /// Its address.
        address: IpAddr,
    },
    /// Make the keys by which to log in to a server.
    DeriveKeys {
        /// What they are derived of.
        derivation: Derivation,
        /// The password.
        password: Zeroizing<String>,
    },
}

/// What has come of a chore.
pub(super) enum Done {
    /// The addresses of a host, or why there are none.
    Resolved {
        /// The host's name.
        host: String,
        /// What was found.
        addresses: Result<Vec<IpAddr>, String>,
    },
    /// A SCRAM secret.
    Secret {
        /// What it was made of.
        making: Making,
        /// The secret.
        secret: ScramSecret,
    },
    /// The keys of a password, if it is the right one.
    Compared {
        /// What was compared.
        comparison: Comparison,
        /// The keys.
        keys: Option<ScramKeys>,
    },
    /// The name of a user of the system, if there is one.
    NamedUser {
        /// The number of the user.
        uid: u32,
        /// The name.
        name: Option<String>,
    },
    /// The name of an address, if it has one that leads back to it.
    NamedHost {
        /// The address.
        address: IpAddr,
        /// The name.
        name: Option<String>,
    },
    /// Keys for servers.
    Keys {
        /// What they were derived of.
        derivation: Derivation,
        /// The keys.
        keys: ScramKeys,
    },
}

/// The threads, and the way to them.
#[derive(Debug)]
pub(super) struct Chores {
    waker: Arc<Waker>,
    names: Option<Sender<Chore>>,
    users: Option<Sender<Chore>>,
    hosts: Option<Sender<Chore>>,
    secrets: Option<Sender<Chore>>,
    comparisons: Option<Sender<Chore>>,
    keys: Option<Sender<Chore>>,
    done: (Sender<Done>, Receiver<Done>),
}

impl Chores {
    /// No threads yet; `waker` wakes the loop.
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self {
            waker,
            names: None,
            users: None,
            hosts: None,
            secrets: None,
            comparisons: None,
            keys: None,
            done: unbounded(),
        }
    }

    /// Has a chore done.
    ///
    /// # Errors
    ///
    /// The error of starting a thread.
    pub(super) fn start(&mut self, chore: Chore) -> io::Result<()> {
        if let Some(purpose) = chore.purpose() {
            log::debug!("keys of a password are derived, {purpose}");
        }
        let (queue, threads) = match chore {
            Chore::Resolve { .. } => (&mut self.names, NAME_THREADS),
            Chore::NameUser { .. } => (&mut self.users, NAME_THREADS),
            Chore::NameHost { .. } => (&mut self.hosts, HOST_THREADS),
            Chore::DeriveSecret { .. } => (&mut self.secrets, 1),
            Chore::Compare { .. } => (&mut self.comparisons, 1),
            Chore::DeriveKeys { .. } => (&mut self.keys, 1),
        };
        let sender = match queue {
            Some(sender) => sender,
            None => {
                let (sender, chores) = unbounded();
                for _ in 0..threads {
                    let chores = chores.clone();
                    let done = self.done.0.clone();
                    let waker = Arc::clone(&self.waker);
                    thread::Builder::new()
                        .name("chores".to_owned())
                        .spawn(move || work(&chores, &done, &waker))?;
                }
                queue.insert(sender)
            }
        };
        // The threads end with the last sender, never before.
        let _ = sender.send(chore);
        Ok(())
    }

    /// The next chore that was done.
    pub(super) fn poll_done(&self) -> Option<Done> {
        self.done.1.try_recv().ok()
    }
}

fn work(chores: &Receiver<Chore>, done: &Sender<Done>, waker: &Waker) {
    for chore in chores {
        if done.send(chore.run()).is_err() {
            return;
        }
        // The loop also looks when it wakes for something else.
        let _ = waker.wake();
    }
}

impl Chore {
    /// What keys are derived for, if they are.
    fn purpose(&self) -> Option<&'static str> {
        match self {
            Self::DeriveSecret { .. } => Some("to ask clients for them"),
            Self::Compare { .. } => Some("to compare it"),
            Self::DeriveKeys { .. } => Some("for servers"),
            Self::Resolve { .. } | Self::NameUser { .. } | Self::NameHost { .. } => None,
        }
    }

    fn run(self) -> Done {
        match self {
            Self::Resolve { host } => Done::Resolved {
                addresses: resolve(&host),
                host,
            },
            Self::DeriveSecret {
                making,
                password,
                salt,
            } => Done::Secret {
                secret: ScramSecret::derive(&password, &salt, making.iterations),
                making,
            },
            Self::Compare {
                comparison,
                password,
                secret,
            } => Done::Compared {
                comparison,
                keys: secret.keys_of(&password),
            },
            Self::NameUser { uid } => Done::NamedUser {
                uid,
                name: name_of(uid),
            },
            Self::NameHost { address } => Done::NamedHost {
                address,
                name: host_of(address),
            },
            Self::DeriveKeys {
                derivation,
                password,
            } => Done::Keys {
                keys: {
                    let Challenge { salt, iterations } = &derivation.challenge;
                    ScramKeys::derive(&password, salt, *iterations)
                },
                derivation,
            },
        }
    }
}

fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
    let addresses = (host, 0)
        .to_socket_addrs()
        .map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for address in addresses {
        if !found.contains(&address.ip()) {
            found.push(address.ip());
        }
    }
    if found.is_empty() {
        return Err("no address".to_owned());
    }
    Ok(found)
}

/// The name of an address, if the name has the address.
fn host_of(address: IpAddr) -> Option<String> {
    let name = resolver::name_of(address)?;
    let addresses = resolve(&name).ok()?;
    let mut addresses = addresses.iter().map(IpAddr::to_canonical);
    addresses.any(|one| one == address).then_some(name)
}

/// The name of a user, which a directory may have to be asked for.
fn name_of(uid: u32) -> Option<String> {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map(|user| user.name)
}

/// A name server that does not answer holds up one thread; with two, other
/// names are still found.
pub(super) const NAME_THREADS: usize = 2;

/// The same for addresses of clients, of which there are more.
pub(super) const HOST_THREADS: usize = 4;
