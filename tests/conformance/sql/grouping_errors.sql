-- Warnings and notices beside rows.
select 1 as x; commit; select 2 as y;
create table g (v int);
do $$ begin raise warning 'w1'; raise notice 'n1'; end $$;
create function noisy(n int) returns int language plpgsql stable as $$ begin raise notice 'noise %', n; return n; end $$;
select noisy(g) from generate_series(1, 3) g;
select noisy(1), noisy(2);
select noisy(1) from generate_series(1, 2) where noisy(5) = 5;
begin; select noisy(7); commit;
insert into g select noisy(8);
select noisy(v) from g;
drop function noisy;
drop table g;
