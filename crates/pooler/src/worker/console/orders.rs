//! Orders of a console that the whole group carries out.

use pgskein_pool::control::ToSupervisor;
use pgskein_pool::runtime::{FromWorker, Order};
use pgskein_pool::slab::ClientId;

use super::answers::{self, Failure};
use super::{State, Worker};
use crate::worker::reason::Reason;

impl Worker {
    /// Has the group carry out an order; the console waits for that.
    pub(super) fn give_order(&mut self, id: ClientId, order: Order) -> Result<(), Reason> {
        let words = order.to_string();
        let tag = order.verb().to_owned();
        let request = self.next_request;
        self.ask_supervisor(id, &words, tag, FromWorker::Order { request, order })
    }

    /// Has the group give a setting another value.
    pub(super) fn give_setting(
        &mut self,
        id: ClientId,
        name: String,
        value: String,
    ) -> Result<(), Reason> {
        let tag = format!("SET {name}={value}");
        let request = self.next_request;
        let message = FromWorker::Set {
            request,
            name,
            value,
        };
        self.ask_supervisor(id, &tag.clone(), tag, message)
    }

    /// The supervisor has answered a console.
    pub(in crate::worker) fn console_ordered(
        &mut self,
        request: u64,
        outcome: &Result<String, String>,
    ) {
        let Some((id, tag)) = self.orders.asked.remove(&request) else {
            return;
        };
        if outcome.is_ok() && tag == Order::Suspend.verb() && self.orders.state().is_suspended() {
            self.orders.suspended_by = Some((id, request));
        }
        if let Some(console) = self.console_mut(id) {
            console.state = State::Listening;
        }
        match self.answer_console(id, |out| answers::ordered(out, &tag, outcome)) {
            // It may have sent more in the meantime.
            Ok(()) => self.wake_client(id),
            Err(reason) => self.close_client(id, &reason),
        }
    }

    /// A console is gone: nobody waits for its orders, which stay in force.
    pub(in crate::worker) fn console_left(&mut self, id: ClientId) {
        let asked = self.orders.asked.iter();
        let asked = asked.filter(|(_, (console, _))| *console == id);
        let mut requests: Vec<u64> = asked.map(|(request, _)| *request).collect();
        let its = |(console, _): &mut (ClientId, u64)| *console == id;
        requests.extend(
            self.orders
                .suspended_by
                .take_if(its)
                .map(|(_, request)| request),
        );
        for request in requests {
            self.orders.asked.remove(&request);
            let message = FromWorker::Gone { request };
            self.tell_supervisor(&ToSupervisor::Runtime(message));
        }
    }

    fn ask_supervisor(
        &mut self,
        id: ClientId,
        words: &str,
        tag: String,
        message: FromWorker,
    ) -> Result<(), Reason> {
        if self.control.is_none() {
            return self.answer_console(id, |out| answers::failed(out, &Failure::NoSupervisor));
        }
        self.log_order(id, words);
        let request = self.next_request;
        self.next_request = request.wrapping_add(1);
        self.orders.asked.insert(request, (id, tag));
        if let Some(console) = self.console_mut(id) {
            console.state = State::Reloading;
        }
        self.tell_supervisor(&ToSupervisor::Runtime(message));
        Ok(())
    }
}
