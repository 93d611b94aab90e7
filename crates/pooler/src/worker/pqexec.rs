//! Simple queries where `disable_pqexec` refuses them.

use pgskein_pool::slab::ClientId;
use pgskein_protocol::Header;
use pgskein_protocol::tag::frontend;

use super::Worker;
use super::client::Rest;

impl Worker {
    /// Whether a simple query begins in what a client has sent.
    #[cold]
    pub(super) fn holds_simple_query(&self, id: ClientId, bytes: &[u8]) -> bool {
        let session = self.clients.get(id).and_then(|client| client.session());
        let mut at = match session.map(|session| session.rest) {
            Some(Rest::Forward(left) | Rest::Drop(left)) => left,
            _ => 0,
        };
        while let Ok(Some(header)) = Header::peek(bytes.get(at..).unwrap_or_default()) {
            if header.tag == frontend::QUERY {
                return true;
            }
            at = at.saturating_add(header.total());
        }
        false
    }
}
