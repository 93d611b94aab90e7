//! Books: what all kinds of connections need to be packed and taken in.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use pgskein_pool::control::PoolKey;
use pgskein_pool::handoff::server::Parameter;
use pgskein_pool::handoff::{Refusal, session as format};
use pgskein_pool::parameters::ParametersId;
use pgskein_pool::pools::PoolId;
use pgskein_pool::slab::ClientId;
use pgskein_protocol::Secret;
use pgskein_protocol::scram::ScramKeys;

use super::super::Worker;
use super::super::client::Origin;
use super::super::reason::Reason;
use super::super::stream::Socket;
use super::super::token::Subject;
use super::server::{tcp, unix};
use crate::sys::tcp::unread;

impl Worker {
    /// How long ago something was.
    pub(super) fn age(&self, at: Instant) -> Duration {
        self.now.saturating_duration_since(at)
    }

    /// When that was which is so old.
    pub(super) fn before(&self, age: Duration) -> Instant {
        self.now.checked_sub(age).unwrap_or(self.now)
    }

    /// Settings by name.
    pub(super) fn values_of(&self, id: ParametersId) -> Vec<Parameter> {
        let values = self.parameters.values(id);
        let values = values.map(|(name, value)| (name.to_owned(), value.to_vec()));
        values.collect()
    }

    /// The opposite of [`Worker::values_of`], as far as they are followed here.
    pub(super) fn set_of(&mut self, values: &[Parameter]) -> ParametersId {
        let values = values.iter();
        let values = values.map(|(name, value)| (name.as_bytes(), value.as_slice()));
        self.parameters.of_values(values)
    }

    /// Whether anything is taken from a worker that has seen orders up to this
    /// version.
    ///
    /// # Errors
    ///
    /// [`Refusal::Leaving`] if this worker is to end itself. [`Refusal::Other`]
    /// if the two have not seen the same: an order might be carried out by
    /// neither.
    pub(super) fn may_take(&self, orders: u64) -> Result<(), Refusal> {
        if self.is_draining() {
            return Err(Refusal::Leaving);
        }
        if orders != self.orders.version() {
            return Err(Refusal::Other);
        }
        Ok(())
    }

    /// The pool of what is offered, made if there is none.
    ///
    /// # Errors
    ///
    /// [`Refusal::Other`] if its database is not known here.
    pub(super) fn pool_for(&mut self, key: &PoolKey) -> Result<PoolId, Refusal> {
        if self.config.database(&key.database).is_none() {
            return Err(Refusal::Other);
        }
        let config = &self.config;
        let id = self.pools.find(key, || key.settings(config));
        self.pause_new_pool(id);
        Ok(id)
    }

    /// What a user has shown at a login, if servers are logged in to with it.
    pub(super) fn shown_by(&self, pool: &PoolKey) -> Option<format::Learned> {
        let user = &pool.user;
        let Some(text) = self.config.auth.get(user) else {
            let (text, keys, _) = self.credentials.fetched(pool)?;
            return Some(format::Learned {
                secret: text.to_owned(),
                client_key: keys.map_or([0; 32], |keys| keys.client_key),
            });
        };
        let Secret::Scram(secret) = Secret::parse(text) else {
            return None;
        };
        let (keys, _) = self.credentials.learned(user, &secret)?;
        Some(format::Learned {
            secret: (**text).to_owned(),
            client_key: keys.client_key,
        })
    }

    /// Remembers what a user has shown to another worker; what is known here may
    /// be newer.
    pub(super) fn learn(&mut self, pool: &PoolKey, learned: &format::Learned) {
        let keys = match Secret::parse(&learned.secret) {
            Secret::Scram(secret) if learned.client_key != [0; 32] => {
                let keys = ScramKeys::of_client_key(learned.client_key, secret.server_key);
                Some((secret, keys))
            }
            _ => None,
        };
        match self.config.auth.get(&pool.user) {
            None if self.credentials.fetched(pool).is_some() => {}
            None => {
                let keys = keys.map(|(_, keys)| keys);
                let credentials = &mut self.credentials;
                credentials.keep_fetched(pool.clone(), &learned.secret, keys);
            }
            Some(text) => {
                if let Some((secret, keys)) = keys.filter(|_| *text == *learned.secret) {
                    self.credentials.learn(pool.user.clone(), secret, keys);
                }
            }
        }
    }

    /// Puts a client back into the event loop; false if it is closed instead.
    pub(super) fn register_client(&mut self, id: ClientId) -> bool {
        let Some(client) = self.clients.get_mut(id) else {
            return false;
        };
        let token = Subject::Client(id).token();
        // Nothing was heard of it where nothing has come. An end raises an event.
        let readable = unread(&client.stream).map_or(true, |bytes| bytes > 0);
        let registry = self.poll.registry();
        let registered = client.stream.register_again(registry, token, readable);
        if let Err(error) = registered {
            let reason = Reason::SocketFailed(error.kind());
            self.close_client(id, &reason);
            return false;
        }
        true
    }
}

/// The socket of a client that comes from another worker.
pub(super) fn socket(origin: format::Origin, descriptor: OwnedFd) -> Socket {
    match origin {
        format::Origin::Tcp(_) => tcp(descriptor),
        format::Origin::Unix { .. } => unix(descriptor),
    }
}

impl Origin {
    /// The same, as it is told another worker.
    pub(super) fn told(self) -> format::Origin {
        match self {
            Self::Tcp(address) => format::Origin::Tcp(address),
            Self::Unix { uid, pid } => format::Origin::Unix {
                uid,
                pid: pid.and_then(|pid| u32::try_from(pid).ok()),
            },
        }
    }

    /// The opposite of [`Origin::told`].
    pub(super) fn of(origin: format::Origin) -> Self {
        match origin {
            format::Origin::Tcp(address) => Self::Tcp(address),
            format::Origin::Unix { uid, pid } => Self::Unix {
                uid,
                pid: pid.and_then(|pid| i32::try_from(pid).ok()),
            },
        }
    }
}
