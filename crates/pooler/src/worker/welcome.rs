//! Welcome: what the servers of a pool report at their login.
//!
//! It is kept for each pool, so that its clients are greeted without a server.
//! A worker that has none asks the supervisor, who knows what the others have
//! seen; only if nobody has, the client waits for a server.
//!
//! Between processes a welcome is what it is on the wire: ParameterStatus
//! messages, one behind the other.

use pgskein_pool::control::{PoolKey, ToSupervisor};
use pgskein_pool::parameters::ParametersId;
use pgskein_pool::pools::{PoolId, Welcome};
use pgskein_protocol::tag::backend;
use pgskein_protocol::{Frame, backend as messages, write};

use super::Worker;

impl Worker {
    /// A server of a pool has logged in and reported `fixed`, of settings that
    /// are not followed, and `parameters`, of those that are.
    pub(super) fn keep_welcome(&mut self, id: PoolId, fixed: Vec<u8>, parameters: ParametersId) {
        let welcome = Welcome {
            fixed,
            parameters: self.parameters.keep(parameters),
        };
        let known = self.pools.get(id).and_then(|pool| pool.welcome.as_ref());
        let news = known.is_none_or(|known| *known != welcome);
        let burst = self.encode_welcome(&welcome);
        self.set_welcome(id, welcome);
        if news && let Some(pool) = self.pools.get(id) {
            self.tell_supervisor(&ToSupervisor::Welcome {
                version: self.config_version,
                pool: pool.key.clone(),
                burst,
            });
        }
    }

    /// A server of a pool reports another value of a parameter that is not
    /// followed: who logs in from now on is to know.
    #[cold]
    pub(super) fn correct_welcome(&mut self, id: PoolId, name: &[u8], value: &[u8]) {
        let pool = self.pools.get(id);
        let Some(welcome) = pool.and_then(|pool| pool.welcome.as_ref()) else {
            return;
        };
        let (mut fixed, mut rest) = (Vec::new(), welcome.fixed.as_slice());
        while let Ok(Some((frame, behind))) = Frame::split(rest, u32::MAX) {
            rest = behind;
            match messages::parameter_status(frame.body) {
                Some((known, _)) if known == name => {
                    write::parameter_status(&mut fixed, name, value);
                }
                Some((known, value)) => write::parameter_status(&mut fixed, known, value),
                None => {}
            }
        }
        let parameters = welcome.parameters;
        self.keep_welcome(id, fixed, parameters);
    }

    /// Asks what other workers know, unless that was done.
    pub(super) fn ask_for_welcome(&mut self, id: PoolId) {
        if self.control.is_none() {
            return;
        }
        if let Some(pool) = self.pools.get_mut(id)
            && pool.ask_for_welcome()
        {
            let pool = pool.key.clone();
            self.tell_supervisor(&ToSupervisor::AskWelcome { pool });
        }
    }

    /// Somebody else knows what servers of a pool report, or nothing.
    pub(super) fn on_welcome(&mut self, key: &PoolKey, burst: &[u8]) {
        let Some(id) = self.pools.lookup(key) else {
            return;
        };
        if let Some(pool) = self.pools.get_mut(id) {
            pool.welcome_answered();
            if pool.welcome.is_none()
                && !burst.is_empty()
                && let Some(welcome) = self.decode_welcome(burst)
            {
                self.set_welcome(id, welcome);
                self.greet_waiting(id);
            }
        }
        self.wish(id);
    }

    /// A server of a pool has come from another worker, which greets with `burst`.
    pub(super) fn adopt_welcome(&mut self, pool: PoolKey, burst: &[u8]) {
        self.on_welcome(&pool, burst);
        // A supervisor that has come since its login does not know.
        self.tell_supervisor(&ToSupervisor::Welcome {
            version: self.config_version,
            pool,
            burst: burst.to_vec(),
        });
    }

    /// There is nobody left to ask: who waits for an answer waits for a server.
    pub(super) fn stop_asking(&mut self) {
        let mut wishing = Vec::new();
        for (id, pool) in self.pools.iter_mut() {
            pool.welcome_answered();
            wishing.push(id);
        }
        for id in wishing {
            self.wish(id);
        }
    }

    fn set_welcome(&mut self, id: PoolId, welcome: Welcome) {
        let old = match self.pools.get_mut(id) {
            Some(pool) => pool.welcome.replace(welcome),
            None => Some(welcome),
        };
        if let Some(old) = old {
            self.parameters.release(old.parameters);
        }
    }

    /// What other processes are told of it.
    pub(super) fn encode_welcome(&self, welcome: &Welcome) -> Vec<u8> {
        let mut burst = welcome.fixed.clone();
        for (name, value) in self.parameters.values(welcome.parameters) {
            write::parameter_status(&mut burst, name.as_bytes(), value);
        }
        burst
    }

    fn decode_welcome(&mut self, burst: &[u8]) -> Option<Welcome> {
        let mut welcome = Welcome {
            fixed: Vec::new(),
            parameters: self.parameters.empty(),
        };
        let mut rest = burst;
        while !rest.is_empty() {
            let frame = Frame::split(rest, u32::MAX).ok().flatten();
            let status = frame
                .filter(|(frame, _)| frame.tag == backend::PARAMETER_STATUS)
                .and_then(|(frame, behind)| {
                    Some((messages::parameter_status(frame.body)?, behind))
                });
            let Some(((name, value), behind)) = status else {
                self.parameters.release(welcome.parameters);
                return None;
            };
            match self.parameters.position(name) {
                Some(at) => {
                    welcome.parameters = self.parameters.with(welcome.parameters, at, value);
                }
                None => write::parameter_status(&mut welcome.fixed, name, value),
            }
            rest = behind;
        }
        Some(welcome)
    }
}
