//! The words of the orders by which clients are asked to go.

use std::time::Duration;

use pgskein_pool::drain_order::DrainScope;
use pgskein_protocol::key::Slot;

use super::commands::{Action, Refusal};

/// Whom clients are asked to go, and how; what is not said follows the settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Wish {
    /// Whom it is about.
    pub scope: DrainScope,
    /// Clients that each worker asks in a second.
    pub rate: Option<u32>,
    /// When those are closed who are left.
    pub timeout: Option<Duration>,
}

/// The forms, as `SHOW HELP` lists them.
pub(super) static WORDS: &[&str] = &[
    "GOAWAY ALL [RATE <n>] [TIMEOUT <seconds>]",
    "GOAWAY CLIENT <client_id> [TIMEOUT <seconds>]",
    "GOAWAY DATABASE <db> [RATE <n>] [TIMEOUT <seconds>]",
    "GOAWAY USER <user> [RATE <n>] [TIMEOUT <seconds>]",
    "GOAWAY WORKER <worker> [RATE <n>] [TIMEOUT <seconds>]",
    "GOAWAY STOP",
];

/// What these words order; `None` when they are no such order.
///
/// # Errors
///
/// [`Refusal`] when an argument is missing, or not of its kind.
pub(super) fn find(words: &[String]) -> Option<Result<Action, Refusal>> {
    let (verb, words) = words.split_first()?;
    if !verb.eq_ignore_ascii_case("goaway") {
        return None;
    }
    if let [stop] = words
        && stop.eq_ignore_ascii_case("stop")
    {
        return Some(Ok(Action::GoAwayStop));
    }
    let (kind, words) = words.split_first()?;
    let (scope, options) = if kind.eq_ignore_ascii_case("all") {
        (DrainScope::All, words)
    } else {
        let argument = words.split_first();
        match scope(kind, argument.map(|(argument, _)| argument.as_str()))? {
            Ok(scope) => (scope, argument.map_or(words, |(_, options)| options)),
            Err(refusal) => return Some(Err(refusal)),
        }
    };
    let mut wish = Wish {
        scope,
        rate: None,
        timeout: None,
    };
    let (options, rest) = options.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    for [name, value] in options {
        let taken = if name.eq_ignore_ascii_case("rate") && wish.rate.is_none() {
            rate(value).map(|rate| wish.rate = Some(rate))
        } else if name.eq_ignore_ascii_case("timeout") && wish.timeout.is_none() {
            seconds(value).map(|timeout| wish.timeout = Some(timeout))
        } else {
            return None;
        };
        if let Err(refusal) = taken {
            return Some(Err(refusal));
        }
    }
    Some(Ok(Action::GoAway(wish)))
}

/// A time in seconds, which may have decimals.
///
/// # Errors
///
/// [`Refusal::Timeout`] when it is not one.
pub(super) fn seconds(text: &str) -> Result<Duration, Refusal> {
    let digits = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let seconds = text.parse().ok().filter(|_| digits);
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| *time <= LONGEST)
        .ok_or_else(|| Refusal::Timeout(text.to_owned()))
}

fn rate(text: &str) -> Result<u32, Refusal> {
    text.parse().map_err(|_| Refusal::Rate(text.to_owned()))
}

/// Whom a client, a database, a user or a worker is; `None` for other words.
fn scope(kind: &str, argument: Option<&str>) -> Option<Result<DrainScope, Refusal>> {
    let number = argument.unwrap_or_default();
    let named = |missing, scope: fn(String) -> DrainScope| {
        argument.map(|name| scope(name.to_owned())).ok_or(missing)
    };
    Some(match kind.to_ascii_lowercase().as_str() {
        "client" => match number.parse() {
            Ok(number) => Ok(DrainScope::Client(number)),
            Err(_) => Err(Refusal::NoClient),
        },
        "database" => named(Refusal::NoDatabase, DrainScope::Database),
        "user" => named(Refusal::NoUser, DrainScope::User),
        "worker" => match number.parse().ok().and_then(Slot::new) {
            Some(slot) => Ok(DrainScope::Worker(slot)),
            None => Err(Refusal::NoWorker),
        },
        _ => return None,
    })
}

/// A hundred years: more is a slip of the finger.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> Option<Result<Action, Refusal>> {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        find(&words)
    }

    fn wish(scope: DrainScope, rate: Option<u32>, millis: Option<u64>) -> Action {
        let timeout = millis.map(Duration::from_millis);
        Action::GoAway(Wish {
            scope,
            rate,
            timeout,
        })
    }

    #[test]
    fn finds_every_scope_with_rate_and_timeout() {
        let shop = || DrainScope::Database("Shop".to_owned());
        let worker = DrainScope::Worker(Slot::new(2).unwrap());
        for (text, expected) in [
            ("goaway all", wish(DrainScope::All, None, None)),
            (
                "GOAWAY CLIENT 41 TIMEOUT 0.5",
                wish(DrainScope::Client(41), None, Some(500)),
            ),
            ("goaway database Shop", wish(shop(), None, None)),
            (
                "goaway user bob rate 0",
                wish(DrainScope::User("bob".to_owned()), Some(0), None),
            ),
            (
                "goaway worker 2 timeout 3 rate 10",
                wish(worker, Some(10), Some(3000)),
            ),
            ("GoAway stop", Action::GoAwayStop),
        ] {
            assert_eq!(order(text), Some(Ok(expected)), "{text}");
        }
    }

    #[test]
    fn refuses_arguments_that_are_missing_or_wrong() {
        for (text, expected) in [
            ("goaway client", "invalid client pointer supplied"),
            ("goaway client c1", "invalid client pointer supplied"),
            ("goaway database", "a database is required"),
            ("goaway user", "a user is required"),
            ("goaway worker", "a worker is required, by its number"),
            ("goaway worker 128", "a worker is required, by its number"),
            (
                "goaway all rate fast",
                "invalid rate 'fast', expected clients a second",
            ),
            (
                "goaway all timeout 5s",
                "invalid timeout '5s', expected seconds",
            ),
            (
                "goaway all timeout inf",
                "invalid timeout 'inf', expected seconds",
            ),
        ] {
            let refusal = order(text).unwrap().unwrap_err();
            assert_eq!(refusal.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn finds_nothing_in_other_words() {
        for text in [
            "goaway",
            "goaway now",
            "goaway all rate",
            "goaway all 5",
            "goaway all rate 5 rate 6",
            "goaway all timeout 5 now",
            "goaway stop 5",
            "goawayall",
        ] {
            assert_eq!(order(text), None, "{text}");
        }
    }
}
