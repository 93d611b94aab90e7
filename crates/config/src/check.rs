//! Checks of values that only make sense in a range or together.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::choices::{AuthType, SslMode};
use crate::config::{Config, is_reserved};
use crate::finding::Finding;
use crate::peer_id::PeerId;
use crate::reported::is_read_only_parameter;

/// What is wrong with `config`, and what is worth a warning.
pub(crate) fn check(config: &Config, main: &Path) -> (Vec<Finding>, Vec<Finding>) {
    let mut check = Check {
        config,
        main,
        findings: Vec::new(),
        warnings: Vec::new(),
    };
    check.ranges();
    check.listeners();
    check.log();
    check.passwords();
    check.secrets();
    check.unused();
    check.drain();
    check.parameters();
    check.peers();
    (check.findings, check.warnings)
}

struct Check<'a> {
    config: &'a Config,
    main: &'a Path,
    findings: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Check<'_> {
    fn ranges(&mut self) {
        let settings = &self.config.settings;
        if settings
            .workers
            .is_some_and(|n| !(1..=MOST_WORKERS).contains(&n))
        {
            self.wrong("workers", format!("expected auto or 1 to {MOST_WORKERS}"));
        }
        if settings
            .cancel_key_length
            .is_some_and(|n| !(4..=32).contains(&n))
        {
            self.wrong("cancel_key_length", "expected auto or 4 to 32");
        }
        if !(1..=MOST_ITERATIONS).contains(&settings.scram_iterations) {
            self.wrong(
                "scram_iterations",
                format!("expected 1 to {MOST_ITERATIONS}"),
            );
        }
        if settings.stats_period < Duration::from_secs(1) {
            self.wrong("stats_period", "expected 1 or more");
        }
        if settings.auth_ldap_timeout.is_zero() {
            self.wrong("auth_ldap_timeout", "expected more than 0");
        }
        if settings.max_packet_size < SMALLEST_PACKET {
            self.wrong(
                "max_packet_size",
                format!("expected {SMALLEST_PACKET} or more"),
            );
        }
    }

    fn listeners(&mut self) {
        let settings = &self.config.settings;
        if settings.listen_addr.is_empty() && settings.unix_socket_dir.is_empty() {
            let problem = "is empty, and so is listen_addr: nobody could connect";
            self.wrong("unix_socket_dir", problem);
        }
        match (
            settings.proxy_protocol,
            settings.proxy_protocol_from.is_empty(),
        ) {
            (true, true) => {
                let problem = "is empty: say which proxies proxy_protocol is to believe";
                self.wrong("proxy_protocol_from", problem);
            }
            (false, false) => self.warn("proxy_protocol_from", "has no use without proxy_protocol"),
            _ => {}
        }
        if let Some(http) = &settings.http_listen
            && http.port == settings.listen_port
            && (http.host == "*"
                || settings
                    .listen_addr
                    .iter()
                    .any(|a| a == "*" || *a == http.host))
        {
            self.wrong("http_listen", "has the port of the clients: listen_port");
        }
    }

    fn log(&mut self) {
        let facility = self.config.settings.syslog_facility.as_str();
        if !FACILITIES.contains(&facility) {
            let problem = format!("expected one of {}", FACILITIES.join(", "));
            self.wrong("syslog_facility", problem);
        }
    }

    fn passwords(&mut self) {
        let settings = &self.config.settings;
        if settings.auth_type == AuthType::Cert
            && settings.client_tls_sslmode != SslMode::VerifyFull
        {
            let problem = "cert needs client_tls_sslmode = verify-full";
            self.wrong("auth_type", problem);
        }
        let needed = match settings.auth_type {
            AuthType::Any | AuthType::Cert | AuthType::Ldap | AuthType::Pam => false,
            AuthType::Hba => !self.config.hba.knows_others(),
            _ => true,
        };
        let mut entries = self.config.entries();
        let asked = entries.any(|entry| entry.auth_user.is_some());
        if needed && settings.auth_file.is_empty() && settings.auth_user.is_empty() && !asked {
            let problem = format!(
                "{} knows no user without auth_file: every login will fail",
                settings.auth_type
            );
            self.warn("auth_type", problem);
        }
    }

    fn secrets(&mut self) {
        let entries = self.config.entries();
        let names = entries.filter_map(|entry| entry.auth_dbname.as_deref());
        let setting = self.config.settings.auth_dbname.as_str();
        let all: Vec<_> = names.chain([setting]).filter(|n| !n.is_empty()).collect();
        for name in all {
            if is_reserved(name) {
                self.wrong("auth_dbname", format!("{name} is reserved for the console"));
            } else if self.config.database(name).is_none() {
                self.wrong("auth_dbname", format!("{name} is no entry of [databases]"));
            }
        }
    }

    /// Files that somebody has named and nobody looks at.
    fn unused(&mut self) {
        let settings = &self.config.settings;
        let mut unused = Vec::new();
        let auth_type = settings.auth_type;
        if auth_type != AuthType::Hba {
            let problem = format!("has no effect: auth_type is {auth_type}, not hba");
            for name in ["auth_hba_file", "auth_ident_file"] {
                unused.push((name, problem.clone()));
            }
        }
        if settings.client_tls_sslmode == SslMode::Disable {
            let problem = "has no effect: client_tls_sslmode is disable";
            unused.push(("client_tls_cert_file", problem.to_owned()));
        }
        let mode = settings.server_tls_sslmode;
        if !mode.verifies() {
            let problem = format!("verifies no server: server_tls_sslmode is {mode}");
            unused.push(("server_tls_ca_file", problem));
        }
        for (setting, problem) in unused {
            let value = self.config.settings.value(setting);
            if value.is_some_and(|value| !value.is_empty()) {
                self.warn(setting, problem);
            }
        }
    }

    fn drain(&mut self) {
        let settings = &self.config.settings;
        let [soft, hard] = [settings.drain_timeout, settings.drain_kill_timeout];
        if hard != Duration::ZERO && hard < soft {
            self.warn("drain_kill_timeout", "is shorter than drain_timeout");
        }
    }

    fn parameters(&mut self) {
        let names = self.config.settings.track_extra_parameters.iter();
        let read_only: Vec<_> = names.filter(|name| is_read_only_parameter(name)).collect();
        for name in read_only {
            let problem = format!("no session can change {name}: it is not followed");
            self.warn("track_extra_parameters", problem);
        }
    }

    fn peers(&mut self) {
        let config = self.config;
        if config.peer_id.is_none() {
            if !config.peers.is_empty() {
                self.warn("peer_id", "is not set: [peers] has no effect");
            }
            return;
        }
        if config.settings.peer_id == PeerId::Hostname
            && !config.peers.is_empty()
            && let Some(own) = config.peer_id.filter(|own| !config.peers.contains_key(own))
        {
            let problem =
                format!("{own} is not in [peers]: hosts with the same file lack this one");
            self.warn("peer_id", problem);
        }
        let mut places = BTreeMap::new();
        for peer in config.peers.values() {
            if let Some(other) = places.insert((&peer.host, peer.port), peer.id) {
                let problem = format!("peers {other} and {} have the same host and port", peer.id);
                self.warn("peer_id", problem);
            }
        }
        let long = config.settings.cancel_key_length.is_some_and(|n| n > 4);
        if let Some(peer) = config.other_peers().find(|peer| !peer.takes_long_keys())
            && long
        {
            let problem = format!("peer {} may drop keys longer than 4 bytes", peer.id);
            self.warn("cancel_key_length", problem);
        }
    }

    fn wrong(&mut self, setting: &str, problem: impl Into<String>) {
        let place = self.config.place(setting, self.main);
        let finding = place.finding(setting, problem);
        self.findings.push(finding);
    }

    fn warn(&mut self, setting: &str, problem: impl Into<String>) {
        let place = self.config.place(setting, self.main);
        let warning = place.finding(setting, problem);
        self.warnings.push(warning);
    }
}

/// Slots have seven bits in a cancel key.
const MOST_WORKERS: u32 = 127;

/// Iterations beyond which a login would take seconds.
const MOST_ITERATIONS: u32 = 1_000_000;

/// A startup packet may be this long, in bytes.
const SMALLEST_PACKET: u32 = 10_000;

const FACILITIES: [&str; 12] = [
    "auth", "authpriv", "daemon", "user", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::PeerKind;
    use crate::entries::Peer;
    use crate::finding::Place;

    fn config() -> Config {
        let mut config = Config::default();
        config.settings.auth_type = AuthType::Any;
        config
    }

    fn texts(config: &Config) -> (Vec<String>, Vec<String>) {
        let (findings, warnings) = check(config, Path::new("a.ini"));
        let texts = |all: Vec<Finding>| all.iter().map(Finding::to_string).collect();
        (texts(findings), texts(warnings))
    }

    #[test]
    fn accepts_the_defaults() {
        assert_eq!(texts(&config()), (vec![], vec![]));
    }

    #[test]
    fn rejects_values_out_of_range() {
        let mut config = config();
        config.settings.workers = Some(128);
        config.settings.cancel_key_length = Some(3);
        config.settings.scram_iterations = 0;
        config.settings.max_packet_size = 5;
        config.settings.syslog_facility = "mail".to_owned();
        let place = Place {
            file: "b.ini".to_owned(),
            line: 7,
        };
        config.places.insert("workers", place);
        let (findings, _) = texts(&config);
        assert_eq!(findings.len(), 5);
        assert_eq!(findings[0], "b.ini:7: workers: expected auto or 1 to 127");
        assert_eq!(
            findings[1],
            "a.ini: cancel_key_length: expected auto or 4 to 32"
        );
    }

    #[test]
    fn rejects_a_group_that_listens_nowhere() {
        let mut config = config();
        config.settings.unix_socket_dir.clear();
        assert_eq!(texts(&config).0.len(), 1);
    }

    #[test]
    fn wants_to_know_which_proxies_to_believe() {
        let mut config = config();
        config.settings.proxy_protocol = true;
        let problem =
            "a.ini: proxy_protocol_from: is empty: say which proxies proxy_protocol is to believe";
        assert_eq!(texts(&config), (vec![problem.to_owned()], vec![]));
        config
            .settings
            .set("proxy_protocol_from", "10.0.0.0/8")
            .unwrap();
        assert_eq!(texts(&config), (vec![], vec![]));
        config.settings.proxy_protocol = false;
        assert_eq!(texts(&config).1.len(), 1);
    }

    #[test]
    fn rejects_http_where_clients_come_to() {
        let mut config = config();
        config.settings.listen_addr = vec!["127.0.0.1".to_owned()];
        let http = |host: &str, port| {
            let host = host.to_owned();
            Some(crate::ListenAddress { host, port })
        };
        for (address, findings) in [
            (http("127.0.0.1", 6432), 1),
            (http("*", 6432), 1),
            (http("127.0.0.2", 6432), 0),
            (http("127.0.0.1", 6433), 0),
        ] {
            config.settings.http_listen = address;
            assert_eq!(texts(&config).0.len(), findings);
        }
    }

    #[test]
    fn warns_when_no_password_can_be_known() {
        let mut config = config();
        config.settings.auth_type = AuthType::Md5;
        let (findings, warnings) = texts(&config);
        assert_eq!(findings, [""; 0]);
        assert_eq!(
            warnings,
            ["a.ini: auth_type: md5 knows no user without auth_file: every login will fail"]
        );
    }

    #[test]
    fn warns_of_files_that_nobody_looks_at() {
        let mut config = config();
        let files = [
            "auth_hba_file",
            "auth_ident_file",
            "client_tls_cert_file",
            "server_tls_ca_file",
        ];
        for name in files {
            config.settings.set(name, "there").unwrap();
        }
        assert_eq!(
            texts(&config).1,
            [
                "a.ini: auth_hba_file: has no effect: auth_type is any, not hba",
                "a.ini: auth_ident_file: has no effect: auth_type is any, not hba",
                "a.ini: client_tls_cert_file: has no effect: client_tls_sslmode is disable",
                "a.ini: server_tls_ca_file: verifies no server: server_tls_sslmode is prefer",
            ]
        );
        config.settings.auth_type = AuthType::Hba;
        config.settings.client_tls_sslmode = SslMode::Allow;
        config.settings.server_tls_sslmode = SslMode::VerifyCa;
        config.settings.auth_file = "users.txt".to_owned();
        assert_eq!(texts(&config).1, [""; 0]);
    }

    #[test]
    fn wants_certificates_verified_where_they_are_all_there_is() {
        let mut config = config();
        config.settings.auth_type = AuthType::Cert;
        let problem = "a.ini: auth_type: cert needs client_tls_sslmode = verify-full";
        for mode in [SslMode::Require, SslMode::VerifyCa] {
            config.settings.client_tls_sslmode = mode;
            assert_eq!(texts(&config).0, [problem]);
        }
        config.settings.client_tls_sslmode = SslMode::VerifyFull;
        assert_eq!(texts(&config), (vec![], vec![]));
    }

    #[test]
    fn rejects_databases_for_secrets_that_are_not_there() {
        let mut config = config();
        config.settings.auth_dbname = "gone".to_owned();
        assert_eq!(
            texts(&config).0,
            ["a.ini: auth_dbname: gone is no entry of [databases]"]
        );
        config.settings.auth_dbname = "pgbouncer".to_owned();
        assert_eq!(
            texts(&config).0,
            ["a.ini: auth_dbname: pgbouncer is reserved for the console"]
        );
    }

    #[test]
    fn warns_of_parameters_that_cannot_be_followed() {
        let mut config = config();
        let names = ["IntervalStyle", "IS_SUPERUSER"];
        config.settings.track_extra_parameters = names.map(str::to_owned).to_vec();
        assert_eq!(
            texts(&config).1,
            [
                "a.ini: track_extra_parameters: no session can change IS_SUPERUSER: it is not followed"
            ]
        );
    }

    #[test]
    fn warns_when_clients_are_killed_before_they_are_asked_twice() {
        let mut config = config();
        config.settings.drain_timeout = Duration::from_secs(10);
        config.settings.drain_kill_timeout = Duration::from_secs(5);
        assert_eq!(texts(&config).1.len(), 1);
    }

    fn peer(id: u16, host: &str, kind: PeerKind) -> (u16, Peer) {
        let peer = Peer {
            id,
            host: host.to_owned(),
            port: 6432,
            pool_size: None,
            kind,
        };
        (id, peer)
    }

    #[test]
    fn warns_of_peers_that_cannot_work() {
        let mut config = config();
        let peers = [
            peer(2, "b", PeerKind::Unknown),
            peer(3, "b", PeerKind::Pgskein),
        ];
        config.peers = peers.into();
        assert_eq!(
            texts(&config).1,
            ["a.ini: peer_id: is not set: [peers] has no effect"]
        );
        config.settings.peer_id = PeerId::Hostname;
        config.peer_id = Some(1);
        config.settings.cancel_key_length = Some(8);
        assert_eq!(
            texts(&config).1,
            [
                "a.ini: peer_id: 1 is not in [peers]: hosts with the same file lack this one",
                "a.ini: peer_id: peers 2 and 3 have the same host and port",
                "a.ini: cancel_key_length: peer 2 may drop keys longer than 4 bytes",
            ]
        );
    }

    #[test]
    fn shortens_keys_while_a_peer_may_not_take_long_ones() {
        let mut config = config();
        config.peers = [
            peer(1, "a", PeerKind::Unknown),
            peer(2, "b", PeerKind::Pgskein),
        ]
        .into();
        assert_eq!(config.cancel_key_length(), 32, "no peers without an id");
        config.peer_id = Some(1);
        assert_eq!(config.cancel_key_length(), 32, "of pgskein's");
        config.peer_id = Some(2);
        assert_eq!(config.cancel_key_length(), 4, "of unknown ones");
        config.settings.cancel_key_length = Some(16);
        assert_eq!(config.cancel_key_length(), 16, "as it was set");
    }
}
