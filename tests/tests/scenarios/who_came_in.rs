//! What is known of those who come in by other ways than their own password.

use crate::harness::{Account, Login, PATIENCE, Pooler, Postgres, Psql, Signal, wait_for};

#[test]
fn log_names_who_came_in_to_servers_of_somebody_else() {
    let postgres = Postgres::start();
    let shop = format!("shop = {} dbname=postgres user=bob", postgres.address());
    let pooler = Pooler::start_for(&shop, "workers = 1\nauth_type = trust");
    let psql = pooler.psql().user("alice").database("shop");
    assert_eq!(psql.run("select current_user").ok(), "bob");
    for what in [": login", ": closed"] {
        wait_for(&format!("alice{what} in the log"), PATIENCE, || {
            let log = pooler.log();
            let mut lines = log.lines();
            lines.any(|line| line.contains("shop/alice@") && line.contains(what))
        });
    }
    assert!(!pooler.log().contains("c2 shop/bob@"));
}

#[test]
fn peer_uses_servers_by_what_the_database_knows() {
    let postgres = Postgres::start();
    let settings = "workers = 1\nauth_user = postgres";
    let pooler = Pooler::start(&postgres, settings);
    let me = Account::unprivileged();
    let hba = pooler.write_file("hba.conf", "local all all peer map=apps\n");
    let ident = pooler.write_file("ident.conf", &format!("apps {} md5_user\n", me.name()));
    pooler.write_file("users.txt", "\"postgres\" \"\"\n");
    pooler.reload(&format!(
        "{settings}\nauth_type = hba\nauth_hba_file = {}\nauth_ident_file = {}",
        hba.display(),
        ident.display(),
    ));
    // The server wants a password of this user, who gives none.
    let psql = pooler.local_psql().user("md5_user").database("postgres");
    assert_eq!(psql.run("select current_user").ok(), "md5_user");
}

#[test]
fn who_has_proved_nothing_reads_nothing_of_servers() {
    let postgres = Postgres::start();
    let settings = "workers = 1\nauth_user = postgres\nauth_type = scram-sha-256\n\
                    client_login_timeout = 2\nserver_login_retry = 1";
    let pooler = Pooler::start(&postgres, settings);
    pooler.write_file("users.txt", "\"postgres\" \"\"\n");
    pooler.reload_files();
    let login = |psql: Psql| psql.user("scram_user").password("secret");
    assert_eq!(login(pooler.psql()).run("select 1").ok(), "1");
    postgres.shut_down(Signal::SIGINT);
    postgres.wait_down();
    let error = pooler
        .try_connect(&Login::new().user("nobody"))
        .unwrap_err();
    assert_eq!(error.sqlstate, "08006");
    assert_eq!(error.message, "authentication query failed");
    pooler.wait_log("connect failed: 127.0.0.1");
}
