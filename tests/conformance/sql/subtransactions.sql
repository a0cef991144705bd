-- Exceptions within functions are savepoints of their own.
create table t (v int primary key);
create function put(n int) returns text language plpgsql as $$
begin insert into t values (n); return 'put'; exception when unique_violation then return 'there'; when others then return sqlstate; end $$;
select put(1), put(2), put(1);
select * from t order by v;
begin;
select put(3);
select put(3);
savepoint a;
select put(4);
rollback to a;
commit;
select * from t order by v;
do $$ begin for i in 1..6 loop begin insert into t values (i); exception when unique_violation then null; end; end loop; end $$;
select count(*) from t;
create function settings() returns text language plpgsql as $$
begin
    begin perform set_config('work_mem', '9MB', false); raise exception 'x'; exception when others then null; end;
    return current_setting('work_mem');
end $$;
select settings();
show work_mem;
drop function put, settings;
drop table t;
