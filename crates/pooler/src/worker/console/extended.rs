//! The extended protocol, as far as drivers need it to ask.
//!
//! A statement is a command without parameters. A portal is run once, or a few
//! rows at a time; it ends with its Sync. After an error everything up to the
//! next Sync is thrown away.
//!
//! Source: PostgreSQL documentation, "Message Flow", Extended Query.

use std::collections::HashMap;

use pgskein_pool::slab::ClientId;
use pgskein_protocol::tag::frontend as tag;
use pgskein_protocol::{Frame, TransactionStatus, frontend, write};

use super::answers::Failure;
use super::commands::{self, Action};
use super::show::Showing;
use super::values::{Columns, Formats, heading};
use super::{Console, Reply, State};
use crate::worker::Worker;
use crate::worker::reason::Reason;

/// What a console has prepared.
#[derive(Debug, Default)]
pub(super) struct Extended {
    statements: HashMap<Vec<u8>, Statement>,
    portals: HashMap<Vec<u8>, Portal>,
    /// Everything up to the next Sync is thrown away.
    skips: bool,
}

/// A command that was prepared, or an empty one.
type Statement = Option<Action>;

#[derive(Debug)]
struct Portal {
    statement: Statement,
    formats: Formats,
    /// What is left of a table that was shown in part.
    suspended: Option<Box<Showing>>,
}

impl Extended {
    /// Whether nothing is prepared, and nothing thrown away.
    pub(super) fn is_empty(&self) -> bool {
        self.statements.is_empty() && self.portals.is_empty() && !self.skips
    }
}

impl Console {
    /// Keeps what is left of a table until its portal is run again.
    pub(super) fn suspend(&mut self, showing: Box<Showing>) {
        if let Reply::Extended { portal, .. } = &self.reply
            && let Some(portal) = self.extended.portals.get_mut(portal)
        {
            portal.suspended = Some(showing);
        }
    }

    /// An error was the answer: with the extended protocol, what follows up to
    /// the next Sync is thrown away.
    pub(super) fn failed(&mut self) {
        self.extended.skips |= matches!(self.reply, Reply::Extended { .. });
    }
}

impl Worker {
    /// Takes one message of the extended protocol.
    ///
    /// # Errors
    ///
    /// A message that has not its form, or the error of the socket.
    pub(super) fn take_extended(&mut self, id: ClientId, frame: Frame<'_>) -> Result<(), Reason> {
        let Some(console) = self.console_mut(id) else {
            return Ok(());
        };
        console.reply = Reply::Extended {
            portal: Vec::new(),
            formats: Formats::default(),
            limit: 0,
        };
        let mut out = Vec::new();
        if frame.tag == tag::SYNC {
            console.extended.skips = false;
            console.extended.portals.clear();
            write::ready_for_query(&mut out, TransactionStatus::Idle);
            return self.send_to_console(id, &out);
        }
        if console.extended.skips {
            return Ok(());
        }
        let taken = match frame.tag {
            tag::PARSE => console.on_parse(frame.body, &mut out)?,
            tag::BIND => console.on_bind(frame.body, &mut out)?,
            tag::DESCRIBE => console.on_describe(frame.body, &mut out)?,
            tag::CLOSE => console.on_close(frame.body, &mut out)?,
            tag::EXECUTE => return self.on_execute(id, frame.body),
            // Nothing is held back.
            _ => Ok(()),
        };
        match taken {
            Ok(()) => self.send_to_console(id, &out),
            Err(failure) => self.refuse_console(id, &failure),
        }
    }

    fn on_execute(&mut self, id: ClientId, body: &[u8]) -> Result<(), Reason> {
        let execute = frontend::Execute::parse(body).ok_or_else(super::bad_packet)?;
        let Some(console) = self.console_mut(id) else {
            return Ok(());
        };
        let Some(portal) = console.extended.portals.get_mut(execute.portal) else {
            return self.refuse_console(id, &Failure::no_portal(execute.portal));
        };
        console.reply = Reply::Extended {
            portal: execute.portal.to_vec(),
            formats: portal.formats.clone(),
            limit: execute.limit,
        };
        if let Some(mut showing) = portal.suspended.take() {
            showing.want(execute.limit);
            console.state = State::Showing(showing);
            self.wake_client(id);
            return Ok(());
        }
        let statement = portal.statement.clone();
        self.count_command();
        match statement {
            Some(action) => self.act_on_command(id, action),
            None => self.answer_console(id, super::answers::nothing),
        }
    }
}

/// A message that has its form may still ask for what is not there.
type Taken = Result<Result<(), Failure>, Reason>;

impl Console {
    fn on_parse(&mut self, body: &[u8], out: &mut Vec<u8>) -> Taken {
        let statement = frontend::Statement::parse(body).ok_or_else(super::bad_packet)?;
        let text = frontend::Statement::text(statement.tail);
        let action = match commands::find(&String::from_utf8_lossy(text), self.rights) {
            Ok(action) => action,
            Err(refusal) => return Ok(Err(Failure::Refused(refusal))),
        };
        let statements = &mut self.extended.statements;
        if statements.len() >= STATEMENTS_MAX && !statement.name.is_empty() {
            return Ok(Err(Failure::TooManyStatements));
        }
        if !statement.name.is_empty() && statements.contains_key(statement.name) {
            return Ok(Err(Failure::has_statement(statement.name)));
        }
        statements.insert(statement.name.to_vec(), action);
        write::parse_complete(out);
        Ok(Ok(()))
    }

    fn on_bind(&mut self, body: &[u8], out: &mut Vec<u8>) -> Taken {
        let bind = frontend::Bind::parse(body).ok_or_else(super::bad_packet)?;
        let tail = body.get(bind.names_len()..).unwrap_or_default();
        let tail = frontend::BindTail::parse(tail).ok_or_else(super::bad_packet)?;
        let Some(statement) = self.extended.statements.get(bind.statement) else {
            return Ok(Err(Failure::no_statement(bind.statement)));
        };
        if tail.parameters > 0 {
            return Ok(Err(Failure::Parameters(tail.parameters)));
        }
        let columns = columns(statement).map_or(0, |columns| columns.len());
        let Some(formats) = Formats::of(tail.formats, columns) else {
            return Ok(Err(Failure::Formats));
        };
        let portals = &self.extended.portals;
        if portals.len() >= PORTALS_MAX && !portals.contains_key(bind.portal) {
            return Ok(Err(Failure::TooManyPortals));
        }
        let portal = Portal {
            statement: statement.clone(),
            formats,
            suspended: None,
        };
        self.extended.portals.insert(bind.portal.to_vec(), portal);
        write::bind_complete(out);
        Ok(Ok(()))
    }

    fn on_describe(&mut self, body: &[u8], out: &mut Vec<u8>) -> Taken {
        let text = Formats::default();
        let described = match frontend::Target::parse(body).ok_or_else(super::bad_packet)? {
            frontend::Target::Statement(name) => match self.extended.statements.get(name) {
                Some(statement) => {
                    write::no_parameters(out);
                    (columns(statement), &text)
                }
                None => return Ok(Err(Failure::no_statement(name))),
            },
            frontend::Target::Portal(name) => match self.extended.portals.get(name) {
                Some(portal) => (columns(&portal.statement), &portal.formats),
                None => return Ok(Err(Failure::no_portal(name))),
            },
        };
        match described {
            (Some(columns), formats) => heading(&columns, formats, out),
            (None, _) => write::no_data(out),
        }
        Ok(Ok(()))
    }

    fn on_close(&mut self, body: &[u8], out: &mut Vec<u8>) -> Taken {
        match frontend::Target::parse(body).ok_or_else(super::bad_packet)? {
            frontend::Target::Statement(name) => drop(self.extended.statements.remove(name)),
            frontend::Target::Portal(name) => drop(self.extended.portals.remove(name)),
        }
        write::close_complete(out);
        Ok(Ok(()))
    }
}

/// The columns of what a statement shows; none if it shows nothing.
fn columns(statement: &Statement) -> Option<Columns> {
    match statement.as_ref()? {
        Action::Show(topic) => {
            let columns = topic.table().shown();
            Some(columns.map(|column| (column.name, column.kind)).collect())
        }
        Action::ShowOwn(own) => own.columns(),
        Action::ShowParameter(parameter) => Some(parameter.columns()),
        _ => None,
    }
}

/// Statements that one console may have prepared.
const STATEMENTS_MAX: usize = 1000;

/// Portals that one console may have open; each may keep a whole table.
const PORTALS_MAX: usize = 16;
