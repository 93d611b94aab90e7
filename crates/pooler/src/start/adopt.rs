//! Adopt: this program takes the place of another one, in the same process.
//!
//! What that has left is understood first, as it was when it was only checked;
//! then its descriptors are claimed. If this program finds, before it serves, that
//! any of it fails, it executes the other program again, with the same state. If it
//! panics or is killed here, the workers have no supervisor any more.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use pgskein_config::{Config, Finding, Settings, Sources};
use pgskein_pool::legacy::{Books, Legacy, LegacyError, Restart};

use super::error::StartError;
use crate::scoreboard::Scoreboard;
use crate::supervisor::Asker;
use crate::sys::exec::{self, Inherited};
use crate::sys::{capabilities, descriptors};
use crate::{chain, files, logging};

/// What another program has left, understood.
#[derive(Debug)]
pub(crate) struct Heritage {
    pub legacy: Legacy,
    pub sources: Sources,
    pub config: Config,
    pub books: Books<Asker>,
    /// When it was understood.
    pub now: Instant,
}

/// The program that was there before this one.
#[derive(Debug)]
pub(crate) struct Former {
    pub version: String,
    /// The configuration that was in effect, if this program understands it.
    pub config: Option<Config>,
}

/// What this program was executed with.
#[derive(Debug)]
pub(crate) struct Adoption {
    /// The file in memory with the state.
    pub state: RawFd,
    /// The program that has left it.
    pub or_else: RawFd,
    /// Why the next one could not go on; then this one is the former one again.
    pub because: Option<String>,
}

/// Why this program cannot go on where another one has stopped.
#[derive(Debug)]
pub(crate) enum AdoptError {
    /// The state could not be read.
    Read(io::Error),
    /// The state is not understood.
    Legacy(LegacyError),
    /// The files of the configuration are not understood.
    Sources,
    /// What stands in them is wrong.
    Findings(Vec<Finding>),
    /// A setting has a value that it cannot have here.
    Fixed,
    /// The scoreboard is of another version.
    Scoreboard(u64),
    /// A descriptor was not inherited.
    Descriptors(io::Error),
    /// Something could not be done.
    Start(StartError),
}

/// Finds out whether this program could go on with the state on standard input.
///
/// # Errors
///
/// [`AdoptError`] when it could not.
pub(crate) fn check() -> Result<(), AdoptError> {
    let mut bytes = Vec::new();
    io::stdin()
        .read_to_end(&mut bytes)
        .map_err(AdoptError::Read)?;
    Heritage::understand(&bytes, false).map(drop)
}

impl Heritage {
    /// Understands what another program has left; `back` when that could not go
    /// on itself, so that everything is as it was.
    fn understand(bytes: &[u8], back: bool) -> Result<Self, AdoptError> {
        let now = Instant::now();
        let legacy = Legacy::decode(bytes).map_err(AdoptError::Legacy)?;
        let version = legacy.common.scoreboard_version;
        if version != Scoreboard::VERSION {
            return Err(AdoptError::Scoreboard(version));
        }
        let files = if back {
            &legacy.config.former
        } else {
            &legacy.config.sources
        };
        let sources = Sources::decode(files).ok_or(AdoptError::Sources)?;
        let mut config = sources.config().map_err(AdoptError::Findings)?;
        // What was used already can be used again. Of anything else the other program
        // has only found out that it could use it.
        if !back {
            files::usable(&mut config).map_err(AdoptError::Findings)?;
        }
        let running = Settings::default()
            .with_fixed(&legacy.config.fixed)
            .ok_or(AdoptError::Fixed)?;
        // The other program has said so.
        let _kept = if back {
            config.keep_restart_settings(&running)
        } else {
            config.keep_start_settings(&running)
        };
        let workers = legacy.workers.iter();
        let reporting = workers.filter(|worker| worker.link.is_some());
        let reporting = reporting.map(|worker| worker.id);
        let books = Books::decode(&legacy.books, reporting, now, Asker::of_id);
        Ok(Self {
            books: books.map_err(AdoptError::Legacy)?,
            legacy,
            sources,
            config,
            now,
        })
    }
}

impl Heritage {
    /// The restart that this is part of.
    pub(crate) fn restart(&self) -> Restart {
        self.legacy.restart.clone()
    }

    /// The program that has left this.
    pub(crate) fn former(&self) -> Former {
        let sources = Sources::decode(&self.legacy.config.former);
        Former {
            version: self.legacy.program.version.clone(),
            config: sources.and_then(|sources| sources.config().ok()),
        }
    }
}

impl Adoption {
    /// Takes over what the other program has left.
    ///
    /// Only this and the three standard descriptors stay open.
    ///
    /// # Errors
    ///
    /// [`AdoptError`]; nothing was closed that is named in the state.
    pub(crate) fn take(&self) -> Result<(Heritage, Inherited), AdoptError> {
        let heritage = Heritage::understand(&self.read()?, self.because.is_some())?;
        let program = &heritage.legacy.program;
        logging::start(program.stderr, program.verbose);
        logging::apply(&heritage.config.settings);
        let named = heritage.legacy.descriptors();
        let mut open = logging::descriptors();
        open.extend([0, 1, 2, self.state, self.or_else]);
        open.extend(&named);
        descriptors::close_all_but(open).map_err(AdoptError::Descriptors)?;
        let inherited = Inherited::claim(named).map_err(AdoptError::Descriptors)?;
        let kept = capabilities::were_passed_on().and_then(|kept| {
            if kept {
                capabilities::keep(true)?;
            }
            Ok(())
        });
        kept.map_err(StartError::system("keep capabilities"))
            .map_err(AdoptError::Start)?;
        Ok((heritage, inherited))
    }

    /// Executes the program that has left the state, since this one cannot go
    /// on; returns only if that cannot be done either.
    pub(crate) fn give_back(&self, why: &AdoptError) -> io::Error {
        let why = chain(why);
        if self.because.is_some() {
            return io::Error::other(why);
        }
        let named = self.read().ok().map(|bytes| Legacy::decode(&bytes));
        let named = named.and_then(Result::ok);
        let named = named.map(|legacy| legacy.descriptors()).unwrap_or_default();
        for number in named.into_iter().chain([self.state, self.or_else]) {
            if let Err(error) = exec::set_close_on_exec(number, false) {
                return error;
            }
        }
        if let Err(error) = capabilities::pass_on() {
            return error.into();
        }
        let program = PathBuf::from(format!("/proc/self/fd/{}", self.or_else));
        let (state, or_else) = (self.state.to_string(), self.or_else.to_string());
        let arguments = [
            "pgskein",
            "--adopt",
            &state,
            "--or-else",
            &or_else,
            "--because",
            &why,
        ];
        exec::execute(&program, arguments.map(OsStr::new))
    }

    /// Closes what was needed to go back.
    pub(crate) fn settle(&self) {
        match Inherited::claim([self.state, self.or_else]) {
            Ok(mut claimed) => {
                let closed: Vec<Option<OwnedFd>> = [self.state, self.or_else]
                    .map(|number| claimed.take(number))
                    .into();
                drop(closed);
            }
            Err(error) => log::warn!("cannot close the state of the last program: {error}"),
        }
    }

    fn read(&self) -> Result<Vec<u8>, AdoptError> {
        let path = format!("/proc/self/fd/{}", self.state);
        let mut bytes = Vec::new();
        File::open(Path::new(&path))
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(AdoptError::Read)?;
        Ok(bytes)
    }
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(_) => f.write_str("cannot read the state"),
            Self::Legacy(_) => f.write_str("cannot understand the state"),
            Self::Sources => f.write_str("cannot understand the files of the configuration"),
            Self::Findings(findings) => {
                let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("; "))
            }
            Self::Fixed => f.write_str("a setting has a value that this program does not know"),
            Self::Scoreboard(version) => {
                write!(f, "the scoreboard is of unknown version {:#x}", version)
            }
            Self::Descriptors(_) => f.write_str("a descriptor is missing"),
            Self::Start(_) => f.write_str("cannot go on"),
        }
    }
}

impl Error for AdoptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read(error) | Self::Descriptors(error) => Some(error),
            Self::Legacy(error) => Some(error),
            Self::Start(error) => Some(error),
            Self::Sources | Self::Findings(_) | Self::Fixed | Self::Scoreboard(_) => None,
        }
    }
}
