-- Row locks in joins, views and subqueries.
create table a (id int primary key); create table b (id int primary key, a int references a);
insert into a values (1), (2); insert into b values (1, 1), (2, 2);
create view ab as select a.id, b.id as b from a join b on b.a = a.id;
begin;
select * from a join b on b.a = a.id order by a.id for update of a;
select * from ab order by id for share;
select * from a where id in (select a from b for key share) order by id;
with x as materialized (select id from a for update) select count(*) from x;
select id from a order by id limit 1 for update skip locked;
select * from a, b where a.id = b.a for update of c;
rollback;
select * from ab order by id for update;
select (select id from a where id = 1 for update);
select exists (select from a for share);
drop view ab;
drop table a, b cascade;
