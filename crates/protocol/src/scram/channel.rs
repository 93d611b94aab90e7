//! Channel binding: the exchange is tied to the TLS connection that it runs in.
//!
//! Both sides put into it what they see of the server's certificate, so that
//! nobody can relay it between two connections. A side without TLS takes no
//! part; one whose client could bind and was not offered it notices who has
//! taken the offer away.
//!
//! Source: RFC 5802, section 6; RFC 5929, section 4; PostgreSQL documentation,
//! "SASL Authentication".

use std::fmt;

use super::{ScramError, text};

/// What is known of the channel of an exchange, on one side of it.
#[derive(Clone, Default, Eq, PartialEq)]
pub enum Channel {
    /// There is none to bind to.
    #[default]
    None,
    /// There is one, and the exchange does not bind to it: on the side of the
    /// client because the server does not offer that, on the side of the server
    /// because the client has chosen so.
    Unbound,
    /// The exchange binds to the one with these bytes: the hash of the server's
    /// certificate.
    ServerEndPoint(Vec<u8>),
}

impl Channel {
    /// The mechanism of an exchange in this channel.
    pub fn mechanism(&self) -> &'static str {
        match self {
            Self::None | Self::Unbound => super::MECHANISM,
            Self::ServerEndPoint(_) => super::MECHANISM_PLUS,
        }
    }

    /// What a client says of it in front of its first message.
    pub(super) fn header(&self) -> &'static str {
        match self {
            Self::None => "n,,",
            Self::Unbound => "y,,",
            Self::ServerEndPoint(_) => BOUND,
        }
    }

    /// What a client repeats in its last message.
    pub(super) fn repeated(&self) -> String {
        let mut bytes = self.header().as_bytes().to_vec();
        if let Self::ServerEndPoint(data) = self {
            bytes.extend_from_slice(data);
        }
        text::encode(&bytes)
    }

    /// Takes the word of a client on channel binding, on the side of the server;
    /// gives what its last message has to repeat.
    pub(super) fn agree(&self, flag: &str) -> Result<String, ScramError> {
        match (self, flag) {
            (Self::None | Self::Unbound, "n") => Ok(Self::None.repeated()),
            (Self::None, "y") => Ok(Self::Unbound.repeated()),
            // It believes that we have not offered what we have.
            (Self::Unbound, "y") => Err(ScramError::Downgrade),
            (Self::ServerEndPoint(_), "p=tls-server-end-point") => Ok(self.repeated()),
            (Self::ServerEndPoint(_), flag) if flag.starts_with("p=") => {
                Err(ScramError::ChannelType)
            }
            (Self::None | Self::Unbound, flag) if flag.starts_with("p=") => {
                Err(ScramError::ChannelBinding)
            }
            _ => Err(ScramError::Malformed),
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Unbound => "Unbound",
            Self::ServerEndPoint(_) => "ServerEndPoint(..)",
        })
    }
}

/// What the client says of an exchange that is bound.
const BOUND: &str = "p=tls-server-end-point,,";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scram::{NONCE_LEN, ScramClient, ScramCredential, ScramServer};
    use crate::secret::ScramSecret;

    fn bound() -> Channel {
        Channel::ServerEndPoint(b"the hash of a certificate".to_vec())
    }

    /// Runs an exchange whose sides see these channels.
    fn exchange(client: Channel, server: Channel) -> Result<(), ScramError> {
        let password = ScramCredential::Password("pencil".to_owned().into());
        let secret = ScramSecret::derive("pencil", b"0123456789abcdef", 2);
        let mut client = ScramClient::new(password, [9; NONCE_LEN]).over(client);
        let mut server = ScramServer::new(secret, [7; NONCE_LEN]).over(server);
        let challenge = server.first(&client.first())?;
        let done = server.last(&client.last(&challenge)?)?;
        client.verify(&done.server_final)
    }

    #[test]
    fn binds_both_sides_to_the_same_channel() {
        assert_eq!(exchange(bound(), bound()), Ok(()));
        assert_eq!(bound().mechanism(), "SCRAM-SHA-256-PLUS");
        assert_eq!(Channel::Unbound.mechanism(), "SCRAM-SHA-256");
    }

    #[test]
    fn goes_without_where_one_side_cannot() {
        assert_eq!(exchange(Channel::None, Channel::None), Ok(()));
        // The client has chosen so, though it was offered.
        assert_eq!(exchange(Channel::None, Channel::Unbound), Ok(()));
        // A TLS server that does not offer it.
        assert_eq!(exchange(Channel::Unbound, Channel::None), Ok(()));
    }

    #[test]
    fn rejects_a_client_that_was_not_told_of_the_offer() {
        assert_eq!(
            exchange(Channel::Unbound, Channel::Unbound),
            Err(ScramError::Downgrade)
        );
    }

    #[test]
    fn rejects_a_client_that_sees_another_certificate() {
        for other in [&b""[..], b"another", b"the hash of a certificatf"] {
            let other = Channel::ServerEndPoint(other.to_vec());
            assert_eq!(exchange(other, bound()), Err(ScramError::ChannelMismatch));
        }
    }

    #[test]
    fn rejects_what_was_not_agreed_by_the_mechanism() {
        for (client, server, error) in [
            (bound(), Channel::None, ScramError::ChannelBinding),
            (bound(), Channel::Unbound, ScramError::ChannelBinding),
            (Channel::None, bound(), ScramError::Malformed),
            (Channel::Unbound, bound(), ScramError::Malformed),
        ] {
            assert_eq!(exchange(client, server), Err(error));
        }
        assert_eq!(bound().agree("p=tls-unique"), Err(ScramError::ChannelType));
    }

    #[test]
    fn shows_nothing_of_the_channel() {
        assert_eq!(format!("{:?}", bound()), "ServerEndPoint(..)");
    }
}
