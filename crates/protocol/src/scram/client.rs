//! The side that proves to know a password.
//!
//! ```text
//! Start ──last──> Proved (verify)
//! ```

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::crypto::{self, Block};
use super::{Channel, MAX_ITERATIONS, NONCE_LEN, ScramError, ScramKeys, text};

/// What a client knows of its password.
#[derive(Clone, Eq, PartialEq)]
pub enum ScramCredential {
    /// The password itself.
    Password(Zeroizing<String>),
    /// Keys learned from a client that logged in to us, or derived earlier.
    Keys {
        /// Proves that we know the password.
        client_key: [u8; 32],
        /// Proves that the server knows the stored form of the password.
        server_key: [u8; 32],
        /// The hash of `client_key`.
        stored_key: [u8; 32],
    },
}

impl From<ScramKeys> for ScramCredential {
    fn from(keys: ScramKeys) -> Self {
        Self::Keys {
            client_key: keys.client_key,
            server_key: keys.server_key,
            stored_key: keys.stored_key,
        }
    }
}

impl fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(..)",
            Self::Keys { .. } => "Keys(..)",
        })
    }
}

/// One exchange with a server that we log in to.
pub struct ScramClient {
    credential: ScramCredential,
    nonce: String,
    first_bare: String,
    channel: Channel,
    state: State,
}

impl ScramClient {
    /// Begins an exchange; `nonce` are fresh random bytes.
    pub fn new(credential: ScramCredential, nonce: [u8; NONCE_LEN]) -> Self {
        let nonce = text::encode(&nonce);
        Self {
            credential,
            first_bare: format!("n=,r={nonce}"),
            nonce,
            channel: Channel::None,
            state: State::Start,
        }
    }

    /// Runs in this channel.
    #[must_use]
    pub fn over(self, channel: Channel) -> Self {
        Self { channel, ..self }
    }

    /// The first message to the server.
    pub fn first(&self) -> Vec<u8> {
        format!("{}{}", self.channel.header(), self.first_bare).into_bytes()
    }

    /// Reads what a challenge demands of a password, for a caller that derives
    /// the keys elsewhere, or has them, and then calls
    /// [`ScramClient::use_keys`].
    ///
    /// # Errors
    ///
    /// Those of [`ScramClient::last`].
    pub fn challenge(&self, server_first: &[u8]) -> Result<Challenge, ScramError> {
        self.read(server_first).map(|(challenge, _)| challenge)
    }

    /// Replaces the credential by keys derived for the server's challenge.
    pub fn use_keys(&mut self, keys: ScramKeys) {
        self.credential = keys.into();
    }

    /// Takes the server's challenge and returns the last message to it.
    ///
    /// With a password this takes milliseconds: as long as the server's number
    /// of iterations demands.
    ///
    /// # Errors
    ///
    /// [`ScramError`] when the exchange is over.
    pub fn last(&mut self, server_first: &[u8]) -> Result<Vec<u8>, ScramError> {
        let State::Start = std::mem::replace(&mut self.state, State::Ended) else {
            return Err(ScramError::OutOfTurn);
        };
        let (challenge, nonce) = self.read(server_first)?;
        let keys = match &self.credential {
            ScramCredential::Password(password) => {
                ScramKeys::derive(password, &challenge.salt, challenge.iterations)
            }
            &ScramCredential::Keys {
                client_key,
                server_key,
                stored_key,
            } => ScramKeys {
                client_key,
                stored_key,
                server_key,
            },
        };
        let without_proof = format!("c={},r={nonce}", self.channel.repeated());
        let mut conversation = format!("{},", self.first_bare).into_bytes();
        conversation.extend_from_slice(server_first);
        conversation.push(b',');
        conversation.extend_from_slice(without_proof.as_bytes());

        let proof = text::encode(&keys.proof(&conversation));
        self.state = State::Proved {
            signature: crypto::hmac(&keys.server_key, &[&conversation]),
        };
        Ok(format!("{without_proof},p={proof}").into_bytes())
    }

    /// Checks that the server knew the password too.
    ///
    /// # Errors
    ///
    /// [`ScramError`] when it did not, or refuses us; the connection must then
    /// not be used.
    pub fn verify(&self, server_final: &[u8]) -> Result<(), ScramError> {
        let State::Proved { signature } = &self.state else {
            return Err(ScramError::OutOfTurn);
        };
        let message = text::text(server_final, MAX_MESSAGE)?;
        if message.starts_with("e=") {
            return Err(ScramError::Refused);
        }
        let (sent, _extensions) = text::attribute(message, "v")?;
        let same = text::decode_block(sent)?.ct_eq(signature);
        bool::from(same)
            .then_some(())
            .ok_or(ScramError::WrongSignature)
    }

    fn read<'a>(&self, server_first: &'a [u8]) -> Result<(Challenge, &'a str), ScramError> {
        let message = text::text(server_first, MAX_MESSAGE)?;
        let (nonce, rest) = text::leading(message, "r")?;
        let (salt, rest) = text::leading(rest, "s")?;
        let (iterations, _extensions) = text::attribute(rest, "i")?;
        text::check_nonce(nonce)?;
        match nonce.strip_prefix(&self.nonce) {
            None | Some("") => return Err(ScramError::Nonce),
            Some(_) => {}
        }
        let salt = text::decode(salt)?;
        let iterations = text::parse_count(iterations).ok_or(ScramError::Malformed)?;
        if salt.is_empty() {
            return Err(ScramError::Malformed);
        }
        if !(1..=MAX_ITERATIONS).contains(&iterations) {
            return Err(ScramError::Iterations(iterations));
        }
        Ok((Challenge { salt, iterations }, nonce))
    }
}

impl fmt::Debug for ScramClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramClient(..)")
    }
}

/// What a server demands of a password.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Challenge {
    /// Bytes that make equal passwords different.
    pub salt: Vec<u8>,
    /// How slow deriving the keys is, 1 to 1,000,000.
    pub iterations: u32,
}

enum State {
    Start,
    Proved {
        /// What the server must answer.
        signature: Block,
    },
    Ended,
}

/// The longest message of a server, in bytes: a nonce, and twice as much again.
const MAX_MESSAGE: usize = 3 * 1024;

#[cfg(test)]
mod tests;
