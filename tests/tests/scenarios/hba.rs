//! Who may come in by the HBA file.

use crate::harness::{Account, Login, Pooler, Postgres, Psql};

#[test]
fn first_line_that_fits_says_how_a_client_proves_itself() {
    let postgres = Postgres::start();
    let pooler = start(
        &postgres,
        "host all alice 127.0.0.0/8 trust\n\
         host shop scram_user 127.0.0.0 255.0.0.0 password\n\
         host all plain_user,scram_user all scram-sha-256\n\
         host all \"md5_user\" ::/0 trust\n\
         host all /^md5 127.0.0.0/8 md5\n\
         host sameuser all all trust\n",
    );
    assert_eq!(pooler.psql().user("alice").who().ok(), "alice");
    for user in ["plain_user", "scram_user", "md5_user"] {
        let psql = pooler.psql().user(user);
        assert_eq!(psql.clone().password("secret").who().ok(), user);
        psql.password("wrong").who().refused();
    }
    let bob = Login::new().user("bob");
    let error = pooler.try_connect(&bob).unwrap_err();
    assert_eq!(error.sqlstate, "28000");
    assert_eq!(error.message, "login rejected");
    // sameuser admits it, but there is no such database.
    let error = pooler.try_connect(&bob.database("bob")).unwrap_err();
    assert_eq!(error.sqlstate, "3D000");
}

#[test]
fn each_method_asks_in_its_own_way() {
    let postgres = Postgres::start();
    let pooler = start(
        &postgres,
        "host all scram_user 127.0.0.0/8 password\n\
         host all plain_user 127.0.0.0/8 scram-sha-256\n\
         host all md5_user 127.0.0.0/8 md5\n\
         host all all 127.0.0.0/8 reject\n",
    );
    // Authentication request 3 is a password, 10 is SASL, 5 is MD5.
    for (user, code) in [("scram_user", 3), ("plain_user", 10), ("md5_user", 5)] {
        let mut wire = pooler.wire();
        wire.try_send(&Login::new().user(user).packet()).unwrap();
        let request = wire.read_message().unwrap();
        assert_eq!(request.tag, b'R', "{user}");
        assert_eq!(request.body[..4], [0, 0, 0, code], "{user}");
    }
}

#[test]
fn refused_logins_are_logged_with_their_line_and_reason() {
    let postgres = Postgres::start();
    let pooler = start(
        &postgres,
        "# three ways to fail\n\
         host all bob 127.0.0.0/8 reject\n\
         host all scram_user,nobody 127.0.0.0/8 scram-sha-256\n\
         host nowhere all 127.0.0.0/8 trust\n",
    );
    for (login, sqlstate, message, logged) in [
        (
            Login::new().user("bob"),
            "28000",
            "login rejected",
            "postgres/bob@127.|closed: login rejected (reject), hba=|hba.conf:2, age=",
        ),
        (
            Login::new().user("alice"),
            "28000",
            "login rejected",
            "postgres/alice@127.|closed: login rejected (no line of auth_hba_file fits), age=",
        ),
    ] {
        let error = pooler.try_connect(&login).unwrap_err();
        assert_eq!(
            (error.sqlstate.as_str(), error.message.as_str()),
            (sqlstate, message)
        );
        pooler.wait_logged(logged);
    }
    pooler
        .psql()
        .user("scram_user")
        .password("wrong")
        .who()
        .refused();
    pooler.wait_logged(
        "postgres/scram_user@|SASL authentication failed (wrong password), hba=|hba.conf:3, age=",
    );
    pooler
        .psql()
        .user("nobody")
        .password("wrong")
        .who()
        .refused();
    pooler.wait_logged(
        "postgres/nobody@|SASL authentication failed (unknown user), hba=|hba.conf:3, age=",
    );
    // What was wrong exactly is for the log only.
    let said = pooler
        .psql()
        .user("nobody")
        .password("wrong")
        .who()
        .refused();
    assert!(said.contains("SASL authentication failed"), "{said}");
    assert!(!said.contains("unknown"), "{said}");
}

#[test]
fn encrypted_connections_only_are_let_in_by_hostssl() {
    let postgres = Postgres::start();
    let pooler = start(
        &postgres,
        "hostssl all alice all trust\nhostnossl all bob all trust\n",
    );
    let error = pooler.try_connect(&Login::new().user("alice")).unwrap_err();
    assert_eq!(error.sqlstate, "28000");
    assert!(pooler.try_connect(&Login::new().user("bob")).is_ok());
}

#[test]
fn peer_is_whom_the_system_knows_or_the_map_names() {
    let postgres = Postgres::start();
    let account = Account::unprivileged();
    let me = account.name();
    let pooler = start(
        &postgres,
        &format!(
            "local all {me} peer\n\
             local all alice,bob peer map=apps\n\
             local all carol peer\n\
             host all all all reject\n"
        ),
    );
    pooler.write_file(
        "ident.conf",
        &format!("apps {me} alice\napps /^{me}(x?)$ bo\\1b\n"),
    );
    pooler.reload_files();
    for user in ["alice", "bob"] {
        assert_eq!(local(&pooler, user).who().ok(), user);
        pooler.wait_logged(&format!(
            "postgres/{user}@unix|: login, identity={me:?}, hba=|hba.conf:2"
        ));
    }
    if me == "postgres" {
        assert_eq!(local(&pooler, me).who().ok(), me);
    }
    let said = local(&pooler, "carol").who().refused();
    assert!(said.contains("unix socket login rejected"), "{said}");
    pooler.wait_logged(&format!(
        "postgres/carol@unix|closed: unix socket login rejected (the user of the system may not \
         be this one), identity={me:?}, hba=|hba.conf:3"
    ));
    // Without the line of the map the same name is needed.
    pooler.write_file("ident.conf", "apps nobody alice\n");
    pooler.reload_files();
    local(&pooler, "alice").who().refused();
}

#[test]
fn file_with_a_mistake_changes_nothing() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "host all alice 127.0.0.0/8 trust\n");
    for (bad, problem) in [
        (
            "host all all 127.0.0.0/8 trust\nhost all +staff all md5\n",
            "hba.conf:2: +staff: membership in roles",
        ),
        (
            "host all all 300.1.2.3 md5\nlocal all \"all md5\nhost all all all md6\n",
            "hba.conf:1: 300.1.2.3: expected all, samehost, samenet, a network or the name of a host",
        ),
        ("host @gone all all md5\n", "hba.conf:1: cannot read "),
    ] {
        pooler.write_file("hba.conf", bad);
        let reload = pooler.local_psql().user("pgskein").database("pgskein");
        let said = reload.run("RELOAD");
        assert_ne!(said.code, Some(0), "{bad}: {said:?}");
        pooler.wait_log(problem);
        if bad.contains("md6") {
            // All of them are told.
            pooler.wait_log("hba.conf:2: a quotation does not end");
            pooler.wait_log("hba.conf:3: md6: unknown method, did you mean md5?");
        }
        assert!(pooler.try_connect(&Login::new().user("alice")).is_ok());
        assert!(pooler.try_connect(&Login::new().user("bob")).is_err());
    }
    pooler.write_file("users.hba", "bob\n# nobody else\n");
    pooler.write_file(
        "hba.conf",
        "host all postgres,@users.hba 127.0.0.0/8 trust\n",
    );
    pooler.reload_files();
    assert!(pooler.try_connect(&Login::new().user("alice")).is_err());
    assert!(pooler.try_connect(&Login::new().user("bob")).is_ok());
    // A worker that is started later has no file, and the same rules.
    let old = pooler.worker(1);
    old.signal(crate::harness::Signal::SIGKILL);
    pooler.wait_replaced(1, old);
    assert!(
        pooler
            .try_connect_to_worker(1, &Login::new().user("bob"))
            .is_ok()
    );
}

#[test]
fn console_is_behind_the_same_lines() {
    let postgres = Postgres::start();
    let pooler = start(
        &postgres,
        "host pgskein,pgbouncer postgres 127.0.0.0/8 trust\n\
         host all alice all trust\n",
    );
    for database in ["pgskein", "pgbouncer"] {
        let login = Login::new().database(database);
        assert!(pooler.try_connect(&login).is_ok());
        let error = pooler.try_connect(&login.user("alice")).unwrap_err();
        assert_eq!(error.message, "not allowed");
    }
    assert!(pooler.try_connect(&Login::new()).is_err());
}

#[test]
fn console_has_two_names_and_a_line_for_one_is_for_both() {
    let postgres = Postgres::start();
    for named in ["pgskein", "pgbouncer"] {
        let lines = format!("host {named} all all reject\nhost all all all trust\n");
        let pooler = start(&postgres, &lines);
        for database in ["pgskein", "pgbouncer"] {
            let refused = pooler.try_connect(&Login::new().database(database));
            assert_eq!(refused.unwrap_err().message, "login rejected", "{named}");
        }
        assert!(pooler.try_connect(&Login::new()).is_ok());
    }
}

#[test]
fn physical_replication_needs_a_line_of_its_own() {
    let postgres = Postgres::start_for_replication();
    let pooler = start(&postgres, "host all postgres all trust\n");
    let walsender = Login::new().parameter("replication", "true");
    let error = pooler.try_connect(&walsender).unwrap_err();
    assert_eq!(error.message, "login rejected");
    let logical = Login::new().parameter("replication", "database");
    assert!(pooler.try_connect(&logical).is_ok());
    pooler.write_file("hba.conf", "host replication postgres all trust\n");
    pooler.reload_files();
    assert!(pooler.try_connect(&walsender).is_ok());
    assert!(pooler.try_connect(&logical).is_err());
}

/// A pooler with these lines in its HBA file.
fn start(postgres: &Postgres, lines: &str) -> Pooler {
    let pooler = Pooler::start(postgres, "workers = 2");
    let hba = pooler.write_file("hba.conf", lines);
    let ident = pooler.write_file("ident.conf", "");
    pooler.reload(&format!(
        "workers = 2\nauth_type = hba\nauth_hba_file = {}\nauth_ident_file = {}",
        hba.display(),
        ident.display(),
    ));
    pooler
}

/// psql over the unix socket, under the account of the pooler.
fn local(pooler: &Pooler, user: &str) -> Psql {
    pooler.local_psql().user(user).database("postgres")
}
