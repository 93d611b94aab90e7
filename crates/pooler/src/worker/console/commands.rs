//! Commands: the table of what the console understands.
//!
//! A new command is a row of [`COMMANDS`] and an [`Action`]; `SHOW HELP` and
//! the check of rights follow from the row.

use std::fmt;
use std::time::Duration;

use pgskein_pool::console::Topic;
use pgskein_pool::control::Asked;
use pgskein_pool::drain_order::DrainKind;

use super::Rights;
use super::goaway_words::{self, Wish};
use super::move_words;
use super::order_words;
use super::statement::Statement;

/// One command.
#[derive(Debug)]
pub(super) struct Command {
    /// Its words, as `SHOW HELP` lists them.
    pub words: &'static str,
    /// Who may give it.
    needs: Rights,
    action: Action,
}

/// What is to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Action {
    /// Answer with a table of what the whole group knows.
    Show(Topic),
    /// Answer with what every worker knows by itself.
    ShowOwn(Own),
    /// Answer a driver that asks for a parameter of the session.
    ShowParameter(&'static Parameter),
    /// Say that a parameter of the session stays as it is.
    IgnoreSet,
    /// Say yes, with this tag, to what drivers send as a matter of course.
    Nod(&'static str),
    /// Have the group drain and end, with this timeout in the place of
    /// `drain_timeout`.
    Shutdown(DrainKind, Option<Duration>),
    /// Have clients asked to go.
    GoAway(Wish),
    /// Withdraw what is not done yet of such orders.
    GoAwayStop,
    /// Have the supervisor see to it that every worker does it.
    Ask(Asked),
}

/// What every worker knows by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Own {
    /// The commands.
    Help,
    /// The settings.
    Config,
    /// The version of the program.
    Version,
    /// The workers of the group.
    Workers,
    /// The number that those ask for who want to know whether somebody is here.
    One,
}

/// A parameter of the session that drivers ask for or set unasked.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its value, which never changes.
    pub value: &'static str,
}

/// Why a command is not obeyed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// There is no such command; what was typed, or the beginning of it.
    Unknown(String),
    /// It is not for users that may only look.
    AdminNeeded,
    /// A database has to be named.
    NoDatabase,
    /// A client has to be named by its number.
    NoClient,
    /// A user has to be named.
    NoUser,
    /// A worker has to be named by its number.
    NoWorker,
    /// It waits for the answer, and so cannot move.
    OwnConsole,
    /// This is no rate.
    Rate(String),
    /// This is no time.
    Timeout(String),
}

/// Every command, in the order of `SHOW HELP`.
pub(super) static COMMANDS: &[Command] = &[
    own("SHOW HELP", Own::Help),
    own("SHOW CONFIG", Own::Config),
    show("SHOW DATABASES", Topic::Databases),
    show("SHOW USERS", Topic::Users),
    show("SHOW POOLS", Topic::Pools),
    show("SHOW CLIENTS", Topic::Clients),
    show("SHOW SERVERS", Topic::Servers),
    show("SHOW SOCKETS", Topic::Sockets),
    show("SHOW ACTIVE_SOCKETS", Topic::ActiveSockets),
    order("SHOW FDS", Action::Show(Topic::Fds)),
    show("SHOW PEERS", Topic::Peers),
    show("SHOW PEER_POOLS", Topic::PeerPools),
    show("SHOW STATS", Topic::Stats),
    show("SHOW STATS_TOTALS", Topic::StatsTotals),
    show("SHOW STATS_AVERAGES", Topic::StatsAverages),
    show("SHOW TOTALS", Topic::Totals),
    show("SHOW LATENCY", Topic::Latency),
    show("SHOW LISTS", Topic::Lists),
    show("SHOW STATE", Topic::State),
    show("SHOW LEASES", Topic::Leases),
    show("SHOW DRAIN", Topic::Drain),
    show("SHOW MEM", Topic::Mem),
    show("SHOW DNS_HOSTS", Topic::DnsHosts),
    show("SHOW DNS_ZONES", Topic::DnsZones),
    own("SHOW VERSION", Own::Version),
    own("SHOW WORKERS", Own::Workers),
    order("RELOAD", Action::Ask(Asked::Reload)),
    order("RESTART", Action::Ask(Asked::Restart)),
    order("SHUTDOWN", Action::Shutdown(DrainKind::Immediate, None)),
    order(
        "SHUTDOWN WAIT_FOR_CLIENTS",
        Action::Shutdown(DrainKind::WaitForClients, None),
    ),
    order(
        "SHUTDOWN WAIT_FOR_SERVERS",
        Action::Shutdown(DrainKind::WaitForServers, None),
    ),
];

/// Finds out what a console with these rights asks for; `None` when it has
/// typed nothing.
///
/// # Errors
///
/// [`Refusal`]; the console goes on.
pub(super) fn find(text: &str, rights: Rights) -> Result<Option<Action>, Refusal> {
    let (needs, action) = match Statement::parse(text) {
        Some(Statement::Empty) => return Ok(None),
        Some(Statement::Command(words)) => {
            find_command(&words).ok_or_else(|| Refusal::unknown(text))?
        }
        Some(Statement::Set { name, .. }) if Parameter::find(&name).is_some() => {
            (Rights::Stats, Ok(Action::IgnoreSet))
        }
        Some(Statement::Set { name, value }) => {
            (Rights::Admin, Ok(Action::Ask(Asked::Set { name, value })))
        }
        None => return Err(Refusal::unknown(text)),
    };
    if (rights, needs) == (Rights::Stats, Rights::Admin) {
        return Err(Refusal::AdminNeeded);
    }
    action.map(Some)
}

fn find_command(words: &[String]) -> Option<(Rights, Result<Action, Refusal>)> {
    if let [show, name] = words
        && show.eq_ignore_ascii_case("show")
        && let Some(parameter) = Parameter::find(name)
    {
        return Some((Rights::Stats, Ok(Action::ShowParameter(parameter))));
    }
    if let Some(goaway) = goaway_words::find(words) {
        return Some((Rights::Admin, goaway));
    }
    if let [words @ .., timeout, seconds] = words
        && timeout.eq_ignore_ascii_case("timeout")
        && are(words, "SHUTDOWN WAIT_FOR_CLIENTS")
    {
        let timeout = goaway_words::seconds(seconds);
        let shutdown = |timeout| Action::Shutdown(DrainKind::WaitForClients, Some(timeout));
        return Some((Rights::Admin, timeout.map(shutdown)));
    }
    if let Some(asked) = move_words::find(words) {
        return Some((Rights::Admin, asked.map(Action::Ask)));
    }
    if let Some(order) = order_words::find(words) {
        let asked = order.map(|order| Action::Ask(Asked::Order(order)));
        return Some((Rights::Admin, asked));
    }
    if let Some((_, action)) = CHATTER.iter().find(|(chatter, _)| are(words, chatter)) {
        return Some((Rights::Stats, Ok(action.clone())));
    }
    let mut words = words.to_vec();
    if let [first, _] = words.as_mut_slice()
        && first.eq_ignore_ascii_case("select")
    {
        // PgBouncer takes either.
        "show".clone_into(first);
    }
    let command = COMMANDS.iter().find(|command| are(&words, command.words))?;
    Some((command.needs, Ok(command.action.clone())))
}

impl Parameter {
    fn find(name: &str) -> Option<&'static Self> {
        PARAMETERS
            .iter()
            .find(|parameter| parameter.name.eq_ignore_ascii_case(name))
    }
}

impl Refusal {
    fn unknown(text: &str) -> Self {
        Self::Unknown(text.chars().take(ECHO_MAX).collect())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(text) => write!(f, "invalid command '{text}', use SHOW HELP;"),
            Self::AdminNeeded => f.write_str("admin access needed"),
            Self::NoDatabase => f.write_str("a database is required"),
            Self::NoClient => f.write_str("invalid client pointer supplied"),
            Self::NoUser => f.write_str("a user is required"),
            Self::NoWorker => f.write_str("a worker is required, by its number"),
            Self::OwnConsole => f.write_str("a console cannot move itself"),
            Self::Rate(text) => write!(f, "invalid rate '{text}', expected clients a second"),
            Self::Timeout(text) => write!(f, "invalid timeout '{text}', expected seconds"),
        }
    }
}

/// Whether these are the words of a command.
fn are(words: &[String], command: &str) -> bool {
    let alike = |(ours, theirs): (&str, &String)| ours.eq_ignore_ascii_case(theirs);
    command.split(' ').count() == words.len() && command.split(' ').zip(words).all(alike)
}

const fn show(words: &'static str, topic: Topic) -> Command {
    Command {
        words,
        needs: Rights::Stats,
        action: Action::Show(topic),
    }
}

const fn own(words: &'static str, topic: Own) -> Command {
    Command {
        words,
        needs: Rights::Stats,
        action: Action::ShowOwn(topic),
    }
}

const fn order(words: &'static str, action: Action) -> Command {
    Command {
        words,
        needs: Rights::Admin,
        action,
    }
}

/// What drivers and pools of applications send as a matter of course. Nothing
/// has to be done for it: the console has no transactions and no state.
static CHATTER: &[(&str, Action)] = &[
    ("SELECT 1", Action::ShowOwn(Own::One)),
    ("BEGIN", Action::Nod("BEGIN")),
    ("BEGIN WORK", Action::Nod("BEGIN")),
    ("BEGIN TRANSACTION", Action::Nod("BEGIN")),
    ("START TRANSACTION", Action::Nod("START TRANSACTION")),
    ("COMMIT", Action::Nod("COMMIT")),
    ("COMMIT TRANSACTION", Action::Nod("COMMIT")),
    ("END", Action::Nod("COMMIT")),
    ("ROLLBACK", Action::Nod("ROLLBACK")),
    ("ROLLBACK TRANSACTION", Action::Nod("ROLLBACK")),
    ("ABORT", Action::Nod("ROLLBACK")),
    ("RESET ALL", Action::Nod("RESET")),
    ("DISCARD ALL", Action::Nod("DISCARD ALL")),
    ("DEALLOCATE ALL", Action::Nod("DEALLOCATE ALL")),
    (
        "SHOW TRANSACTION ISOLATION LEVEL",
        Action::ShowParameter(&ISOLATION),
    ),
];

static ISOLATION: Parameter = Parameter {
    name: "transaction_isolation",
    value: "read committed",
};

/// What PgBouncer answers drivers, and what some others ask or set.
static PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "application_name",
        value: "",
    },
    Parameter {
        name: "extra_float_digits",
        value: "1",
    },
    Parameter {
        name: "client_encoding",
        value: "UTF-8",
    },
    Parameter {
        name: "default_transaction_isolation",
        value: "read committed",
    },
    Parameter {
        name: "standard_conforming_strings",
        value: "on",
    },
    Parameter {
        name: "datestyle",
        value: "ISO",
    },
    Parameter {
        name: "timezone",
        value: "GMT",
    },
];

/// How much of an unknown command the error repeats, in characters.
const ECHO_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use pgskein_pool::runtime::Order;

    use super::*;

    fn admin(text: &str) -> Result<Option<Action>, Refusal> {
        find(text, Rights::Admin)
    }

    #[test]
    fn finds_every_command_of_the_table_in_any_case() {
        for command in COMMANDS {
            let lower = format!("{} ;", command.words.to_lowercase());
            assert_eq!(admin(&lower), Ok(Some(command.action.clone())), "{lower}");
        }
    }

    #[test]
    fn lets_stats_users_only_look() {
        for command in COMMANDS {
            let secret = command.words == "SHOW FDS";
            let expected = if command.words.starts_with("SHOW ") && !secret {
                Ok(Some(command.action.clone()))
            } else {
                Err(Refusal::AdminNeeded)
            };
            assert_eq!(find(command.words, Rights::Stats), expected);
        }
    }

    #[test]
    fn answers_what_drivers_ask_and_set_unasked() {
        for rights in [Rights::Admin, Rights::Stats] {
            let Ok(Some(Action::ShowParameter(parameter))) = find("SHOW DateStyle", rights) else {
                panic!("no parameter");
            };
            assert_eq!(parameter.value, "ISO");
            let set = find("set TimeZone to 'UTC'", rights);
            assert_eq!(set, Ok(Some(Action::IgnoreSet)));
        }
    }

    #[test]
    fn nods_at_what_drivers_send_as_a_matter_of_course() {
        for (words, action) in CHATTER {
            assert_eq!(find(words, Rights::Stats), Ok(Some(action.clone())));
        }
        assert_eq!(admin("-- ping"), Ok(None));
        let commented = admin("/* app */ select pools -- now");
        assert_eq!(commented, Ok(Some(Action::Show(Topic::Pools))));
    }

    #[test]
    fn lets_admins_set_and_order() {
        let set = Action::Ask(Asked::Set {
            name: "x".to_owned(),
            value: "a b".to_owned(),
        });
        assert_eq!(admin("set x = 'a b'"), Ok(Some(set)));
        let order = Action::Ask(Asked::Order(Order::Suspend));
        assert_eq!(admin("suspend;"), Ok(Some(order)));
        let stats = find("disable", Rights::Stats);
        assert_eq!(stats, Err(Refusal::AdminNeeded));
        let stats = find("set x = 1", Rights::Stats);
        assert_eq!(stats, Err(Refusal::AdminNeeded));
    }

    #[test]
    fn takes_a_timeout_behind_shutdown_wait_for_clients() {
        let timeout = Duration::from_millis(1500);
        let shutdown = Action::Shutdown(DrainKind::WaitForClients, Some(timeout));
        let found = admin("shutdown wait_for_clients timeout 1.5;");
        assert_eq!(found, Ok(Some(shutdown)));
        let wrong = admin("shutdown wait_for_clients timeout soon");
        assert_eq!(wrong, Err(Refusal::Timeout("soon".to_owned())));
        let stats = find("goaway all", Rights::Stats);
        assert_eq!(stats, Err(Refusal::AdminNeeded));
    }

    #[test]
    fn rejects_unknown_commands_and_repeats_their_beginning() {
        for text in ["SHOW", "SHOW FOO", "RELOAD now", "SHUTDOWN x", "select 1+1"] {
            let expected = format!("invalid command '{text}', use SHOW HELP;");
            assert_eq!(admin(text).unwrap_err().to_string(), expected);
        }
        let Err(Refusal::Unknown(text)) = admin(&"ü".repeat(30_000)) else {
            panic!("not unknown");
        };
        assert_eq!(text.chars().count(), 100);
    }

    #[test]
    fn finds_nothing_in_an_empty_query() {
        assert_eq!(admin(" ; "), Ok(None));
    }
}
