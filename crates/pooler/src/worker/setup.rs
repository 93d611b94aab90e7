//! What the supervisor hands to a worker at its fork.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Instant;

use pgskein_config::Config;
use pgskein_pool::drain_order::DrainOrder;
use pgskein_pool::old_hosts::OldHosts;
use pgskein_pool::peers::Identity;
use pgskein_pool::prepared::StatementKey;
use pgskein_pool::runtime::RuntimeState;
use pgskein_pool::tickets::TicketSecrets;
use pgskein_pool::usual_secrets::UsualSecrets;
use pgskein_protocol::key::Slot;

use crate::link::Link;
use crate::scoreboard::{Cell, Scoreboard};

/// Everything that a worker begins with.
///
/// When it gets this, it is in its own process, every other descriptor is
/// closed and the signals of the supervisor are ignored.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The worker's place in the group.
    pub slot: Slot,
    /// 1 at the start of the group, one more at each restart.
    pub generation: u32,
    /// Listeners of the slot; they do not block.
    pub listeners: Vec<TcpListener>,
    /// The unix socket for clients that all workers share; it does not block.
    pub unix: Option<UnixListener>,
    /// Where other hosts bring cancel requests, shared by all workers as well;
    /// they do not block.
    pub cancel_listeners: Vec<TcpListener>,
    /// The worker's own peer socket; it does not block.
    pub peer: UnixListener,
    /// This end of the control link.
    pub control: Link,
    /// What all workers are doing.
    pub scoreboard: Scoreboard,
    /// This worker's place on the scoreboard.
    pub cell: Cell,
    /// Version of the configuration in effect.
    pub config_version: u64,
    /// The configuration in effect.
    pub config: Config,
    /// The number of this host among its peers, now and before.
    pub identity: Identity,
    /// The secrets by which clients resume their TLS sessions.
    pub tickets: TicketSecrets,
    /// What kind of secrets the database has, as far as was seen.
    pub usual: UsualSecrets,
    /// Hosts that are to be asked for plain 3.0.
    pub old_hosts: OldHosts,
    /// Secret from which the names of prepared statements on servers are made;
    /// the same in all workers.
    pub statement_key: StatementKey,
    /// What is paused, disabled or suspended, with its version.
    pub runtime: (u64, RuntimeState),
    /// Drains in force, and the end of the delay of each.
    pub drains: Vec<(DrainOrder, Instant)>,
    /// The group ends, and takes no new sessions.
    pub refusing: bool,
    /// Folder of the group's peer sockets.
    pub runtime_dir: PathBuf,
}
