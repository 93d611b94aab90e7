//! The beginning of a supervisor: what it has before it knows of any worker.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Instant;

use mio::Poll;
use pgskein_config::{Config, Sources};
use pgskein_pool::client_places::ClientPlaces;
use pgskein_pool::drain::DrainBook;
use pgskein_pool::ledger::Ledger;
use pgskein_pool::old_hosts::OldHosts;
use pgskein_pool::peers::Identity;
use pgskein_pool::runtime::Orders;
use pgskein_pool::tickets::TicketBook;
use pgskein_pool::usual_secrets::UsualSecrets;
use pgskein_pool::welcomes::Welcomes;

use super::hang::Hangs;
use super::http::Http;
use super::reload::Reloads;
use super::service::Service;
use super::signals::Signals;
use super::statistics::Statistics;
use super::tokens::register_listener;
use super::{PEERS, Place, SIGNALS, Supervisor, elders};
use crate::runtime_dir::RuntimeDir;
use crate::scoreboard::Scoreboard;
use crate::start::Foundation;
use crate::start::error::StartError;
use crate::sys::title::Title;

/// What every supervisor begins with.
pub(super) struct Beginning {
    pub poll: Poll,
    pub signals: Signals,
    pub title: Option<Title>,
    pub sources: Sources,
    pub config: Config,
    pub runtime_dir: RuntimeDir,
    pub peer: UnixListener,
    pub scoreboard: Scoreboard,
    pub program: PathBuf,
}

impl Supervisor {
    /// Takes over what the start has made.
    ///
    /// # Errors
    ///
    /// [`StartError::System`].
    pub(crate) fn new(foundation: Foundation) -> Result<Self, StartError> {
        let title = Title::take().inspect_err(|error| log::warn!("cannot set titles: {error}"));
        let title = title.ok();
        if let Some(title) = &title {
            title.set("pgskein: supervisor");
        }
        let poll = Poll::new().map_err(StartError::system("make an epoll instance"))?;
        let signals = Signals::block().map_err(StartError::system("take signals"))?;
        register_listener(&poll, &signals, SIGNALS)
            .and_then(|()| register_listener(&poll, &foundation.peer, PEERS))
            .map_err(StartError::system("register with epoll"))?;
        let mut statement_key = [0; 16];
        getrandom::fill(&mut statement_key)
            .map_err(|error| io::Error::other(error.to_string()))
            .map_err(StartError::system("draw random bytes"))?;
        let now = Instant::now();
        let places = foundation.slots.into_iter();
        let generation = elders::generation_beside(&foundation.orphans);
        let beginning = Beginning {
            poll,
            signals,
            title,
            sources: foundation.sources,
            config: foundation.config,
            runtime_dir: foundation.runtime_dir,
            peer: foundation.peer,
            scoreboard: foundation.scoreboard,
            program: foundation.program,
        };
        Ok(Self {
            pidfile: foundation.pidfile,
            unix: foundation.unix,
            cancel_listeners: foundation.cancel_listeners,
            http: Http::new(foundation.http, now),
            places: places
                .map(|(slot, listeners)| (slot, Place::new(listeners, generation, now)))
                .collect(),
            statement_key: statement_key.into(),
            orphans: foundation.orphans,
            ..Self::begin(beginning, now)
        })
    }

    /// A supervisor with no slot, no worker and empty books.
    pub(super) fn begin(beginning: Beginning, now: Instant) -> Self {
        let Beginning {
            poll,
            signals,
            title,
            sources,
            config,
            runtime_dir,
            peer,
            scoreboard,
            program,
        } = beginning;
        Self {
            poll,
            now,
            started: now,
            signals,
            title,
            sources,
            statistics: Statistics::new(config.settings.stats_period, now),
            identity: Identity::new(config.peer_id),
            tickets: TicketBook::new(now),
            config,
            config_version: 1,
            runtime_dir,
            pidfile: None,
            unix: None,
            cancel_listeners: Vec::new(),
            peer,
            scoreboard,
            places: BTreeMap::new(),
            workers: BTreeMap::new(),
            peers: BTreeMap::new(),
            broadcasts: BTreeMap::new(),
            last_token: PEERS.0,
            ledger: Ledger::new(),
            client_places: ClientPlaces::default(),
            statement_key: [0; 16].into(),
            usual: UsualSecrets::default(),
            old_hosts: OldHosts::default(),
            welcomes: Welcomes::default(),
            reloads: Reloads::default(),
            program,
            check: None,
            replacement: None,
            reporting: BTreeMap::new(),
            hangs: Hangs::new(now),
            orders: Orders::default(),
            http: None,
            drain: None,
            drains: DrainBook::default(),
            moves: super::moves::new_book(),
            kill_at: None,
            daemon: None,
            ever_ready: false,
            service: Service::find(now),
            orphans: Vec::new(),
            joining: BTreeMap::new(),
            elders_told: false,
        }
    }
}
