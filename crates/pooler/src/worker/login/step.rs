//! Steps of a login.

use pgskein_protocol::ScramServer;

use crate::worker::admission::Method;
use crate::worker::checks::Ticket;

/// Where a login is.
#[derive(Debug)]
pub(in crate::worker) enum Step {
    /// The startup packet is to come.
    Startup,
    /// A cancel request is to come, and nothing else may.
    CancelOnly,
    /// A proxy is to say whose connection it is.
    Proxy,
    /// The database is asked for the secret of the user, who has to prove by
    /// this method who he is.
    Asking(Method),
    /// A password in clear text is to come.
    Password,
    /// A password hashed with this salt is to come.
    Md5 {
        /// Four random bytes.
        salt: [u8; 4],
    },
    /// A thread derives a secret, compares one, or finds the name of a user or
    /// of the host.
    Deriving,
    /// The secret that a thread has derived is there: the client is to be asked.
    Derived,
    /// Somebody else is asked about its password.
    Checking(Ticket),
    /// A SASL message is to come.
    Sasl {
        /// Our side of the exchange.
        scram: Box<ScramServer>,
        /// Whether the client's first message has come.
        begun: bool,
    },
    /// Proved; the supervisor is asked for a place.
    Claiming,
    /// Proved; its pool has no greeting yet.
    Greeting,
}

impl Step {
    /// Whether the client has nothing to say before something else has happened.
    pub(super) fn waits(&self) -> bool {
        matches!(
            self,
            Self::Asking(_)
                | Self::Deriving
                | Self::Derived
                | Self::Checking(_)
                | Self::Claiming
                | Self::Greeting
        )
    }

    /// Whether a thread does what the client waits for.
    pub(in crate::worker) fn is_deriving(&self) -> bool {
        matches!(self, Self::Deriving)
    }
}
