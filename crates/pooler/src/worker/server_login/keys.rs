//! Keys for logins to servers, which a thread has derived.

use pgskein_pool::slab::ServerId;
use pgskein_protocol::scram::{Challenge, ScramKeys};
use pgskein_protocol::write;

use super::scram_failed;
use crate::worker::Worker;
use crate::worker::credentials::Derivation;
use crate::worker::server::ServerState;

impl Worker {
    /// The keys for the challenge of servers were derived.
    pub(in crate::worker) fn keys_derived(&mut self, derivation: Derivation, keys: ScramKeys) {
        let challenge = derivation.challenge.clone();
        let known = &mut self.credentials.keys;
        for id in known.settle(derivation, Some(keys.clone())) {
            self.prove_with(id, &challenge, keys.clone());
        }
    }

    fn prove_with(&mut self, id: ServerId, challenge: &Challenge, keys: ScramKeys) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let ServerState::LoggingIn { login, .. } = &mut server.state else {
            return;
        };
        let Some(scram) = &mut login.scram else {
            return;
        };
        if scram.challenge(&login.server_first).as_ref() != Ok(challenge) {
            // The host that has asked was left meanwhile.
            return;
        }
        let server_first = std::mem::take(&mut login.server_first);
        scram.use_keys(keys);
        match scram.last(&server_first) {
            Ok(last) => {
                write::sasl_response(server.outbox.buffer(), &last);
                self.server_login_turn(id);
            }
            Err(error) => self.lose_server(id, &scram_failed(error)),
        }
    }
}
