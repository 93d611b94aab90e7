//! Asking: what consoles and signals want of the whole group, and the answers.

use mio::Token;
use pgskein_pool::control::{Asked, ToWorker};
use pgskein_pool::legacy::AskerId;

use super::Supervisor;
use super::reload::Change;
use super::tokens::{number_of, token_of};

/// Whoever wants to know what has come of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asker {
    /// A signal, which is told by the log.
    Signal,
    /// A console of this worker.
    Worker { token: Token, request: u64 },
}

impl Asker {
    /// How it is called where it is written down; nothing for a signal.
    pub(crate) fn id(&self) -> Option<AskerId> {
        match *self {
            Self::Signal => None,
            Self::Worker { token, request } => Some(AskerId {
                worker: number_of(token),
                request,
            }),
        }
    }

    /// Who is called so.
    pub(crate) fn of_id(id: Option<AskerId>) -> Self {
        id.map_or(Self::Signal, |id| Self::Worker {
            token: token_of(id.worker),
            request: id.request,
        })
    }
}

impl Supervisor {
    /// Begins what is asked for, or has it wait for its turn.
    pub(crate) fn ask(&mut self, asker: Asker, asked: Asked) {
        match asked {
            Asked::Reload => self.reload(asker, Change::Files),
            Asked::Set { name, value } => self.reload(asker, Change::Setting { name, value }),
            Asked::Order(order) => self.order(&order, asker),
            Asked::Restart => self.restart(asker),
            Asked::Move { client, to } => self.move_client(asker, client, to),
            Asked::Balance => self.balance(asker),
        }
    }

    /// Tells a console what has come of what it has asked for. A signal was told
    /// by the log already.
    pub(crate) fn answer_console(&mut self, asker: Asker, outcome: Result<String, String>) {
        if asker != Asker::Signal {
            self.answer(asker, outcome);
        }
    }

    /// Tells whoever has asked what has come of it: a notice that may be empty,
    /// or an error with its detail in further lines.
    pub(crate) fn answer(&mut self, asker: Asker, outcome: Result<String, String>) {
        match (asker, outcome) {
            (Asker::Worker { token, request }, outcome) => {
                self.tell(token, &ToWorker::Answered { request, outcome });
            }
            (Asker::Signal, Ok(notice)) if notice.is_empty() => {}
            (Asker::Signal, Ok(text) | Err(text)) => log::warn!("{text}"),
        }
    }
}
