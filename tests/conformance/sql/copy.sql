-- COPY in and out, with data in the script.
create table t (id int, v text);
copy t from stdin;
1	one
2	\N
3	with\ttab
\.
select * from t order by id;
copy t to stdout;
copy (select id * 2, v from t order by id) to stdout with (format csv, header, force_quote *);
copy t (v, id) from stdin with (format csv, delimiter ';', null 'nil', header true);
v;id
"quoted ""text"" ; here";4
nil;5
\.
select * from t where id > 3 order by id;
copy t from stdin with (format csv) where id > 100;
99,no
101,yes
\.
select * from t where id > 90;
copy t from stdin;
not a number	x
\.
copy t from stdin;
7
\.
copy t from stdin;
\.
select count(*) from t;
copy t to stdout with (format text, delimiter '|', null 'NULL');
begin;
copy t from stdin;
200	in a transaction
\.
select * from t where id = 200;
rollback;
select count(*) from t where id = 200;
copy missing from stdin;
copy t (nothing) to stdout;
copy t to stdout with (format nonsense);
copy (insert into t values (300, 'returned') returning *) to stdout;
copy (with d as (delete from t where id = 300 returning id) select * from d) to stdout;
copy (select id from t where id < 3 order by id for update) to stdout;
copy (values (1, 'a'), (2, 'b')) to stdout (format csv);
copy t from stdin with (freeze);
copy t from stdin (encoding 'LATIN1');
400	abc
\.
create view v as select * from t;
copy v to stdout;
copy (select * from v where id = 400) to stdout;
select 1\; copy (select 2) to stdout\; select 3;
copy t from '/nonexistent/file';
copy t to '/nonexistent/file';
copy t to program 'exit 3';
create function noted() returns trigger language plpgsql as $$ begin raise notice 'row %', new.id; return new; end $$;
create trigger noted before insert on t for each row execute function noted();
copy t from stdin;
500	x
501	y
\.
drop table t cascade;
drop function noted;
