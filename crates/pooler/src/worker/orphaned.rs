//! Orphaned: a worker whose supervisor has died, until another one comes.
//!
//! ```text
//! serving ──link ends──> orphaned ──Join──> serving, as an elder
//!                            └── orphan_timeout ──> draining
//! ```
//!
//! An orphan serves and accepts as before, with the leases that it has. The next
//! supervisor asks it to join: it reports its leases, moves to the new group's
//! scoreboard, and from then on is told things over the new link.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use mio::Interest;
use mio::unix::SourceFd;
use pgskein_pool::control::{Backend, LeaseId, ToSupervisor};
use pgskein_pool::ledger::{Report, ReportedServer};
use pgskein_pool::peer::PeerAnswer;
use pgskein_pool::pools::PoolId;
use pgskein_pool::slab::ErrandId;
use pgskein_pool::usual_secrets::UsualSecrets;

use super::Worker;
use super::server::{Server, ServerState};
use super::sweep::past;
use super::token::Subject;
use crate::link::Link;
use crate::scoreboard::{Scoreboard, WorkerState};

impl Worker {
    /// The supervisor is gone: serve on, until somebody says otherwise.
    pub(super) fn orphaned(&mut self) {
        if self.control.take().is_none() {
            return;
        }
        let timeout = self.config.settings.orphan_timeout;
        log::error!(
            "the supervisor is gone: serving on for {} s",
            timeout.as_secs()
        );
        self.orphaned_at = Some(self.now);
        self.stop_asking();
        self.judge_hosts_alone();
        self.answer_unanswered();
        self.supervisor_silent();
        self.refuse_claims();
        self.forget_orders();
        self.forget_succession();
        if !self.is_draining() && timeout.is_zero() {
            self.drain_as_orphan();
        }
    }

    /// Drains once no other supervisor has come for `orphan_timeout`.
    pub(super) fn orphan_due(&mut self) {
        let timeout = self.config.settings.orphan_timeout;
        let over = |since: Instant| past(since, timeout, self.now);
        if !self.is_draining() && self.orphaned_at.is_some_and(over) {
            log::info!("no other supervisor has come");
            self.drain_as_orphan();
        }
    }

    /// A new supervisor asks this worker to join its group.
    pub(super) fn join(&mut self, id: ErrandId) {
        if self.control.is_some() {
            return self.answer_last(id, &PeerAnswer::Unknown);
        }
        let pid = std::process::id();
        self.answer_peer(id, &PeerAnswer::Joined { pid });
        match self.control_link_of(id) {
            Ok(link) => self.control = Some(link),
            Err(error) => return log::error!("cannot join the new supervisor: {error}"),
        }
        log::info!("a new supervisor has come");
        self.orphaned_at = None;
        self.control_ready = true;
        self.spare_leases.clear();
        self.report_state();
        self.report_leases();
        self.count_all_present();
    }

    /// Says what leases it has, and then anew what it wants and how far its
    /// drains have come.
    pub(super) fn report_leases(&mut self) {
        for report in self.reports() {
            self.tell_supervisor(&ToSupervisor::Lease(report));
        }
        self.tell_supervisor(&ToSupervisor::Reported {
            last_id: self.scoreboard.last_id(),
            last_lease: self.last_lease,
            statement_key: self.statements.key(),
        });
        self.report_hosts();
        if self.credentials.usual != UsualSecrets::default() {
            self.tell_supervisor(&ToSupervisor::Usual(self.credentials.usual));
        }
        for report in self.drains.report_anew() {
            self.tell_supervisor(&ToSupervisor::Drain(report));
        }
        let pools: Vec<PoolId> = self.pools.iter().map(|(id, _)| id).collect();
        for id in pools {
            if let Some(pool) = self.pools.get_mut(id) {
                pool.tell_anew();
            }
            self.wish(id);
        }
    }

    /// Counts on the scoreboard of the new group from now on.
    pub(super) fn move_to_board(&mut self, descriptors: Vec<OwnedFd>) {
        let opened = descriptors.into_iter().next().map(Scoreboard::open);
        let board = match opened {
            Some(Ok(board)) => board,
            Some(Err(error)) => return log::warn!("cannot use the new scoreboard: {error}"),
            None => return log::warn!("the new scoreboard did not come along"),
        };
        let Some(cell) = board.cell(self.slot, self.generation) else {
            return;
        };
        cell.set_pid(std::process::id());
        cell.set_state(if self.is_draining() {
            WorkerState::Draining
        } else {
            WorkerState::Ready
        });
        for (_, client) in self.clients.iter() {
            if client.counted {
                // They are in already, whatever the limit is now.
                board.take_place(cell, u32::MAX);
            }
        }
        // Whoever looks at the old one does not find this worker there any more.
        self.cell.set_state(WorkerState::Dead);
        self.scoreboard = board;
        self.cell = cell;
        self.count_servers();
    }

    /// Makes the connection of a request the control link.
    fn control_link_of(&mut self, id: ErrandId) -> io::Result<Link> {
        let mut errand = self.errands.remove(id).ok_or(io::ErrorKind::NotFound)?;
        let registry = self.poll.registry();
        errand.stream.deregister(registry);
        if !errand.outbox.is_empty() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let socket = errand.stream.into_unix();
        let link = Link::new(socket.ok_or(io::ErrorKind::NotConnected)?)?;
        registry.register(
            &mut SourceFd(&link.as_raw_fd()),
            Subject::Control.token(),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        Ok(link)
    }

    /// Every lease that this worker uses, and for what.
    fn reports(&self) -> Vec<Report> {
        let report = |pool: PoolId, lease: LeaseId, dedicated, server| {
            let pool = self.pools.get(pool)?.key.clone();
            Some(Report {
                lease,
                pool,
                dedicated,
                server,
            })
        };
        let servers = self.servers.iter().filter_map(|(_, server)| {
            if matches!(server.state, ServerState::Coming(_)) {
                return None;
            }
            let dedicated = server.owner.is_some();
            report(server.pool, server.lease, dedicated, server.reported())
        });
        let waiting = self.addresses.waiting_leases();
        let waiting =
            waiting.filter_map(|(pool, lease)| report(pool, lease, false, ReportedServer::Opening));
        servers.chain(waiting).collect()
    }
}

impl Server {
    /// What it is doing, for the ledger.
    pub(super) fn reported(&self) -> ReportedServer {
        match self.state {
            ServerState::Connecting { .. } | ServerState::LoggingIn { .. } => {
                ReportedServer::Opening
            }
            ServerState::Closing { .. } => ReportedServer::Closing,
            _ => ReportedServer::Held(self.key.as_ref().map(|(process_id, secret)| Backend {
                target: self.target.to_string(),
                process_id: *process_id,
                secret: secret.to_vec(),
            })),
        }
    }
}
