-- MERGE.
create table target (id int primary key, v int);
create table source (id int, v int);
insert into target values (1, 10), (2, 20), (3, 30);
insert into source values (2, 200), (3, null), (4, 400);
merge into target t using source s on t.id = s.id
    when matched and s.v is null then delete
    when matched then update set v = t.v + s.v
    when not matched then insert values (s.id, s.v);
select * from target order by id;
merge into target using (values (1), (9)) s(id) on target.id = s.id
    when matched then do nothing
    when not matched and s.id > 5 then insert (id) values (s.id);
select * from target order by id;
with s as (select 1 as id) merge into target t using s on t.id = s.id when matched then update set v = default;
select * from target order by id;
merge into target t using (values (1), (1)) s(id) on t.id = s.id when matched then update set v = 1;
merge into target t using source s on t.id = s.id when matched then update set nothing = 1;
begin;
merge into target t using source s on false when not matched then insert values (s.id + 100, s.v);
select count(*) from target;
rollback;
explain (costs off) merge into target t using source s on t.id = s.id when matched then delete;
drop table target, source;
