-- Procedures: CALL, with output, with transactions of their own.
create table t (v int);
create procedure add(n int) language sql as 'insert into t values (n)';
call add(1);
call add(n => 2);
select * from t order by v;
create procedure "both"(inout a int, b int default 5, out c int) language plpgsql as $$ begin a := a + b; c := a * 2; end $$;
call "both"(1, 2, null);
call "both"(1, c => null);
create procedure steps() language plpgsql as $$
begin
    for i in 10..13 loop
        insert into t values (i);
        if i % 2 = 0 then commit; else rollback; end if;
    end loop;
end $$;
call steps();
select * from t order by v;
begin;
call steps();
rollback;
call steps()\; select 1;
create procedure fails() language plpgsql as $$ begin insert into t values (20); commit; insert into t values (21); perform 1/0; end $$;
call fails();
select * from t order by v;
create procedure chained() language plpgsql as $$
begin
    set transaction isolation level serializable;
    commit and chain;
    raise notice '%', current_setting('transaction_isolation');
    rollback;
    raise notice '%', current_setting('transaction_isolation');
end $$;
call chained();
create procedure setting() language plpgsql set work_mem = '5MB' as $$ begin raise notice '%', current_setting('work_mem'); end $$;
call setting();
show work_mem;
create procedure nested() language plpgsql as $$ begin call add(30); commit; call add(31); end $$;
call nested();
select max(v) from t;
alter procedure add(int) rename to add_one;
alter procedure add_one owner to conf;
call add(1);
call missing();
select add_one(1);
create function f() returns int language sql as 'select 1';
call f();
drop procedure add_one, nested, setting, chained, fails, steps, "both";
drop routine f;
drop table t;
