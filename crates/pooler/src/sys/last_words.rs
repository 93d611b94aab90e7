//! Backtraces of workers that are aborted.
//!
//! Source: signal-safety(7).

use std::sync::OnceLock;

use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use nix::unistd::Pid;

use crate::scoreboard::LastWords;

/// Has SIGABRT leave a backtrace in `words` before it ends this process.
///
/// # Errors
///
/// The error of `sigaction(2)`.
pub(crate) fn leave(words: LastWords) -> nix::Result<()> {
    let _first = WORDS.set(words);
    // What the unwinder needs at its first use is made here, not in the
    // handler.
    backtrace::trace(|_| false);
    let flags = SaFlags::SA_RESETHAND | SaFlags::SA_NODEFER;
    let action = SigAction::new(SigHandler::Handler(on_abort), flags, SigSet::empty());
    // SAFETY: the handler allocates nothing and waits for nobody; see there.
    unsafe { sigaction(Signal::SIGABRT, &action) }?;
    Ok(())
}

/// Leaves the program as it is to SIGABRT again: its panic was told already.
pub(crate) fn told() {
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no function of ours is installed.
    let _aborts_either_way = unsafe { sigaction(Signal::SIGABRT, &action) };
}

/// Asks the main thread of a process for its last words; goes on with a
/// process that is stopped.
///
/// # Errors
///
/// The error of `tgkill(2)` or `kill(2)`.
pub(crate) fn ask(process: Pid) -> nix::Result<()> {
    let (pid, abort) = (process.as_raw(), Signal::SIGABRT as c_int);
    // SAFETY: the call touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, abort) };
    Errno::result(result)?;
    nix::sys::signal::kill(process, Signal::SIGCONT)
}

/// The name of the code at an address of this program, as far as it is known.
pub(crate) fn name(address: usize) -> Vec<String> {
    let mut names = Vec::new();
    let code = std::ptr::without_provenance_mut(address);
    backtrace::resolve(code, |symbol| {
        let name = symbol
            .name()
            .map_or("?".to_owned(), |name| format!("{name:#}"));
        names.push(match (symbol.filename(), symbol.lineno()) {
            (Some(file), Some(line)) => format!("{name} at {}:{line}", file.display()),
            _ => name,
        });
    });
    if names.is_empty() {
        names.push(format!("{address:#x}"));
    }
    names
}

/// Writes down where this thread is, then ends the process as SIGABRT does.
///
/// Walking the stack allocates nothing, but it may wait for the lock of the
/// dynamic loader. Whoever was interrupted with that is killed a moment later.
extern "C" fn on_abort(_signal: c_int) {
    if let Some(words) = WORDS.get()
        && words.claim(std::process::id())
    {
        // SAFETY: no other thread walks its stack: threads of a worker resolve
        // names and derive keys, and none of them asks for a backtrace.
        unsafe { backtrace::trace_unsynchronized(|frame| words.push(frame.ip() as usize)) };
    }
    // The default action is back by now, and the signal is not blocked.
    let _ended = raise(Signal::SIGABRT);
}

static WORDS: OnceLock<LastWords> = OnceLock::new();
