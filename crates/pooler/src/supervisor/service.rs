//! The service manager: what systemd is told, if it wants to be.
//!
//! ```text
//! starting ──> READY=1 ──> RELOADING=1 ──> READY=1 … ──> STOPPING=1
//! ```
//!
//! Every message is one datagram that is never waited for: one that does not
//! fit is lost, and what matters is said again with the next state.
//!
//! Source: sd_notify(3), systemd.service(5).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use mio::Token;
use pgskein_protocol::key::Slot;
use sd_notify::NotifyState;

use super::{Place, Supervisor};
use crate::start::program::version;

/// The connection to the service manager, and what it knows.
#[derive(Debug)]
pub(crate) struct Service {
    socket: UnixDatagram,
    phase: Phase,
    /// How often it wants to hear that the workers turn.
    watchdog: Option<Duration>,
    watchdog_at: Instant,
    status: String,
    status_at: Instant,
}

/// What the group is doing, as far as the service manager wants to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Starting,
    Ready,
    Reloading,
    Stopping,
}

impl Service {
    /// The service manager that has started this process, if it wants to be
    /// told anything.
    pub(crate) fn find(now: Instant) -> Option<Self> {
        let path = std::env::var_os("NOTIFY_SOCKET")?;
        let socket = connect(&path)
            .inspect_err(|error| log::warn!("cannot tell the service manager: {error}"))
            .ok()?;
        // Twice in the time it allows.
        let watchdog = sd_notify::watchdog_enabled().map(|allowed| allowed / 2);
        Some(Self {
            socket,
            phase: Phase::Starting,
            watchdog: watchdog.filter(|interval| !interval.is_zero()),
            watchdog_at: now,
            status: String::new(),
            status_at: now,
        })
    }

    /// Another program has told it that a reload has begun.
    pub(crate) fn go_on(&mut self) {
        self.phase = Phase::Reloading;
    }

    fn next_deadline(&self) -> Instant {
        match self.watchdog {
            Some(_) => self.watchdog_at.min(self.status_at),
            None => self.status_at,
        }
    }

    fn enter(&mut self, phase: Phase) {
        if self.phase == phase {
            return;
        }
        self.phase = phase;
        match phase {
            Phase::Starting => {}
            Phase::Ready => self.say(&[NotifyState::Ready]),
            Phase::Stopping => self.say(&[NotifyState::Stopping]),
            Phase::Reloading => match NotifyState::monotonic_usec_now() {
                Ok(now) => self.say(&[NotifyState::Reloading, now]),
                Err(error) => log::warn!("no monotonic time: {error}"),
            },
        }
    }

    fn say(&self, states: &[NotifyState<'_>]) {
        let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
        let message = lines.join("\n");
        if let Err(error) = self.socket.send(message.as_bytes()) {
            log::debug!("the service manager was not told {message:?}: {error}");
        }
    }
}

impl Supervisor {
    /// When [`Supervisor::service_due`] has something to say, if ever.
    pub(crate) fn service_deadline(&self) -> Option<Instant> {
        self.service.as_ref().map(Service::next_deadline)
    }

    /// A reload begins; it ends in the same turn, or when every worker has
    /// answered.
    pub(crate) fn service_reloads(&mut self) {
        if let Some(service) = &mut self.service
            && service.phase == Phase::Ready
        {
            service.enter(Phase::Reloading);
        }
    }

    /// Tells the service manager what is due.
    pub(crate) fn service_due(&mut self) {
        let (phase, turning) = (self.phase(), self.is_turning());
        let now = self.now;
        let Some(service) = &mut self.service else {
            return;
        };
        let changed = phase.is_some_and(|phase| service.phase != phase);
        if let Some(phase) = phase {
            service.enter(phase);
        }
        if let Some(interval) = service.watchdog
            && now >= service.watchdog_at
        {
            service.watchdog_at = now + interval;
            if turning {
                service.say(&[NotifyState::Watchdog]);
            }
        }
        if changed || now >= service.status_at {
            service.status_at = now + STATUS_INTERVAL;
            self.tell_status();
        }
    }

    fn tell_status(&mut self) {
        let status = self.status();
        if let Some(service) = &mut self.service
            && service.status != status
        {
            service.say(&[NotifyState::Status(&status)]);
            service.status = status;
        }
    }

    /// What the group is doing; `None` while that does not change anything.
    fn phase(&self) -> Option<Phase> {
        let started = self.service.as_ref()?.phase != Phase::Starting;
        if self.is_draining() {
            Some(Phase::Stopping)
        } else if self.reloads.is_under_way() || self.is_restarting() {
            None
        } else {
            (started || self.all_ready()).then_some(Phase::Ready)
        }
    }

    /// Every slot has a worker that serves.
    pub(crate) fn all_ready(&self) -> bool {
        self.not_ready().is_none()
    }

    /// A slot that is to have a worker that serves, and has none.
    pub(crate) fn not_ready(&self) -> Option<Slot> {
        let ready = |place: &Place| place.worker.is_some_and(|token| self.is_ready(token));
        let mut places = self.places.iter();
        let lacking = places.find(|(_, place)| !place.retired && !ready(place));
        lacking.map(|(slot, _)| *slot)
    }

    fn is_ready(&self, token: Token) -> bool {
        let worker = self.workers.get(&token);
        worker.is_some_and(|worker| worker.ready_since.is_some())
    }

    /// Some worker turns, or none is to by now.
    fn is_turning(&self) -> bool {
        let mut ready = self.workers.values();
        let turning =
            ready.any(|worker| worker.ready_since.is_some() && !worker.pulse.is_suspect());
        turning || !self.ever_ready || self.is_draining()
    }

    fn status(&self) -> String {
        let wanted = self.places.values().filter(|place| !place.retired);
        let workers = wanted.clone().count();
        let ready = wanted.filter_map(|place| place.worker);
        let ready = ready.filter(|token| self.is_ready(*token)).count();
        let clients = self.scoreboard.places_taken();
        let servers: u32 = self.scoreboard.cells().map(|cell| cell.servers).sum();
        let doing = if self.is_draining() {
            "draining"
        } else {
            "serving"
        };
        format!(
            "pgskein {} {doing}: {ready} of {workers} workers, {clients} clients, \
             {servers} servers",
            version()
        )
    }
}

fn connect(path: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match path.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(path)?,
    }
    Ok(socket)
}

/// How often the numbers of the status are renewed.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
