//! Credentials: what a worker remembers of secrets.
//!
//! Keys that take long to derive are derived once, by a thread, and remembered.

use std::collections::HashMap;

use pgskein_config::Config;
use pgskein_pool::control::PoolKey;
use pgskein_pool::prepared::StatementKey;
use pgskein_protocol::scram::{Challenge, ScramKeys};
use pgskein_protocol::{ScramSecret, Secret};
use zeroize::Zeroizing;

/// What secrets the database has.
#[derive(Clone, Copy, Default)]
enum Usual {
    /// None was seen.
    #[default]
    Unknown,
    /// For SCRAM, with so many iterations.
    Scram(u32),
    /// Others.
    Other,
}

/// What the database knows of a user.
struct Kept {
    text: Zeroizing<String>,
    keys: Option<ScramKeys>,
}

/// What a worker remembers of secrets.
#[derive(Default)]
pub(super) struct Credentials {
    /// Keys that clients have shown, with the secret that they fit.
    learned: HashMap<String, (ScramSecret, ScramKeys)>,
    /// Keys derived for servers.
    keys: HashMap<(String, Challenge), ScramKeys>,
    /// Secrets derived from plain passwords, by user.
    secrets: HashMap<String, (String, ScramSecret)>,
    /// What the database knows of the users of pools, as it was last told.
    fetched: HashMap<PoolKey, Kept>,
    /// What the last secret was that was fetched.
    usual: Usual,
    /// The same in all workers, and known to nobody outside.
    mock_key: Vec<u8>,
    /// A secret of the group.
    group_key: [u8; 16],
    /// `scram_iterations`.
    iterations: u32,
}

impl Credentials {
    /// Remembers nothing yet.
    pub(super) fn new(config: &Config, group_key: StatementKey) -> Self {
        let mut credentials = Self {
            group_key: group_key.0,
            ..Self::default()
        };
        credentials.reconfigure(config);
        credentials
    }

    /// Follows a new configuration; what was learned stays as long as its
    /// secret does.
    pub(super) fn reconfigure(&mut self, config: &Config) {
        self.iterations = config.settings.scram_iterations;
        self.mock_key = config
            .auth
            .values()
            .flat_map(|secret| secret.bytes())
            .collect();
        if self.mock_key.is_empty() {
            self.mock_key.extend_from_slice(&self.group_key);
        }
        self.secrets
            .retain(|user, (password, _)| config.auth.get(user) == Some(password));
    }

    /// The keys that fit the secret of a user, if a client has shown them.
    pub(super) fn learned(&self, user: &str, secret: &ScramSecret) -> Option<ScramKeys> {
        let (fits, keys) = self.learned.get(user)?;
        (fits == secret).then(|| keys.clone())
    }

    /// Remembers keys that a client has shown.
    pub(super) fn learn(&mut self, user: String, secret: ScramSecret, keys: ScramKeys) {
        self.learned.insert(user, (secret, keys));
    }

    /// The keys of a password for a server's challenge, if they were derived.
    pub(super) fn keys(&self, password: &str, challenge: &Challenge) -> Option<ScramKeys> {
        self.keys
            .get(&(password.to_owned(), challenge.clone()))
            .cloned()
    }

    /// Remembers derived keys.
    pub(super) fn keep_keys(&mut self, password: String, challenge: Challenge, keys: ScramKeys) {
        if self.keys.len() >= KEYS_MAX {
            self.keys.clear();
        }
        self.keys.insert((password, challenge), keys);
    }

    /// Remembers what the database knows of the user of a pool, and what he has
    /// shown, if that is new.
    pub(super) fn keep_fetched(&mut self, pool: PoolKey, text: &str, keys: Option<ScramKeys>) {
        match self.fetched.get_mut(&pool) {
            Some(kept) if *kept.text == text => kept.keys = keys.or(kept.keys.take()),
            _ => {
                let text = Zeroizing::new(text.to_owned());
                self.fetched.insert(pool, Kept { text, keys });
            }
        }
    }

    /// What the database knows of the user of a pool, with the keys that fit if
    /// a client has shown them.
    pub(super) fn fetched(&self, pool: &PoolKey) -> Option<(&str, Option<&ScramKeys>)> {
        let kept = self.fetched.get(pool)?;
        Some((&kept.text, kept.keys.as_ref()))
    }

    /// The keys that a client of the pool has shown, if they fit the secret.
    pub(super) fn shown(&self, pool: &PoolKey, secret: &ScramSecret) -> Option<ScramKeys> {
        let kept = self.fetched.get(pool)?;
        let fits = Secret::parse(&kept.text) == Secret::Scram(secret.clone());
        kept.keys.clone().filter(|_| fits)
    }

    /// Forgets a pool that is gone.
    pub(super) fn forget_pool(&mut self, pool: &PoolKey) {
        self.fetched.remove(pool);
    }

    /// Notes of which kind a secret is that was fetched.
    pub(super) fn note_kind(&mut self, text: &str) {
        self.usual = match Secret::parse(text) {
            Secret::Scram(secret) => Usual::Scram(secret.iterations),
            Secret::Md5(_) | Secret::Plain(_) => Usual::Other,
        };
    }

    /// Whether users of the database usually have a secret for SCRAM.
    pub(super) fn scram_is_usual(&self) -> bool {
        !matches!(self.usual, Usual::Other)
    }

    /// The secret made of a user's plain password, if it was made.
    pub(super) fn secret(&self, user: &str, password: &str) -> Option<ScramSecret> {
        let (of, secret) = self.secrets.get(user)?;
        (of == password).then(|| secret.clone())
    }

    /// Remembers a secret that was made of a user's plain password.
    pub(super) fn keep_secret(&mut self, user: String, password: String, secret: ScramSecret) {
        self.secrets.insert(user, (password, secret));
    }

    /// The secret of a user that has none: looks like one, and fits nothing. Of
    /// whom the database was `asked`, it looks like those of the database.
    pub(super) fn mock(&self, user: &str, asked: bool) -> ScramSecret {
        let iterations = match self.usual {
            Usual::Scram(iterations) if asked => iterations,
            _ => self.iterations,
        };
        ScramSecret {
            iterations,
            ..ScramSecret::mock(user.as_bytes(), &self.mock_key)
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// Keys for servers that are remembered at most.
const KEYS_MAX: usize = 1_000;
