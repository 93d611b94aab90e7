//! Chores: what would block the loop is done by threads.
//!
//! Resolution of names, of hosts and users, and the derivation of keys. The
//! threads are started when the first chore comes, after the fork; they get
//! chores over a channel and wake the loop when one is done. What one kind of
//! chores waits for delays no other kind.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::Waker;
use nix::unistd::{Uid, User};
use pgskein_protocol::scram::{Challenge, ScramKeys};
use pgskein_protocol::secret::ScramSecret;

use pgskein_pool::slab::{ClientId, ServerId};

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
        /// Who waits for it.
        client: ClientId,
        /// Whose password.
        user: String,
        /// The password.
        password: String,
        /// Random bytes.
        salt: [u8; 16],
        /// `scram_iterations`.
        iterations: u32,
    },
    /// Compare a password with a SCRAM secret.
    Compare {
        /// Who waits for it.
        client: ClientId,
        /// The password.
        password: String,
        /// The secret.
        secret: ScramSecret,
    },
    /// Find the name of a user of the system.
    NameUser {
        /// Who waits for it.
        client: ClientId,
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
        /// Who waits for them.
        server: ServerId,
        /// The password.
        password: String,
        /// What the server demands.
        challenge: Challenge,
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
        /// Who waits for it.
        client: ClientId,
        /// Whose password.
        user: String,
        /// The password that it was made of.
        password: String,
        /// The secret.
        secret: ScramSecret,
    },
    /// The keys of a password, if it is the right one.
    Compared {
        /// Who waits for them.
        client: ClientId,
        /// The keys.
        keys: Option<ScramKeys>,
    },
    /// The name of a user of the system, if there is one.
    NamedUser {
        /// Who waits for it.
        client: ClientId,
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
    /// Keys for a server.
    Keys {
        /// Who waits for them.
        server: ServerId,
        /// What the server demanded.
        challenge: Challenge,
        /// The password that they were made of.
        password: String,
        /// The keys.
        keys: ScramKeys,
    },
}

/// The threads, and the way to them.
#[derive(Debug)]
pub(super) struct Chores {
    waker: Arc<Waker>,
    names: Option<Sender<Chore>>,
    hosts: Option<Sender<Chore>>,
    keys: Option<Sender<Chore>>,
    done: (Sender<Done>, Receiver<Done>),
}

impl Chores {
    /// No threads yet; `waker` wakes the loop.
    pub(super) fn new(waker: Waker) -> Self {
        Self {
            waker: Arc::new(waker),
            names: None,
            hosts: None,
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
        let (queue, threads) = match chore {
            Chore::Resolve { .. } | Chore::NameUser { .. } => (&mut self.names, NAME_THREADS),
            Chore::NameHost { .. } => (&mut self.hosts, HOST_THREADS),
            Chore::DeriveSecret { .. } | Chore::Compare { .. } | Chore::DeriveKeys { .. } => {
                (&mut self.keys, 1)
            }
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
    fn run(self) -> Done {
        match self {
            Self::Resolve { host } => Done::Resolved {
                addresses: resolve(&host),
                host,
            },
            Self::DeriveSecret {
                client,
                user,
                password,
                salt,
                iterations,
            } => Done::Secret {
                client,
                user,
                secret: ScramSecret::derive(&password, &salt, iterations),
                password,
            },
            Self::Compare {
                client,
                password,
                secret,
            } => Done::Compared {
                client,
                keys: secret.keys_of(&password),
            },
            Self::NameUser { client, uid } => Done::NamedUser {
                client,
                name: name_of(uid),
            },
            Self::NameHost { address } => Done::NamedHost {
                address,
                name: host_of(address),
            },
            Self::DeriveKeys {
                server,
                password,
                challenge,
            } => Done::Keys {
                server,
                keys: ScramKeys::derive(&password, &challenge.salt, challenge.iterations),
                challenge,
                password,
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
const NAME_THREADS: usize = 2;

/// The same for addresses of clients, of which there are more.
const HOST_THREADS: usize = 4;
