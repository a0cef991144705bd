# SPDX-License-Identifier: ISC
"""The canary: one client leaves every kind of state there is, and the next one on its connection finds none of it.

What a session may have is asked for in one fingerprint; a client that gets a connection after another one has the
fingerprint of a connection that nobody has used. The connection is the same (then it is clean) or a new one.
"""
import pytest

import frontend as fe

# Each a question about what the session has; the answers are the fingerprint.
FINGERPRINT = [
    "select name, setting from pg_settings where source = 'session' and name <> 'application_name' and "
    "name not like 'transaction_%' order by 1",  # those are set with each transaction
    "select current_user, session_user, current_schemas(false)::text",
    "select coalesce(nullif(current_setting('canary.own', true), ''), '-')",
    "select coalesce(current_setting('auto_explain.log_analyze', true), '-')",
    "select classid::regclass, count(*) from pg_depend where refclassid = 'pg_namespace'::regclass and "
    "refobjid = pg_my_temp_schema() group by 1",
    "select name from pg_prepared_statements where from_sql",
    "select name from pg_cursors",
    "select locktype, objid from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
    "select pg_listening_channels()",
    "select random() in (select unnest(array[0.9851677175347999, 0.2481769925768813, 0.8184264640454377, "
    "0.5490533795443838]))",
    "select pg_replication_origin_session_is_setup()",
    "select slot_name from pg_replication_slots where active_pid = pg_backend_pid()",
    "select lastval()",
    "select currval('canary_sequence')",
    "show temp_buffers",
    "show transaction_isolation",
    "show transaction_read_only",
]

# name: (what makes it, what ends it or None when only the end of the session does)
KINDS = {
    "set": (["set work_mem = '77MB'", "set timezone = 'Asia/Tokyo'"], ["reset work_mem", "reset timezone"]),
    "set_by_name_unknown": (["select set_config(n, '77MB', false) from (values ('work_mem')) v(n)"], None),
    "set_by_update": (["update pg_settings set setting = '7777' where name = 'work_mem'"], None),
    "custom": (["set canary.own = 'x'"], ["reset canary.own"]),
    "set_config": (["select set_config('canary.own', 'y', false)"], ["select set_config('canary.own', '', false)"]),
    "set_in_failed": (["begin", "set work_mem = '77MB'", "!select 1/0", "rollback"], []),
    "role": (["set role monitor"], ["reset role"]),
    "authorization": (["set session authorization monitor"], ["reset session authorization"]),
    "characteristics": (["set session characteristics as transaction isolation level serializable read only"],
                        ["set session characteristics as transaction isolation level read committed read write"]),
    "names": (["set names 'LATIN1'"], ["set names 'UTF8'"]),
    "seed": (["set seed = 0.5"], None),
    "setseed": (["select setseed(0.5)"], None),
    "temp_buffers": (["set temp_buffers = 333"], ["reset temp_buffers"]),
    "temp_table": (["create temp table canary (a int)", "insert into canary values (1)"], ["drop table canary"]),
    "temp_table_named": (["create table pg_temp.canary (a int)"], ["drop table canary"]),
    "temp_by_path": (["set search_path = pg_temp", "create table canary (a int)"],
                     ["drop table canary", "reset search_path"]),
    "temp_view": (["create temp view canary as select 1 as a"], ["drop view canary"]),
    "temp_sequence": (["create temp sequence canary"], ["drop sequence canary"]),
    "temp_function": (["create function pg_temp.now() returns int language sql as 'select 1'"],
                      ["drop function pg_temp.now()"]),
    "temp_type": (["create type pg_temp.canary as (a int)"], ["drop type canary"]),
    "temp_into": (["select 1 as a into temp canary"], ["drop table canary"]),
    "prepared": (["prepare canary as select 1"], ["deallocate canary"]),
    "cursor": (["begin; declare canary cursor with hold for select 1; commit"], ["close canary"]),
    "lock": (["select pg_advisory_lock(4242)"], ["select pg_advisory_unlock(4242)"]),
    "locks": (["select pg_advisory_lock(a), pg_advisory_lock_shared(a, 1) from generate_series(1, 20) a"],
              ["select pg_advisory_unlock_all()"]),
    "lock_in_failed": (["!select pg_advisory_lock(4243), 1 / (random() * 0)::int"], ["select pg_advisory_unlock(4243)"]),
    "lock_in_prepared": (["prepare canary as select pg_advisory_lock(4244)", "execute canary"],
                         ["deallocate canary", "select pg_advisory_unlock(4244)"]),
    "set_in_prepared": (["prepare canary(text) as select set_config('canary.own', $1, false)", "execute canary('x')",
                         "deallocate canary"], None),
    "listen": (["listen canary"], ["unlisten canary"]),
    "load": (["load 'auto_explain'"], None),
    "origin": (["select pg_replication_origin_session_setup('canary')"], None),
    "slot": (["select pg_create_physical_replication_slot('canary', false, true)"], None),
    "backup": (["select pg_backup_start('canary', true)"], None),
    "sequence": (["select nextval('canary_sequence')"], []),
    "do": (["do $$ begin create temp table canary (a int); perform pg_advisory_lock(4245); set work_mem = '78MB'; "
            "execute 'listen canary'; end $$"], ["drop table canary", "select pg_advisory_unlock(4245)", "unlisten *",
                                                 "reset work_mem"]),
    "unreadable": (["select 1 /* " + "x" * 70000 + " */; create temp table canary (a int)"], None),
    "everything": (["set work_mem = '77MB'", "set canary.own = 'x'", "create temp table canary (a int)",
                    "prepare canary as select 1", "declare canary cursor with hold for select 1", "listen canary",
                    "select pg_advisory_lock(4242)", "load 'auto_explain'", "select setseed(0.5)",
                    "select nextval('canary_sequence')"], None),
}


@pytest.fixture(scope="module")
def prepared_cluster(shared_cluster):
    primary = shared_cluster.primary
    primary.sql("create sequence canary_sequence", dbname="app", user="app")
    primary.sql("grant monitor to app")
    primary.sql("alter role app superuser")
    primary.sql("select pg_replication_origin_create('canary')", dbname="app")
    shared_cluster.caught_up()
    yield shared_cluster
    primary.sql("alter role app nosuperuser")
    primary.sql("drop sequence canary_sequence", dbname="app")


@pytest.fixture
def one(prepared_cluster, router):
    return router(default_pool_size=1, reserve_pool_size=0, workers=1, query_wait_timeout="10s", route="primary")


def login(endpoint):
    return fe.Frontend(endpoint).login(password="app-password")


def run(conn, statements):
    for sql in statements:
        failed = bool(fe.errors(got := conn.ask(fe.query(sql.lstrip("!")))))
        assert failed == sql.startswith("!"), (sql[:100], fe.errors(got))


def fingerprint(conn):
    answers = []
    for sql in FINGERPRINT:
        got = conn.ask(fe.query(sql))
        answers.append((sql, [e["C"] for e in fe.errors(got)] or fe.rows(got)))
    return answers


@pytest.mark.parametrize("end", ["released", "discarded", "left", "lost"])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_found(one, kind, end):
    """After the owner has ended it, has said DISCARD ALL, has left with it, or has been cut off."""
    makes, ends = KINDS[kind]
    if end == "released" and ends is None:
        pytest.skip("only the end of the session ends it")
    with login(one) as first:
        fingerprint(first)  # whoever asks for lastval first is refused
        clean = fingerprint(first)
        pid = first.value("select pg_backend_pid()")
    with login(one) as owner, login(one) as other:
        assert owner.value("select pg_backend_pid()") == pid
        run(owner, makes)
        if end == "released":
            run(owner, ends)
        elif end == "discarded":
            run(owner, ["discard all"])
        elif end == "left":
            owner.send(fe.TERMINATE)
            owner.drain()
        else:
            owner.reset()
        assert fingerprint(other) == clean
        if end == "released" and kind != "do":
            assert other.value("select pg_backend_pid()") == pid, "the connection is as good as before"


def test_path_of_the_start_up_packet(one):
    """What is made under it is temporary, though no text says so."""
    with login(one) as first:
        fingerprint(first)
        clean = fingerprint(first)
    with fe.Frontend(one).login(password="app-password", search_path="pg_temp, public") as owner, login(one) as other:
        run(owner, ["create table canary (a int)"])
        owner.reset()
        assert fingerprint(other) == clean


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_found_beside_it(router, prepared_cluster, kind):
    """While the owner has it: with a second connection that everybody shares."""
    two = router(default_pool_size=2, reserve_pool_size=0, workers=1, query_wait_timeout="10s", route="primary")
    with login(two) as owner, login(two) as other, login(two) as third:
        fingerprint(other)
        clean = fingerprint(other)
        run(owner, KINDS[kind][0])
        for _ in range(2):
            assert fingerprint(other) == clean
            assert fingerprint(third) == clean
            owner.value("select 1")
