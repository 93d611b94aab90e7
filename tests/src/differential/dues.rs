//! Dues: what a server still has to answer, so that a client knows when to stop
//! reading.
//!
//! It is written for these tests alone and shares nothing with the pooler's own
//! book of the same.
//!
//! Source: PostgreSQL documentation, "Message Flow".

use std::collections::VecDeque;

use super::message::ClientMessage;
use crate::wire::Message;

/// What was sent and is not answered.
#[derive(Debug, Default)]
pub(super) struct Dues {
    queue: VecDeque<Due>,
    /// After an error the server ignores everything up to the next Sync.
    skipping: bool,
    /// The server waits for COPY data.
    copying: bool,
    /// The last message makes the server send what it has.
    asked: bool,
}

#[derive(Debug)]
struct Due {
    tag: u8,
    words: String,
}

impl Dues {
    /// Notes a message that is sent.
    pub(super) fn on_sent(&mut self, message: &ClientMessage) {
        let tag = message.tag();
        if self.copying {
            // Whatever asks within the data is ignored.
            if is_copy_end(tag) {
                self.copying = false;
                self.asked = self.queue.front().is_some_and(|due| due.tag == b'Q');
            }
            return;
        }
        match tag {
            b'Q' | b'F' | b'S' | b'H' => self.asked = true,
            b'P' | b'B' | b'D' | b'E' | b'C' => self.asked = false,
            _ => {}
        }
        if self.skipping && tag != b'S' {
            return;
        }
        self.skipping = false;
        if tag != b'H' {
            let words = message.to_string();
            self.queue.push_back(Due { tag, words });
        }
    }

    /// Notes a message that has come.
    pub(super) fn on_answer(&mut self, answer: &Message) {
        if matches!(answer.tag, b'N' | b'S' | b'A') {
            return;
        }
        self.forget_copy_data();
        let head = self.queue.front().map(|due| due.tag);
        let done = match answer.tag {
            b'1' => head == Some(b'P'),
            b'2' => head == Some(b'B'),
            b'3' => head == Some(b'C'),
            b'T' | b'n' => head == Some(b'D'),
            b'C' | b'I' | b's' => head == Some(b'E'),
            b'G' => {
                self.on_copy_in();
                false
            }
            b'E' => {
                self.on_error();
                false
            }
            b'Z' => {
                self.on_ready();
                false
            }
            _ => false,
        };
        if done {
            self.queue.pop_front();
        }
    }

    /// Whether the server waits for COPY data.
    pub(super) fn copying(&self) -> bool {
        self.copying
    }

    /// Whether more must come before the client says anything.
    pub(super) fn pending(&self) -> bool {
        let answered = self.queue.iter().all(|due| is_copy(due.tag));
        self.asked && !self.copying && !answered
    }

    /// What is due, in words.
    pub(super) fn words(&self) -> Vec<&str> {
        let due = self.queue.iter().filter(|due| !is_copy(due.tag));
        due.map(|due| due.words.as_str()).take(SHOWN).collect()
    }

    /// Data for a COPY that has ended, or has never begun, is ignored.
    fn forget_copy_data(&mut self) {
        while self.queue.front().is_some_and(|due| is_copy(due.tag)) {
            self.queue.pop_front();
        }
    }

    /// The server reads up to the end of the data, and ignores a Sync in it.
    fn on_copy_in(&mut self) {
        let mut ended = false;
        let mut first = true;
        self.queue.retain(|due| {
            let keep = first || ended;
            first = false;
            ended |= is_copy_end(due.tag);
            keep
        });
        self.copying = !ended;
    }

    fn on_error(&mut self) {
        self.copying = false;
        if matches!(
            self.queue.front().map(|due| due.tag),
            None | Some(b'Q' | b'F' | b'S')
        ) {
            return;
        }
        while self.queue.front().is_some_and(|due| due.tag != b'S') {
            self.queue.pop_front();
        }
        self.skipping = self.queue.is_empty();
    }

    fn on_ready(&mut self) {
        self.copying = false;
        while let Some(due) = self.queue.pop_front() {
            if matches!(due.tag, b'Q' | b'F' | b'S') {
                break;
            }
        }
    }
}

fn is_copy(tag: u8) -> bool {
    tag == b'd' || is_copy_end(tag)
}

fn is_copy_end(tag: u8) -> bool {
    matches!(tag, b'c' | b'f')
}

/// Messages that are named in a report.
const SHOWN: usize = 8;
