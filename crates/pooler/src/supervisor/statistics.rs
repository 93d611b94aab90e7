//! The statistics of the group: workers are asked for them, and each period ends
//! with a line in the log.

use pgskein_pool::control::ToWorker;
use pgskein_pool::statistics::{BookAction, Group, Summary};

use super::Supervisor;

impl Supervisor {
    /// Ends a period, or what somebody has asked for, when it is time.
    pub(crate) fn statistics_due(&mut self) {
        self.statistics.on_time(self.now);
        while let Some(action) = self.statistics.poll_action() {
            match action {
                BookAction::Ask {
                    worker,
                    round,
                    period,
                } => self.tell(Self::token_of(worker), &ToWorker::Count { round, period }),
                BookAction::Tell { .. } => {}
                BookAction::Period { group } => self.log_period(&group),
            }
        }
    }

    fn log_period(&self, group: &Group) {
        if self.config.settings.log_stats {
            log::info!("{}", Summary(&group.averages_of_all()));
        }
    }
}
