//! Who may say what on the console.

use crate::harness::{Login, Pooler, Postgres, Psql, SqlState};

#[test]
fn stats_user_may_look_and_not_touch() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2");
    let console = pooler.connect_as(&Login::new().user("carol").database("pgskein"));
    for command in ["SHOW WORKERS", "SHOW VERSION", "SHOW CONFIG"] {
        assert!(console.query(command).is_ok(), "{command}");
    }
    for command in ["RELOAD", "SHUTDOWN", "SHUTDOWN WAIT_FOR_CLIENTS"] {
        assert_eq!(console.query(command), Err(SqlState("08P01")), "{command}");
        assert_eq!(console.last_error().unwrap().message, "admin access needed");
    }
    assert_eq!(pooler.exit_status(), None);
}

#[test]
fn others_are_not_let_in() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2");
    for database in ["pgskein", "pgbouncer"] {
        let error = pooler
            .try_connect(&Login::new().user("alice").database(database))
            .unwrap_err();
        assert_eq!(error.sqlstate, "28000");
        assert_eq!(error.message, "not allowed");
    }
}

#[test]
fn console_users_need_their_password() {
    let postgres = Postgres::start();
    let settings = "auth_type = scram-sha-256\nadmin_users = scram_user";
    let pooler = Pooler::start(&postgres, settings);
    let psql = pooler.psql().user("scram_user").database("pgskein");
    assert!(
        psql.clone()
            .password("secret")
            .run("SHOW VERSION")
            .ok()
            .starts_with("pgskein")
    );
    psql.password("wrong").run("SHOW VERSION").refused();
}

#[test]
fn own_account_needs_no_password_over_the_unix_socket() {
    let postgres = Postgres::start();
    let settings = "auth_type = scram-sha-256\nadmin_users =";
    let pooler = Pooler::start(&postgres, settings);
    for user in ["pgbouncer", "pgskein"] {
        for database in ["pgbouncer", "pgskein"] {
            let psql = pooler.local_psql().user(user).database(database);
            assert!(psql.run("SHOW VERSION").ok().starts_with("pgskein"));
            assert_eq!(psql.run("RELOAD").code, Some(0));
        }
    }

    // Not over TCP, and not to a database of PostgreSQL.
    let over_tcp = pooler.psql().user("pgskein").database("pgskein");
    over_tcp.run("SHOW VERSION").refused();
    let elsewhere = pooler.local_psql().user("pgskein").database("postgres");
    elsewhere.run("select 1").refused();
    if pooler.account().is_switched() {
        // Root is another account than the pooler's.
        let root = Psql::to_folder(&pooler.socket_folder(), pooler.port());
        let root = root.user("pgskein").database("pgskein");
        root.run("SHOW VERSION").refused();
    }
}
