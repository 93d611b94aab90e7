//! Places: who counts a client towards `max_client_conn` when it moves.
//!
//! The place stays with the giver until the taker starts, which makes it its own
//! without a moment in which it is nobody's or counted twice. A giver that has
//! died since has given it back, and the taker takes one whatever the limit is: the
//! client is in already. If a taker dies before it has done so, the giver has a
//! place more than clients, and gives it back once nothing of it is on its way
//! any more.

use pgskein_pool::slab::ClientId;

use super::super::Worker;
use super::Place;

impl Worker {
    /// Makes the place of a client that was just started one of this worker's;
    /// `pid` is the process that has given it.
    pub(super) fn take_place_over(&mut self, id: ClientId, from: Place, pid: i32) {
        let giver = self.scoreboard.cell(from.slot, from.generation);
        let handed = giver
            .zip(u32::try_from(pid).ok())
            .is_some_and(|(giver, pid)| self.scoreboard.hand_place(giver, pid, self.cell));
        let counted = handed || self.scoreboard.take_place(self.cell, u32::MAX);
        if let Some(client) = self.clients.get_mut(id) {
            client.counted = counted;
        }
    }

    /// Gives back the places of those who were given to somebody who died before
    /// he had taken them.
    pub(super) fn settle_places(&mut self) {
        if !self.gave || self.hands_over() {
            return;
        }
        self.gave = false;
        let own = self.clients.iter().filter(|(_, client)| client.counted);
        let own = u32::try_from(own.count()).unwrap_or(u32::MAX);
        for _ in own..self.cell.clients() {
            self.scoreboard.leave_place(self.cell);
        }
    }
}
