//! Roles: whether a server is of the kind that its database asks for, at its
//! login and later.
//!
//! Source: PostgreSQL documentation, "Parameter Key Words"
//! (`target_session_attrs`) and "Asynchronous Operations".

use std::time::Duration;

use pgskein_config::TargetSessionAttrs;
use pgskein_pool::role::{Fit, Misfit, Question, Role};
use pgskein_pool::slab::ServerId;
use pgskein_protocol::{backend as messages, write};

use super::Worker;
use super::reason::ServerReason;
use super::server::{Retire, Server, ServerState};

/// What is found out at a login.
#[derive(Debug, Default)]
pub(super) struct RoleCheck {
    role: Role,
    /// What the server was asked.
    asked: Option<Question>,
    /// It was told to go, for this reason.
    misfit: Option<Misfit>,
}

impl RoleCheck {
    /// The server has reported a parameter.
    pub(super) fn on_parameter(&mut self, name: &[u8], value: &[u8]) {
        if name == IN_HOT_STANDBY {
            self.role.standby = Some(value == b"on");
        } else if name == DEFAULT_READ_ONLY {
            self.role.default_read_only = Some(value == b"on");
        }
    }

    /// Whether the server was asked something.
    pub(super) fn has_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// The server has answered with a row.
    pub(super) fn on_row(&mut self, body: &[u8]) {
        let value = messages::data_row(body).next().and_then(Result::ok);
        if let (Some(question), Some(Some(value))) = (self.asked, value)
            && let Some(yes) = question.answer(value)
        {
            self.role.on_answer(question, yes);
        }
    }

    /// Whether the server was told to go.
    pub(super) fn has_left(&self) -> bool {
        self.misfit.is_some()
    }
}

impl Server {
    /// Why it was told to go at its login, if it was.
    pub(super) fn misfit(&self) -> Option<ServerReason> {
        match &self.state {
            ServerState::LoggingIn { login, .. } => login.check.misfit.map(ServerReason::Unfit),
            _ => None,
        }
    }
}

impl Worker {
    /// Looks whether a server that has logged in fits; false if it has to be
    /// asked, or goes.
    pub(super) fn check_role(&mut self, id: ServerId) -> bool {
        let Some(server) = self.servers.get_mut(id) else {
            return false;
        };
        let wanted = server.tour.as_ref().map(|tour| tour.wanted());
        let ServerState::LoggingIn { login, deadline } = &mut server.state else {
            return false;
        };
        let check = &mut login.check;
        let misfit = match check.role.fit(wanted.unwrap_or_default()) {
            Fit::Fits => None,
            Fit::Unfit(misfit) => Some(misfit),
            Fit::Ask(question) if check.asked == Some(question) => Some(Misfit::Unknown),
            Fit::Ask(question) => {
                check.asked = Some(question);
                write::query(server.outbox.buffer(), question.sql().as_bytes());
                return false;
            }
        };
        self.places.note_role(&server.target, check.role);
        if let Some(misfit) = misfit {
            check.misfit = Some(misfit);
            // Its connection counts at PostgreSQL until it has closed its side.
            *deadline = (*deadline).min(self.now + GOODBYE_TIMEOUT);
            write::terminate(server.outbox.buffer());
        }
        misfit.is_none()
    }

    /// A server says that it is a standby now, or none any more.
    #[cold]
    pub(super) fn role_changed(&mut self, id: ServerId, standby: bool) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let pool = self.pools.get(server.pool);
        let database = pool.and_then(|pool| self.config.database(&pool.key.database));
        let wanted = database.map_or(TargetSessionAttrs::Any, |database| {
            database.target_session_attrs
        });
        let role = self.places.role(&server.target).changed(standby);
        self.places.note_role(&server.target, role);
        let Fit::Unfit(misfit) = role.fit(wanted) else {
            let value: &[u8] = if standby { b"on" } else { b"off" };
            return self.correct_welcome(server.pool, IN_HOT_STANDBY, value);
        };
        if !server.is_working() || !matches!(server.retire, None | Some(Retire::Paused)) {
            return;
        }
        log::info!(
            "s{} {}: {misfit} any more (target_session_attrs = {wanted})",
            server.number,
            self.server_name(server),
        );
        if let Some(server) = self.servers.get_mut(id) {
            server.retire = Some(Retire::WrongRole);
            if matches!(server.state, ServerState::Idle) {
                self.close_server(id, &ServerReason::WrongRole);
            }
        }
    }
}

/// The parameter by which a server says whether it is a standby.
pub(super) const IN_HOT_STANDBY: &[u8] = b"in_hot_standby";

const DEFAULT_READ_ONLY: &[u8] = b"default_transaction_read_only";

/// How long a server that does not fit may take to close its side.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
