//! Processes: their start, and what signals do in them.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, SigSet, kill, signal};
use nix::unistd::{ForkResult, Pid, fork};

/// Starts a copy of this process that runs `body` and exits with its result.
///
/// In this process `body` is dropped unused.
///
/// # Errors
///
/// The error of `fork(2)`.
#[expect(
    clippy::exit,
    reason = "the child must never return into the supervisor"
)]
pub(crate) fn spawn(body: impl FnOnce() -> i32) -> nix::Result<Pid> {
    // SAFETY: the supervisor starts no thread before or between forks, so the
    // child holds no lock taken by a thread that does not exist in it.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        // Not even a panic may unwind into the supervisor's part of the stack.
        ForkResult::Child => {
            std::process::exit(catch_unwind(AssertUnwindSafe(body)).unwrap_or(PANICKED))
        }
    }
}

/// Goes on in a copy of this process; true in the copy.
///
/// # Errors
///
/// The error of `fork(2)`.
pub(crate) fn split() -> nix::Result<bool> {
    // SAFETY: as in [`spawn`]: there is one thread only.
    Ok(unsafe { fork() }?.is_child())
}

/// Ignores these signals from now on.
///
/// # Errors
///
/// The error of `sigaction(2)`.
pub(crate) fn ignore(signals: SigSet) -> nix::Result<()> {
    set(signals, SigHandler::SigIgn)
}

/// Gives these signals their default meaning, whatever this process was
/// started with.
///
/// # Errors
///
/// The error of `sigaction(2)`.
pub(crate) fn restore(signals: SigSet) -> nix::Result<()> {
    set(signals, SigHandler::SigDfl)
}

/// Whether another process of this number lives and is a pgskein.
pub(crate) fn is_pgskein(pid: Pid) -> bool {
    if pid.as_raw() <= 1 || pid == Pid::this() {
        return false;
    }
    // The name is readable for everybody; the file of a dead process is not.
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    // One that has ended and waits for its parent to notice holds nothing.
    let ended = status.lines().any(|line| line.starts_with("State:\tZ"));
    name.starts_with("pgskein") && !ended && kill(pid, None) != Err(Errno::ESRCH)
}

fn set(signals: SigSet, handler: SigHandler) -> nix::Result<()> {
    for number in &signals {
        // SAFETY: no function of ours is installed, so none can run at a time
        // when it must not.
        unsafe { signal(number, handler) }?;
    }
    Ok(())
}

/// The exit code that Rust gives a process whose main thread panicked.
const PANICKED: i32 = 101;
