//! Errands: connections that carry one request and end.
//!
//! ```text
//! CancelServer   to PostgreSQL: CancelRequest, then its end of stream
//! CancelOrphan   to PostgreSQL, for a server of a worker that has died
//! AskSibling     to a sibling: Cancel, then Found and Done, or Unknown
//! Forward        to another host: CancelRequest, then its end of stream
//! SendDrain      to a process of the group: Drain, then Obeyed
//! AskRows        to a sibling: Console, then Rows and End
//! Request        from a process of the group: its request is to come
//! Relayed        from a sibling: its cancel is being carried out here
//! SayRows        from a sibling: it is told what this worker knows
//! ```

use std::path::{Path, PathBuf};
use std::time::Instant;

use pgskein_pool::control::LeaseId;
use pgskein_pool::drain_order::DrainOrder;
use pgskein_pool::peer::{PeerAnswer, PeerRequest};
use pgskein_pool::slab::{ErrandId, ServerId};
use pgskein_protocol::write;

use super::cancel::{Purpose, Waiter};
use super::connect::open_socket;
use super::forward::Forwarding;
use super::rows::{Asking, Saying};
use super::server::{Retire, ServerState, Target};
use super::stream::{Filled, Outbox, Stream};
use super::sweep::after;
use super::tls::cause;
use super::token::Subject;
use super::{Runnable, Worker};
use crate::scoreboard::guests::Guests;

/// A connection that carries one request.
#[derive(Debug)]
pub(super) struct Errand {
    /// Its socket.
    pub stream: Stream,
    /// Whether it is in the run queue.
    pub queued: bool,
    /// Bytes read and not yet parsed.
    pub inbox: Vec<u8>,
    /// Bytes to write.
    pub outbox: Outbox,
    /// When it is given up.
    pub deadline: Instant,
    /// What it is for.
    pub kind: Kind,
}

/// What an errand is for.
#[derive(Debug)]
pub(super) enum Kind {
    /// A CancelRequest to PostgreSQL.
    CancelServer {
        /// The server that it goes to.
        server: ServerId,
        /// The request; empty once it was sent.
        packet: Vec<u8>,
        /// What it is for.
        purposes: Vec<Purpose>,
    },
    /// A CancelRequest to a server that a dead worker has left.
    CancelOrphan {
        /// The lease of that server.
        lease: LeaseId,
    },
    /// A sibling is asked for a client.
    AskSibling {
        /// What is looked for.
        search: Search,
        /// It is there, and being cancelled.
        found: bool,
    },
    /// A CancelRequest to another host.
    Forward(Box<Forwarding>),
    /// A sibling or the supervisor is told to drain.
    SendDrain,
    /// A request of another process is to come.
    Request,
    /// The cancel of another process is being carried out.
    Relayed,
    /// A sibling is asked for its rows of a table of the console.
    AskRows(Asking),
    /// A sibling has asked for ours.
    SayRows(Saying),
}

/// A client that is looked for by its cancel key.
#[derive(Debug)]
pub(super) struct Search {
    /// Who waits for the end.
    pub waiter: Waiter,
    /// First half of the key.
    pub process_id: u32,
    /// Second half of the key.
    pub secret: Box<[u8]>,
    /// When a sibling whose backlog is full is passed over.
    pub deadline: Instant,
    /// Peer sockets of the siblings still to be asked, the last one first.
    pub siblings: Vec<PathBuf>,
    /// The host that is asked when none of them knows it.
    pub then: Option<u16>,
    /// Who might have sessions of other slots when it began.
    pub guests: Guests,
}

impl Errand {
    /// Whether it is for a console, which keeps nobody alive.
    pub(super) fn is_of_console(&self) -> bool {
        matches!(self.kind, Kind::AskRows(_) | Kind::SayRows(_))
    }
}

impl Worker {
    /// Sends a cancel request to a server.
    pub(super) fn cancel_server(&mut self, id: ServerId, purpose: Purpose) {
        for (_, errand) in self.errands.iter_mut() {
            if let Kind::CancelServer {
                server,
                packet,
                purposes,
            } = &mut errand.kind
                && *server == id
                && !packet.is_empty()
            {
                // One that was not sent yet serves both.
                return purposes.push(purpose);
            }
        }
        let Some(server) = self.servers.get_mut(id) else {
            return self.purpose_over(purpose);
        };
        let mut packet = Vec::new();
        let written = server
            .key
            .as_ref()
            .is_some_and(|(pid, secret)| write::cancel_request(&mut packet, *pid, secret).is_ok());
        if !written {
            return self.purpose_over(purpose);
        }
        let socket = match open_socket(&server.target, &self.config.settings) {
            Ok(socket) => socket,
            Err(error) => {
                log::warn!("s{}: failed cancel request: {error}", server.number);
                return self.purpose_over(purpose);
            }
        };
        let mut stream = Stream::to_server(socket);
        if let Err(error) = stream.encrypt_like(&server.stream) {
            log::warn!("s{}: failed cancel request: TLS: {error}", server.number);
            return self.purpose_over(purpose);
        }
        server.cancels += 1;
        let kind = Kind::CancelServer {
            server: id,
            packet,
            purposes: vec![purpose],
        };
        self.start_errand(stream, Outbox::default(), kind);
    }

    /// Asks the next sibling for a client; without one, the key is another
    /// host's or unknown.
    pub(super) fn ask_sibling(&mut self, mut search: Search) {
        while let Some(path) = search.siblings.pop() {
            let request = PeerRequest::Cancel {
                process_id: search.process_id,
                secret: &search.secret,
            };
            match connect_peer(&path, &self.config.settings, &request) {
                Ok((stream, outbox)) => {
                    let kind = Kind::AskSibling {
                        search,
                        found: false,
                    };
                    return self.start_errand(stream, outbox, kind);
                }
                Err(error)
                    if error.kind() == std::io::ErrorKind::WouldBlock
                        && self.now < search.deadline =>
                {
                    // Its backlog is full: once more, a little later.
                    search.siblings.push(path);
                    self.stalled.push(search);
                    return;
                }
                Err(error) => log::debug!("{}: {error}", path.display()),
            }
        }
        match (search.waiter, search.then) {
            // It may have gone to one that was not asked.
            (Waiter::Client(id), _) if self.scoreboard.guests() != search.guests => {
                self.begin_cancel(id, search.process_id, &search.secret);
            }
            (waiter, Some(peer)) => {
                self.forward_cancel(peer, waiter, search.process_id, &search.secret);
            }
            (waiter, None) => self.cancel_unknown(waiter),
        }
    }

    /// Sends an order to drain to another process of the group.
    pub(super) fn send_drain(&mut self, path: &Path, order: &DrainOrder) {
        match connect_peer(
            path,
            &self.config.settings,
            &PeerRequest::Drain(order.clone()),
        ) {
            Ok((stream, outbox)) => self.start_errand(stream, outbox, Kind::SendDrain),
            Err(error) => log::warn!(
                "cannot send the order to drain to {}: {error}",
                path.display()
            ),
        }
    }

    /// Puts an errand on its way.
    pub(super) fn start_errand(&mut self, stream: Stream, outbox: Outbox, kind: Kind) {
        let deadline = after(self.now, self.config.settings.cancel_wait_timeout);
        self.start_errand_until(stream, outbox, kind, deadline);
    }

    /// Puts an errand on its way that is given up at `deadline`.
    pub(super) fn start_errand_until(
        &mut self,
        stream: Stream,
        outbox: Outbox,
        kind: Kind,
        deadline: Instant,
    ) -> ErrandId {
        let errand = Errand {
            stream,
            queued: false,
            inbox: Vec::new(),
            outbox,
            deadline,
            kind,
        };
        let id = self.errands.insert_with(|_| errand);
        let registered = match self.errands.get_mut(id) {
            Some(errand) => {
                let token = Subject::Errand(id).token();
                errand.stream.register(self.poll.registry(), token)
            }
            None => Ok(()),
        };
        match registered {
            Ok(()) => self.wake_errand(id),
            Err(_) => self.end_errand(id, false),
        }
        id
    }

    /// Puts an errand into the run queue.
    pub(super) fn wake_errand(&mut self, id: ErrandId) {
        if let Some(errand) = self.errands.get_mut(id)
            && !errand.queued
        {
            errand.queued = true;
            self.runnable.push(Runnable::Errand(id));
        }
    }

    /// Gives an errand its turn.
    pub(super) fn errand_turn(&mut self, id: ErrandId) {
        let Some(errand) = self.errands.get_mut(id) else {
            return;
        };
        errand.queued = false;
        if matches!(&errand.kind, Kind::CancelServer { packet, .. } if !packet.is_empty()) {
            return self.send_cancel(id);
        }
        if matches!(errand.kind, Kind::Forward(_)) {
            return self.forward_turn(id);
        }
        if errand.outbox.flush(&mut errand.stream).is_err() {
            return self.end_errand(id, false);
        }
        if matches!(errand.kind, Kind::SayRows(_)) {
            self.saying_turn(id);
        }
        let Some(errand) = self.errands.get_mut(id) else {
            return;
        };
        if !errand.stream.readable() {
            return;
        }
        let filled = errand.stream.fill(&mut errand.inbox, &mut self.scratch);
        match filled {
            Ok(Filled::Nothing) => return,
            Ok(Filled::End) => return self.end_errand(id, true),
            Err(error) => {
                if let Some(cause) = cause(&error) {
                    log::warn!("failed cancel request: TLS: {cause}");
                }
                return self.end_errand(id, true);
            }
            Ok(Filled::Scratch(end)) => {
                let bytes = self.scratch.get(..end).unwrap_or_default();
                errand.inbox.extend_from_slice(bytes);
            }
            Ok(Filled::Inbox(bytes)) => errand.inbox = bytes,
        }
        match errand.kind {
            Kind::Request => self.on_peer_request(id),
            Kind::AskSibling { .. } => self.on_sibling_answer(id),
            Kind::AskRows(_) => self.on_rows(id),
            Kind::CancelServer { .. }
            | Kind::CancelOrphan { .. }
            | Kind::Forward(_)
            | Kind::SendDrain
            | Kind::Relayed
            | Kind::SayRows(_) => {}
        }
        if let Some(errand) = self.errands.get(id) {
            if errand.inbox.len() > ERRAND_INBOX_MAX {
                self.end_errand(id, false);
            } else if errand.stream.readable() {
                self.wake_errand(id);
            }
        }
    }

    /// Sends a CancelRequest once its connection is there, if it is still
    /// wanted then.
    fn send_cancel(&mut self, id: ErrandId) {
        let Some(errand) = self.errands.get_mut(id) else {
            return;
        };
        if !errand.stream.writable() {
            return;
        }
        if !matches!(errand.stream.connect_error(), Ok(None)) {
            return self.end_errand(id, false);
        }
        let Kind::CancelServer {
            server,
            packet,
            purposes,
        } = &mut errand.kind
        else {
            return;
        };
        let (server, purposes) = (*server, purposes.clone());
        let packet = std::mem::take(packet);
        let target = self.servers.get(server);
        if !purposes
            .iter()
            .any(|purpose| self.still_wanted(target, *purpose))
        {
            log::debug!("not sending cancel request for client that is now idle");
            return self.end_errand(id, true);
        }
        let ours_runs =
            target.is_some_and(|server| server.is_working() && server.flow.answers_own());
        let Some(errand) = self.errands.get_mut(id) else {
            return;
        };
        if ours_runs {
            // It would hit a query of ours in front of the one it is for.
            if let Kind::CancelServer { packet: kept, .. } = &mut errand.kind {
                *kept = packet;
            }
            return;
        }
        match errand.outbox.send(&mut errand.stream, &packet) {
            Ok(()) => self.wake_errand(id),
            Err(_) => self.end_errand(id, false),
        }
    }

    /// A query of ours has ended, or its server has: looks at the cancel
    /// requests that have waited for it.
    pub(super) fn wake_cancels(&mut self, id: ServerId) {
        if self.errands.is_empty() {
            return;
        }
        let waiting = self.errands.ids(|errand| {
            matches!(
                &errand.kind,
                Kind::CancelServer { server, packet, .. } if *server == id && !packet.is_empty()
            )
        });
        for errand in waiting {
            self.wake_errand(errand);
        }
    }

    fn on_sibling_answer(&mut self, id: ErrandId) {
        let Some(errand) = self.errands.get_mut(id) else {
            return;
        };
        let Kind::AskSibling { found, .. } = &mut errand.kind else {
            return;
        };
        while let Ok(Some((answer, rest))) = PeerAnswer::split(&errand.inbox) {
            match answer {
                PeerAnswer::Found => *found = true,
                _ => return self.end_errand(id, true),
            }
            errand.inbox = rest.to_vec();
        }
    }

    /// Ends an errand; `orderly` unless it failed or took too long.
    pub(super) fn end_errand(&mut self, id: ErrandId, orderly: bool) {
        let Some(mut errand) = self.errands.remove(id) else {
            return;
        };
        errand.stream.deregister(self.poll.registry());
        drop(errand.stream);
        match errand.kind {
            Kind::CancelServer {
                server,
                packet,
                purposes,
            } => {
                let sent = packet.is_empty();
                for purpose in purposes {
                    self.purpose_over(purpose);
                }
                self.cancel_ended(server, sent && !orderly);
            }
            Kind::CancelOrphan { lease } => {
                self.orphan_over(lease, orderly && errand.outbox.is_empty());
            }
            Kind::AskSibling { search, found } => {
                if found {
                    self.cancel_over(search.waiter);
                } else {
                    self.ask_sibling(search);
                }
            }
            Kind::Forward(forwarding) => self.forward_over(*forwarding, orderly),
            Kind::AskRows(asking) => self.rows_over(id, &asking),
            Kind::SendDrain | Kind::Request | Kind::Relayed | Kind::SayRows(_) => {}
        }
    }

    /// A cancel connection to a server has ended, or was given up while
    /// PostgreSQL may still act on it.
    fn cancel_ended(&mut self, id: ServerId, doubtful: bool) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        server.cancels = server.cancels.saturating_sub(1);
        if doubtful {
            server.retire = Some(Retire::Changed);
        }
        if server.cancels > 0 {
            return;
        }
        match server.state {
            ServerState::BeingCancelled { clean: true } => self.lend(id),
            ServerState::BeingCancelled { clean: false } => self.roll_back(id),
            _ => {}
        }
    }

    fn purpose_over(&mut self, purpose: Purpose) {
        if let Purpose::Query { waiter, .. } = purpose {
            self.cancel_over(waiter);
        }
    }
}

/// Connects to a process of the group and puts a request into the outbox.
///
/// # Errors
///
/// The error of `connect(2)`; [`std::io::ErrorKind::WouldBlock`] when its
/// backlog is full.
pub(super) fn connect_peer(
    path: &Path,
    settings: &pgskein_config::Settings,
    request: &PeerRequest<'_>,
) -> std::io::Result<(Stream, Outbox)> {
    let socket = open_socket(&Target::Unix(path.to_owned()), settings)?;
    let mut outbox = Outbox::default();
    request.encode(outbox.buffer());
    Ok((Stream::new(socket), outbox))
}

/// More than this is no request or answer of ours, in bytes: what is left of
/// one behind a full read.
const ERRAND_INBOX_MAX: usize = 16_384;
