//! Certificates of clients: who is known by one.
//!
//! The handshake has verified what a client shows, whether it had to or not; here
//! it is seen whether one was shown, and whose it is.
//!
//! Source: PostgreSQL documentation, "Certificate Authentication".

use pgskein_config::ClientCertificate;
use pgskein_pool::slab::ClientId;
use pgskein_protocol::common_name;

use super::Worker;
use super::client::Stage;
use super::denied::{CertificateFault, Denied};
use super::reason::Reason;

impl Worker {
    /// Checks the certificate of a client that logs in, as far as it is asked for.
    ///
    /// # Errors
    ///
    /// [`Reason::Denied`] when it does not do.
    pub(super) fn check_certificate(
        &self,
        id: ClientId,
        asked: ClientCertificate,
        map: Option<&str>,
    ) -> Result<(), Reason> {
        let denied = |fault| Reason::Denied(Denied::Certificate(fault));
        let Some(client) = self.clients.get(id) else {
            return Ok(());
        };
        let Stage::Login(login) = &client.stage else {
            return Ok(());
        };
        if asked == ClientCertificate::NotNeeded {
            return Ok(());
        }
        let tls = client.stream.tls();
        let tls = tls.ok_or_else(|| denied(CertificateFault::NoTls))?;
        let shown = tls.client_certificate();
        let shown = shown.ok_or_else(|| denied(CertificateFault::NotShown))?;
        if asked == ClientCertificate::VerifyCa {
            return Ok(());
        }
        match common_name(shown) {
            Ok(name) if self.config.ident.admits(map, name, &login.user) => Ok(()),
            Ok(_) => Err(denied(CertificateFault::WrongUser)),
            Err(error) => Err(denied(CertificateFault::Name(error))),
        }
    }
}
