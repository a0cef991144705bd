-- Window functions and grouping sets.
create table w as select g as id, g % 2 as p, g * 10 as v from generate_series(1, 6) g;
select id, rank() over (order by p), dense_rank() over (order by p), percent_rank() over (order by v)::numeric(4, 2), ntile(2) over (order by id) from w order by id;
select id, sum(v) over (partition by p order by id rows between 1 preceding and current row) from w order by id;
select id, first_value(v) over x, last_value(v) over x, nth_value(v, 2) over x from w window x as (partition by p order by id range between unbounded preceding and unbounded following) order by id;
select id, lead(v, 1, 0) over (order by id), cume_dist() over (order by id)::numeric(4, 2) from w order by id;
select id, count(*) over (order by v groups between 1 preceding and 1 following exclude current row) from w order by id;
select p, sum(v) from w group by rollup (p) order by p nulls last;
select p, id % 3, count(*) from w group by grouping sets ((p), (id % 3), ()) order by 1, 2, 3;
select p, mode() within group (order by id % 2), rank(25) within group (order by v) from w group by p order by p;
select id, avg(v) filter (where p = 1) over () from w order by id limit 2;
select row_number() over () from w where row_number() over () > 1;
drop table w;
