-- Dates, times, intervals.
set time zone 'UTC';
select date '2020-02-29' + 1, date '2020-03-01' - date '2020-02-01', date '2020-01-31' + interval '1 month';
select timestamp '2020-01-01 12:34:56.789', timestamptz '2020-01-01 12:00 Europe/Berlin', time '12:34', timetz '12:34+02';
select extract(dow from date '2020-01-01'), date_part('week', date '2020-01-01'), date_trunc('month', timestamp '2020-05-17 10:00'), date_bin('15 min', timestamp '2020-01-01 10:08', '2020-01-01');
select age(date '2020-03-01', date '2019-01-15'), justify_days('40 days'), interval '1 day' * 2.5, make_interval(days => 3), make_date(2020, 2, 3), make_timestamptz(2020, 1, 1, 0, 0, 0);
select to_char(timestamp '2020-01-02 15:04:05', 'YYYY-MM-DD HH24:MI:SS Day Mon TZ'), to_date('05 Dec 2000', 'DD Mon YYYY'), to_timestamp(0);
select 'infinity'::date, isfinite('infinity'::timestamp), '-infinity'::timestamptz;
select (date '2020-01-01', date '2020-02-01') overlaps (date '2020-01-15', date '2020-03-01');
select generate_series(date '2020-01-30', date '2020-02-02', '1 day')::date;
select timestamp '2020-06-01 00:00' at time zone 'America/New_York';
select date '2020-02-30';
select time '25:00';
select interval '1 fortnight';
select now() = transaction_timestamp(), statement_timestamp() <= clock_timestamp(), current_date = now()::date;
begin;
select now() = (select now());
commit;
reset time zone;
