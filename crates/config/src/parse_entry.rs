//! An entry of `[databases]` or `[users]`, from its text.

use std::time::Duration;

use crate::choices::{
    LoadBalanceHosts, PoolMode, SessionState, SslNegotiation, TargetSessionAttrs,
};
use crate::config::RESERVED;
use crate::conninfo;
use crate::entries::{Database, User};
use crate::finding::{Finding, unknown};
use crate::ini::Entry;
use crate::keys::{self, Key};
use crate::kind::{Count, Kind, Names, Ports, Seconds};

/// Reads an entry of `[databases]`.
pub(crate) fn database(entry: &Entry) -> Result<Database, Vec<Finding>> {
    if RESERVED.contains(&entry.name.as_str()) {
        let problem = "this name is reserved for the console";
        return Err(vec![entry.place.finding(&entry.name, problem)]);
    }
    let wildcard = entry.name == WILDCARD;
    let mut database = Database {
        name: entry.name.clone(),
        dbname: if wildcard {
            String::new()
        } else {
            entry.name.clone()
        },
        ..Database::default()
    };
    each_key(entry, keys::DATABASE, |key, value| {
        let d = &mut database;
        match key {
            "dbname" => value.clone_into(&mut d.dbname),
            "host" => d.hosts = read::<Names>(value)?,
            "port" => d.ports = read::<Ports>(value)?,
            "load_balance_hosts" => d.load_balance_hosts = read::<LoadBalanceHosts>(value)?,
            "target_session_attrs" => {
                d.target_session_attrs = read::<TargetSessionAttrs>(value)?;
            }
            "sslnegotiation" => d.sslnegotiation = read::<SslNegotiation>(value)?,
            "user" => d.user = Some(value.to_owned()),
            "password" => d.password = Some(value.into()),
            "pool_size" => d.pool_size = count(value)?,
            "min_pool_size" => d.min_pool_size = count(value)?,
            "reserve_pool_size" | "reserve_pool" => d.reserve_pool_size = count(value)?,
            "pool_mode" => d.pool_mode = Some(read::<PoolMode>(value)?),
            "session_state" => d.session_state = Some(read::<SessionState>(value)?),
            "max_db_connections" => d.max_db_connections = count(value)?.filter(|n| *n != 0),
            "max_db_client_connections" => {
                d.max_db_client_connections = count(value)?.filter(|n| *n != 0);
            }
            "server_lifetime" => {
                d.server_lifetime = Some(read::<Seconds>(value)?).filter(|t| *t != Duration::ZERO);
            }
            "query_wait_timeout" => d.query_wait_timeout = Some(read::<Seconds>(value)?),
            "connect_query" => d.connect_query = Some(value.to_owned()),
            "auth_user" => d.auth_user = filled(value),
            "auth_query" => d.auth_query = filled(value),
            "auth_dbname" => d.auth_dbname = filled(value),
            "client_encoding" => d.client_encoding = Some(value.to_owned()),
            "datestyle" => d.datestyle = Some(value.to_owned()),
            "timezone" => d.timezone = Some(value.to_owned()),
            "application_name" => d.application_name = Some(value.to_owned()),
            _ => {}
        }
        Ok(())
    })?;
    let (hosts, ports) = (database.hosts.len(), database.ports.len());
    if ports != 1 && ports != hosts {
        let problem =
            format!("port: {ports} ports for {hosts} hosts, expected one, or one for each");
        return Err(vec![entry.place.finding(&entry.name, problem)]);
    }
    Ok(database)
}

/// A text that an empty one does not replace.
fn filled(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

/// Reads an entry of `[users]`.
pub(crate) fn user(entry: &Entry) -> Result<User, Vec<Finding>> {
    let mut user = User {
        name: entry.name.clone(),
        ..User::default()
    };
    each_key(entry, keys::USER, |key, value| {
        let u = &mut user;
        match key {
            "pool_size" => u.pool_size = count(value)?,
            "reserve_pool_size" => u.reserve_pool_size = count(value)?,
            "pool_mode" => u.pool_mode = Some(read::<PoolMode>(value)?),
            "max_user_connections" => u.max_user_connections = count(value)?,
            "max_user_client_connections" => u.max_user_client_connections = count(value)?,
            "query_timeout" => u.query_timeout = Some(read::<Seconds>(value)?),
            "query_wait_timeout" => u.query_wait_timeout = Some(read::<Seconds>(value)?),
            "idle_transaction_timeout" => {
                u.idle_transaction_timeout = Some(read::<Seconds>(value)?);
            }
            "transaction_timeout" => u.transaction_timeout = Some(read::<Seconds>(value)?),
            "client_idle_timeout" => u.client_idle_timeout = Some(read::<Seconds>(value)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(user)
}

/// What a value has to be that it is not.
pub(crate) struct Expected(&'static str);

/// Splits the entry into its keys and calls `set` with each that may be used.
pub(crate) fn each_key(
    entry: &Entry,
    known: &[Key],
    mut set: impl FnMut(&str, &str) -> Result<(), Expected>,
) -> Result<(), Vec<Finding>> {
    let wrong = |problem: String| entry.place.finding(&entry.name, problem);
    let pairs = conninfo::parse(&entry.value).map_err(|error| vec![wrong(error.to_string())])?;
    let mut findings = Vec::new();
    let mut behind_password = false;
    for (name, value) in pairs {
        if !known.iter().any(|key| key.name == name) {
            let problem = unknown("key", name, known.iter().map(|key| key.name));
            findings.push(wrong(match behind_password {
                // It may be the end of a password with a blank in it.
                true => "unknown key behind the password".to_owned(),
                false => format!("{name}: {problem}"),
            }));
            continue;
        }
        behind_password |= name == "password";
        if let Err(Expected(expected)) = set(name, &value) {
            let problem = format!("{name}: bad value \"{value}\", expected {expected}");
            findings.push(wrong(problem));
        }
    }
    if findings.is_empty() {
        Ok(())
    } else {
        Err(findings)
    }
}

pub(crate) fn read<K: Kind>(text: &str) -> Result<K::Value, Expected> {
    K::parse(text).ok_or(Expected(K::EXPECTED))
}

/// Reads a count, where -1 means the general setting.
pub(crate) fn count(text: &str) -> Result<Option<u32>, Expected> {
    if text == "-1" {
        return Ok(None);
    }
    read::<Count>(text).map(Some)
}

/// Name of the entry that serves all names without an entry of their own.
pub(crate) const WILDCARD: &str = "*";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ini::Section;

    fn entry(name: &str, value: &str) -> Entry {
        Entry::sample(Section::Databases, name, value)
    }

    fn problems<T>(result: Result<T, Vec<Finding>>) -> Vec<String> {
        let findings = result.err().unwrap_or_default();
        findings.iter().map(Finding::to_string).collect()
    }

    #[test]
    fn reads_every_key_of_a_database() {
        let text = "dbname=d host=a,/run port=1,2 load_balance_hosts=disable \
                    target_session_attrs=prefer-standby sslnegotiation=direct user=u password='p w' pool_size=2 \
                    min_pool_size=1 reserve_pool=5 pool_mode=statement session_state=pin \
                    max_db_connections=3 max_db_client_connections=9 server_lifetime=4 \
                    query_wait_timeout=0 connect_query='set x = 1' client_encoding=UTF8 \
                    datestyle=ISO timezone=UTC application_name=app auth_user=au auth_query=aq \
                    auth_dbname=ad";
        let seconds = Duration::from_secs;
        let expected = Database {
            name: "shop".to_owned(),
            dbname: "d".to_owned(),
            hosts: vec!["a".to_owned(), "/run".to_owned()],
            ports: vec![1, 2],
            load_balance_hosts: LoadBalanceHosts::Disable,
            target_session_attrs: TargetSessionAttrs::PreferStandby,
            sslnegotiation: SslNegotiation::Direct,
            user: Some("u".to_owned()),
            password: Some("p w".into()),
            pool_size: Some(2),
            min_pool_size: Some(1),
            reserve_pool_size: Some(5),
            max_db_connections: Some(3),
            max_db_client_connections: Some(9),
            pool_mode: Some(PoolMode::Statement),
            session_state: Some(SessionState::Pin),
            query_wait_timeout: Some(seconds(0)),
            server_lifetime: Some(seconds(4)),
            connect_query: Some("set x = 1".to_owned()),
            auth_user: Some("au".to_owned()),
            auth_query: Some("aq".to_owned()),
            auth_dbname: Some("ad".to_owned()),
            client_encoding: Some("UTF8".to_owned()),
            datestyle: Some("ISO".to_owned()),
            timezone: Some("UTC".to_owned()),
            application_name: Some("app".to_owned()),
        };
        assert_eq!(database(&entry("shop", text)), Ok(expected));
    }

    #[test]
    fn reads_an_empty_entry_as_the_database_of_that_name() {
        let shop = database(&entry("shop", "pool_size=-1 max_db_connections=0")).unwrap();
        assert_eq!((shop.dbname.as_str(), shop.port(0)), ("shop", 5432));
        assert_eq!((shop.pool_size, shop.max_db_connections), (None, None));
        assert_eq!(database(&entry("*", "")).unwrap().dbname, "");
    }

    #[test]
    fn rejects_reserved_names() {
        for name in ["pgskein", "pgbouncer"] {
            assert_eq!(
                problems(database(&entry(name, ""))),
                [format!(
                    "a.ini:2: {name}: this name is reserved for the console"
                )]
            );
        }
    }

    #[test]
    fn rejects_unknown_keys_and_bad_values() {
        assert_eq!(
            problems(database(&entry(
                "shop",
                "pol_size=1 port=x load_balance_hosts=random"
            ))),
            [
                "a.ini:2: shop: pol_size: unknown key, did you mean pool_size?",
                "a.ini:2: shop: port: bad value \"x\", expected ports from 1 to 65535, with commas between them",
                "a.ini:2: shop: load_balance_hosts: bad value \"random\", expected one of round-robin, disable",
            ]
        );
    }

    #[test]
    fn shows_no_part_of_a_password() {
        assert_eq!(
            problems(database(&entry(
                "shop",
                "user=a password=hunter two=2 host=b"
            ))),
            ["a.ini:2: shop: unknown key behind the password"]
        );
    }

    #[test]
    fn takes_one_port_or_one_for_each_host() {
        let shop = database(&entry("shop", "host=a,b port=1")).unwrap();
        assert_eq!([shop.port(0), shop.port(1)], [1, 1]);
        let shop = database(&entry("shop", "host=a,b port=1,2")).unwrap();
        assert_eq!([shop.port(0), shop.port(1)], [1, 2]);
        for wrong in ["host=a,b,c port=1,2", "port=1,2"] {
            let said = problems(database(&entry("shop", wrong)));
            assert!(
                said[0].contains("expected one, or one for each"),
                "{said:?}"
            );
        }
    }

    #[test]
    fn reads_every_key_of_a_user() {
        let text = "pool_size=1 reserve_pool_size=8 pool_mode=session max_user_connections=2 query_timeout=3 \
                    max_user_client_connections=10 \
                    query_wait_timeout=4 idle_transaction_timeout=5 transaction_timeout=6 \
                    client_idle_timeout=7.5";
        let seconds = |s| Some(Duration::from_secs_f32(s));
        let expected = User {
            name: "bob".to_owned(),
            pool_size: Some(1),
            reserve_pool_size: Some(8),
            pool_mode: Some(PoolMode::Session),
            max_user_connections: Some(2),
            max_user_client_connections: Some(10),
            query_timeout: seconds(3.0),
            query_wait_timeout: seconds(4.0),
            idle_transaction_timeout: seconds(5.0),
            transaction_timeout: seconds(6.0),
            client_idle_timeout: seconds(7.5),
        };
        assert_eq!(user(&entry("bob", text)), Ok(expected));
    }
}
