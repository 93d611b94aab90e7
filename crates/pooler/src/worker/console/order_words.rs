//! The words of orders that the whole group carries out.

use pgskein_pool::runtime::{Order, Scope};

use super::commands::Refusal;

/// A verb with its argument.
#[derive(Debug)]
pub(super) struct Verb {
    /// The verb.
    word: &'static str,
    /// The verb and its argument, as `SHOW HELP` lists them.
    pub words: &'static str,
    order: Form,
}

/// What may follow a verb, and what it makes of the order.
#[derive(Debug)]
enum Form {
    /// Nothing, or a database.
    Scope(fn(Scope) -> Order),
    /// A database.
    Database(fn(String) -> Order),
    /// The number of a client.
    Client(fn(u64) -> Order),
    /// Nothing.
    Nothing(Order),
}

/// Every verb, in the order of `SHOW HELP`.
pub(super) static VERBS: &[Verb] = &[
    verb("PAUSE", "PAUSE [<db>]", Form::Scope(Order::Pause)),
    verb("RESUME", "RESUME [<db>]", Form::Scope(Order::Resume)),
    verb("DISABLE", "DISABLE <db>", Form::Database(Order::Disable)),
    verb("ENABLE", "ENABLE <db>", Form::Database(Order::Enable)),
    verb(
        "RECONNECT",
        "RECONNECT [<db>]",
        Form::Scope(Order::Reconnect),
    ),
    verb("KILL", "KILL [<db>]", Form::Scope(Order::Kill)),
    verb(
        "KILL_CLIENT",
        "KILL_CLIENT <client_id>",
        Form::Client(Order::KillClient),
    ),
    verb("SUSPEND", "SUSPEND", Form::Nothing(Order::Suspend)),
    verb(
        "WAIT_CLOSE",
        "WAIT_CLOSE [<db>]",
        Form::Scope(Order::WaitClose),
    ),
];

/// The order that these words give; `None` when they are none.
///
/// # Errors
///
/// [`Refusal`] when the argument is missing, or not of its kind.
pub(super) fn find(words: &[String]) -> Option<Result<Order, Refusal>> {
    let (verb, arguments) = words.split_first()?;
    let mut verbs = VERBS.iter();
    let verb = verbs.find(|known| known.word.eq_ignore_ascii_case(verb))?;
    Some(Ok(match (&verb.order, arguments) {
        (Form::Scope(order), []) => order(Scope::All),
        (Form::Scope(order), [name]) => order(Scope::Database(name.clone())),
        (Form::Database(_), []) => return Some(Err(Refusal::NoDatabase)),
        (Form::Database(order), [name]) => order(name.clone()),
        (Form::Client(order), [number]) => match number.parse() {
            Ok(number) => order(number),
            Err(_) => return Some(Err(Refusal::NoClient)),
        },
        (Form::Client(_), []) => return Some(Err(Refusal::NoClient)),
        (Form::Nothing(order), []) => order.clone(),
        _ => return None,
    }))
}

const fn verb(word: &'static str, words: &'static str, order: Form) -> Verb {
    Verb { word, words, order }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> Option<Result<Order, Refusal>> {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        find(&words)
    }

    #[test]
    fn finds_orders_with_and_without_a_database() {
        assert_eq!(order("pause"), Some(Ok(Order::Pause(Scope::All))));
        let shop = Scope::Database("Shop".to_owned());
        assert_eq!(order("Kill Shop"), Some(Ok(Order::Kill(shop))));
        let disable = Order::Disable("Shop".to_owned());
        assert_eq!(order("DISABLE Shop"), Some(Ok(disable)));
        assert_eq!(order("suspend"), Some(Ok(Order::Suspend)));
        assert_eq!(order("kill_client 12"), Some(Ok(Order::KillClient(12))));
    }

    #[test]
    fn refuses_arguments_that_are_missing_or_wrong() {
        for (text, expected) in [
            ("disable", "a database is required"),
            ("ENABLE", "a database is required"),
            ("kill_client", "invalid client pointer supplied"),
            ("kill_client c1", "invalid client pointer supplied"),
        ] {
            let refusal = order(text).unwrap().unwrap_err();
            assert_eq!(refusal.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn finds_nothing_in_other_words() {
        for text in ["suspend now", "pause a b", "disable a b", "kil", "show", ""] {
            assert_eq!(order(text), None, "{text}");
        }
    }
}
