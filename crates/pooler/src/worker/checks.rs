//! Checks: what somebody else is asked about passwords, by threads.
//!
//! Each directory, and each service of PAM, has a few threads of its own and a
//! queue with an end, so that one that does not answer delays nobody who asks
//! another. A question is forgotten when its login is over: each has a ticket
//! that the login holds, and looks whether it is still there. No thread is
//! waited for when the worker ends.

mod ldap;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::Waker;
use pgskein_config::{Checker, Ldap, LdapServer, Pam};
use pgskein_pool::desk::{Asked, Desk};
use pgskein_pool::directory::{Outages, Verdict};
use pgskein_pool::slab::ClientId;
use pgskein_protocol::Secret;
use rustls::ClientConfig;
use zeroize::Zeroizing;

use super::Worker;
use super::client::Origin;
use super::denied::Denied;
use super::login::Step;
use super::reason::Reason;
use super::secrets::Fetched;
use super::unconfirmed::{Service, Unconfirmed};
use crate::pam_check;

/// What a login holds as long as it waits for the answer to a question.
#[derive(Debug)]
pub(super) struct Ticket(Arc<()>);

/// A question about a password.
struct Question {
    client: ClientId,
    /// The ticket, which is gone when nobody wants the answer any more.
    wanted: Weak<()>,
    user: String,
    password: Zeroizing<Vec<u8>>,
    of: Of,
}

/// Who is asked.
enum Of {
    Ldap {
        ldap: Arc<Ldap>,
        /// Its servers, in the order in which they are asked.
        servers: Vec<LdapServer>,
        tls: Option<Arc<ClientConfig>>,
        /// How long one may take for an answer.
        timeout: Duration,
    },
    Pam {
        pam: Arc<Pam>,
        /// Where the client comes from.
        remote: String,
    },
}

/// A question that was answered.
struct Answered {
    question: Question,
    /// Servers that have failed, and why.
    failed: Vec<(LdapServer, String)>,
    /// The one that has answered.
    server: Option<LdapServer>,
    /// Whether user and password belong together, or why nobody says so.
    verdict: Result<(), String>,
}

/// Threads for one service, and who waits for them.
struct Place {
    desk: Desk<Question>,
    threads: usize,
    sender: Sender<Question>,
    receiver: Receiver<Question>,
}

/// What has threads of its own.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Key {
    Ldap(Vec<LdapServer>),
    Pam(String, Option<String>),
}

/// The threads that ask, and the way to them.
pub(super) struct Checks {
    waker: Arc<Waker>,
    places: HashMap<Key, Place>,
    outages: Outages,
    done: (Sender<Answered>, Receiver<Answered>),
}

impl Checks {
    /// No threads yet; `waker` wakes the loop.
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self {
            waker,
            places: HashMap::new(),
            outages: Outages::default(),
            done: unbounded(),
        }
    }

    /// Asks a question; false when too many wait already.
    fn ask(&mut self, mut question: Question, now: Instant) -> io::Result<bool> {
        let key = question.key();
        let place = self.places.entry(key).or_insert_with(|| {
            let (sender, receiver) = unbounded();
            Place {
                desk: Desk::new(THREADS, ROOM),
                threads: 0,
                sender,
                receiver,
            }
        });
        question.put_in_order(&self.outages, now);
        match place.desk.ask(question, Question::is_wanted) {
            Asked::Now(question) => {
                if let Err(error) = place.start_thread(&self.done.0, &self.waker) {
                    place.desk.on_answered(|_| false);
                    return Err(error);
                }
                // The threads end with the last sender, never before.
                let _ = place.sender.send(question);
                Ok(true)
            }
            Asked::Waits => Ok(true),
            Asked::Full => Ok(false),
        }
    }

    /// The next question that was answered; the one behind it in the queue has
    /// its turn.
    fn poll_answered(&mut self, now: Instant) -> Option<Answered> {
        let answered = self.done.1.try_recv().ok()?;
        for (server, why) in &answered.failed {
            if self.outages.on_failed(server, now) {
                log::warn!("LDAP server {server}: {why}");
            }
        }
        if let Some(server) = &answered.server {
            self.outages.on_answered(server);
        }
        let key = answered.question.key();
        if let Some(place) = self.places.get_mut(&key) {
            if let Some(mut question) = place.desk.on_answered(Question::is_wanted) {
                question.put_in_order(&self.outages, now);
                let _ = place.sender.send(question);
            } else if place.desk.is_idle() {
                // The threads end; who asks next starts others.
                self.places.remove(&key);
            }
        }
        Some(answered)
    }
}

impl Place {
    fn start_thread(&mut self, done: &Sender<Answered>, waker: &Arc<Waker>) -> io::Result<()> {
        if self.threads >= THREADS {
            return Ok(());
        }
        let (questions, done, waker) = (self.receiver.clone(), done.clone(), Arc::clone(waker));
        let thread = thread::Builder::new().name("checks".to_owned());
        match thread.spawn(move || work(&questions, &done, &waker)) {
            Ok(_detached) => self.threads += 1,
            // Those that there are do it later.
            Err(_) if self.threads > 0 => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn work(questions: &Receiver<Question>, done: &Sender<Answered>, waker: &Waker) {
    for question in questions {
        if done.send(question.answer()).is_err() {
            return;
        }
        // The loop also looks when it wakes for something else.
        let _ = waker.wake();
    }
}

impl Question {
    fn key(&self) -> Key {
        match &self.of {
            Of::Ldap { ldap, .. } => Key::Ldap(ldap.servers.clone()),
            Of::Pam { pam, .. } => Key::Pam(pam.service.clone(), pam.folder.clone()),
        }
    }

    fn is_wanted(&self) -> bool {
        self.wanted.strong_count() > 0
    }

    /// Has servers asked last that have failed lately.
    fn put_in_order(&mut self, outages: &Outages, now: Instant) {
        if let Of::Ldap { ldap, servers, .. } = &mut self.of {
            *servers = outages.order(&ldap.servers, now);
        }
    }

    fn answer(self) -> Answered {
        let mut failed = Vec::new();
        let mut answered_by = None;
        let verdict = match &self.of {
            Of::Ldap { servers, .. } => {
                let mut verdict = None;
                for server in servers {
                    match ldap::ask(&self, server) {
                        Verdict::Failed(why) => failed.push((server.clone(), why)),
                        Verdict::Admitted => verdict = Some(Ok(())),
                        Verdict::Refused(why) => verdict = Some(Err(why)),
                    }
                    if verdict.is_some() {
                        answered_by = Some(server.clone());
                        break;
                    }
                    if !self.is_wanted() {
                        break;
                    }
                }
                verdict.unwrap_or_else(|| Err(unanswered(&failed)))
            }
            Of::Pam { pam, remote } => {
                let question = pam_check::Question {
                    pam,
                    user: self.user.as_bytes(),
                    password: &self.password,
                    remote: remote.as_bytes(),
                };
                match pam_check::ask(&question, || self.is_wanted()) {
                    Ok(Some(verdict)) => verdict,
                    Ok(None) => Err(String::new()),
                    Err(error) => Err(format!("PAM cannot be asked: {error}")),
                }
            }
        };
        if !self.is_wanted() {
            // It was given up, which says nothing about servers.
            failed.clear();
        }
        Answered {
            question: self,
            failed,
            server: answered_by,
            verdict,
        }
    }
}

/// No server has answered.
fn unanswered(failed: &[(LdapServer, String)]) -> String {
    let each = failed
        .iter()
        .map(|(server, why)| format!("{server}: {why}"));
    each.collect::<Vec<_>>().join("; ")
}

impl Worker {
    /// Has somebody else asked about the password of a client.
    pub(super) fn check_password(&mut self, id: ClientId, password: &[u8]) -> Result<(), Reason> {
        let now = self.now;
        let tls = self.tls.directories.clone();
        let timeout = self.config.settings.auth_ldap_timeout;
        let Some((login, origin)) = self.login_mut(id) else {
            return Ok(());
        };
        let Some(checker) = login.checker.clone() else {
            return Err(Reason::Denied(Denied::NoLine));
        };
        let service = Service::of(&checker);
        let of = match checker {
            Checker::Ldap(ldap) => Of::Ldap {
                servers: Vec::new(),
                ldap,
                tls,
                timeout,
            },
            Checker::Pam(pam) => Of::Pam {
                pam,
                remote: match origin {
                    Origin::Tcp(address) => address.ip().to_string(),
                    Origin::Unix { .. } => "[local]".to_owned(),
                },
            },
        };
        let why = if password.contains(&0) || password.len() > PASSWORD_MAX {
            Some("the password is none")
        } else if has_idle_blanks(&login.user) {
            Some("the name has blanks that directories do not count")
        } else {
            None
        };
        if let Some(why) = why {
            let refused = Unconfirmed::Refused(service, why.to_owned());
            return Err(Reason::Unconfirmed(refused));
        }
        let ticket = Ticket(Arc::new(()));
        let question = Question {
            client: id,
            wanted: Arc::downgrade(&ticket.0),
            user: login.user.clone(),
            password: Zeroizing::new(password.to_vec()),
            of,
        };
        login.step = Step::Checking(ticket);
        match self.checks.ask(question, now) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Reason::Unconfirmed(Unconfirmed::TooMany(service))),
            Err(error) => Err(Reason::ServerFailed {
                sqlstate: "53000".to_owned(),
                message: error.to_string(),
            }),
        }
    }

    /// Takes the answers that have come.
    pub(super) fn checks_done(&mut self) {
        while let Some(answered) = self.checks.poll_answered(self.now) {
            let Question {
                client,
                wanted,
                password,
                of,
                ..
            } = answered.question;
            let service = match of {
                Of::Ldap { .. } => Service::Ldap,
                Of::Pam { .. } => Service::Pam,
            };
            let Some((login, _)) = self.login_mut(client) else {
                continue;
            };
            match &login.step {
                Step::Checking(ticket) if wanted.as_ptr() == Arc::as_ptr(&ticket.0) => {}
                _ => continue,
            }
            let outcome = match answered.verdict {
                Ok(()) => {
                    login.step = Step::Deriving;
                    login.fetched = shown(&password);
                    self.authenticated(client)
                }
                Err(why) => Err(Reason::Unconfirmed(Unconfirmed::Refused(service, why))),
            };
            self.go_on(client, outcome);
        }
    }
}

/// Whether a name has blanks without which it is the same name in a directory, and
/// another one in our files.
///
/// Source: RFC 4518, "Insignificant Space Handling".
fn has_idle_blanks(user: &str) -> bool {
    user.starts_with(' ') || user.ends_with(' ') || user.contains("  ")
}

/// A password by which servers can be logged in to. One that looks like the
/// secret of another would be taken for that.
fn shown(password: &[u8]) -> Option<Fetched> {
    let text = std::str::from_utf8(password).ok()?;
    let plain = matches!(Secret::parse(text), Secret::Plain(_));
    plain.then(|| Fetched::Secret(text.into()))
}

impl std::fmt::Debug for Checks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.places.keys()).finish()
    }
}

/// Questions that one service is asked at the same time.
const THREADS: usize = 8;

/// Questions that wait for one service at most.
const ROOM: usize = 100;

/// Longest password that is passed on, in bytes; modules of PAM take less.
const PASSWORD_MAX: usize = 4096;
