//! What workers say of hosts that leave, and the log of it.

use pgskein_pool::control::HostReport;
use pgskein_pool::ledger::{HostNews, Unreachable, WorkerId};

use super::Supervisor;
use super::hear::limits;

impl Supervisor {
    /// A worker says something of the host of a server.
    pub(crate) fn hear_of_host(&mut self, id: WorkerId, report: HostReport) {
        let now = self.now;
        match report {
            HostReport::AskedToGo { lease, host } => {
                self.ledger.asked_to_go(id, lease, &host, now);
            }
            HostReport::Farewell { lease, host } => {
                self.ledger.said_farewell(id, lease, &host, now);
            }
            HostReport::Unreachable {
                lease,
                host,
                says,
                message,
            } => {
                let why = Unreachable {
                    host,
                    says,
                    message,
                };
                let random = getrandom::u64().unwrap_or(lease.id);
                note_host(self.ledger.unreachable(id, lease, why, random, now));
            }
            HostReport::Refused { lease, host, says } => {
                self.ledger.refused_at(id, lease, &host, says, now);
            }
            HostReport::Answered { lease, host } => {
                note_host(self.ledger.answered(id, lease, host, now));
            }
            HostReport::Leaving {
                pool,
                host,
                message,
            } => {
                let runtime = self.orders.state();
                let limits = limits(&self.config, runtime, &pool, self.is_draining());
                let why = Unreachable {
                    host,
                    says: false,
                    message,
                };
                self.ledger.inherit_leaving(&pool, why, limits, now);
            }
        }
    }
}

/// Notes in the log what has become of a host, once for the group.
pub(super) fn note_host(news: Option<HostNews>) {
    match news {
        Some(HostNews::Leaves { host, message }) => {
            log::warn!("{host}: leaving, clients wait for it: {message}");
        }
        Some(HostNews::Back { host, after }) => {
            log::info!("{host}: back after {:.1}s", after.as_secs_f64());
        }
        None => {}
    }
}
