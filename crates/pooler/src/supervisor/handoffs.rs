//! What workers say of connections that go from one to the other.

use pgskein_pool::control::HandoffReport;
use pgskein_pool::ledger::{Giver, WorkerId};

use super::Supervisor;
use super::hear::limits;

impl Supervisor {
    pub(super) fn hear_of_handoff(&mut self, id: WorkerId, report: HandoffReport) {
        let (now, linger) = (self.now, self.config.settings.lease_linger);
        match report {
            HandoffReport::Lent { lease, to } => {
                let to = self.living(to);
                self.ledger.lent(id, lease, to, linger, now);
            }
            HandoffReport::Received(report) => {
                let runtime = self.orders.state();
                let limits = limits(&self.config, runtime, &report.pool, self.is_draining());
                self.ledger.received(id, report, limits, now);
            }
            HandoffReport::Client { client, to } => {
                let to = self.living(to);
                self.client_places.handed_over(id, client, to);
            }
            HandoffReport::Over {
                slot,
                generation,
                process,
            } => {
                let giver = match self.living(process) {
                    Some(giver) => Giver::Living(giver),
                    None => Giver::Dead { slot, generation },
                };
                self.ledger.handoffs_over(id, giver, linger, now);
                self.client_places.handoffs_over(id, giver);
            }
        }
    }

    /// The worker that is this process, if it is not buried.
    fn living(&self, process: u32) -> Option<WorkerId> {
        let process = i32::try_from(process).ok()?;
        let mut workers = self.workers.values();
        let worker = workers.find(|worker| worker.pid.as_raw() == process)?;
        Some(worker.id)
    }
}
