//! A worker: one event loop that serves clients.
//!
//! One turn of the loop: wait; read the clock once; events set readiness bits
//! and nothing else; every runnable connection gets one turn; the sweep looks
//! for what is overdue; then wishes go to the supervisor.

mod accept;
mod addresses;
mod admission;
mod answer;
mod auth;
mod cancel;
mod cancel_only;
mod certificate;
mod channel;
mod checks;
mod chores;
mod claims;
mod clean;
mod client;
mod close;
mod comparisons;
mod connect;
mod console;
mod control;
mod credentials;
mod denied;
mod drain;
mod encryption;
mod errand;
mod flight;
mod forward;
mod going;
mod greet;
mod handoff;
mod host_names;
mod idle;
mod lending;
mod login;
mod lost;
mod makings;
mod moves;
mod notices;
mod once;
mod orders;
mod orphaned;
mod orphans;
mod peers;
mod pqexec;
mod prepared;
mod quiet;
mod reason;
mod relay;
mod release;
mod reload;
mod replication;
mod role;
mod rows;
mod run;
mod scan;
mod secrets;
mod server;
mod server_login;
mod server_tls;
pub(crate) mod setup;
mod statistics;
mod stream;
mod suspend;
mod sweep;
mod tables;
mod ticker;
mod tls;
mod token;
mod tour;
mod unconfirmed;
mod unknown;
mod user_names;
mod versions;
mod watch;
mod welcome;

pub(crate) use cancel_only::MOST_FOR_CANCELS;
pub(crate) use drain::unix_milliseconds;
pub(crate) use run::{monotonic_milliseconds, run};
pub(crate) use tables::{drain_row, state_rows};

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Instant;

use mio::Poll;
use pgskein_config::Config;
use pgskein_pool::control::{Asked, LeaseId};
use pgskein_pool::drain::Drains;
use pgskein_pool::keys::Keys;
use pgskein_pool::lost::Lost;
use pgskein_pool::moves::Moves;
use pgskein_pool::old_hosts::OldHosts;
use pgskein_pool::parameters::Parameters;
use pgskein_pool::peers::Peers;
use pgskein_pool::pools::{PoolId, Pools};
use pgskein_pool::prepared::Statements;
use pgskein_pool::slab::{ClientId, ErrandId, ServerId, Slab, WayId};
use pgskein_pool::tickets::TicketSecrets;
use pgskein_pool::unknown_keys::UnknownKeys;
use pgskein_protocol::key::Slot;

use self::accept::Listeners;
use self::addresses::Addresses;
use self::cancel::Waiter;
use self::checks::Checks;
use self::chores::Chores;
use self::claims::Claims;
use self::client::Client;
use self::comparisons::Comparisons;
use self::credentials::Credentials;
use self::drain::Ending;
use self::errand::Errand;
use self::flight::Flight;
use self::handoff::{Undecided, Ways};
use self::host_names::HostNames;
use self::orders::Orders;
use self::reload::Prepared;
use self::secrets::Question;
use self::server::Server;
use self::statistics::Counting;
use self::ticker::Ticker;
use self::tour::Places;
use self::user_names::UserNames;
use crate::link::Link;
use crate::scoreboard::{Cell, Scoreboard};
use crate::tls::Secured;

/// Everything that one worker knows.
#[derive(Debug)]
pub(crate) struct Worker {
    poll: Poll,
    slot: Slot,
    generation: u32,
    /// The time of this turn.
    now: Instant,
    clients: Slab<ClientId, Client>,
    servers: Slab<ServerId, Server>,
    errands: Slab<ErrandId, Errand>,
    /// Those of the clients that may bring a cancel request and nothing else.
    for_cancels: HashSet<ClientId>,
    /// How many unknown keys came from where.
    unknown_keys: UnknownKeys,
    /// Streams from and to workers that hand something over.
    ways: Ways,
    /// Sweeps in a row that have missed a client that was said to come.
    missed: u32,
    /// Something was given away since places were settled.
    gave: bool,
    pools: Pools,
    parameters: Parameters,
    statements: Statements,
    /// What is put together for a server.
    flight: Flight,
    /// Transactions whose server is gone, by their client.
    lost: HashMap<ClientId, Lost>,
    /// Clients by the first half of their cancel key.
    keys: Keys,
    /// Connections that may have something to do.
    runnable: Vec<Runnable>,
    /// The memory of the last round's queue.
    spare_queue: Vec<Runnable>,
    /// Pools whose wish for servers may have changed.
    wishing: Vec<PoolId>,
    /// Pools of which the log says that their clients change session state.
    warned: HashSet<PoolId>,
    /// Read into by everybody; see [`stream::Stream::fill`].
    scratch: Box<[u8]>,
    listeners: Listeners,
    control: Option<Link>,
    scoreboard: Scoreboard,
    cell: Cell,
    config: Config,
    config_version: u64,
    /// What connections are encrypted by, where they are.
    tls: Secured,
    /// The secrets by which clients resume their TLS sessions.
    tickets: TicketSecrets,
    /// A configuration that waits for its commit.
    prepared: Option<Prepared>,
    credentials: Credentials,
    addresses: Addresses,
    host_names: HostNames,
    places: Places,
    /// Other hosts of the group, and cancels for them.
    peers: Peers<Waiter>,
    /// Hosts that are asked for plain 3.0.
    old_hosts: OldHosts,
    chores: Chores,
    comparisons: Comparisons,
    user_names: UserNames,
    /// What others are asked about passwords.
    checks: Checks,
    /// Orders by which clients are asked to go.
    drains: Drains,
    /// Clients that go to siblings.
    moves: Moves,
    ending: Ending,
    orders: Orders,
    /// Searches that wait for room in a sibling's backlog.
    stalled: Vec<errand::Search>,
    claims: Claims,
    /// What servers are asked about users, by the server.
    questions: HashMap<ServerId, Question>,
    /// What waits until it is decided whose a connection is.
    undecided: Undecided,
    counting: Counting,
    /// Number of the last lease that was granted.
    last_lease: u64,
    /// When the supervisor was lost, while there is none.
    orphaned_at: Option<Instant>,
    /// Leases of servers that were lost after the supervisor was.
    spare_leases: Vec<(PoolId, LeaseId)>,
    /// Servers that are given up, and offered to who wants them.
    recalled: HashSet<ServerId>,
    /// The control link has something to read, or room to write.
    control_ready: bool,
    /// Other processes of the group have connected.
    peers_ready: bool,
    runtime_dir: PathBuf,
    /// Consoles that wait for the supervisor, and for what, by the number of
    /// their request.
    asking: HashMap<u64, (ClientId, Asked)>,
    /// Consoles that gather a table, by the number of their request.
    gathering: HashMap<u64, ClientId>,
    next_request: u64,
    /// When the sweep looks again.
    ticker: Ticker,
    /// Servers idle since before this are tested first; kept by the sweep.
    stale: Option<Instant>,
    /// When the sweep looked last.
    last_sweep: Instant,
    /// The same, by the clock of the host, in milliseconds.
    swept_at: u64,
    /// Set once the worker is to end.
    exit: Option<i32>,
}

/// A connection that may have something to do.
#[derive(Clone, Copy, Debug)]
enum Runnable {
    Client(ClientId),
    Server(ServerId),
    Errand(ErrandId),
    Way(WayId),
}
