//! A client of the scenarios: it logs in, queries, and keeps what it was told.

mod login;
mod pending;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use login::Login;
pub use pending::PendingQuery;

use crate::route::Route;
use crate::wait::PATIENCE;
use crate::wire::{ErrorFields, Message, Wire, message};

/// The SQLSTATE of an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SqlState(pub &'static str);

/// A session, as an application sees it.
#[derive(Debug)]
pub struct Client {
    session: RefCell<Session>,
    route: Option<Arc<Route>>,
}

/// What a client knows of its session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) wire: Wire,
    pub(crate) process_id: u32,
    pub(crate) secret: Vec<u8>,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) negotiated: Option<(u32, Vec<String>)>,
    pub(crate) notices: Vec<ErrorFields>,
    pub(crate) transcript: String,
    pub(crate) last_error: Option<ErrorFields>,
    pub(crate) status: u8,
}

impl SqlState {
    /// Stands for a connection that ended without an error.
    pub const CLOSED: Self = Self("closed");

    pub(crate) fn of(error: &ErrorFields) -> Self {
        Self(Box::leak(error.sqlstate.clone().into_boxed_str()))
    }
}

impl Client {
    /// Logs in over a connected socket.
    ///
    /// # Errors
    ///
    /// The error that the server answered with, or an empty one when it closed
    /// the connection without a word.
    pub fn log_in(wire: Wire, login: &Login) -> Result<Self, ErrorFields> {
        let session = login.run(wire)?;
        Ok(Self {
            session: RefCell::new(session),
            route: None,
        })
    }

    /// Goes on with a login whose StartupMessage was sent.
    ///
    /// # Panics
    ///
    /// When the login is refused.
    pub fn adopt(wire: Wire) -> Self {
        let session = Login::new().finish(wire);
        Self {
            session: RefCell::new(session.expect("the login is taken")),
            route: None,
        }
    }

    pub(crate) fn with_route(mut self, route: &Arc<Route>) -> Self {
        self.route = Some(Arc::clone(route));
        self
    }

    /// Runs one simple query. A row is its columns joined by `|`.
    ///
    /// # Errors
    ///
    /// The SQLSTATE of the first error, or [`SqlState::CLOSED`].
    pub fn query(&self, sql: &str) -> Result<Vec<String>, SqlState> {
        self.start_query(sql).wait()
    }

    /// Runs a simple query that answers with one value.
    pub fn value(&self, sql: &str) -> String {
        let rows = self
            .query(sql)
            .unwrap_or_else(|e| panic!("{sql}: {e:?}, {:?}", self.last_error()));
        rows.first()
            .unwrap_or_else(|| panic!("{sql}: no row"))
            .clone()
    }

    /// Runs one statement with text parameters in the extended protocol.
    ///
    /// # Errors
    ///
    /// As [`Client::query`].
    pub fn execute(&self, sql: &str, values: &[&str]) -> Result<Vec<String>, SqlState> {
        self.send(&extended(sql, values));
        self.send_message(b'S', b"");
        self.pending().wait()
    }

    /// Runs one simple query; gives its rows by the names of their columns.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn table(&self, sql: &str) -> Vec<BTreeMap<String, String>> {
        let (names, rows) = self.named_rows(sql);
        let row = |row: &String| {
            let values = row.split('|').map(str::to_owned);
            names.iter().cloned().zip(values).collect()
        };
        rows.iter().map(row).collect()
    }

    /// Runs one simple query; gives the names of its columns, and its rows.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn named_rows(&self, sql: &str) -> (Vec<String>, Vec<String>) {
        let query = self.start_query(sql);
        let names = self.read_until(b'T').column_names();
        (names, query.wait().expect("the query succeeds"))
    }

    /// Sends a simple query and leaves its answer for later.
    pub fn start_query(&self, sql: &str) -> PendingQuery<'_> {
        self.send_message(b'Q', format!("{sql}\0").as_bytes());
        self.pending()
    }

    /// Starts a query that runs for a minute, and returns once it runs.
    pub fn start_long_query(&self) -> PendingQuery<'_> {
        let query = self.start_query(LONG_QUERY);
        self.read_until(b'N');
        query
    }

    /// The answer that is due, up to the next ReadyForQuery.
    pub fn pending(&self) -> PendingQuery<'_> {
        PendingQuery::new(self)
    }

    /// Sends bytes as they are.
    pub fn send(&self, bytes: &[u8]) {
        // The server may have closed: what it said last is what matters.
        drop(self.session.borrow_mut().wire.try_send(bytes));
    }

    /// Sends one message.
    pub fn send_message(&self, tag: u8, body: &[u8]) {
        self.send(&message(tag, body));
    }

    /// Reads the next message; `None` when the connection has ended.
    pub fn read_message(&self) -> Option<Message> {
        self.session.borrow_mut().read()
    }

    /// Reads up to the first message of this type and returns it.
    ///
    /// # Panics
    ///
    /// When the connection ends before.
    pub fn read_until(&self, tag: u8) -> Message {
        loop {
            match self.read_message() {
                Some(message) if message.tag == tag => return message,
                Some(_) => {}
                None => panic!("the end instead of {:?}: {self:?}", char::from(tag)),
            }
        }
    }

    /// Reads whatever comes before the connection ends, with a deadline.
    pub fn wait_closed(&self) -> Vec<Message> {
        std::iter::from_fn(|| self.read_message()).collect()
    }

    /// Takes in what has arrived, and does not wait; false when it was told that
    /// the session is over, or that is over.
    pub fn is_still_served(&self) -> bool {
        let mut session = self.session.borrow_mut();
        let open = session.wire.read_arrived();
        while let Some(message) = session.wire.next_arrived() {
            session.keep(&message);
        }
        open && session.last_error.is_none()
    }

    /// Takes in what arrives until `deadline` has passed or nothing can come.
    pub fn absorb(&self, deadline: Duration) {
        while self.session.borrow_mut().poll(deadline).is_some() {}
    }

    /// Waits for a GoAway.
    pub fn wait_goaway(&self) {
        if !self.transcript().contains('g') {
            self.read_until(b'g');
        }
    }

    /// Waits until a parameter is reported with this value.
    pub fn wait_parameter(&self, name: &str, value: &str) {
        while self.parameter(name).as_deref() != Some(value) {
            self.read_until(b'S');
        }
    }

    /// Last reported value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.session.borrow().parameters.get(name).cloned()
    }

    /// Types of all messages since the login or the last call, in their order.
    pub fn take_transcript(&self) -> String {
        std::mem::take(&mut self.session.borrow_mut().transcript)
    }

    /// Types of all messages since the login, in their order.
    pub fn transcript(&self) -> String {
        self.session.borrow().transcript.clone()
    }

    /// Texts of the notices so far.
    pub fn notices(&self) -> Vec<String> {
        let session = self.session.borrow();
        session.notices.iter().map(|n| n.message.clone()).collect()
    }

    /// The last error, with all that it said.
    pub fn last_error(&self) -> Option<ErrorFields> {
        self.session.borrow().last_error.clone()
    }

    /// Transaction status of the last ReadyForQuery: `I`, `T` or `E`.
    pub fn status(&self) -> char {
        char::from(self.session.borrow().status)
    }

    /// Version word and unknown options of NegotiateProtocolVersion, if it came.
    pub fn negotiated(&self) -> Option<(u32, Vec<String>)> {
        self.session.borrow().negotiated.clone()
    }

    /// Process id of the cancel key.
    pub fn process_id(&self) -> u32 {
        self.session.borrow().process_id
    }

    /// Secret of the cancel key.
    pub fn secret(&self) -> Vec<u8> {
        self.session.borrow().secret.clone()
    }

    /// Slot of the worker that issued the cancel key.
    pub fn slot(&self) -> u8 {
        self.process_id().to_be_bytes()[0] & 0x7f
    }

    /// The CancelRequest for this session.
    pub fn cancel_packet(&self) -> Vec<u8> {
        cancel_packet(self.process_id(), &self.secret())
    }

    /// Sends a CancelRequest over a connection that worker `n` accepts, and
    /// returns when it has been closed, without a byte.
    pub fn cancel_through_worker(&self, n: u8) {
        let sent = self.start_cancel_through_worker(n);
        finish_cancel(sent);
    }

    /// Sends a CancelRequest over a connection that worker `n` accepts.
    pub fn start_cancel_through_worker(&self, n: u8) -> Wire {
        let route = self
            .route
            .as_ref()
            .expect("this client came through a pooler");
        let mut wire = route.wire_to(n);
        wire.send(&self.cancel_packet());
        wire
    }

    /// Sends a CancelRequest to whichever worker the kernel picks.
    pub fn cancel(&self) {
        let route = self
            .route
            .as_ref()
            .expect("this client came through a pooler");
        let mut wire = route.wire();
        wire.send(&self.cancel_packet());
        finish_cancel(wire);
    }

    /// Says goodbye and waits until the other side has closed.
    pub fn close(self) {
        self.send_message(b'X', b"");
        self.wait_closed();
    }

    /// Says goodbye, waits until the other side has closed, and resets what the
    /// kernel has of the connection: no TIME_WAIT is left, and nobody shows it.
    pub(crate) fn end_without_trace(self) {
        self.send_message(b'X', b"");
        self.wait_closed();
        self.reset();
    }

    /// Drops the connection with a reset.
    pub fn reset(self) {
        self.session.into_inner().wire.reset();
    }
}

impl Session {
    /// Reads one message and keeps what it tells.
    pub(crate) fn read(&mut self) -> Option<Message> {
        let message = self.wire.read_message()?;
        self.keep(&message);
        Some(message)
    }

    fn poll(&mut self, deadline: Duration) -> Option<Message> {
        let message = self.wire.poll_message(deadline)?;
        self.keep(&message);
        Some(message)
    }

    fn keep(&mut self, message: &Message) {
        self.transcript.push(char::from(message.tag));
        match message.tag {
            b'S' => {
                let [name, value] = &message.strings()[..] else {
                    panic!("a ParameterStatus of two strings: {message:?}");
                };
                self.parameters.insert(name.clone(), value.clone());
            }
            b'N' => self.notices.push(message.error()),
            b'E' => self.last_error = Some(message.error()),
            b'Z' => self.status = message.body[0],
            _ => {}
        }
    }
}

/// A CancelRequest.
fn cancel_packet(process_id: u32, secret: &[u8]) -> Vec<u8> {
    let length = u32::try_from(12 + secret.len()).unwrap();
    let words = [length, 80_877_102, process_id];
    let mut packet: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    packet.extend_from_slice(secret);
    packet
}

/// Waits for the end that is the whole answer to a CancelRequest.
fn finish_cancel(mut wire: Wire) {
    wire.set_deadline(PATIENCE);
    assert_eq!(wire.read_to_end(), [], "a CancelRequest has no answer");
}

/// Parse, Bind, Describe and Execute of the unnamed statement, without Sync.
fn extended(sql: &str, values: &[&str]) -> Vec<u8> {
    let mut bytes = message(b'P', format!("\0{sql}\0\0\0").as_bytes());
    let mut bind = vec![0, 0, 0, 0];
    bind.extend_from_slice(&u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        bind.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
        bind.extend_from_slice(value.as_bytes());
    }
    bind.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&message(b'B', &bind));
    bytes.extend_from_slice(&message(b'D', b"P\0"));
    bytes.extend_from_slice(&message(b'E', b"\0\0\0\0\0"));
    bytes
}

/// It says with a notice, which is flushed, that it runs.
const LONG_QUERY: &str = "do $$ begin raise notice 'running'; perform pg_sleep(60); end $$";
