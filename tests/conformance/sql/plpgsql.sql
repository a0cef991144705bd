-- PL/pgSQL: control flow, exceptions, cursors, dynamic SQL.
create table t (id serial, v text);
create function many(n int) returns setof int language plpgsql as $$
declare i int := 0;
begin
    while i < n loop i := i + 1; continue when i = 2; exit when i > 4; return next i; end loop;
    return query select 100 + g from generate_series(1, 2) g;
end $$;
select * from many(10);
create function caught(a int) returns text language plpgsql as $$
declare state text; message text;
begin
    insert into t (v) values ('before');
    begin
        insert into t (v) values ('undone');
        perform 1 / a;
        return 'fine';
    exception when division_by_zero then
        get stacked diagnostics state = returned_sqlstate, message = message_text;
        return state || ' ' || message;
    end;
end $$;
select caught(0), caught(1);
select v from t order by id;
create function dynamic(name text) returns bigint language plpgsql as $$
declare n bigint;
begin execute format('select count(*) from %I', name) into n; return n; end $$;
select dynamic('t');
select dynamic('missing');
create function by_cursor() returns refcursor language plpgsql as $$
declare c refcursor := 'mine';
begin open c for select v from t order by id; return c; end $$;
begin;
select by_cursor();
fetch 2 from mine;
commit;
fetch mine;
create function loops() returns text language plpgsql as $$
declare r record; out text := ''; a int; c cursor for select id from t order by id;
begin
    for r in select * from t order by id loop out := out || r.id; end loop;
    for i in reverse 3..1 loop out := out || i; end loop;
    foreach a in array array[7, 8] loop out := out || a; end loop;
    for r in c loop out := out || r.id; end loop;
    return out;
end $$;
select loops();
create function asserts() returns void language plpgsql as $$ begin assert 1 = 2, 'not equal'; end $$;
select asserts();
create function raises() returns void language plpgsql as $$
begin raise exception using message = 'm', detail = 'd', hint = 'h', errcode = '22012', table = 't', column = 'c'; end $$;
select raises();
create function deep(n int) returns int language plpgsql as $$ begin if n = 0 then return 1 / 0; end if; return deep(n - 1); end $$;
select deep(3);
create function strict_into() returns int language plpgsql as $$ declare x int; begin select id into strict x from t; return x; end $$;
select strict_into();
create function temporary_work() returns int language plpgsql as $$
declare n int;
begin create temp table w on commit drop as select 1 as a; select count(*) into n from w; return n; end $$;
select temporary_work(), 1;
select temporary_work();
drop function many, caught, dynamic, by_cursor, loops, asserts, raises, deep, strict_into, temporary_work;
drop table t;
