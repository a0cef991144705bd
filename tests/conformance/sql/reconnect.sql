-- A new connection knows nothing of the one before.
set work_mem = '6MB';
create temp table t (v int);
prepare q as select 1;
\c
show work_mem;
select * from t;
execute q;
begin;
create table rolled (v int);
\c
select * from rolled;
set my.x = 'a';
listen c;
\c
show my.x;
select pg_listening_channels();
