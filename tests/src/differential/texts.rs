//! Texts of statements that the sequences are made of.
//!
//! They say the same whenever they are run, and with whatever plan: no clock, no
//! numbers of processes or transactions, nothing that fails for some plans when
//! it is bound and for others when it is executed, and an order for every result
//! that is read from a table.

/// A statement that may be prepared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    pub(super) sql: &'static str,
    /// A value for each parameter.
    pub(super) values: &'static [Value],
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Number,
    Words,
}

use Value::{Number, Words};

const fn text(sql: &'static str, values: &'static [Value]) -> Text {
    Text { sql, values }
}

/// Statements without side effects on the session.
pub(super) const STATEMENTS: &[Text] = &[
    text("select $1::int4 + 1 as sum", &[Number]),
    text("select $1::text, $2::text", &[Words, Words]),
    text("select $1", &[Words]),
    text("select 1, 'two', null, 3.5", &[]),
    text("select n from generate_series(1, 5) n", &[]),
    text(
        "select n, repeat('x', n) from generate_series(1, $1::int4) n",
        &[Number],
    ),
    text("select repeat($1, 300)", &[Words]),
    text("values (1), (2), (3)", &[]),
    text(
        "select 6 / n from generate_series($1::int4, 3) n",
        &[Number],
    ),
    text("select id, note from {}r order by id", &[]),
    text("select note from {}r where id = $1", &[Number]),
    text("insert into {}r values ($1, $2)", &[Number, Words]),
    text(
        "insert into {}r (id, note) select max(id) + 1, $1 from {}r returning id, note",
        &[Words],
    ),
    text("insert into {}d values ($1)", &[Number]),
    text("update {}r set note = $1 where id = $2", &[Words, Number]),
    text("delete from {}r where id = $1", &[Number]),
    text("select count(*) from {}n", &[]),
    text("show timezone", &[]),
    text("do $$ begin raise notice 'noticed'; end $$", &[]),
    text("", &[]),
    text("-- nothing", &[]),
    text("copy {}r to stdout", &[]),
    text("lock table {}r", &[]),
];

/// Statements that fail when they are parsed.
pub(super) const WRONG: &[&str] = &[
    "selec 1",
    "select * from {}missing",
    "select $2::int4",
    "select 1; select 2",
    "select 1 where 'a'",
    "insert into {}r (nothing) values (1)",
];

/// Statements about transactions, which may be prepared as well.
pub(super) const TRANSACTION: &[&str] = &[
    "begin",
    "begin",
    "commit",
    "commit",
    "rollback",
    "rollback",
    "savepoint a",
    "rollback to savepoint a",
    "release savepoint a",
    "begin isolation level serializable read only",
    "commit and chain",
    "rollback and chain",
    "set transaction read only",
    "set constraints all immediate",
    "start transaction",
    "end",
    "abort",
];

/// Simple queries.
pub(super) const QUERIES: &[&str] = &[
    "select 1",
    "select 1; select 2, 3; select 'four'",
    "",
    ";;",
    "select 1/0",
    "select 1; select 1/0; select 2",
    "select repeat('y', 100000)",
    "select n from generate_series(1, 300) n",
    "select id, note from {}r order by id",
    "insert into {}r values (7, 'seven')",
    "insert into {}r values (1, 'taken')",
    "insert into {}d values (1), (1)",
    "delete from {}r where id > 3",
    "update {}r set note = note || '.' where id = 1; select note from {}r where id = 1",
    "begin; insert into {}r values (8, 'eight'); commit",
    "begin; insert into {}r values (9, 'nine'); select 1/0; commit",
    "insert into {}r values (10, 'ten'); select 1/0",
    "insert into {}r values (11, 'eleven'); commit; select 1/0",
    "begin; select 1; rollback; select 2",
    "begin; create temp table {}temp (a int) on commit drop; insert into {}temp values (1); \
     select a from {}temp; commit",
    "do $$ begin raise warning 'warned'; end $$",
    "do $$ begin raise exception 'raised' using errcode = 'P0099', detail = 'd', hint = 'h'; end $$",
    "copy {}r to stdout",
    "copy (select n from generate_series(1, 200) n) to stdout; select 'after'",
    "copy {}missing to stdout",
    "selec 1",
    "show timezone",
    "table {}n",
];

/// Changes of reported parameters, which follow the client.
pub(super) const PARAMETERS: &[&str] = &[
    "set timezone = 'Asia/Tokyo'",
    "set timezone = 'UTC'",
    "set local timezone = 'America/Lima'",
    "set application_name = 'one'",
    "set application_name = 'another name, it''s quoted'",
    "set datestyle = 'SQL, DMY'",
    "set datestyle = 'ISO, MDY'",
    "set intervalstyle = 'iso_8601'",
    "set standard_conforming_strings = off",
    "set standard_conforming_strings = on",
    "set timezone = 'Nowhere/Land'",
    "reset timezone",
    "reset application_name",
    "begin; set timezone = 'Europe/Paris'; rollback",
    "select date '2020-02-03', interval '1 day 2 hours', current_setting('timezone')",
    "select set_config('application_name', 'configured', false)",
    "select current_setting('application_name'), 'a\\b'",
];

/// Changes of tables that no prepared statement of ours depends on in shape.
pub(super) const DEFINITIONS: &[&str] = &[
    "create table {}new (a int)",
    "drop table {}new",
    "drop table if exists {}new",
    "create index on {}r (note)",
    "create or replace function {}f(int) returns int language sql as 'select $1 * 2'",
    "select {}f(21)",
    "truncate {}n",
    "analyze {}r",
    "create view {}v as select id from {}r; drop view {}v",
];

/// Changes of the shape of a table.
pub(super) const SHAPES: &[&str] = &[
    "alter table {}s add column c int default 5",
    "alter table {}s drop column if exists c",
    "alter table {}s alter column a type bigint",
    "alter table {}s alter column a type int",
    "alter table {}s rename column b to bb",
    "alter table {}s rename column bb to b",
    "begin; alter table {}s add column d text; rollback",
    "drop table {}s; create table {}s (a int, b text)",
];

/// What a scan of the changing table is prepared as.
pub(super) const SHAPED: &[&str] = &[
    "select * from {}s",
    "select a from {}s",
    "insert into {}s (a) values (4) returning *",
];

/// The tables, as they are made for every sequence.
pub(super) const TABLES: &str = "\
    create table {}r (id int primary key, note text); \
    create table {}d (id int unique deferrable initially deferred); \
    create table {}n (note text); \
    create table {}s (a int, b text); \
    insert into {}r values (1, 'one'), (2, 'two'), (3, null); \
    insert into {}s values (1, 'x')";

/// What is left of the tables at the end.
pub(super) const RESULT: &str = "\
    select 'end'; select id, note from {}r order by id, note; \
    select count(*) from {}n; select count(*) from {}d";

/// Removes the tables.
pub(super) const REMOVE: &str = "\
    drop table {}r, {}d, {}n; drop table if exists {}new, {}s; drop function if exists {}f(int)";
