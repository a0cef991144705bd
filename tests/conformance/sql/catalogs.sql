-- What the catalogs and the information schema tell, right after DDL.
create table c (id int primary key, v text default 'x', constraint long check (length(v) < 9));
comment on table c is 'the table';
select relname, relkind, relnatts from pg_class where relname ~ '^c(_pkey)?$' and relnamespace = 'public'::regnamespace order by 1;
select attname, atttypid::regtype, attnotnull from pg_attribute where attrelid = 'c'::regclass and attnum > 0 order by attnum;
select conname, contype, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'c'::regclass order by 1;
select indexrelid::regclass, indisprimary, pg_get_indexdef(indexrelid) from pg_index where indrelid = 'c'::regclass;
select table_name, table_type from information_schema.tables where table_schema = 'public' order by 1;
select column_name, column_default from information_schema.columns where table_name = 'c' order by ordinal_position;
select obj_description('c'::regclass), pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = 'c'::regclass;
create view cv as select id from c;
select viewname, definition from pg_views where schemaname = 'public';
create function cf(a int, b text default 'q') returns int language sql immutable as 'select 1';
select proname, provolatile, pg_get_function_arguments(oid) from pg_proc where proname = 'cf';
select pg_get_functiondef('cf'::regproc);
select tablename, hasindexes from pg_tables where schemaname = 'public';
select pg_relation_size('c'), pg_table_is_visible('c'::regclass), has_table_privilege('c', 'select');
select rolname, rolsuper from pg_roles where rolname = current_user;
select nspname from pg_namespace where nspname !~ '^pg_' order by 1;
\d c
\df cf
\dv
\dt
drop view cv;
drop function cf;
drop table c;
\dt
