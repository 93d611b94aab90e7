//! Asking: what a console wants of the whole group.
//!
//! The supervisor is asked, has every worker do it, and answers; until then
//! nothing more is read from the console.

use pgskein_pool::control::{Asked, ToSupervisor};
use pgskein_pool::runtime::Order;
use pgskein_pool::slab::ClientId;

use super::answers::{self, Failure};
use super::commands::Refusal;
use super::{State, Worker};
use crate::worker::reason::Reason;

impl Worker {
    /// Asks the supervisor; the console waits for the answer.
    pub(super) fn ask_supervisor(&mut self, id: ClientId, asked: Asked) -> Result<(), Reason> {
        if self.control.is_none() {
            return self.answer_console(id, |out| answers::failed(out, &Failure::NoSupervisor));
        }
        let number = self.clients.get(id).map(|client| client.number);
        if let Asked::Move { client, .. } = asked
            && number == Some(client)
        {
            let failure = Failure::Refused(Refusal::OwnConsole);
            return self.answer_console(id, |out| answers::failed(out, &failure));
        }
        self.log_order(id, &asked.to_string());
        let request = self.new_request();
        if let Some(console) = self.console_mut(id) {
            console.state = State::Asking;
        }
        self.asking.insert(request, (id, asked.clone()));
        self.tell_supervisor(&ToSupervisor::Ask { request, asked });
        Ok(())
    }

    /// The supervisor has answered a console.
    pub(in crate::worker) fn on_answered(
        &mut self,
        request: u64,
        outcome: &Result<String, String>,
    ) {
        let Some((id, asked)) = self.asking.remove(&request) else {
            return;
        };
        let suspends = asked == Asked::Order(Order::Suspend);
        if suspends && outcome.is_ok() && self.orders.state().is_suspended() {
            self.orders.suspended_by = Some((id, request));
        }
        if let Some(console) = self.console_mut(id) {
            console.state = State::Listening;
        }
        match self.answer_console(id, |out| answers::answered(out, &asked, outcome)) {
            // It may have sent more in the meantime.
            Ok(()) => self.wake_client(id),
            Err(reason) => self.close_client(id, &reason),
        }
    }

    /// The supervisor is gone and will not answer any more.
    pub(in crate::worker) fn answer_unanswered(&mut self) {
        let outcome = Err(Failure::NoSupervisor.to_string());
        for request in self.asking.keys().copied().collect::<Vec<_>>() {
            self.on_answered(request, &outcome);
        }
    }

    /// A console is gone: nobody waits for what it has asked, which is done all
    /// the same.
    pub(in crate::worker) fn console_left(&mut self, id: ClientId) {
        let asked = self.asking.extract_if(|_, (console, _)| *console == id);
        // A reload ends soon, and an answer to nobody is dropped.
        let orders = asked.filter(|(_, (_, asked))| {
            matches!(asked, Asked::Order(_) | Asked::Move { .. } | Asked::Balance)
        });
        let mut given: Vec<u64> = orders.map(|(request, _)| request).collect();
        let suspended = &mut self.orders.suspended_by;
        let suspended = suspended.take_if(|(console, _)| *console == id);
        given.extend(suspended.map(|(_, request)| request));
        for request in given {
            self.tell_supervisor(&ToSupervisor::Gone { request });
        }
    }

    /// A number for what is asked, which its answer carries.
    pub(super) fn new_request(&mut self) -> u64 {
        let request = self.next_request;
        self.next_request = request.wrapping_add(1);
        request
    }
}
