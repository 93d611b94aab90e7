//! Reload: all workers go over to the new configuration, or none.
//!
//! ```text
//! asked ── files are wrong ──> answered
//!   │
//!   └─> preparing ── a worker refuses ──> abandoned
//!           └─────── all have prepared ─> committing ── all have ──> answered
//! ```
//!
//! Who asks while files are read or workers prepare gets another round. A SET
//! goes the same way, with the files that were read last; reading them again
//! forgets it.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use mio::Token;
use pgskein_config::{Config, Finding, Settings, Sources};
use pgskein_pool::control::{Asked, ToWorker};
use pgskein_pool::legacy::AskerId;
use pgskein_protocol::key::Slot;

use super::Supervisor;
use super::ask::Asker;
use super::orders::silence;
use crate::{files, logging};

/// Reloads that were asked for, and the one that is under way.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    asked: VecDeque<(Asker, Change)>,
    current: Option<Reload>,
    /// All workers are going over.
    committing: Option<Committing>,
    last_version: u64,
}

/// What somebody wants to have changed.
#[derive(Debug)]
pub(crate) enum Change {
    /// The files are read again.
    Files,
    /// A setting gets another value.
    Setting { name: String, value: String },
    /// Another program takes the place of this one, with files read again.
    Program,
}

/// A configuration that workers prepare.
#[derive(Debug)]
struct Reload {
    version: u64,
    sources: Sources,
    config: Config,
    answer: Answer,
    waiting_for: BTreeSet<Token>,
    deadline: Instant,
}

/// A configuration that workers go over to.
#[derive(Debug)]
struct Committing {
    version: u64,
    answer: Answer,
    waiting_for: BTreeSet<Token>,
    /// Who was too slow before.
    slow: BTreeSet<Token>,
    /// When who has not gone over is no longer waited for.
    deadline: Option<Instant>,
}

/// What is to be said, and to whom, when a configuration is in effect.
#[derive(Debug)]
struct Answer {
    /// What askers get to know.
    notice: String,
    askers: Vec<Asker>,
}

impl Reloads {
    /// When workers that have not answered are no longer waited for.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let current = self.current.as_ref().map(|reload| reload.deadline);
        let committing = self.committing.as_ref().and_then(|reload| reload.deadline);
        current.or(committing)
    }

    /// The next configuration is of a later version than this.
    pub(crate) fn continue_from(&mut self, version: u64) {
        self.last_version = self.last_version.max(version);
    }

    /// Who waits for a turn, and for what.
    pub(crate) fn waiting(&self) -> Vec<(Option<AskerId>, Asked)> {
        let asked = self.asked.iter().map(|(asker, change)| {
            let asked = match change {
                Change::Files => Asked::Reload,
                Change::Setting { name, value } => Asked::Set {
                    name: name.clone(),
                    value: value.clone(),
                },
                Change::Program => Asked::Restart,
            };
            (asker.id(), asked)
        });
        asked.collect()
    }

    /// Whether workers are waited for.
    pub(crate) fn is_under_way(&self) -> bool {
        self.current.is_some() || self.committing.is_some()
    }

    /// A worker has died: it is not waited for.
    pub(crate) fn on_death(&mut self, token: Token) {
        if let Some(reload) = &mut self.current {
            reload.waiting_for.remove(&token);
        }
        if let Some(reload) = &mut self.committing {
            reload.waiting_for.remove(&token);
            reload.slow.remove(&token);
        }
    }
}

impl Supervisor {
    /// Has the configuration change once it is the turn of whoever asks.
    pub(crate) fn reload(&mut self, asker: Asker, change: Change) {
        self.reloads.asked.push_back((asker, change));
    }

    /// Begins the next reload, or ends the one that everybody has answered.
    pub(crate) fn reload_due(&mut self) {
        let now = self.now;
        let ended = |reload: &mut Reload| reload.waiting_for.is_empty() || reload.deadline <= now;
        if let Some(reload) = self.reloads.current.take_if(ended) {
            self.commit(reload);
        }
        let ended = |reload: &mut Committing| {
            reload.waiting_for.is_empty() || reload.deadline.is_some_and(|at| at <= now)
        };
        if let Some(reload) = self.reloads.committing.take_if(ended) {
            self.committed(reload);
        }
        while self.reloads.current.is_none()
            && self.reloads.committing.is_none()
            && self.check.is_none()
            && let Some((asker, change)) = self.reloads.asked.pop_front()
        {
            match change {
                Change::Files => self.prepare_files(asker),
                Change::Setting { name, value } => self.prepare_setting(asker, &name, &value),
                Change::Program => self.begin_restart(asker),
            }
        }
    }

    /// A worker that was started while a reload is under way takes part.
    pub(crate) fn prepare_newcomer(&mut self, token: Token) {
        if let Some(reload) = &mut self.reloads.current {
            reload.waiting_for.insert(token);
            let message = reload.message();
            self.tell(token, &message);
        }
    }

    pub(crate) fn on_prepared(&mut self, token: Token, version: u64) {
        let current = self.reloads.current.as_mut();
        if let Some(reload) = current.filter(|reload| reload.version == version) {
            reload.waiting_for.remove(&token);
        } else if version == self.config_version
            && let Some(worker) = self.workers.get_mut(&token)
            && std::mem::take(&mut worker.outdated)
        {
            self.tell(token, &ToWorker::Commit { version });
        }
    }

    pub(crate) fn on_committed(&mut self, token: Token, version: u64) {
        let committing = self.reloads.committing.as_mut();
        if let Some(reload) = committing.filter(|reload| reload.version == version) {
            reload.waiting_for.remove(&token);
        }
    }

    pub(crate) fn on_refused(&mut self, worker: Slot, version: u64, reason: &str) {
        let refused = |reload: &mut Reload| reload.version == version;
        if let Some(reload) = self.reloads.current.take_if(refused) {
            self.tell_all(&ToWorker::Abandon { version });
            let why = format!("worker {worker} refused it: {reason}");
            log::error!("config version {version} was not put into effect: {why}");
            self.answer_all(&reload.answer.askers, &Err(why));
        } else {
            log::warn!("worker {worker}: goes on with its own config: {reason}");
        }
    }

    /// Reads the files, for all who have asked for it in a row.
    fn prepare_files(&mut self, first: Asker) {
        let mut answer = Answer {
            notice: String::new(),
            askers: vec![first],
        };
        while let Some((asker, Change::Files)) = self.reloads.asked.front() {
            answer.askers.push(*asker);
            self.reloads.asked.pop_front();
        }
        self.service_reloads();
        match files::read(self.sources.main()) {
            Ok((sources, mut config)) => {
                let kept = self.keep_running(&mut config);
                let notes: Vec<Finding> = config.warnings.iter().cloned().chain(kept).collect();
                for note in &notes {
                    log::warn!("{note}");
                }
                answer.notice = lines(&notes);
                self.prepare(sources, config, answer);
            }
            Err(findings) => {
                for finding in &findings {
                    log::error!("{finding}");
                }
                log::error!("the configuration was not changed");
                self.answer_all(&answer.askers, &Err(lines(&findings)));
            }
        }
    }

    fn prepare_setting(&mut self, asker: Asker, name: &str, value: &str) {
        let mut answer = Answer {
            notice: String::new(),
            askers: vec![asker],
        };
        let made = self.sources.with(name, value);
        let made = made.and_then(|(sources, mut config)| {
            files::usable(&mut config)?;
            Ok((sources, config))
        });
        match made {
            Ok((sources, mut config)) => {
                self.keep_running(&mut config);
                let known = &self.config.warnings;
                let new = config.warnings.iter().filter(|note| !known.contains(note));
                answer.notice = lines(&new.cloned().collect::<Vec<_>>());
                self.prepare(sources, config, answer);
            }
            Err(findings) => self.answer_all(&answer.askers, &Err(lines(&findings))),
        }
    }

    /// Leaves what only a start can change; says what that is.
    fn keep_running(&self, config: &mut Config) -> Vec<Finding> {
        self.keep_user(config);
        config.keep_restart_settings(&self.config.settings)
    }

    /// Leaves a user that was given by -u, which is not taken back.
    pub(crate) fn keep_user(&self, config: &mut Config) {
        if !config.places.contains_key("user") {
            config.settings.user.clone_from(&self.config.settings.user);
        }
    }

    fn prepare(&mut self, sources: Sources, config: Config, answer: Answer) {
        let last = self.reloads.last_version.max(self.config_version);
        let patience = match self.config.settings.console_timeout {
            Duration::ZERO => PATIENCE,
            timeout => timeout,
        };
        let reload = Reload {
            version: last + 1,
            sources,
            config,
            answer,
            waiting_for: self.worker_tokens().into_iter().collect(),
            deadline: self.now + patience,
        };
        self.reloads.last_version = reload.version;
        self.tell_all(&reload.message());
        self.reloads.current = Some(reload);
    }

    fn commit(&mut self, reload: Reload) {
        let Reload {
            version,
            sources,
            config,
            answer,
            waiting_for,
            ..
        } = reload;
        for token in &waiting_for {
            if let Some(worker) = self.workers.get(token) {
                log::warn!("worker {}: slow to prepare the config", worker.id.slot);
            }
        }
        self.sources = sources;
        let old = std::mem::replace(&mut self.config, config);
        self.config_version = version;
        logging::apply(&self.config.settings);
        self.tell_all(&ToWorker::Commit { version });
        if logs_elsewhere(&old.settings, &self.config.settings) {
            self.renew_http();
        }
        self.config_changed(Some(&old));
        log::info!("config version {version} is in effect");
        let patience = self.config.settings.console_timeout;
        let others = self.worker_tokens().into_iter();
        self.reloads.committing = Some(Committing {
            version,
            answer,
            waiting_for: others
                .filter(|token| !waiting_for.contains(token))
                .collect(),
            slow: waiting_for,
            deadline: (!patience.is_zero()).then(|| self.now + patience),
        });
    }

    /// Puts the configuration into effect in the books, in place of the one
    /// before, if that is known.
    pub(crate) fn config_changed(&mut self, old: Option<&Config>) {
        self.renew_welcomes(old);
        self.identity.change(self.config.peer_id);
        self.old_hosts.forget();
        self.ledger.forget_places();
        let period = self.config.settings.stats_period;
        self.statistics.book.on_length(period);
        self.renew_limits();
    }

    fn committed(&mut self, reload: Committing) {
        let workers = reload.waiting_for.union(&reload.slow);
        let workers = workers.filter_map(|token| self.workers.get(token));
        let silent: Vec<Slot> = workers.map(|worker| worker.id.slot).collect();
        let notices = [reload.answer.notice.as_str(), &silence(&silent)];
        let notices: Vec<&str> = notices.into_iter().filter(|s| !s.is_empty()).collect();
        let notice = notices.join("\n");
        self.answer_all(&reload.answer.askers, &Ok(notice));
    }

    fn answer_all(&mut self, askers: &[Asker], outcome: &Result<String, String>) {
        for asker in askers {
            self.answer_console(*asker, outcome.clone());
        }
    }
}

impl Reload {
    fn message(&self) -> ToWorker {
        ToWorker::Prepare {
            version: self.version,
            sources: self.sources.encode(),
        }
    }
}

/// Whether the log is to go somewhere else, or to be longer or shorter.
fn logs_elsewhere(old: &Settings, new: &Settings) -> bool {
    let of = |settings: &Settings| {
        let syslog = [&settings.syslog_ident, &settings.syslog_facility].map(String::clone);
        let file = settings.logfile.clone();
        (file, settings.syslog, syslog, settings.verbose)
    };
    of(old) != of(new)
}

/// Findings as lines of a notice.
pub(crate) fn lines(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// How long workers are waited for until they have prepared, where
/// `console_timeout` says nothing.
const PATIENCE: Duration = Duration::from_secs(5);
