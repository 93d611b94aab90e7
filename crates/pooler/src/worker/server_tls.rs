//! TLS towards servers: who is asked for it, and has to have it.
//!
//! The session is asked for in front of the startup packet, and everything waits
//! in the outbox until the server has answered; see [`Tls`](super::tls::Tls).
//! A cancel request to a server that is encrypted is encrypted alike.
//!
//! With `prefer` and `allow` a server may be reached without TLS as well: where it
//! declines it, where both sides cannot agree on it, and where it lets nobody in by
//! it. The two differ for libpq, which begins without TLS in `allow`; PgBouncer
//! begins with it, and so it is here, because nobody is to lose by a change of
//! poolers what was encrypted.
//!
//! Source: PostgreSQL documentation, "SSL Session Encryption" in "Message Flow".

use std::io;

use pgskein_config::{SslMode, SslNegotiation};
use pgskein_pool::slab::ServerId;
use rustls::pki_types::ServerName;

use super::Worker;
use super::reason::ServerReason;
use super::server::{Retire, ServerState, Target};
use super::stream::Stream;
use super::tls::{Opening, Tls, cause};

impl Worker {
    /// Has the login of a server begin with a request for TLS, where there is to
    /// be any.
    ///
    /// # Errors
    ///
    /// Why that is not possible.
    pub(super) fn secure_server(&mut self, id: ServerId) -> Result<(), ServerReason> {
        let opening = self.opening(id);
        let mode = self.config.settings.server_tls_sslmode;
        let Some(server) = self.servers.get_mut(id) else {
            return Ok(());
        };
        let host = server.tour.as_ref().map_or("", |tour| tour.name());
        let plain = server.tour.as_ref().is_some_and(|tour| tour.is_plain());
        // What was let go without before may have to have it now.
        let plain = plain && opening == Opening::Asked;
        let Some(name) = server_name(&server.target, host).filter(|_| !plain) else {
            return Ok(());
        };
        let config = match self.tls.to_servers(mode) {
            Ok(Some(config)) => config,
            Ok(None) => return Ok(()),
            Err(error) => return Err(tls_failed(&server.target, &error.to_string())),
        };
        if mode == SslMode::VerifyFull && !can_be_named(host) {
            let problem = format!("{host} is no name that a certificate could have");
            return Err(tls_failed(&server.target, &problem));
        }
        let asked = server.stream.open_tls(config, name, opening);
        asked.map_err(|error| tls_failed(&server.target, &error.to_string()))
    }

    /// Has a connection to a server whose name is not known begin with a request for
    /// TLS, where there is to be any.
    ///
    /// # Errors
    ///
    /// Why that is not possible.
    pub(super) fn secure(&self, stream: &mut Stream, target: &Target) -> Result<(), String> {
        let Some(name) = server_name(target, "") else {
            return Ok(());
        };
        let mode = self.config.settings.server_tls_sslmode;
        let config = self.tls.to_servers(mode).map_err(|error| error.to_string());
        match config? {
            Some(config) => stream
                .open_tls(config, name, self.asked())
                .map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    /// Why a login has failed in which reading has failed.
    pub(super) fn failed_login(&self, id: ServerId, error: &io::Error) -> ServerReason {
        match (self.servers.get(id), cause(error)) {
            (Some(server), Some(cause)) => tls_failed(&server.target, &cause),
            _ => ServerReason::of_socket(error),
        }
    }

    /// Connects anew to a server that has refused its login by TLS, for this
    /// reason, to be let in without; false if it has to be TLS, or that is not why.
    pub(super) fn do_without_tls(&mut self, id: ServerId, reason: &ServerReason) -> bool {
        let may = self.opening(id) == Opening::Asked;
        let Some(server) = self.servers.get_mut(id).filter(|_| may) else {
            return false;
        };
        // A password that it did not take by TLS is not shown to everybody.
        let shown = server.bid.is_settled();
        let refused = match reason {
            ServerReason::ConnectFailed(_) => server.stream.tls().is_some_and(Tls::has_failed),
            ServerReason::LoginFailed { sqlstate, .. } => {
                server.stream.tls().is_some() && sqlstate == NOT_ALLOWED
            }
            _ => false,
        };
        let Some(tour) = server.tour.as_mut().filter(|_| refused && !shown) else {
            return false;
        };
        tour.go_plain(reason.text().into_owned());
        log::info!(
            "s{} {}: asking again without TLS: {}",
            server.number,
            server.target,
            reason.text()
        );
        let bid = self.servers.get(id).map(|server| self.bid(&server.target));
        bid.is_some_and(|bid| self.connect_again(id, bid))
    }

    /// Has all servers over TCP leave that were opened by what TLS was like before a
    /// reload; those that are being opened begin anew.
    pub(super) fn retire_secured(&mut self) {
        let reason = ServerReason::DatabaseChanged;
        for id in self
            .servers
            .ids(|server| matches!(server.target, Target::Tcp(_)))
        {
            let Some(server) = self.servers.get_mut(id) else {
                continue;
            };
            if let Some(tour) = &mut server.tour {
                tour.begin_with_tls();
            }
            match server.state {
                // It has said nothing yet.
                ServerState::Connecting { .. } => {}
                ServerState::LoggingIn { .. } if !server.bid.is_settled() => {
                    let target = server.target.clone();
                    let bid = self.bid(&target);
                    if !self.connect_again(id, bid) {
                        self.leave_host(id, &reason);
                    }
                }
                ServerState::Idle => self.close_server(id, &reason),
                _ => server.retire = Some(Retire::Changed),
            }
        }
    }

    /// What a server has refused its login for, with what it has said to TLS before
    /// where that was the same.
    pub(super) fn all_of(&self, id: ServerId, reason: ServerReason) -> ServerReason {
        let tour = self.servers.get(id).and_then(|server| server.tour.as_ref());
        match (reason, tour.and_then(|tour| tour.refusal_by_tls())) {
            (ServerReason::LoginFailed { sqlstate, message }, Some(before))
                if sqlstate == NOT_ALLOWED =>
            {
                let message = format!("{before}; without TLS: {message}");
                ServerReason::LoginFailed { sqlstate, message }
            }
            (reason, _) => reason,
        }
    }

    /// How TLS with a server begins.
    fn opening(&self, id: ServerId) -> Opening {
        let pool = self.servers.get(id).map(|server| server.pool);
        let pool = pool.and_then(|pool| self.pools.get(pool));
        let database = pool.and_then(|pool| self.config.database(&pool.key.database));
        match database.map(|database| database.sslnegotiation) {
            Some(SslNegotiation::Direct) => Opening::Direct,
            _ => self.asked(),
        }
    }

    /// Whether servers have to be encrypted, but for those behind a unix socket.
    pub(super) fn demands_tls(&self) -> bool {
        self.asked() == Opening::Demanded
    }

    /// How it begins where the server is asked.
    fn asked(&self) -> Opening {
        match self.config.settings.server_tls_sslmode.demands_tls() {
            true => Opening::Demanded,
            false => Opening::Asked,
        }
    }
}

impl ServerReason {
    /// A socket has failed, or the TLS on it.
    #[cold]
    #[inline(never)]
    pub(super) fn of_socket(error: &io::Error) -> Self {
        match cause(error) {
            Some(cause) => Self::Tls(cause),
            None => Self::SocketFailed(error.kind()),
        }
    }
}

/// Whether a certificate could be for this host; one without a name is known by
/// its address.
fn can_be_named(host: &str) -> bool {
    host.is_empty() || ServerName::try_from(host).is_ok()
}

/// The name that a server's certificate is for; none behind a unix socket, where
/// there is no TLS.
fn server_name(target: &Target, host: &str) -> Option<ServerName<'static>> {
    let Target::Tcp(address) = target else {
        return None;
    };
    let name = ServerName::try_from(host.to_owned());
    Some(name.unwrap_or_else(|_| address.ip().into()))
}

fn tls_failed(target: &Target, problem: &str) -> ServerReason {
    ServerReason::ConnectFailed(format!("connect failed: {target}: TLS: {problem}"))
}

/// What PostgreSQL says where pg_hba.conf has no line for it.
const NOT_ALLOWED: &str = "28000";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_server_as_its_database_does() {
        let target = Target::Tcp("127.0.0.1:5432".parse().unwrap());
        let name = |host| server_name(&target, host).unwrap();
        assert_eq!(
            name("db.example"),
            ServerName::try_from("db.example").unwrap()
        );
        let address = ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
        assert_eq!(name("127.0.0.1"), address);
        assert_eq!(name(""), address);
        let unix = Target::Unix("/tmp/.s.PGSQL.5432".into());
        assert_eq!(server_name(&unix, "/tmp"), None);
    }
}
