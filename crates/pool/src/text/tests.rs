//! Tests of what texts change.

use proptest::prelude::*;

use super::*;

const NONE: Classes = Classes::NONE;
const GUC: Classes = Classes::GUC;
const ROLE: Classes = Classes::ROLE;
const TEMP: Classes = Classes::TEMP;
const LISTEN: Classes = Classes::LISTEN;
const PREPARE: Classes = Classes::PREPARE;
const HOLD: Classes = Classes::HOLD;

/// Follows a few parameters.
fn followed(name: &[u8]) -> Option<u32> {
    ["TimeZone", "client_encoding", "search_path"]
        .iter()
        .position(|known| known.as_bytes().eq_ignore_ascii_case(name))
        .map(|position| u32::try_from(position).unwrap())
}

fn of(text: &[u8]) -> Classes {
    classes(text, &followed)
}

/// The classes of a text in two pieces.
fn in_pieces(text: &[u8], at: usize) -> Classes {
    let mut scanner = Scanner::new();
    scanner.feed(&text[..at], &followed);
    scanner.feed(&text[at..], &followed);
    scanner.finish()
}

fn check(cases: &[(&str, Classes)]) {
    for (text, expected) in cases {
        assert_eq!(of(text.as_bytes()), *expected, "{text}");
        let upper = text.to_ascii_uppercase();
        assert_eq!(of(upper.as_bytes()), *expected, "{upper}");
        for at in 0..=text.len() {
            assert_eq!(in_pieces(text.as_bytes(), at), *expected, "{text} at {at}");
        }
    }
}

#[test]
fn finds_settings() {
    check(&[
        ("set work_mem = '1MB'", GUC),
        ("SET SESSION work_mem TO 1", GUC),
        ("set session characteristics as transaction read only", GUC),
        ("set \"work_mem\" = 1", GUC),
        ("set u&\"w\\006frk_mem\" = 1", GUC),
        ("set xml option document", GUC),
        ("set my.name = 1", GUC),
        ("set local.name = 1", GUC),
        ("set session.name = 1", GUC),
        ("set transaction.name = 1", GUC),
        ("set role.name = 1", GUC),
        ("set timezone.name = 1", GUC),
        ("set work_mem from current", GUC),
    ]);
}

#[test]
fn tells_followed_parameters_from_others() {
    check(&[
        ("set timezone = 'UTC'", Classes::followed(0)),
        ("set session \"TimeZone\" = 'UTC'", Classes::followed(0)),
        ("set time zone local", Classes::followed(0)),
        ("set session time zone 'UTC'", Classes::followed(0)),
        ("set names 'latin1'", Classes::followed(1)),
        ("set schema 'a'", Classes::followed(2)),
        (
            "set timezone to utc; set search_path to a; set lock_timeout to 1",
            Classes::followed(0) | Classes::followed(2) | GUC,
        ),
        ("set datestyle to iso", GUC),
    ]);
}

#[test]
fn finds_a_changed_user() {
    check(&[
        ("set role bob", ROLE),
        ("set role to 'bob'", ROLE),
        ("set session role none", ROLE),
        ("set \"role\" = bob", ROLE),
        ("set u&\"role\" = bob", ROLE),
        ("set session authorization bob", ROLE),
        ("set session session authorization default", ROLE),
        ("set session_authorization = 'bob'", ROLE),
    ]);
}

#[test]
fn finds_nothing_in_what_ends_with_the_transaction() {
    check(&[
        ("", NONE),
        (";", NONE),
        ("set local work_mem = '1MB'", NONE),
        ("set local role bob", NONE),
        ("set local session authorization bob", NONE),
        ("set transaction isolation level serializable", NONE),
        ("set transaction snapshot '00000003-0000001B-1'", NONE),
        ("set constraints all deferred", NONE),
        ("reset work_mem; reset all; discard all", Classes::BACK),
        ("unlisten *; close all; deallocate all", NONE),
        ("prepare transaction 'a'", NONE),
        ("declare c cursor for select 1", NONE),
        ("declare c cursor without hold for select 1", NONE),
        ("begin; select 1; commit", NONE),
        ("update t set work_mem = 1", NONE),
        ("alter role bob set work_mem = 1", NONE),
        (
            "create function f() returns int set work_mem = 1 return 1",
            NONE,
        ),
        ("create table temp (temp int)", NONE),
        ("create or replace view v as select 1 as temp", NONE),
        ("create temp table t (i int) on commit drop", NONE),
        ("create temp table t on /* */ commit drop as select 1", NONE),
        ("insert into temp values (1)", NONE),
        (
            "insert into temp values (1); merge into temp using t on true",
            NONE,
        ),
        ("select temp into t from temperatures", NONE),
        ("select temperature from temp where attempt > 1", NONE),
        ("notify a", NONE),
    ]);
}

#[test]
fn finds_temporary_objects() {
    check(&[
        ("create temp table t (i int)", TEMP),
        (
            "create temporary table t (i int) on commit delete rows",
            TEMP,
        ),
        ("create local temp table t (i int)", TEMP),
        ("create global temporary table t (i int)", TEMP),
        ("create temp sequence s", TEMP),
        ("create temp view v as select 1", TEMP),
        ("create or replace temp view v as select 1", TEMP),
        ("create temp recursive view v (a) as select 1", TEMP),
        ("create table pg_temp.t (i int)", TEMP),
        ("create table \"pg_temp\".t (i int)", TEMP),
        ("create table pg_temp_3.t (i int)", TEMP),
        ("create function pg_temp.f() returns int return 1", TEMP),
        ("create temp table t as select 1", TEMP),
        ("create temp table t as select 1 from a join b on c", TEMP),
        (
            "create temp table t (i int); create temp table u (i int) on commit drop",
            TEMP,
        ),
        ("select 1 into temp t", TEMP),
        ("select 1 into temporary table t", TEMP),
        ("select 1 into local temp t", TEMP),
        ("select 1 into /* a */ pg_temp.t", TEMP),
        ("select 1 into table pg_temp.t", TEMP),
        ("select 1 into\"pg_temp\".t", TEMP),
        ("(select 1 into temp t)", TEMP),
        ("with a as (select 1) select * into temp t from a", TEMP),
        ("explain analyze create temp table t as select 1", TEMP),
        ("explain (analyze) select 1 into temp t", TEMP),
        ("select 1; select 2 into temp t; select 3", TEMP),
    ]);
}

#[test]
fn finds_channels_statements_and_cursors() {
    check(&[
        ("listen a", LISTEN),
        ("listen\"a\"", LISTEN),
        ("prepare a as select 1", PREPARE),
        ("prepare \"a\"(int) as select 1", PREPARE),
        ("prepare transaction as select 1", PREPARE),
        ("prepare transaction (int) as select 1", PREPARE),
        ("declare c cursor with hold for select 1", HOLD),
        (
            "declare c binary insensitive scroll cursor with /**/ hold for select 1",
            HOLD,
        ),
        (
            "begin; declare c cursor with hold for select 1; commit",
            HOLD,
        ),
    ]);
}

#[test]
fn skips_comments_strings_and_names() {
    check(&[
        ("-- a\nset a.b = 1", GUC),
        ("-- a\rset a.b = 1", GUC),
        ("/* /* ; */ ; set a.b = 1 */ select 1", NONE),
        ("/* /* */ */ /**/ set/**/a.b = 1", GUC),
        ("select 1 -- ; set a.b = 1", NONE),
        ("select 1 /* ; set a.b = 1", NONE),
        ("select 1 - 1 / 1; set a.b = 1", GUC),
        ("select '; set a.b = 1'", NONE),
        ("select '''; set a.b = 1'", NONE),
        ("select e'\\'; set a.b = 1'", NONE),
        ("select e'\\\\'; set a.b = 1", GUC),
        ("select e'a'\n '\\'; set a.b = 1'", NONE),
        ("select e'a' -- b\n '\\'; set a.b = 1'", NONE),
        ("select e'a' || '''; set a.b = 1'", NONE),
        ("select b'1'; set a.b = 1", GUC),
        ("select x'1', n'a', u&'a'; set a.b = 1", GUC),
        ("select typee'a'; set a.b = 1", GUC),
        ("select \"; set a.b = 1\"", NONE),
        ("select \"\"\"; set a.b = 1\"", NONE),
        ("select \"a\"; set a.b = 1", GUC),
        ("select $$; set a.b = 1$$", NONE),
        ("select $a$; $b$ $$ $a; set a.b = 1$a$", NONE),
        ("select $a$ $$a$; set a.b = 1", GUC),
        ("select $é1_$; $é$ set a.b = 1$é1_$; listen a", LISTEN),
        ("select a$a$; set a.b = 1; select a$a$", GUC),
        ("select $1; set a.b = $1", GUC),
        ("select '\0'; set a.b = 1", GUC),
        ("select 1into temp t", TEMP),
        ("commit; select 12e'\\'; set a.b = 1'", NONE),
    ]);
}

#[test]
fn reads_backslashes_in_both_ways() {
    check(&[
        // One string if standard_conforming_strings is off, two statements if on.
        ("select 'a\\'; set a.b = '1'", GUC),
        // The other way round.
        ("select 'a\\'; listen b'; set a.b = 1 --'", LISTEN | GUC),
        ("select 'a\\b'; select 1", NONE),
        ("select 'a\\\\'; select 'b\\n'", NONE),
    ]);
}

#[test]
fn takes_everything_to_be_changed_where_nobody_can_tell() {
    // In SJIS the backslash is the second half of a character.
    let text = b"select e'\x83\x5c'; set a.b = 1";
    assert_eq!(of(text), Classes::ALL);
    assert_eq!(in_pieces(text, 10), Classes::ALL);
    assert_eq!(in_pieces(text, 11), Classes::ALL);
}

#[test]
fn keeps_only_the_beginning_of_a_long_word() {
    let name = "a".repeat(1000);
    assert_eq!(of(format!("set {name} = 1").as_bytes()), GUC);
    assert_eq!(of(format!("set \"{name}\" = 1").as_bytes()), GUC);
    let tag = name;
    let text = format!("select ${tag}$; ${tag}a$; set a.b = 1; ${tag}$; listen a");
    assert_eq!(of(text.as_bytes()), LISTEN);
}

/// Pieces of SQL that mean something next to each other.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(
        &[
            "select",
            "SET",
            "session",
            "local",
            "role",
            "authorization",
            "into",
            "temp",
            "pg_temp",
            "create",
            "or",
            "table",
            "on commit",
            "drop",
            "listen",
            "prepare",
            "transaction",
            "as",
            "declare",
            "with",
            "hold",
            "for",
            "explain",
            "insert",
            "begin",
            "timezone",
            "e",
            "u&",
            "a",
            " ",
            " ",
            " ",
            "\n",
            ";",
            ";",
            "'",
            "''",
            "\\",
            "\"",
            "$",
            "$$",
            "$a$",
            "-",
            "--",
            "/*",
            "*/",
            "/",
            "*",
            ".",
            "=",
            "(",
            ")",
            "1",
            "\0",
            "\u{e9}",
        ][..],
    );
    prop::collection::vec(token, 0..30).prop_map(|tokens| tokens.concat().into_bytes())
}

/// What nobody can tell needs no telling in a text that is harmless at a
/// glance.
fn same(pieces: Classes, whole: Classes) -> Result<(), TestCaseError> {
    prop_assert!(pieces == whole || pieces == Classes::ALL);
    Ok(())
}

proptest! {
    #[test]
    fn finds_the_same_however_a_text_is_cut(
        text in soup(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        at.push(0);
        at.push(text.len());
        at.sort_unstable();
        let mut scanner = Scanner::new();
        for pair in at.windows(2) {
            scanner.feed(&text[pair[0]..pair[1]], &followed);
        }
        same(scanner.finish(), of(&text))?;
    }

    #[test]
    fn finds_at_least_as_much_with_a_statement_behind(text in soup()) {
        let mut more = text.clone();
        more.extend_from_slice(b";select 1");
        prop_assert!(of(&more).contains(of(&text)));
    }

    #[test]
    fn survives_any_bytes(text in any::<Vec<u8>>()) {
        let whole = of(&text);
        same(in_pieces(&text, text.len() / 2), whole)?;
        let _ = deallocated(&text);
    }
}
