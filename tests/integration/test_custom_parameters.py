# SPDX-License-Identifier: ISC
"""Parameters of applications, such as my.tenant, stay known to the client that has had them, if only for a transaction:
on every connection that works for it. Each script gives what it gives directly."""
import psycopg
import pytest


@pytest.fixture
def functions(cluster):
    with cluster.primary.connect("app") as conn:
        # Reads, as far as anybody can tell: they go to replicas.
        conn.execute("create function known(text) returns text language sql stable as $$select current_setting($1)$$")
        conn.execute("create extension pg_trgm")
    cluster.caught_up()
    yield
    with cluster.primary.connect("app") as conn:  # functions in C change what is asked in that database
        conn.execute("drop extension pg_trgm; drop function known(text)")
    cluster.caught_up()


@pytest.fixture
def one(router, functions):
    """One connection for all."""
    return router(default_pool_size=1, workers=1)


@pytest.fixture
def direct(cluster):
    return lambda **more: cluster.primary.connect("app", "app", **more)


def run(conn, statements, **how):
    """What each says: its value, or the error."""
    said = []
    for sql in statements:
        try:
            cur = conn.execute(sql, **how)
            said.append(cur.fetchall() if cur.description else None)
        except psycopg.Error as e:
            assert not conn.broken, e
            said.append((e.sqlstate, str(e)))
    return said


LEAVES = [
    ["begin", "set local my.x = '1'", "show my.x", "commit"],
    ["begin", "set local my.x = '1'", "rollback"],
    ["begin", "set my.x = '1'", "rollback"],
    ["begin", "set my.x = '1'", "savepoint a", "set my.x = '2'", "rollback to a", "commit"],
    ["begin", "set local my.x = '1'", "set my.x = '2'", "commit"],
    ["set my.x = '1'", "begin", "set local my.x = '2'", "commit"],
    ["set my.x = '1'", "reset my.x"],
    ["set my.x = '1'", "reset all"],
    ["set my.x = '1'", "discard all"],
    ["reset my.x"],
    ["begin", "set local my.x = '1'", "commit", "set my.x = '2'"],
    ["select set_config('my.x', '1', true)"],
    ["select set_config('My.X', '1', true)"],
    ["set local my.x = '1'"],
    ["begin", "select 1/0", "set local my.x = '1'", "rollback"],
    ["begin read only", "set local my.x = '1'", "select count(*) from pg_class where relname = 'pg_class'", "commit"],
]


@pytest.mark.parametrize("leaves", LEAVES, ids="; ".join)
def test_what_the_client_has_set_stays_known(one, direct, cluster, leaves):
    """On the connection where it was, on a new one, and on those to replicas."""
    asks = ["show my.x", "select current_setting('my.x', true)", "select public.known('my.x')"]
    with direct() as conn:
        conn.autocommit = True
        expected = [run(conn, leaves), run(conn, asks)]
    with one.connect() as conn:
        assert run(conn, leaves) == expected[0]
        for _ in range(3):
            assert run(conn, asks) == expected[1]
        with cluster.primary.connect() as admin:
            admin.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'app'")
        for _ in range(3):
            assert run(conn, asks) == expected[1]
        with one.connect() as other:
            assert run(other, asks[1:2])[0] in ([(None,)], [("",)])  # never a value


def test_names_are_known_to_their_client_alone(router, functions, cluster):
    """Many clients, each with a name and a default of its own, on two connections that come and go."""
    endpoint = router(default_pool_size=2, workers=1)
    cluster.primary.sql("alter role app in database app set shared.x = 'default'")
    try:
        clients = [endpoint.connect() for _ in range(8)]
        for n, conn in enumerate(clients):
            conn.execute(f"begin; set local my.x{n} = '1'; set local shared.x = '{n}'; commit")
        for _ in range(3):
            for n, conn in enumerate(clients):
                assert conn.execute(f"select current_setting('my.x{n}'), current_setting('shared.x')"
                                    ).fetchone() == ("", "default")
                assert conn.execute(f"select public.known('my.x{n}')").fetchone() == ("",)
            with cluster.primary.connect() as admin:
                admin.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'app'")
        clients[0].execute("select set_config('shared.x', '', false)")  # which is not the default
        for _ in range(3):
            assert clients[0].execute("select current_setting('shared.x')").fetchone() == ("",)
            assert clients[1].execute("select current_setting('shared.x')").fetchone() == ("default",)
        for conn in clients:
            conn.close()
    finally:
        cluster.primary.sql("alter role app in database app reset shared.x")


@pytest.mark.parametrize("name", ["my.x", "pg_trgm.similarity_threshold"])
def test_what_it_costs(router, functions, cluster, name):
    """The server is asked nothing for it; and where clients have the same names, nothing is put in force."""
    endpoint = router(default_pool_size=1, workers=1)
    cluster.primary.sql("alter role app in database app set log_statement = 'all'")
    try:
        with endpoint.connect() as conn:
            conn.execute("select public.show_limit(); select txid_current()")  # the library is loaded
        since, before = cluster.primary.log_size(), endpoint.metric("pgsteer_settings_replays_total")
        for _ in range(4):
            with endpoint.connect() as conn:
                for _ in range(4):
                    conn.execute(f"begin; set local {name} = '0.5'; commit")
                conn.execute("select 'the end', txid_current()")
        said = [sql for user, sql in cluster.primary.statements(since) if user == "app"]
        assert sum("the end" in sql for sql in said) == 4
        assert not any("current_setting(v.n" in sql for sql in said), said
        assert endpoint.metric("pgsteer_settings_replays_total") == before
    finally:
        cluster.primary.sql("alter role app in database app reset log_statement")


@pytest.mark.parametrize("statements", [
    ["set my.x = ''; set local my.y = '1'"],
    ["begin", "set local my.y = '1'", "set my.x = ''; commit"],
    ["begin", "set my.x = ''", "commit"],
    ["begin", "set my.x = ''", "rollback"],
    ["begin", "reset my.x", "rollback"],
    ["set my.x = ''", "reset my.x"],
    ["set my.x = ''", "begin", "reset my.x", "commit"],
], ids="; ".join)
def test_empty_where_the_startup_packet_has_a_value(one, direct, cluster, statements):
    with direct(options="-c my.x=tenant") as conn:
        conn.autocommit = True
        run(conn, statements)
        expected = run(conn, ["show my.x"])
    with one.connect(options="-c my.x=tenant") as conn:
        run(conn, statements)
        for _ in range(2):
            assert run(conn, ["show my.x", "select public.known('my.x')"]) == expected * 2
            with cluster.primary.connect() as admin:
                admin.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'app'")


def test_what_a_function_sets_for_longer(router, functions, cluster):
    """Of a parameter that the text sets for the transaction: it is the client's, and nobody else's."""
    endpoint = router(default_pool_size=1, workers=1)
    with endpoint.connect() as conn, endpoint.connect() as other:
        conn.execute("begin; set local pg_trgm.similarity_threshold = 0.5; select public.set_limit(0.8); commit")
        assert conn.execute("select public.show_limit()").fetchone() == (pytest.approx(0.8),)
        assert other.execute("select public.show_limit()").fetchone() == (pytest.approx(0.3),)


def test_a_name_is_not_worth_the_client(router, functions, cluster):
    """Its server goes, and the client has lost a transaction, no state."""
    endpoint = router(default_pool_size=1, workers=1)
    with endpoint.connect() as conn:
        conn.execute("begin; set local my.x = '1'; commit and chain; select 1")
        with cluster.primary.connect() as admin:
            admin.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'app'")
        with pytest.raises(psycopg.OperationalError):
            conn.execute("select 1")
        conn.execute("rollback")
        assert conn.execute("select txid_current() > 0").fetchone() == (True,)


def test_names_that_are_keywords(one, cluster):
    names = ["app.user", "a.select.b", "my._1", "x.y$z", "my." + "long" * 20]
    with one.connect() as conn:
        for name in names:
            conn.execute(f"select set_config('{name}', '1', true)")
            assert conn.execute(f"select current_setting('{name}')").fetchone() == ("",), name
        assert [conn.execute(f"select public.known('{name}')").fetchone() for name in names] == [("",)] * 5
        with one.connect() as other:
            assert other.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("leaves", [
    ["begin", "set local pg_trgm.similarity_threshold = 0.5", "commit"],
    ["begin", "set pg_trgm.similarity_threshold = 0.5", "rollback"],
    ["begin", "set local pg_trgm.nobodys = 'x'", "commit"],  # which its library does not take where it is loaded
], ids="; ".join)
def test_a_library_that_has_the_parameter(router, functions, cluster, leaves):
    """It may be loaded where the client comes to, and has a default that is not empty."""
    endpoint = router(default_pool_size=2, workers=1)
    with endpoint.connect() as busy, endpoint.connect() as other, endpoint.connect() as conn:
        busy.execute("begin; create temp table t()")  # one connection is left to the others
        for sql in leaves:
            conn.execute(sql)
        with cluster.primary.connect() as admin:
            admin.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'app' "
                          "and state = 'idle'")
        for _ in range(3):
            assert other.execute("select public.similarity('a', 'b'), public.show_limit()").fetchone() == (0, 0.3)
            assert conn.execute("select public.similarity('a', 'b'), public.show_limit()").fetchone() == (0, 0.3)
            assert conn.execute("select current_setting('pg_trgm.similarity_threshold')").fetchone() == ("0.3",)
        busy.execute("rollback")
