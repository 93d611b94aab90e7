//! Channel binding: what a SASL exchange through TLS is bound to, on both sides.
//!
//! A client is offered it where its session has a certificate of ours that can be
//! bound to, and need not take it. With a server we bind wherever it offers that,
//! as libpq does.
//!
//! Source: PostgreSQL documentation, "SASL Authentication"; RFC 5802, section 6.

use pgskein_config::SslMode;
use pgskein_pool::slab::ClientId;
use pgskein_protocol::Authentication;
use pgskein_protocol::scram::{Channel, MECHANISM, MECHANISM_PLUS};

use super::Worker;
use super::reason::{Reason, ServerReason};
use super::tls::Tls;

impl Worker {
    /// The mechanisms that a client is offered.
    pub(super) fn mechanisms(&self, id: ClientId) -> &'static [&'static str] {
        match self.own_end_point(id) {
            Some(_) => &[MECHANISM_PLUS, MECHANISM],
            None => &[MECHANISM],
        }
    }

    /// The channel of an exchange in which a client has chosen this mechanism.
    ///
    /// # Errors
    ///
    /// The reason to close it when that was not offered.
    pub(super) fn channel_of_client(
        &self,
        id: ClientId,
        mechanism: &[u8],
    ) -> Result<Channel, Reason> {
        chosen(mechanism, self.own_end_point(id)).ok_or_else(|| {
            let text = "client selected an invalid SASL authentication mechanism";
            Reason::Protocol(text.to_owned())
        })
    }

    fn own_end_point(&self, id: ClientId) -> Option<Vec<u8>> {
        self.clients.get(id)?.stream.tls()?.end_point()
    }
}

/// The channel of an exchange by `mechanism` where this can be bound to.
fn chosen(mechanism: &[u8], end_point: Option<Vec<u8>>) -> Option<Channel> {
    match end_point {
        Some(hash) if mechanism == MECHANISM_PLUS.as_bytes() => Some(Channel::ServerEndPoint(hash)),
        Some(_) if mechanism == MECHANISM.as_bytes() => Some(Channel::Unbound),
        None if mechanism == MECHANISM.as_bytes() => Some(Channel::None),
        _ => None,
    }
}

/// The channel of a login to a server that offers these mechanisms, through this
/// session, where `server_tls_sslmode` is `mode`.
///
/// # Errors
///
/// Why there can be no such login.
pub(super) fn channel_to_server(
    tls: Option<&Tls>,
    mechanisms: &[u8],
    mode: SslMode,
) -> Result<Channel, ServerReason> {
    let bound = Authentication::offers(mechanisms, MECHANISM_PLUS);
    let unbound = Authentication::offers(mechanisms, MECHANISM);
    let end_point = tls.map(Tls::end_point);
    let refused = |text: &str| Err(ServerReason::login_failed(text));
    match end_point {
        Some(Some(hash)) if bound => Ok(Channel::ServerEndPoint(hash)),
        Some(_) if unbound && !bound => Ok(Channel::Unbound),
        // Somebody in between could have chosen this certificate, and nothing else
        // would tell.
        Some(None) if bound && mode == SslMode::Require => refused(
            "server's certificate is signed in a way that SCRAM cannot be bound to, \
             and server_tls_sslmode = require does not verify it",
        ),
        // As from a client that cannot bind.
        Some(None) if unbound => Ok(Channel::None),
        None if bound => refused("server offers SCRAM-SHA-256-PLUS over a connection without TLS"),
        None if unbound => Ok(Channel::None),
        _ => refused("server offers no SASL mechanism that is known"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_a_client_that_wants_it_to_what_it_was_shown() {
        let hash = || Some(b"hash".to_vec());
        let bound = Channel::ServerEndPoint(b"hash".to_vec());
        assert_eq!(chosen(b"SCRAM-SHA-256-PLUS", hash()), Some(bound));
        assert_eq!(chosen(b"SCRAM-SHA-256", hash()), Some(Channel::Unbound));
        assert_eq!(chosen(b"SCRAM-SHA-256", None), Some(Channel::None));
    }

    #[test]
    fn takes_no_mechanism_that_was_not_offered() {
        assert_eq!(chosen(b"SCRAM-SHA-256-PLUS", None), None);
        assert_eq!(chosen(b"SCRAM-SHA-1", Some(Vec::new())), None);
    }

    fn plain(mechanisms: &[u8]) -> Result<Channel, ServerReason> {
        channel_to_server(None, mechanisms, SslMode::Prefer)
    }

    #[test]
    fn believes_no_server_that_binds_to_nothing() {
        assert_eq!(plain(b"SCRAM-SHA-256\0\0"), Ok(Channel::None));
        assert!(plain(b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0").is_err());
        assert!(plain(b"OAUTHBEARER\0\0").is_err());
    }
}
