//! From the entries of the files to a whole configuration.

use std::collections::BTreeMap;
use std::path::Path;

use zeroize::{Zeroize, Zeroizing};

use crate::check;
use crate::checker;
use crate::choices::AuthType;
use crate::config::Config;
use crate::finding::Place;
use crate::finding::{Finding, unknown};
use crate::hba::{Hba, IdentMap, check_certificates};
use crate::ini::{Entry, Fetch, Section, scan};
use crate::parse_entry::{self, WILDCARD};
use crate::parse_peer;
use crate::settings::{SetError, SettingInfo, Status, When};
use crate::table::table;
use crate::tls;
use crate::userlist;

/// Reads the configuration whose main file is `main`, where these settings have
/// other values, on a host of this name.
///
/// # Errors
///
/// Everything that is wrong with it, by file and line.
pub(crate) fn load(
    main: &Path,
    overrides: &BTreeMap<String, String>,
    host_name: &str,
    fetch: &mut Fetch<'_>,
) -> Result<Config, Vec<Finding>> {
    let (config, findings) = examine(main, overrides, host_name, fetch);
    if findings.is_empty() {
        Ok(config)
    } else {
        Err(findings)
    }
}

/// What can be read of the same, and everything that is wrong with it, by file and
/// line.
pub(crate) fn examine(
    main: &Path,
    overrides: &BTreeMap<String, String>,
    host_name: &str,
    fetch: &mut Fetch<'_>,
) -> (Config, Vec<Finding>) {
    let (entries, findings) = scan(main, fetch);
    let mut load = Load {
        config: Config::default(),
        findings,
        peer_places: BTreeMap::new(),
    };
    for mut entry in entries {
        load.entry(&entry);
        // It may be the password of a database.
        entry.value.zeroize();
    }
    for (name, value) in overrides {
        load.overridden(name, value);
    }
    load.auth_file(fetch);
    load.tls(main, fetch);
    load.peer_id(host_name);
    load.hba(fetch);
    let findings = checker::resolve(&mut load.config, fetch);
    load.findings.extend(findings);
    if load.findings.is_empty() {
        let (findings, warnings) = check::check(&load.config, main);
        load.findings = findings;
        load.config.warnings.extend(warnings);
    }
    let mut findings = load.findings;
    findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    (load.config, findings)
}

struct Load {
    config: Config,
    findings: Vec<Finding>,
    /// Where each peer was given.
    peer_places: BTreeMap<u16, Place>,
}

impl Load {
    /// Takes over one entry; a later one with the same name replaces it.
    fn entry(&mut self, entry: &Entry) {
        let result = match entry.section {
            Section::Settings => self.setting(&entry.place, &entry.name, &entry.value),
            Section::Databases => self.database(entry),
            Section::Users => parse_entry::user(entry).map(|user| {
                self.config.users.insert(user.name.clone(), user);
            }),
            Section::Peers => self.peer(entry),
        };
        if let Err(findings) = result {
            self.findings.extend(findings);
        }
    }

    /// Takes over a setting that was given while the group runs.
    fn overridden(&mut self, name: &str, value: &str) {
        let place = Place::default();
        let restart = table()
            .iter()
            .any(|info| info.name == name && info.takes_effect != When::Now);
        if restart {
            let problem = "takes effect at the next start only";
            self.findings.push(place.finding(name, problem));
        } else if let Err(findings) = self.setting(&place, name, value) {
            self.findings.extend(findings);
        }
    }

    fn setting(&mut self, place: &Place, name: &str, value: &str) -> Result<(), Vec<Finding>> {
        let wrong = |problem: String| vec![place.finding(name, problem)];
        let Some(info) = table().iter().find(|info| info.name == name) else {
            let problem = unknown("setting", name, table().iter().map(|info| info.name));
            return Err(wrong(problem));
        };
        let repeated = self
            .config
            .places
            .insert(info.name, place.clone())
            .is_some();
        let result = self.config.settings.set(name, value);
        if let Status::Obsolete(reason) = info.status {
            if !repeated {
                let problem = format!("is obsolete and has no effect: {reason}");
                self.config.warnings.push(place.finding(name, problem));
            }
            return Ok(());
        }
        match result {
            Ok(()) => self.built(info).map_err(wrong),
            Err(SetError::Value(expected)) => {
                Err(wrong(format!("bad value \"{value}\", expected {expected}")))
            }
            Err(SetError::Unknown) => Err(wrong("unknown setting".to_owned())),
        }
    }

    /// Whether the value that `info` has now is built; if not, what to say.
    fn built(&self, info: &SettingInfo) -> Result<(), String> {
        let value = self.config.settings.value(info.name).unwrap_or_default();
        match info.status {
            Status::OnlyDefault if value != info.default => Err("not supported yet".to_owned()),
            _ => Ok(()),
        }
    }

    fn database(&mut self, entry: &Entry) -> Result<(), Vec<Finding>> {
        let database = parse_entry::database(entry)?;
        if database.password.is_some() && database.user.is_none() {
            let problem = "password: has no effect without user";
            let warning = entry.place.finding(&entry.name, problem);
            self.config.warnings.push(warning);
        }
        if entry.name == WILDCARD {
            self.config.wildcard = Some(database);
        } else {
            self.config.databases.insert(entry.name.clone(), database);
        }
        Ok(())
    }

    /// Takes over a peer, or a range of them; the last line about one counts.
    fn peer(&mut self, entry: &Entry) -> Result<(), Vec<Finding>> {
        for peer in parse_peer::peers(entry)? {
            let place = entry.place.clone();
            if let Some(before) = self.peer_places.insert(peer.id, place) {
                let problem = format!("peer {} is given at {before} too, this counts", peer.id);
                let warning = entry.place.finding(&entry.name, problem);
                self.config.warnings.push(warning);
            }
            self.config.peers.insert(peer.id, peer);
        }
        Ok(())
    }

    /// Finds out which peer this host is.
    fn peer_id(&mut self, host_name: &str) {
        match self.config.settings.peer_id.resolve(host_name) {
            Ok(id) => self.config.peer_id = id,
            Err(problem) => {
                let place = self.config.places.get("peer_id").cloned();
                let finding = place.unwrap_or_default().finding("peer_id", problem);
                self.findings.push(finding);
            }
        }
    }

    fn tls(&mut self, main: &Path, fetch: &mut Fetch<'_>) {
        let (findings, warnings) = tls::resolve(&mut self.config, main, fetch);
        self.findings.extend(findings);
        self.config.warnings.extend(warnings);
    }

    fn auth_file(&mut self, fetch: &mut Fetch<'_>) {
        let file = &self.config.settings.auth_file;
        let Some(place) = self
            .config
            .places
            .get("auth_file")
            .filter(|_| !file.is_empty())
        else {
            return;
        };
        match fetch(Path::new(file)) {
            Ok(text) => {
                let text = Zeroizing::new(text);
                let (users, findings) = userlist::parse(&text, file);
                self.config.auth = users;
                self.findings.extend(findings);
            }
            Err(reason) => {
                let problem = format!("cannot read {file}: {reason}");
                self.findings.push(place.finding("auth_file", problem));
            }
        }
    }

    /// Reads the files of `auth_type = hba`; they are of no use to others.
    fn hba(&mut self, fetch: &mut Fetch<'_>) {
        let config = &mut self.config;
        let settings = &config.settings;
        if settings.auth_type != AuthType::Hba {
            return;
        }
        let place = |name| config.places.get(name).cloned().unwrap_or_default();
        let findings = &mut self.findings;
        if settings.auth_hba_file.is_empty() {
            let problem = "hba needs auth_hba_file";
            findings.push(place("auth_type").finding("auth_type", problem));
        } else {
            let file = Path::new(&settings.auth_hba_file);
            config.hba = read(Hba::read(file, &place("auth_hba_file"), fetch), findings);
        }
        if !settings.auth_ident_file.is_empty() {
            let file = Path::new(&settings.auth_ident_file);
            let result = IdentMap::read(file, &place("auth_ident_file"), fetch);
            config.ident = read(result, findings);
        }
        let (wrong, warnings) = check_certificates(&config.hba, config);
        findings.extend(wrong);
        config.warnings.extend(warnings);
        for (place, map) in config.hba.mapped() {
            if !config.ident.has(map) {
                let problem = format!("map={map}: no line of auth_ident_file has this map");
                config.warnings.push(place.finding("", problem));
            }
        }
    }
}

/// Takes what was read, or notes why it was not.
fn read<T: Default>(result: Result<T, Vec<Finding>>, findings: &mut Vec<Finding>) -> T {
    result.unwrap_or_else(|more| {
        findings.extend(more);
        T::default()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn load_text(text: &str) -> Result<Config, Vec<String>> {
        let mut fetch = |path: &Path| match path.to_str() {
            Some("a.ini") => Ok(text.to_owned()),
            Some("users.txt") => Ok("\"alice\" \"hunter2\"\n".to_owned()),
            Some("hba") => Ok("local all all peer map=m\nhost all @dbs all md5\n".to_owned()),
            Some("dbs") => Ok("shop\n".to_owned()),
            Some("ident") => Ok("m root alice\n".to_owned()),
            Some("broken.txt") => Ok("\nalice\n".to_owned()),
            _ => Err("no such file".to_owned()),
        };
        load(Path::new("a.ini"), &BTreeMap::new(), "pooler-1", &mut fetch)
            .map_err(|findings| findings.iter().map(Finding::to_string).collect())
    }

    fn problems(text: &str) -> Vec<String> {
        load_text(text).err().unwrap_or_default()
    }

    fn warnings(text: &str) -> Vec<String> {
        let config = load_text(text).unwrap();
        config.warnings.iter().map(Finding::to_string).collect()
    }

    #[test]
    fn reads_a_file_of_pgbouncer() {
        let config = load_text(
            "[databases]\n* = host=10.0.0.9\nshop = port=5433\n[users]\nbob = pool_size=2\n\
             [pgbouncer]\nlisten_addr = *\nauth_file = users.txt\npool_mode = Transaction\n",
        )
        .unwrap();
        assert_eq!(config.settings.pool_mode, crate::PoolMode::Transaction);
        assert_eq!(config.settings.listen_addr, ["*"]);
        assert_eq!(config.databases["shop"].port(0), 5433);
        assert_eq!(config.wildcard.unwrap().hosts, ["10.0.0.9"]);
        assert_eq!(config.users["bob"].pool_size, Some(2));
        assert_eq!(config.auth["alice"], "hunter2");
        assert_eq!(config.places["pool_mode"].line, 9);
        assert_eq!(config.warnings, []);
    }

    #[test]
    fn keeps_the_last_of_repeated_values() {
        let config =
            load_text("[pgskein]\nauth_type=trust\nlisten_port=1\n[pgbouncer]\nlisten_port=2\n");
        assert_eq!(config.unwrap().settings.listen_port, 2);
    }

    #[test]
    fn rejects_unknown_settings_with_a_suggestion() {
        assert_eq!(
            problems("[pgskein]\npool_siz = 1\n"),
            ["a.ini:2: pool_siz: unknown setting, did you mean pool_mode?"]
        );
    }

    #[test]
    fn rejects_bad_values_and_says_what_is_expected() {
        assert_eq!(
            problems("[pgskein]\npool_mode = x\nlisten_port = 0\nworkers = many\n"),
            [
                "a.ini:2: pool_mode: bad value \"x\", expected one of session, transaction, statement",
                "a.ini:3: listen_port: bad value \"0\", expected a port from 1 to 65535",
                "a.ini:4: workers: bad value \"many\", expected a whole number or auto",
            ]
        );
    }

    #[test]
    fn rejects_what_is_not_built_but_accepts_its_default() {
        assert_eq!(
            problems("[pgskein]\nconffile = x\nserver_fast_close = 1\n"),
            [
                "a.ini:2: conffile: not supported yet",
                "a.ini:3: server_fast_close: not supported yet",
            ]
        );
        let text = "[pgskein]\nauth_type = any\nproxy_protocol = 0\nmax_prepared_statements = 0\n\
                    client_tls_sslmode = disable\nserver_tls_sslmode = allow\n";
        assert_eq!(problems(text), [""; 0]);
    }

    #[test]
    fn warns_once_of_an_obsolete_setting_whatever_its_value() {
        assert_eq!(
            warnings("[pgskein]\nauth_type=any\npkt_buf = big\npkt_buf = 1\n"),
            [
                "a.ini:3: pkt_buf: is obsolete and has no effect: an idle connection has no buffer here"
            ]
        );
    }

    #[test]
    fn numbers_this_host_by_its_name() {
        let text = "[pgskein]\nauth_type=any\npeer_id = hostname\n[peers]\n1-3 = host=pooler-%d\n";
        let config = load_text(text).unwrap();
        assert_eq!(config.peer_id, Some(2));
        let others: Vec<_> = config.other_peers().map(|p| p.host.as_str()).collect();
        assert_eq!(others, ["pooler-0", "pooler-2"]);
    }

    #[test]
    fn names_every_bad_line_of_the_peers() {
        assert_eq!(
            problems("[peers]\n1 = host=a\n2 = port=x\n0 = host=a\n3 = host=c kond=x\n"),
            [
                "a.ini:3: 2: port: bad value \"x\", expected a port from 1 to 65535",
                "a.ini:4: 0: expected the id of a peer, 1 to 16383, or two with a dash between them",
                "a.ini:5: 3: kond: unknown key, did you mean kind?",
            ]
        );
    }

    #[test]
    fn warns_of_peers_that_are_given_twice() {
        let text = "[pgskein]\nauth_type=any\npeer_id=9\n[peers]\n1-2 = host=a-%d\n2 = host=b\n";
        assert_eq!(
            warnings(text),
            ["a.ini:6: 2: peer 2 is given at a.ini:5 too, this counts"]
        );
        assert_eq!(load_text(text).unwrap().peers[&2].host, "b");
    }

    #[test]
    fn names_the_line_of_a_missing_or_broken_auth_file() {
        assert_eq!(
            problems("[pgskein]\nauth_file = gone.txt\n"),
            ["a.ini:2: auth_file: cannot read gone.txt: no such file"]
        );
        assert_eq!(
            problems("[pgskein]\nauth_file = broken.txt\n"),
            ["broken.txt:2: expected \"user\" \"secret\""]
        );
    }

    #[test]
    fn reads_the_hba_file_only_where_it_is_used() {
        let files = "auth_file = users.txt\nauth_hba_file = hba\nauth_ident_file = ident\n";
        let config = load_text(&format!("[pgskein]\nauth_type = hba\n{files}")).unwrap();
        assert_eq!(config.hba.mapped().count(), 1);
        assert!(config.ident.admits(Some("m"), "root", "alice"));
        assert_eq!(config.warnings, []);
        let gone = "[pgskein]\nauth_type = any\nauth_hba_file = gone\n";
        assert_eq!(problems(gone), [""; 0]);
        assert_eq!(
            problems("[pgskein]\nauth_type = hba\nauth_hba_file = gone\nauth_ident_file = x\n"),
            [
                "a.ini:3: auth_hba_file: cannot read gone: no such file",
                "a.ini:4: auth_ident_file: cannot read x: no such file",
            ]
        );
        assert_eq!(
            problems("[pgskein]\nauth_type = hba\n"),
            ["a.ini:2: auth_type: hba needs auth_hba_file"]
        );
    }

    #[test]
    fn warns_of_a_map_that_has_no_line() {
        assert_eq!(
            warnings("[pgskein]\nauth_type = hba\nauth_file = users.txt\nauth_hba_file = hba\n"),
            ["hba:1: map=m: no line of auth_ident_file has this map"]
        );
    }

    #[test]
    fn warns_of_a_password_that_nobody_uses_without_showing_it() {
        assert_eq!(
            warnings("[databases]\na = password=hunter2\n[pgskein]\nauth_type=any\n"),
            ["a.ini:2: a: password: has no effect without user"]
        );
    }

    proptest! {
        #[test]
        fn never_panics(text: String) {
            let _ = load_text(&text);
        }

        #[test]
        fn never_panics_on_what_looks_like_a_configuration(
            lines in proptest::collection::vec(
                "(\\[(pgskein|databases|users|peers)\\]|[a-z_*\"]{1,12} ?[=:] ?[a-z0-9='\"\\\\ ]{0,20}|%include a.ini)",
                0..12,
            ),
        ) {
            let _ = load_text(&lines.join("\n"));
        }
    }
}
