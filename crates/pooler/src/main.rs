//! The pgskein program.

mod args;
mod files;
mod link;
mod logging;
mod runtime_dir;
mod scoreboard;
mod start;
mod supervisor;
mod sys;
mod worker;

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use pgskein_config::{Config, Finding, Sources, reference_markdown};

use self::args::Args;
use self::start::Foundation;
use self::start::daemon::{Daemon, Started};
use self::start::error::StartError;
use self::supervisor::Supervisor;

fn main() -> ExitCode {
    match Args::try_parse() {
        Ok(args) => run(&args).unwrap_or_else(|failure| {
            failure.print();
            ExitCode::FAILURE
        }),
        Err(answer) if !answer.use_stderr() => {
            let _nobody_reads = answer.print();
            ExitCode::SUCCESS
        }
        Err(error) => {
            Failure::Usage(error).print();
            ExitCode::FAILURE
        }
    }
}

/// Why pgskein ends without having served.
#[derive(Debug)]
enum Failure {
    /// The command line makes no sense.
    Usage(clap::Error),
    /// `-R` was given.
    Reboot,
    /// The configuration is wrong.
    Findings(Vec<Finding>),
    /// Something could not be done.
    Start(StartError),
}

fn run(args: &Args) -> Result<ExitCode, Failure> {
    if args.reference {
        print(&reference_markdown());
        return Ok(ExitCode::SUCCESS);
    }
    if args.reboot {
        return Err(Failure::Reboot);
    }
    let (sources, config) = configuration(args)?;
    if args.check {
        for warning in &config.warnings {
            print(&format!("{warning}\n"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !args.daemon {
        logging::start(!args.quiet, args.verbose);
        serve(sources, config, None)?;
        return Ok(ExitCode::SUCCESS);
    }
    logging::start(false, args.verbose);
    match Daemon::start(&config.settings)? {
        Started::InForeground(code) => Ok(code),
        Started::InBackground(daemon) => {
            // What fails from here on is told by the process in the foreground.
            let served = serve(sources, config, Some(daemon));
            Ok(served.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
        }
    }
}

fn configuration(args: &Args) -> Result<(Sources, Config), Failure> {
    let path = args.config.clone().unwrap_or_default();
    let (sources, mut config) = files::read(&path).map_err(Failure::Findings)?;
    if let Some(user) = &args.user {
        config.settings.user.clone_from(user);
    }
    Ok((sources, config))
}

fn serve(sources: Sources, config: Config, daemon: Option<Daemon>) -> Result<(), StartError> {
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    let ready = |daemon: &Option<Daemon>| match daemon {
        Some(daemon) => daemon.leave_terminal(),
        None => Ok(()),
    };
    let started = Foundation::lay(sources, config)
        .and_then(|foundation| ready(&daemon).map(|()| foundation))
        .and_then(Supervisor::new);
    let served = match started {
        Ok(supervisor) => return supervisor.run(daemon),
        Err(error) => Err(error),
    };
    if let (Some(daemon), Err(error)) = (daemon, &served) {
        daemon.fail(&chain(error));
    }
    served
}

impl Failure {
    /// Prints the failure to standard error, on one line or one for each
    /// finding.
    fn print(&self) {
        let text = match self {
            Self::Findings(findings) => {
                let lines = findings.iter().map(|finding| format!("{finding}\n"));
                lines.collect()
            }
            Self::Usage(error) => {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                let first = first.strip_prefix("error: ").unwrap_or(first);
                format!("pgskein: {first}\n")
            }
            Self::Reboot => format!("pgskein: {NO_REBOOT}\n"),
            Self::Start(error) => {
                let why = chain(error);
                log::error!(target: logging::NOT_STDERR, "{why}");
                format!("pgskein: {why}\n")
            }
        };
        // Where standard error is gone there is nobody to tell.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

/// An error with all its causes, on one line.
struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

fn chain(error: &dyn Error) -> String {
    Chain(error).to_string()
}

fn print(text: &str) {
    // Whoever closed our output does not want the rest.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

const NO_REBOOT: &str = "-R is not supported: with so_reuseport = 1 a new group can be started \
     beside the old one, which leaves after SIGTERM";
