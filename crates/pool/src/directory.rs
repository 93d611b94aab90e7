//! Directory: what is said with a server of a directory to find out whether a
//! password is the user's.
//!
//! ```text
//! StartTls ──> Searcher ──> Search ──> User ──> (Verdict)
//!         └─────────────────────────────┘
//! ```
//!
//! Bytes come in as messages and go out to a buffer of the caller; whoever has
//! the socket shakes hands for TLS where this says so.
//!
//! Source: PostgreSQL documentation, "LDAP Authentication"; RFC 4511.

mod filter;
mod name;
mod outages;

use pgskein_config::{Ldap, LdapEncryption, LdapLookup, LdapScope};
use pgskein_protocol::ldap::{self, Answer, Message, Outcome, Scope};

pub use self::outages::Outages;

/// A conversation with one server of a directory.
#[derive(Debug)]
pub struct Talk<'a> {
    ldap: &'a Ldap,
    user: &'a str,
    password: &'a [u8],
    /// How long the directory may search, in seconds.
    seconds: u32,
    step: Step,
    /// Number of the last request.
    id: u32,
}

/// What is to be done next.
#[derive(Debug, Eq, PartialEq)]
pub enum Next {
    /// Send what was written, and wait for a message.
    Read,
    /// Begin TLS; nothing may have come behind the last message.
    Encrypt,
    /// It is known.
    Done(Verdict),
}

/// What a directory says about a user and a password.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// They belong together.
    Admitted,
    /// They do not, or the directory is not set up to say so.
    Refused(String),
    /// This server cannot say it; another one may.
    Failed(String),
}

#[derive(Debug)]
enum Step {
    /// Nothing was sent.
    Begin,
    /// TLS was asked for.
    StartTls,
    /// Who searches is to be let in.
    Searcher,
    /// The user is searched for; so many entries were found, and this is the
    /// first.
    Search { dn: Vec<u8>, found: usize },
    /// The user is to be let in.
    User,
}

impl<'a> Talk<'a> {
    /// Asks `ldap` about a password; it may search for so many seconds.
    pub fn new(ldap: &'a Ldap, user: &'a str, password: &'a [u8], seconds: u32) -> Self {
        Self {
            ldap,
            user,
            password,
            seconds,
            step: Step::Begin,
            id: 0,
        }
    }

    /// Says the first thing on a new connection, which has TLS already if the
    /// directory wants that from the first byte.
    pub fn begin(&mut self, out: &mut Vec<u8>) -> Next {
        if self.password.is_empty() {
            // A directory would bind as nobody, and say that it has worked.
            return refused("empty password");
        }
        if self.ldap.encryption == LdapEncryption::StartTls {
            self.step = Step::StartTls;
            ldap::write_start_tls(out, self.next_id());
            return Next::Read;
        }
        self.look_up(out)
    }

    /// Goes on after the handshake that [`Next::Encrypt`] has asked for.
    pub fn encrypted(&mut self, out: &mut Vec<u8>) -> Next {
        self.look_up(out)
    }

    /// Takes a message of the directory.
    pub fn on_message(&mut self, message: &Message<'_>, out: &mut Vec<u8>) -> Next {
        if message.id != self.id {
            return match message.answer {
                Answer::Extended(outcome) if message.id == 0 => {
                    failed(&format!("it ends the connection: {outcome}"))
                }
                _ => failed("it answers what was not asked"),
            };
        }
        match (&mut self.step, message.answer) {
            (_, Answer::Intermediate) => Next::Read,
            (Step::StartTls, Answer::Extended(outcome)) if outcome.is_success() => Next::Encrypt,
            (Step::StartTls, Answer::Extended(outcome)) => failed(&format!("no TLS: {outcome}")),
            (Step::Searcher, Answer::Bind(outcome)) if outcome.is_success() => self.search(out),
            (Step::Searcher, Answer::Bind(outcome)) => over("bind of ldapbinddn", outcome),
            (Step::Search { dn, found }, Answer::Entry(entry)) => {
                if *found == 0 {
                    entry.clone_into(dn);
                }
                *found += 1;
                Next::Read
            }
            (Step::Search { .. }, Answer::Reference) => Next::Read,
            (Step::Search { dn, found }, Answer::SearchDone(outcome)) => {
                let (dn, found) = (std::mem::take(dn), *found);
                match found {
                    2.. => refused("the user is not unique"),
                    _ if !outcome.is_success() => over("search", outcome),
                    0 => refused("the directory does not know the user"),
                    // By an empty name anybody would be let in as nobody.
                    _ if dn.is_empty() => refused("the user has no name in the directory"),
                    _ => self.bind_user(&dn, out),
                }
            }
            (Step::User, Answer::Bind(outcome)) if outcome.is_success() => {
                Next::Done(Verdict::Admitted)
            }
            (Step::User, Answer::Bind(outcome)) => over("bind of the user", outcome),
            _ => failed("it answers something else than was asked"),
        }
    }

    fn look_up(&mut self, out: &mut Vec<u8>) -> Next {
        match &self.ldap.lookup {
            LdapLookup::Bind { prefix, suffix } => match name::of(prefix, self.user, suffix) {
                Some(dn) => self.bind_user(dn.as_bytes(), out),
                None => refused("the name of the user has characters that mean something else"),
            },
            LdapLookup::Search {
                bind_dn,
                bind_password,
                ..
            } => {
                self.step = Step::Searcher;
                let id = self.next_id();
                ldap::write_bind(out, id, bind_dn.as_bytes(), bind_password.as_bytes());
                Next::Read
            }
        }
    }

    fn search(&mut self, out: &mut Vec<u8>) -> Next {
        let ldap = self.ldap;
        let LdapLookup::Search {
            base,
            scope,
            filter,
            ..
        } = &ldap.lookup
        else {
            return failed("it answers something else than was asked");
        };
        self.step = Step::Search {
            dn: Vec::new(),
            found: 0,
        };
        let scope = match scope {
            LdapScope::Base => Scope::Base,
            LdapScope::One => Scope::One,
            LdapScope::Subtree => Scope::Subtree,
        };
        let (base, limits) = ((base.as_bytes(), scope), (MOST_ENTRIES, self.seconds));
        let id = self.next_id();
        ldap::write_search(out, id, base, limits, |writer| {
            filter::write(filter, self.user, writer);
        });
        Next::Read
    }

    fn bind_user(&mut self, dn: &[u8], out: &mut Vec<u8>) -> Next {
        self.step = Step::User;
        // So that no part of the password stays behind in memory.
        out.reserve_exact(dn.len() + self.password.len() + REQUEST_ROOM);
        ldap::write_bind(out, self.next_id(), dn, self.password);
        Next::Read
    }

    fn next_id(&mut self) -> u32 {
        self.id += 1;
        self.id
    }
}

/// It is over with what a directory has said to a request.
fn over(request: &str, outcome: Outcome<'_>) -> Next {
    let text = format!("{request}: {outcome}");
    match outcome.code {
        BUSY | UNAVAILABLE => Next::Done(Verdict::Failed(text)),
        _ => Next::Done(Verdict::Refused(text)),
    }
}

fn refused(why: &str) -> Next {
    Next::Done(Verdict::Refused(why.to_owned()))
}

fn failed(why: &str) -> Next {
    Next::Done(Verdict::Failed(why.to_owned()))
}

/// As many entries as it takes to see that a user is not unique.
const MOST_ENTRIES: u32 = 2;

/// What a bind needs beside name and password, in bytes, and more.
const REQUEST_ROOM: usize = 64;

/// Codes of a server that another one may do better than.
///
/// Source: RFC 4511, "Result Code Definitions".
const BUSY: u32 = 51;
const UNAVAILABLE: u32 = 52;

#[cfg(test)]
mod tests;
