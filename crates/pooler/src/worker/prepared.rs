//! Prepared: messages that name prepared statements, and what comes of them.
//!
//! What is sent is decided by [`pgskein_pool::prepared::plan`]; this is what a
//! worker does about it.
//!
//! Source: PostgreSQL documentation, "Extended Query".

use pgskein_pool::flow::Refusal;
use pgskein_pool::prepared::plan::{Message, Planned, Planner, TAKEN};
use pgskein_pool::prepared::{Name, Prepared};
use pgskein_pool::slab::{ClientId, ServerId};
use pgskein_pool::text;
use pgskein_protocol::tag::{backend, frontend};
use pgskein_protocol::{ErrorFields, HEADER_LEN, Header, Report, TransactionStatus, write};

use super::Worker;
use super::client::session_of;
use super::reason::{Reason, ServerReason};
use super::server::Server;

/// What becomes of a message of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// The flight has what takes the place of so many of its bytes; the rest
    /// follows as it is.
    Sent(usize),
    /// It waits until the server has answered.
    Hold,
    /// More of it is needed.
    More,
}

/// What becomes of an error of a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Told {
    /// It goes to the client.
    AsItIs,
    /// This goes to the client instead.
    Instead(Vec<u8>),
    /// Nothing: the batch is sent once more.
    Nothing,
}

impl Worker {
    /// Decides what is sent for a message that may name a prepared statement;
    /// `frame` is what is there of it.
    pub(super) fn plan(
        &mut self,
        id: ClientId,
        server_id: ServerId,
        header: Header,
        frame: &[u8],
    ) -> Result<Step, Reason> {
        if header.tag == frontend::QUERY {
            return Ok(self.plan_query(id, server_id, header, frame));
        }
        let max = self.config.settings.max_prepared_statements.max(1) as usize;
        let (Some(session), Some(server)) = (
            session_of(&mut self.clients, id),
            self.servers.get_mut(server_id),
        ) else {
            return Err(Reason::ServerLost);
        };
        let client = session
            .prepared
            .get_or_insert_with(|| Box::new(Prepared::new(&mut self.statements)));
        let body = frame.get(HEADER_LEN..).unwrap_or_default();
        let message = Message {
            tag: header.tag,
            body: body.get(..header.body_len()).unwrap_or(body),
            len: header.body_len(),
        };
        let mut planner = Planner {
            flow: &mut server.flow,
            known: &mut server.known,
            client,
            statements: &mut self.statements,
            max,
            parameters: &self.parameters,
            out: &mut self.flight.bytes,
            traffic: &mut server.traffic,
        };
        match planner.plan(message) {
            Planned::Sent(sent) => {
                server.dirty |= sent.classes;
                self.flight.planned(header.tag, sent.from, sent.statement);
                Ok(Step::Sent(sent.replaced))
            }
            Planned::Hold => Ok(Step::Hold),
            Planned::More => Ok(Step::More),
            Planned::TooLarge => Err(Reason::StatementTooLarge(header.length)),
        }
    }

    /// Decides what is sent for a simple query that may take prepared
    /// statements away: DEALLOCATE or DISCARD.
    ///
    /// A client may deallocate by SQL what it has prepared by messages; its
    /// server keeps the statement, which others use as well.
    fn plan_query(
        &mut self,
        id: ClientId,
        server_id: ServerId,
        header: Header,
        frame: &[u8],
    ) -> Step {
        let (Some(session), Some(server)) = (
            session_of(&mut self.clients, id),
            self.servers.get_mut(server_id),
        ) else {
            return Step::Sent(0);
        };
        let flow = &mut server.flow;
        if frame.len() < header.total() && header.total() <= DEALLOCATE_MAX {
            return Step::More;
        }
        let text = frame.get(HEADER_LEN..header.total()).unwrap_or_default();
        let name = text::deallocated(text);
        let known = name
            .as_deref()
            .zip(session.prepared.as_mut())
            .filter(|(name, prepared)| prepared.find(name).is_some());
        if let Some((name, prepared)) = known {
            if flow.ready_due() {
                return Step::Hold;
            }
            if flow.at_rest() && flow.status() != TransactionStatus::Failed {
                if let Some(statement) = prepared.remove(name, &mut self.statements) {
                    self.statements.release(statement);
                }
                prepared.unnamed.clear();
                write::query(&mut self.flight.bytes, "");
                flow.on_deallocate();
                return Step::Sent(header.total());
            }
        }
        if flow.query_may_be_skipped() {
            let prepared = session
                .prepared
                .get_or_insert_with(|| Box::new(Prepared::new(&mut self.statements)));
            prepared.unnamed.close(flow.unnamed_settled());
        } else if let Some(prepared) = &mut session.prepared {
            prepared.unnamed.clear();
        }
        flow.on_client(frontend::QUERY);
        if is_word(text, b"deallocate") || is_word(text, b"discard") {
            flow.go_alone();
        }
        Step::Sent(0)
    }

    /// Carries out what messages about prepared statements have come to.
    #[cold]
    pub(super) fn settle_statements(&mut self, client: Option<ClientId>, server: ServerId) {
        let Some(server) = self.servers.get_mut(server) else {
            return;
        };
        let mut client = client.and_then(|id| self.clients.get_mut(id));
        let mut prepared = client
            .as_mut()
            .and_then(|client| client.session_mut())
            .and_then(|session| session.prepared.as_deref_mut());
        for outcome in server.flow.take_outcomes() {
            outcome.carry_out(
                prepared.as_deref_mut(),
                &mut server.known,
                &mut self.statements,
            );
        }
    }

    /// Puts the answers of ours that are due first into a client's outbox.
    pub(super) fn give_answers(&mut self, client: Option<ClientId>, server: ServerId) {
        let Some(server) = self.servers.get_mut(server) else {
            return;
        };
        let mut client = client.and_then(|id| self.clients.get_mut(id));
        while let Some(tag) = server.flow.answer() {
            if let Some(client) = &mut client {
                client.outbox.buffer().extend_from_slice(&[tag, 0, 0, 0, 4]);
                server.traffic.sent += HEADER_LEN as u64;
            }
        }
    }

    /// Decides what a client is told of an error of its server, whose fields
    /// are `body`; it is noted in the flow.
    #[cold]
    pub(super) fn told_of_error(
        &mut self,
        client: Option<ClientId>,
        server_id: ServerId,
        body: &[u8],
    ) -> Told {
        let Some(server) = self.servers.get(server_id) else {
            return Told::AsItIs;
        };
        let fields = ErrorFields::parse(body);
        let statement = server.flow.answered_statement();
        let name = statement.and_then(|id| self.statements.name(id));
        let changed =
            fields.sqlstate() == Some("0A000") && fields.field(b'R') == Some(RESULT_CHANGED);
        if let Some(name) = name.filter(|_| changed) {
            // A client that prepares again may get any of them next.
            for (_, server) in self.servers.iter_mut() {
                server.known.doubt(name);
            }
        }
        let Some(server) = self.servers.get_mut(server_id) else {
            return Told::AsItIs;
        };
        match (fields.sqlstate(), name) {
            (_, Some(_))
                if changed
                    && server.replay.batch().map(|(id, _)| id) == statement
                    && client.is_some()
                    && server.flow.retry() =>
            {
                return Told::Nothing;
            }
            // Somebody has taken it away by SQL.
            (Some("26000"), Some(name)) => server.known.doubt(name),
            _ => {}
        }
        let told = match server.flow.refused() {
            Some((_, Refusal::OutOfMemory)) if fields.sqlstate() == Some("42P05") => {
                let mut out = Vec::new();
                write::error(&mut out, &NO_MEMORY);
                Told::Instead(out)
            }
            Some((name, Refusal::Taken)) => {
                renamed(body, |written| (written == TAKEN).then_some(name))
            }
            _ => {
                let session = client.and_then(|id| self.clients.get(id)?.session());
                let prepared = session.and_then(|session| session.prepared.as_ref());
                let flow = &server.flow;
                renamed(body, |written| {
                    let is = |id| self.statements.written(id) == written;
                    // It may mean something else, or nothing, by now.
                    flow.removed(is)
                        .or_else(|| prepared?.name_of(written, &self.statements))
                })
            }
        };
        server.flow.on_server(backend::ERROR);
        told
    }

    /// Sends a batch once more, with its statement made anew before it.
    pub(super) fn send_again(
        &mut self,
        client: Option<ClientId>,
        server_id: ServerId,
    ) -> Result<(), ServerReason> {
        let max = self.config.settings.max_prepared_statements.max(1) as usize;
        let Some(server) = self.servers.get_mut(server_id) else {
            return Ok(());
        };
        let session = client.and_then(|id| session_of(&mut self.clients, id));
        let prepared = session.and_then(|session| session.prepared.as_mut());
        let (Some((statement, batch)), Some(client)) = (server.replay.batch(), prepared) else {
            return Err(ServerReason::Lost);
        };
        let mut out = Vec::new();
        Planner {
            flow: &mut server.flow,
            known: &mut server.known,
            client,
            statements: &mut self.statements,
            max,
            parameters: &self.parameters,
            out: &mut out,
            traffic: &mut server.traffic,
        }
        .prepare(statement);
        out.extend_from_slice(batch);
        server.flow.on_bind(Some(statement));
        server.flow.on_untouched(frontend::DESCRIBE);
        server.flow.on_client(frontend::EXECUTE);
        server.flow.on_client(frontend::SYNC);
        server.replay.forget();
        server
            .outbox
            .send(&mut server.stream, &out)
            .map_err(|error| ServerReason::SocketFailed(error.kind()))
    }

    /// A server is gone: nothing is prepared there, and nothing is pending.
    pub(super) fn forget_statements(&mut self, server: &mut Server) {
        server.flow.forget_client();
        for outcome in server.flow.take_outcomes() {
            outcome.carry_out(None, &mut server.known, &mut self.statements);
        }
        server.known.clear(&mut self.statements);
    }

    /// Takes over how much memory statements may take.
    pub(super) fn limit_statements(&mut self) {
        let bytes = self.config.settings.prepared_statement_memory;
        self.statements
            .limit(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
}

/// Whether a text begins with `word`, whatever its case.
fn is_word(text: &[u8], word: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    text.get(..word.len())
        .is_some_and(|first| first.eq_ignore_ascii_case(word))
}

/// An error with the names of statements as their client knows them.
fn renamed<'a>(body: &[u8], name_of: impl Fn(&[u8]) -> Option<&'a [u8]>) -> Told {
    let mut out = vec![backend::ERROR, 0, 0, 0, 0];
    let mut rest = body;
    let mut changed = false;
    while let Some(at) = memchr::memmem::find(rest, Name::PREFIX) {
        let (before, from) = rest.split_at(at);
        let written = [Name::LEN, TAKEN.len()]
            .into_iter()
            .filter(|_| out.len() < RENAMED_MAX)
            .find_map(|len| {
                from.get(..len)
                    .and_then(|name| Some((name, name_of(name)?)))
            })
            .filter(|(_, name)| name.len() < RENAMED_MAX);
        out.extend_from_slice(before);
        let (written, name) = written.unwrap_or((Name::PREFIX, Name::PREFIX));
        changed |= written != name;
        out.extend_from_slice(name);
        rest = from.get(written.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    let length = u32::try_from(out.len() - 1).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(1..HEADER_LEN) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    if changed {
        Told::Instead(out)
    } else {
        Told::AsItIs
    }
}

/// Longest query that is looked into for a DEALLOCATE, in bytes.
const DEALLOCATE_MAX: usize = 512;

/// Where PostgreSQL notices that the result of a statement has changed its
/// columns: the message itself is in the language of the server.
const RESULT_CHANGED: &[u8] = b"RevalidateCachedQuery";

/// How long an error may become by the names of a client, in bytes.
const RENAMED_MAX: usize = 64 * 1024;

/// What a client is told that has prepared too much.
const NO_MEMORY: Report<'static> = Report {
    severity: "ERROR",
    sqlstate: "53200",
    message: "out of memory for prepared statements",
    detail: None,
    hint: Some("Close statements that are not needed, or raise prepared_statement_memory."),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_names_as_the_client_knows_them() {
        let written = Name::of([0; 16].into(), b"x").written();
        let body = [b"Mno \"", &written[..], b"\" and \"pgskein_other\"\0\0"].concat();
        let told = renamed(&body, |name| (name == written).then_some(&b"s1"[..]));
        let Told::Instead(out) = told else {
            panic!("{told:?}");
        };
        assert_eq!(
            out,
            b"E\0\0\0\x22Mno \"s1\" and \"pgskein_other\"\0\0".to_vec()
        );
        assert_eq!(renamed(b"Mother\0\0", |_| None), Told::AsItIs);
    }

    #[test]
    fn knows_a_first_word_whatever_its_case() {
        assert!(is_word(b" DisCard all\0", b"discard"));
        assert!(!is_word(b"dis", b"discard"));
    }
}
