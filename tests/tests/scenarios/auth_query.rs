//! Secrets of users that the database is asked for.

use std::thread;

use crate::harness::{
    Drivers, Login, Message, PATIENCE, Pooler, Postgres, Psql, Script, Wire, wait_for,
};

#[test]
fn users_of_the_database_log_in_with_the_secrets_it_has_of_them() {
    let postgres = Postgres::start();
    for method in ["md5", "scram-sha-256", "plain"] {
        let pooler = start(&postgres, &format!("auth_type = {method}"));
        let users: &[&str] = match method {
            "md5" | "plain" => &["md5_user", "scram_user"],
            _ => &["scram_user"],
        };
        for user in users {
            let psql = pooler.psql().user(user);
            // The server wants the password too.
            assert_eq!(
                psql.clone().password("secret").who().ok(),
                *user,
                "{method}"
            );
            let said = psql.password("wrong").who().refused();
            assert!(said.contains("authentication failed"), "{method}: {said}");
        }
    }
}

#[test]
fn users_without_a_password_are_refused_like_those_who_are_not_there() {
    let postgres = Postgres::start();
    let sql = "create role late login password 'secret' valid until '2001-01-01'; \
               create role barred nologin password 'secret'";
    postgres.query(sql);
    let pooler = start(&postgres, "auth_type = scram-sha-256");
    let mut said = Vec::new();
    for (user, reason) in [
        ("nobody", "unknown user"),
        ("barred", "unknown user"),
        ("alice", "the user has no valid password"),
        ("late", "the user has no valid password"),
        ("scram_user", "wrong password"),
    ] {
        let run = pooler.psql().user(user).password("guess").who();
        said.push(run.refused().replace(user, "USER"));
        let line = format!("SASL authentication failed ({reason})");
        wait_for(&format!("{user}: {line} in the log"), PATIENCE, || {
            let log = pooler.log();
            log.lines()
                .any(|l| l.contains(&format!("/{user}@")) && l.contains(&line))
        });
    }
    // But for the address of the connection, clients are told the same.
    let texts: Vec<_> = said.iter().map(|text| &text[text.len() - 40..]).collect();
    assert!(texts.iter().all(|text| text == &texts[0]), "{said:?}");
}

#[test]
fn trust_admits_users_of_the_database_only() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "auth_type = trust");
    assert_eq!(pooler.psql().user("alice").who().ok(), "alice");
    let said = pooler.psql().user("nobody").who().refused();
    assert!(said.contains("\"trust\" authentication failed"), "{said}");
}

#[test]
fn unknown_users_see_the_steps_and_the_salt_of_others() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "auth_type = trust\nworkers = 2");
    let lines = "host all postgres all trust\nhost all all all md5\n";
    let hba = pooler.write_file("hba.conf", lines);
    pooler.reload(&settings(&format!(
        "auth_type = hba\nworkers = 2\nauth_hba_file = {}",
        hba.display()
    )));
    let first = |slot, user: &str| server_first(&mut pooler.wire_to_worker(slot), user);
    let known = first(1, "scram_user");
    for user in ["nobody", "alice"] {
        let unknown = first(1, user);
        assert_eq!(
            unknown,
            first(1, user),
            "the salt of {user} is always the same"
        );
        assert_eq!(unknown, first(2, user), "and everywhere");
        assert_ne!(unknown.0, known.0);
        assert_eq!(unknown.0.len(), known.0.len());
        assert_eq!(unknown.1, known.1, "iterations");
    }
}

#[test]
fn query_user_and_database_are_those_of_the_entry() {
    let postgres = Postgres::start();
    postgres.query("create database secrets");
    let direct = Psql::to_port(postgres.port())
        .user("postgres")
        .database("secrets");
    direct
        .run(
            "create schema keys; create table keys.people (name text, secret text); \
             insert into keys.people values ('alice', 'from the table'); \
             create function keys.find(wanted text, out name text, out secret text) \
               language sql as 'select name, secret from keys.people where name = wanted'; \
             grant usage on schema keys to bob; grant select on keys.people to bob",
        )
        .ok();
    let address = postgres.address();
    let databases = format!(
        "secrets = {address}\npostgres = {address}\n\
         shop = {address} dbname=postgres auth_dbname=secrets auth_user=bob \
         auth_query='select name, secret from keys.find($1)'"
    );
    let pooler = Pooler::start_for(&databases, "auth_file = ");
    pooler.write_file("users.txt", "\"bob\" \"\"\n\"postgres\" \"\"\n");
    let users = pooler.write_file("users.txt", "\"bob\" \"\"\n\"postgres\" \"\"\n");
    pooler.reload(&format!(
        "auth_type = scram-sha-256\nauth_user = postgres\nauth_file = {}",
        users.display()
    ));
    let shop = pooler.psql().user("alice").database("shop");
    assert_eq!(shop.clone().password("from the table").who().ok(), "alice");
    shop.clone().password("secret").who().refused();
    // The function returns a row of nulls for somebody whom it does not find.
    shop.user("nobody").password("secret").who().refused();
    let postgres = pooler.psql().user("scram_user");
    assert_eq!(postgres.password("secret").who().ok(), "scram_user");
    let console = pooler.local_psql().user("pgskein").database("pgskein");
    let pools = console.run("SHOW POOLS").ok();
    assert!(pools.contains("secrets|bob (auth_query)|"), "{pools}");
    assert!(pools.contains("postgres|postgres (auth_query)|"), "{pools}");
    let leases = console.run("SHOW LEASES").ok();
    assert!(leases.contains("secrets|bob (auth_query)|"), "{leases}");
}

#[test]
fn each_login_asks_anew() {
    let postgres = Postgres::start();
    let pooler = start(
        &postgres,
        "auth_type = scram-sha-256\npool_mode = transaction",
    );
    let psql = pooler.psql().user("scram_user");
    assert_eq!(psql.clone().password("secret").who().ok(), "scram_user");
    postgres.query("alter role scram_user password 'other'");
    psql.clone().password("secret").who().refused();
    assert_eq!(psql.clone().password("other").who().ok(), "scram_user");
    // With the new key a new server is logged in to.
    let console = pooler.local_psql().user("pgskein").database("pgskein");
    console.run("RECONNECT").ok();
    assert_eq!(psql.password("other").who().ok(), "scram_user");
}

#[test]
fn logins_queue_for_the_servers_that_are_asked() {
    let postgres = Postgres::start();
    let query = "select rolname, rolpassword from pg_catalog.pg_authid, pg_catalog.pg_sleep(0.02) \
                 where rolname operator(pg_catalog.=) $1";
    let pooler = start(
        &postgres,
        &format!(
            "auth_type = scram-sha-256\nworkers = 2\ndefault_pool_size = 1\npool_mode = transaction\nauth_query = {query}"
        ),
    );
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..4 {
                    let psql = pooler.psql().user("scram_user").password("secret");
                    assert_eq!(psql.who().ok(), "scram_user");
                }
            });
        }
    });
    let asked = postgres.number(
        "select count(*) from pg_stat_activity where usename = 'postgres' and query ~ 'pg_sleep' \
         and pid <> pg_backend_pid()",
    );
    assert!(asked <= 1, "{asked} servers for a pool of one");
}

#[test]
fn login_that_waits_for_an_answer_ends_at_its_timeout() {
    let postgres = Postgres::start();
    let query = "select rolname, rolpassword from pg_catalog.pg_authid, pg_catalog.pg_sleep(60) \
                 where rolname operator(pg_catalog.=) $1";
    let pooler = start(
        &postgres,
        &format!("auth_type = scram-sha-256\nclient_login_timeout = 1\nauth_query = {query}"),
    );
    let error = pooler
        .try_connect(&Login::new().user("scram_user"))
        .unwrap_err();
    assert_eq!(error.sqlstate, "57014");
    assert_eq!(error.message, "client_login_timeout");
}

#[test]
fn wrong_queries_and_lost_servers_refuse_the_login_and_are_logged() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "auth_type = scram-sha-256");
    for (setting, sqlstate, logged) in [
        (
            "auth_query = select rolname from pg_catalog.pg_authid where rolname = $1",
            "F0000",
            "(auth_query: its row has not two columns, name and secret)",
        ),
        (
            "auth_query = select $1, rolpassword from pg_catalog.pg_authid",
            "F0000",
            "(auth_query: it returns more than one row)",
        ),
        (
            "auth_query = select 'postgres', 'secret' where $1 <> ''",
            "F0000",
            "(auth_query: it returns another user than was asked for)",
        ),
        (
            "auth_query = select name, secret from lookup($1)",
            "F0000",
            "(auth_query: 42883 function lookup(unknown) does not exist; search_path is empty",
        ),
        (
            "auth_user = md5_user",
            "08006",
            "none is known for user \"md5_user\")",
        ),
    ] {
        let settings = settings(&format!("auth_type = scram-sha-256\n{setting}"));
        pooler.reload(&settings);
        let error = pooler
            .try_connect(&Login::new().user("scram_user"))
            .unwrap_err();
        assert_eq!(error.sqlstate, sqlstate, "{setting}");
        assert_eq!(error.message, "authentication query failed", "{setting}");
        pooler.wait_log(logged);
    }
    pooler.reload(&settings("auth_type = scram-sha-256"));
    let psql = pooler.psql().user("scram_user").password("secret");
    assert_eq!(psql.who().ok(), "scram_user");
    for word in ["secret'", "SCRAM-SHA-256$"] {
        assert!(!pooler.log_contains(word), "{word} is in the log");
    }
}

#[test]
fn disabled_database_answers_nobody() {
    let postgres = Postgres::start();
    let (pooler, console) = start_with_secrets_elsewhere(&postgres);
    console.run("DISABLE secrets").ok();
    let login = Login::new().user("scram_user");
    assert_eq!(pooler.try_connect(&login).unwrap_err().sqlstate, "57P03");
    console.run("ENABLE secrets").ok();
    // The console itself is one of those that ask there.
    let psql = pooler.psql().user("scram_user").database("pgskein");
    let said = psql.password("secret").run("SHOW VERSION").refused();
    assert!(said.contains("not allowed"), "{said}");
}

#[test]
fn paused_database_keeps_logins_waiting_for_its_answer() {
    let postgres = Postgres::start();
    let (pooler, console) = start_with_secrets_elsewhere(&postgres);
    console.run("PAUSE secrets").ok();
    let psql = pooler.psql().user("scram_user").password("secret");
    let waiting = psql.start("select current_user");
    let row = "secrets|postgres (auth_query)|0|1|";
    wait_for("the login to wait", PATIENCE, || {
        console.run("SHOW POOLS").ok().contains(row)
    });
    console.run("RESUME secrets").ok();
    assert_eq!(waiting.wait(), "", "psql complains of nothing");
    // A login is given up at its timeout here as elsewhere.
    pooler.reload(&settings(
        "auth_type = scram-sha-256\nauth_dbname = secrets\nclient_login_timeout = 1",
    ));
    console.run("PAUSE secrets").ok();
    let said = psql.who().refused();
    assert!(said.contains("client_login_timeout"), "{said}");
    console.run("RESUME secrets").ok();
}

#[test]
fn psycopg_logs_in_by_all_ways() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "auth_type = trust");
    let lines = "host all md5_user all md5\nhost all scram_user all scram-sha-256\n\
                 host all plain_user all password\nhost all bob all reject\n";
    let hba = pooler.write_file("hba.conf", lines);
    let hba = format!("auth_type = hba\nauth_hba_file = {}", hba.display());
    pooler.reload(&settings(&hba));
    let script = Script::python(Drivers::New, "psycopg_login.py");
    let log_in = |user: &str, password: &str, expected: &str| {
        let run = script.run(pooler.port(), &[user, password, expected]);
        run.ok()
    };
    for user in ["md5_user", "scram_user"] {
        assert_eq!(log_in(user, "secret", ""), user);
        let said = log_in(user, "wrong", "authentication failed");
        assert_eq!(said, "refused");
    }
    for user in ["plain_user", "nobody"] {
        pooler.write_file("hba.conf", "host all all all password\n");
        pooler.reload_files();
        let said = log_in(user, "wrong", "password authentication failed");
        assert_eq!(said, "refused");
    }
    pooler.write_file("hba.conf", lines);
    pooler.reload_files();
    assert_eq!(log_in("bob", "secret", "login rejected"), "refused");
}

/// CVE-2025-12819.
#[test]
fn no_client_steers_what_the_query_finds() {
    let postgres = Postgres::start();
    postgres.query(
        "create schema evil; grant usage on schema evil to public; \
         create table evil.pg_authid (rolname name, rolpassword text, rolvaliduntil timestamptz, rolcanlogin bool); \
         insert into evil.pg_authid values ('alice', 'known', null, true); \
         grant select on evil.pg_authid to public; \
         create function evil.now() returns timestamptz language sql as 'select null::timestamptz'",
    );
    for query in [
        "",
        "auth_query = select rolname, rolpassword from pg_authid where rolname = $1",
    ] {
        let settings = format!(
            "auth_type = scram-sha-256\ntrack_extra_parameters = search_path\nworkers = 1\n\
             default_pool_size = 1\npool_mode = session\nsession_state = pass\n\
             server_reset_query =\n{query}"
        );
        let pooler = start(&postgres, &settings);
        pooler.write_file("users.txt", "\"postgres\" \"super\"\n");
        pooler.reload_files();
        let guess = |database: &str| {
            let psql = pooler.psql().user("alice").database(database);
            let psql = psql.option("options", "-c search_path=evil,pg_catalog");
            psql.password("known").who().refused()
        };
        // By its own startup packet, before a server is there and after.
        for _ in 0..2 {
            let said = guess("postgres");
            assert!(said.contains("authentication failed"), "{said}");
        }
        // As a client that has a server as the user who asks.
        let asker = pooler.psql().user("postgres").password("super");
        asker
            .run("create temp table pg_authid as table evil.pg_authid; set search_path = evil, pg_catalog")
            .ok();
        let said = guess("postgres");
        assert!(said.contains("authentication failed"), "{said}");
    }
    // Whoever may change the settings of the user does not reach it either.
    postgres.query(
        "alter role postgres set search_path = evil, pg_catalog; \
         alter database postgres set search_path = evil, pg_catalog",
    );
    let pooler = start(
        &postgres,
        "auth_type = scram-sha-256\n\
         auth_query = select rolname, rolpassword from pg_authid where rolname = $1",
    );
    let said = pooler
        .psql()
        .user("alice")
        .password("known")
        .who()
        .refused();
    assert!(said.contains("authentication failed"), "{said}");
    let psql = pooler.psql().user("scram_user").password("secret");
    assert_eq!(psql.who().ok(), "scram_user");
}

/// A pooler that knows `postgres` only, who asks for the others.
fn start(postgres: &Postgres, more: &str) -> Pooler {
    let pooler = Pooler::start(postgres, &settings(more));
    pooler.write_file("users.txt", "\"postgres\" \"\"\n");
    pooler.reload_files();
    pooler
}

/// The same, which asks in another database than clients use, and its console.
fn start_with_secrets_elsewhere(postgres: &Postgres) -> (Pooler, Psql) {
    let address = postgres.address();
    let databases = format!("secrets = {address} dbname=postgres\npostgres = {address}");
    let settings = settings("auth_type = scram-sha-256\nauth_dbname = secrets");
    let pooler = Pooler::start_for(&databases, &settings);
    pooler.write_file("users.txt", "\"postgres\" \"\"\n");
    pooler.reload_files();
    let console = pooler.local_psql().user("pgskein").database("pgskein");
    (pooler, console)
}

fn settings(more: &str) -> String {
    format!("auth_user = postgres\n{more}")
}

/// Salt and iterations of the challenge for a user.
pub(crate) fn server_first(wire: &mut Wire, user: &str) -> (String, String) {
    wire.send(&Login::new().user(user).packet());
    let request = read(wire);
    assert_eq!(
        request.body[..4],
        [0, 0, 0, 10],
        "{user} is asked for SCRAM"
    );
    let first = b"n,,n=,r=abcdefghijklmnop";
    let mut body = b"SCRAM-SHA-256\0".to_vec();
    body.extend_from_slice(&u32::try_from(first.len()).unwrap().to_be_bytes());
    body.extend_from_slice(first);
    wire.send_message(b'p', &body);
    let challenge = read(wire);
    assert_eq!(challenge.body[..4], [0, 0, 0, 11], "{user}");
    let text = String::from_utf8(challenge.body[4..].to_vec()).unwrap();
    let field = |name: &str| {
        let mut fields = text.split(',');
        fields
            .find_map(|field| field.strip_prefix(name))
            .unwrap()
            .to_owned()
    };
    (field("s="), field("i="))
}

fn read(wire: &mut Wire) -> Message {
    wire.read_message().expect("an answer")
}
