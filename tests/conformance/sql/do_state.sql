-- State that a DO leaves in its session.
do $$ begin perform set_config('my.from_do', 'x', false); end $$;
show my.from_do;
do $$ begin set work_mem = '9MB'; end $$;
show work_mem;
do $$ begin create temp table from_do as select 7 as v; end $$;
select * from from_do;
do $$ begin execute 'listen do_channel'; end $$;
select pg_listening_channels();
do $$ begin perform pg_advisory_lock(77); end $$;
select pg_advisory_unlock(77);
