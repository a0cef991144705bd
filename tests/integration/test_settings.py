# SPDX-License-Identifier: ISC
"""SET in transaction pooling: private to its client, in force on whatever server works for it, as the server has it."""
import asyncio
import contextlib

import asyncpg
import psycopg
import pytest

import frontend as fe
from harness.load import port, ports, run_clients
from pgcluster import wait_until


@pytest.fixture
def few(router, cluster):
    """A router whose clients have to share."""
    with cluster.primary.connect("app", "app") as conn:  # a read, as far as anybody can tell
        conn.execute("create or replace function setting_of(text) returns text language sql stable as "
                     "$$select coalesce(current_setting($1, true), '')$$")
    cluster.caught_up()
    return router(default_pool_size=2, workers=1)


def show(conn, name):
    """What the servers say, replicas and primary."""
    values = {conn.execute(f"select public.setting_of('{name}')").fetchone()[0] for _ in range(6)}
    values.add(conn.execute(f"select coalesce(current_setting('{name}', true), '')").fetchone()[0])
    assert len(values) == 1, values
    return values.pop()


def pinned(router):
    return router.metric("pgsteer_clients_pinned")


def test_in_force_everywhere_and_nowhere_else(few, cluster):
    replicas = {n.port for n in cluster.replicas}
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(few.connect()) for _ in range(5)]
        for n, conn in enumerate(clients[1:], 1):
            conn.execute(f"set work_mem = '{n + 4}MB'")
            conn.execute(f"select set_config('my.tenant', '{n}', false)")
        for _ in range(4):
            for n, conn in enumerate(clients):
                got = conn.execute("select setting_of('work_mem'), setting_of('my.tenant'), (select port from here)"
                                   ).fetchone()
                assert got == (f"{n + 4}MB", str(n) if n else "", got[2])
                assert got[2] in replicas
        assert pinned(few) == 0


@pytest.mark.parametrize("statements, name, value", [
    (["set work_mem = '8MB'", "reset work_mem"], "work_mem", "4MB"),
    (["set work_mem = '8MB'", "set work_mem to default"], "work_mem", "4MB"),
    (["set work_mem = '8MB'", "reset all"], "work_mem", "4MB"),
    (["set work_mem = '8MB'", "discard all"], "work_mem", "4MB"),
    (["begin", "set work_mem = '8MB'", "commit"], "work_mem", "8MB"),
    (["begin", "set work_mem = '8MB'", "rollback"], "work_mem", "4MB"),
    (["set work_mem = '6MB'", "begin", "set work_mem = '8MB'", "rollback"], "work_mem", "6MB"),
    (["set work_mem = '6MB'", "begin", "reset all", "rollback"], "work_mem", "6MB"),
    (["begin", "set work_mem = '6MB'", "savepoint a", "set work_mem = '8MB'", "rollback to a", "commit"],
     "work_mem", "6MB"),
    (["begin", "set work_mem = '6MB'", "savepoint a", "set work_mem = '8MB'", "release a", "commit"],
     "work_mem", "8MB"),
    (["begin", "set local work_mem = '8MB'", "commit"], "work_mem", "4MB"),
    (["set work_mem = '6MB'; set work_mem = '8MB'"], "work_mem", "8MB"),
    (["set work_mem = '6MB'; select 1/0"], "work_mem", "4MB"),
    (["begin; set work_mem = '6MB'", "select 1/0", "rollback"], "work_mem", "4MB"),
    (["begin; set work_mem = '6MB'; commit and chain; set work_mem = '8MB'", "rollback"], "work_mem", "6MB"),
    (["set work_mem = 'nonsense'"], "work_mem", "4MB"),
    (["set time zone 'Asia/Tokyo'"], "timezone", "Asia/Tokyo"),
    (["set schema 'pg_catalog'"], "search_path", "pg_catalog"),
    (["set session characteristics as transaction read only"], "default_transaction_read_only", "on"),
    (["set session characteristics as transaction isolation level repeatable read"],
     "default_transaction_isolation", "repeatable read"),
    (["select set_config('my.tenant', null, false)"], "my.tenant", ""),
    (["select set_config('my.tenant', 'it''s \\ é', false)"], "my.tenant", "it's \\ é"),
    (["set my.tenant = ''"], "my.tenant", ""),
    (["set datestyle = german"], "datestyle", "German, DMY"),
], ids=lambda v: " ; ".join(v) if isinstance(v, list) else v)
def test_what_is_in_force(few, statements, name, value):
    """As on a connection of one's own, and none of the clients has to be pinned for it."""
    with few.connect() as conn, few.connect() as other:
        for sql in statements:
            with contextlib.suppress(psycopg.DatabaseError):
                conn.execute(sql)
        before = {"timezone": "Etc/UTC", "search_path": '"$user", public', "work_mem": "4MB",
                  "default_transaction_read_only": "off", "default_transaction_isolation": "read committed",
                  "datestyle": "ISO, MDY"}
        assert show(conn, name) == value
        assert (show(other, name) if name in before else "") == before.get(name, "")
        assert show(conn, name) == value
    assert pinned(few) == 0


def test_role(few, cluster):
    cluster.primary.sql("grant monitor to app")
    cluster.caught_up()
    try:
        with few.connect() as conn, few.connect() as other:
            conn.execute("set role monitor")
            for _ in range(4):
                assert conn.execute("select current_user, session_user").fetchone() == ("monitor", "app")
                assert other.execute("select current_user").fetchone() == ("app",)
            conn.execute("set work_mem = '5MB'")
            assert show(conn, "work_mem") == "5MB"
            conn.execute("reset role")
            assert show(conn, "role") == "none"
            assert show(conn, "work_mem") == "5MB"
            with conn.transaction():
                conn.execute("set local role monitor")
            assert conn.execute("select current_user").fetchone() == ("app",)
    finally:
        cluster.primary.sql("revoke monitor from app")


def test_settings_made_under_a_role(few, cluster):
    """What the login has no right to set is set with the rights of the role that it has taken."""
    cluster.primary.sql("create role settings_dba superuser; grant settings_dba to app")
    cluster.caught_up()
    try:
        with few.connect(), few.connect() as conn, few.connect() as other:  # the first has a connection for itself
            conn.execute("set role settings_dba")
            conn.execute("set session_replication_role = replica")
            conn.execute("set work_mem = '6MB'")
            for _ in range(2):
                assert show(conn, "session_replication_role") == "replica"
                assert show(conn, "role") == "settings_dba"
                assert set(ports(conn, 6)) == {n.port for n in cluster.replicas}
                assert show(other, "session_replication_role") == "origin"
                assert show(other, "role") == "none"
            conn.execute("reset session_replication_role")
            conn.execute("reset role")
            assert show(conn, "session_replication_role") == "origin"
            assert show(conn, "work_mem") == "6MB"
        assert pinned(few) == 0
    finally:
        cluster.primary.sql("drop role settings_dba")


def test_row_level_security(few, cluster):
    """The tenant of the session decides what it sees, on replicas too."""
    with cluster.primary.connect("app", "app") as conn:
        conn.execute("drop table if exists tenants; create table tenants (tenant text, v int);"
                     "alter table tenants enable row level security; alter table tenants force row level security;"
                     "create policy own on tenants using (tenant = current_setting('my.tenant', true));"
                     "set my.tenant = 'a'; insert into tenants values ('a', 1);"
                     "set my.tenant = 'b'; insert into tenants values ('b', 2)")
    cluster.caught_up()

    def work(index):
        tenant, expected = (("a", 1), ("b", 2), (None, None))[index % 3]
        with few.connect() as conn:
            if tenant:
                conn.execute(f"set my.tenant = '{tenant}'")
            for _ in range(30):
                got = conn.execute("select v from tenants").fetchall()
                assert got == ([(expected,)] if tenant else [])

    run_clients(6, work)
    with cluster.primary.connect("app", "app") as conn:
        conn.execute("drop table tenants")


def test_client_hears_of_its_own_alone(few):
    """ParameterStatus comes for what the client did, and never for what the router does."""
    with fe.Frontend(few) as a, fe.Frontend(few) as b:
        a.login(password="app-password", TimeZone="Asia/Tokyo")
        b.login(password="app-password")

        def told(conn, sql):
            before = dict(conn.parameters)
            conn.parameters.clear()
            conn.ask(fe.query(sql))
            heard = dict(conn.parameters)
            conn.parameters.update({**before, **heard})
            return heard

        assert told(a, "set datestyle = german") == {"DateStyle": "German, DMY"}
        for _ in range(4):
            assert told(b, "select 1") == {}
            assert told(a, "select 1") == {}
        assert told(a, "set timezone = 'UTC'") == {"TimeZone": "UTC"}
        assert told(b, "select 1") == {}
        told(a, "reset timezone")  # the server's own comes, then that of the start-up packet
        for _ in range(4):
            told(a, "select 1")
            assert a.parameters["TimeZone"] == "Asia/Tokyo"


def test_reset_is_to_the_startup_packet(few):
    with few.connect(options="-c work_mem=5MB -c my.own=x") as conn, few.connect() as other:
        for reset in ("reset work_mem", "reset all", "discard all", "set work_mem to default",
                      "begin; reset work_mem; commit"):
            conn.execute("set work_mem = '7MB'")
            assert show(other, "work_mem") == "4MB"
            conn.execute(reset)
            assert show(conn, "work_mem") == "5MB", reset
            assert show(conn, "my.own") == "x"
            assert show(other, "work_mem") == "4MB"


def test_constants_mean_what_they_meant(few):
    """A prepared text is settled under the settings of who prepares it: others with the same text have their own."""
    async def run():
        async def client(zone, style):
            conn = await asyncpg.connect(**few.asyncpg_params())
            await conn.execute(f"set timezone = '{zone}'; set datestyle = '{style}'")
            return conn

        clients = [(await client(zone, style), expected) for zone, style, expected in (
            ("UTC", "iso, mdy", ("2020-01-02", 1577934245)), ("Asia/Tokyo", "iso, dmy", ("2020-02-01", 1577901845)),
            ("America/New_York", "iso, mdy", ("2020-01-02", 1577952245)))]
        for _ in range(5):
            for conn, expected in clients:
                got = await conn.fetchrow("select '01/02/2020'::date::text, "
                                          "extract(epoch from '2020-01-02 03:04:05'::timestamptz)::bigint")
                assert tuple(got) == expected
                async with conn.transaction():  # and while a transaction has changed them
                    await conn.execute("set local timezone = 'Europe/Berlin'")
                    assert await conn.fetchval("select extract(epoch from '2020-01-02 03:04:05'::timestamptz)::bigint "
                                               "+ 0") == 1577930645
                assert await conn.fetchval("select extract(epoch from '2020-01-02 03:04:05'::timestamptz)::bigint + 0"
                                           ) == expected[1]
        for conn, _ in clients:
            await conn.close()

    asyncio.run(run())


def test_search_path_of_a_prepared_statement(few, cluster):
    """Two clients with the same text and other search paths read their own tables, of other types."""
    with cluster.primary.connect("app", "app") as conn:
        conn.execute("create schema if not exists one; create schema if not exists two;"
                     "create table if not exists one.path_test (v) as select 1;"
                     "create table if not exists two.path_test (v) as select 'text'")
    cluster.caught_up()

    async def run():
        a, b = [await asyncpg.connect(**few.asyncpg_params()) for _ in range(2)]
        await a.execute("set search_path = one")
        await b.execute("set search_path = two")
        for _ in range(5):
            assert await a.fetchval("select v from path_test") == 1
            assert await b.fetchval("select v from path_test") == "text"
        await a.close()
        await b.close()

    asyncio.run(run())


def test_set_in_a_pipeline(few):
    with few.connect() as conn, few.connect() as other:
        with conn.pipeline():
            conn.execute("set work_mem = '9MB'")
            got = [conn.execute("select current_setting('work_mem')") for _ in range(5)]
        assert {c.fetchone()[0] for c in got} == {"9MB"}
        assert show(other, "work_mem") == "4MB"
        assert show(conn, "work_mem") == "9MB"


@pytest.mark.parametrize("reset", ["reset datestyle", "reset all", "set datestyle to default", "discard all",
                                   "select set_config('datestyle', null, false)", "begin; reset datestyle; commit"])
def test_what_is_sent_behind_a_reset(few, reset):
    """A RESET is to the start-up packet for a statement that does not wait for it, too."""
    with fe.Frontend(few) as conn:
        conn.login(password="app-password", DateStyle="Postgres, DMY")
        for _ in range(3):
            conn.send(fe.query("set datestyle = 'ISO, YMD'") + fe.query(reset) + fe.query("show datestyle")
                      + fe.ask("select '1.2.2026'::date"))
            got = [m for _ in range(4) for m in conn.until("Z")]
            assert not fe.errors(got)
            assert fe.rows(got)[-2:] == [["Postgres, DMY"], ["01-02-2026"]]


@pytest.mark.parametrize("sql", ["select set_config(name, '9MB', false) from (values ('work_mem')) v(name)",
                                 "update pg_settings set setting = '9216' where name = 'work_mem'"])
def test_names_that_cannot_be_told_pin(few, sql):
    with few.connect() as conn, few.connect() as other:
        conn.execute(sql)
        assert show(conn, "work_mem") == "9MB"
        assert show(other, "work_mem") == "4MB"
        assert pinned(few) == 1
        conn.execute("discard all")
        assert show(conn, "work_mem") == "4MB"
        wait_until(lambda: pinned(few) == 0, 5, "the pin to go")


def test_serializable_sessions_stay_with_the_primary(few, cluster):
    with few.connect() as conn:
        conn.execute("set default_transaction_isolation = serializable")
        assert set(ports(conn, 10)) == {cluster.primary.port}
        conn.execute("set default_transaction_isolation = 'repeatable read'")
        assert set(ports(conn, 10)) == {n.port for n in cluster.replicas}
    assert few.metric("pgsteer_routed_total", target="primary", reason="serializable") >= 10


def test_set_pgsteer_route(few, cluster):
    replicas = {n.port for n in cluster.replicas}
    with few.connect() as conn, few.connect(options="-c pgsteer.route=primary") as other:
        assert set(ports(other, 10)) == {cluster.primary.port}
        conn.execute("set pgsteer.route = 'primary'")
        assert set(ports(conn, 10)) == {cluster.primary.port}
        assert conn.execute("show pgsteer.route").fetchone() == ("primary",)
        conn.execute("begin; set pgsteer.route = 'auto'; rollback")
        assert port(conn) == cluster.primary.port
        conn.execute("set pgsteer.route = 'auto'")
        assert port(conn) in replicas
        notices = []
        conn.add_notice_handler(lambda d: notices.append(d.message_primary))
        conn.execute("set pgsteer.route = 'elsewhere'")
        assert port(conn) in replicas
        assert any("pgsteer.route" in text for text in notices)
        other.execute("set pgsteer.route = auto")
        assert port(other) in replicas


def test_set_pgsteer_show_route(router, cluster, table):
    """A NOTICE for each exchange says which server it ran on and why, in the words of pgsteer_routed_total."""
    name = table(rows="values (1, 0)")
    endpoint = router(consistency="eventual")
    primary, replicas = cluster.primary.name, [n.name for n in cluster.replicas]
    on_replica = [[f'pgsteer: replica "{replica}", balanced'] for replica in replicas]

    def listener(conn):
        notices = []
        conn.add_notice_handler(lambda d: notices.append(d.message_primary))

        def told(sql, *args, **how):
            notices.clear()
            try:
                conn.execute(sql, *args, **how)
            except psycopg.errors.DivisionByZero:
                notices.append("error")
            return list(notices)
        return told

    def on_primary(reason):
        return [f'pgsteer: primary "{primary}", {reason}']

    with endpoint.connect() as conn:
        told = listener(conn)
        assert told(f"select v from {name}") == []
        assert told("set pgsteer.show_route = on") == []
        seen = [told(f"select v from {name}") for _ in range(4)]
        assert all(one in seen for one in on_replica) and all(one in on_replica for one in seen)
        assert told("select v / 0 from " + name)[:1] in on_replica
        for how in ({"prepare": False}, {"prepare": True}):
            assert told(f"select v from {name} where id = %s", (1,), **how) in on_replica
        assert told(f"update {name} set v = 1") == on_primary("dml")
        assert told("select v from " + name + " for update") == on_primary("row_lock")
        assert told("select txid_current()") == on_primary("write_function")
        assert told("begin") == []
        assert told(f"select v from {name}") == on_primary("transaction")
        assert told(f"select v from {name}") == on_primary("in_transaction")
        assert told("commit") == on_primary("in_transaction")
        assert told("begin read only; select 1; commit") == on_primary("transaction")
        assert told("set pgsteer.show_route = off") == on_primary("set")
        assert told(f"select v from {name}") == []
        texts = told("set pgsteer.show_route = maybe") + told(f"select v from {name}")
        assert any("pgsteer.show_route" in text for text in texts)
    with endpoint.connect(options="-c pgsteer.show_route=on") as conn:
        told = listener(conn)
        assert told(f"select v from {name}") in on_replica
        with conn.pipeline():
            for _ in range(3):
                conn.execute(f"select v from {name}")
        assert told("reset pgsteer.show_route") == on_primary("set")
        assert told(f"select v from {name}") in on_replica
    with endpoint.connect() as conn:
        assert listener(conn)(f"select v from {name}") == []


def test_set_pgsteer_consistency(router, cluster, table):
    name = table(rows="values (1, 0)")
    for node in cluster.replicas:
        node.delay("2s")
    with router().connect() as conn:
        conn.execute("set pgsteer.consistency = eventual")
        conn.execute(f"update {name} set v = 1")
        assert conn.execute(f"select v from {name}").fetchone() == (0,)
        conn.execute("set pgsteer.consistency = 'session'")
        assert conn.execute(f"select v from {name}").fetchone() == (1,)


def test_lost_with_what_was_set(few, cluster):
    """A connection that dies takes no setting with it that its client was told of."""
    with few.connect() as conn:
        conn.execute("set work_mem = '9MB'")
        assert show(conn, "work_mem") == "9MB"
        cluster.primary.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
        for node in cluster.replicas:
            node.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
        assert conn.execute("select current_setting('work_mem')").fetchone() == ("9MB",)
        conn.execute("begin")
        conn.execute("set work_mem = '5MB'")
        cluster.primary.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
        with pytest.raises(psycopg.OperationalError):
            conn.execute("select 1")
        conn.execute("rollback")
        assert show(conn, "work_mem") == "9MB"


def test_temporary_table_in_the_place_of_another(few, cluster):
    """A text prepared before and after a temporary table takes another's name."""
    with cluster.primary.connect("app", "app") as conn:
        conn.execute("create table if not exists hidden (v) as select 1")
    cluster.caught_up()

    async def run():
        a, b = [await asyncpg.connect(**few.asyncpg_params()) for _ in range(2)]
        for conn in (a, b):
            async with conn.transaction():
                assert await conn.fetchval("select v from hidden") == 1
        await a.execute("create temp table hidden (v) as select 'text'::text")
        await a.reload_schema_state()
        c = await a.prepare("select v from hidden")
        assert await c.fetchval() == "text"
        for _ in range(3):
            async with b.transaction():
                assert await b.fetchval("select v from hidden") == 1
        await a.close()
        await b.close()

    asyncio.run(run())


def login(router, **parameters):
    return fe.Frontend(router).login(password="app-password", **parameters)


def leave(conn):
    conn.send(fe.TERMINATE)
    conn.drain()


PRIMARY = "/* pgsteer: primary */ "


def test_prepared_behind_a_pipelined_set_local(router):
    """The answer to what went before a SET LOCAL does not end it: a text parsed under it is nobody else's."""
    few = router(default_pool_size=1, workers=1)
    sql = PRIMARY + "select extract(epoch from '2020-01-02 03:04:05'::timestamptz)::bigint"
    named = fe.parse(sql, "x") + fe.bind("x") + fe.execute() + fe.SYNC
    with login(few) as a, login(few) as b:
        a.ask(fe.query("select pg_backend_pid()") + fe.query("begin") + fe.query("set local timezone = 'Asia/Tokyo'"),
              syncs=3)
        assert fe.rows(a.ask(named)) == [["1577901845"]]
        a.ask(fe.query("commit"))
        assert fe.rows(b.ask(named)) == [["1577934245"]]


def terminate_clients(cluster):
    cluster.primary.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")


def test_lost_behind_a_commit_and_chain(few, cluster):
    """What a COMMIT AND CHAIN has made good is not forgotten with the transaction that follows it."""
    with login(few) as conn:
        for sql in ("begin", "set work_mem = '9MB'", "commit and chain"):
            assert not fe.errors(conn.ask(fe.query(sql)))
        terminate_clients(cluster)
        conn.send(fe.query("select 1"))
        messages = conn.drain()
        assert [e["C"] for e in fe.errors(messages)] == ["08006"]


def test_reload_in_the_middle_of_a_row(few):
    """Nothing is said to a client that is being sent a message, as of a parameter that has no effect."""
    with login(few) as conn:
        conn.ask(fe.query("set pgsteer.route = 'elsewhere'"))
        conn.ask(fe.query("select 1"))
        assert any("pgsteer.route" in notice["M"] for notice in conn.notices)
        conn.send(fe.query("select repeat('x', 30000000)"))
        conn.receive()
        few.reload(default_pool_size=2, workers=1)
        assert {set(row[0]) == {"x"} for row in fe.rows(conn.until("Z"))} == {True}


def test_serializable_in_capitals(few, cluster):
    with few.connect(options="-c default_transaction_isolation=SERIALIZABLE") as conn:
        assert set(ports(conn, 6)) == {cluster.primary.port}
    assert few.metric("pgsteer_reruns_total") == 0


def test_a_replica_that_does_not_take_the_settings(router, cluster):
    """What a setting names may be missing there still: the read goes to the primary."""
    lagging = router(workers=1, max_lag="60s")
    for node in cluster.replicas:
        node.delay("10s")
    cluster.primary.sql("create role too_new; grant too_new to app")
    try:
        with login(lagging, options="-c pgsteer.consistency=eventual") as conn:
            assert not fe.errors(conn.ask(fe.query("set role too_new")))
            for _ in range(4):
                assert conn.value("select current_user") == "too_new"
            assert lagging.metric("pgsteer_routed_total", target="primary", reason="no_replica") >= 4
    finally:
        cluster.primary.sql("drop role too_new")


def test_settings_of_a_serializable_database(router, cluster):
    """Where replicas can run nothing by default, not even what gives a client its settings."""
    cluster.primary.sql("alter database app set default_transaction_isolation = serializable")
    try:
        cluster.caught_up()
        with login(router(workers=1), application_name="x") as conn:
            assert [conn.value("select 1") for _ in range(4)] == ["1"] * 4
    finally:
        cluster.primary.sql("alter database app reset default_transaction_isolation")
        cluster.caught_up()


def test_thousands_of_settings(router):
    """They pin their client at some number, and are no burden to the next one before that."""
    few = router(default_pool_size=2, workers=1)
    with login(few) as a, login(few) as b:
        for base in range(0, 3000, 1000):
            a.ask(fe.query(";".join(f"set a.b{n} = '1'" for n in range(base, base + 1000))))
        for _ in range(4):
            assert a.value("select current_setting('a.b2999')") == "1"
            assert b.value("select coalesce(current_setting('a.b2999', true), '')") == ""
        a.ask(fe.query(f"set my.x = '{'x' * 60000}'"))
        assert pinned(few) == 0
        a.ask(fe.query(f"set my.y = '{'y' * 60000}'"))
        assert a.value("select length(current_setting('my.x') || current_setting('my.y'))") == "120000"
        assert b.value("select coalesce(current_setting('my.y', true), '')") == ""
        assert pinned(few) == 1


def run(*texts):
    return b"".join(fe.parse(sql) + fe.bind() + fe.execute() for sql in texts)


# With the backslash as an escape it is a call, otherwise it is all one string.
HIDDEN_CALL = r"select '\'' || set_config($$timezone$$, $$Asia/Tokyo$$, false) --'"


@pytest.mark.parametrize("messages, syncs", [
    (fe.query("set standard_conforming_strings = off") + fe.query(HIDDEN_CALL), 2),
    (fe.query("begin; set local standard_conforming_strings = off") + fe.query(HIDDEN_CALL) + fe.query("commit"), 3),
    (run("set standard_conforming_strings = off", HIDDEN_CALL) + fe.SYNC, 1),
    (run("set standard_conforming_strings = off") + fe.FLUSH + run(HIDDEN_CALL) + fe.SYNC, 1),
    (fe.parse("set standard_conforming_strings = off", "off") + fe.SYNC + fe.bind("off") + fe.execute() +
     run(HIDDEN_CALL) + fe.SYNC, 2),
], ids=["queries", "local", "batch", "flush", "prepared"])
def test_texts_behind_a_change_of_how_they_are_read(router, messages, syncs):
    """They are not understood before the change is known."""
    few = router(default_pool_size=1, workers=1)
    with login(few) as a, login(few) as b:
        assert not fe.errors(a.ask(messages, syncs))
        assert a.value("select current_setting('timezone')") == "Asia/Tokyo"
        leave(a)
        assert b.value("select current_setting('timezone')") == "Etc/UTC"


def test_encoding_set_ahead_does_not_pin(few):
    with login(few) as conn:
        conn.ask(fe.query("set client_encoding = 'LATIN1'") + fe.query("select 1") + fe.ask("select 2"), syncs=3)
        assert conn.value("show client_encoding") == "LATIN1"
        conn.ask(fe.query("set client_encoding = 'UTF8'; copy (select 1) to stdout"))
    assert pinned(few) == 0


def test_role_of_the_startup_packet(few, cluster):
    """RESET goes back to it, NONE is the login's own, and neither is taken for the other."""
    cluster.primary.sql("grant monitor to app")
    cluster.caught_up()
    try:
        with few.connect(options="-c role=monitor") as conn, few.connect() as other:
            for statements, role in ((["select 1"], "monitor"), (["set role none"], "app"), (["reset role"], "monitor"),
                                     (["begin", "set role none", "commit"], "app"), (["set role monitor"], "monitor"),
                                     (["begin", "set role none", "rollback"], "monitor")):
                for sql in statements:
                    conn.execute(sql)
                assert {conn.execute("select current_user").fetchone()[0] for _ in range(4)} == {role}, statements
                assert other.execute("select current_user").fetchone() == ("app",)
    finally:
        cluster.primary.sql("revoke monitor from app")


@pytest.mark.parametrize("left", [
    ["set pg_trgm.nobodys = 'x'", "select public.loads()"],  # which takes away what it does not know of that name
    ["set statement_timeout = 1"],
])
def test_login_on_a_connection_that_takes_no_settings(router, cluster, left):
    """What an earlier client has left a connection with is no reason to refuse the next one."""
    with cluster.primary.connect("app") as conn:
        conn.execute("create or replace function loads() returns float4 language c as '$libdir/pg_trgm', 'show_limit'")
    cluster.caught_up()
    endpoint = router(default_pool_size=4, workers=1)
    for _ in range(3):
        with endpoint.connect() as conn:
            for sql in left:
                conn.execute(sql)
        with endpoint.connect(application_name="next") as conn:
            assert conn.execute("show application_name").fetchone() == ("next",)
            assert conn.execute("show statement_timeout").fetchone() == ("0",)
    with endpoint.connect(application_name="next") as conn:
        pid = conn.execute("select pg_backend_pid()").fetchone()
    for _ in range(4):  # it is the client's own, and nobody else's connection is closed for it
        with pytest.raises(psycopg.OperationalError, match="invalid value for parameter"):
            endpoint.connect(options="-c work_mem=much")
    with endpoint.connect(application_name="next") as conn:
        assert conn.execute("select pg_backend_pid()").fetchone() == pid
