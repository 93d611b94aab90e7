//! Prepared statements of clients that change their servers all the time.

use crate::harness::{Login, PATIENCE, Pooler, Postgres, wait_for};
use crate::prepared_talk::{
    bind, close, describe, describe_portal, execute, flush, parse, query, run, send, sync, talk,
    talk_for, word,
};

const SHARED: &str = "workers = 1\npool_mode = transaction\ndefault_pool_size = 2";

#[test]
fn a_statement_is_there_whichever_server_its_client_gets() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SHARED);
    let (one, two) = (pooler.connect(), pooler.connect());
    assert_eq!(
        talk(&one, &[parse("s", "select 1, pg_backend_pid()"), sync()]),
        "1 Z"
    );
    assert_eq!(talk(&two, &[parse("s", "select 'two'"), sync()]), "1 Z");
    // The first server is busy, so the second one has to learn it.
    let busy = pooler.connect();
    busy.query("begin").unwrap();
    assert_eq!(talk(&two, &run("s")), "2 D:two C Z");
    assert!(talk(&one, &run("s")).starts_with("2 D:1,"));
    busy.query("commit").unwrap();
    assert!(talk(&one, &run("s")).starts_with("2 D:1,"));
}

#[test]
fn one_text_is_prepared_once_on_a_server_whoever_asks() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 1\npool_mode = transaction\ndefault_pool_size = 1",
    );
    for name in ["a", "b", "c"] {
        let client = pooler.connect();
        let sent = [parse(name, "select 42"), bind("", name), execute(), sync()];
        assert_eq!(talk(&client, &sent), "1 2 D:42 C Z");
    }
    let client = pooler.connect();
    let sql = "select count(*) from pg_prepared_statements where statement = 'select 42'";
    assert_eq!(client.value(sql), "1");
    assert!(
        client
            .value("select name from pg_prepared_statements")
            .starts_with("pgskein_")
    );
}

#[test]
fn wrong_use_is_an_error_of_postgresql_and_the_session_lives() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SHARED);
    let clients = [postgres.connect(), pooler.connect()];
    let steps = [
        run("nobody"),
        vec![describe("nobody"), sync()],
        vec![parse("s", "select 1"), sync()],
        vec![parse("s", "select 2"), sync()],
        vec![parse("s", "selekt 2"), sync()],
        run("s"),
        vec![parse("t", "select no_such_column"), sync()],
        run("t"),
        vec![close("t"), close("s"), close("s"), sync()],
        run("s"),
        vec![parse("s", "select 3"), bind("", "s"), execute(), sync()],
        // Everything behind an error is skipped, the Close as well.
        vec![
            bind("", "nobody"),
            close("s"),
            parse("u", "select 4"),
            sync(),
        ],
        run("s"),
        run("u"),
        vec![
            parse("u", "select 5"),
            bind("", "u"),
            execute(),
            bind("", "nobody"),
            sync(),
        ],
        run("u"),
    ];
    for (number, step) in steps.iter().enumerate() {
        let [direct, pooled] = clients.each_ref().map(|client| talk(client, step));
        assert_eq!(direct, pooled, "step {number}");
    }
}

#[test]
fn the_oldest_statements_make_room_on_a_server_and_come_back() {
    let postgres = Postgres::start();
    let settings =
        "workers = 1\npool_mode = transaction\ndefault_pool_size = 1\nmax_prepared_statements = 5";
    let pooler = Pooler::start(&postgres, settings);
    let client = pooler.connect();
    for number in 0..40 {
        let name = format!("s{number}");
        let sent = [parse(&name, &format!("select {number}")), sync()];
        assert_eq!(talk(&client, &sent), "1 Z");
    }
    assert_eq!(
        client.value("select count(*) from pg_prepared_statements"),
        "5"
    );
    for number in (0..40).rev() {
        let expected = format!("2 D:{number} C Z");
        assert_eq!(talk(&client, &run(&format!("s{number}"))), expected);
    }
    // More in one pipeline than the server may keep.
    let mut pipeline: Vec<_> = (0..40)
        .flat_map(|number| [bind("", &format!("s{number}")), execute()])
        .collect();
    pipeline.push(sync());
    let answers = talk(&client, &pipeline);
    assert_eq!(answers.matches("D:").count(), 40, "{answers}");
    talk(&client, &[sync()]);
    assert_eq!(talk(&client, &run("s7")), "2 D:7 C Z");
    let left = client.value("select count(*) from pg_prepared_statements");
    assert_eq!(left, "5", "the others are closed");
}

#[test]
fn a_flush_brings_the_answer_of_a_parse_that_is_not_sent() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SHARED);
    let client = pooler.connect();
    assert_eq!(talk(&client, &[parse("a", "select 1"), sync()]), "1 Z");
    send(&client, &[parse("b", "select 1"), flush()]);
    assert_eq!(word(&client), "1");
    send(&client, &[describe("b"), flush()]);
    assert_eq!([word(&client), word(&client)].concat(), "tT");
    send(&client, &[close("b"), flush()]);
    assert_eq!(word(&client), "3");
    assert_eq!(talk(&client, &[sync()]), "Z");
}

#[test]
fn a_changed_result_is_told_only_to_those_who_would_not_notice() {
    let postgres = Postgres::start();
    postgres.query("create table shape (a int); insert into shape values (1)");
    let pooler = Pooler::start(
        &postgres,
        "workers = 1\npool_mode = transaction\ndefault_pool_size = 1",
    );
    let client = pooler.connect();
    let sent = [
        parse("s", "select * from shape"),
        bind("", "s"),
        execute(),
        sync(),
    ];
    assert_eq!(talk(&client, &sent), "1 2 D:1 C Z");
    postgres.query("alter table shape add b int default 2");
    // It asks for the columns each time: the batch is sent once more.
    let described = [bind("", "s"), describe_portal(), execute(), sync()];
    assert_eq!(talk(&client, &described), "2 T D:1,2 C Z");
    postgres.query("alter table shape add c int default 3");
    // It does not: it is told, and the next time all is well.
    let told = talk(&client, &run("s"));
    assert!(told.starts_with("E:0A000:cached plan"), "{told}");
    assert_eq!(talk(&client, &run("s")), "2 D:1,2,3 C Z");
    postgres.query("alter table shape drop c");
    // In a transaction nothing can be done about it.
    client.query("begin").unwrap();
    let told = talk(&client, &described);
    assert!(told.starts_with("E:0A000:cached plan"), "{told}");
    client.query("rollback").unwrap();
    assert_eq!(talk(&client, &described), "2 T D:1,2 C Z");
}

#[test]
fn sql_may_take_prepared_statements_away() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SHARED);
    let other = pooler.connect();
    for command in ["deallocate all", "discard all"] {
        let client = pooler.connect();
        assert_eq!(
            talk(&other, &[close("s"), parse("s", "select 1"), sync()]),
            "3 1 Z"
        );
        assert_eq!(talk(&client, &[parse("s", "select 1"), sync()]), "1 Z");
        client.query(command).unwrap();
        assert!(talk(&client, &run("s")).starts_with("E:26000:"));
        assert_eq!(talk(&client, &[parse("s", "select 2"), sync()]), "1 Z");
        assert_eq!(talk(&client, &run("s")), "2 D:2 C Z");
        // That of others is still there.
        assert_eq!(talk(&other, &run("s")), "2 D:1 C Z");
    }
    let client = pooler.connect();
    assert_eq!(talk(&client, &[parse("S 1", "select 1"), sync()]), "1 Z");
    client.query("deallocate \"S 1\"").unwrap();
    assert!(talk(&client, &run("S 1")).starts_with("E:26000:"));
    assert!(client.query("deallocate nobody").is_err());
}

#[test]
fn what_is_prepared_behind_a_deallocate_all_stays() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SHARED);
    let (client, other) = (pooler.connect(), pooler.connect());
    for all in ["deallocate all", "/**/ discard all"] {
        let batch = [
            parse("", all),
            bind("", ""),
            execute(),
            sync(),
            parse("s", "select 42"),
            sync(),
        ];
        assert_eq!(talk(&client, &batch), "1 2 C Z 1 Z");
        assert_eq!(talk(&client, &run("s")), "2 D:42 C Z");
        let own = [
            parse("q", "select 42"),
            bind("", "q"),
            execute(),
            close("q"),
            sync(),
        ];
        assert_eq!(talk(&other, &own), "1 2 D:42 C 3 Z");
        client.query(&format!(" {all}")).unwrap();
        assert!(talk(&client, &run("s")).starts_with("E:26000:"));
    }
}

#[test]
fn no_answer_of_ours_stands_in_the_middle_of_a_message() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SHARED);
    let client = pooler.connect();
    let columns: Vec<_> = (0..1500)
        .map(|number| format!("1 as a_column_with_a_long_name_to_fill_the_message_{number:04}"))
        .collect();
    let sql = format!("select {}", columns.join(","));
    assert_eq!(talk(&client, &[parse("s", &sql), sync()]), "1 Z");
    assert_eq!(
        talk(&client, &[describe("s"), close("s"), sync()]),
        "t T 3 Z"
    );
    assert_eq!(client.value("select 1"), "1");
}

#[test]
fn a_batch_of_thousands_leaves_no_more_on_a_server_than_it_may_keep() {
    let postgres = Postgres::start();
    let settings =
        "workers = 1\npool_mode = transaction\ndefault_pool_size = 1\nmax_prepared_statements = 20";
    let pooler = Pooler::start(&postgres, settings);
    let client = pooler.connect();
    let mut batch: Vec<_> = (0..3000)
        .flat_map(|number| [parse("s", &format!("select {number}")), close("s")])
        .collect();
    batch.push(sync());
    let answers = talk(&client, &batch);
    assert_eq!(answers.matches("1 3").count(), 3000);
    assert_eq!(
        client.value("select count(*) from pg_prepared_statements"),
        "20"
    );
}

#[test]
fn a_batch_behind_one_that_is_refused_for_its_columns_is_answered_too() {
    let postgres = Postgres::start();
    postgres.query("create table shape (a int); insert into shape values (1)");
    let pooler = Pooler::start(
        &postgres,
        "workers = 1\npool_mode = transaction\ndefault_pool_size = 1",
    );
    let client = pooler.connect();
    let described = [bind("", "s"), describe_portal(), execute(), sync()];
    assert_eq!(
        talk(&client, &[parse("s", "select * from shape"), sync()]),
        "1 Z"
    );
    assert_eq!(talk(&client, &described), "2 T D:1 C Z");
    for column in ["b", "c", "d", "e"] {
        postgres.query(&format!("alter table shape add {column} int"));
        send(&client, &described);
        // Sent before the error is known they are both told; else both served.
        let answers = talk_for(&client, &described, 2);
        let both = ["D:1", "E:0A000"].map(|word| answers.matches(word).count());
        assert_eq!(both[0] + both[1], 2, "{answers}");
        assert!(talk(&client, &described).contains("D:1"));
    }
}

#[test]
fn a_server_of_session_mode_is_not_lent_in_transaction_mode_as_its_client_left_it() {
    let postgres = Postgres::start();
    let settings = |mode| format!("workers = 1\ndefault_pool_size = 1\npool_mode = {mode}");
    let pooler = Pooler::start(&postgres, &settings("session"));
    let one = pooler.connect();
    one.query("set work_mem = '99MB'; create temp table leak (a int)")
        .unwrap();
    pooler.reload(&settings("transaction"));
    one.value("select 1");
    let two = pooler.connect();
    assert_ne!(two.value("show work_mem"), "99MB");
    assert_eq!(two.value("select to_regclass('leak') is null"), "t");
}

#[test]
fn what_connect_query_has_set_is_there_again_after_a_reset() {
    let postgres = Postgres::start();
    postgres.query("create role app; grant app to postgres");
    let databases = format!(
        "postgres = {} dbname=postgres connect_query='set role app'",
        postgres.address()
    );
    let pooler = Pooler::start_for(
        &databases,
        "workers = 1\npool_mode = transaction\ndefault_pool_size = 1",
    );
    let (one, two) = (pooler.connect(), pooler.connect());
    for command in [
        "reset role",
        "reset session authorization",
        "discard all",
        "set role none",
    ] {
        assert_eq!(two.value("select current_user"), "app");
        one.query(command).unwrap();
        assert_eq!(two.value("select current_user"), "app", "{command}");
    }
}

#[test]
fn the_unnamed_statement_goes_with_its_client() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 1\npool_mode = transaction\ndefault_pool_size = 1",
    );
    let (one, two) = (pooler.connect(), pooler.connect());
    assert_eq!(talk(&one, &[parse("", "select 'one'"), sync()]), "1 Z");
    assert!(talk(&two, &run("")).starts_with("E:26000:unnamed prepared statement"));
    assert_eq!(talk(&two, &[parse("", "select 'two'"), sync()]), "1 Z");
    assert_eq!(talk(&one, &run("")), "2 D:one C Z");
    assert_eq!(talk(&two, &run("")), "2 D:two C Z");
    two.query("select 1").unwrap();
    assert!(talk(&two, &run("")).starts_with("E:26000:"));
    assert_eq!(talk(&one, &run("")), "2 D:one C Z");
}

#[test]
fn who_prepares_without_end_harms_nobody() {
    let postgres = Postgres::start();
    let settings = "workers = 1\npool_mode = transaction\ndefault_pool_size = 2\nprepared_statement_memory = 1MB";
    let pooler = Pooler::start(&postgres, settings);
    let (greedy, modest) = (pooler.connect(), pooler.connect());
    assert_eq!(talk(&modest, &[parse("m", "select 'm'"), sync()]), "1 Z");
    let mut refused = 0;
    for round in 0..40 {
        let batch: Vec<_> = (0..200)
            .flat_map(|number| {
                let name = format!("s{}", round * 200 + number);
                [parse(&name, &format!("select '{name}'")), sync()]
            })
            .collect();
        let answers = talk(&greedy, &batch);
        refused += answers
            .matches("E:53200:out of memory for prepared statements")
            .count();
    }
    assert!(refused > 1_000, "{refused} refused");
    // It still has what it had, and lives.
    assert_eq!(greedy.value("select 1"), "1");
    assert_eq!(talk(&modest, &run("m")), "2 D:m C Z");
    for number in 0..100 {
        let name = format!("n{number}");
        let sent = [
            parse(&name, &format!("select {number} + 1")),
            bind("", &name),
            execute(),
            sync(),
        ];
        assert_eq!(talk(&modest, &sent), format!("1 2 D:{} C Z", number + 1));
    }
    let shown = || -> u64 {
        let console = pooler.connect_as(&Login::new().database("pgskein"));
        let row = console.table("SHOW WORKERS").remove(0);
        row["prepared_memory"].parse().unwrap()
    };
    wait_for("the memory to be shown", PATIENCE, || shown() > 100_000);
    assert!(shown() <= 1 << 20);
    let late = pooler.connect();
    assert_eq!(talk(&late, &[parse("l", "select 'l'"), sync()]), "1 Z");
    for client in [greedy, modest, late] {
        client.close();
    }
    wait_for("the memory to be given back", PATIENCE, || shown() < 50_000);
}

#[test]
fn a_server_that_is_lost_takes_no_statement_with_it() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 1\npool_mode = transaction\ndefault_pool_size = 1",
    );
    let client = pooler.connect();
    assert_eq!(talk(&client, &[parse("s", "select 1"), sync()]), "1 Z");
    postgres.query("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()");
    wait_for("the server to be gone", PATIENCE, || {
        pooler.log_contains("closed: server conn crashed?")
    });
    assert_eq!(talk(&client, &run("s")), "2 D:1 C Z");
}

#[test]
fn statement_mode_sends_nothing_behind_a_refused_begin() {
    let postgres = Postgres::start();
    postgres.query("create table kept (a int)");
    let pooler = Pooler::start(&postgres, "workers = 1\npool_mode = statement");
    for _ in 0..10 {
        let client = pooler.connect();
        send(
            &client,
            &[
                query("begin"),
                query("insert into kept values (1)"),
                query("commit"),
            ],
        );
        let last = client.wait_closed();
        assert!(
            last.iter()
                .any(|message| message.tag == b'E' && message.error().sqlstate == "0A000")
        );
    }
    assert_eq!(postgres.number("select count(*) from kept"), 0);
    // Pipelines are served, one query after the other.
    let client = pooler.connect();
    let pipeline: Vec<_> = (0..50)
        .map(|_| query("insert into kept values (2)"))
        .collect();
    assert_eq!(talk_for(&client, &pipeline, 50).matches('C').count(), 50);
    assert_eq!(
        talk(
            &client,
            &[parse("s", "select 1"), bind("", "s"), execute(), sync()]
        ),
        "1 2 D:1 C Z"
    );
    assert_eq!(postgres.number("select count(*) from kept"), 50);
}
