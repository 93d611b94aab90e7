-- \copy in and out, with and without errors. Several of these run at once: what
-- they put into the table `copied` is in transactions that are rolled back.

begin;
\copy copied from program 'seq -f %g,text 1 3000' with (format csv)
\copy (select * from copied order by number desc limit 3) to stdout
select count(*), sum(number) from copied;
\copy copied (number) from stdin
3001
3002
\.
\copy (select * from copied where number > 2999 order by number) to stdout with (format csv, header, null 'none')
rollback;
select count(*) from copied;

-- Outside of a transaction, a row in the middle is wrong: nothing of it stays.
\copy copied from stdin
1	one
no row
3	three
\.
\echo :SQLSTATE
select count(*) from copied;

-- Inside of one, it fails all.
begin;
copy copied from stdin with (format csv);
1,"one
of two lines"
\.
select * from copied;
savepoint here;
\copy copied from program 'echo 2; echo no number' with (format csv)
\echo :SQLSTATE
rollback to here;
\copy copied to stdout with (format csv, force_quote *)
\copy nowhere from stdin
\.
\echo :SQLSTATE
select 1;
\echo :SQLSTATE
commit;

-- An error on the way out, after many rows.
copy (select 1 / (100 - n) from generate_series(1, 200) n) to stdout;
\echo :SQLSTATE
-- Several in one query.
copy (select 'first') to stdout\; select 'between'\; copy (select 'second') to stdout;
begin\; copy copied from stdin\; select count(*) from copied\; rollback;
7	seven
8	eight
\.
\copy (select n, repeat('x', n) from generate_series(1, 400) n) to stdout
