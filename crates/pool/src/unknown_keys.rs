//! Cancel requests with keys that nobody knows, and how they are slowed down.
//!
//! Each is counted for where it comes from, and the count halves as time goes by.
//! Who sends many waits longer and longer until its connection is closed, which is
//! the only answer there is. What is remembered is bounded: when there are too many
//! sources, further ones share one count; when too many connections are being
//! held, further ones are closed at once. Keys that are known are not asked about
//! here, so none of this can delay them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Where requests come from, as far as it is told apart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Source {
    /// A network, by its first address.
    Network(IpAddr),
    /// A user of this host, where it is known.
    User(Option<u32>),
    /// All those for which there is no room.
    Others,
}

/// How many came from where, and how many connections are held.
#[derive(Debug, Default)]
pub struct UnknownKeys {
    sources: HashMap<Source, Recent>,
    /// When the sources were last looked through for those that are forgotten.
    looked: Option<Instant>,
    /// Until when connections are held.
    held: BinaryHeap<Reverse<Instant>>,
    total: u64,
    /// What no line of the log has told yet.
    untold: Untold,
    /// When the last line was due.
    told: Option<Instant>,
}

/// What there is to be told about unknown keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Line {
    /// How many there were since the last line.
    pub count: u64,
    /// How many of those are closed later.
    pub delayed: u64,
    /// Where the last one came from.
    pub last: Source,
}

/// How many came lately.
#[derive(Debug)]
struct Recent {
    count: u32,
    /// When the count was last halved.
    since: Instant,
}

#[derive(Debug, Default)]
struct Untold {
    count: u64,
    delayed: u64,
    last: Option<Source>,
}

impl Source {
    /// The network of an address: 24 bits of an IPv4 address, 64 of an IPv6 one.
    pub fn of(address: IpAddr) -> Self {
        Self::Network(match address.to_canonical() {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & !0 << 8).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !0 << 64).into(),
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(first @ IpAddr::V4(_)) => write!(f, "{first}/24"),
            Self::Network(first @ IpAddr::V6(_)) => write!(f, "{first}/64"),
            Self::User(Some(uid)) => write!(f, "uid {uid}"),
            Self::User(None) => f.write_str("an unknown user"),
            Self::Others => f.write_str("many places"),
        }
    }
}

impl UnknownKeys {
    /// Counts a request; for how long its connection is to be held. 0 is for
    /// those that come now and then.
    pub fn on_unknown(&mut self, source: Source, now: Instant) -> Duration {
        self.total += 1;
        self.untold.count += 1;
        self.untold.last = Some(source);
        let source = self.place_of(source, now);
        let recent = self.sources.entry(source).or_insert(Recent {
            count: 0,
            since: now,
        });
        recent.age(now);
        recent.count = recent.count.saturating_add(1);
        let many = recent.count.saturating_sub(FREE);
        EACH.saturating_mul(many).min(LONGEST)
    }

    /// Takes a place among the connections that are held, for so long; false if
    /// there is none.
    pub fn hold(&mut self, delay: Duration, now: Instant) -> bool {
        self.release(now);
        if self.held.len() >= MOST_HELD {
            return false;
        }
        self.held.push(Reverse(now + delay));
        self.untold.delayed += 1;
        true
    }

    /// How many there have been.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many connections may be held now.
    pub fn held(&self, now: Instant) -> usize {
        let held = self.held.iter();
        held.filter(|Reverse(until)| *until > now).count()
    }

    /// The next line for the log: at once after a while without one, and then
    /// not before as long has passed.
    pub fn poll_line(&mut self, now: Instant) -> Option<Line> {
        let last = self.untold.last?;
        let due = |told: Instant| now.saturating_duration_since(told) >= BETWEEN_LINES;
        if !self.told.is_none_or(due) {
            return None;
        }
        self.told = Some(now);
        let untold = std::mem::take(&mut self.untold);
        Some(Line {
            count: untold.count,
            delayed: untold.delayed,
            last,
        })
    }

    /// Under what a source is counted; what is forgotten makes room.
    fn place_of(&mut self, source: Source, now: Instant) -> Source {
        if self.sources.len() < MOST_SOURCES || self.sources.contains_key(&source) {
            return source;
        }
        let due = |looked: Instant| now.saturating_duration_since(looked) >= HALVED_AFTER;
        if self.looked.is_none_or(due) {
            self.looked = Some(now);
            self.sources.retain(|_, recent| {
                recent.age(now);
                recent.count > 0
            });
        }
        if self.sources.len() < MOST_SOURCES {
            source
        } else {
            Source::Others
        }
    }

    fn release(&mut self, now: Instant) {
        while self.held.peek().is_some_and(|Reverse(until)| *until <= now) {
            self.held.pop();
        }
    }
}

impl Recent {
    fn age(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        let halvings = age.as_secs() / HALVED_AFTER.as_secs();
        if halvings > 0 {
            let halvings = u32::try_from(halvings).unwrap_or(u32::MAX);
            self.count = self.count.checked_shr(halvings).unwrap_or(0);
            self.since = now;
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            count,
            delayed,
            last,
        } = self;
        write!(f, "count={count} delayed={delayed}, the last from {last}")
    }
}

/// So many may come from one source without being held.
const FREE: u32 = 16;

/// For so long more each further one is held.
const EACH: Duration = Duration::from_millis(50);

/// No connection is held for longer.
const LONGEST: Duration = Duration::from_secs(2);

/// When half of them are forgotten.
const HALVED_AFTER: Duration = Duration::from_secs(10);

/// Sources that are told apart, at most.
const MOST_SOURCES: usize = 1024;

/// Connections that are held at once, at most.
pub const MOST_HELD: usize = 256;

/// How often the log says something.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn slows_down_who_sends_many_and_nobody_else() {
        let (mut keys, now) = (UnknownKeys::default(), Instant::now());
        for _ in 0..FREE {
            assert_eq!(keys.on_unknown(at("10.0.0.7"), now), Duration::ZERO);
        }
        assert_eq!(keys.on_unknown(at("10.0.0.8"), now), EACH);
        assert_eq!(keys.on_unknown(at("10.0.0.7"), now), EACH * 2);
        assert_eq!(keys.on_unknown(at("10.0.1.7"), now), Duration::ZERO);
        for _ in 0..1000 {
            assert!(keys.on_unknown(at("10.0.0.7"), now) <= LONGEST);
        }
        assert_eq!(keys.on_unknown(at("10.0.0.7"), now), LONGEST);
        assert_eq!(keys.total(), u64::from(FREE) + 1004);
    }

    #[test]
    fn forgets_as_time_goes_by() {
        let (mut keys, now) = (UnknownKeys::default(), Instant::now());
        for _ in 0..FREE * 4 {
            keys.on_unknown(at("::1"), now);
        }
        assert!(keys.on_unknown(at("::1"), now + secs(10)) > Duration::ZERO);
        assert_eq!(keys.on_unknown(at("::1"), now + secs(40)), Duration::ZERO);
        // Any time later as well.
        let later = now + secs(10_000_000);
        assert_eq!(keys.on_unknown(at("::1"), later), Duration::ZERO);
    }

    #[test]
    fn tells_sources_apart_by_their_network() {
        assert_eq!(at("192.168.1.7"), at("::ffff:192.168.1.200"));
        assert_ne!(at("192.168.1.7"), at("192.168.2.7"));
        assert_eq!(at("2001:db8::1"), at("2001:db8::2:0:0:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("192.168.1.7").to_string(), "192.168.1.0/24");
        assert_eq!(at("2001:db8::7").to_string(), "2001:db8::/64");
    }

    #[test]
    fn counts_further_sources_together_until_others_are_forgotten() {
        let (mut keys, now) = (UnknownKeys::default(), Instant::now());
        let source = |n: u32| Source::of(Ipv4Addr::from_bits(n << 8).into());
        let many = u32::try_from(MOST_SOURCES).unwrap();
        for n in 0..many + FREE {
            assert_eq!(keys.on_unknown(source(n), now), Duration::ZERO);
        }
        assert!(keys.on_unknown(source(many + FREE), now) > Duration::ZERO);
        assert!(keys.sources.len() <= MOST_SOURCES + 1);
        // Who was there before is not affected.
        assert_eq!(keys.on_unknown(source(1), now), Duration::ZERO);
        let later = now + secs(20);
        assert_eq!(keys.on_unknown(source(many + 1), later), Duration::ZERO);
        assert!(keys.sources.len() < 100);
    }

    #[test]
    fn holds_so_many_and_no_more() {
        let (mut keys, now) = (UnknownKeys::default(), Instant::now());
        for _ in 0..MOST_HELD {
            assert!(keys.hold(secs(1), now));
        }
        assert!(!keys.hold(secs(1), now));
        assert_eq!(keys.held(now), MOST_HELD);
        assert_eq!(keys.held(now + secs(1)), 0);
        assert!(keys.hold(secs(1), now + secs(1)));
    }

    #[test]
    fn tells_the_first_at_once_and_the_others_together() {
        let (mut keys, now) = (UnknownKeys::default(), Instant::now());
        assert_eq!(keys.poll_line(now), None);
        keys.on_unknown(at("10.0.0.7"), now);
        let line = keys.poll_line(now).unwrap();
        assert_eq!(
            line.to_string(),
            "count=1 delayed=0, the last from 10.0.0.0/24"
        );
        for _ in 0..5 {
            keys.on_unknown(Source::User(Some(7)), now);
            keys.hold(secs(1), now);
        }
        assert_eq!(keys.poll_line(now + secs(9)), None);
        let line = keys.poll_line(now + secs(10)).unwrap();
        assert_eq!((line.count, line.delayed), (5, 5));
        assert_eq!(line.last.to_string(), "uid 7");
        assert_eq!(keys.poll_line(now + secs(30)), None);
    }
}
