-- RETURNING in all its places.
create table r (id serial, v text);
insert into r (v) values ('a'), ('b') returning *;
update r set v = v || '!' returning id, v, length(v) as n;
delete from r where id = 1 returning r.*;
with i as (insert into r (v) values ('c') returning id) select id > 0 from i;
insert into r (v) select 'd' returning (select count(*) from r), id;
insert into r (v) values ('e') returning missing;
update r set v = 'f' returning 1 / 0;
select * from r order by id;
drop table r;
