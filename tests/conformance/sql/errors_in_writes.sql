-- Statements that fail halfway leave nothing.
create table t (id int primary key, v int check (v < 10));
insert into t select g, g from generate_series(1, 20) g;
select count(*) from t;
insert into t values (1, 1), (2, 2), (1, 3);
select count(*) from t;
insert into t values (1, 1);
update t set v = v + 100;
select * from t;
update t set id = id / 0;
delete from t where 1 / (id - 1) > 0;
select * from t;
create function half() returns void language plpgsql as $$ begin insert into t values (2, 2); insert into t values (1, 1); end $$;
select half();
select * from t;
do $$ begin insert into t values (3, 3); raise exception 'stop'; end $$;
select * from t;
copy t from stdin;
4	4
5	50
\.
select * from t;
with a as (insert into t values (6, 6) returning id), b as (insert into t values (7, 70) returning id) select * from a, b;
select * from t;
create table t2 as select 1 / (id - 1) from t;
select * from t2;
drop function half;
drop table t;
