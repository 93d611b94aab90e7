//! Demands: what is wanted, met one lease after the other.
//!
//! First comes whoever has the smallest part of what is fair, and of several
//! who have nothing whoever waits longest. Where a limit is in the way, a
//! server is recalled from the holder that is farthest above its fair share:
//! for a share that has nothing at once, so that nobody starves; for others
//! after some patience, and only if both come nearer to what is fair by it.
//! Before it is recalled a server serves for a turn.
//!
//! Who needs room under the limits of a database and of a user may get it
//! under one earlier than under the other. It is held then for whoever comes
//! first, but only half of the time: the server that is still missing may be
//! in use for long.

use std::time::Duration;

use super::super::book::Book;
use super::{ONE, Plan, Planned, Ripe, earliest};

/// How one more lease for a share can be had.
enum Way {
    /// It is free.
    Free,
    /// It will be, when what is closing has returned.
    Soon,
    /// It will be, when these have given up one each.
    Victims(Vec<usize>),
    /// Not now.
    None,
}

impl Plan {
    /// Meets as many demands as can be met.
    pub(super) fn meet_demands(&mut self, book: &Book) {
        loop {
            let open = self.shares.iter().enumerate();
            let open = open.filter(|(_, share)| !share.settled);
            let Some((at, _)) = open.min_by_key(|(_, share)| share.order()) else {
                return;
            };
            self.meet(at, book);
        }
    }

    /// Meets the next demand of a share, or settles it.
    fn meet(&mut self, at: usize, book: &Book) {
        let Some(share) = self.shares.get(at) else {
            return;
        };
        let full: Vec<usize> = share
            .rooms
            .iter()
            .copied()
            .filter(|room| !self.spare_for(share, *room))
            .collect();
        let (starving, pool) = (share.leases == 0, share.pool.clone());
        match self.find_way(at, &full) {
            Way::Free => {
                self.grants.push(at);
                self.take_one(at);
            }
            Way::Soon => self.hold(at, &full, &[], book),
            Way::Victims(victims) => {
                self.hold(at, &full, &victims, book);
                for room in full {
                    if let Some(room) = self.rooms.get_mut(room) {
                        room.moves.push(at);
                    }
                }
                for victim in victims {
                    self.take_from(victim, Some(at));
                }
                self.recalling.insert(pool);
            }
            Way::None => {
                if starving {
                    self.hold(at, &full, &[], book);
                }
                if let Some(share) = self.shares.get_mut(at) {
                    share.settled = true;
                }
                return;
            }
        }
        self.promise(at);
    }

    fn find_way(&mut self, at: usize, full: &[usize]) -> Way {
        let Some(share) = self.shares.get(at) else {
            return Way::None;
        };
        let mut rooms = share.rooms.iter().filter_map(|room| self.rooms.get(*room));
        if rooms.all(|room| room.free + room.reserve_for(share) > 0) {
            return Way::Free;
        }
        if full.is_empty() {
            return Way::Soon;
        }
        self.victims(at, full).map_or(Way::None, Way::Victims)
    }

    /// Finds a share to take from under each of these limits, for one more
    /// lease of the share at `at`.
    fn victims(&mut self, at: usize, full: &[usize]) -> Option<Vec<usize>> {
        let least_over = self.least_over(at)?;
        let pool = self.shares.get(at)?.pool.clone();
        let mut victims: Vec<usize> = Vec::new();
        for room in full {
            if self.relieves(&victims, *room) {
                continue;
            }
            let mut best: Option<(u64, usize)> = None;
            let mut soon = None;
            for (other, share) in self.under(*room) {
                if other == at || share.over() < least_over {
                    continue;
                }
                let over = share.over();
                match share.next_ripe(&pool, self.now) {
                    Ripe::Now if best.is_none_or(|(most, _)| over > most) => {
                        best = Some((over, other));
                    }
                    Ripe::Later(at) => soon = earliest(soon, Some(at)),
                    Ripe::Now | Ripe::Never => {}
                }
            }
            let Some((_, victim)) = best else {
                self.look_again(soon);
                return None;
            };
            victims.push(victim);
        }
        for room in full {
            if let Some(room) = self.rooms.get_mut(*room) {
                room.least_over = room.least_over.min(least_over);
            }
        }
        Some(victims)
    }

    /// How far above its fair share a holder has to be, in parts of [`ONE`], to
    /// give up a server in use for one more lease of a share; `None` if that
    /// gets none now.
    fn least_over(&mut self, at: usize) -> Option<u64> {
        let share = self.shares.get(at)?;
        if share.leases == 0 {
            return Some(1);
        }
        let under = share.fair.checked_sub(u64::from(share.leases) * ONE)?;
        let patient_until = share.wanting_since.map(|since| since + PATIENCE);
        if patient_until.is_some_and(|until| until > self.now) {
            self.look_again(patient_until);
            return None;
        }
        Some((ONE + ONE / 10).saturating_sub(under).max(1))
    }

    /// Keeps what is free for a share from others, until there is room for it
    /// under the limits that are `full` and that the victims do not relieve.
    fn hold(&mut self, at: usize, full: &[usize], victims: &[usize], book: &Book) {
        let Some(share) = self.shares.get(at) else {
            return;
        };
        if share.rooms.first().is_some_and(|own| full.contains(own)) {
            // Room in its own pool is room under all its limits.
            return;
        }
        let mut blocking = full.iter().filter_map(|room| self.rooms.get(*room));
        if blocking.any(|room| room.awaited) {
            // Whoever comes first holds it.
            return;
        }
        let held = share.rooms.iter().copied().filter(|room| {
            let free = self.rooms.get(*room).is_some_and(|room| room.free > 0);
            free && !self.relieves(victims, *room)
        });
        let held: Vec<usize> = held.collect();
        let pool = book.pools.get(&share.pool);
        let since = pool.and_then(|pool| pool.holding_since).unwrap_or(self.now);
        let for_long = self.now.saturating_duration_since(since).as_millis();
        self.holding.insert(share.pool.clone());
        for room in full {
            if let Some(room) = self.rooms.get_mut(*room) {
                room.awaited = true;
            }
        }
        let turns = for_long / HOLD.as_millis();
        if turns.is_multiple_of(2) {
            let turns = u32::try_from(turns).unwrap_or(u32::MAX - 1);
            self.look_again(Some(since + HOLD * (turns + 1)));
            for room in held {
                if let Some(room) = self.rooms.get_mut(room) {
                    room.free -= 1;
                }
            }
        }
    }

    /// One of what is free now is for this share.
    fn take_one(&mut self, at: usize) {
        let rooms = self.shares.get(at).map(|share| share.rooms.clone());
        for room in rooms.unwrap_or_default() {
            if let Some(room) = self.rooms.get_mut(room) {
                room.free -= 1;
                room.count.used += 1;
            }
        }
    }

    /// One of what is or will be free is for this share.
    fn promise(&mut self, at: usize) {
        let Some(share) = self.shares.get_mut(at) else {
            return;
        };
        share.wanted -= 1;
        share.leases += 1;
        share.settled = share.wanted == 0;
        for room in &share.rooms {
            if let Some(room) = self.rooms.get_mut(*room) {
                room.spare -= 1;
            }
        }
    }

    fn spare_for(&self, share: &Planned, room: usize) -> bool {
        let room = self.rooms.get(room);
        room.is_some_and(|room| room.spare + room.reserve_for(share) > 0)
    }

    fn relieves(&self, victims: &[usize], room: usize) -> bool {
        let mut victims = victims.iter().filter_map(|victim| self.shares.get(*victim));
        victims.any(|victim| victim.rooms.contains(&room))
    }
}

/// How long a share that has something waits for more of what is fair: most
/// bursts are over by then.
pub(in crate::ledger) const PATIENCE: Duration = Duration::from_millis(25);

/// How long room is held for somebody who needs more of it, before others may
/// use it for as long.
const HOLD: Duration = Duration::from_secs(1);
