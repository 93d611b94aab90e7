//! Phrases about COPY FROM STDIN.
//!
//! The data is one group with what begins the COPY, since a client must not
//! send anything else while the server waits for data.

use super::Generator;
use crate::differential::message::{ClientMessage, Named};
use crate::differential::sequence::{Flight, Then};

impl Generator {
    /// In the simple protocol, looking at the answer before sending data.
    pub(super) fn copy_simple(&mut self) {
        let group = self.group();
        let (sql, copies) = *self.random.pick(SIMPLE);
        let query = ClientMessage::Query(sql.to_owned());
        self.push(vec![query], Some(group), Then::Wait);
        for _ in 0..copies {
            let data = self.data();
            self.push_if_copying(data, group);
        }
    }

    /// In the extended protocol, as libpq does it: Sync goes out with Execute,
    /// and once more behind the data. Or with Flush, and one Sync at the end.
    pub(super) fn copy_extended(&mut self) {
        let group = self.group();
        let early_sync = self.random.percent(50);
        let mut start = self.start();
        start.push(if early_sync {
            ClientMessage::Sync
        } else {
            ClientMessage::Flush
        });
        self.push(start, Some(group), Then::Wait);
        let mut data = self.data();
        if early_sync {
            data.push(ClientMessage::Sync);
        }
        self.push_if_copying(data, group);
        if !early_sync {
            let then = self.then();
            self.push(vec![ClientMessage::Sync], Some(group), then);
        }
        self.forget_unnamed(group);
    }

    /// Everything in one go, before the server has said that it wants data.
    pub(super) fn copy_blindly(&mut self) {
        let group = self.group();
        if self.random.percent(50) {
            let (sql, copies) = *self.random.pick(SIMPLE);
            let mut messages = vec![ClientMessage::Query(sql.to_owned())];
            for _ in 0..copies {
                messages.extend(self.data());
            }
            let then = self.then();
            self.push(messages, Some(group), then);
            return;
        }
        let mut messages = self.start();
        if self.random.percent(30) {
            messages.push(ClientMessage::Sync);
        }
        messages.extend(self.data());
        messages.push(ClientMessage::Sync);
        let then = self.then();
        self.push(messages, Some(group), then);
        self.forget_unnamed(group);
    }

    /// Parse, Bind and Execute of a COPY.
    fn start(&mut self) -> Vec<ClientMessage> {
        let name = (*self.random.pick(&["", "copying"])).to_owned();
        let text = (*self.random.pick(EXTENDED)).to_owned();
        let mut messages = vec![
            ClientMessage::Close(Named::Statement(name.clone())),
            ClientMessage::Parse {
                statement: name.clone(),
                text,
                types: Vec::new(),
            },
            ClientMessage::Bind {
                portal: name.clone(),
                statement: name.clone(),
                values: Vec::new(),
                binary: Vec::new(),
            },
        ];
        if self.random.percent(50) {
            messages.push(ClientMessage::Describe(Named::Portal(name.clone())));
        }
        messages.push(ClientMessage::Execute {
            portal: name,
            rows: 0,
        });
        messages
    }

    /// Data and its end.
    fn data(&mut self) -> Vec<ClientMessage> {
        let mut messages = Vec::new();
        let kind = self.random.below(10);
        for row in 0..self.random.below(6) {
            let number = 100 + self.random.below(1000) * 10 + row;
            let line = match kind {
                0 if row == 2 => "not a number\twords\n".to_owned(),
                1 => format!("{number}\t{}\n", "z".repeat(30_000)),
                2 => "1\ttaken\n".to_owned(),
                3 => format!("{number}\tcut"),
                _ => format!("{number}\twords\n"),
            };
            messages.push(ClientMessage::CopyData(line.into_bytes()));
            if self.random.percent(10) {
                messages.push(ClientMessage::Flush);
            }
        }
        messages.push(if self.random.percent(20) {
            ClientMessage::CopyFail("changed my mind")
        } else {
            ClientMessage::CopyDone
        });
        messages
    }

    /// A simple query makes the unnamed statement, which is a COPY, go away:
    /// nothing else may run it.
    fn forget_unnamed(&mut self, group: u32) {
        let query = ClientMessage::Query("select 'copied'".to_owned());
        let then = self.then();
        self.push(vec![query], Some(group), then);
    }

    fn push_if_copying(&mut self, messages: Vec<ClientMessage>, group: u32) {
        let cuts = self.cuts();
        self.flights.push(Flight {
            messages,
            whole: Some(group),
            if_copying: true,
            then: Then::Wait,
            cuts,
        });
    }
}

/// Queries with COPY, and how many of them want data.
const SIMPLE: &[(&str, usize)] = &[
    ("copy {}r from stdin", 1),
    ("copy {}r from stdin", 1),
    ("copy {}n from stdin", 1),
    ("copy {}d (id) from stdin", 1),
    ("copy {}missing from stdin", 1),
    (
        "copy {}r from stdin; select 'between'; copy {}n from stdin",
        2,
    ),
    ("select 1/0; copy {}r from stdin", 1),
    ("copy {}r from stdin; select 1/0", 1),
];

/// Statements with COPY.
const EXTENDED: &[&str] = &[
    "copy {}r from stdin",
    "copy {}r from stdin",
    "copy {}n from stdin",
    "copy {}d (id) from stdin",
    "copy {}missing from stdin",
];
