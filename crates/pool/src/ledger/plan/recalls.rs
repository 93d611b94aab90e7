//! Recalls beside those that meet a demand at once.

use std::time::{Duration, Instant};

use super::super::book::Book;
use super::{Plan, Planned, Ripe, Room, earliest};

impl Plan {
    /// Asks for what is open beyond a limit that became smaller.
    pub(super) fn recall_excess(&mut self) {
        for at in 0..self.rooms.len() {
            while self
                .rooms
                .get(at)
                .is_some_and(|room| room.spare + room.reserve < 0)
            {
                let held = self.under(at).filter(|(_, share)| share.left() > 0);
                let largest = held.max_by_key(|(_, share)| share.left());
                let Some(victim) = largest.map(|(victim, _)| victim) else {
                    break;
                };
                self.take_from(victim, None);
            }
        }
    }

    /// Where recalls have been without effect for a while, all are asked who
    /// have more than their fair share: the first server that is given up
    /// anywhere will do.
    pub(super) fn widen(&mut self, book: &Book) {
        let since = self.recalling.iter().map(|key| {
            let pool = book.pools.get(key).filter(|pool| !pool.released);
            pool.and_then(|pool| pool.recalling_since)
                .unwrap_or(self.now)
        });
        let Some(at) = since.min().map(|since| since + WIDEN) else {
            return;
        };
        if at > self.now {
            return self.look_again(Some(at));
        }
        let names = self.shares.iter();
        let names: Vec<_> = names
            .map(|share| (share.pool.clone(), share.worker))
            .collect();
        let mut again = None;
        for (number, room) in self.rooms.iter().enumerate() {
            let under = |share: &&mut Planned| share.rooms.contains(&number);
            for share in self.shares.iter_mut().filter(under) {
                while let Some(taker) = room.moves.get(share.recall.count as usize)
                    && let Some((pool, worker)) = names.get(*taker)
                    && share.over() >= room.least_over
                {
                    match share.next_ripe(pool, self.now) {
                        Ripe::Now => {
                            share.recall.count += 1;
                            if share.pool == *pool {
                                share.takers.push(*worker);
                            }
                        }
                        Ripe::Later(at) => {
                            again = earliest(again, Some(at));
                            break;
                        }
                        Ripe::Never => break,
                    }
                }
            }
        }
        self.look_again(again);
    }

    /// Asks who wants nothing for servers that nobody uses: everybody for
    /// demands that have lasted, and who has wanted nothing for longest where
    /// the reserve is no longer needed.
    pub(super) fn ask_for_unused(&mut self) {
        let mut asked = vec![0_u32; self.rooms.len()];
        let mut again: Option<Instant> = None;
        let mut takers = Vec::new();
        let mut wanting: Vec<&Planned> = self.shares.iter().collect();
        wanting.retain(|share| share.wanted > 0);
        wanting.sort_unstable_by_key(|share| share.order());
        for share in wanting {
            let lasts_at = share.wanting_since.map(|since| since + LASTING);
            if lasts_at.is_none_or(|at| at > self.now) {
                again = earliest(again, lasts_at);
                continue;
            }
            takers.push((share.pool.clone(), share.worker));
            for at in &share.rooms {
                if let (Some(asked), Some(room)) = (asked.get_mut(*at), self.rooms.get(*at))
                    && room.spare + room.reserve_for(share) <= 0
                {
                    *asked = asked.saturating_add(share.wanted);
                }
            }
        }
        for share in self.shares.iter_mut().filter(|share| share.wanted == 0) {
            let asked = share.rooms.iter().filter_map(|room| asked.get(*room)).max();
            share.recall.unused = asked.copied().unwrap_or(0).min(share.left());
            let of_pool = takers.iter().filter(|(pool, _)| *pool == share.pool);
            let of_pool = of_pool.map(|(_, worker)| *worker);
            share
                .takers
                .extend(of_pool.take(share.recall.unused as usize));
        }
        self.look_again(again);
        self.give_back_reserve();
    }

    fn give_back_reserve(&mut self) {
        let mut unneeded: Vec<u32> = self.rooms.iter().map(Room::unneeded).collect();
        let mut calm: Vec<&mut Planned> = self.shares.iter_mut().collect();
        calm.retain(|share| share.wanted == 0);
        calm.sort_unstable_by_key(|share| (share.told_at, share.worker));
        for share in calm {
            let own = share.rooms.first().and_then(|own| unneeded.get_mut(*own));
            if let Some(unneeded) = own {
                let part = share.left().min(*unneeded);
                *unneeded -= part;
                share.recall.unused = share.recall.unused.max(part);
            }
        }
    }
}

impl Room {
    /// Servers of the reserve that nobody needs any more.
    fn unneeded(&self) -> u32 {
        let unneeded = if self.aged { 0 } else { -self.spare };
        u32::try_from(unneeded).unwrap_or(0)
    }
}

/// How long the largest holders are asked before all are.
pub(in crate::ledger) const WIDEN: Duration = Duration::from_millis(10);

/// When a demand has lasted long enough to ask for what nobody uses.
pub(in crate::ledger) const LASTING: Duration = Duration::from_millis(250);
