-- Operators and operator classes of one's own, used by reads and indexes.
create function plus_loudly(int, int) returns int language plpgsql volatile as $$ begin raise notice 'adding'; return $1 + $2; end $$;
create operator +++ (leftarg = int, rightarg = int, function = plus_loudly);
select 1 +++ 2;
select sum(x +++ 1) from generate_series(1, 2) x;
create function eq(int, text) returns bool language sql immutable as 'select $1::text = $2';
create operator ==== (leftarg = int, rightarg = text, function = eq);
select 5 ==== '5', 5 ==== '6';
select oprname from pg_operator where oprname in ('+++', '====') order by 1;
select 1 operator(pg_catalog.+) 2;
drop operator +++ (int, int), ==== (int, text);
select 1 +++ 2;
drop function plus_loudly, eq;
