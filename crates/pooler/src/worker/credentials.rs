//! Credentials: what a worker remembers of secrets.
//!
//! Keys that take long to derive are derived once, by a thread, and remembered.

use std::collections::HashMap;

use pgskein_config::Config;
use pgskein_protocol::ScramSecret;
use pgskein_protocol::scram::{Challenge, ScramKeys};

/// What a worker remembers of secrets.
#[derive(Default)]
pub(super) struct Credentials {
    /// Keys that clients have shown, with the secret that they fit.
    learned: HashMap<String, (ScramSecret, ScramKeys)>,
    /// Keys derived for servers.
    keys: HashMap<(String, Challenge), ScramKeys>,
    /// Secrets derived from plain passwords, by user.
    secrets: HashMap<String, (String, ScramSecret)>,
    /// The same in all workers, and known to nobody outside.
    mock_key: Vec<u8>,
    /// `scram_iterations`.
    iterations: u32,
}

impl Credentials {
    /// Remembers nothing yet.
    pub(super) fn new(config: &Config) -> Self {
        let mut credentials = Self::default();
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

    /// The secret made of a user's plain password, if it was made.
    pub(super) fn secret(&self, user: &str, password: &str) -> Option<ScramSecret> {
        let (of, secret) = self.secrets.get(user)?;
        (of == password).then(|| secret.clone())
    }

    /// Remembers a secret that was made of a user's plain password.
    pub(super) fn keep_secret(&mut self, user: String, password: String, secret: ScramSecret) {
        self.secrets.insert(user, (password, secret));
    }

    /// The secret of a user that has none: looks like one, and fits nothing.
    pub(super) fn mock(&self, user: &str) -> ScramSecret {
        ScramSecret {
            iterations: self.iterations,
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
