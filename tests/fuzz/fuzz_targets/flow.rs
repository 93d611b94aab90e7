//! What a server owes and what is prepared there.
//!
//! A client says anything in any order, a byte of the input for each message.
//! A byte with its high bit set is the server's turn: it answers one message,
//! well or with an error, as PostgreSQL does. That it is never asked for a
//! statement that it does not have, nor to prepare one that it has, is the
//! point. An input that begins with an odd byte has a server that says anything
//! too, and no prepared statements.
#![no_main]

use std::collections::{HashSet, VecDeque};

use libfuzzer_sys::fuzz_target;
use pgskein_pool::flow::{ClientVerdict, Flow};
use pgskein_pool::parameters::Parameters;
use pgskein_pool::prepared::plan::{Message, Planned, Planner, TAKEN};
use pgskein_pool::prepared::{Known, Prepared, Statements};
use pgskein_pool::statistics::Traffic;
use pgskein_protocol::tag::{backend, frontend};
use pgskein_protocol::{Frame, TransactionStatus, write};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let renames = first & 1 == 0;
    let mut link = Link::new(renames);
    for byte in bytes {
        match (byte & 0x80 == 0, renames) {
            (true, _) => link.client_says(*byte),
            (false, true) => link.server_answers(*byte),
            (false, false) => link.server_says_anything(*byte),
        }
        link.check();
    }
    if renames {
        link.end();
    }
});

/// A client that is linked to a server.
struct Link {
    flow: Flow,
    known: Known,
    client: Prepared,
    statements: Statements,
    parameters: Parameters,
    server: Server,
}

/// What PostgreSQL keeps of a session.
#[derive(Default)]
struct Server {
    /// Messages that it has not answered.
    inbox: VecDeque<(u8, Vec<u8>)>,
    statements: HashSet<Vec<u8>>,
    skipping: bool,
    /// It has forgotten all statements, and what was sent before that was known
    /// is not answered yet.
    forgot: bool,
}

impl Link {
    fn new(renames: bool) -> Self {
        let mut statements = Statements::new([3; 16]);
        let mut flow = Flow::default();
        flow.on_link(renames, false);
        Self {
            flow,
            known: Known::default(),
            client: Prepared::new(&mut statements),
            statements,
            parameters: Parameters::new(&[]),
            server: Server::default(),
        }
    }

    fn client_says(&mut self, byte: u8) {
        let name = NAMES[usize::from(byte >> 4) & 3];
        let text = TEXTS[usize::from(byte >> 6) & 1];
        let mut message = Vec::new();
        match byte & 15 {
            0 | 1 => write::parse(&mut message, name, text),
            2 | 3 => {
                write::bind_names(&mut message, b"", name, 6);
                message.extend_from_slice(&[0; 6]);
            }
            4 => write::describe_statement(&mut message, name),
            5 => write::close_statement(&mut message, name),
            6 => write::query(&mut message, "select 1"),
            kind => {
                let tags = [
                    frontend::EXECUTE,
                    frontend::SYNC,
                    frontend::FLUSH,
                    frontend::COPY_DATA,
                    frontend::COPY_DONE,
                    frontend::COPY_FAIL,
                    frontend::FUNCTION_CALL,
                    frontend::EXECUTE,
                    frontend::SYNC,
                ];
                let tag = tags[usize::from(kind - 7)];
                message.extend_from_slice(&[tag, 0, 0, 0, 4]);
            }
        }
        let (frame, _) = Frame::split(&message, u32::MAX).unwrap().unwrap();
        let copies = matches!(
            frame.tag,
            frontend::COPY_DATA | frontend::COPY_DONE | frontend::COPY_FAIL
        );
        if self.flow.holds(frame.tag) || (copies && self.flow.renames()) {
            return;
        }
        if frame.tag == frontend::QUERY && !self.flow.skipping() {
            if self.flow.query_may_be_skipped() {
                let settled = self.flow.unnamed_settled();
                self.client.unnamed.close(settled);
            } else {
                self.client.unnamed.clear();
            }
        }
        if self.flow.on_client(frame.tag) == ClientVerdict::Plan {
            self.plan(frame, &message);
        } else {
            self.server.hears(&message);
        }
    }

    fn plan(&mut self, frame: Frame<'_>, message: &[u8]) {
        let mut out = Vec::new();
        let planned = Planner {
            flow: &mut self.flow,
            known: &mut self.known,
            client: &mut self.client,
            statements: &mut self.statements,
            max: 1,
            parameters: &self.parameters,
            out: &mut out,
            traffic: &mut Traffic::default(),
        }
        .plan(Message {
            tag: frame.tag,
            body: frame.body,
            len: frame.body.len(),
        });
        match planned {
            Planned::Sent(sent) => {
                out.extend_from_slice(&message[sent.replaced..]);
                self.server.hears(&out);
            }
            Planned::Hold => assert!(self.flow.ready_due(), "what is held is answered some day"),
            Planned::More | Planned::TooLarge => panic!("the message is whole and small"),
        }
    }

    /// The server answers what it has heard first.
    fn server_answers(&mut self, byte: u8) {
        let Some((tag, name)) = self.server.inbox.pop_front() else {
            self.server.forgot = false;
            return;
        };
        if self.server.skipping && tag != frontend::SYNC {
            return;
        }
        let has = self.server.statements.contains(&name);
        let ours = name.starts_with(b"pgskein_") && name != TAKEN;
        let chance = byte & 3 == 0;
        match tag {
            frontend::PARSE if has => {
                assert!(!ours, "it is asked to prepare what it has");
                self.fails();
            }
            frontend::BIND | frontend::DESCRIBE if !name.is_empty() && !has => {
                let forgot = self.server.forgot;
                assert!(!ours || forgot, "it is asked for what it does not have");
                self.fails();
            }
            frontend::PARSE | frontend::BIND | frontend::DESCRIBE | frontend::EXECUTE
                if chance && name != TAKEN =>
            {
                self.fails();
            }
            frontend::PARSE => {
                if !name.is_empty() {
                    self.server.statements.insert(name);
                }
                self.server_says(backend::PARSE_COMPLETE);
            }
            frontend::BIND => self.server_says(backend::BIND_COMPLETE),
            frontend::DESCRIBE => self.server_says(backend::NO_DATA),
            frontend::EXECUTE => self.executes(byte),
            frontend::CLOSE => {
                self.server.statements.remove(&name);
                self.server_says(backend::CLOSE_COMPLETE);
            }
            frontend::SYNC => {
                self.server.skipping = false;
                self.ready();
            }
            frontend::QUERY | frontend::FUNCTION_CALL => {
                let tags = [backend::ERROR, backend::COMMAND_COMPLETE];
                self.server_says(tags[usize::from(!chance)]);
                self.ready();
            }
            _ => {}
        }
    }

    /// Some of what is executed is DEALLOCATE ALL.
    fn executes(&mut self, byte: u8) {
        if byte & 0x1c == 0x1c {
            self.server.statements.clear();
            self.server.forgot = true;
            self.flow.on_deallocated();
        }
        self.server_says(backend::COMMAND_COMPLETE);
    }

    fn fails(&mut self) {
        self.server.skipping = true;
        self.server_says(backend::ERROR);
    }

    fn server_says(&mut self, tag: u8) {
        while self.flow.answer().is_some() {}
        self.flow.on_server(tag);
        while self.flow.answer().is_some() {}
        self.settle();
    }

    fn ready(&mut self) {
        while self.flow.answer().is_some() {}
        let ready = self.flow.on_ready(TransactionStatus::Idle);
        assert!(ready.expected);
        assert_eq!(ready.settled, self.flow.at_rest());
        self.settle();
    }

    /// A server that answers what nobody has asked.
    fn server_says_anything(&mut self, byte: u8) {
        let tags = [
            backend::PARSE_COMPLETE,
            backend::BIND_COMPLETE,
            backend::CLOSE_COMPLETE,
            backend::COMMAND_COMPLETE,
            backend::ROW_DESCRIPTION,
            backend::NO_DATA,
            backend::DATA_ROW,
            backend::ERROR,
            backend::COPY_IN,
            backend::EMPTY_QUERY,
            backend::PORTAL_SUSPENDED,
            backend::NOTICE,
        ];
        match tags.get(usize::from(byte & 15)) {
            Some(tag) => {
                self.flow.on_server(*tag);
            }
            None => {
                let ready = self.flow.on_ready(TransactionStatus::Idle);
                assert!(!ready.settled || self.flow.at_rest());
            }
        }
    }

    fn settle(&mut self) {
        for outcome in self.flow.take_outcomes() {
            outcome.carry_out(
                Some(&mut self.client),
                &mut self.known,
                &mut self.statements,
            );
        }
    }

    fn check(&self) {
        if self.flow.at_rest() {
            assert!(!self.flow.ready_due() && !self.flow.needs_sync());
            assert!(!self.flow.owes_answer() && self.flow.unnamed_settled());
        }
    }

    /// All is answered, then both leave, and nothing is left of either.
    fn end(mut self) {
        self.client_says(8);
        while !self.server.inbox.is_empty() {
            self.server_answers(0xff);
        }
        self.client_says(8);
        self.server_answers(0xff);
        assert!(self.flow.at_rest());
        self.flow.forget_client();
        self.settle();
        self.client.release(&mut self.statements);
        self.known.clear(&mut self.statements);
        assert_eq!((self.statements.len(), self.statements.bytes()), (0, 0));
    }
}

impl Server {
    /// Keeps what was sent: the type, and the statement's name, of each.
    fn hears(&mut self, mut bytes: &[u8]) {
        while let Ok(Some((frame, rest))) = Frame::split(bytes, u32::MAX) {
            let mut strings = frame.body.split(|byte| *byte == 0);
            let name = match frame.tag {
                frontend::BIND => strings.nth(1),
                frontend::PARSE => strings.next(),
                frontend::DESCRIBE | frontend::CLOSE => strings.next().and_then(|n| n.get(1..)),
                _ => None,
            };
            self.inbox
                .push_back((frame.tag, name.unwrap_or_default().to_vec()));
            bytes = rest;
        }
        assert!(bytes.is_empty(), "whole messages are sent");
    }
}

const NAMES: [&[u8]; 4] = [b"", b"a", b"b", b"c"];
/// Bodies of Parse behind the name.
const TEXTS: [&[u8]; 2] = [b"select 1\0\0\0", b"select $1\0\0\x01\0\0\0\x17"];
