-- Settings that change how a statement is read.
show standard_conforming_strings;
select 'a\\b', E'a\\b', U&'\0061';
set standard_conforming_strings = off;
set escape_string_warning = off;
select 'a\\b', 'it\'s; select 2';
set escape_string_warning = on;
select 'a\\b';
set backslash_quote = off;
select 'it\'s';
reset all;
select 'a\\b';
set transform_null_equals = on;
select null = null;
reset transform_null_equals;
select null = null;
set quote_all_identifiers = on;
select pg_get_viewdef('pg_tables'::regclass) like '%"n"."nspname"%';
set array_nulls = off;
select '{null}'::text[] = array['null'];
set xmloption = document;
show xmloption;
set xml option content;
show xmloption;
reset all;
select U&'d\0061t\+000061';
select $$dollar;$$, $tag$ ; $$ $tag$;
select 'two'
    ' parts';
select b'101', x'1f', n'national';
select "quoted ""name""" from (select 1 as "quoted ""name""") s;
/* a comment; with /* another */ in it */ select 1 /* end */;
select 1 -- to the end of the line; select 2
    + 1;
