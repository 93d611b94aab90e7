-- Restarts of the pooler in the middle of a session. The variable `restart` is a
-- command that ends when the group was restarted, `settled` one that ends when
-- nobody is left in the workers before.

\set QUIET on
\setenv RESTART :restart
\setenv SETTLED :settled
set application_name = 'moved';
set timezone = 'Asia/Tokyo';
prepare twice as select 2 * $1::int;
select pg_backend_pid() as pid \gset

begin;
declare numbers scroll cursor for select n from generate_series(1, 10) n;
fetch 3 from numbers;
\! eval "$RESTART"
fetch 2 from numbers;
fetch backward 1 from numbers;
commit;
\! eval "$SETTLED"
execute twice(21);
\! eval "$RESTART"
\! eval "$SETTLED"
execute twice(4);
show timezone;
show application_name;
select :pid = pg_backend_pid();
