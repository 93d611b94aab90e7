//! The command line, with PgBouncer's flags.

use std::path::PathBuf;

use clap::{ArgAction, Parser};

/// A PostgreSQL connection pooler that uses every core and behaves as one.
#[derive(Debug, Eq, Parser, PartialEq)]
#[command(name = "pgskein", version)]
pub(crate) struct Args {
    /// Configuration file.
    #[arg(value_name = "CONFIG.ini", required_unless_present_any = ["reference", "adopt", "adopt_check", "pam_check"])]
    pub config: Option<PathBuf>,

    /// Run in the background; needs pidfile, and logfile or syslog.
    #[arg(short, long)]
    pub daemon: bool,

    /// Do not log to standard error.
    #[arg(short, long)]
    pub quiet: bool,

    /// Log more; may be repeated.
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,

    /// User to run as when started as root; overrides the setting.
    #[arg(short, long)]
    pub user: Option<String>,

    /// Check the configuration with every file that it names, then exit.
    #[arg(long)]
    pub check: bool,

    /// Print the reference of all settings, then exit.
    #[arg(long)]
    pub reference: bool,

    /// Check whether the state on standard input is understood, then exit.
    #[arg(long, hide = true)]
    pub adopt_check: bool,

    /// Go on with the state behind this descriptor, in the same process.
    #[arg(long, hide = true, value_name = "DESCRIPTOR", requires = "or_else")]
    pub adopt: Option<i32>,

    /// The program behind this descriptor goes on if this one cannot.
    #[arg(long, hide = true, value_name = "DESCRIPTOR")]
    pub or_else: Option<i32>,

    /// Why another program could not go on, so that this one does.
    #[arg(long, hide = true, value_name = "REASON", allow_hyphen_values = true)]
    pub because: Option<String>,

    /// Ask PAM the question on standard input, then exit.
    #[arg(long, hide = true)]
    pub pam_check: bool,

    /// Take over from a running process; not supported.
    #[arg(short = 'R', long, hide = true)]
    pub reboot: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split(' '))
    }

    #[test]
    fn accepts_short_flags_together() {
        let args = parse("pgskein -dqvv -u postgres a.ini").unwrap();
        assert!(args.daemon && args.quiet);
        assert_eq!(args.verbose, 2);
        assert_eq!(args.user.as_deref(), Some("postgres"));
        assert_eq!(args.config, Some(PathBuf::from("a.ini")));
    }

    #[test]
    fn accepts_long_flags() {
        let args = parse("pgskein --daemon --quiet --verbose --user=x a.ini").unwrap();
        assert!(args.daemon && args.quiet);
        assert_eq!((args.verbose, args.user.as_deref()), (1, Some("x")));
    }

    #[test]
    fn rejects_a_missing_file_unless_the_reference_is_asked_for() {
        assert!(parse("pgskein").is_err());
        assert!(parse("pgskein --check").is_err());
        assert!(parse("pgskein --reference").unwrap().reference);
    }

    #[test]
    fn prints_name_and_version() {
        let error = parse("pgskein -V").unwrap_err();
        assert_eq!(error.to_string(), "pgskein 0.1.0\n");
    }
}
