//! What a new configuration changes in a running group.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::finding::{Finding, Place};
use crate::settings::When;
use crate::table::{Settings, table};

impl Config {
    /// Names of the databases that clients of `old` may be connected to and
    /// that now lead elsewhere, or nowhere. `*` stands for all that have no
    /// entry of their own.
    pub fn changed_databases(&self, old: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.databases.keys().chain(old.databases.keys()).collect();
        let mut changed: Vec<String> = names
            .into_iter()
            .filter(|name| match (old.database(name), self.database(name)) {
                (Some(old), Some(new)) => !new.connects_like(&old),
                (old, _) => old.is_some(),
            })
            .cloned()
            .collect();
        let moved = match (&old.wildcard, &self.wildcard) {
            (Some(old), Some(new)) => !new.connects_like(old),
            (old, _) => old.is_some(),
        };
        if moved {
            changed.push("*".to_owned());
        }
        changed
    }

    /// Whether clients that have shaken hands under `old` could have done so now:
    /// all but the certificate by which we are known is what it was.
    pub fn believes_clients_like(&self, old: &Self) -> bool {
        let mode = |config: &Self| config.settings.client_tls_sslmode;
        let (new, before) = (&self.client_tls, &old.client_tls);
        mode(self) == mode(old)
            && new.authorities == before.authorities
            && new.versions == before.versions
            && (&new.suites, &new.groups) == (&before.suites, &before.groups)
    }

    /// Whether TLS towards servers is what it was in `old`.
    pub fn secures_servers_like(&self, old: &Self) -> bool {
        let mode = |config: &Self| config.settings.server_tls_sslmode;
        self.server_tls == old.server_tls && mode(self) == mode(old)
    }

    /// Gives every setting that takes effect at the start only the value that
    /// it has in `running`, and says which of them were another one.
    pub fn keep_restart_settings(&mut self, running: &Settings) -> Vec<Finding> {
        self.keep(running, |when| when != When::Now)
    }

    /// Gives every setting that takes effect neither now nor at RESTART the
    /// value that it has in `running`, and says which of them were another one.
    pub fn keep_start_settings(&mut self, running: &Settings) -> Vec<Finding> {
        self.keep(running, |when| when == When::Start)
    }

    fn keep(&mut self, running: &Settings, stays: impl Fn(When) -> bool) -> Vec<Finding> {
        let mut kept = Vec::new();
        for setting in table().iter().filter(|s| stays(s.takes_effect)) {
            if !self.settings.copy(setting.name, running) {
                continue;
            }
            let value = running.value(setting.name).unwrap_or_default();
            let problem = format!("takes effect at the next start; \"{value}\" stays in force");
            let place = self.places.get(setting.name);
            let place = place.cloned().unwrap_or_else(|| Place {
                file: "default".to_owned(),
                line: 0,
            });
            kept.push(place.finding(setting.name, problem));
        }
        kept
    }
}

impl Settings {
    /// Names and values of the settings that a reload does not change.
    pub fn fixed(&self) -> Vec<(String, String)> {
        let fixed = table().iter().filter(|s| s.takes_effect != When::Now);
        let named = fixed.map(|s| (s.name.to_owned(), self.value(s.name).unwrap_or_default()));
        named.collect()
    }

    /// These with values from [`Settings::fixed`] of another process, or `None`
    /// if one is not understood. What that does not know keeps its value.
    pub fn with_fixed(&self, fixed: &[(String, String)]) -> Option<Self> {
        let mut settings = self.clone();
        for (name, value) in fixed {
            settings.set(name, value).ok()?;
        }
        Some(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::SslMode;
    use crate::entries::Database;
    use crate::tls::TlsFile;

    fn config(entries: &[(&str, u16)]) -> Config {
        let mut config = Config::default();
        for (name, port) in entries {
            let database = Database {
                name: (*name).to_owned(),
                ports: vec![*port],
                ..Database::default()
            };
            match *name {
                "*" => config.wildcard = Some(database),
                name => drop(config.databases.insert(name.to_owned(), database)),
            }
        }
        config
    }

    #[test]
    fn names_databases_that_lead_elsewhere_or_nowhere() {
        let old = config(&[("a", 1), ("b", 1), ("c", 1)]);
        let new = config(&[("a", 1), ("b", 2), ("d", 1)]);
        assert_eq!(new.changed_databases(&old), ["b", "c"]);
    }

    #[test]
    fn names_databases_that_the_wildcard_no_longer_serves() {
        let old = config(&[("*", 1)]);
        assert_eq!(config(&[("*", 1), ("a", 2)]).changed_databases(&old), ["a"]);
        assert_eq!(config(&[("*", 2)]).changed_databases(&old), ["*"]);
        assert_eq!(config(&[("*", 1)]).changed_databases(&old), [""; 0]);
    }

    #[test]
    fn ignores_changes_of_limits() {
        let mut new = config(&[("a", 1)]);
        new.databases.get_mut("a").unwrap().pool_size = Some(3);
        assert_eq!(new.changed_databases(&config(&[("a", 1)])), [""; 0]);
    }

    #[test]
    fn knows_what_a_new_certificate_leaves_as_it_was() {
        let file = |text: &str, line| {
            Some(TlsFile {
                text: text.into(),
                place: Place {
                    line,
                    ..Place::default()
                },
                ..TlsFile::default()
            })
        };
        let mut old = Config::default();
        old.client_tls.certificate = file("own", 1);
        old.client_tls.authorities = file("authority", 2);
        old.server_tls = old.client_tls.clone();
        let mut new = old.clone();
        new.client_tls.authorities = file("authority", 3);
        new.server_tls = new.client_tls.clone();
        assert!(new.believes_clients_like(&old) && new.secures_servers_like(&old));
        new.client_tls.certificate = file("new", 1);
        assert!(new.believes_clients_like(&old));
        new.client_tls.authorities = file("other", 2);
        assert!(!new.believes_clients_like(&old));
        new.settings.server_tls_sslmode = SslMode::Require;
        assert!(!new.secures_servers_like(&old));
    }

    #[test]
    fn keeps_what_only_a_start_can_change() {
        let running = Settings::default();
        let mut new = Config::default();
        new.settings.listen_port = 7000;
        new.settings.max_client_conn = 7;
        let kept = new.keep_restart_settings(&running);
        assert_eq!(new.settings.listen_port, 6432);
        assert_eq!(new.settings.max_client_conn, 7);
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].setting, "listen_port");
    }

    #[test]
    fn takes_over_at_a_restart_what_a_reload_cannot_change() {
        let running = Settings::default();
        let mut new = Config::default();
        new.settings.listen_port = 7000;
        new.settings.workers = Some(7);
        let kept = new.keep_start_settings(&running);
        assert_eq!(new.settings.listen_port, 6432);
        assert_eq!(new.settings.workers, Some(7));
        assert_eq!(kept.len(), 1);
    }

    #[test]
    fn carries_what_is_fixed_to_another_process() {
        let mut running = Settings {
            listen_addr: vec!["a".to_owned(), "b".to_owned()],
            unix_socket_mode: 0o750,
            workers: Some(3),
            max_client_conn: 7,
            ..Settings::default()
        };
        let carried = Settings::default().with_fixed(&running.fixed()).unwrap();
        running.max_client_conn = Settings::default().max_client_conn;
        assert!(carried == running);
        let unknown = [("no_such".to_owned(), String::new())];
        assert!(running.with_fixed(&unknown).is_none());
    }
}
