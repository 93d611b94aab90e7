//! The folder of one group: its lock and the names of its peer sockets.

use std::path::{Path, PathBuf};

use pgskein_protocol::key::Slot;

/// The peer socket of the worker of `slot` with this generation.
pub(crate) fn peer_socket_path(runtime_dir: &Path, slot: Slot, generation: u32) -> PathBuf {
    runtime_dir.join(format!("worker.{}.{generation}.sock", slot.get()))
}

/// The peer socket of the supervisor.
pub(crate) fn supervisor_socket_path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("supervisor.sock")
}
