//! Orphans: what dead workers have left running in PostgreSQL.
//!
//! The supervisor knows the cancel keys of all servers. When a worker dies, it
//! asks the others to cancel what its servers still run, so that PostgreSQL
//! notices that their client is gone.
//!
//! Source: PostgreSQL documentation, "Canceling Requests in Progress".

use std::net::SocketAddr;

use pgskein_pool::control::{Backend, LeaseId, ToSupervisor};
use pgskein_protocol::write;

use super::Worker;
use super::connect::open_socket;
use super::errand::Kind;
use super::server::Target;
use super::stream::{Outbox, Stream};

impl Worker {
    /// Cancels what the server of a dead worker still runs.
    ///
    /// Where that is not possible nothing is said: the lease comes back by
    /// itself, after `lease_linger`. So it is where a certificate has to have the
    /// name of the host and has not its address: the name is not known here.
    pub(super) fn cancel_orphan(&mut self, lease: LeaseId, backend: &Backend) {
        let target = match backend.target.parse::<SocketAddr>() {
            Ok(address) => Target::Tcp(address),
            Err(_) => Target::Unix(backend.target.clone().into()),
        };
        let mut outbox = Outbox::default();
        if write::cancel_request(outbox.buffer(), backend.process_id, &backend.secret).is_err() {
            return;
        }
        match open_socket(&target, &self.config.settings) {
            Ok(socket) => {
                let mut stream = Stream::to_server(socket);
                if let Err(error) = self.secure(&mut stream, &target) {
                    return log::warn!("{target}: failed cancel request: TLS: {error}");
                }
                self.start_errand(stream, outbox, Kind::CancelOrphan { lease });
            }
            Err(error) => log::warn!("{target}: failed cancel request for an orphan: {error}"),
        }
    }

    /// The connection of such a cancel has ended.
    pub(super) fn orphan_over(&mut self, lease: LeaseId, done: bool) {
        if done {
            self.tell_supervisor(&ToSupervisor::OrphanCancelled { lease });
        } else {
            log::warn!("failed cancel request for an orphan");
        }
    }
}
