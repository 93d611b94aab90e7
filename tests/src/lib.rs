//! The harness: a real PostgreSQL, the real program, and clients that speak bytes.
//!
//! A scenario starts a [`Postgres`], puts a [`Pooler`] in front of it and talks
//! to it with a [`Client`], with raw bytes over a [`Wire`], with psql and
//! pgbench, or with a [`Script`] for a driver, while a [`Crowd`] interferes.
//! Ports and folders are chosen here, everything is ended when it goes out of
//! scope, and nothing waits without a deadline.

mod account;
mod balancer;
mod certificates;
mod client;
mod crowd;
mod daemon;
mod delay;
mod differential;
mod directory;
mod folder;
mod gate;
mod hosts;
mod http;
mod intruder;
mod names;
mod pause;
mod peers;
mod pgbouncer;
mod pgskein;
mod pooler;
mod postgres;
mod preload;
mod process;
mod release;
mod restart;
mod route;
mod service_manager;
mod stall;
mod stand_in;
mod tap;
mod template;
mod tools;
mod wait;
mod wire;

pub use account::Account;
pub use balancer::Balancer;
pub use certificates::{Certificates, Special, TlsClient, openssl_client};
pub use client::{Client, Login, PendingQuery, SqlState};
pub use crowd::Crowd;
pub use daemon::Daemon;
pub use delay::Delay;
pub use differential::Differential;
pub use directory::Directory;
pub use folder::Folder;
pub use gate::Gate;
pub use hosts::{Host, Hosts};
pub use http::{Http, HttpAnswer};
pub use intruder::Intruder;
pub use names::Names;
pub use nix::sys::signal::Signal;
pub use pause::Pause;
pub use peers::{Peers, RecordingPeer, cancel_at, finish};
pub use pgbouncer::PgBouncer;
pub use pgskein::{Pgskein, Run};
pub use pooler::{Pooler, copy_program};
pub use postgres::Postgres;
pub use process::{Descriptor, Process, Stopped};
pub use release::Release;
pub use restart::restart;
pub use route::free_port;
pub use service_manager::ServiceManager;
pub use stall::{Stall, Stalled};
pub use stand_in::{FirstPacket, GO_AWAY, Manner, StandIn, disconnect_requested, negotiate};
pub use tap::Tap;
pub use tools::{
    Drivers, Pgbench, Program, Psql, RunningProgram, RunningPsql, Script, python, script,
};
pub use wait::{PATIENCE, Stop, StopGuard, Ticker, assert_gave_up, wait_for, within};
pub use wire::{ErrorFields, Message, SSL_REQUEST, Wire, message, startup_packet};
