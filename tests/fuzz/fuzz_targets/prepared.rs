//! Any order of what a client says about prepared statements and of what a
//! server answers: nothing panics, and all memory is given back.
//!
//! Each byte is one step: half of them messages of the client, the others tags
//! of the server, right or wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgskein_pool::flow::{ClientVerdict, Flow, ServerVerdict};
use pgskein_pool::parameters::Parameters;
use pgskein_pool::prepared::plan::{Message, Planner};
use pgskein_pool::prepared::{Known, Prepared, Statements};
use pgskein_pool::statistics::Traffic;
use pgskein_protocol::tag::{backend, frontend};
use pgskein_protocol::TransactionStatus;

fuzz_target!(|steps: &[u8]| {
    let mut statements = Statements::new([7; 16]);
    statements.limit(4096);
    let mut link = Link {
        flow: Flow::default(),
        known: Known::default(),
        client: Prepared::new(&mut statements),
        statements,
        parameters: Parameters::new(&[]),
    };
    link.flow.on_link(true, steps.first().is_some_and(|step| step & 1 == 1));
    for step in steps.iter().skip(1) {
        if step & 0x80 == 0 {
            link.client_says(*step);
        } else {
            link.server_says(*step);
        }
        if link.flow.at_rest() {
            assert!(!link.flow.needs_sync() && !link.flow.running());
        }
    }
    link.end();
});

struct Link {
    flow: Flow,
    known: Known,
    client: Prepared,
    statements: Statements,
    parameters: Parameters,
}

impl Link {
    fn client_says(&mut self, step: u8) {
        let name = [&b""[..], b"a", b"b"][usize::from(step >> 3) % 3];
        let text = format!("select {}\0\0\0", (step >> 5) & 3);
        let (tag, body) = match step & 7 {
            0 => (frontend::PARSE, [name, b"\0", text.as_bytes()].concat()),
            1 => (frontend::BIND, [b"\0", name, &b"\0\0\0\0\0\0\0"[..]].concat()),
            2 => (frontend::DESCRIBE, [b"S", name, b"\0"].concat()),
            3 => (frontend::CLOSE, [b"S", name, b"\0"].concat()),
            4 => (frontend::EXECUTE, vec![0; 5]),
            5 => (frontend::SYNC, Vec::new()),
            6 if step & 0x20 == 0 => (frontend::QUERY, text.into_bytes()),
            6 => (frontend::COPY_DONE, Vec::new()),
            _ => (frontend::FLUSH, Vec::new()),
        };
        if self.flow.holds(tag) || self.flow.on_client(tag) != ClientVerdict::Plan {
            return;
        }
        let mut out = Vec::new();
        Planner {
            flow: &mut self.flow,
            known: &mut self.known,
            client: &mut self.client,
            statements: &mut self.statements,
            max: 2,
            parameters: &self.parameters,
            out: &mut out,
            traffic: &mut Traffic::default(),
        }
        .plan(Message {
            tag,
            body: &body,
            len: body.len(),
        });
    }

    fn server_says(&mut self, step: u8) {
        const TAGS: [u8; 12] = [
            backend::PARSE_COMPLETE,
            backend::BIND_COMPLETE,
            backend::CLOSE_COMPLETE,
            backend::NO_DATA,
            backend::ROW_DESCRIPTION,
            backend::COMMAND_COMPLETE,
            backend::EMPTY_QUERY,
            backend::ERROR,
            backend::READY_FOR_QUERY,
            backend::COPY_IN,
            backend::DATA_ROW,
            backend::NOTICE,
        ];
        let tag = TAGS[usize::from(step & 0x1f) % TAGS.len()];
        while self.flow.on_server(tag) == ServerVerdict::Answer {
            assert!(self.flow.answer().is_some());
        }
        if tag == backend::READY_FOR_QUERY {
            let status = match step & 0x60 {
                0 => TransactionStatus::InTransaction,
                0x20 => TransactionStatus::Failed,
                _ => TransactionStatus::Idle,
            };
            let ready = self.flow.on_ready(status);
            assert!(!ready.settled || self.flow.at_rest());
        }
        if step & 0x7f == 0x7f {
            self.flow.on_deallocated();
        }
        self.settle();
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

    /// Client and server go: nothing is left.
    fn end(mut self) {
        self.flow.forget_client();
        for outcome in self.flow.take_outcomes() {
            outcome.carry_out(None, &mut self.known, &mut self.statements);
        }
        self.client.release(&mut self.statements);
        self.known.clear(&mut self.statements);
        assert_eq!((self.statements.len(), self.statements.bytes()), (0, 0));
    }
}
