//! Phrases about queries, statements and portals.

use super::Generator;
use crate::differential::message::{ClientMessage, Named};
use crate::differential::sequence::Then;
use crate::differential::texts::{self, Text, Value};

impl Generator {
    /// One or two simple queries.
    pub(super) fn query(&mut self) {
        for _ in 0..self.random.between(1, 2) {
            let text = self.random.pick(texts::QUERIES);
            let query = ClientMessage::Query((*text).to_owned());
            let then = self.then();
            self.push(vec![query], None, then);
        }
    }

    /// Parse, with Describe at times.
    pub(super) fn prepare(&mut self) {
        let statement = self.statement_name();
        let mut messages = Vec::new();
        if self.random.percent(30) {
            messages.push(ClientMessage::Close(Named::Statement(statement.clone())));
        }
        let text = *self.random.pick(texts::STATEMENTS);
        messages.push(self.parse(&statement, &text));
        if self.random.percent(40) {
            messages.push(ClientMessage::Describe(Named::Statement(statement)));
        }
        self.say(messages);
    }

    /// Bind and Execute of a statement that may be there, or not, or take other
    /// values.
    pub(super) fn run_prepared(&mut self) {
        let statement = self.statement_name();
        let text = *self.random.pick(texts::STATEMENTS);
        let messages = self.bind_and_execute(&statement, &text);
        self.say(messages);
    }

    /// A driver's own way: everything that a statement needs in one go.
    pub(super) fn prepare_and_run(&mut self) {
        let statement = self.statement_name();
        let text = *self.random.pick(texts::STATEMENTS);
        let close = ClientMessage::Close(Named::Statement(statement.clone()));
        let parse = self.parse(&statement, &text);
        let describe = ClientMessage::Describe(Named::Statement(statement.clone()));
        self.say(vec![close, parse, describe]);
        for _ in 0..self.random.between(1, 4) {
            let messages = self.bind_and_execute(&statement, &text);
            self.say(messages);
        }
    }

    /// The unnamed statement, parsed and run, in one batch or in several.
    pub(super) fn run_unnamed(&mut self) {
        let text = *self.random.pick(texts::STATEMENTS);
        let parse = self.parse("", &text);
        let mut messages = vec![parse];
        if self.random.percent(30) {
            messages.push(ClientMessage::Describe(Named::Statement(String::new())));
        }
        if self.random.percent(40) {
            self.say(messages);
            messages = Vec::new();
        }
        for _ in 0..self.random.between(1, 2) {
            let run = self.bind_and_execute("", &text);
            messages.extend(run);
        }
        self.say(messages);
    }

    /// Close of what may be there.
    pub(super) fn close(&mut self) {
        let named = self.named();
        self.say(vec![ClientMessage::Close(named)]);
    }

    /// Describe of what may be there.
    pub(super) fn describe(&mut self) {
        let named = self.named();
        self.say(vec![ClientMessage::Describe(named)]);
    }

    /// Begins or ends a transaction, in either protocol.
    pub(super) fn transaction(&mut self) {
        let text = *self.random.pick(texts::TRANSACTION);
        if self.random.percent(60) {
            let then = self.then();
            self.push(vec![ClientMessage::Query(text.to_owned())], None, then);
            return;
        }
        let statement = if self.random.percent(50) {
            String::new()
        } else {
            self.statement_name()
        };
        let text = Text {
            sql: text,
            values: &[],
        };
        let mut messages = vec![
            ClientMessage::Close(Named::Statement(statement.clone())),
            self.parse(&statement, &text),
        ];
        messages.extend(self.bind_and_execute(&statement, &text));
        self.say(messages);
    }

    /// Parse of what is wrong.
    pub(super) fn wrong(&mut self) {
        let statement = self.statement_name();
        let text = (*self.random.pick(texts::WRONG)).to_owned();
        let mut messages = vec![ClientMessage::Parse {
            statement: statement.clone(),
            text,
            types: Vec::new(),
        }];
        if self.random.percent(50) {
            messages.push(ClientMessage::Describe(Named::Statement(statement)));
        }
        self.say(messages);
    }

    /// A portal whose rows are fetched bit by bit.
    pub(super) fn portal_in_parts(&mut self) {
        let portal = self.portal_name();
        let statement = self.statement_name();
        let text = texts::STATEMENTS[4];
        let mut messages = vec![
            ClientMessage::Close(Named::Statement(statement.clone())),
            self.parse(&statement, &text),
            self.bind(&portal, &statement, &text),
        ];
        for _ in 0..self.random.between(2, 5) {
            let rows = u32::try_from(self.random.below(4)).unwrap();
            messages.push(ClientMessage::Execute {
                portal: portal.clone(),
                rows,
            });
            match self.random.below(10) {
                0 => messages.push(ClientMessage::Sync),
                1 => messages.push(ClientMessage::Flush),
                2 => messages.push(ClientMessage::Describe(Named::Portal(portal.clone()))),
                _ => {}
            }
        }
        messages.push(ClientMessage::Close(Named::Portal(portal)));
        self.say(messages);
    }

    /// A cursor of SQL, fetched from in both protocols, which ends with its
    /// transaction.
    pub(super) fn cursor(&mut self) {
        let name = self.portal_name();
        let name = if name.is_empty() {
            "p1".to_owned()
        } else {
            name
        };
        let mut queries = vec!["begin".to_owned()];
        queries.push(format!(
            "declare {name} cursor for select n from generate_series(1, 9) n"
        ));
        queries.push(format!("fetch 2 from {name}"));
        let then = self.then();
        let messages = queries.into_iter().map(ClientMessage::Query).collect();
        self.push(messages, None, then);
        self.say(vec![
            ClientMessage::Describe(Named::Portal(name.clone())),
            ClientMessage::Execute {
                portal: name.clone(),
                rows: 3,
            },
        ]);
        let last = ["commit", "rollback", "close all; commit"];
        let last = (*self.random.pick(&last)).to_owned();
        let then = self.then();
        self.push(vec![ClientMessage::Query(last)], None, then);
    }

    /// A call of abs, of a division by zero, or of nothing.
    pub(super) fn function_call(&mut self) {
        const CALLS: &[(u32, &[&str])] = &[
            (1397, &["-5"]),
            (154, &["7", "0"]),
            (154, &["7", "2"]),
            (1397, &["five"]),
            (1397, &[]),
            (1, &["1"]),
        ];
        let (function, values) = *self.random.pick(CALLS);
        let call = ClientMessage::FunctionCall {
            function,
            values: values.to_vec(),
        };
        let then = self.then();
        self.push(vec![call], None, then);
    }

    /// A change of the tables, in either protocol.
    pub(super) fn definition(&mut self) {
        let text = *self.random.pick(texts::DEFINITIONS);
        let then = self.then();
        self.push(vec![ClientMessage::Query(text.to_owned())], None, then);
    }

    /// A change of a parameter that follows the client.
    pub(super) fn parameter(&mut self) {
        let text = *self.random.pick(texts::PARAMETERS);
        if self.random.percent(70) || text.contains(';') {
            let then = self.then();
            self.push(vec![ClientMessage::Query(text.to_owned())], None, then);
            return;
        }
        let text = Text {
            sql: text,
            values: &[],
        };
        let mut messages = vec![self.parse("", &text)];
        messages.extend(self.bind_and_execute("", &text));
        self.say(messages);
    }

    /// Forgets prepared statements, or all that a session has.
    pub(super) fn forget_all(&mut self) {
        let text = *self
            .random
            .pick(&["deallocate all", "discard all", "discard plans"]);
        if self.random.percent(60) {
            let then = self.then();
            self.push(vec![ClientMessage::Query(text.to_owned())], None, then);
            return;
        }
        let text = Text {
            sql: text,
            values: &[],
        };
        let mut messages = vec![self.parse("", &text)];
        messages.extend(self.bind_and_execute("", &text));
        messages.push(ClientMessage::Sync);
        // A name that is used again before the answer is there may still be in
        // use for the pooler.
        self.push(messages, None, Then::Wait);
    }

    /// SQL's own prepared statements, within one transaction.
    pub(super) fn prepare_in_sql(&mut self) {
        self.texts += 1;
        let name = format!("sql{}", self.texts);
        let mut queries = vec![
            "begin".to_owned(),
            format!("prepare {name} as select $1::int4 * 2"),
            format!("execute {name}(21)"),
        ];
        if self.random.percent(30) {
            queries.push("select 1/0".to_owned());
        } else {
            queries.push(format!("deallocate {name}"));
        }
        queries.push("commit".to_owned());
        self.say_whole(&queries);
    }

    /// A statement whose result changes its shape, or the change.
    pub(super) fn shape(&mut self) {
        let statement = self.statement_name();
        match self.random.below(3) {
            0 => {
                let text = *self.random.pick(texts::SHAPES);
                let then = self.then();
                self.push(vec![ClientMessage::Query(text.to_owned())], None, then);
            }
            1 => {
                let sql = *self.random.pick(texts::SHAPED);
                let text = if self.random.percent(80) {
                    self.once(sql)
                } else {
                    sql.to_owned()
                };
                let close = ClientMessage::Close(Named::Statement(statement.clone()));
                let parse = ClientMessage::Parse {
                    statement,
                    text,
                    types: Vec::new(),
                };
                self.say(vec![close, parse]);
            }
            _ => {
                let text = Text {
                    sql: "",
                    values: &[],
                };
                let messages = self.bind_and_execute(&statement, &text);
                self.say(messages);
            }
        }
    }

    /// Any message, in any order.
    pub(super) fn noise(&mut self) {
        let mut messages = Vec::new();
        for _ in 0..self.random.between(1, 5) {
            let text = *self.random.pick(texts::STATEMENTS);
            let statement = self.statement_name();
            let portal = self.portal_name();
            let message = match self.random.below(9) {
                0 => self.parse(&statement, &text),
                1 => self.bind(&portal, &statement, &text),
                2 => ClientMessage::Describe(self.named()),
                3 => ClientMessage::Execute { portal, rows: 2 },
                4 => ClientMessage::Close(self.named()),
                5 => ClientMessage::Flush,
                6 => ClientMessage::Sync,
                7 => ClientMessage::Query((*self.random.pick(texts::QUERIES)).to_owned()),
                _ => ClientMessage::CopyData(b"nobody asked\n".to_vec()),
            };
            messages.push(message);
        }
        self.say(messages);
    }

    /// Some dozens of runs in one go.
    pub(super) fn burst(&mut self) {
        let runs = self.random.between(5, 60);
        self.runs(runs);
    }

    /// Thousands of messages in one go.
    pub(super) fn long_pipeline(&mut self) {
        self.habits.wait = 0;
        for _ in 0..6 {
            let statement = self.statement_name();
            let text = texts::STATEMENTS[self.random.below(SMALL)];
            let close = ClientMessage::Close(Named::Statement(statement.clone()));
            let parse = self.parse(&statement, &text);
            self.push(vec![close, parse], None, Then::Write);
        }
        let runs = self.random.between(400, 1200);
        self.runs(runs);
    }

    fn runs(&mut self, runs: usize) {
        let mut messages = Vec::new();
        for _ in 0..runs {
            let statement = self.statement_name();
            // Small answers: nobody reads before all is written.
            let text = texts::STATEMENTS[self.random.below(SMALL)];
            if self.random.percent(20) {
                messages.push(self.parse(&statement, &text));
            }
            messages.extend(self.bind_and_execute(&statement, &text));
            if self.random.percent(self.habits.sync) {
                messages.push(ClientMessage::Sync);
            }
        }
        self.say(messages);
    }

    /// More statements than a server keeps, run again and again.
    pub(super) fn many_statements(&mut self) {
        let count = self.random.between(4, 30);
        let texts: Vec<Text> = (0..count)
            .map(|_| *self.random.pick(texts::STATEMENTS))
            .collect();
        let order: Vec<usize> = (0..count * 3)
            .map(|turn| {
                if turn < count {
                    turn
                } else {
                    self.random.below(count)
                }
            })
            .collect();
        for (turn, index) in order.into_iter().enumerate() {
            let name = format!("many{index}");
            if turn < count {
                let mut parse = self.parse(&name, &texts[index]);
                // Each is another one, also where the texts are the same.
                if let ClientMessage::Parse { text, .. } = &mut parse {
                    *text = self.once(text);
                }
                self.say(vec![parse]);
            } else {
                let messages = self.bind_and_execute(&name, &texts[index]);
                self.say(messages);
            }
        }
        let then = Then::Write;
        self.push(vec![ClientMessage::Sync], None, then);
    }

    fn parse(&mut self, statement: &str, text: &Text) -> ClientMessage {
        let types = text.values.iter().map(|value| match value {
            Value::Number => INT4,
            Value::Words => TEXT,
        });
        let types = if self.random.percent(30) {
            types.collect()
        } else {
            Vec::new()
        };
        ClientMessage::Parse {
            statement: statement.to_owned(),
            text: text.sql.to_owned(),
            types,
        }
    }

    fn bind(&mut self, portal: &str, statement: &str, text: &Text) -> ClientMessage {
        let mut values: Vec<_> = text.values.iter().map(|value| self.value(*value)).collect();
        if self.random.percent(4) {
            values.push(Some("one too many".to_owned()));
        }
        let binary = match self.random.below(10) {
            0 => vec![true],
            1 => vec![false],
            _ => Vec::new(),
        };
        ClientMessage::Bind {
            portal: portal.to_owned(),
            statement: statement.to_owned(),
            values,
            binary,
        }
    }

    fn bind_and_execute(&mut self, statement: &str, text: &Text) -> Vec<ClientMessage> {
        let portal = if self.random.percent(70) {
            String::new()
        } else {
            self.portal_name()
        };
        let mut messages = vec![self.bind(&portal, statement, text)];
        if self.random.percent(40) {
            messages.push(ClientMessage::Describe(Named::Portal(portal.clone())));
        }
        let rows = if self.random.percent(80) { 0 } else { 2 };
        messages.push(ClientMessage::Execute {
            portal: portal.clone(),
            rows,
        });
        if self.random.percent(10) {
            messages.push(ClientMessage::Close(Named::Portal(portal)));
        }
        messages
    }

    fn value(&mut self, value: Value) -> Option<String> {
        match (value, self.random.below(20)) {
            (_, 0) => None,
            (Value::Number, 1) => Some("not a number".to_owned()),
            (Value::Number, _) => Some(self.random.below(12).to_string()),
            (Value::Words, 1) => Some("long ".repeat(self.random.between(20, 400))),
            (Value::Words, _) => Some(format!("words {}", self.random.below(100))),
        }
    }

    fn named(&mut self) -> Named {
        if self.random.percent(60) {
            Named::Statement(self.statement_name())
        } else {
            Named::Portal(self.portal_name())
        }
    }

    /// Few names, so that they are in use.
    fn statement_name(&mut self) -> String {
        const NAMES: &[&str] = &["s1", "S_2", "a \"quoted\" näme", "_", LONG_NAME];
        if self.random.percent(20) {
            return String::new();
        }
        NAMES[self.random.below(self.habits.names)].to_owned()
    }

    fn portal_name(&mut self) -> String {
        (*self.random.pick(&["", "", "p1", "p2"])).to_owned()
    }
}

/// How many of the statements at the beginning of the list have small answers.
const SMALL: usize = 5;
/// Longer than PostgreSQL's own names.
const LONG_NAME: &str =
    "statement_with_a_name_of_more_than_sixty_three_bytes_which_some_drivers_make";
/// Type numbers, which are the same everywhere.
const INT4: u32 = 23;
const TEXT: u32 = 25;
