//! Commands: the table of what the console understands.
//!
//! A new command is a row of [`COMMANDS`] and an [`Action`]; `SHOW HELP` and
//! the check of rights follow from the row.

use std::fmt;

use pgskein_pool::console::Topic;
use pgskein_pool::drain_order::DrainKind;
use pgskein_pool::runtime::Order;

use super::Rights;
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
    /// Have the supervisor read the configuration again.
    Reload,
    /// Have the group drain.
    Shutdown(DrainKind),
    /// Have every worker do something.
    Order(Order),
    /// Give a setting another value.
    Set {
        /// The setting.
        name: String,
        /// The value.
        value: String,
    },
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
}

/// Every command, in the order of `SHOW HELP`.
pub(super) static COMMANDS: &[Command] = &[
    own("SHOW HELP", Own::Help),
    own("SHOW CONFIG", Own::Config),
    show("SHOW LISTS", Topic::Lists),
    show("SHOW POOLS", Topic::Pools),
    show("SHOW CLIENTS", Topic::Clients),
    show("SHOW SERVERS", Topic::Servers),
    show("SHOW STATS", Topic::Stats),
    show("SHOW STATS_TOTALS", Topic::StatsTotals),
    show("SHOW STATS_AVERAGES", Topic::StatsAverages),
    show("SHOW TOTALS", Topic::Totals),
    show("SHOW LATENCY", Topic::Latency),
    own("SHOW VERSION", Own::Version),
    own("SHOW WORKERS", Own::Workers),
    order("RELOAD", Action::Reload),
    order("SHUTDOWN", Action::Shutdown(DrainKind::Immediate)),
    order(
        "SHUTDOWN WAIT_FOR_CLIENTS",
        Action::Shutdown(DrainKind::WaitForClients),
    ),
    order(
        "SHUTDOWN WAIT_FOR_SERVERS",
        Action::Shutdown(DrainKind::WaitForServers),
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
        Some(Statement::Set { name, value }) => (Rights::Admin, Ok(Action::Set { name, value })),
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
    if let Some(order) = order_words::find(words) {
        return Some((Rights::Admin, order.map(Action::Order)));
    }
    let command = COMMANDS.iter().find(|command| command.is(words))?;
    Some((command.needs, Ok(command.action.clone())))
}

impl Command {
    fn is(&self, words: &[String]) -> bool {
        self.words.split(' ').count() == words.len()
            && self
                .words
                .split(' ')
                .zip(words)
                .all(|(ours, theirs)| ours.eq_ignore_ascii_case(theirs))
    }
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
        }
    }
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

/// What PgBouncer answers drivers.
static PARAMETERS: &[Parameter] = &[
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
            let expected = if command.words.starts_with("SHOW ") {
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
    fn lets_admins_set_and_order() {
        let set = Action::Set {
            name: "x".to_owned(),
            value: "a b".to_owned(),
        };
        assert_eq!(admin("set x = 'a b'"), Ok(Some(set)));
        let order = Action::Order(Order::Suspend);
        assert_eq!(admin("suspend;"), Ok(Some(order)));
        let stats = find("disable", Rights::Stats);
        assert_eq!(stats, Err(Refusal::AdminNeeded));
        let stats = find("set x = 1", Rights::Stats);
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
