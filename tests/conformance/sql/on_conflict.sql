-- INSERT ... ON CONFLICT with several indexes, partial ones, expressions.
create table u (a int primary key, b text unique, c int);
create unique index on u (lower(b)) where c > 0;
insert into u values (1, 'x', 1), (2, 'y', 0);
insert into u values (1, 'z', 5) on conflict (a) do update set b = excluded.b, c = u.c + excluded.c returning *;
insert into u values (3, 'z', 1) on conflict do nothing returning *;
insert into u values (3, 'Z', 1) on conflict (lower(b)) where c > 0 do update set c = 100 returning *;
insert into u values (3, 'q', 1) on conflict (a) do update set a = 2;
insert into u values (2, 'w', 1) on conflict (a) do update set a = 1;
insert into u values (1, 'y', 1) on conflict (a) do nothing;
insert into u values (9, 'y', 1) on conflict (a) do nothing;
insert into u values (1, 'k', 1) on conflict (c) do nothing;
select * from u order by a;
drop table u;
