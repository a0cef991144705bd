-- psql's \gset, \gexec, \gdesc, \watch-free; ON_ERROR_ROLLBACK and AUTOCOMMIT.
select 1 as one, 'x' as two \gset
select :one, :'two';
select 'select ' || g from generate_series(1, 3) g \gexec
select 1 as a, 'b'::text as b \gdesc
\set AUTOCOMMIT off
create table p (v int);
insert into p values (1);
rollback;
select * from p;
rollback;
create table p (v int);
commit;
\set AUTOCOMMIT on
\set ON_ERROR_ROLLBACK on
begin;
insert into p values (1);
select 1/0;
insert into p values (2);
commit;
select * from p order by v;
\set ON_ERROR_ROLLBACK off
\set FETCH_COUNT 2
select generate_series(1, 5);
\unset FETCH_COUNT
\copy p from stdin
7
\.
\copy (select * from p order by v) to stdout
\encoding LATIN1
\encoding
\encoding UTF8
\c
select count(*) from p;
\lo_import /nonexistent/file
select * from p order by v \crosstabview
\if true
select 'yes';
\else
select 'no';
\endif
drop table p;
