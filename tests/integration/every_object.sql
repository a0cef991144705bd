-- A database with every kind of object that pg_dump knows and a superuser can make, for test_dump.py.
-- Roles dump_owner and dump_reader exist already.
create schema shop authorization dump_owner;
comment on schema shop is 'with a comment; and a ''quote''';
set search_path = shop, public;

create extension pgcrypto;
create extension btree_gist with schema shop;
create collation shop.german (provider = libc, locale = 'C');
create type mood as enum ('low', 'so-so', 'hi''gh');
create type point3 as (x int, y numeric(10, 2), tags text[]);
create domain positive as int default 1 check (value > 0);
create type span as range (subtype = float8, subtype_diff = float8mi);

create sequence tickets start 100 increment 5 cache 10;
select nextval('tickets'), nextval('tickets');

create function area(p point3) returns numeric language sql immutable as $$ select p.x * p.y $$;
create function body(n int) returns int language sql begin atomic; select n + 1; end;
create function touch() returns trigger language plpgsql as $body$
begin
    new.touched := coalesce(new.touched, 0) + 1;  -- a $$ inside
    return new;
end $body$;
create procedure fill(n int) language plpgsql as $$ begin insert into item (name) select 'more ' || g from generate_series(1, n) g; end $$;
create aggregate product(int) (sfunc = int4mul, stype = int, initcond = '1');
create operator |+| (leftarg = int, rightarg = int, function = int4pl, commutator = |+|);
create operator family fam using btree;
create operator class cls for type positive using btree family fam as
    operator 1 < (int, int), operator 2 <= (int, int), operator 3 = (int, int), operator 4 >= (int, int),
    operator 5 > (int, int), function 1 btint4cmp(int, int);
create cast (point3 as text) with inout as assignment;
create conversion own for 'LATIN1' to 'UTF8' from iso8859_1_to_utf8;

create table item (
    id int generated always as identity (start with 7) primary key,
    code serial,
    name text collate shop.german not null default 'a "quoted" \ default',
    price numeric(12, 3) check (price >= 0),
    twice numeric generated always as (price * 2) stored,
    feeling mood default 'so-so',
    place point3,
    size positive,
    valid span,
    data jsonb,
    raw bytea,
    touched int,
    unique (code) deferrable initially deferred
);
comment on column item.price is E'line one\nline two';
alter table item alter column data set statistics 500, alter column raw set storage external, alter name set (n_distinct = 50);
create table sold (
    item int references item on delete cascade deferrable,
    at timestamptz not null default '2020-02-02 02:02:02+00',
    room int, during tsrange,
    exclude using gist (room with =, during with &&)
);
create index item_lower on item (lower(name) text_pattern_ops) where price > 10;
create index item_data on item using gin (data jsonb_path_ops);
create index item_brin on item using brin (id) with (pages_per_range = 4);
create unique index item_include on item (name, id) include (price);
alter table item cluster on item_include;
create statistics item_stats (dependencies, ndistinct) on name, price from item;
create trigger touching before insert or update of name on item for each row when (new.name <> 'x') execute function touch();
create trigger off after delete on item for each statement execute function suppress_redundant_updates_trigger();
alter table item disable trigger off;
create rule quiet as on delete to sold where old.room = 0 do instead nothing;

create table measured (at date not null, city text, value float8, primary key (at, city)) partition by range (at);
create table measured_2020 partition of measured for values from ('2020-01-01') to ('2021-01-01') with (fillfactor = 70);
create table measured_rest partition of measured default;
create table hashed (k int) partition by hash (k);
create table hashed_0 partition of hashed for values with (modulus 2, remainder 0);
create table hashed_1 partition of hashed for values with (modulus 2, remainder 1);
create table parent (a int, b text);
create table child (c date) inherits (parent);
create unlogged table fast (v int);
create table typed of point3 (x with options primary key);

create view cheap with (security_barrier) as select id, name from item where price < 100 with local check option;
create recursive view upto (n) as values (1) union all select n + 1 from upto where n < 3;
create materialized view totals as select feeling, count(*) as n from item group by feeling;
create unique index totals_feeling on totals (feeling);
create materialized view unfilled as select 1 as one with no data;

alter table item enable row level security;
create policy mine on item as restrictive for select to dump_reader using (price < 50);
create policy all_of_it on item using (true) with check (price is not null);
grant usage on schema shop to dump_reader;
grant select (id, name), update (name) on item to dump_reader with grant option;
grant execute on function area(point3) to dump_reader;
revoke execute on function body(int) from public;
alter default privileges for role dump_owner in schema shop grant select on tables to dump_reader;
alter table parent owner to dump_owner;

create text search dictionary shop.plain (template = simple, stopwords = english);
create text search configuration shop.words (copy = english);
alter text search configuration shop.words alter mapping for asciiword with shop.plain;
create text search parser own_parser (start = prsd_start, gettoken = prsd_nexttoken, end = prsd_end, headline = prsd_headline, lextypes = prsd_lextype);
create text search template own_template (init = dsimple_init, lexize = dsimple_lexize);
create foreign data wrapper wrapper options (debug 'true');
create server elsewhere type 'file' version '1' foreign data wrapper wrapper options (host 'a', port '1');
create user mapping for dump_reader server elsewhere options ("user" 'u', password 'p');
create foreign table far (id int options (column_name 'i')) server elsewhere options (name 'x');
create publication every for all tables with (publish = 'insert, update');
create publication part for table sold (item, room) where (room > 3);
create subscription never connection 'host=nowhere.invalid dbname=x' publication part with (connect = false, slot_name = none);
create function on_ddl() returns event_trigger language plpgsql as $$ begin null; end $$;
create event trigger watch on ddl_command_end when tag in ('CREATE TABLE') execute function on_ddl();
alter event trigger watch disable;
create access method heap_too type table handler heap_tableam_handler;
create table in_heap_too (v int) using heap_too;

insert into item (name, price, feeling, place, size, valid, data, raw)
    select 'item ' || g || case g % 5 when 0 then E'\ttab\\back\nline "q"' when 1 then ' é ☃' else '' end, g * 1.125,
           (array['low', 'so-so', 'hi''gh'])[g % 3 + 1]::mood, row(g, g / 3.0, array['a', null, 'c,d'])::point3, g,
           span(g, g + 1), jsonb_build_object('g', g, 'n', null), decode(md5(g::text), 'hex')
    from generate_series(1, 500) g;
insert into item (name) values (default);
insert into sold (item, room, during) select id, id, tsrange('2020-01-01', '2020-01-02') from item where id % 3 = 0;
insert into measured select '2020-01-01'::date + g, 'city ' || g % 7, g / 7.0 from generate_series(1, 600) g;
insert into measured values ('1999-01-01', '', 'NaN'), ('infinity', 'x', '-Infinity');
insert into hashed select generate_series(1, 100);
insert into parent values (1, 'one'), (2, null), (3, '\N'), (4, '');
insert into child values (5, 'five', 'today'::date - current_date + '2001-01-01'::date);
insert into fast values (1);
insert into typed values (1, 2.5, '{}');
select lo_from_bytea(4711, '\x00ff5c0a'), lo_from_bytea(4712, decode(repeat('ab', 5000), 'hex'));
comment on large object 4711 is 'large';
grant select on large object 4712 to dump_reader;
refresh materialized view totals;
