//! Who is not there is asked like all others, always by the same bytes.

use std::fs;

use crate::auth_query::server_first;
use crate::harness::{Login, PATIENCE, Pooler, Postgres, Signal, restart, wait_for};

#[test]
fn salt_of_unknown_users_outlives_workers_files_and_the_group() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "");
    let known = salt(&pooler, 1, "scram_user");
    let nobody = salt(&pooler, 1, "nobody");
    assert_ne!(nobody, salt(&pooler, 1, "somebody"));
    // Nothing tells it from a salt of PostgreSQL.
    assert_eq!(nobody.0.len(), known.0.len());
    assert_eq!(nobody.1, known.1);
    for step in ["another worker", "a new one", "other users", "RESTART"] {
        match step {
            "a new one" => {
                let old = pooler.worker(2);
                old.signal(Signal::SIGKILL);
                pooler.wait_replaced(2, old);
            }
            "other users" => {
                let users = "\"postgres\" \"\"\n\"plain_user\" \"secret\"\n\"eve\" \"her own\"\n";
                pooler.write_file("users.txt", users);
                pooler.reload_files();
            }
            "RESTART" => restart_whole(&pooler),
            _ => {}
        }
        for slot in [1, 2] {
            assert_eq!(salt(&pooler, slot, "nobody"), nobody, "{step}");
        }
    }
    // A plain password has the salt of nobody too, in all workers.
    let plain = salt(&pooler, 1, "plain_user");
    assert_eq!(salt(&pooler, 2, "plain_user"), plain);
    assert_eq!(plain.0.len(), known.0.len());

    // Another group on this host: the same, if the host is known by something.
    let other = start(&postgres, "");
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let same = salt(&other, 1, "nobody") == nobody;
    assert_eq!(same, !id.trim().is_empty(), "machine-id {id:?}");
}

#[test]
fn unknown_users_are_asked_with_the_number_of_iterations_that_others_have() {
    let postgres = Postgres::start();
    let sql = "select rolpassword from pg_authid where rolname = 'scram_user'";
    let secret = postgres.query(sql).remove(0);
    let slow = secret.replacen("$4096:", "$5000:", 1);
    assert_ne!(slow, secret);
    postgres.query(&format!("alter role scram_user password '{slow}'"));
    let pooler = start(&postgres, "auth_user = postgres");
    pooler.write_file("users.txt", "\"postgres\" \"\"\n");
    pooler.reload_files();
    let known = salt(&pooler, 1, "scram_user");
    assert_eq!(known.1, "5000");
    // One with an MD5 secret cannot log in here, and is not told so.
    for user in ["nobody", "md5_user", "alice"] {
        let unknown = salt(&pooler, 1, user);
        assert_eq!(unknown.1, known.1, "{user}");
        assert_eq!(unknown.0.len(), known.0.len(), "{user}");
    }
    // A worker that has fetched none asks as the others do, also a new one.
    let told = |slot| {
        wait_for("the worker to be told", PATIENCE, || {
            salt(&pooler, slot, "nobody").1 == known.1
        });
    };
    told(2);
    let old = pooler.worker(2);
    old.signal(Signal::SIGKILL);
    pooler.wait_replaced(2, old);
    told(2);
    restart_whole(&pooler);
    told(1);
    told(2);
}

#[test]
fn first_answer_tells_nobody_who_is_there() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 1");
    let sql = |user: &str| format!("select rolpassword from pg_authid where rolname = '{user}'");
    let scram = postgres.query(&sql("scram_user")).remove(0);
    let md5 = postgres.query(&sql("md5_user")).remove(0);
    // What a client is asked for: 5 is MD5, 10 is SASL, 3 a password.
    let asked = |user: &str, database: &str| {
        let mut wire = pooler.wire();
        wire.send(&Login::new().user(user).database(database).packet());
        let answer = wire.read_message().expect("an answer");
        assert_eq!(answer.tag, b'R', "{user} {answer:?}");
        answer.body[3]
    };
    for (secret, method) in [(&scram, 10), (&md5, 5)] {
        let users = format!("\"scram_user\" \"{secret}\"\n\"other\" \"{secret}\"\n");
        pooler.write_file("users.txt", &users);
        pooler.reload("workers = 1\nauth_type = md5");
        for user in ["scram_user", "nobody", "somebody", "x"] {
            assert_eq!(asked(user, "postgres"), method, "{user}");
        }
    }
    // A database that is not there is not named before the proof either.
    pooler.write_file(
        "users.txt",
        &format!("\"postgres\" \"\"\n\"scram_user\" \"{scram}\"\n"),
    );
    pooler.write_ini(
        &format!("postgres = {}", postgres.address()),
        "workers = 1\nauth_type = scram-sha-256\nauth_user = postgres",
    );
    pooler.reload_files();
    for database in ["postgres", "nowhere"] {
        for user in ["scram_user", "alice", "nobody"] {
            assert_eq!(asked(user, database), 10, "{user} {database}");
        }
    }
    let psql = pooler.psql().user("scram_user").database("nowhere");
    let said = psql.clone().password("secret").run("select 1").refused();
    assert!(said.contains("no such database: nowhere"), "{said}");
    let said = psql.password("wrong").run("select 1").refused();
    assert!(said.contains("SASL authentication failed"), "{said}");
}

/// A pooler that asks everybody but `postgres` for SCRAM.
fn start(postgres: &Postgres, more: &str) -> Pooler {
    let pooler = Pooler::start(postgres, "workers = 2");
    let sql = "select rolpassword from pg_authid where rolname = 'scram_user'";
    let secret = postgres.query(sql).remove(0);
    let users = format!("\"postgres\" \"\"\n\"scram_user\" \"{secret}\"\n");
    pooler.write_file("users.txt", &users);
    let hba = pooler.write_file(
        "hba.conf",
        "local all all trust\nhost all postgres all trust\nhost all all all scram-sha-256\n",
    );
    pooler.reload(&format!(
        "workers = 2\nauth_type = hba\nauth_hba_file = {}\n{more}",
        hba.display()
    ));
    pooler
}

/// Replaces the group, and waits until nothing of the old one is left.
fn restart_whole(pooler: &Pooler) {
    let old = pooler.workers();
    restart(pooler);
    wait_for("the old workers to be gone", PATIENCE, || {
        old.values().all(|worker| !worker.is_alive())
    });
}

/// Salt and number of iterations that a user is asked with by a worker.
fn salt(pooler: &Pooler, slot: u8, user: &str) -> (String, String) {
    server_first(&mut pooler.wire_to_worker(slot), user)
}
