-- Statements that are long, wide or deep.
select length(repeat('x', 1000000));
select repeat('y', 2000);
select count(*) from generate_series(1, 20000);
select g, repeat('z', 20) from generate_series(1, 300) g;
create table wide (c1 int, c2 int, c3 int, c4 int, c5 int, c6 int, c7 int, c8 int, c9 int, c10 int);
insert into wide select g, g, g, g, g, g, g, g, g, g from generate_series(1, 50) g;
select * from wide order by c1;
select ((((((((((((((((((((1))))))))))))))))))));
select 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1;
select * from wide where c1 in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20) and c2 < 3;
select md5(string_agg(g::text, ',')) from generate_series(1, 50000) g;
drop table wide;
