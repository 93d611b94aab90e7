//! Tickets: the supervisor draws the secrets by which clients resume their TLS
//! sessions, and tells them to all workers.

use pgskein_pool::control::ToWorker;
use pgskein_pool::tickets::TicketSecret;
use zeroize::Zeroizing;

use super::Supervisor;

impl Supervisor {
    /// Draws the next secret when it is due.
    pub(crate) fn tickets_due(&mut self) {
        if self.tickets.due() > self.now {
            return;
        }
        let mut bytes = Zeroizing::new([0; 32]);
        match getrandom::fill(&mut *bytes) {
            Ok(()) => {
                self.tickets.renew(TicketSecret::new(bytes), self.now);
                let secrets = self.tickets.secrets().clone();
                self.tell_all(&ToWorker::Tickets(secrets));
            }
            Err(error) => {
                log::error!("no new secret for TLS tickets: {error}");
                self.tickets.postpone(self.now);
            }
        }
    }
}
