//! Credentials: what a worker remembers of secrets.
//!
//! Keys that take long to derive are derived once, by a thread, and remembered.
//! Of the passwords that they are of, fingerprints are kept.

use std::collections::HashMap;

use pgskein_config::{Config, SecretText};
use pgskein_pool::control::PoolKey;
use pgskein_pool::slab::ServerId;
use pgskein_pool::usual_secrets::{Form, Forms, UsualSecrets};
use pgskein_protocol::scram::{Challenge, ScramKeys};
use pgskein_protocol::{Fingerprint, ScramSecret, Secret};
use zeroize::Zeroizing;

use super::makings::Makings;
use super::once::Once;

/// A SCRAM secret that is made of a plain password.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Making {
    /// How slow deriving its keys is.
    pub iterations: u32,
    /// Whose it is; names may be long.
    user: Fingerprint,
    /// Of what; `None` for a name that nobody has.
    password: Option<Fingerprint>,
}

/// A password that is compared with a SCRAM secret.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Comparison {
    stored_key: [u8; 32],
    password: Fingerprint,
}

/// Keys that are made of a password for what a server demands.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Derivation {
    /// What the server demands.
    pub challenge: Challenge,
    password: Fingerprint,
}

/// Something that was learned, by a number of its own: a server may find later
/// that it does not serve.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Lesson(u64);

/// What a worker remembers of secrets.
#[derive(Default)]
pub(super) struct Credentials {
    /// Secrets made of the plain passwords of users.
    pub makings: Makings,
    /// Keys derived for servers.
    pub keys: Once<Derivation, ScramKeys, ServerId>,
    /// Keys that clients have shown, with the secret that they fit.
    learned: HashMap<String, Learned>,
    /// What is known of the users of pools who are not in `auth_file`, as it was
    /// last told.
    fetched: HashMap<PoolKey, Kept>,
    /// How much was learned so far.
    lessons: u64,
    /// What kind of secrets the database has.
    pub usual: UsualSecrets,
    /// What the secrets in `auth_file` look like.
    forms: Forms,
    /// Known to nobody outside; the same in all workers and, where that can be,
    /// after every start.
    mock_key: Zeroizing<Vec<u8>>,
    /// A secret of the group.
    group_key: Zeroizing<[u8; 16]>,
    /// `scram_iterations`.
    iterations: u32,
}

struct Learned {
    lesson: Lesson,
    secret: ScramSecret,
    keys: ScramKeys,
}

/// What the database knows of a user, or a directory or PAM has admitted.
struct Kept {
    lesson: Lesson,
    /// The secret, of any kind, or the password.
    text: SecretText,
    /// Those that a client has shown, if the secret is for SCRAM.
    keys: Option<ScramKeys>,
}

impl Making {
    /// Whether somebody has the name.
    pub(super) fn is_of_user(&self) -> bool {
        self.password.is_some()
    }
}

impl Credentials {
    /// Remembers nothing yet. `host_key` is empty if the host has none.
    pub(super) fn new(config: &Config, group_key: [u8; 16], host_key: &[u8]) -> Self {
        let mock_key = match host_key {
            [] => group_key.as_slice(),
            host_key => host_key,
        };
        let mut credentials = Self {
            mock_key: Zeroizing::new(mock_key.to_vec()),
            group_key: Zeroizing::new(group_key),
            ..Self::default()
        };
        credentials.reconfigure(config);
        credentials
    }

    /// Follows a new configuration; what was learned stays as long as its
    /// secret does.
    pub(super) fn reconfigure(&mut self, config: &Config) {
        self.iterations = config.settings.scram_iterations;
        self.forms = config.auth.values().map(|text| Form::of(text)).collect();
        self.makings.keep_those_of(self.iterations);
        self.learned.retain(|user, learned| {
            let text = config.auth.get(user);
            text.is_some_and(|text| Secret::parse(text) == Secret::Scram(learned.secret.clone()))
        });
    }

    /// The secret that a user's plain password becomes, or would if somebody had
    /// this name.
    pub(super) fn making(&self, user: &str, password: Option<&str>) -> Making {
        Making {
            iterations: self.iterations,
            user: self.fingerprint(user),
            password: password.map(|password| self.fingerprint(password)),
        }
    }

    /// What a password and a secret are compared as.
    pub(super) fn comparison(&self, password: &str, secret: &ScramSecret) -> Comparison {
        Comparison {
            stored_key: secret.stored_key,
            password: self.fingerprint(password),
        }
    }

    /// The keys that a password becomes for what a server demands.
    pub(super) fn derivation(&self, password: &str, challenge: Challenge) -> Derivation {
        Derivation {
            challenge,
            password: self.fingerprint(password),
        }
    }

    fn fingerprint(&self, password: &str) -> Fingerprint {
        Fingerprint::of(password, &*self.group_key)
    }

    /// The keys that fit the secret of a user, if a client has shown them.
    pub(super) fn learned(&self, user: &str, secret: &ScramSecret) -> Option<(ScramKeys, Lesson)> {
        let learned = self.learned.get(user)?;
        (learned.secret == *secret).then(|| (learned.keys.clone(), learned.lesson))
    }

    /// Remembers keys that a client has shown; whether they are new.
    pub(super) fn learn(&mut self, user: String, secret: ScramSecret, keys: ScramKeys) -> bool {
        let known = self.learned.get(&user);
        if known.is_some_and(|known| known.secret == secret && known.keys == keys) {
            return false;
        }
        let lesson = self.lesson();
        let learned = Learned {
            lesson,
            secret,
            keys,
        };
        self.learned.insert(user, learned);
        true
    }

    /// Remembers what the database knows of the user of a pool, and what he has
    /// shown; whether anything of it is new.
    pub(super) fn keep_fetched(
        &mut self,
        pool: PoolKey,
        text: &str,
        keys: Option<ScramKeys>,
    ) -> bool {
        let known = self.fetched.get(&pool).filter(|kept| kept.text == *text);
        let keys = match known {
            Some(kept) if keys.is_none() || kept.keys == keys => return false,
            _ => keys,
        };
        let lesson = self.lesson();
        let text = text.into();
        self.fetched.insert(pool, Kept { lesson, text, keys });
        true
    }

    /// What the database knows of the user of a pool, with the keys that fit if
    /// a client has shown them.
    pub(super) fn fetched(&self, pool: &PoolKey) -> Option<(&str, Option<&ScramKeys>, Lesson)> {
        let kept = self.fetched.get(pool)?;
        Some((&kept.text, kept.keys.as_ref(), kept.lesson))
    }

    /// The keys that a client of the pool has shown, if they fit the secret.
    pub(super) fn shown(
        &self,
        pool: &PoolKey,
        secret: &ScramSecret,
    ) -> Option<(ScramKeys, Lesson)> {
        let kept = self.fetched.get(pool)?;
        let fits = Secret::parse(&kept.text) == Secret::Scram(secret.clone());
        let keys = kept.keys.clone().filter(|_| fits)?;
        Some((keys, kept.lesson))
    }

    /// Forgets what a server has refused with this SQLSTATE: it is not tried again.
    ///
    /// A server that has a directory or PAM asked refuses with 28000, and each try
    /// may count there as a wrong one of the user.
    ///
    /// Source: PostgreSQL documentation, "PostgreSQL Error Codes", class 28.
    pub(super) fn refused(&mut self, lesson: Lesson, sqlstate: &str) {
        let any = match sqlstate {
            "28P01" => true,
            "28000" => false,
            _ => return,
        };
        let is_plain = |text: &str| matches!(Secret::parse(text), Secret::Plain(_));
        self.learned
            .retain(|_, learned| learned.lesson != lesson || !any);
        self.fetched
            .retain(|_, kept| kept.lesson != lesson || !(any || is_plain(&kept.text)));
    }

    /// Forgets a pool that is gone.
    pub(super) fn forget_pool(&mut self, pool: &PoolKey) {
        self.fetched.remove(pool);
    }

    /// What the secret would look like of somebody who has none, as those of the
    /// database if that was `asked`: always the same for the same name.
    pub(super) fn form(&self, user: &str, asked: bool) -> Form {
        let [a, b, c, d, ..] = ScramSecret::mock(user.as_bytes(), &self.mock_key).stored_key;
        let number = u32::from_be_bytes([a, b, c, d]);
        match asked {
            true => self.usual.pick(number),
            false => self.forms.pick(number).or(Some(Form::Other)),
        }
        .unwrap_or(Form::Scram(self.iterations))
    }

    /// The secret of a user that has none: looks like one, and fits nothing.
    pub(super) fn mock(&self, user: &str, asked: bool) -> ScramSecret {
        let usual = self.usual.iterations().filter(|_| asked);
        ScramSecret {
            iterations: match self.form(user, asked) {
                Form::Scram(iterations) => iterations,
                Form::Plain | Form::Other => usual.unwrap_or(self.iterations),
            },
            ..ScramSecret::mock(user.as_bytes(), &self.mock_key)
        }
    }

    fn lesson(&mut self) -> Lesson {
        self.lessons += 1;
        Lesson(self.lessons)
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: [u8; 16] = [7; 16];

    fn credentials(host_key: &[u8]) -> Credentials {
        Credentials::new(&Config::default(), GROUP, host_key)
    }

    fn pool() -> PoolKey {
        PoolKey {
            database: "shop".to_owned(),
            user: "alice".to_owned(),
        }
    }

    fn keys(byte: u8) -> ScramKeys {
        ScramKeys::of_client_key([byte; 32], [1; 32])
    }

    #[test]
    fn forgets_what_a_server_has_refused_and_nothing_newer() {
        let mut credentials = credentials(b"host");
        let secret = ScramSecret::derive("pw", b"salt", 1);
        let text = secret.to_string();
        assert!(credentials.keep_fetched(pool(), &text, None));
        assert!(!credentials.keep_fetched(pool(), &text, None));
        assert!(credentials.keep_fetched(pool(), &text, Some(keys(1))));
        let (_, old) = credentials.shown(&pool(), &secret).unwrap();
        // What was shown stays when it is not shown again.
        assert!(!credentials.keep_fetched(pool(), &text, None));
        assert!(credentials.keep_fetched(pool(), &text, Some(keys(2))));
        credentials.refused(old, "28P01");
        let (_, new) = credentials.shown(&pool(), &secret).unwrap();
        credentials.refused(new, "28000");
        assert!(credentials.fetched(&pool()).is_some());
        credentials.refused(new, "28P01");
        assert!(credentials.fetched(&pool()).is_none());
    }

    #[test]
    fn forgets_a_password_that_a_directory_behind_a_server_refuses() {
        let mut credentials = credentials(b"host");
        assert!(credentials.keep_fetched(pool(), "rabbit", None));
        let (_, _, lesson) = credentials.fetched(&pool()).unwrap();
        credentials.refused(lesson, "53300");
        assert!(credentials.fetched(&pool()).is_some());
        credentials.refused(lesson, "28000");
        assert!(credentials.fetched(&pool()).is_none());
    }

    #[test]
    fn keeps_keys_as_long_as_their_secret_is_in_the_file() {
        let mut config = Config::default();
        let secret = ScramSecret::derive("pw", b"salt", 1);
        let text = secret.to_string();
        config.auth.insert("alice".to_owned(), text.into());
        let mut credentials = credentials(b"host");
        assert!(credentials.learn("alice".to_owned(), secret.clone(), keys(1)));
        assert!(!credentials.learn("alice".to_owned(), secret.clone(), keys(1)));
        credentials.reconfigure(&config);
        assert!(credentials.learned("alice", &secret).is_some());
        config.auth.insert("alice".to_owned(), "plain".into());
        credentials.reconfigure(&config);
        assert!(credentials.learned("alice", &secret).is_none());
    }

    #[test]
    fn mocks_a_secret_that_tells_nothing_of_others() {
        let mock = credentials(b"host").mock("nobody", false);
        assert_eq!(mock.iterations, 4096);
        // Whatever users there are, it is the same.
        let mut config = Config::default();
        config.auth.insert("alice".to_owned(), "hunter2".into());
        let other = Credentials::new(&config, [9; 16], b"host");
        assert!(other.mock("nobody", false) == mock);
        let guest = credentials(b"").mock("nobody", false);
        assert!(guest != mock && guest == credentials(b"").mock("nobody", false));
    }

    #[test]
    fn asks_who_is_not_there_as_those_who_are() {
        let mut config = Config::default();
        let mut credentials = credentials(b"host");
        assert_eq!(credentials.form("nobody", false), Form::Other);
        assert_eq!(credentials.form("nobody", true), Form::Scram(4096));
        let secret = ScramSecret::derive("pw", b"salt", 7).to_string();
        config.auth.insert("bob".to_owned(), secret.as_str().into());
        credentials.reconfigure(&config);
        assert_eq!(credentials.form("nobody", false), Form::Scram(7));
        assert_eq!(credentials.mock("nobody", false).iterations, 7);
        config.auth.insert("alice".to_owned(), "plain".into());
        credentials.reconfigure(&config);
        let forms: Vec<_> = (0..50)
            .map(|n| credentials.form(&format!("nobody{n}"), false))
            .collect();
        assert!(forms.contains(&Form::Plain) && forms.contains(&Form::Scram(7)));
        credentials
            .usual
            .note("md5b1ffb1d9dc1b1e5a9ad6b4e6bb4fa9b7");
        assert_eq!(credentials.form("nobody", true), Form::Other);
    }

    #[test]
    fn mocks_as_many_iterations_as_the_database_uses() {
        let mut credentials = credentials(b"host");
        let secret = ScramSecret::derive("pw", b"salt", 3).to_string();
        credentials.usual.note(&secret);
        assert_eq!(credentials.mock("nobody", true).iterations, 3);
        assert_eq!(credentials.mock("nobody", false).iterations, 4096);
    }
}
