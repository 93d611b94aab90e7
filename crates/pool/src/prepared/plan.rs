//! Plan: what is sent for a message that names a prepared statement.
//!
//! ```text
//! Parse of a new text        Parse with the name of the server's side
//! Parse of a known text      nothing; ParseComplete is given in its turn
//! Parse with a name in use   a Parse that fails as PostgreSQL's own would
//! Bind, Describe             with the other name; a Parse before it if needed
//! Close                      nothing; CloseComplete is given in its turn
//! unknown name               as it is: the error is PostgreSQL's own
//! Parse of DEALLOCATE        Parse of one of a statement of ours
//! ```
//!
//! What cannot be decided before an earlier batch is answered is held until
//! then. After an error and during COPY nothing is planned: the server ignores
//! or refuses what comes.

use pgskein_protocol::frontend::{Bind, Statement, Target};
use pgskein_protocol::tag::frontend;
use pgskein_protocol::{TransactionStatus, write};

use super::{Found, Known, Name, Prepared, StatementId, Statements, Unnamed};
use crate::flow::{Flow, Refusal, UnnamedState};
use crate::parameters::Parameters;
use crate::statistics::Traffic;
use crate::text::{self, Classes};

/// All that a plan looks at and changes.
#[derive(Debug)]
pub struct Planner<'a> {
    /// What the server owes.
    pub flow: &'a mut Flow,
    /// What the server has prepared.
    pub known: &'a mut Known,
    /// What the client has prepared.
    pub client: &'a mut Prepared,
    /// The texts.
    pub statements: &'a mut Statements,
    /// Most statements that the server may have.
    pub max: usize,
    /// The parameters that are followed.
    pub parameters: &'a Parameters,
    /// What goes to the server.
    pub out: &'a mut Vec<u8>,
    /// What is counted of it.
    pub traffic: &'a mut Traffic,
}

/// The message to be planned, as far as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its tag.
    pub tag: u8,
    /// The part of its body that is there.
    pub body: &'a [u8],
    /// Length of the whole body, in bytes.
    pub len: usize,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Planned {
    /// It is sent, or answered in its turn.
    Sent(Sent),
    /// It has to wait for the answer to an earlier batch.
    Hold,
    /// More of it is needed.
    More,
    /// It is too large to be looked into.
    TooLarge,
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sent {
    /// What was written takes the place of so many of its first bytes, header
    /// included; the rest follows as it is.
    pub replaced: usize,
    /// What it changes for later users of the server.
    pub classes: Classes,
    /// The statement that Bind or Describe names.
    pub statement: Option<StatementId>,
    /// Where its own bytes begin in what was written, behind those of ours.
    pub from: usize,
}

impl Planner<'_> {
    /// Decides what is sent for `message`, and notes it.
    #[inline]
    pub fn plan(&mut self, message: Message<'_>) -> Planned {
        if self.flow.skipping() || self.flow.copying_in() {
            self.flow.on_untouched(message.tag);
            return Planned::AS_IT_IS;
        }
        match message.tag {
            frontend::BIND => self.bind(message),
            frontend::PARSE => self.parse(message),
            _ => self.target(message),
        }
    }

    fn bind(&mut self, message: Message<'_>) -> Planned {
        let Some(bind) = Bind::parse(message.body) else {
            return self.unreadable(message);
        };
        if bind.statement.is_empty() {
            return match self.unnamed() {
                Some(classes) => {
                    self.flow.on_bind(None);
                    Planned::follows(classes)
                }
                None => Planned::Hold,
            };
        }
        if self.flow.depends(bind.statement) {
            return Planned::Hold;
        }
        let Some(id) = self.client.find(bind.statement) else {
            self.flow.on_bind(None);
            return Planned::AS_IT_IS;
        };
        if !self.prepare(id) {
            return Planned::Hold;
        }
        let names = bind.names_len();
        self.traffic.binds += 1;
        let from = self.out.len();
        write::bind_names(
            self.out,
            bind.portal,
            self.statements.written(id),
            message.len - names,
        );
        self.flow.on_bind(Some(id));
        Planned::Sent(Sent {
            replaced: HEADER + names,
            classes: self.statements.classes(id),
            statement: Some(id),
            from,
        })
    }

    fn parse(&mut self, message: Message<'_>) -> Planned {
        if message.body.first() == Some(&0) {
            return self.parse_unnamed(message);
        }
        if message.body.len() < message.len {
            return if message.len > self.statements.max_len() {
                Planned::TooLarge
            } else {
                Planned::More
            };
        }
        let Some(parse) = Statement::parse(message.body) else {
            return self.unreadable(message);
        };
        if self.flow.depends(parse.name) {
            return Planned::Hold;
        }
        if self.client.find(parse.name).is_some() {
            return self.refuse(message, parse, Refusal::Taken);
        }
        let parameters = self.parameters;
        let interned = self
            .statements
            .intern(parse.tail, self.client.own(), |tail| {
                classes(tail, parameters)
            });
        let Ok(id) = interned else {
            return self.refuse(message, parse, Refusal::OutOfMemory);
        };
        self.parse_named(message, parse, id)
    }

    /// The statement has one more user, which is the name or has to go.
    fn parse_named(
        &mut self,
        message: Message<'_>,
        parse: Statement<'_>,
        id: StatementId,
    ) -> Planned {
        let Some(name) = self.statements.name(id) else {
            return Planned::Hold;
        };
        let mut found = self.find(name);
        if found == Found::Ready && self.flow.ready_due() {
            // In a failed transaction it would be refused.
            found = Found::Pending;
        }
        if found == Found::Pending {
            self.statements.release(id);
            return Planned::Hold;
        }
        if self.client.define(parse.name, id, self.statements).is_err() {
            self.statements.release(id);
            return self.refuse(message, parse, Refusal::OutOfMemory);
        }
        self.traffic.client_parses += 1;
        if found == Found::Ready && self.flow.status() != TransactionStatus::Failed {
            self.flow.on_known_parse(parse.name);
        } else {
            self.make_room(id, found);
            write::parse(self.out, self.statements.written(id), parse.tail);
            self.flow.on_parse(parse.name, name);
        }
        Planned::replaced(message)
    }

    fn parse_unnamed(&mut self, message: Message<'_>) -> Planned {
        let whole = message.body.len() == message.len;
        if !whole && message.len <= Unnamed::TEXT_MAX {
            return Planned::More;
        }
        if self.flow.ready_due() && self.client.unnamed.is_full(message.len) {
            return Planned::Hold;
        }
        let settled = self.flow.unnamed_settled();
        let tail = message.body.get(1..).unwrap_or_default();
        if let Some(name) = text::deallocated(Statement::text(tail)).filter(|_| whole)
            && self.client.find(&name).is_some()
        {
            return self.parse_deallocate(message, &name);
        }
        if whole {
            self.client.unnamed.parse(tail, settled, self.statements);
        } else {
            self.client.unnamed.close(settled);
        }
        self.flow.on_unnamed_parse();
        Planned::AS_IT_IS
    }

    /// A client deallocates by SQL what it has prepared by messages: the name
    /// goes, and what is deallocated on the server is a statement of ours.
    fn parse_deallocate(&mut self, message: Message<'_>, name: &[u8]) -> Planned {
        if self.flow.depends(name) {
            return Planned::Hold;
        }
        let Some(id) = self.client.remove(name, self.statements) else {
            return Planned::AS_IT_IS;
        };
        write::close_statement(self.out, TAKEN);
        self.flow.on_help_close();
        write::parse(self.out, TAKEN, SELECT_TAIL);
        self.flow.on_name_gone(name, id);
        write::parse(self.out, b"", DEALLOCATE_TAIL);
        let settled = self.flow.unnamed_settled();
        self.client
            .unnamed
            .parse(DEALLOCATE_TAIL, settled, self.statements);
        self.flow.on_unnamed_parse();
        Planned::replaced(message)
    }

    /// Makes a Parse fail as it would on a server that has the client's name.
    fn refuse(&mut self, message: Message<'_>, parse: Statement<'_>, refusal: Refusal) -> Planned {
        write::close_statement(self.out, TAKEN);
        self.flow.on_help_close();
        write::parse(self.out, TAKEN, EMPTY_TAIL);
        self.flow.on_help_parse();
        write::parse(self.out, TAKEN, parse.tail);
        self.flow.on_refused_parse(parse.name, refusal);
        Planned::replaced(message)
    }

    /// Describe and Close.
    fn target(&mut self, message: Message<'_>) -> Planned {
        if message.body.len() < message.len {
            return Planned::more(message);
        }
        let describe = message.tag == frontend::DESCRIBE;
        match Target::parse(message.body) {
            Some(Target::Statement(b"")) if describe => match self.unnamed() {
                Some(classes) => {
                    self.flow.on_describe(None);
                    Planned::follows(classes)
                }
                None => Planned::Hold,
            },
            Some(Target::Statement(b"")) => {
                self.client.unnamed.close(self.flow.unnamed_settled());
                self.flow.on_unnamed_close();
                Planned::AS_IT_IS
            }
            Some(Target::Statement(name)) if self.flow.depends(name) => Planned::Hold,
            Some(Target::Statement(name)) if describe => self.describe(message, name),
            Some(Target::Statement(name)) => self.close(message, name),
            Some(Target::Portal(_)) | None => {
                self.flow.on_untouched(message.tag);
                Planned::AS_IT_IS
            }
        }
    }

    fn describe(&mut self, message: Message<'_>, name: &[u8]) -> Planned {
        let Some(id) = self.client.find(name) else {
            self.flow.on_describe(None);
            return Planned::AS_IT_IS;
        };
        if !self.prepare(id) {
            return Planned::Hold;
        }
        write::describe_statement(self.out, self.statements.written(id));
        self.flow.on_describe(Some(id));
        Planned::Sent(Sent {
            replaced: HEADER + message.len,
            statement: Some(id),
            ..Sent::default()
        })
    }

    fn close(&mut self, message: Message<'_>, name: &[u8]) -> Planned {
        let Some(id) = self.client.remove(name, self.statements) else {
            self.flow.on_untouched(message.tag);
            return Planned::AS_IT_IS;
        };
        self.flow.on_known_close(name, id);
        Planned::replaced(message)
    }

    /// Sees to it that the server knows a statement; false when that depends on
    /// an earlier batch.
    #[inline]
    pub fn prepare(&mut self, id: StatementId) -> bool {
        let Some(name) = self.statements.name(id) else {
            return true;
        };
        let found = self.find(name);
        match found {
            Found::Ready => return true,
            Found::Pending => return false,
            Found::Stale | Found::Missing => {}
        }
        self.make_room(id, found);
        write::parse(
            self.out,
            self.statements.written(id),
            self.statements.tail(id),
        );
        self.flow.on_own_parse(name);
        true
    }

    /// What is known of a statement on the server.
    #[inline]
    fn find(&mut self, name: Name) -> Found {
        let (batch, answered) = (self.flow.batch(), self.flow.answered());
        match self.known.find(name, batch, answered) {
            // A Close that is skipped leaves it there.
            Found::Missing if self.flow.sends(name) => Found::Pending,
            found => found,
        }
    }

    /// Closes what is in the way of a Parse, and notes that it is sent.
    fn make_room(&mut self, id: StatementId, found: Found) {
        let Some(name) = self.statements.name(id) else {
            return;
        };
        self.traffic.server_parses += 1;
        self.known.prepare(name, self.flow.batch(), self.statements);
        while let Some(oldest) = self.known.excess(self.max, self.statements) {
            write::close_statement(self.out, &oldest.written());
            self.flow.on_own_close(oldest);
        }
        if found != Found::Missing {
            write::close_statement(self.out, self.statements.written(id));
            self.flow.on_help_close();
        }
    }

    /// Sees to it that the server's unnamed statement is the client's; `None`
    /// when that depends on an earlier batch.
    #[inline]
    fn unnamed(&mut self) -> Option<Classes> {
        match self.flow.unnamed() {
            UnnamedState::Own => Some(Classes::default()),
            UnnamedState::Pending => None,
            UnnamedState::Foreign => Some(self.bring_unnamed()),
        }
    }

    #[cold]
    fn bring_unnamed(&mut self) -> Classes {
        match self.client.unnamed.text() {
            Some(tail) => {
                write::parse(self.out, b"", tail);
                self.flow.on_unnamed_again();
                classes(tail, self.parameters)
            }
            None => {
                write::close_statement(self.out, b"");
                self.flow.on_unnamed_gone();
                Classes::default()
            }
        }
    }

    /// A message whose names do not end, or are not all there.
    fn unreadable(&mut self, message: Message<'_>) -> Planned {
        if message.body.len() < message.len {
            return Planned::more(message);
        }
        self.flow.on_untouched(message.tag);
        Planned::AS_IT_IS
    }
}

impl Planned {
    /// The message goes as it is and changes nothing.
    const AS_IT_IS: Self = Self::follows(Classes::NONE);

    /// The message goes as it is.
    const fn follows(classes: Classes) -> Self {
        Self::Sent(Sent {
            replaced: 0,
            classes,
            statement: None,
            from: 0,
        })
    }

    /// What was written takes the place of the whole message.
    fn replaced(message: Message<'_>) -> Self {
        Self::Sent(Sent {
            replaced: HEADER + message.len,
            ..Sent::default()
        })
    }

    fn more(message: Message<'_>) -> Self {
        if message.body.len() > NAMES_MAX {
            Self::TooLarge
        } else {
            Self::More
        }
    }
}

/// What the text in the body of a Parse, behind the name, changes.
pub(super) fn classes(tail: &[u8], parameters: &Parameters) -> Classes {
    text::classes(Statement::text(tail), &|name| {
        u32::try_from(parameters.position(name)?).ok()
    })
}

/// A statement on the servers that is there to be in the way.
pub const TAKEN: &[u8] = b"pgskein_taken";

/// The body of the Parse of an empty query, behind the name.
const EMPTY_TAIL: &[u8] = b"\0\0\0";

/// The body of the Parse of a query that a failed transaction refuses, behind
/// the name.
const SELECT_TAIL: &[u8] = b"select\0\0\0";

/// The body of the Parse of a DEALLOCATE of [`TAKEN`], behind the name.
const DEALLOCATE_TAIL: &[u8] = b"deallocate pgskein_taken\0\0\0";

/// Length of a frame's header, in bytes.
const HEADER: usize = pgskein_protocol::HEADER_LEN;

/// What names may take before they are seen whole, in bytes.
const NAMES_MAX: usize = 64 * 1024;

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
