//! What prometheus-community's pgbouncer_exporter asks, as it asks it: by a user
//! who may only look, over lib/pq, by the names of the columns.

use std::collections::BTreeMap;

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, wait_for};

#[test]
fn exporter_finds_every_label_and_every_number() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\n\
                    ignore_startup_parameters = extra_float_digits";
    let pooler = Pooler::start(&postgres, settings);
    let client = pooler.connect_to_worker(2);
    client.query("begin").unwrap();
    // lib/pq sends these with every startup.
    let login = Login::new()
        .user("carol")
        .database("pgbouncer")
        .parameter("client_encoding", "UTF8")
        .parameter("datestyle", "ISO, MDY")
        .parameter("extra_float_digits", "2");
    let exporter = pooler.connect_as(&login);

    for (table, labels, numbers) in BY_COLUMN {
        let rows = rows(&exporter, table);
        assert!(!rows.is_empty(), "{table}");
        for row in &rows {
            for label in *labels {
                assert!(row.contains_key(*label), "{table} {label}: {row:?}");
            }
            for number in *numbers {
                let value = row.get(*number).and_then(Option::as_deref);
                let value = value.and_then(|value| value.parse::<f64>().ok());
                assert!(
                    value.is_some_and(|value| value >= 0.0),
                    "{table} {number}: {row:?}"
                );
            }
        }
    }
    let ours = rows(&exporter, "pools");
    let ours = ours.iter().find(|row| text(row, "database") == "postgres");
    assert_eq!(text(ours.unwrap(), "cl_active"), "1");

    let lists = exporter.query("SHOW LISTS;").unwrap();
    let lists: BTreeMap<&str, f64> = lists
        .iter()
        .map(|row| row.split_once('|').unwrap())
        .map(|(list, items)| (list, items.parse().unwrap()))
        .collect();
    for list in LISTS {
        assert!(lists.contains_key(list), "{list}: {lists:?}");
    }
    let config = rows(&exporter, "config");
    for setting in ["max_client_conn", "max_user_connections"] {
        let row = config
            .iter()
            .find(|row| text(row, "key") == setting)
            .unwrap();
        assert_eq!(row.len(), 4);
        assert!(text(row, "value").parse::<f64>().is_ok(), "{row:?}");
    }
    assert_eq!(exporter.query("SHOW VERSION;").unwrap().len(), 1);
}

#[test]
fn users_who_may_look_see_all_tables_but_descriptors() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2");
    let admin = pooler.connect_as(&Login::new().database("pgbouncer"));
    let carol = pooler.connect_as(&Login::new().user("carol").database("pgbouncer"));
    admin.query("SHOW HELP").unwrap();
    for table in [
        "clients",
        "servers",
        "sockets",
        "active_sockets",
        "pools",
        "databases",
        "users",
        "peers",
        "peer_pools",
        "lists",
        "state",
        "leases",
        "mem",
        "dns_hosts",
        "dns_zones",
        "config",
        "version",
        "workers",
        "stats",
        "totals",
    ] {
        let answer = carol.query(&format!("SHOW {table}"));
        assert!(answer.is_ok(), "{table}: {answer:?}");
    }
    carol.query("SHOW FDS").unwrap_err();
    assert_eq!(carol.last_error().unwrap().message, "admin access needed");
    let mut descriptors = Vec::new();
    // The logins by which the pooler was found ready may still be there.
    wait_for("both consoles alone", PATIENCE, || {
        descriptors = rows(&admin, "fds");
        descriptors.len() == 2
    });
    for row in &descriptors {
        assert_eq!(
            (text(row, "task"), text(row, "database")),
            ("client", "pgbouncer")
        );
        assert_eq!(row["password"], None);
    }
}

fn text<'a>(row: &'a BTreeMap<String, Option<String>>, column: &str) -> &'a str {
    row[column].as_deref().unwrap()
}

/// The rows of a table by the names of their columns.
fn rows(console: &Client, table: &str) -> Vec<BTreeMap<String, Option<String>>> {
    console.send_message(b'Q', format!("SHOW {table};\0").as_bytes());
    let heading = console.read_until(b'T');
    let mut names = Vec::new();
    let mut rest = &heading.body[2..];
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        rest = &rest[end + 19..];
    }
    let mut rows = Vec::new();
    loop {
        let message = console.read_message().unwrap();
        match message.tag {
            b'D' => rows.push(names.iter().cloned().zip(message.columns()).collect()),
            b'Z' => return rows,
            _ => {}
        }
    }
}

/// Table, columns that become labels, columns that become numbers.
type ByColumn = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const BY_COLUMN: &[ByColumn] = &[
    (
        "databases",
        &[
            "name",
            "host",
            "port",
            "database",
            "force_user",
            "pool_mode",
        ],
        &[
            "pool_size",
            "max_connections",
            "current_connections",
            "paused",
            "disabled",
        ],
    ),
    (
        "stats_totals",
        &["database"],
        &[
            "query_count",
            "query_time",
            "bytes_received",
            "bytes_sent",
            "wait_time",
            "xact_count",
            "xact_time",
            "client_parse_count",
            "server_parse_count",
            "bind_count",
        ],
    ),
    (
        "pools",
        &["database", "user"],
        &[
            "cl_active",
            "cl_active_cancel_req",
            "cl_waiting",
            "cl_waiting_cancel_req",
            "sv_active",
            "sv_active_cancel",
            "sv_being_canceled",
            "sv_idle",
            "sv_used",
            "sv_tested",
            "sv_login",
            "maxwait",
        ],
    ),
];

const LISTS: [&str; 11] = [
    "databases",
    "users",
    "pools",
    "free_clients",
    "used_clients",
    "login_clients",
    "free_servers",
    "used_servers",
    "dns_names",
    "dns_zones",
    "dns_queries",
];
