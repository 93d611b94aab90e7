//! Certificates of clients: who is known by one.
//!
//! The handshake has verified what a client shows, whether it had to or not. Here
//! it is seen whether one was shown and whose it is, and it is verified again: a
//! reload may have changed who is believed, and a client can take its time.
//!
//! Source: PostgreSQL documentation, "Certificate Authentication".

use pgskein_config::ClientCertificate;
use pgskein_pool::slab::ClientId;
use pgskein_protocol::common_name;
use rustls::pki_types::UnixTime;

use super::Worker;
use super::client::{Origin, Stage};
use super::denied::{CertificateFault, Denied};
use super::reason::Reason;

impl Worker {
    /// Checks the certificate of a client that logs in, as far as it is asked for, or
    /// everybody needs one.
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
        let mode = self.config.settings.client_tls_sslmode;
        let all_need_one = mode.verifies() && matches!(client.origin, Origin::Tcp(_));
        if asked == ClientCertificate::NotNeeded && !all_need_one {
            return Ok(());
        }
        let tls = client.stream.tls();
        let tls = tls.ok_or_else(|| denied(CertificateFault::NoTls))?;
        let Some([shown, above @ ..]) = tls.client_chain() else {
            return Err(denied(CertificateFault::NotShown));
        };
        let believed = self.tls.of_clients(mode).ok().flatten();
        let verifier = believed.map(|tls| &tls.verifier);
        let verifier = verifier.filter(|verifier| verifier.offer_client_auth());
        let verified =
            verifier.map(|verifier| verifier.verify_client_cert(shown, above, UnixTime::now()));
        if !matches!(verified, Some(Ok(_))) {
            return Err(denied(CertificateFault::Outdated));
        }
        if asked != ClientCertificate::VerifyFull {
            return Ok(());
        }
        match common_name(shown) {
            Ok(name) if self.config.ident.admits(map, name, &login.user) => Ok(()),
            Ok(_) => Err(denied(CertificateFault::WrongUser)),
            Err(error) => Err(denied(CertificateFault::Name(error))),
        }
    }
}
