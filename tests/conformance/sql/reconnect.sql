-- A new connection knows nothing of the one before.
set work_mem = '6MB';
create temp table t (v int);
prepare q as select 1;
select pg_advisory_lock(5);
\c
show work_mem;
select * from t;
execute q;
select pg_try_advisory_lock(5);
select pg_advisory_unlock(5);
begin;
create table rolled (v int);
\c
select * from rolled;
set my.x = 'a';
listen c;
\c
show my.x;
select pg_listening_channels();
