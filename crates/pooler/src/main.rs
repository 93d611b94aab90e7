//! The pgskein program.

mod args;
mod files;
mod http;
mod link;
mod logging;
mod pam_check;
mod runtime_dir;
mod scoreboard;
mod start;
mod supervisor;
mod sys;
mod tls;
mod waiting;
mod worker;

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use clap::Parser;
use pgskein_config::{Config, Finding, Sources, reference_markdown};

use self::args::Args;
use self::start::Foundation;
use self::start::adopt::{self, AdoptError, Adoption};
use self::start::daemon::{Daemon, Started};
use self::start::error::StartError;
use self::start::passed::Passed;
use self::supervisor::Supervisor;
use self::sys::descriptors;

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
    /// This program cannot go on where another one has stopped.
    Adopt(AdoptError),
}

fn run(args: &Args) -> Result<ExitCode, Failure> {
    if args.reference {
        print(&reference_markdown());
        return Ok(ExitCode::SUCCESS);
    }
    if args.pam_check {
        return Ok(pam_check::answer());
    }
    if args.reboot {
        return Err(Failure::Reboot);
    }
    if args.adopt_check {
        adopt::check().map_err(Failure::Adopt)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(state), Some(or_else)) = (args.adopt, args.or_else) {
        let because = args.because.clone();
        go_on(&Adoption {
            state,
            or_else,
            because,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.check {
        check(args)?;
        return Ok(ExitCode::SUCCESS);
    }
    let passed = take_passed()?;
    let (sources, config) = configuration(args)?;
    if !args.daemon {
        logging::start(!args.quiet, args.verbose);
        serve(sources, config, passed, None)?;
        return Ok(ExitCode::SUCCESS);
    }
    logging::start(false, args.verbose);
    match Daemon::start(&config.settings)? {
        Started::InForeground(code) => Ok(code),
        Started::InBackground(daemon) => {
            // What fails from here on is told by the process in the foreground.
            let served = serve(sources, config, passed, Some(daemon));
            Ok(served.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
        }
    }
}

/// Takes the sockets that the service manager has opened, and closes what else
/// the parent left open beside standard input, output and error: somebody may
/// wait for its end.
fn take_passed() -> Result<Passed, StartError> {
    let failed = StartError::system("take the sockets of the service manager");
    let passed = descriptors::take_passed().map_err(failed)?;
    let mut kept = vec![0, 1, 2];
    kept.extend(passed.iter().map(|passed| passed.fd.as_raw_fd()));
    descriptors::close_all_but(kept).map_err(StartError::system("close descriptors"))?;
    Passed::sort(passed)
}

fn configuration(args: &Args) -> Result<(Sources, Config), Failure> {
    let path = args.config.clone().unwrap_or_default();
    let (sources, mut config) = files::read(&path).map_err(Failure::Findings)?;
    overrule(&mut config, args);
    Ok((sources, config))
}

/// Prints what is worth a warning of a configuration.
///
/// # Errors
///
/// What is wrong with it, among the warnings.
fn check(args: &Args) -> Result<(), Failure> {
    let path = args.config.clone().unwrap_or_default();
    let (mut config, mut findings) = files::examine(&path);
    let mut warnings = std::mem::take(&mut config.warnings);
    if findings.is_empty() {
        overrule(&mut config, args);
        warnings.extend(start::unreadable_to_the_user(&path, &config.settings));
    }
    for warning in &mut warnings {
        warning.problem.insert_str(0, "warning: ");
    }
    if findings.is_empty() {
        for warning in &warnings {
            print(&format!("{warning}\n"));
        }
        return Ok(());
    }
    findings.extend(warnings);
    findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    Err(Failure::Findings(findings))
}

/// Takes the user that the command line names.
fn overrule(config: &mut Config, args: &Args) {
    if let Some(user) = &args.user {
        config.settings.user.clone_from(user);
    }
}

fn serve(
    sources: Sources,
    config: Config,
    passed: Passed,
    daemon: Option<Daemon>,
) -> Result<(), StartError> {
    let laid = Foundation::lay(sources, config, passed);
    match laid.and_then(|laid| raise(laid, daemon.as_ref())) {
        Ok(supervisor) => supervisor.run(daemon),
        Err(error) => {
            if let Some(daemon) = daemon {
                daemon.fail(&chain(&error));
            }
            Err(error)
        }
    }
}

/// Goes on where another program has stopped, in its process.
fn go_on(adoption: &Adoption) -> Result<(), Failure> {
    let back = adoption.because.is_some();
    let adopted = adoption.take().and_then(|(heritage, inherited)| {
        let (restart, former) = (heritage.restart(), heritage.former());
        let supervisor = Supervisor::inherit(heritage, inherited, back);
        let supervisor = supervisor.map_err(AdoptError::Start)?;
        Ok((supervisor, restart, former))
    });
    let (mut supervisor, restart, former) = match adopted {
        Ok(adopted) => adopted,
        Err(error) => {
            let neither = adoption.give_back(&error);
            log::error!("cannot go back to the last program: {neither}");
            return Err(Failure::Adopt(error));
        }
    };
    adoption.settle();
    match &adoption.because {
        None => supervisor.begin_with(restart, &former),
        Some(why) => supervisor.remain(&restart, why),
    }
    Ok(supervisor.run_on()?)
}

/// Makes a supervisor, which no longer has a terminal if it is a daemon.
fn raise(foundation: Foundation, daemon: Option<&Daemon>) -> Result<Supervisor, StartError> {
    if let Some(daemon) = daemon {
        daemon.leave_terminal()?;
    }
    Supervisor::new(foundation)
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
                // What follows the first empty line is how to use it.
                let text = error.to_string();
                let lines = text.lines().take_while(|line| !line.is_empty());
                let why = lines.map(str::trim).collect::<Vec<_>>().join(" ");
                let why = why.strip_prefix("error: ").unwrap_or(&why);
                format!("pgskein: {why}\n")
            }
            Self::Reboot => format!("pgskein: {NO_REBOOT}\n"),
            Self::Adopt(error) => format!("{}\n", chain(error)),
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

const NO_REBOOT: &str = "-R is not supported: the console's RESTART replaces a running group, \
     or with so_reuseport = 1 a new one can be started beside the old one, which leaves after \
     SIGTERM";
