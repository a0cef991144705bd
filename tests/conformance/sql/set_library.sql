-- PostgreSQL takes a parameter with PL/pgSQL's prefix that it does not know, until the language is used in the session.
create schema sl;
create function sl.uses() returns int language plpgsql as 'begin return 1; end';
select sl.uses();
\c -
-- This session has not used it, whoever has worked on its connection before.
set plpgsql.nobodys = 'x';
show plpgsql.nobodys;
select 1 as one;
create table sl.t (a int);
insert into sl.t values (1);
select * from sl.t;
show plpgsql.nobodys;
load 'plpgsql';
show plpgsql.nobodys;
set plpgsql.nobodys = 'y';
select * from sl.t;
discard all;
\c -
set plpgsql.nobodys = 'x';
select sl.uses();
show plpgsql.nobodys;
set work_mem = '3MB';
show work_mem;
select * from sl.t;
\c -
show work_mem;
begin;
set local plpgsql.nobodys = 'x';
show plpgsql.nobodys;
select sl.uses();
commit;
show work_mem;
\c -
select set_config('plpgsql.nobodys', 'x', false);
show plpgsql.nobodys;
rollback;
set plpgsql.variable_conflict = 'use_column';
select sl.uses();
show plpgsql.variable_conflict;
drop schema sl cascade;
