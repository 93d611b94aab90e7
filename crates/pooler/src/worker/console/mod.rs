//! Console: what an operator asks and orders, in the protocol of PostgreSQL.
//!
//! [`statement`] splits what was typed into words, [`commands`] is the table
//! of what they mean, [`answers`] writes the results; here a worker reads,
//! obeys and sends. A console is never waited for: nothing is read from one
//! that does not take its answers, or that waits for the supervisor.

mod answers;
mod ask;
mod commands;
mod drain;
mod extended;
mod gather;
mod goaway_words;
mod move_words;
mod order_words;
mod own;
mod show;
mod statement;
mod values;

pub(super) use self::answers::greeting;

use std::time::{SystemTime, UNIX_EPOCH};

use pgskein_pool::console::Value;
use pgskein_pool::control::Asked;
use pgskein_pool::runtime::Order;
use pgskein_pool::slab::ClientId;
use pgskein_protocol::tag::{backend, frontend as tag};
use pgskein_protocol::{Frame, TransactionStatus, frontend, write};

use self::answers::Failure;
use self::commands::{Action, Own, Refusal};
use self::extended::Extended;
use self::gather::Gathering;
use self::show::Showing;
use self::values::Formats;
use super::Worker;
use super::client::{Client, Stage};
use super::reason::Reason;
use super::stream::Filled;

/// A client that is logged in to the console.
///
/// ```text
/// Listening ──> Asking ─────────────────> Listening
///     └───────> Gathering ──> Showing ────────^
///
/// Listening <──> Offered ──> (another worker's)      Coming ──> Listening
/// ```
#[derive(Debug)]
pub(super) struct Console {
    user: String,
    rights: Rights,
    state: State,
    /// How its last command is answered.
    reply: Reply,
    /// What it has prepared.
    extended: Extended,
}

/// What a user of the console may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rights {
    /// Everything: one of `admin_users`.
    Admin,
    /// Only look: one of `stats_users`.
    Stats,
}

/// What a console is doing.
#[derive(Debug)]
pub(in crate::worker) enum State {
    /// Its next command is welcome.
    Listening,
    /// The supervisor has not answered it yet.
    Asking,
    /// Others say what they know.
    Gathering(Box<Gathering>),
    /// It is sent a table.
    Showing(Box<Showing>),
    /// It is offered to another worker.
    Offered,
    /// Another worker offers it.
    Coming,
}

/// How a command is answered.
#[derive(Debug)]
enum Reply {
    /// With its heading and ReadyForQuery.
    Simple,
    /// With the rows alone; the client asks for the rest by itself.
    Extended {
        /// The portal that is run.
        portal: Vec<u8>,
        /// The formats of its columns.
        formats: Formats,
        /// The most rows that are wanted; 0 for all.
        limit: u32,
    },
}

impl Reply {
    /// The formats of the columns.
    fn formats(&self) -> &Formats {
        match self {
            Self::Simple => Formats::TEXT,
            Self::Extended { formats, .. } => formats,
        }
    }

    /// The most rows that are wanted; 0 for all.
    fn limit(&self) -> u32 {
        match self {
            Self::Simple => 0,
            Self::Extended { limit, .. } => *limit,
        }
    }

    /// Appends what ends an answer.
    fn close(&self, out: &mut Vec<u8>) {
        if matches!(self, Self::Simple) {
            write::ready_for_query(out, TransactionStatus::Idle);
        }
    }
}

impl Console {
    /// A console that has just logged in as `user`.
    pub(super) fn new(user: String, rights: Rights) -> Self {
        Self {
            user,
            rights,
            state: State::Listening,
            reply: Reply::Simple,
            extended: Extended::default(),
        }
    }

    /// Who it is.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// What it is doing.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Whether it may do everything.
    pub(super) fn is_admin(&self) -> bool {
        self.rights == Rights::Admin
    }

    /// Whether it is not decided yet which worker has it.
    pub(super) fn is_offered(&self) -> bool {
        matches!(self.state, State::Offered | State::Coming)
    }

    /// Whether it is another worker's still.
    pub(super) fn is_coming(&self) -> bool {
        matches!(self.state, State::Coming)
    }

    /// Whether nothing but its next command is to come: it waits for nobody, and
    /// has prepared nothing.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Listening) && self.extended.is_empty()
    }

    /// Does nothing until it is decided which worker has it.
    pub(super) fn offer(&mut self) {
        self.state = State::Offered;
    }

    /// A console that another worker offers.
    pub(super) fn coming(user: String, rights: Rights) -> Self {
        Self {
            state: State::Coming,
            ..Self::new(user, rights)
        }
    }

    /// Goes on as it was before it was offered.
    pub(super) fn listen_again(&mut self) {
        self.state = State::Listening;
    }
}

impl Worker {
    /// Reads from a console and answers.
    pub(super) fn console_turn(&mut self, id: ClientId) {
        self.gather_turn(id);
        let turn = self.show_turn(id);
        let turn = turn.and_then(|()| self.read_console(id));
        if let Err(reason) = turn.and_then(|()| self.obey_console(id)) {
            return self.close_client(id, &reason);
        }
        if let Some(client) = self.clients.get(id)
            && listens(client)
            && (client.stream.readable() || holds_message(&client.inbox))
        {
            self.wake_client(id);
        }
    }

    /// Puts what has come into the inbox, if that holds no command yet.
    fn read_console(&mut self, id: ClientId) -> Result<(), Reason> {
        let Some(client) = self.clients.get_mut(id) else {
            return Ok(());
        };
        if awaits_answer(client) && client.stream.read_closed() {
            // Nobody is there for the answer.
            return Err(Reason::Left);
        }
        if !listens(client) || !client.stream.readable() || holds_message(&client.inbox) {
            return Ok(());
        }
        client.inbox = match client.stream.fill(&mut client.inbox, &mut self.scratch) {
            Ok(Filled::Nothing) => return Ok(()),
            Ok(Filled::End) => return Err(Reason::Left),
            Ok(Filled::Scratch(end)) => self.scratch.get(..end).unwrap_or_default().to_vec(),
            Ok(Filled::Inbox(bytes)) => bytes,
            Err(error) => return Err(Reason::of_socket(&error)),
        };
        client.heard = self.now;
        Ok(())
    }

    /// Obeys the commands in the inbox and keeps what is not one yet.
    fn obey_console(&mut self, id: ClientId) -> Result<(), Reason> {
        let Some(client) = self.clients.get_mut(id) else {
            return Ok(());
        };
        let inbox = std::mem::take(&mut client.inbox);
        let mut rest = inbox.as_slice();
        for _ in 0..COMMANDS_PER_TURN {
            if !self.clients.get(id).is_some_and(listens) {
                break;
            }
            let split = Frame::split(rest, MAX_LENGTH)
                .map_err(|error| Reason::Protocol(error.to_string()))?;
            let Some((frame, behind)) = split else {
                break;
            };
            self.counting.console.received += (rest.len() - behind.len()) as u64;
            rest = behind;
            self.take_from_console(id, frame)?;
        }
        if let Some(client) = self.clients.get_mut(id)
            && matches!(client.stage, Stage::Console(_))
        {
            client.inbox = rest.to_vec();
        }
        Ok(())
    }

    fn take_from_console(&mut self, id: ClientId, frame: Frame<'_>) -> Result<(), Reason> {
        let failure = match frame.tag {
            tag::QUERY => {
                let text = frontend::query(frame.body).ok_or_else(bad_packet)?;
                if let Some(console) = self.console_mut(id) {
                    console.reply = Reply::Simple;
                }
                return self.obey_command(id, &String::from_utf8_lossy(text));
            }
            tag::TERMINATE => return Err(Reason::Terminated),
            tag::PARSE
            | tag::BIND
            | tag::DESCRIBE
            | tag::EXECUTE
            | tag::CLOSE
            | tag::SYNC
            | tag::FLUSH => return self.take_extended(id, frame),
            tag => Failure::UnknownMessage(tag),
        };
        self.answer_console(id, |out| answers::failed(out, &failure))?;
        Err(bad_packet())
    }

    fn obey_command(&mut self, id: ClientId, text: &str) -> Result<(), Reason> {
        let Some(rights) = self.console_mut(id).map(|console| console.rights) else {
            return Ok(());
        };
        self.count_command();
        match commands::find(text, rights) {
            Ok(None) => self.answer_console(id, answers::nothing),
            Ok(Some(action)) => self.act_on_command(id, action),
            Err(refusal) => self.refuse_command(id, refusal),
        }
    }

    fn act_on_command(&mut self, id: ClientId, action: Action) -> Result<(), Reason> {
        match action {
            Action::Show(topic) => {
                self.gather(id, topic);
                Ok(())
            }
            Action::ShowOwn(own) => self.show_own(id, own),
            Action::ShowParameter(parameter) => {
                let rows = vec![vec![Value::from(parameter.value)]];
                self.show(id, Showing::of(parameter.columns(), rows, "SHOW"));
                Ok(())
            }
            Action::Nod(command_tag) => {
                self.answer_console(id, |out| answers::done(out, command_tag))
            }
            Action::IgnoreSet => self.answer_console(id, answers::set_ignored),
            Action::Shutdown(kind, timeout) => self.order_shutdown(id, kind, timeout),
            Action::GoAway(wish) => self.order_goaway(id, wish),
            Action::GoAwayStop => self.ask_supervisor(id, Asked::Order(Order::GoAwayStop)),
            Action::Ask(asked) => self.ask_supervisor(id, asked),
        }
    }

    fn show_own(&mut self, id: ClientId, own: Own) -> Result<(), Reason> {
        let Some(columns) = own.columns() else {
            return self.answer_console(id, answers::help);
        };
        let (rows, command_tag) = match own {
            Own::Help => (Vec::new(), "SHOW"),
            Own::Config => (own::config(&self.config.settings), "SHOW"),
            Own::Version => (own::version(), "SHOW"),
            Own::One => (vec![vec![Value::Number(1)]], "SELECT 1"),
            Own::Workers => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                let now_unix = now.map_or(0, |age| age.as_secs());
                (own::workers(self.scoreboard.cells(), now_unix), "SHOW")
            }
        };
        self.show(id, Showing::of(columns, rows, command_tag));
        Ok(())
    }

    fn refuse_command(&mut self, id: ClientId, refusal: Refusal) -> Result<(), Reason> {
        self.answer_console(id, |out| answers::failed(out, &Failure::Refused(refusal)))
    }

    fn refuse_console(&mut self, id: ClientId, failure: &Failure) -> Result<(), Reason> {
        self.answer_console(id, |out| answers::failed(out, failure))
    }

    /// Sends the answer that `write` writes, to the end of the command.
    fn answer_console(
        &mut self,
        id: ClientId,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Reason> {
        let mut out = Vec::new();
        write(&mut out);
        if let Some(console) = self.console_mut(id) {
            // Nothing comes before an error.
            if out.first() == Some(&backend::ERROR) {
                console.failed();
            }
            console.reply.close(&mut out);
        }
        self.send_to_console(id, &out)
    }

    fn send_to_console(&mut self, id: ClientId, bytes: &[u8]) -> Result<(), Reason> {
        let Some(client) = self.clients.get_mut(id) else {
            return Ok(());
        };
        self.counting.console.sent += bytes.len() as u64;
        client
            .outbox
            .send(&mut client.stream, bytes)
            .map_err(|error| Reason::SocketFailed(error.kind()))
    }

    fn console_mut(&mut self, id: ClientId) -> Option<&mut Console> {
        match &mut self.clients.get_mut(id)?.stage {
            Stage::Console(console) => Some(console),
            _ => None,
        }
    }

    fn log_order(&self, id: ClientId, words: &str) {
        if let Some(client) = self.clients.get(id) {
            let name = self.client_name(client);
            log::info!("c{} {name}: {words} command issued", client.number);
        }
    }
}

/// Whether a client is a console whose next command is to be read.
fn listens(client: &Client) -> bool {
    match &client.stage {
        Stage::Console(console) => {
            matches!(console.state, State::Listening) && client.outbox.is_empty()
        }
        _ => false,
    }
}

/// Whether a client is a console that waits for the supervisor.
fn awaits_answer(client: &Client) -> bool {
    matches!(&client.stage, Stage::Console(console) if matches!(console.state, State::Asking))
}

/// Whether the inbox begins with what can be acted upon without more bytes.
fn holds_message(inbox: &[u8]) -> bool {
    !matches!(Frame::split(inbox, MAX_LENGTH), Ok(None))
}

fn bad_packet() -> Reason {
    Reason::Protocol("bad packet".to_owned())
}

/// The largest length field of a message that a console may send, in bytes.
const MAX_LENGTH: u32 = 64 << 10;

/// Commands that one console may have obeyed before others get their turn.
const COMMANDS_PER_TURN: usize = 16;
