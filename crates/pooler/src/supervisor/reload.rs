//! Reload: all workers go over to the new configuration, or none.
//!
//! ```text
//! asked ── files are wrong ──> answered
//!   │
//!   └─> preparing ── a worker refuses ──> abandoned
//!           └─────── all have prepared ─> committed
//! ```
//!
//! Who asks while files are read or workers prepare gets another round.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mio::Token;
use pgskein_config::{Config, Finding, Sources};
use pgskein_pool::control::ToWorker;
use pgskein_protocol::key::Slot;

use super::Supervisor;
use crate::{files, logging};

/// Reloads that were asked for, and the one that is under way.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    asked: Vec<Asker>,
    current: Option<Reload>,
    last_version: u64,
}

/// Whoever wants to know how a reload ended.
#[derive(Clone, Copy, Debug)]
enum Asker {
    /// A signal, which is told by the log.
    Signal,
    /// A console of this worker.
    Worker { token: Token, request: u64 },
}

/// A configuration that workers prepare.
#[derive(Debug)]
struct Reload {
    version: u64,
    sources: Sources,
    config: Config,
    /// What askers get to know when it is in effect.
    notice: String,
    askers: Vec<Asker>,
    waiting_for: BTreeSet<Token>,
    deadline: Instant,
}

impl Reloads {
    /// When workers that have not answered are no longer waited for.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.current.as_ref().map(|reload| reload.deadline)
    }

    /// A worker has died: it is not waited for.
    pub(crate) fn on_death(&mut self, token: Token) {
        if let Some(reload) = &mut self.current {
            reload.waiting_for.remove(&token);
        }
    }
}

impl Supervisor {
    /// SIGHUP asks for a reload.
    pub(crate) fn reload_for_signal(&mut self) {
        self.reloads.asked.push(Asker::Signal);
    }

    /// The console of a worker asks for a reload.
    pub(crate) fn reload_for_worker(&mut self, token: Token, request: u64) {
        self.reloads.asked.push(Asker::Worker { token, request });
    }

    /// Begins the next reload, or ends the one that everybody has answered.
    pub(crate) fn reload_due(&mut self) {
        let now = self.now;
        let ended = |reload: &mut Reload| reload.waiting_for.is_empty() || reload.deadline <= now;
        if let Some(reload) = self.reloads.current.take_if(ended) {
            self.commit(reload);
        }
        if self.reloads.current.is_none() && !self.reloads.asked.is_empty() {
            let askers = std::mem::take(&mut self.reloads.asked);
            self.prepare(askers);
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
        }
    }

    pub(crate) fn on_refused(&mut self, worker: Slot, version: u64, reason: &str) {
        let refused = |reload: &mut Reload| reload.version == version;
        if let Some(reload) = self.reloads.current.take_if(refused) {
            self.tell_all(&ToWorker::Abandon { version });
            let why = format!("worker {worker} refused it: {reason}");
            log::error!("config version {version} was not put into effect: {why}");
            self.answer(&reload.askers, &Err(why));
        }
    }

    fn prepare(&mut self, askers: Vec<Asker>) {
        match files::read(self.sources.main()) {
            Ok((sources, mut config)) => {
                let user = &self.config.settings.user;
                if !config.places.contains_key("user") {
                    // It was given by -u, which is not taken back.
                    config.settings.user.clone_from(user);
                }
                let kept = config.keep_restart_settings(&self.config.settings);
                let notes: Vec<Finding> = config.warnings.iter().cloned().chain(kept).collect();
                for note in &notes {
                    log::warn!("{note}");
                }
                let last = self.reloads.last_version.max(self.config_version);
                let reload = Reload {
                    version: last + 1,
                    sources,
                    config,
                    notice: lines(&notes),
                    askers,
                    waiting_for: self.worker_tokens().into_iter().collect(),
                    deadline: self.now + PATIENCE,
                };
                self.reloads.last_version = reload.version;
                self.tell_all(&reload.message());
                self.reloads.current = Some(reload);
            }
            Err(findings) => {
                for finding in &findings {
                    log::error!("{finding}");
                }
                log::error!("the configuration was not changed");
                self.answer(&askers, &Err(lines(&findings)));
            }
        }
    }

    fn commit(&mut self, reload: Reload) {
        let Reload {
            version,
            sources,
            config,
            notice,
            askers,
            waiting_for,
            ..
        } = reload;
        for token in waiting_for {
            if let Some(worker) = self.workers.get(&token) {
                log::warn!("worker {}: slow to prepare the config", worker.id.slot);
            }
        }
        self.sources = sources;
        let old = std::mem::replace(&mut self.config, config);
        self.config_version = version;
        self.renew_welcomes(&old);
        self.old_hosts.forget();
        logging::apply(&self.config.settings);
        self.statistics.on_length(self.config.settings.stats_period);
        self.tell_all(&ToWorker::Commit { version });
        self.renew_limits();
        log::info!("config version {version} is in effect");
        self.answer(&askers, &Ok(notice));
    }

    fn answer(&mut self, askers: &[Asker], outcome: &Result<String, String>) {
        for asker in askers {
            if let Asker::Worker { token, request } = *asker {
                let outcome = outcome.clone();
                self.tell(token, &ToWorker::Reloaded { request, outcome });
            }
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

fn lines(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// How long workers are waited for until they have prepared.
const PATIENCE: Duration = Duration::from_secs(5);
