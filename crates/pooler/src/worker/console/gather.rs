//! Gathering: one answer of what all processes of the group know.
//!
//! ```text
//! asked ──> own rows, a few a turn ─────────┐
//!   ├─────> siblings, over their sockets ───┼─> all said, or time is up ──> shown
//!   └─────> the supervisor, over its link ──┘
//! ```
//!
//! What somebody has said counts whole or not at all. Who has not said all in
//! time is named in a notice, and the rest is shown.

use std::time::Instant;

use pgskein_pool::console::{From, Row, RowReader, Table, Topic};
use pgskein_pool::control::ToSupervisor;
use pgskein_pool::slab::{ClientId, ErrandId};
use pgskein_protocol::key::Slot;

use super::State;
use super::show::Showing;
use crate::runtime_dir::peer_socket_path;
use crate::scoreboard::WorkerState;
use crate::worker::Worker;
use crate::worker::client::Stage;
use crate::worker::sweep::after;
use crate::worker::tables::Source;

/// A table that is being put together.
#[derive(Debug)]
pub(in crate::worker) struct Gathering {
    topic: Topic,
    /// Number of the question to the supervisor.
    request: u64,
    /// When it is shown as far as it is known.
    deadline: Instant,
    /// In the order in which they count.
    parts: Vec<Part>,
}

/// What one process knows.
#[derive(Debug)]
struct Part {
    whose: Whose,
    rows: Vec<Row>,
    progress: Progress,
}

/// A process of the group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Whose {
    Supervisor,
    Own,
    Sibling { slot: Slot, generation: u32 },
}

/// How far a process has come with its rows.
#[derive(Debug)]
enum Progress {
    /// Its backlog is full; it is asked again.
    ToAsk,
    /// It was asked over this connection.
    Asked(ErrandId),
    /// It was asked over the control link.
    Awaited,
    /// It is this worker, and has this left to say.
    Reading(Source),
    /// It has said everything.
    Whole,
    /// It is gone, or has not understood.
    Failed,
}

impl Worker {
    /// Has a console gather a table from everybody who knows of it.
    pub(super) fn gather(&mut self, id: ClientId, topic: Topic) {
        let table = topic.table();
        let request = self.new_request();
        let parts = self.parts_of(table);
        let gathering = Gathering {
            topic,
            request,
            deadline: after(self.now, self.config.settings.console_timeout),
            parts,
        };
        if let Some(console) = self.console_mut(id) {
            console.state = State::Gathering(Box::new(gathering));
        }
        self.gathering.insert(request, id);
        self.ask_processes(id);
        self.wake_client(id);
    }

    /// Gives a console that gathers its turn.
    pub(super) fn gather_turn(&mut self, id: ClientId) {
        let now = self.now;
        let Some(mut gathering) = self.take_gathering(id) else {
            return;
        };
        for part in &mut gathering.parts {
            if let Progress::Reading(source) = &mut part.progress {
                if self.take_rows(source, &mut part.rows) {
                    self.wake_client(id);
                } else {
                    part.progress = Progress::Whole;
                }
            }
        }
        let over = gathering.is_over() || gathering.deadline <= now;
        if !over {
            if let Some(console) = self.console_mut(id) {
                console.state = State::Gathering(gathering);
            }
            return;
        }
        self.end_gathering(&gathering);
        self.show(id, gathering.into_showing());
    }

    /// Takes what a sibling says next; `ended` when that was everything.
    pub(in crate::worker) fn on_sibling_rows(
        &mut self,
        id: ClientId,
        errand: ErrandId,
        rows: Vec<Row>,
        ended: bool,
    ) {
        let Some(part) = self.part_of(id, |progress| match progress {
            Progress::Asked(asked) => *asked == errand,
            _ => false,
        }) else {
            return;
        };
        part.rows.extend(rows);
        if ended {
            part.progress = Progress::Whole;
            self.wake_client(id);
        }
    }

    /// A sibling will say no more, and has not said everything.
    pub(in crate::worker) fn on_sibling_silent(&mut self, id: ClientId, errand: ErrandId) {
        let part = self.part_of(id, |progress| match progress {
            Progress::Asked(asked) => *asked == errand,
            _ => false,
        });
        if let Some(part) = part {
            part.progress = Progress::Failed;
            self.wake_client(id);
        }
    }

    /// Takes what the supervisor says.
    pub(in crate::worker) fn on_shown(&mut self, request: u64, bytes: &[u8]) {
        let Some(&id) = self.gathering.get(&request) else {
            return;
        };
        let Some(topic) = self.gathering_mut(id).map(|gathering| gathering.topic) else {
            return;
        };
        let mut reader = RowReader::new(topic.table());
        let mut rows = Vec::new();
        let read = reader.read(bytes, &mut rows).and_then(|()| reader.end());
        if let Some(part) = self.part_of(id, |progress| matches!(progress, Progress::Awaited)) {
            match read {
                Ok(()) => {
                    part.rows = rows;
                    part.progress = Progress::Whole;
                }
                Err(error) => {
                    part.progress = Progress::Failed;
                    log::warn!("what the supervisor knows: {error}");
                }
            }
            self.wake_client(id);
        }
    }

    /// The supervisor is gone and will not answer any more.
    pub(in crate::worker) fn supervisor_silent(&mut self) {
        for id in self.gathering.values().copied().collect::<Vec<_>>() {
            if let Some(part) = self.part_of(id, |progress| matches!(progress, Progress::Awaited)) {
                part.progress = Progress::Failed;
                self.wake_client(id);
            }
        }
    }

    /// Asks again whose backlog was full, and ends what has taken too long.
    pub(in crate::worker) fn sweep_gathering(&mut self) {
        let now = self.now;
        for id in self.gathering.values().copied().collect::<Vec<_>>() {
            self.ask_processes(id);
            let gathering = self.gathering_mut(id);
            if gathering.is_some_and(|gathering| gathering.deadline <= now) {
                self.wake_client(id);
            }
        }
    }

    /// A console that gathers has left.
    pub(in crate::worker) fn forget_gathering(&mut self, state: &State) {
        if let State::Gathering(gathering) = state {
            self.end_gathering(gathering);
        }
    }

    /// Nobody waits for those any more who have not answered.
    fn end_gathering(&mut self, gathering: &Gathering) {
        self.gathering.remove(&gathering.request);
        for part in &gathering.parts {
            if let Progress::Asked(errand) = part.progress {
                self.end_errand(errand, true);
            }
        }
    }

    /// Everybody who knows of a table, in the order in which they count.
    fn parts_of(&self, table: &'static Table) -> Vec<Part> {
        let mut parts = Vec::new();
        if table.from != From::Workers {
            let progress = match self.control {
                Some(_) => Progress::ToAsk,
                None => Progress::Failed,
            };
            parts.push(Part::new(Whose::Supervisor, progress));
        }
        if table.from != From::Supervisor {
            let own = Progress::Reading(self.source_of(table.topic));
            parts.push(Part::new(Whose::Own, own));
            let cells = self.scoreboard.cells().filter(|cell| {
                (cell.slot, cell.generation) != (self.slot, self.generation)
                    && matches!(cell.state, WorkerState::Ready | WorkerState::Draining)
            });
            parts.extend(cells.map(|cell| {
                let (slot, generation) = (cell.slot, cell.generation);
                Part::new(Whose::Sibling { slot, generation }, Progress::ToAsk)
            }));
        }
        parts
    }

    /// Asks all who were not asked yet.
    fn ask_processes(&mut self, id: ClientId) {
        let Some(mut gathering) = self.take_gathering(id) else {
            return;
        };
        let (topic, request) = (gathering.topic, gathering.request);
        for part in &mut gathering.parts {
            if !matches!(part.progress, Progress::ToAsk) {
                continue;
            }
            part.progress = match part.whose {
                Whose::Own => Progress::Reading(self.source_of(topic)),
                Whose::Supervisor => {
                    self.tell_supervisor(&ToSupervisor::Show { request, topic });
                    Progress::Awaited
                }
                Whose::Sibling { slot, generation } => {
                    let path = peer_socket_path(&self.runtime_dir, slot, generation);
                    match self.ask_for_rows(id, &path, topic) {
                        Ok(errand) => Progress::Asked(errand),
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                            Progress::ToAsk
                        }
                        Err(error) => {
                            log::debug!("{}: {error}", path.display());
                            Progress::Failed
                        }
                    }
                }
            };
        }
        if let Some(console) = self.console_mut(id) {
            console.state = State::Gathering(gathering);
        }
    }

    fn part_of(&mut self, id: ClientId, wanted: impl Fn(&Progress) -> bool) -> Option<&mut Part> {
        let parts = self.gathering_mut(id)?.parts.iter_mut();
        parts.into_iter().find(|part| wanted(&part.progress))
    }

    fn gathering_mut(&mut self, id: ClientId) -> Option<&mut Gathering> {
        match &mut self.clients.get_mut(id)?.stage {
            Stage::Console(console) => match &mut console.state {
                State::Gathering(gathering) => Some(gathering),
                _ => None,
            },
            _ => None,
        }
    }

    /// Takes the gathering out of a console, which is to be given another state.
    fn take_gathering(&mut self, id: ClientId) -> Option<Box<Gathering>> {
        let state = &mut self.console_mut(id)?.state;
        match std::mem::replace(state, State::Listening) {
            State::Gathering(gathering) => Some(gathering),
            other => {
                *state = other;
                None
            }
        }
    }
}

impl Gathering {
    /// Everybody has said everything, or will not.
    fn is_over(&self) -> bool {
        let over = |part: &Part| matches!(part.progress, Progress::Whole | Progress::Failed);
        self.parts.iter().all(over)
    }

    /// What there is, and notices of what there is not.
    fn into_showing(self) -> Showing {
        let mut rows = Vec::new();
        let mut notices = Vec::new();
        for part in self.parts {
            match part.progress {
                Progress::Whole => rows.push(part.rows.into_iter()),
                Progress::Failed => notices.push(format!("{} is gone", part.whose)),
                _ => notices.push(format!(
                    "{} did not answer within console_timeout",
                    part.whose
                )),
            }
        }
        Showing::merged(self.topic.table(), rows, notices)
    }
}

impl Part {
    fn new(whose: Whose, progress: Progress) -> Self {
        Self {
            whose,
            rows: Vec::new(),
            progress,
        }
    }
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Supervisor => f.write_str("the supervisor"),
            Self::Own => f.write_str("this worker"),
            Self::Sibling { slot, .. } => write!(f, "worker {slot}"),
        }
    }
}
