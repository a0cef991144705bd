# SPDX-License-Identifier: ISC
"""What users' functions, procedures and triggers leave in their session, though no text of the client says so."""
import pytest

import frontend as fe
from pgcluster import wait_until

CODE = """
create schema code;
grant usage on schema code to public;
create function code.tenant(text) returns void language plpgsql as $$ begin
  perform set_config('code.tenant', $1, false);
end $$;
create function code.tenant_by_set() returns void language plpgsql as $$ begin
  -- by a command
  set code.tenant = 'x';
end $$;
create function code.nested(text) returns void language sql as 'select code.tenant($1)';
create function code.atomic(t text) returns void language sql begin atomic select code.tenant(t); end;
create function code.stable(text) returns text language plpgsql stable as $$ begin
  return set_config('code.tenant', $1, false);
end $$;
create function code.memory() returns int language plpgsql as $$ begin set work_mem = '77MB'; return 1; end $$;
create function code.path() returns int language plpgsql as $$ begin execute 'SET search_path = code'; return 1; end $$;
create function code.role() returns int language plpgsql as $$ begin set role monitor; return 1; end $$;
create function code.someone() returns int language plpgsql as $$ begin
  set session authorization monitor; return 1;
end $$;
create function code.temp() returns int language plpgsql as $$ begin
  create temporary table left_behind (a int); return 1;
end $$;
create function code.lock() returns int language plpgsql as $$ begin perform pg_advisory_lock(4711); return 1; end $$;
create function code.listen() returns int language plpgsql as $$ begin listen code; return 1; end $$;
create function code.prepare() returns int language plpgsql as $$ begin
  execute 'prepare code as select 1'; return 1;
end $$;
create function code.any(name text, value text) returns text language sql as 'select set_config(name, value, false)';
create function code.run(command text) returns void language plpgsql as $$ begin execute command; end $$;
create procedure code.proc() language plpgsql as $$ begin
  perform code.tenant('x'); commit; set role monitor;
end $$;
create function code.local(text) returns void language plpgsql as $$ begin
  perform set_config('code.tenant', coalesce($1, ''), true);
  update code.plain set a = a;
  update code.plain as p set a = 2 where p.a = 1;
end $$;

create function code.fired() returns trigger language plpgsql as $$ begin
  perform set_config('code.tenant', 'x', false);
  return coalesce(new, old);
end $$;
create function code.fired_ddl() returns event_trigger language plpgsql as $$ begin
  perform set_config('code.tenant', 'x', false);
end $$;
create table code.plain (a int);
create table code.fires (a int);
create trigger t before insert or update on code.fires for each row execute function code.fired();
create trigger e after truncate on code.fires for each statement execute function code.fired();
create view code.over as select * from code.fires;
create function code.writes() returns void language sql as 'insert into code.fires values (1)';
create table code.parted (a int) partition by range (a);
create table code.part partition of code.parted for values from (0) to (10);
create trigger t after insert on code.part for each row execute function code.fired();
create table code.referenced (a int primary key);
insert into code.referenced values (1), (2), (3);
create table code.referencing (a int references code.referenced on delete cascade);
insert into code.referencing values (1), (2), (3);
create trigger t after delete on code.referencing for each row execute function code.fired();
create table code.late (a int);
create constraint trigger t after insert on code.late deferrable initially deferred
  for each row execute function code.fired();
create table code.by_default (a int, b text default code.stable('x'));
create table code.by_rule (a int);
create rule r as on insert to code.by_rule do also select code.tenant('x');
create view code.seen as select code.stable('x');
create function code.same(a int, b int) returns bool language plpgsql as $$ begin
  perform set_config('code.tenant', 'x', false);
  return a = b;
end $$;
create operator code.=== (leftarg = int, rightarg = int, function = code.same);
create function code.compares() returns bool language sql stable as 'select 1 operator(code.===) 2';
create view code.compared as select a operator(code.===) a as b from code.plain;
create domain code.name as text check (code.stable('x') = 'x');
create domain code.short_name as code.name check (length(value) < 9);
create domain code.odd as int check (value operator(code.===) value);
create type code.person as (name code.short_name, age int);
create table code.people (name code.name);
create function code.greet(code.name) returns text language plpgsql stable as $$ begin return 'hello'; end $$;
create function code.names() returns text language plpgsql stable as $$ begin return 'x'::code.name; end $$;
create domain code.many_names as text[] check (code.stable('x') = 'x');
create function code.lists() returns text language plpgsql stable as $$ begin return '{x}'::code.many_names; end $$;
create view code.named as select 'x'::code.name;
create type code.raw as (a int);
create function code.make(int) returns code.raw language sql as $$
  select row($1)::code.raw where code.stable('x') = 'x'
$$;
create cast (int as code.raw) with function code.make(int);
create function code.folded(int) returns int language plpgsql immutable as $$ begin
  perform set_config('code.tenant', 'x', false);
  return $1;
end $$;
create operator code.!== (leftarg = int, rightarg = int, function = code.same);
create function code.differ(a int, b int) returns bool language plpgsql immutable as 'begin return a <> b; end';
create operator code.<<>> (leftarg = int, rightarg = int, function = code.differ, negator = operator(code.!==));
create function code.name_of_column() returns text language plpgsql stable as $$
declare n code.people.name%type; begin n := 'x'; return n; end $$;
create function code.row_of_table() returns text language plpgsql stable as $$
declare r code.people; begin r := row('x'); return r; end $$;
create type code.mood as enum ('good', 'bad');
create function code.mood_of(int) returns code.mood language plpgsql as $$ begin
  perform set_config('code.tenant', 'x', false); return 'good';
end $$;
create cast (int as code.mood) with function code.mood_of(int);
create function code.moods() returns text language plpgsql stable as $$ begin return 1::code.mood; end $$;
create view code.claim as select 1 as a where pg_try_advisory_lock(4712);
create view code.seen_directly as select set_config('code.direct', 'x', false) as b;
create view code.seen_by_view as select * from code.seen_directly;
create table code.default_directly (a int, b text default set_config('code.tenant', 'x', false));
create table code.checked_directly (a int check (set_config('code.tenant', 'x', false) = 'x'));
create table code.ruled_directly (a int);
create rule r as on insert to code.ruled_directly do also select set_config('code.tenant', 'x', false);
create function code.does_nothing() returns trigger language plpgsql as 'begin return new; end';
create table code.fires_sometimes (a int);
create trigger t before insert on code.fires_sometimes for each row
  when (set_config('code.tenant', 'x', false) = 'y') execute function code.does_nothing();
create domain code.checks_directly as text check (set_config('code.tenant', 'x', false) = 'x');
create function code.argument_directly(a text default set_config('code.tenant', 'x', false)) returns text
  language sql stable as 'select $1';
create view code.local_directly as select set_config('code.tenant', 'x', true);
create table code.indexed (a int);
create index on code.indexed (code.folded(a));
grant all on all tables in schema code to public;
"""
DROP = "drop schema if exists code cascade"

TENANT = "select coalesce(nullif(current_setting('code.tenant', true), ''), '-')"
# statements: what a question shows the client afterwards, and what it shows everybody else
LEFT = {
    "function": (["select code.tenant('x')"], TENANT, "x", "-"),
    "function_twice": (["select code.tenant('w')", "select code.tenant('x')"], TENANT, "x", "-"),
    "function_from": (["select * from code.tenant('x')"], TENANT, "x", "-"),
    "command": (["select code.tenant_by_set()"], TENANT, "x", "-"),
    "nested": (["select code.nested('x')"], TENANT, "x", "-"),
    "atomic": (["select code.atomic('x')"], TENANT, "x", "-"),
    "declared_stable": (["select code.stable('x')"], TENANT, "x", "-"),
    "in_transaction": (["begin", "select code.tenant('x')", "commit"], TENANT, "x", "-"),
    "rolled_back": (["begin", "select code.tenant('x')", "rollback"], TENANT, "-", "-"),
    "in_insert": (["insert into code.plain select 1 where code.stable('x') = 'x'"], TENANT, "x", "-"),
    "any": (["select code.any('code.other', 'x')"], "select coalesce(nullif(current_setting('code.other', true), ''), "
            "'-')", "x", "-"),
    "run": (["select code.run('set work_mem = ''77MB''')"], "show work_mem", "77MB", "4MB"),
    "procedure": (["call code.proc()"], f"{TENANT} || current_user", "xmonitor", "-app"),
    "do": (["do $$ begin perform code.tenant('x'); set role monitor; end $$"], f"{TENANT} || current_user", "xmonitor",
           "-app"),
    "local": (["select code.local('x')"], TENANT, "-", "-"),
    "long_text": (["insert into code.fires values " + ", ".join(f"({n})" for n in range(20000))], TENANT, "x", "-"),
    "temporary_function": (["create function pg_temp.f() returns void language sql as "
                            "$$ select set_config('code.moment', 'x', false), set_config('work_mem', '79MB', false) $$",
                            "select 1", "select pg_temp.f()", "drop function pg_temp.f()"],
                           "select coalesce(current_setting('code.moment', true), '') || current_setting('work_mem')",
                           "x79MB", "4MB"),
    "in_c": (["select code.set_limit(0.7)"], "select code.show_limit()::text", "0.7", "0.3"),
    "memory": (["select code.memory()"], "show work_mem", "77MB", "4MB"),
    "path": (["select code.path()"], "show search_path", "code", '"$user", public'),
    "role": (["select code.role()"], "select current_user", "monitor", "app"),
    "authorization": (["select code.someone()"], "select session_user", "monitor", "app"),
    "temp": (["select code.temp()"], "select count(*) from pg_depend where refclassid = 'pg_namespace'::regclass and "
             "refobjid = pg_my_temp_schema()", 1, 0),
    "lock": (["select code.lock()"], "select count(*) from pg_locks where locktype = 'advisory' and "
             "pid = pg_backend_pid()", 1, 0),
    "listen": (["select code.listen()"], "select count(*) from pg_listening_channels()", 1, 0),
    "prepare": (["select code.prepare()"], "select count(*) from pg_prepared_statements where from_sql", 1, 0),
    "trigger": (["insert into code.fires values (1)"], TENANT, "x", "-"),
    "trigger_copy": (["copy code.fires from stdin"], TENANT, "x", "-"),
    "trigger_cte": (["with n as (insert into code.fires values (1) returning a) select * from n"], TENANT, "x", "-"),
    "trigger_truncate": (["truncate code.fires"], TENANT, "x", "-"),
    "trigger_view": (["insert into code.over values (1)"], TENANT, "x", "-"),
    "trigger_function": (["select code.writes()"], TENANT, "x", "-"),
    "trigger_partition": (["insert into code.parted values (1)"], TENANT, "x", "-"),
    "trigger_cascade": (["delete from code.referenced where a = 1"], TENANT, "x", "-"),
    "trigger_deferred": (["begin", "insert into code.late values (1)", "commit"], TENANT, "x", "-"),
    "trigger_prepared": (["prepare p as insert into code.fires values (1)", "execute p", "deallocate p"], TENANT, "x",
                         "-"),
    "default": (["insert into code.by_default (a) values (1)"], TENANT, "x", "-"),
    "rule": (["insert into code.by_rule values (1)"], TENANT, "x", "-"),
    "view": (["select * from code.seen"], TENANT, "x", "-"),
    "operator": (["select 1 operator(code.===) 1"], TENANT, "x", "-"),
    "operator_any": (["select 1 operator(code.===) any (array[1, 2])"], TENANT, "x", "-"),
    "operator_path": (["begin", "set local search_path = code", "select 1 === 1", "commit"], TENANT, "x", "-"),
    "operator_update": (["insert into code.plain values (1)",
                         "update code.plain set a = 1 where a operator(code.===) a or (select 1 operator(code.===) 1)"],
                        TENANT, "x", "-"),
    "operator_function": (["select code.compares()"], TENANT, "x", "-"),
    "operator_view": (["insert into code.plain values (1)", "select * from code.compared"], TENANT, "x", "-"),
    "domain": (["select 'x'::code.name"], TENANT, "x", "-"),
    "domain_literal": (["select code.name 'x'"], TENANT, "x", "-"),
    "domain_call": (["select code.name('x')"], TENANT, "x", "-"),
    "domain_array": (["select '{x}'::code.name[]"], TENANT, "x", "-"),
    "domain_domain": (["select cast('x' as code.short_name)"], TENANT, "x", "-"),
    "domain_operator": (["select 1::code.odd"], TENANT, "x", "-"),
    "domain_composite": (["select row('x', 1)::code.person"], TENANT, "x", "-"),
    "domain_column": (["insert into code.people values ('x')"], TENANT, "x", "-"),
    "domain_argument": (["select code.greet('x')"], TENANT, "x", "-"),
    "domain_over_array": (["select code.lists()"], TENANT, "x", "-"),
    "domain_function": (["select code.names()"], TENANT, "x", "-"),
    "domain_view": (["select * from code.named"], TENANT, "x", "-"),
    "domain_row": (["select row('x')::code.people"], TENANT, "x", "-"),
    "domain_json": (["select * from json_populate_record(null::code.people, '{\"name\": \"x\"}')"], TENANT, "x",
                    "-"),
    "domain_column_type": (["select code.name_of_column()"], TENANT, "x", "-"),
    "domain_row_variable": (["select code.row_of_table()"], TENANT, "x", "-"),
    "domain_of_a_moment_ago": (["create domain code.late_name as text check (code.stable('x') = 'x')",
                                "select 'x'::code.late_name", "drop domain code.late_name"], TENANT, "x", "-"),
    "default_of_a_moment_ago": (["create table code.late_default (a int, b text default code.stable('x'))",
                                 "insert into code.late_default (a) values (1)", "drop table code.late_default"],
                                TENANT, "x", "-"),
    "cast_function": (["select code.moods()"], TENANT, "x", "-"),
    "operator_negated": (["insert into code.plain values (1)", "select not a operator(code.<<>>) 2 from code.plain"],
                         TENANT, "x", "-"),
    "domain_prepared": (["prepare p(code.name) as select $1", "execute p('x')", "deallocate p"], TENANT, "x", "-"),
    "cast": (["select 1::code.raw"], TENANT, "x", "-"),
    "index": (["insert into code.indexed values (1)"], TENANT, "x", "-"),
    "view_lock": (["select * from code.claim"], "select count(*) from pg_locks where locktype = 'advisory' and "
                  "pid = pg_backend_pid()", 1, 0),
    "view_directly": (["select * from code.seen_by_view"],
                      "select coalesce(nullif(current_setting('code.direct', true), ''), '-')", "x", "-"),
    "default_directly": (["insert into code.default_directly (a) values (1)"], TENANT, "x", "-"),
    "check_directly": (["insert into code.checked_directly values (1)"], TENANT, "x", "-"),
    "rule_directly": (["insert into code.ruled_directly values (1)"], TENANT, "x", "-"),
    "trigger_directly": (["insert into code.fires_sometimes values (1)"], TENANT, "x", "-"),
    "domain_directly": (["select 'x'::code.checks_directly"], TENANT, "x", "-"),
    "argument_directly": (["select code.argument_directly()"], TENANT, "x", "-"),
    "local_directly": (["select * from code.local_directly"], TENANT, "-", "-"),
}


@pytest.fixture(scope="module")
def code(shared_cluster):
    cluster = shared_cluster
    cluster.primary.sql(DROP, dbname="app")
    with cluster.primary.connect("app", "app") as conn:
        conn.execute(CODE)
    cluster.primary.sql("create extension pg_trgm with schema code", dbname="app")
    # The planner's help is a function in C that does not say that it is harmless.
    cluster.primary.sql("create function code.support(internal) returns internal language c as '$libdir/sslinfo', "
                        "'ssl_is_used'; create function code.supported(int) returns bool language plpgsql stable "
                        "support code.support as 'begin return true; end'; "
                        "grant execute on all functions in schema code to public", dbname="app")
    cluster.primary.sql("grant monitor to app; alter role app superuser")
    cluster.caught_up()
    yield
    cluster.primary.sql(DROP, dbname="app")
    cluster.primary.sql("revoke monitor from app; alter role app nosuperuser")


@pytest.fixture
def few(router, code):
    return router(default_pool_size=4, workers=1, query_wait_timeout="5s")


def run(conn, statement):
    if statement.startswith("copy"):
        with conn.cursor().copy(statement) as copy:
            copy.write_row([1])
    else:
        conn.execute(statement)


def value(conn, question):
    return conn.execute(question).fetchone()[0]


def knows_code(conn):
    """Until the catalog has been read a call is of an unknown function; the first client waits for it at its login."""
    assert value(conn, "select 1") == 1


@pytest.mark.parametrize("name", sorted(LEFT))
def test_what_is_left(few, name):
    check_left(few, *LEFT[name])


def check_left(few, statements, question, own, others):
    """The client keeps it wherever it works, and nobody else meets it; when the client has gone, nobody does."""
    clients = [few.connect() for _ in range(4)]
    try:
        knows_code(clients[0])
        for statement in statements:
            run(clients[0], statement)
        for _ in range(3):
            for conn in clients[1:]:
                assert value(conn, question) == others
                conn.execute("begin")
                assert value(conn, question) == others
            assert value(clients[0], question) == own
            for conn in clients[1:]:
                conn.execute("rollback")
        clients[0].close()
        assert [value(conn, question) for conn in clients[1:] for _ in range(3)] == [others] * 9
    finally:
        for conn in clients:
            conn.close()


@pytest.mark.parametrize("name", ["function", "memory", "lock", "trigger", "temp"])
def test_by_messages(few, name):
    """The same by the extended protocol, and what is pipelined behind it."""
    statements, question, own, others = LEFT[name]
    with few.connect() as other, few.connect(prepare_threshold=0) as conn:
        knows_code(conn)
        for _ in range(2):
            with conn.pipeline():
                run(conn, statements[0].replace("'x'", "'w'") if name == "function" else statements[0])
                cursor = conn.execute(statements[0]) if name != "temp" else None
                seen = conn.execute(question)
            assert cursor is None or cursor.statusmessage
            assert seen.fetchone()[0] >= own if isinstance(own, int) else seen.fetchone()[0] == own
            assert value(other, question) == others
            if name == "temp":
                conn.execute("drop table left_behind")


def test_pins_go_again(few):
    """What such a function leaves pins its client only as long as it is there."""
    with few.connect() as conn:
        knows_code(conn)
        run(conn, "select code.lock(), code.temp()")
        assert value(conn, "select 1") == 1
        assert few.metric("pgsteer_pins", reason="advisory_lock") == few.metric("pgsteer_pins", reason="temp") == 1
        run(conn, "select pg_advisory_unlock_all()")
        run(conn, "drop table left_behind")
        assert value(conn, "select 1") == 1
        assert few.metric("pgsteer_clients_pinned") == 0
        run(conn, "select code.run('select 1')")  # nobody can tell what that was
        assert few.metric("pgsteer_pins", reason="function") == 1
        run(conn, "discard all")
        assert few.metric("pgsteer_clients_pinned") == 0


def test_nothing_is_asked_for_nothing(few, cluster):
    """Code that leaves nothing costs nothing: SET LOCAL and its like, and the SET of an UPDATE."""
    cluster.primary.sql("alter role app set log_statement = 'all'")
    try:
        with few.connect() as conn:
            knows_code(conn)
            mark = cluster.primary.log_size()

            def asked():
                return [s for user, s in cluster.primary.statements(mark) if user == "app" and "pg_settings" in s]

            run(conn, "select code.local('x')")
            run(conn, "insert into code.plain values (1)")
            run(conn, "insert into code.plain values (2)")
            run(conn, "select code.supported(1)")
            run(conn, "select * from code.local_directly")
            run(conn, "select * from code.local_directly")
            value(conn, "select 2")
            assert not asked()
            run(conn, "insert into code.fires values (1)")
            assert value(conn, "select 2") == 2
            wait_until(asked, 5, "the question")
    finally:
        cluster.primary.sql("alter role app reset log_statement")


def test_policy(code, router, cluster):
    """What a policy calls itself, for one whom policies bind."""
    cluster.primary.sql("alter role app nosuperuser; create table code.guarded (a int); insert into code.guarded "
                        "values (1); alter table code.guarded enable row level security; create policy p on "
                        "code.guarded using (set_config('code.tenant', 'x', false) = 'x'); "
                        "grant all on code.guarded to app", dbname="app")
    try:
        cluster.caught_up()
        check_left(router(default_pool_size=4, workers=1), ["select * from code.guarded"], TENANT, "x", "-")
    finally:
        cluster.primary.sql("alter role app superuser; drop table code.guarded", dbname="app")


def test_a_lock_is_not_waited_for(few, cluster):
    """Reading the catalog gives up soon where somebody has locked a view that is to be put into words."""
    waiting = "select count(*) from pg_stat_activity where usename = 'monitor' and wait_event_type = 'Lock'"
    with few.connect() as conn, cluster.primary.connect("app", "app", autocommit=False) as locker:
        knows_code(conn)
        locker.execute("lock table code.claim in access exclusive mode")
        run(conn, "create table code.reread (a int); drop table code.reread")
        wait_until(lambda: cluster.primary.value(waiting) == 1, 10, "the catalog to be read again")
        wait_until(lambda: cluster.primary.value(waiting) == 0, 5, "it to be given up")
        locker.rollback()


def test_code_of_a_moment_ago(few):
    """The client that makes a function or trigger need not wait until the catalog tells of it."""
    with few.connect() as conn, few.connect() as other:
        knows_code(conn)
        for statement in ["create or replace function code.now(text) returns void language sql as "
                          "$$ select set_config('code.moment', $1, false), set_config('work_mem', '78MB', false) $$",
                          "select code.now('x')"]:
            run(conn, statement)
        question = ("select coalesce(current_setting('code.moment', true), '') || current_setting('work_mem')")
        for _ in range(3):
            assert value(other, question) == "4MB"
            other.execute("begin")
            assert value(other, question) == "4MB"
            assert value(conn, question) == "x78MB"
            other.execute("rollback")
        run(conn, "discard all")
        run(conn, "create or replace function code.at_once() returns trigger language plpgsql as "
                  "$$ begin set code.moment = 'y'; return new; end $$; "
                  "create table code.fresh (a int); "
                  "create trigger t before insert on code.fresh for each row execute function code.at_once()")
        run(conn, "insert into code.fresh values (1)")
        other.execute("begin")
        assert value(other, question) == "4MB"
        assert value(conn, question) == "y4MB"
        other.execute("rollback")


def test_a_long_transaction(few):
    """It is asked for once, however often there was something to ask for, and the client is not pinned by it."""
    with few.connect(application_name="long", options="-c datestyle=german -c intervalstyle=iso_8601") as conn, \
            few.connect() as other:
        knows_code(conn)
        run(conn, "begin")
        with conn.pipeline():
            for _ in range(2000):
                run(conn, "insert into code.fires values (1)")
        run(conn, "commit")
        assert value(conn, TENANT) == "x" and value(other, TENANT) == "-"
        assert few.metric("pgsteer_clients_pinned") == 0


def test_event_trigger(few, cluster):
    cluster.primary.sql("create event trigger code_ddl on ddl_command_end execute function code.fired_ddl()",
                        dbname="app")
    try:
        with few.connect() as conn, few.connect() as other:
            knows_code(conn)
            run(conn, "create table code.made (a int)")
            other.execute("begin")
            assert (value(other, TENANT), value(conn, TENANT)) == ("-", "x")
            other.execute("rollback")
    finally:
        cluster.primary.sql("drop event trigger code_ddl", dbname="app")
        cluster.primary.sql("drop table if exists code.made", dbname="app")


@pytest.mark.parametrize("made", [
    "create type code.hidden as (a int); "
    "create function code.hidden_cast(int) returns code.hidden language plpgsql as "
    "$$ begin perform set_config('code.tenant', 'x', false); return row($1)::code.hidden; end $$; "
    "create function code.shown(code.hidden) returns int language plpgsql as 'begin return 1; end'; "
    "create cast (int as code.hidden) with function code.hidden_cast(int) as implicit",
    "create type code.hidden as (a int); "
    "create function code.hidden_same(code.hidden, code.hidden) returns bool language plpgsql as "
    "$$ begin perform set_config('code.tenant', 'x', false); return true; end $$; "
    "create operator code.= (leftarg = code.hidden, rightarg = code.hidden, function = code.hidden_same); "
    "create function code.shown(int) returns int language sql immutable as 'select 1'; "
    "alter role app set search_path = code, pg_catalog"], ids=["cast", "comparison"])
def test_what_no_text_shows(code, router, cluster, made):
    """A function behind an implicit cast, and one behind the comparison of CASE."""
    drop = ("drop type if exists code.hidden cascade; drop function if exists code.shown; "
            "alter role app reset search_path")
    cluster.primary.sql(made, dbname="app")
    try:
        cluster.caught_up()
        few = router(default_pool_size=4, workers=1)
        check_left(few, ["select code.shown(1), case x when x then 1 end from (select row(1)::code.hidden) as h (x)"],
                   TENANT, "x", "-")
    finally:
        cluster.primary.sql(drop, dbname="app")


def test_many_functions(code, router, cluster):
    """Which of them mention which is found in a second, not in twenty."""
    cluster.primary.sql("""create schema many; grant usage on schema many to public; do $$ begin
      for i in 1..4500 loop
        execute format('create function many.f%s(int) returns int language plpgsql stable as %L', i,
                       'begin if $1 > 1 then perform many.f' || i + 1 || '($1); end if;' ||
                       repeat(' perform $1 + 1;', 100) || ' return 1; end');
      end loop; end $$""", dbname="app")
    cluster.primary.sql("analyze", dbname="app")  # how many there are decides how they are looked for
    try:
        cluster.caught_up()
        many = router()
        with many.connect() as conn:
            wait_until(lambda: value(conn, "select port, many.f4500(1) from here") != cluster.primary.port, 10,
                       "the catalog to be read")
    finally:
        cluster.primary.sql("drop schema many cascade", dbname="app")


def test_function_call_message(few, cluster):
    """A FunctionCall message, which names a function by its number."""
    oid = cluster.primary.value("select 'code.memory()'::regprocedure::oid::int", dbname="app")
    with few.connect() as other, fe.Frontend(few) as conn:
        conn.login(password="app-password")
        assert not fe.errors(conn.ask(fe.function_call(oid, [])))
        assert value(other, "show work_mem") == "4MB"
        assert conn.value("show work_mem") == "77MB"


def test_a_hint_takes_nobody_to_a_replica(few, cluster):
    """Where it would leave something that nobody asks for."""
    with few.connect() as conn, few.connect() as other:
        knows_code(conn)
        for _ in range(4):
            conn.execute("/* pgsteer: replica */ select code.stable('x')")
        assert {value(other, "/* pgsteer: replica */ select coalesce(nullif(current_setting('code.tenant', true), ''), "
                             "'-')") for _ in range(8)} == {"-"}
        assert value(conn, TENANT) == "x"
