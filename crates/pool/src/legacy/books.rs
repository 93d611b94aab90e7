//! The books of a supervisor, each in its own format.

use std::time::Instant;

use super::{AskerId, LegacyError};
use crate::client_places::ClientPlaces;
use crate::ledger::{Ledger, WorkerId};
use crate::octets::{Octets, Truncated, put_bytes};
use crate::old_hosts::OldHosts;
use crate::peers::Identity;
use crate::runtime::Orders;
use crate::statistics;
use crate::tickets::TicketBook;
use crate::welcomes::Welcomes;

/// The books of a supervisor; `A` is whoever asks.
#[derive(Debug)]
pub struct Books<A> {
    /// Who may hold which server.
    pub ledger: Ledger,
    /// Clients that count towards limits.
    pub client_places: ClientPlaces,
    /// What is paused and the like, and who waits for that.
    pub orders: Orders<A>,
    /// What was counted.
    pub statistics: statistics::Book,
    /// What servers report at their login.
    pub welcomes: Welcomes,
    /// Hosts that speak plain 3.0.
    pub old_hosts: OldHosts,
    /// The numbers of this host among its peers; programs before these had
    /// numbers do not tell.
    pub identity: Option<Identity>,
    /// The secrets of TLS tickets; programs before there were any do not tell.
    pub tickets: Option<TicketBook>,
}

/// The same books, where they are.
#[derive(Debug)]
pub struct BooksRef<'a, A> {
    /// Who may hold which server.
    pub ledger: &'a Ledger,
    /// Clients that count towards limits.
    pub client_places: &'a ClientPlaces,
    /// What is paused and the like, and who waits for that.
    pub orders: &'a Orders<A>,
    /// What was counted.
    pub statistics: &'a statistics::Book,
    /// What servers report at their login.
    pub welcomes: &'a Welcomes,
    /// Hosts that speak plain 3.0.
    pub old_hosts: &'a OldHosts,
    /// The numbers of this host among its peers.
    pub identity: &'a Identity,
    /// The secrets of TLS tickets.
    pub tickets: &'a TicketBook,
}

impl<A: Clone + PartialEq> BooksRef<'_, A> {
    /// Writes the books down, as they are at `now`; `name` says who asks, if
    /// somebody waits for the answer.
    pub fn encode(&self, now: Instant, name: impl Fn(&A) -> Option<AskerId>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut ledger = Vec::new();
        self.ledger.encode(now, &mut ledger);
        put_bytes(&mut out, &ledger);
        self.client_places.encode(&mut out);
        self.orders.encode(now, name, &mut out);
        self.statistics.encode(now, &mut out);
        self.welcomes.encode(&mut out);
        self.old_hosts.encode(&mut out);
        self.identity.encode(&mut out);
        self.tickets.encode(now, &mut out);
        out
    }
}

impl<A: Clone + PartialEq> Books<A> {
    /// Reads books that were written down just before `now`; `asker` finds
    /// whoever has this name. These workers report to the ledger first.
    ///
    /// # Errors
    ///
    /// [`LegacyError`] when a book is not of a known version.
    pub fn decode(
        bytes: &[u8],
        reporting: impl IntoIterator<Item = WorkerId>,
        now: Instant,
        asker: impl Fn(Option<AskerId>) -> A,
    ) -> Result<Self, LegacyError> {
        let malformed = |Truncated| LegacyError::Malformed;
        let mut octets = Octets(bytes);
        let ledger = octets.bytes().map_err(malformed)?;
        let ledger = Ledger::decode(ledger, reporting, now).map_err(LegacyError::Ledger)?;
        let rest = || {
            let books = Self {
                ledger,
                client_places: ClientPlaces::decode(&mut octets)?,
                orders: Orders::decode(&mut octets, now, asker)?,
                statistics: statistics::Book::decode(&mut octets, now)?,
                welcomes: Welcomes::decode(&mut octets)?,
                old_hosts: OldHosts::decode(&mut octets)?,
                identity: match octets.0 {
                    [] => None,
                    _ => Some(Identity::decode(&mut octets)?),
                },
                tickets: match octets.0 {
                    [] => None,
                    _ => Some(TicketBook::decode(&mut octets, now)?),
                },
            };
            octets.end().map(|()| books)
        };
        rest().map_err(malformed)
    }
}
