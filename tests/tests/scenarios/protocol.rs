//! Both query protocols pass as they are.

use crate::harness::{Pooler, Postgres, SqlState, python};

#[test]
fn large_messages_pass_in_both_directions() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction");
    let client = pooler.connect();
    let text = "0123456789abcdef".repeat(1 << 20);
    let sql = format!("select md5('{text}'), length('{text}')");
    let direct = postgres.query(&sql);
    assert_eq!(client.query(&sql).unwrap(), direct);
    assert_eq!(client.execute("select $1::text", &[&text]).unwrap(), [text]);
}

#[test]
fn results_come_in_order_from_a_pipeline_of_a_thousand_queries() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction");
    let client = pooler.connect();
    // All are sent before the first answer is read.
    for number in 0..1000 {
        client.send_message(b'Q', format!("select {number}\0").as_bytes());
    }
    for number in 0..1000 {
        assert_eq!(client.pending().wait(), Ok(vec![number.to_string()]));
    }
}

#[test]
fn error_in_a_pipeline_skips_to_its_sync() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction");
    let client = pooler.connect();
    for sql in ["select 1", "select 1/0", "select 2"] {
        client.send_message(b'P', format!("\0{sql}\0\0\0").as_bytes());
        client.send_message(b'B', b"\0\0\0\0\0\0\0\0");
        client.send_message(b'E', b"\0\0\0\0\0");
    }
    client.send_message(b'S', b"");
    assert_eq!(client.pending().wait(), Err(SqlState("22012")));
    assert_eq!(client.take_transcript(), "12DC1EZ");
    assert_eq!(
        client.execute("select $1::int + 1", &["41"]),
        Ok(vec!["42".to_owned()])
    );
}

#[test]
fn flush_is_answered_before_sync() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction");
    let client = pooler.connect();
    client.send_message(b'P', b"\0select 7\0\0\0");
    client.send_message(b'D', b"S\0");
    client.send_message(b'H', b"");
    client.read_until(b'T');
    client.send_message(b'B', b"\0\0\0\0\0\0\0\0");
    client.send_message(b'E', b"\0\0\0\0\0");
    client.send_message(b'H', b"");
    client.read_until(b'C');
    client.send_message(b'S', b"");
    assert_eq!(client.pending().wait(), Ok(vec![]));
    assert_eq!(client.take_transcript(), "1tT2DCZ");
}

#[test]
fn several_statements_in_one_query_give_several_results() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction");
    let client = pooler.connect();
    assert_eq!(
        client.query("select 1; select 2; select 3"),
        Ok(vec!["1".to_owned(), "2".to_owned(), "3".to_owned()])
    );
    assert_eq!(client.query(""), Ok(vec![]));
    assert_eq!(client.take_transcript(), "TDCTDCTDCZIZ");
}

#[test]
fn errors_and_notices_keep_what_postgresql_said() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction");
    let client = pooler.connect();
    client
        .query("do $$ begin raise warning 'look out'; end $$")
        .unwrap();
    assert_eq!(client.notices(), ["look out"]);
    assert_eq!(
        client.query("select * from nowhere"),
        Err(SqlState("42P01"))
    );
    let error = client.last_error().unwrap();
    assert_eq!(error.severity, "ERROR");
    assert_eq!(error.message, "relation \"nowhere\" does not exist");
    assert_eq!(client.status(), 'I');
}

#[test]
fn transactions_stay_on_one_server_connection() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 1\npool_mode = transaction");
    let clients = [pooler.connect(), pooler.connect(), pooler.connect()];
    for client in &clients {
        client.query("begin").unwrap();
    }
    let backends = clients
        .each_ref()
        .map(|c| c.value("select pg_backend_pid()"));
    for round in 0..20 {
        for (client, backend) in clients.iter().zip(&backends) {
            assert_eq!(
                &client.value("select pg_backend_pid()"),
                backend,
                "round {round}"
            );
        }
    }
    for client in &clients {
        client.query("rollback").unwrap();
    }
}

#[test]
fn psycopg_2_works() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let program = "\
import sys, psycopg2
connection = psycopg2.connect(sys.argv[1])
cursor = connection.cursor()
for number in range(50):
    cursor.execute('select %s', (number,))
    assert cursor.fetchone() == (number,)
    connection.commit()
print(connection.get_parameter_status('server_version') is not None)
connection.close()
";
    assert_eq!(python(program, &[&connection_string(&pooler)]).ok(), "True");
}

fn connection_string(pooler: &Pooler) -> String {
    format!(
        "host=127.0.0.1 port={} user=postgres dbname=postgres",
        pooler.port()
    )
}
