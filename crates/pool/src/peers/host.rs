//! One other host: who is on the way there, and who waits.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::Request;

/// The number of a request that is on its way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ticket(pub(super) u64);

/// Another host of the group.
#[derive(Debug)]
pub struct Host<W> {
    /// Requests that the whole group may have on their way.
    pub(super) pool_size: u32,
    waiting: VecDeque<Request<W>>,
    under_way: Vec<UnderWay>,
    counts: Counts,
    /// When a request has ended as it should, last.
    succeeded: Option<Instant>,
    /// What went wrong last, and when.
    failed: Option<Outcome>,
    /// Counts addresses that have failed, so that the next request begins with
    /// the next one.
    turn: usize,
}

/// What was counted of a host.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Requests that were written whole.
    pub sent: u64,
    /// Requests that did not end as they should.
    pub failed: u64,
}

/// Something that went wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// When.
    pub at: Instant,
    /// What.
    pub error: String,
}

#[derive(Debug)]
struct UnderWay {
    ticket: Ticket,
    source: Option<IpAddr>,
    /// The turn of the address that it tries.
    turn: usize,
    /// When it was written whole, if it is.
    sent: Option<Instant>,
}

impl<W> Host<W> {
    /// How many wait for a place.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many are on their way and how many of these were written whole.
    pub fn under_way(&self) -> (usize, usize) {
        let sent = self.under_way.iter().filter(|one| one.sent.is_some());
        (self.under_way.len(), sent.count())
    }

    /// Whether somebody waits who can have a place, which `sharers` workers
    /// share.
    pub fn may_start(&self, sharers: usize) -> bool {
        !self.waiting.is_empty() && self.under_way.len() < self.places(sharers)
    }

    /// Whether the last request that has ended did not end as it should.
    pub fn is_failing(&self) -> bool {
        let failed = self.failed.as_ref().map(|outcome| outcome.at);
        failed.is_some() && failed > self.succeeded
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// When a request has ended as it should, last.
    pub fn succeeded(&self) -> Option<Instant> {
        self.succeeded
    }

    /// What went wrong last.
    pub fn failed(&self) -> Option<&Outcome> {
        self.failed.as_ref()
    }

    /// `addresses` in the order in which the next request tries them.
    pub fn in_turn<A: Clone>(&self, addresses: &[A]) -> Vec<A> {
        let start = self.turn.checked_rem(addresses.len()).unwrap_or(0);
        let (late, early) = addresses.split_at(start);
        early.iter().chain(late).cloned().collect()
    }

    pub(super) fn into_waiting(self) -> impl Iterator<Item = W> {
        self.waiting.into_iter().map(|request| request.waiter)
    }

    /// Lets a request wait. If too many do, one is refused: the newest of the
    /// source that has the most.
    pub(super) fn submit(&mut self, request: Request<W>) -> Result<(), Request<W>> {
        let source = prefix(request.source);
        let same = self.waiting.iter().filter(|w| prefix(w.source) == source);
        let same = same.count();
        let crowded = self.waiting.len() >= MOST_WAITING;
        if !crowded && same < MOST_OF_ONE_SOURCE {
            self.waiting.push_back(request);
            return Ok(());
        }
        self.counts.failed += 1;
        if same >= MOST_OF_ONE_SOURCE {
            return Err(request);
        }
        let Some(newest) = self.newest_of_most(same) else {
            return Err(request);
        };
        self.waiting.push_back(request);
        self.waiting.remove(newest).map_or(Ok(()), Err)
    }

    /// Where the newest request of the source waits of which the most do, if
    /// these are more than `same`.
    fn newest_of_most(&self, same: usize) -> Option<usize> {
        let mut waiting: HashMap<Option<IpAddr>, (usize, usize)> = HashMap::new();
        for (at, request) in self.waiting.iter().enumerate() {
            let (count, newest) = waiting.entry(prefix(request.source)).or_default();
            *count += 1;
            *newest = at;
        }
        let (most, newest) = waiting.into_values().max()?;
        (most > same).then_some(newest)
    }

    pub(super) fn poll_start(&mut self, ticket: Ticket, sharers: usize) -> Option<Request<W>> {
        if !self.may_start(sharers) {
            return None;
        }
        let mut uses: HashMap<Option<IpAddr>, usize> = HashMap::new();
        for one in &self.under_way {
            *uses.entry(one.source).or_default() += 1;
        }
        let waiting = self.waiting.iter().enumerate();
        // The first of those that are equal is the one that waits longest.
        let (next, _) = waiting.min_by_key(|(_, request)| {
            let source = prefix(request.source);
            uses.get(&source).copied().unwrap_or(0)
        })?;
        let request = self.waiting.remove(next)?;
        self.under_way.push(UnderWay {
            ticket,
            source: prefix(request.source),
            turn: self.turn,
            sent: None,
        });
        Some(request)
    }

    /// The one that has waited longest for its answer, if that is long and
    /// somebody waits for its place. It was sent, and nothing more can be done
    /// for it.
    pub(super) fn poll_yield(&mut self, sharers: usize, now: Instant) -> Option<Ticket> {
        if self.waiting.is_empty() || self.under_way.len() < self.places(sharers) {
            return None;
        }
        let sent = self.under_way.iter();
        let sent = sent.filter_map(|one| Some((one.sent?, one.ticket)));
        let (since, ticket) = sent.min_by_key(|(since, _)| *since)?;
        (now.saturating_duration_since(since) >= PATIENCE).then_some(ticket)
    }

    pub(super) fn on_looked_up(&mut self) {
        for request in &mut self.waiting {
            request.looked_up = true;
        }
    }

    pub(super) fn put_back(&mut self, ticket: Ticket, request: Request<W>) {
        self.under_way.retain(|one| one.ticket != ticket);
        self.waiting.push_front(request);
    }

    /// Whoever tries an address that has failed before goes on alone.
    pub(super) fn on_unreachable(&mut self, ticket: Ticket) {
        if let Some(one) = self.under_way.iter_mut().find(|one| one.ticket == ticket) {
            one.turn += 1;
            self.turn = self.turn.max(one.turn);
        }
    }

    pub(super) fn on_sent(&mut self, ticket: Ticket, now: Instant) {
        self.counts.sent += 1;
        if let Some(one) = self.under_way.iter_mut().find(|one| one.ticket == ticket) {
            one.sent = Some(now);
        }
    }

    pub(super) fn on_ended(&mut self, ticket: Ticket, error: Option<String>, now: Instant) {
        if error.is_some() {
            self.on_unreachable(ticket);
        }
        self.under_way.retain(|one| one.ticket != ticket);
        match error {
            None => self.succeeded = Some(now),
            Some(error) => self.fail(error, 1, now),
        }
    }

    pub(super) fn fail_waiting(&mut self, error: &str, now: Instant) -> Vec<W> {
        let waiting = std::mem::take(&mut self.waiting);
        if !waiting.is_empty() {
            self.fail(error.to_owned(), waiting.len() as u64, now);
        }
        waiting.into_iter().map(|request| request.waiter).collect()
    }

    pub(super) fn expire(&mut self, now: Instant) -> Vec<W> {
        let (late, waiting): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|request| request.deadline <= now);
        self.waiting = waiting;
        if !late.is_empty() {
            let error = "waited too long for the requests before it".to_owned();
            self.fail(error, late.len() as u64, now);
        }
        late.into_iter().map(|request| request.waiter).collect()
    }

    fn fail(&mut self, error: String, count: u64, now: Instant) {
        self.counts.failed += count;
        self.failed = Some(Outcome { at: now, error });
    }

    /// This worker's share of the places, at least one.
    fn places(&self, sharers: usize) -> usize {
        let pool_size = usize::try_from(self.pool_size).unwrap_or(usize::MAX);
        (pool_size / sharers.max(1)).max(1)
    }
}

impl<W> Default for Host<W> {
    fn default() -> Self {
        Self {
            pool_size: 1,
            waiting: VecDeque::new(),
            under_way: Vec::new(),
            counts: Counts::default(),
            succeeded: None,
            failed: None,
            turn: 0,
        }
    }
}

/// What counts as one source: an address, of IPv6 the network of 64 bits.
fn prefix(source: Option<IpAddr>) -> Option<IpAddr> {
    source.map(|address| match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        },
    })
}

/// Requests that wait for one host, at most.
pub(super) const MOST_WAITING: usize = 1024;

/// Those of them that come from one source, at most.
pub(super) const MOST_OF_ONE_SOURCE: usize = 512;

/// How long an answer is waited for while somebody waits for the place.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
