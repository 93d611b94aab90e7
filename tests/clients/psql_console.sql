-- What an operator types.
\x
show pools;
\x
show pools;
select lists;
