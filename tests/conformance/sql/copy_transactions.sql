-- COPY in transactions, with savepoints, from prepared settings.
create table t (v int primary key);
begin;
copy t from stdin;
1
2
\.
savepoint a;
copy t from stdin;
2
\.
rollback to a;
copy t from stdin;
3
\.
commit;
select * from t order by v;
copy t to stdout;
begin;
copy (select 1/0) to stdout;
copy t to stdout;
rollback;
begin read only;
copy t to stdout;
copy t from stdin;
4
\.
rollback;
set datestyle = 'german';
copy (select date '2020-01-02') to stdout;
reset datestyle;
copy (select 'é') to stdout with (encoding 'LATIN1');
copy t from stdin with (format csv, header match);
v
9
\.
copy t from stdin with (format csv, header match);
wrong
10
\.
select * from t order by v;
truncate t;
begin;
truncate t;
copy t from stdin with (freeze);
5
\.
commit;
table t;
drop table t;
