//! Servers are logged in to by what clients have shown, for as long as it serves.

use std::thread;

use crate::harness::{
    Client, Drivers, Login, PATIENCE, Pooler, Postgres, Run, Script, restart, wait_for,
};

#[test]
fn keys_of_a_password_are_derived_once_for_all_logins() {
    let postgres = Postgres::start();
    for (method, purpose) in [
        ("scram-sha-256", "to ask clients for them"),
        ("plain", "to compare it"),
    ] {
        let pooler = Pooler::start(
            &postgres,
            &format!("workers = 1\nverbose = 1\npool_mode = transaction\nauth_type = {method}"),
        );
        let sql = "select rolpassword from pg_authid where rolname = 'scram_user'";
        let secret = match method {
            "plain" => postgres.query(sql).remove(0),
            _ => "secret".to_owned(),
        };
        pooler.write_file("users.txt", &format!("\"scram_user\" \"{secret}\"\n"));
        pooler.reload_files();
        let psql = pooler.psql().user("scram_user").password("secret");
        thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        assert_eq!(psql.who().ok(), "scram_user");
                    }
                });
            }
        });
        assert_eq!(derived(&pooler, purpose), 1, "{method}");
        // A password becomes keys for servers once, however many are opened; the
        // keys that were compared serve as they are.
        let servers = usize::from(method == "scram-sha-256");
        assert_eq!(derived(&pooler, "for servers"), servers, "{method}");
        console(&pooler, "RECONNECT").ok();
        assert_eq!(psql.who().ok(), "scram_user");
        assert_eq!(derived(&pooler, "for servers"), servers, "{method}");
        // Each wrong one costs as much as that of somebody who is not there.
        for count in 1..=2 {
            psql.clone().password("wrong").who().refused();
            let wrong = if method == "plain" { count } else { 0 };
            assert_eq!(derived(&pooler, purpose), 1 + wrong, "{method}");
        }
        let before = derived(&pooler, purpose);
        for count in 1..=2 {
            pooler
                .psql()
                .user("nobody")
                .password("wrong")
                .who()
                .refused();
            let costs = if method == "plain" { count } else { 1 };
            assert_eq!(derived(&pooler, purpose), before + costs, "{method}");
        }
    }
}

#[test]
fn shown_keys_outlive_servers_reloads_workers_and_restarts() {
    let postgres = Postgres::start();
    let sql = "select rolpassword from pg_authid where rolname = 'scram_user'";
    let secret = postgres.query(sql).remove(0);
    for asked in [false, true] {
        let pooler = Pooler::start(&postgres, "workers = 2");
        let users = match asked {
            false => format!("\"postgres\" \"\"\n\"scram_user\" \"{secret}\"\n"),
            true => "\"postgres\" \"\"\n".to_owned(),
        };
        pooler.write_file("users.txt", &users);
        pooler.reload(&settings(&pooler, asked));
        let login = Login::new().user("scram_user").password("secret");
        let client = pooler.connect_to_worker_as(1, &login);
        let other = pooler.connect_to_worker_as(2, &login.clone().database("template1"));
        for step in ["a server is lost", "RELOAD", "MOVE", "RESTART"] {
            match step {
                "RELOAD" => pooler.reload_files(),
                "MOVE" => {
                    let id = id_of(&pooler, "scram_user");
                    console(&pooler, &format!("MOVE CLIENT {id} TO 2")).ok();
                }
                "RESTART" => restart_whole(&pooler),
                _ => {}
            }
            lose_servers(&postgres);
            for client in [&client, &other] {
                assert_eq!(client.value("select current_user"), "scram_user", "{step}");
            }
        }
        // Their worker now is one that has seen no login of them.
        assert_eq!(derived(&pooler, "for servers"), 0);
    }
}

#[test]
fn new_password_opens_servers_at_once_and_the_old_one_is_not_tried_for_ever() {
    let postgres = Postgres::start();
    for user in ["scram_user", "md5_user"] {
        let pooler = Pooler::start(
            &postgres,
            "workers = 1\npool_mode = transaction\nauth_type = plain\n\
             auth_user = postgres\nserver_login_retry = 0.001",
        );
        pooler.write_file("users.txt", "\"postgres\" \"\"\n");
        pooler.reload_files();
        let login = Login::new().user(user).password("secret");
        let sessions: Vec<_> = (0..2).map(|_| pooler.connect_as(&login)).collect();
        assert_eq!(sessions[0].value("select current_user"), user);
        let kind = user.split('_').next().unwrap();
        postgres.query(&format!(
            "set password_encryption = '{}'; alter role {user} password 'other'",
            kind.replace("scram", "scram-sha-256")
        ));
        lose_servers(&postgres);
        let refused = format!("password authentication failed for user \"{user}\"");
        let waiting = sessions[0].start_query("select current_user");
        pooler.wait_log(&format!("none is known for user \"{user}\""));
        assert_eq!(pooler.log().matches(&refused).count(), 1);
        let psql = pooler.psql().user(user);
        psql.clone().password("secret").who().refused();
        assert_eq!(psql.password("other").who().ok(), user);
        // Who was there before goes on.
        assert_eq!(waiting.wait(), Ok(vec![user.to_owned()]));
        assert_eq!(sessions[1].value("select current_user"), user);
        assert_eq!(pooler.log().matches(&refused).count(), 1);
    }
}

#[test]
fn new_password_is_tried_at_once_although_the_old_one_has_just_failed() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 1\npool_mode = transaction\nauth_type = scram-sha-256\n\
         auth_user = postgres\nserver_login_retry = 1000\nquery_wait_timeout = 1",
    );
    pooler.write_file("users.txt", "\"postgres\" \"\"\n");
    pooler.reload_files();
    let script = Script::python(Drivers::New, "psycopg_password.py");
    let run = script.run(
        pooler.port(),
        &[
            "scram_user",
            "secret",
            "other",
            &postgres.port().to_string(),
        ],
    );
    assert_eq!(run.ok(), "changed");
}

#[test]
fn who_has_shown_nothing_yet_is_told_so() {
    let postgres = Postgres::start();
    let sql = "select rolpassword from pg_authid where rolname = 'scram_user'";
    let secret = postgres.query(sql).remove(0);
    let pooler = Pooler::start(&postgres, "workers = 1\nserver_login_retry = 0.05");
    pooler.write_file("users.txt", &format!("\"scram_user\" \"{secret}\"\n"));
    // Nobody is asked for a password, so no key is ever seen.
    pooler.reload_files();
    let login = Login::new().user("scram_user");
    let error = pooler.try_connect(&login).unwrap_err();
    assert_eq!(error.sqlstate, "28P01");
    assert_eq!(
        error.message,
        "server asks for a password, but none is known for user \"scram_user\""
    );
}

#[test]
fn files_that_change_leave_sessions_where_they_are() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let hba = pooler.write_file(
        "hba.conf",
        "local all all trust\nhost all scram_user all password\nhost all all all trust\n",
    );
    let settings = format!(
        "workers = 2\npool_mode = transaction\nauth_type = hba\nauth_user = postgres\n\
         auth_hba_file = {}",
        hba.display()
    );
    pooler.write_file("users.txt", "\"postgres\" \"\"\n");
    pooler.reload(&settings);
    let login = Login::new().user("scram_user").password("secret");
    let client = pooler.connect_to_worker_as(1, &login);
    assert_eq!(client.value("select 1"), "1");
    pooler.write_file(
        "hba.conf",
        "local all all trust\nhost all postgres all trust\nhost all all all reject\n",
    );
    pooler.reload_files();
    assert_eq!(
        pooler.try_connect(&login).unwrap_err().message,
        "login rejected"
    );
    let id = id_of(&pooler, "scram_user");
    console(&pooler, &format!("MOVE CLIENT {id} TO 2")).ok();
    lose_servers(&postgres);
    assert_eq!(client.value("select current_user"), "scram_user");
    let rows = console(&pooler, "SHOW CLIENTS").ok();
    assert!(rows.contains("scram_user"), "{rows}");
}

fn settings(pooler: &Pooler, asked: bool) -> String {
    let lines = "local all all trust\nhost all postgres all trust\nhost all all all password\n";
    let hba = pooler.write_file("hba.conf", lines);
    format!(
        "workers = 2\nverbose = 1\npool_mode = transaction\nauth_type = hba\n\
         auth_hba_file = {}\n{}",
        hba.display(),
        if asked { "auth_user = postgres" } else { "" }
    )
}

/// Replaces the group, and waits until nothing of the old one is left.
fn restart_whole(pooler: &Pooler) {
    let old = pooler.workers();
    restart(pooler);
    wait_for("the old workers to be gone", PATIENCE, || {
        old.values().all(|worker| !worker.is_alive())
    });
}

/// Ends all servers of those who log in with a password.
fn lose_servers(postgres: &Postgres) {
    let theirs = "usename in ('scram_user', 'md5_user')";
    postgres.query(&format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where {theirs}"
    ));
    wait_for("their end", PATIENCE, || {
        postgres.number(&format!(
            "select count(*) from pg_stat_activity where {theirs}"
        )) == 0
    });
}

fn id_of(pooler: &Pooler, user: &str) -> String {
    let console = pooler.connect_unix(&Login::new().database("pgskein"));
    let console: Client = console.unwrap();
    let rows = console.table("SHOW CLIENTS");
    let row = rows.iter().find(|row| row["user"] == user);
    row.expect("a client of this user")["id"].clone()
}

fn console(pooler: &Pooler, command: &str) -> Run {
    let console = pooler.local_psql().user("pgskein").database("pgskein");
    console.run(command)
}

/// How often keys were derived for something.
fn derived(pooler: &Pooler, purpose: &str) -> usize {
    let line = format!("keys of a password are derived, {purpose}");
    pooler.log().matches(&line).count()
}
