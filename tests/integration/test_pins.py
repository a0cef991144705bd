# SPDX-License-Identifier: ISC
"""What ties a client to its connection, and that it is let go when the cause is gone, with a connection that is clean."""
import psycopg
import pytest

import frontend as fe
from pgcluster import wait_until

REASONS = ("set", "temp", "listen", "hold_cursor", "advisory_lock", "prepared", "load", "function", "unreadable")
CLEAN = """select (select count(*) from pg_depend where refclassid = 'pg_namespace'::regclass and
                                                       refobjid = pg_my_temp_schema())
                + (select count(*) from pg_cursors where is_holdable)
                + (select count(*) from pg_prepared_statements where from_sql)
                + (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())
                + (select count(*) from pg_listening_channels())"""


@pytest.fixture
def one(router, cluster):
    """A router with one connection to the primary: who is pinned keeps everybody else from it."""
    with cluster.primary.connect("app", "app") as conn:
        conn.execute("create table if not exists pins (a int)")
    cluster.caught_up()
    return router(default_pool_size=1, reserve_pool_size=0, workers=1, query_wait_timeout="10s")


def login(endpoint):
    return fe.Frontend(endpoint).login(password="app-password")


def run(conn, statements):
    for sql in statements:
        errors = fe.errors(conn.ask(fe.query(sql)))
        assert not errors or sql.startswith("!"), (sql, errors)


def fails(conn, sql):
    assert fe.errors(conn.ask(fe.query(sql))), sql


def pins(endpoint, *clients):
    """What there is once the router knows: it asks the server before it lets a client go on."""
    for conn in clients:
        conn.ask(fe.query("select 1"))
    metrics = endpoint.metrics()
    return {r for r in REASONS if endpoint.metric("pgsteer_pins", metrics, reason=r)}


# name: (the pins that it makes, what makes them, what ends them). Each step of the end is one Query; a step (pins, sql)
# says what is left after it.
RELEASED = {
    "drop": ({"temp"}, ["create temp table t (a int)"], ["drop table t"]),
    "drop_the_last": ({"temp"}, ["create temp table t (a serial primary key)", "create temp table u (a int)"],
                      [({"temp"}, "drop table u"), "drop table t"]),
    "drop_in_transaction": ({"temp"}, ["create temp table t (a int)"], [({"temp"}, "begin"), ({"temp"}, "drop table t"),
                                                                       "commit"]),
    "drop_rolled_back": ({"temp"}, ["create temp table t (a int)"],
                         [({"temp"}, "begin; drop table t; rollback"), "drop table t"]),
    "drop_in_do": ({"temp"}, ["create temp table t (a int)"], ["do 'begin drop table t; end'"]),
    "discard_temp": ({"temp"}, ["create temp table t (a int)", "create temp view v as select * from t"],
                     ["discard temp"]),
    "temp_view": ({"temp"}, ["create temp view v as select 1 as a"], ["drop view v"]),
    "temp_sequence": ({"temp"}, ["create temp sequence s"], ["drop sequence s"]),
    "temp_function": ({"temp"}, ["create function pg_temp.f() returns int language sql as 'select 1'"],
                      ["drop function pg_temp.f()"]),
    "temp_type": ({"temp"}, ["create type pg_temp.e as enum ('a')"], ["drop type pg_temp.e"]),
    "temp_composite": ({"temp"}, ["create type pg_temp.c as (a int)"], ["drop type pg_temp.c"]),
    "temp_domain": ({"temp"}, ["create domain pg_temp.d as int"], ["drop domain pg_temp.d"]),
    "temp_operator": ({"temp"}, ["create operator pg_temp.@@@ (function = int4pl, leftarg = int, rightarg = int)"],
                      ["drop operator pg_temp.@@@ (int, int)"]),
    "temp_dictionary": ({"temp"}, ["create text search dictionary pg_temp.d (template = simple)"],
                        ["drop text search dictionary pg_temp.d"]),
    "temp_collation": ({"temp"}, ['create collation pg_temp.c from "C"'], ["drop collation pg_temp.c"]),
    "select_into": ({"temp"}, ["select 1 as a into temp t"], ["drop table t"]),
    "create_as": ({"temp"}, ["create temp table t as select 1 as a"], ["drop table t"]),
    "close": ({"hold_cursor"}, ["declare c cursor with hold for select 1"], ["close c"]),
    "close_all": ({"hold_cursor"}, ["begin; declare c cursor with hold for select 1; commit",
                                    "declare d cursor with hold for select 2", "fetch c"],
                  [({"hold_cursor"}, "close c"), "close all"]),
    "unlisten": ({"listen"}, ["listen a", "listen b"], [({"listen"}, "unlisten a"), "unlisten b"]),
    "unlisten_all": ({"listen"}, ["listen a", "listen b"], ["unlisten *"]),
    "unlisten_rolled_back": ({"listen"}, ["listen a"], [({"listen"}, "begin; unlisten *; rollback"), "unlisten *"]),
    "unlock": ({"advisory_lock"}, ["select pg_advisory_lock(1)"], ["select pg_advisory_unlock(1)"]),
    "unlock_twice": ({"advisory_lock"}, ["select pg_advisory_lock(1), pg_advisory_lock(1)"],
                     [({"advisory_lock"}, "select pg_advisory_unlock(1)"), "select pg_advisory_unlock(1)"]),
    "unlock_another": ({"advisory_lock"}, ["select pg_advisory_lock(1, 2)"],
                       [({"advisory_lock"}, "select pg_advisory_unlock(2, 1)"), "select pg_advisory_unlock_all()"]),
    "unlock_shared": ({"advisory_lock"}, ["select pg_try_advisory_lock_shared(hashtext('x'))"],
                      ["select pg_advisory_unlock_shared(hashtext('x'))"]),
    "unlock_in_expression": ({"advisory_lock"}, ["insert into pins select 1 where (select pg_try_advisory_lock(2))"],
                             ["update pins set a = 2 where pg_advisory_unlock(2)"]),
    "lock_rolled_back": ({"advisory_lock"}, ["begin; select pg_advisory_lock(1); rollback"],
                         ["begin; select pg_advisory_unlock(1); rollback"]),
    "deallocate": ({"prepared"}, ["prepare p as select 1", "prepare q as select 2", "execute p"],
                   [({"prepared"}, "deallocate p"), "deallocate prepare q"]),
    "deallocate_all": ({"prepared"}, ["prepare p as select 1", "prepare q as select 2"], ["deallocate all"]),
    "prepare_rolled_back": ({"prepared"}, ["begin; prepare p as select 1; rollback"], ["deallocate p"]),
    "locked_by_execute": ({"prepared"}, ["prepare p as select pg_advisory_lock(3)", "execute p"],
                          [({"advisory_lock"}, "deallocate p"), "select pg_advisory_unlock(3)"]),
    "unlocked_by_execute": ({"prepared", "advisory_lock"},
                            ["prepare p as select pg_advisory_unlock(3)", "select pg_advisory_lock(3)"],
                            [({"prepared"}, "execute p"), "deallocate p"]),
    "several": ({"temp", "listen", "prepared"}, ["create temp table t (a int)", "listen a", "prepare p as select 1"],
                [({"temp", "prepared"}, "unlisten *"), ({"prepared"}, "drop table t"), "deallocate p"]),
    "discard_all": ({"temp", "listen", "prepared", "advisory_lock", "hold_cursor"},
                    ["create temp table t (a int)", "listen a", "prepare p as select 1", "select pg_advisory_lock(1)",
                     "declare c cursor with hold for select 1"], ["discard all"]),
    "left_by_do": ({"temp", "advisory_lock"},
                   ["do 'begin create temp table t (a int); perform pg_advisory_lock(5); end'"],
                   [({"temp"}, "select pg_advisory_unlock_all()"), "drop table t"]),
}


@pytest.mark.parametrize("name", RELEASED)
def test_released(one, name):
    """As soon as the last cause is gone: another client has the same connection, and nothing of it is there."""
    made, makes, ends = RELEASED[name]
    with login(one) as owner, login(one) as other:
        run(owner, makes)
        assert pins(one, owner) == made
        pid = owner.value("select pg_backend_pid()")
        for step in ends:
            left, sql = step if isinstance(step, tuple) else (set(), step)
            run(owner, [sql])
            assert pins(one, owner) == left, sql
        assert one.metric("pgsteer_clients_pinned") == 0
        assert other.value(CLEAN) == "0"
        if "do '" not in " ".join(makes + [s for s in ends if isinstance(s, str)]):
            assert other.value("select pg_backend_pid()") == pid
    for reason in made:
        assert one.metric("pgsteer_pins_total", reason=reason) >= 1


# What may leave state, by the look of it, and does not.
NEVER = {
    "on_commit_drop": ["begin", "create temp table t (a int) on commit drop", "insert into t values (1)", "commit"],
    "on_commit_drop_at_once": ["begin; create temp table t (a int) on commit drop; select * from t; commit"],
    "temp_rolled_back": ["begin", "create temp table t (a int)", "rollback"],
    "temp_rolled_back_to": ["begin", "savepoint s", "create temp table t (a int)", "rollback to s", "commit"],
    "temp_failed": ["!create temp table t (a nosuchtype)"],
    "made_and_dropped": ["begin", "create temp table t (a int)", "drop table t", "commit"],
    "hold_rolled_back": ["begin", "declare c cursor with hold for select 1", "rollback"],
    "hold_closed": ["begin", "declare c cursor with hold for select 1", "close c", "commit"],
    "listen_rolled_back": ["begin", "listen a", "rollback"],
    "lock_failed": ["!select pg_advisory_lock(1 / 0)"],
    "lock_of_transaction": ["begin", "select pg_advisory_xact_lock(1)", "commit"],
    "locked_and_unlocked": ["select pg_advisory_lock(1), pg_advisory_unlock(1)"],
    "prepare_failed": ["!prepare p as select nosuchcolumn"],
    "prepared_and_deallocated": ["prepare p as select 1; execute p; deallocate p"],
    "not_there": ["!drop table pg_temp.nosuch", "!select * from pg_temp.nosuch"],
    "nonsense": ["!selct 1"],
}


@pytest.mark.parametrize("name", NEVER)
def test_no_pin_stays(one, name):
    with login(one) as owner, login(one) as other:
        for sql in NEVER[name]:
            (fails if sql.startswith("!") else lambda c, q: run(c, [q]))(owner, sql.lstrip("!"))
        assert pins(one, owner) == set()
        assert other.value(CLEAN) == "0"


def test_lock_that_another_has(one, cluster):
    with cluster.primary.connect("app", "app") as holder, login(one) as conn, login(one) as other:
        holder.execute("select pg_advisory_lock(99)")
        assert conn.value("select pg_try_advisory_lock(99)") == "f"
        assert pins(one, conn) == set()
        assert other.value("select txid_current() > 0") == "t"


def test_cursor_closed_by_message(one):
    with login(one) as conn:
        run(conn, ["declare c cursor with hold for select 1"])
        assert pins(one, conn) == {"hold_cursor"}
        assert fe.kinds(conn.ask(fe.close("P", "c") + fe.SYNC)) == "3Z"
        assert pins(one, conn) == set()


def test_cursor_closed_by_message_ahead(one):
    """... of another statement in its batch."""
    with login(one) as conn:
        run(conn, ["declare c cursor with hold for select 1"])
        assert pins(one, conn) == {"hold_cursor"}
        got = conn.ask(fe.close("P", "c") + fe.parse("select 2") + fe.bind() + fe.execute() + fe.SYNC)
        assert fe.rows(got) == [["2"]]
        assert pins(one, conn) == set()


def test_execute_of_what_was_prepared_by_message(one):
    """It leaves what the statement leaves, though its text does not say so."""
    setting = "select coalesce(nullif(current_setting('pins.own', true), ''), '-')"
    with login(one) as conn, login(one) as other:
        conn.ask(fe.parse("select pg_advisory_lock(6)", "p") + fe.SYNC)
        conn.ask(fe.parse("select set_config('pins.own', $1, false)", "q") + fe.SYNC)
        run(conn, ["execute p"])
        assert pins(one, conn) == {"advisory_lock"}
        run(conn, ["select pg_advisory_unlock(6)", "execute q('x')"])
        assert pins(one, conn) == set()
        for _ in range(2):
            assert other.value(setting) == "-"
            assert conn.value(setting) == "x"


def test_batches(one):
    """State that one statement of a batch ends and the next one makes again is still there."""
    def batch(*texts):
        return b"".join(fe.parse(sql) + fe.bind() + fe.execute() for sql in texts) + fe.SYNC

    with login(one) as conn, login(one) as other:
        run(conn, ["select pg_advisory_lock(1)"])
        conn.ask(batch("select pg_advisory_unlock(1)", "select pg_advisory_lock(2)", "listen a"))
        assert pins(one, conn) == {"advisory_lock", "listen"}
        got = conn.ask(batch("select pg_advisory_unlock(2)", "unlisten a", "select 1 / 0"))
        assert fe.errors(got)
        assert pins(one, conn) == {"listen"}
        conn.ask(batch("unlisten *"))
        assert pins(one, conn) == set()
        assert other.value(CLEAN) == "0"


def test_discard_all_before_something(one):
    """What is made in the same batch, behind it, is kept."""
    with login(one) as conn, login(one) as other:
        run(conn, ["listen a"])
        conn.ask(b"".join(fe.parse(sql) + fe.bind() + fe.execute() for sql in
                          ("discard all", "select pg_advisory_lock(7)", "select setseed(0.5)")) + fe.SYNC)
        assert pins(one, conn) == {"advisory_lock", "set"}
        run(conn, ["discard all"])
        assert pins(one, conn) == set()
        assert other.value(CLEAN) == "0"


def test_notifications_end(one):
    with login(one) as listener, login(one) as speaker:
        run(listener, ["listen news", "unlisten news"])
        run(speaker, ["notify news, 'nobody'"])
        assert "A" not in fe.kinds(listener.ask(fe.query("select txid_current()")))
        run(listener, ["begin", "listen news", "commit", "notify news, 'somebody'"])
        assert pins(one, listener) == {"listen"}


def test_pin_that_cannot_be_asked(one, cluster):
    """The server says no: the client stays where it is, until it can be told."""
    with login(one) as conn, login(one) as other:
        run(conn, ["create temp table t (a int)", "set statement_timeout = 1"])
        cluster.primary.sql("select 1")
        run(conn, ["set statement_timeout = 0", "drop table t"])
        assert pins(one, conn) == set()
        assert other.value(CLEAN) == "0"


FOR_GOOD = {
    "load": ("load", "load 'plpgsql'"),
    "seed": ("set", "set seed = 0.5"),
    "setseed": ("set", "select setseed(0.5)"),
}


@pytest.fixture
def powerful(cluster):
    """The user may do what only a superuser may."""
    cluster.primary.sql("alter role app superuser")
    yield
    cluster.primary.sql("alter role app nosuperuser")


@pytest.mark.parametrize("name", FOR_GOOD)
def test_until_discard_all(one, name, powerful):
    """What no question tells: the connection is closed when its client gives it up."""
    reason, sql = FOR_GOOD[name]
    with login(one) as owner, login(one) as other:
        run(owner, [sql, "create temp table t (a int)", "drop table t"])
        assert pins(one, owner) == {reason}
        pid = owner.value("select pg_backend_pid()")
        run(owner, ["discard all"])
        assert pins(one, owner) == set()
        assert other.value("select pg_backend_pid()") != pid


@pytest.mark.parametrize("sql", ["select pg_create_physical_replication_slot('pins_slot', false, true)",
                                 "select pg_backup_start('pins', true)"], ids=["slot", "backup"])
def test_functions_that_leave_state(one, cluster, powerful, sql):
    """A temporary slot and a backup are their session's, and end with it."""
    with login(one) as owner:
        run(owner, [sql])
        assert pins(one, owner) == {"function"}
        pid = owner.value("select pg_backend_pid()")
    wait_until(lambda: not cluster.primary.value(f"select count(*) from pg_stat_activity where pid = {pid}"), 5,
               "the connection to be closed")


def test_pin_idle_timeout(router):
    """Who keeps a connection and says nothing is told why it goes; who keeps none may be silent, or in a transaction."""
    few = router(default_pool_size=2, workers=1, pin_idle_timeout="500ms")
    with login(few) as owner, login(few) as other, login(few) as busy:
        run(other, ["create temp table t (a int)", "drop table t"])
        run(busy, ["begin", "create temp table u (a int)"])
        run(owner, ["create temp table t (a int)", "listen news"])
        error = fe.errors(owner.drain())[0]
        assert (error["S"], error["C"]) == ("FATAL", "57P05")
        assert "pin_idle_timeout" in error["M"] and "(temp, listen)" in error["M"]
        assert other.value("select 1") == "1"
        run(busy, ["select * from u", "rollback"])
        assert pins(few, other, busy) == set()


def test_notifications_are_no_activity(router):
    few = router(default_pool_size=2, workers=1, pin_idle_timeout="1s")
    with login(few) as owner, login(few) as speaker:
        run(owner, ["listen news"])
        run(speaker, ["notify news"])
        heard = 0
        while not fe.errors(got := owner.until("AE")):
            heard += len(got)
            run(speaker, ["notify news"])
            assert heard < 100000
        assert fe.errors(got)[0]["C"] == "57P05"


def test_sql_prepare_of_two_clients(router):
    """The same name for two statements, at the same time, and again when one is given up."""
    few = router(default_pool_size=2, workers=1)
    with few.connect() as a, few.connect() as b:
        for n in range(3):
            a.execute("prepare q (int) as select $1 + 1")
            b.execute("prepare q (int) as select $1 + 2")
            for k in range(3):
                assert a.execute(f"execute q({k})").fetchone() == (k + 1,)
                assert b.execute(f"execute q({k})").fetchone() == (k + 2,)
            with pytest.raises(psycopg.errors.DuplicatePreparedStatement):
                a.execute("prepare q as select 3")
            a.execute("deallocate q")
            with pytest.raises(psycopg.errors.InvalidSqlStatementName):
                a.execute("execute q(1)")
            assert b.execute("execute q(1)").fetchone() == (3,)
            b.execute("deallocate all")
            a.execute("select 1"), b.execute("select 1")
            assert pins(few) == set()


def test_prepared_by_sql_and_used_by_messages(one):
    """As libpq's PQexecPrepared does with what PREPARE has named; Close ends it like DEALLOCATE."""
    with login(one) as conn, login(one) as other:
        run(conn, ["prepare q (int) as select $1 + 1 as more"])
        assert fe.rows(conn.ask(fe.bind("q", [b"4"]) + fe.execute() + fe.SYNC)) == [["5"]]
        assert fe.kinds(conn.ask(fe.describe("S", "q") + fe.SYNC)) == "tTZ"
        assert fe.kinds(conn.ask(fe.close("S", "q") + fe.SYNC)) == "3Z"
        assert pins(one, conn) == set()
        assert other.value(CLEAN) == "0"


def test_temporary_schema_of_a_used_connection(one):
    """A transaction that has asked for the temporary schema, where it comes first, has made it and cannot be prepared;
    also where somebody else has had one."""
    with login(one) as owner, login(one) as other:
        for path in ("pg_temp", '"$user", pg_temp, public'):
            run(owner, ["create temp table t (a int)", "drop table t"])
            assert pins(one, owner) == set()
            run(other, [f"set search_path = {path}", "begin"])
            assert other.value("select current_schema() ~ 'pg_temp'") == "t"
            refused = fe.errors(other.ask(fe.query("prepare transaction 'temporary'")))
            assert [e["C"] for e in refused] == ["0A000"]


def test_temp_buffers_on_a_used_connection(one):
    """PostgreSQL takes temp_buffers only before the first temporary table: of this client, not of another one."""
    def use(conn):
        run(conn, ["begin; create temp table t (a int) on commit drop; insert into t values (1); commit"])

    with login(one) as owner, login(one) as other, login(one) as third:
        use(owner)
        run(other, ["set temp_buffers = 200"])
        use(owner)
        assert other.value("select current_setting('temp_buffers') || txid_current()::text").startswith("1600kB")
        use(other)
        assert other.value("select current_setting('temp_buffers') || txid_current()::text").startswith("1600kB")
        assert third.value("select current_setting('temp_buffers') || txid_current()::text").startswith("8MB")
        use(third)
        use(other)
        assert pins(one, owner, other, third) == set()
        with fe.Frontend(one).login(password="app-password", options="-c temp_buffers=300") as fourth:
            assert fourth.value("show temp_buffers") == "2400kB"
