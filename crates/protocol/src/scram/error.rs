//! What can go wrong in an exchange.

use std::error::Error;
use std::fmt;

/// Why an exchange failed; there is no second try within it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScramError {
    /// A message came out of turn.
    OutOfTurn,
    /// A message does not have its form.
    Malformed,
    /// A message, or the nonce in it, is longer than any honest one.
    TooLong,
    /// The client binds to a TLS channel, which was not offered.
    ChannelBinding,
    /// The client binds to a TLS channel in a way that is not known.
    ChannelType,
    /// The client sees another TLS channel than we do.
    ChannelMismatch,
    /// The client could bind to its TLS channel and was not told that we can.
    Downgrade,
    /// The client wants to act as somebody else.
    AuthorizationIdentity,
    /// A message demands an extension that is not known.
    Extension,
    /// The nonce is not the one of this exchange.
    Nonce,
    /// The server asks for this many iterations, which is out of range.
    Iterations(u32),
    /// The client does not know the password.
    WrongProof,
    /// The server does not know the password.
    WrongSignature,
    /// The server ended the exchange with an error of its own.
    Refused,
}

impl ScramError {
    /// SQLSTATE of the final ErrorResponse to a client.
    pub fn sqlstate(self) -> &'static str {
        match self {
            Self::WrongProof => "28P01",
            Self::ChannelMismatch | Self::Downgrade => "28000",
            Self::AuthorizationIdentity | Self::Extension => "0A000",
            _ => "08P01",
        }
    }
}

impl fmt::Display for ScramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfTurn => "SCRAM message out of turn",
            Self::Malformed => "malformed SCRAM message",
            Self::TooLong => "SCRAM message is too long",
            Self::ChannelBinding => "SCRAM channel binding was not offered",
            Self::ChannelType => "unsupported SCRAM channel-binding type",
            Self::ChannelMismatch => "SCRAM channel binding check failed",
            // The client supports it and believes that we do not.
            Self::Downgrade => "SCRAM channel binding negotiation error",
            Self::AuthorizationIdentity => {
                "client uses authorization identity, but it is not supported"
            }
            Self::Extension => "SCRAM message requires an unsupported extension",
            Self::Nonce => "SCRAM nonce does not match",
            Self::Iterations(count) => {
                return write!(f, "SCRAM iteration count {count} is out of range");
            }
            Self::WrongProof => "SCRAM proof does not match",
            Self::WrongSignature => "SCRAM signature of the server does not match",
            Self::Refused => "SCRAM exchange was refused by the server",
        })
    }
}

impl Error for ScramError {}
