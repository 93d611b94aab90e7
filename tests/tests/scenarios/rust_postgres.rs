//! tokio-postgres, which prepares by name and pipelines whatever is awaited
//! together.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use tokio::runtime;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, NoTls, Statement};

use crate::harness::{Crowd, Pooler, Postgres};

#[test]
fn statements_outnumber_those_that_a_server_keeps() {
    in_sessions(SESSIONS, |client, number| async move {
        let mut statements = Vec::new();
        for which in 0..25 {
            let text = format!("select {which}::int8, $1::int8 + {number}");
            statements.push(client.prepare(&text).await?);
        }
        for turn in 0..75_i64 {
            // 7 and 25 have no common divisor: all have their turn.
            let which = (turn * 7) % 25;
            let statement = &statements[usize::try_from(which).unwrap()];
            let row = client.query_one(statement, &[&turn]).await?;
            assert_eq!((row.get(0), row.get(1)), (which, turn + number));
        }
        // Dropped ones are closed behind the next request.
        statements.truncate(3);
        for turn in 0..10_i64 {
            for (which, statement) in (0_i64..).zip(&statements) {
                let row = client.query_one(statement, &[&turn]).await?;
                assert_eq!((row.get(0), row.get(1)), (which, turn + number));
            }
            let fresh = client.prepare(&format!("select $1::text, {turn}")).await?;
            let row = client.query_one(&fresh, &[&"fresh"]).await?;
            assert_eq!(row.get::<_, i32>(1), i32::try_from(turn).unwrap());
        }
        Ok(())
    });
}

#[test]
fn what_is_awaited_together_is_one_flight() {
    in_sessions(SESSIONS, |client, number| async move {
        let add = client.prepare("select $1::int8 + $2::int8").await?;
        let divide = client.prepare("select 100 / $1::int8").await?;
        for _ in 0..5 {
            let sums = (0..100_i64).map(|n| one(&client, &add, [n, number]));
            for (n, sum) in (0..).zip(try_join_all(sums).await?) {
                assert_eq!(sum, n + number);
            }
            // Each has a Sync of its own: an error reaches no other.
            let quotients = join_all((0..50_i64).map(|n| one(&client, &divide, [n % 5]))).await;
            for (n, quotient) in (0..).zip(quotients) {
                match n % 5 {
                    0 => assert_eq!(state(quotient), SqlState::DIVISION_BY_ZERO),
                    by => assert_eq!(quotient?, 100 / by),
                }
            }
            // Preparing takes part in it.
            let texts: Vec<String> = (0..20).map(|n| format!("select {n}::int8")).collect();
            let prepared = try_join_all(texts.iter().map(|text| client.prepare(text))).await?;
            let values = prepared.iter().map(|statement| one(&client, statement, []));
            assert_eq!(try_join_all(values).await?, Vec::from_iter(0..20_i64));
        }
        Ok(())
    });
}

#[test]
fn values_with_their_types_need_no_name() {
    in_sessions(SESSIONS, |client, number| async move {
        for turn in 0..30_i64 {
            let values: [(&(dyn ToSql + Sync), Type); 2] =
                [(&number, Type::INT8), (&"text", Type::TEXT)];
            let rows = client
                .query_typed(&format!("select $1, $2, {turn}::int8"), &values)
                .await?;
            assert_eq!(rows[0].get::<_, i64>(0), number);
            assert_eq!(rows[0].get::<_, &str>(1), "text");
            assert_eq!(rows[0].get::<_, i64>(2), turn);
        }
        let error = client
            .query_typed("select no_such_column", &[])
            .await
            .map(|_| 0);
        assert_eq!(state(error), SqlState::UNDEFINED_COLUMN);
        Ok(())
    });
}

#[test]
fn transactions_have_savepoints_and_portals() {
    in_sessions(SESSIONS, |mut client, number| async move {
        for turn in 0..5_i64 {
            let mut transaction = client.transaction().await?;
            let insert = transaction
                .prepare("insert into kept values ($1, $2)")
                .await?;
            transaction.execute(&insert, &[&number, &turn]).await?;
            let inner = transaction.savepoint("here").await?;
            inner.execute(&insert, &[&number, &-1_i64]).await?;
            let error = inner.query_one("select 1 / $1::int8", &[&0_i64]).await;
            assert_eq!(state(error.map(|_| 0)), SqlState::DIVISION_BY_ZERO);
            inner.rollback().await?;

            let portal = transaction
                .bind("select generate_series(1, $1::int8)", &[&25_i64])
                .await?;
            let mut numbers: Vec<i64> = Vec::new();
            for expected in [10, 10, 5] {
                let rows = transaction.query_portal(&portal, 10).await?;
                assert_eq!(rows.len(), expected);
                numbers.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
            }
            assert_eq!(numbers, Vec::from_iter(1..=25));
            transaction.commit().await?;
            // One that is dropped is rolled back behind the scenes.
            let dropped = client.transaction().await?;
            dropped.execute(&insert, &[&number, &-2_i64]).await?;
        }
        let query = "select count(*), min(value) from kept where session = $1";
        let row = client.query_one(query, &[&number]).await?;
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (5, 0));
        Ok(())
    });
}

#[test]
fn rows_are_copied_in_and_out() {
    in_sessions(SESSIONS, |mut client, number| async move {
        for turn in 0..3_i64 {
            let transaction = client.transaction().await?;
            let mut sink = pin!(transaction.copy_in("copy kept from stdin").await?);
            for value in 0..500 {
                let line = format!("{number}\t{value}\n");
                sink.send(Bytes::from(line)).await?;
            }
            assert_eq!(sink.finish().await?, 500);
            let text = format!("copy (select value from kept where session = {number}) to stdout");
            let stream = pin!(transaction.copy_out(&text).await?);
            let parts: Vec<Bytes> = stream.try_collect().await?;
            let bytes = parts.concat();
            assert_eq!(bytes.split(|byte| *byte == b'\n').count(), 501);
            transaction.rollback().await?;

            // Without finish, it fails on purpose.
            let mut sink = Box::pin(client.copy_in("copy kept from stdin").await?);
            sink.send(Bytes::from(format!("{number}\t1\n"))).await?;
            drop(sink);
            let mut sink = pin!(client.copy_in("copy kept from stdin").await?);
            sink.send(Bytes::from("no row\n")).await?;
            let error = sink.finish().await;
            assert_eq!(state(error), SqlState::INVALID_TEXT_REPRESENTATION);
            let row = client.query_one("select $1::int8", &[&turn]).await?;
            assert_eq!(row.get::<_, i64>(0), turn);
        }
        Ok(())
    });
}

#[test]
fn catalogue_is_asked_for_types_in_the_middle_of_preparing() {
    in_sessions(SESSIONS, |client, number| async move {
        let statement = client.prepare("select $1::mood, array[$1::mood]").await?;
        assert_eq!(statement.params()[0].name(), "mood");
        assert_eq!(statement.columns()[1].type_().name(), "_mood");
        let pair = client
            .prepare("select row($1::int8, 'happy')::pair")
            .await?;
        let row = client.query_one(&pair, &[&number]).await?;
        assert_eq!(row.columns()[0].type_().name(), "pair");
        Ok(())
    });
}

#[test]
fn cancel_ends_the_query_of_its_session_alone() {
    in_sessions(SESSIONS, |client, number| async move {
        let token = client.cancel_token();
        for _ in 0..3 {
            let values: [&(dyn ToSql + Sync); 1] = [&number];
            let mut query = pin!(client.query_one("select pg_sleep(30), $1::int8", &values));
            let ended = loop {
                match timeout(Duration::from_millis(100), &mut query).await {
                    Ok(ended) => break ended,
                    Err(_) => token.cancel_query(NoTls).await?,
                }
            };
            assert_eq!(state(ended.map(|_| 0)), SqlState::QUERY_CANCELED);
            let row = client.query_one("select $1::int8", &[&number]).await?;
            assert_eq!(row.get::<_, i64>(0), number);
        }
        Ok(())
    });
}

#[test]
fn names_end_with_deallocate_all_and_discard_all() {
    in_sessions(SESSIONS, |client, number| async move {
        for forget in ["deallocate all", "discard all"] {
            let before = client.prepare("select $1::int8 + 1").await?;
            assert_eq!(one(&client, &before, [number]).await?, number + 1);
            client.batch_execute(forget).await?;
            let error = one(&client, &before, [number]).await;
            assert_eq!(state(error), SqlState::INVALID_SQL_STATEMENT_NAME);
            let after = client.prepare("select $1::int8 + 2").await?;
            assert_eq!(one(&client, &after, [number]).await?, number + 2);
        }
        Ok(())
    });
}

#[test]
fn transaction_whose_server_is_lost_is_rolled_back_in_the_same_session() {
    in_sessions(SESSIONS, |mut client, number| async move {
        for _ in 0..3 {
            let transaction = client.transaction().await?;
            let insert = "insert into kept values ($1, 1)";
            transaction.execute(insert, &[&number]).await?;
            let end = "select pg_terminate_backend(pg_backend_pid())";
            let ended = transaction.query(end, &[]).await;
            assert_eq!(state(ended), SqlState::ADMIN_SHUTDOWN);
            let behind = transaction.query("select 1", &[]).await;
            assert_eq!(state(behind), SqlState::IN_FAILED_SQL_TRANSACTION);
            transaction.rollback().await?;
            let count = "select count(*) from kept where session = $1";
            let row = client.query_one(count, &[&number]).await?;
            assert_eq!(row.get::<_, i64>(0), 0);
        }
        Ok(())
    });
}

/// Runs `work` in so many sessions at once, with others around.
fn in_sessions<F>(count: i64, work: impl Fn(Client, i64) -> F)
where
    F: Future<Output = Result<(), Error>> + 'static,
{
    let postgres = Postgres::start();
    postgres.query(SCHEMA);
    let pooler = Pooler::start(&postgres, SETTINGS);
    let address = format!(
        "host=127.0.0.1 port={} user=postgres dbname=postgres connect_timeout=20",
        pooler.port()
    );
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be started");
    Crowd::during(&pooler, 4, || {
        LocalSet::new().block_on(&runtime, async {
            let sessions = (0..count).map(|number| {
                let (address, work) = (&address, &work);
                async move {
                    let (client, connection) = tokio_postgres::connect(address, NoTls).await?;
                    let connection = spawn_local(connection);
                    work(client, number).await?;
                    connection.await.expect("it does not panic")
                }
            });
            try_join_all(sessions).await.expect("every session works");
        });
    });
}

async fn one<const N: usize>(
    client: &Client,
    statement: &Statement,
    values: [i64; N],
) -> Result<i64, Error> {
    let rows = client.query_raw(statement, values).await?;
    let rows: Vec<_> = rows.collect().await;
    let row = rows.into_iter().next().expect("one row")?;
    row.try_get(0)
}

fn state(outcome: Result<impl Sized, Error>) -> SqlState {
    let error = outcome.err().expect("an error");
    error.code().expect("an error of the server").clone()
}

const SESSIONS: i64 = 6;
const SCHEMA: &str = "create table kept (session int8, value int8);
                      create type mood as enum ('sad', 'happy');
                      create type pair as (number int8, mood mood)";
/// Fewer servers than sessions, and fewer statements on each than there are.
const SETTINGS: &str = "workers = 2\npool_mode = transaction\ndefault_pool_size = 4\n\
                        max_prepared_statements = 10";
