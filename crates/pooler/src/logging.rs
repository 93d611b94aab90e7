//! The log: one line for each event, to standard error, a file and syslog.
//!
//! Every sink takes a whole line in one write, or none of it: a sink that
//! cannot take it at once loses the line, and says how many were lost as soon
//! as it takes one again. So the log never holds up an event loop.
//!
//! The supervisor starts the log before its first fork; every process then
//! has its own copy of what is here, on the same open files.

mod line;
mod sink;
mod syslog;

pub(crate) use self::line::time_text;

use std::backtrace::Backtrace;
use std::os::fd::RawFd;
use std::panic;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};
use pgskein_config::Settings;
use pgskein_protocol::key::Slot;

use self::sink::Sink;
use self::syslog::Syslog;
use crate::sys::last_words;

/// Target of records that do not go to standard error, where the operator
/// reads the same in another form.
pub(crate) const NOT_STDERR: &str = "not stderr";

/// Starts the log, with standard error alone if that is wanted.
///
/// `verbose` is how often `-v` was given; the setting of that name can only
/// add to it.
pub(crate) fn start(stderr: bool, verbose: u8) {
    with_sinks(|sinks| {
        sinks.verbose = verbose;
        sinks.stderr = stderr.then(Sink::stderr);
    });
    log::set_max_level(level(verbose.into()));
    // Only a second start in the same process could fail.
    let _first = log::set_logger(&LOGGER);
    panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::force_capture();
        log::error!("{panic}, backtrace: {backtrace}");
        last_words::told();
    }));
}

/// Logs as `settings` say from now on; files are opened again.
pub(crate) fn apply(settings: &Settings) {
    let mut problems = Vec::new();
    with_sinks(|sinks| {
        let path = Some(&settings.logfile).filter(|path| !path.is_empty());
        sinks.path = path.map(PathBuf::from);
        sinks.syslog = None;
        if settings.syslog {
            let (facility, ident) = (&settings.syslog_facility, &settings.syslog_ident);
            match Syslog::connect(facility, ident) {
                Ok(syslog) => sinks.syslog = Some(syslog),
                Err(error) => problems.push(format!("cannot log to syslog: {error}")),
            }
        }
        problems.extend(sinks.open_file());
        let verbose = settings.verbose.max(sinks.verbose.into());
        log::set_max_level(level(verbose));
    });
    warn(&problems);
}

/// Opens the log file again: it may have been moved away.
pub(crate) fn reopen() {
    let mut problem = None;
    with_sinks(|sinks| problem = sinks.open_file());
    warn(problem.as_slice());
}

/// What [`start`] was given, apart from what was changed since.
pub(crate) fn started_with() -> (bool, u8) {
    let mut started = (false, 0);
    with_sinks(|sinks| started = (sinks.stderr.is_some(), sinks.verbose));
    started
}

/// Stops logging to standard error.
pub(crate) fn leave_stderr() {
    with_sinks(|sinks| sinks.stderr = None);
}

/// Says in every line from now on that a worker wrote it.
pub(crate) fn set_worker(slot: Slot) {
    WORKER.store(slot.get(), Ordering::Relaxed);
}

/// Says in every line from now on that the HTTP process wrote it.
pub(crate) fn set_http() {
    WORKER.store(line::HTTP, Ordering::Relaxed);
}

/// Descriptors of the log, for a child that closes all others.
pub(crate) fn descriptors() -> Vec<RawFd> {
    let mut found = Vec::new();
    with_sinks(|sinks| {
        found.extend(sinks.stderr.as_ref().and_then(Sink::descriptor));
        found.extend(sinks.file.as_ref().and_then(Sink::descriptor));
        found.extend(sinks.syslog.as_ref().map(Syslog::descriptor));
    });
    found
}

/// Where lines go.
#[derive(Debug)]
struct Sinks {
    stderr: Option<Sink>,
    path: Option<PathBuf>,
    file: Option<Sink>,
    syslog: Option<Syslog>,
    verbose: u8,
}

/// The one logger of the process.
struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let worker = WORKER.load(Ordering::Relaxed);
        with_sinks(|sinks| {
            let text = line::Text::new(record);
            if let Some(syslog) = &mut sinks.syslog {
                syslog.write(record.level(), worker, &text);
            }
            let stderr = sinks.stderr.as_mut();
            let stderr = stderr.filter(|_| record.target() != NOT_STDERR);
            for sink in sinks.file.as_mut().into_iter().chain(stderr) {
                sink.write(record.level(), worker, &text);
            }
        });
    }

    fn flush(&self) {}
}

impl Sinks {
    /// Opens the log file, or says why the old one stays.
    fn open_file(&mut self) -> Option<String> {
        let Some(path) = &self.path else {
            self.file = None;
            return None;
        };
        match Sink::file(path) {
            Ok(file) => self.file = Some(file),
            Err(error) => {
                return Some(format!("cannot open log file {}: {error}", path.display()));
            }
        }
        None
    }
}

fn with_sinks(act: impl FnOnce(&mut Sinks)) {
    // A panic in the middle of a line leaves nothing that matters to the next.
    act(&mut SINKS.lock().unwrap_or_else(PoisonError::into_inner));
}

fn warn(problems: &[String]) {
    for problem in problems {
        log::warn!("{problem}");
    }
}

fn level(verbose: u32) -> LevelFilter {
    match verbose {
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}

static LOGGER: Logger = Logger;
static SINKS: Mutex<Sinks> = Mutex::new(Sinks {
    stderr: None,
    path: None,
    file: None,
    syslog: None,
    verbose: 0,
});

/// Slot of this worker; 0 in the supervisor, [`line::HTTP`] in the HTTP process.
static WORKER: AtomicU8 = AtomicU8::new(0);
