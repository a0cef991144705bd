-- Numbers.
select 1::int2, 2::int4, 3::int8, 4.5::numeric, 5.5::float4, 6.5::float8;
select 'NaN'::float8, 'Infinity'::numeric, '-0'::float8, 1e400::numeric > 1e399;
select 32767::int2 + 1::int2;
select 9223372036854775807 + 1;
select 7 / 2, -7 / 2, 7 % -3, 7.0 / 2, 2 ^ 10, |/ 25.0, @ -5, 5 & 3, 5 | 3, 5 # 3, ~5, 1 << 4;
select round(2.5), round(-2.5), round(2.567, 2), trunc(2.9), ceil(2.1), floor(-2.1), div(7, 2), mod(7, 4), gcd(12, 18), lcm(4, 6);
select width_bucket(5, 0, 10, 5), scale(1.230), trim_scale(1.230), factorial(5), sign(-3), power(2, 0.5)::numeric(10, 5);
select 123.456::numeric(5, 1), 99999::numeric(3);
select '12'::numeric::text, 12::text::numeric, 'abc'::numeric;
select sum(x), avg(x), min(x), max(x), stddev(x)::numeric(8, 4), variance(x)::numeric(8, 4) from (values (1), (2), (4)) v(x);
select corr(x, y)::numeric(6, 4), regr_slope(y, x) from (values (1, 2), (2, 4), (3, 7)) v(x, y);
select to_char(1234.5, '9,999.99'), to_number('1,234.5', '9,999.9'), to_hex(255);
select 0.1::float4, 0.1::float8, 1/3::float8;
