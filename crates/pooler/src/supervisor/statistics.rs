//! The statistics of the group: workers are asked for them, each period ends
//! with a line in the log, and consoles are told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mio::Token;
use pgskein_pool::console::{Topic, encode_rows};
use pgskein_pool::control::ToWorker;
use pgskein_pool::legacy::AskerId;
use pgskein_pool::statistics::{Book, BookAction, Group, Summary};

use super::Supervisor;
use super::tokens::number_of;

/// The book, and who has asked what.
#[derive(Debug)]
pub(crate) struct Statistics {
    pub book: Book,
    /// By the number of the round.
    inquiries: BTreeMap<u64, Inquiry>,
}

/// A console, or its worker, that waits for a table.
#[derive(Debug)]
struct Inquiry {
    worker: Token,
    request: u64,
    topic: Topic,
}

impl Statistics {
    /// Goes on with a book.
    pub(crate) fn of(book: Book) -> Self {
        Self {
            book,
            inquiries: BTreeMap::new(),
        }
    }

    /// Who waits for which table.
    pub(crate) fn waiting(&self) -> Vec<(AskerId, Topic)> {
        let waiting = self.inquiries.values().map(|inquiry| {
            let worker = number_of(inquiry.worker);
            let request = inquiry.request;
            (AskerId { worker, request }, inquiry.topic)
        });
        waiting.collect()
    }

    /// Nothing was counted yet.
    pub(crate) fn new(period: Duration, now: Instant) -> Self {
        Self {
            book: Book::new(period, now),
            inquiries: BTreeMap::new(),
        }
    }
}

impl Supervisor {
    /// Ends a period, or what somebody has asked for, when it is time.
    pub(crate) fn statistics_due(&mut self) {
        self.statistics.book.on_time(self.now);
        while let Some(action) = self.statistics.book.poll_action() {
            match action {
                BookAction::Ask {
                    worker,
                    round,
                    period,
                } => self.tell(Self::token_of(worker), &ToWorker::Count { round, period }),
                BookAction::Tell { round, group } => self.tell_statistics(round, &group),
                BookAction::Period { group } => self.log_period(&group),
            }
        }
    }

    /// A console asks for a table of what was counted; it is told once every
    /// worker has reported.
    pub(crate) fn ask_for_statistics(&mut self, worker: Token, request: u64, topic: Topic) {
        let timeout = self.config.settings.console_timeout;
        let patience = match timeout {
            Duration::ZERO => PATIENCE,
            timeout => PATIENCE.min(timeout / 2),
        };
        let round = self.statistics.book.ask(patience, self.now);
        let inquiry = Inquiry {
            worker,
            request,
            topic,
        };
        self.statistics.inquiries.insert(round, inquiry);
    }

    fn tell_statistics(&mut self, round: u64, group: &Group) {
        let Some(inquiry) = self.statistics.inquiries.remove(&round) else {
            return;
        };
        let (request, topic) = (inquiry.request, inquiry.topic);
        let rows = encode_rows(topic.table(), &group.rows(topic));
        self.tell(inquiry.worker, &ToWorker::Shown { request, rows });
    }

    fn log_period(&self, group: &Group) {
        if self.config.settings.log_stats {
            log::info!("{}", Summary(&group.averages_of_all()));
        }
    }
}

/// How long a worker has to report before its last report counts.
const PATIENCE: Duration = Duration::from_secs(1);
