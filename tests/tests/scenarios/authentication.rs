//! Who may come in, shown with psql.

use crate::harness::{Login, Pooler, Postgres};

#[test]
fn trust_admits_known_users_only() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "auth_type = trust");
    assert_eq!(pooler.psql().user("alice").who().ok(), "alice");
    let said = pooler.psql().user("stranger").who().refused();
    assert!(said.contains("\"trust\" authentication failed"), "{said}");
}

#[test]
fn any_takes_every_name_and_uses_the_forced_user() {
    let postgres = Postgres::start();
    let database = format!("postgres = {} user=alice", postgres.address());
    let pooler = Pooler::start_for(&database, "auth_type = any");
    assert_eq!(pooler.psql().user("whoever").who().ok(), "alice");
    assert_eq!(pooler.psql().user("postgres").who().ok(), "alice");
}

#[test]
fn plain_md5_and_scram_check_the_password() {
    let postgres = Postgres::start();
    for method in ["plain", "md5", "scram-sha-256"] {
        let pooler = Pooler::start(&postgres, &format!("auth_type = {method}\nworkers = 1"));
        pooler.write_file("users.txt", "\"alice\" \"right\"\n\"postgres\" \"super\"\n");
        pooler.reload_files();
        let alice = pooler.psql().user("alice");
        assert_eq!(alice.clone().password("right").who().ok(), "alice");
        for (user, password) in [
            ("alice", "wrong"),
            ("alice", "right "),
            ("stranger", "right"),
        ] {
            let said = pooler.psql().user(user).password(password).who().refused();
            assert!(refuses_the_password(&said), "{method} {user}: {said}");
        }
        let said = alice.who().refused();
        assert!(said.contains("no password supplied"), "{method}: {said}");
    }
}

#[test]
fn secrets_in_the_file_may_be_hashed() {
    let postgres = Postgres::start();
    let secret = |user: &str| {
        let sql = format!("select rolpassword from pg_authid where rolname = '{user}'");
        postgres.query(&sql).remove(0)
    };
    let (md5, scram) = (secret("md5_user"), secret("scram_user"));
    assert!(md5.starts_with("md5") && scram.starts_with("SCRAM-SHA-256$"));
    let users = format!("\"md5_user\" \"{md5}\"\n\"scram_user\" \"{scram}\"\n");

    // With md5 the stored secret decides.
    for (method, names) in [
        ("plain", &["scram_user"][..]),
        ("md5", &["md5_user", "scram_user"]),
        ("scram-sha-256", &["scram_user"]),
    ] {
        let pooler = start_with_users(&postgres, method, &users);
        for name in names {
            let psql = pooler.psql().user(name);
            // PostgreSQL wants the password too: the hash, or the key learned
            // from the client, must do there.
            assert_eq!(
                &psql.clone().password("secret").who().ok(),
                name,
                "{method}"
            );
            let said = psql.password("wrong").who().refused();
            assert!(refuses_the_password(&said), "{method} {name}: {said}");
        }
    }
}

#[test]
fn key_learned_from_the_client_serves_every_worker() {
    let postgres = Postgres::start();
    let sql = "select rolpassword from pg_authid where rolname = 'scram_user'";
    let users = format!("\"scram_user\" \"{}\"\n", postgres.query(sql).remove(0));
    let pooler = start_with_users(
        &postgres,
        "scram-sha-256\nworkers = 4\npool_mode = transaction",
        &users,
    );
    let psql = pooler.psql().user("scram_user").password("secret");
    for _ in 0..12 {
        assert_eq!(psql.who().ok(), "scram_user");
    }
}

#[test]
fn servers_that_want_a_password_get_it() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "auth_type = trust");
    for user in ["plain_user", "md5_user", "scram_user"] {
        assert_eq!(pooler.psql().user(user).who().ok(), user);
    }
}

#[test]
fn password_of_the_database_line_is_used_with_its_user() {
    let postgres = Postgres::start();
    let line = format!(
        "postgres = {} user=scram_user password=secret",
        postgres.address()
    );
    let pooler = Pooler::start_for(&line, "auth_type = trust\nauth_file = ");
    // With a forced user the name of the client still has to be known.
    let said = pooler.psql().user("alice").who().refused();
    assert!(said.contains("\"trust\" authentication failed"), "{said}");

    let pooler = Pooler::start_for(&line, "auth_type = any");
    assert_eq!(pooler.psql().user("alice").who().ok(), "scram_user");
}

#[test]
fn error_of_the_servers_login_reaches_the_client() {
    let postgres = Postgres::start();
    let pooler = start_with_users(
        &postgres,
        "trust\nserver_login_retry = 0.1",
        "\"scram_user\" \"wrong\"\n",
    );
    let error = pooler
        .try_connect(&Login::new().user("scram_user"))
        .unwrap_err();
    assert_eq!(error.sqlstate, "28P01");
    assert!(error.message.contains("scram_user"), "{error:?}");

    let pooler = Pooler::start(&postgres, "auth_type = trust\nserver_login_retry = 0.1");
    let error = pooler
        .try_connect(&Login::new().database("nowhere"))
        .unwrap_err();
    assert_eq!(error.sqlstate, "3D000");
}

#[test]
fn unknown_database_is_refused() {
    let postgres = Postgres::start();
    let pooler = Pooler::start_for(
        &format!("known = {} dbname=postgres", postgres.address()),
        "",
    );
    assert!(pooler.try_connect(&Login::new().database("known")).is_ok());
    let error = pooler
        .try_connect(&Login::new().database("unknown"))
        .unwrap_err();
    assert_eq!(error.sqlstate, "3D000");
    assert_eq!(error.message, "no such database: unknown");
}

#[test]
fn empty_password_is_refused() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "auth_type = plain");
    let error = pooler
        .try_connect(&Login::new().user("scram_user"))
        .unwrap_err();
    assert_eq!(error.sqlstate, "28P01");
    assert_eq!(error.message, "empty password returned by client");
}

#[test]
fn passwords_are_never_logged() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "auth_type = plain\nverbose = 3");
    let psql = pooler.psql().user("scram_user");
    assert_eq!(psql.clone().password("secret").who().ok(), "scram_user");
    psql.password("hunter2").who().refused();
    for word in ["secret", "hunter2", "SCRAM-SHA-256$"] {
        assert!(!pooler.log_contains(word), "{word} is in the log");
    }
}

fn start_with_users(postgres: &Postgres, method: &str, users: &str) -> Pooler {
    let pooler = Pooler::start(postgres, &format!("auth_type = {method}"));
    let users = format!("{users}\"postgres\" \"\"\n");
    pooler.write_file("users.txt", &users);
    pooler.reload_files();
    pooler
}

fn refuses_the_password(said: &str) -> bool {
    said.contains("password authentication failed") || said.contains("SASL authentication failed")
}
