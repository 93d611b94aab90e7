-- The extended protocol of psql 18: values, names, Close and pipelines.
-- :number tells several of these apart that run at once.

select $1::int, $2::text, :number \bind 42 'text' \g
select $1::text \bind NULL \g
select $1 / $2::int \bind 1 0 \g
\echo :SQLSTATE
select 'after', :number \bind \g

-- One name, another text each time.
select 'one', $1::int + :number \parse name
\bind_named name 1 \g
\bind_named name 2 \g
select 'twice' \parse name
\echo :SQLSTATE
\close_prepared name
\bind_named name 3 \g
\echo :SQLSTATE
select 'two', :number, $1::text \parse name
\bind_named name 'again' \g
\close_prepared name
\close_prepared name

-- Names that SQL ends.
select 'before', :number \parse ended
\bind_named ended \g
deallocate all;
\bind_named ended \g
\echo :SQLSTATE
select 'after', :number \parse ended
\bind_named ended \g
discard all;
\bind_named ended \g
\echo :SQLSTATE
select 'at last', :number \parse ended
\bind_named ended \g
\close_prepared ended

-- Inside of a transaction.
begin \bind \g
insert into bound values (:number, $1) \parse insert
\bind_named insert 1 \g
\bind_named insert 2 \g
select number, value from bound where number = :number order by value \bind \g
\bind_named insert 'no number' \g
\echo :SQLSTATE
\bind_named insert 3 \g
\echo :SQLSTATE
rollback \bind \g
\bind_named insert 4 \g
select number, value from bound where number = :number order by value \bind \g
delete from bound where number = :number \bind \g
\close_prepared insert

-- Pipelines.
\startpipeline
select 'piped', $1::int \bind :number \sendpipeline
select 'named', $1::int \parse piped
\bind_named piped 1 \sendpipeline
\bind_named piped 2 \sendpipeline
\flushrequest
\getresults
\syncpipeline
select 1 / $1::int \bind 0 \sendpipeline
\bind_named piped 3 \sendpipeline
\syncpipeline
\bind_named piped 4 \sendpipeline
\close_prepared piped
\endpipeline
\bind_named piped 5 \g
\echo :SQLSTATE
select 'the end', :number;
