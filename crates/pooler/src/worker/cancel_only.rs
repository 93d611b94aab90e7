//! Connections that may bring a cancel request and nothing else.
//!
//! They come over `peer_listen`, from other hosts of a group. They do not count
//! towards `max_client_conn`, so a group that is full still takes them, and for
//! the same reason few may be open at once: who has been silent for longest makes
//! room. They are accepted as long as the worker lives, and no drain waits for
//! one that has not said anything.

use pgskein_pool::slab::ClientId;

use super::Worker;
use super::client::Origin;
use super::login::{Login, Step};
use super::reason::Reason;
use super::stream::Socket;

impl Worker {
    /// Takes a connection from which nothing but a cancel request may come.
    pub(super) fn accepted_for_cancel(&mut self, socket: Socket, origin: Origin) {
        let id = self.insert_accepted(socket, origin, Login::at(Step::CancelOnly));
        if self.for_cancels.len() >= MOST_FOR_CANCELS {
            match self.longest_silent() {
                Some(silent) => self.close_client(silent, &Reason::TooManyCancels),
                None => return self.close_client(id, &Reason::TooManyCancels),
            }
        }
        self.for_cancels.insert(id);
        self.listen_to(id);
    }

    /// Of those who have not brought a whole request, the first that came.
    fn longest_silent(&self) -> Option<ClientId> {
        let here = self.for_cancels.iter();
        let clients = here.filter_map(|id| Some((*id, self.clients.get(*id)?)));
        let silent = clients.filter(|(_, client)| client.is_before_cancel());
        let first = silent.min_by_key(|(_, client)| client.number);
        first.map(|(id, _)| id)
    }
}

/// How many may be open at once in one worker.
pub(crate) const MOST_FOR_CANCELS: usize = 256;
