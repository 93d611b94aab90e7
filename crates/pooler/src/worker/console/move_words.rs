//! The words of the orders by which clients move to other workers.

use pgskein_pool::control::Asked;
use pgskein_protocol::key::Slot;

use super::commands::Refusal;

/// The forms, as `SHOW HELP` lists them.
pub(super) static WORDS: &[&str] = &["MOVE CLIENT <client_id> TO <worker>", "BALANCE"];

/// What these words order; `None` when they are no such order.
///
/// # Errors
///
/// [`Refusal`] when an argument is missing, or not of its kind.
pub(super) fn find(words: &[String]) -> Option<Result<Asked, Refusal>> {
    let are = |word: &String, known: &str| word.eq_ignore_ascii_case(known);
    match words {
        [balance] if are(balance, "balance") => Some(Ok(Asked::Balance)),
        [verb, what, rest @ ..] if are(verb, "move") && are(what, "client") => {
            let (client, worker) = match rest {
                [] => return Some(Err(Refusal::NoClient)),
                [client] => (client, None),
                [client, to] if are(to, "to") => (client, None),
                [client, to, worker] if are(to, "to") => (client, Some(worker)),
                _ => return None,
            };
            let Ok(client) = client.parse() else {
                return Some(Err(Refusal::NoClient));
            };
            let to = worker.and_then(|worker| worker.parse().ok());
            let to = to.and_then(Slot::new).ok_or(Refusal::NoWorker);
            Some(to.map(|to| Asked::Move { client, to }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> Option<Result<Asked, Refusal>> {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        find(&words)
    }

    #[test]
    fn finds_a_client_and_a_worker_in_any_case() {
        let to = Slot::new(3).unwrap();
        let expected = Asked::Move { client: 41, to };
        assert_eq!(order("move Client 41 to 3"), Some(Ok(expected)));
        assert_eq!(order("Balance"), Some(Ok(Asked::Balance)));
    }

    #[test]
    fn refuses_arguments_that_are_missing_or_wrong() {
        for (text, expected) in [
            ("move client", "invalid client pointer supplied"),
            ("move client c41 to 3", "invalid client pointer supplied"),
            ("move client 41", "a worker is required, by its number"),
            ("move client 41 to", "a worker is required, by its number"),
            (
                "move client 41 to 128",
                "a worker is required, by its number",
            ),
        ] {
            let refusal = order(text).unwrap().unwrap_err();
            assert_eq!(refusal.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn finds_nothing_in_other_words() {
        for text in [
            "move",
            "move 41 to 3",
            "move client 41 into 3",
            "move client 41 to 3 now",
            "balance now",
        ] {
            assert_eq!(order(text), None, "{text}");
        }
    }
}
