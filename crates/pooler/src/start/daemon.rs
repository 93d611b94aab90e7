//! Running in the background.
//!
//! The process that was started waits until the one in the background says
//! that it serves, or why it cannot, and passes that on.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::ExitCode;

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, pipe, setsid};
use pgskein_config::Settings;

use super::error::StartError;
use crate::logging;
use crate::sys::process::split;

/// Which of the processes of a start in the background this one is.
pub(crate) enum Started {
    /// The one that was started; it ends with this.
    InForeground(ExitCode),
    /// The one that goes on.
    InBackground(Daemon),
}

/// The connection to the process that waits for the outcome.
#[derive(Debug)]
pub(crate) struct Daemon {
    report: File,
}

impl Daemon {
    /// Goes on in the background, without a terminal.
    ///
    /// # Errors
    ///
    /// [`StartError`] when a setting is missing that this needs, or the kernel
    /// refuses it.
    pub(crate) fn start(settings: &Settings) -> Result<Started, StartError> {
        if settings.pidfile.is_empty() {
            return Err(StartError::DaemonWithoutPidfile);
        }
        if settings.logfile.is_empty() && !settings.syslog {
            return Err(StartError::DaemonWithoutLog);
        }
        let failed = StartError::system("go on in the background");
        let (outcome, report) = pipe().map_err(failed)?;
        let failed = StartError::system("go on in the background");
        if !split().map_err(failed)? {
            drop(report);
            return Ok(Started::InForeground(wait(&mut File::from(outcome))));
        }
        drop(outcome);
        let failed = StartError::system("leave the terminal");
        setsid().map_err(failed)?;
        // The leader of a session could get a terminal again; its child cannot.
        let failed = StartError::system("go on in the background");
        if !split().map_err(failed)? {
            return Ok(Started::InForeground(ExitCode::SUCCESS));
        }
        let report = File::from(report);
        Ok(Started::InBackground(Self { report }))
    }

    /// Leaves standard input, output and error.
    ///
    /// # Errors
    ///
    /// [`StartError::System`].
    pub(crate) fn leave_terminal(&self) -> Result<(), StartError> {
        logging::leave_stderr();
        let leave = || -> std::io::Result<()> {
            let null = OpenOptions::new()
                .read(true)
                .write(true)
                .open("/dev/null")?;
            dup2_stdin(&null)?;
            dup2_stdout(&null)?;
            dup2_stderr(&null)?;
            Ok(())
        };
        leave().map_err(StartError::system("leave the terminal"))
    }

    /// Says that the group serves.
    pub(crate) fn succeed(mut self) {
        let _nobody_waits = self.report.write_all(&[SUCCESS]);
    }

    /// Says why there will be no group.
    pub(crate) fn fail(mut self, why: &str) {
        let _nobody_waits = self.report.write_all(why.as_bytes());
    }
}

fn wait(outcome: &mut File) -> ExitCode {
    let mut said = Vec::new();
    let _end = outcome.read_to_end(&mut said);
    if said == [SUCCESS] {
        return ExitCode::SUCCESS;
    }
    let said = String::from_utf8_lossy(&said);
    let why = if said.is_empty() {
        "ended before it was ready"
    } else {
        &said
    };
    // Where standard error is gone there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "pgskein: {why}");
    ExitCode::FAILURE
}

const SUCCESS: u8 = 0;
