//! The side that checks a client's proof.
//!
//! ```text
//! Start ──first──> Challenged ──last──> Ended
//! ```

use std::fmt;

use subtle::ConstantTimeEq;

use super::{Channel, NONCE_LEN, ScramError, crypto, text};
use crate::secret::ScramSecret;

/// One exchange with a client that wants to log in.
pub struct ScramServer {
    secret: ScramSecret,
    /// Our part of the nonce.
    nonce: String,
    channel: Channel,
    state: State,
}

impl ScramServer {
    /// Begins an exchange about `secret`; `nonce` are fresh random bytes.
    pub fn new(secret: ScramSecret, nonce: [u8; NONCE_LEN]) -> Self {
        Self {
            secret,
            nonce: text::encode(&nonce),
            channel: Channel::None,
            state: State::Start,
        }
    }

    /// Runs in this channel.
    #[must_use]
    pub fn over(self, channel: Channel) -> Self {
        Self { channel, ..self }
    }

    /// Takes the client's first message and returns the challenge.
    ///
    /// # Errors
    ///
    /// [`ScramError`] when the exchange is over.
    pub fn first(&mut self, client_first: &[u8]) -> Result<Vec<u8>, ScramError> {
        let State::Start = std::mem::replace(&mut self.state, State::Ended) else {
            return Err(ScramError::OutOfTurn);
        };
        let message = text::text(client_first, MAX_MESSAGE)?;
        let (flag, rest) = message.split_once(',').ok_or(ScramError::Malformed)?;
        let binding = self.channel.agree(flag)?;
        let first_bare = match rest.split_once(',') {
            Some(("", bare)) => bare,
            Some((name, _)) if name.starts_with("a=") => {
                return Err(ScramError::AuthorizationIdentity);
            }
            _ => return Err(ScramError::Malformed),
        };
        let (_user, rest) = text::leading(first_bare, "n")?;
        let (client_nonce, _extensions) = text::attribute(rest, "r")?;
        text::check_nonce(client_nonce)?;

        let nonce = format!("{client_nonce}{}", self.nonce);
        let challenge = format!(
            "r={nonce},s={},i={}",
            text::encode(&self.secret.salt),
            self.secret.iterations
        );
        self.state = State::Challenged {
            binding,
            conversation: format!("{first_bare},{challenge},"),
            nonce,
        };
        Ok(challenge.into_bytes())
    }

    /// Takes the client's last message and checks its proof.
    ///
    /// # Errors
    ///
    /// [`ScramError::WrongProof`] when the client does not know the password,
    /// any other [`ScramError`] when it breaks the rules.
    pub fn last(&mut self, client_final: &[u8]) -> Result<ScramDone, ScramError> {
        let State::Challenged {
            binding,
            mut conversation,
            nonce,
        } = std::mem::replace(&mut self.state, State::Ended)
        else {
            return Err(ScramError::OutOfTurn);
        };
        // It repeats the nonce, which has grown by ours.
        let message = text::text(client_final, MAX_MESSAGE + self.nonce.len())?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let (sent_binding, rest) = text::leading(without_proof, "c")?;
        let (sent_nonce, _extensions) = text::attribute(rest, "r")?;
        if sent_binding != binding {
            return Err(match self.channel {
                Channel::ServerEndPoint(_) => ScramError::ChannelMismatch,
                Channel::None | Channel::Unbound => ScramError::ChannelBinding,
            });
        }
        if sent_nonce != nonce {
            return Err(ScramError::Nonce);
        }
        let proof = text::decode_block(proof)?;

        conversation.push_str(without_proof);
        let signature = crypto::hmac(&self.secret.stored_key, &[conversation.as_bytes()]);
        let client_key = crypto::xor(&proof, &signature);
        let stored_key = crypto::sha256(&[&client_key]);
        if !bool::from(stored_key.ct_eq(&self.secret.stored_key)) {
            return Err(ScramError::WrongProof);
        }
        let signature = crypto::hmac(&self.secret.server_key, &[conversation.as_bytes()]);
        Ok(ScramDone {
            server_final: format!("v={}", text::encode(&signature)).into_bytes(),
            client_key,
        })
    }
}

impl fmt::Debug for ScramServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramServer(..)")
    }
}

/// The end of an exchange with a client that knows the password.
#[derive(Clone, Eq, PartialEq)]
pub struct ScramDone {
    /// The last message to the client.
    pub server_final: Vec<u8>,
    /// The client's key, by which we can log in to a server with the same
    /// secret.
    pub client_key: [u8; 32],
}

impl fmt::Debug for ScramDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramDone(..)")
    }
}

enum State {
    Start,
    Challenged {
        /// What the client must repeat of its words on channel binding.
        binding: String,
        /// What the proof is about, as far as it is known.
        conversation: String,
        /// The nonces of both sides.
        nonce: String,
    },
    Ended,
}

/// The longest message of a client, in bytes, as in PostgreSQL.
const MAX_MESSAGE: usize = 1024;

#[cfg(test)]
mod tests;
