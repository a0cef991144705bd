# SPDX-License-Identifier: ISC
"""ALTER ROLE and ALTER DATABASE ... SET: who logs in afterwards begins with the new defaults, on every server."""
import contextlib

import pytest

import frontend as fe
from harness.load import run_clients
from pgcluster import DATABASE, wait_until


@pytest.fixture(autouse=True)
def without_defaults(cluster):
    """Whatever a test leaves behind goes."""
    yield
    cluster.dirty = True
    for role in ("app", "other"):
        cluster.primary.sql(f"alter role {role} reset all")
        cluster.primary.sql(f"alter role {role} in database {DATABASE} reset all")
    cluster.primary.sql(f"alter database {DATABASE} reset all")


def login(endpoint, user="app"):
    return fe.Frontend(endpoint).login(user, password=f"{user}-password")


def seen(endpoint, name, user="app", count=6):
    """What so many new clients find the parameter to be, on whatever servers."""
    found = set()
    for _ in range(count):
        with endpoint.connect(user=user) as conn:
            found.add(conn.execute(f"select setting, s.name from pg_settings s, here where s.name = '{name}'").fetchone()[0])
    return found


STYLES = {"ISO": "2024-02-01", "German": "01.02.2024", "SQL": "02/01/2024", "Postgres": "02-01-2024"}


def everywhere(conn):
    """How a date is written in one client's reads: {server: ways}."""
    found = {}
    for _ in range(12):
        server, value = conn.execute("select h.name, date '2024-02-01' :: text from here h").fetchone()
        found.setdefault(server, set()).add(value)
    return found


@pytest.mark.parametrize("statement", [
    "alter role app set {} = '{}'", f"alter database {DATABASE} set {{}} = '{{}}'",
    f"alter role app in database {DATABASE} set {{}} = '{{}}'", "begin; alter role app set {} = '{}'; commit",
    "alter role current_user set {} to '{}'"])
def test_new_clients_have_the_new_defaults(router, statement):
    endpoint = router(default_pool_size=2, workers=2)
    with endpoint.connect() as old:
        for round in range(3):
            assert seen(endpoint, "application_name") == {"" if round == 0 else f"round {round - 1}"}
            old.execute(statement.format("application_name", f"round {round}"))
            for _ in range(4):
                with login(endpoint) as conn:  # told at the login, and in force
                    assert conn.parameters["application_name"] == f"round {round}"
                    assert conn.value("show application_name") == f"round {round}"
            assert seen(endpoint, "application_name") == {f"round {round}"}


def test_on_the_replicas(router, cluster):
    """A client that has changed them reads from replicas that have the change, on connections that have it too."""
    endpoint = router(default_pool_size=1, workers=1)
    with endpoint.connect() as conn:
        wait_until(lambda: len(everywhere(conn)) == 2, 10, "both replicas to be in use")
        for style in ("German", "SQL", "Postgres", "ISO"):
            conn.execute(f"alter role app set DateStyle = '{style}'")
            with endpoint.connect() as new:
                assert new.execute("show DateStyle").fetchone()[0].startswith(style)
                assert set().union(*everywhere(new).values()) == {STYLES[style]}
                wait_until(lambda: set(everywhere(new)) == {"pg2", "pg3"}, 10, "both replicas to be in use")
                assert set().union(*everywhere(new).values()) == {STYLES[style]}


def test_a_lagging_replica_is_used_as_it_is(router, cluster):
    """One that has not replayed the change has the old defaults to offer: connections to it are not opened in vain."""
    endpoint = router(default_pool_size=1, workers=1, consistency="eventual", servers={"pg3": None}, max_lag="60s")
    with endpoint.connect() as conn:
        wait_until(lambda: "pg2" in everywhere(conn), 10, "the replica to be in use")
        cluster.replicas[0].pause_replay()
        conn.execute("alter role app set DateStyle = 'German'")
        with endpoint.connect() as new:
            before = endpoint.metric("pgsteer_server_connections_total")
            assert everywhere(new) == {"pg2": {STYLES["ISO"]}}
            assert endpoint.metric("pgsteer_server_connections_total") == before
            cluster.replicas[0].resume_replay()
            wait_until(lambda: everywhere(new) == {"pg2": {STYLES["German"]}}, 10, "the replica's new defaults")


def test_waits_for_a_busy_connection(router):
    """The only connection is at work, and has the old defaults: the next client gets another one."""
    endpoint = router(default_pool_size=1, workers=1)
    with login(endpoint) as conn, contextlib.ExitStack() as stack:
        conn.ask(fe.query("begin"))
        conn.ask(fe.query("alter role app set work_mem = '8MB'"))
        assert conn.value("show work_mem") == "4MB"
        new = stack.enter_context(fe.Frontend(endpoint))
        new.send(fe.startup(user="app", database="app"))
        conn.ask(fe.query("commit"))
        new.authenticate("app", "app-password")
        assert new.value("select current_setting('work_mem'), txid_current()") == "8MB"


def test_who_was_there_before_keeps_the_old_ones(router, cluster):
    """As in PostgreSQL, as long as there are connections with them; once it has met the new ones it stays with those."""
    endpoint = router(default_pool_size=2, workers=1)
    with login(endpoint) as old:
        assert old.parameters["DateStyle"] == "ISO, MDY"
        wait_until(lambda: old.value("select name from here") == "pg2", 10, "a connection to the one replica")
        wait_until(lambda: old.value("select name from here") == "pg3", 10, "a connection to the other one")
        for sql in ("alter role app set DateStyle = 'German'", f"alter database {DATABASE} set statement_timeout = '77s'",
                    "alter role app set search_path = 'of_app'"):
            old.ask(fe.query(sql))
            for _ in range(4):
                assert old.value("show DateStyle") == "ISO, MDY" and old.value("show search_path") == '"$user", public'
                assert old.value("select date '2024-02-01' :: text") == STYLES["ISO"] and old.value("show statement_timeout") == "0"
        with login(endpoint) as first, login(endpoint) as second:  # they need both places on the primary
            for conn in (first, second):
                conn.ask(fe.query("begin"))
                assert conn.value("select current_setting('DateStyle'), txid_current()") == "German, DMY"
                assert conn.value("show search_path") == "of_app"
            for conn in (first, second):
                conn.ask(fe.query("rollback"))
        for _ in range(4):
            assert old.value("select current_setting('DateStyle'), txid_current()") == "German, DMY"
            assert old.value("select date '2024-02-01' :: text") == STYLES["German"]


def test_rolled_back(router):
    endpoint = router(default_pool_size=1, workers=1)
    with login(endpoint) as conn:
        for sql in ("begin", "alter role app set work_mem = '8MB'", "rollback"):
            conn.ask(fe.query(sql))
        assert seen(endpoint, "work_mem") == {"4096"}


def test_while_others_work(router):
    """Clients go on as if nothing was, and each new one has the defaults of its time."""
    endpoint = router(default_pool_size=3, workers=2)
    rounds = 20

    def work(index):
        with endpoint.connect() as conn:
            for n in range(rounds):
                if index:
                    for k in range(20):
                        assert conn.execute("select %s::int + port - port from here", (k,)).fetchone() == (k,)
                    continue
                conn.execute(f"alter role app set application_name = 'n{n}'")
                with endpoint.connect() as new:
                    assert new.execute("select current_setting('application_name'), txid_current()").fetchone()[0] == f"n{n}"

    run_clients(6, work)


@pytest.mark.parametrize("prepared", [True, False], ids=["prepared", "simple"])
def test_users_with_search_paths_of_their_own(router, cluster, prepared):
    """Two users prepare the same text, which means something else to each of them; and one to whom it means nothing."""
    with cluster.primary.connect("app") as conn:
        for user in ("app", "other"):
            conn.execute(f"create schema of_{user} authorization {user}")
            conn.execute(f"create table of_{user}.things as select '{user}'::text as whose")
            conn.execute(f"grant select on of_{user}.things to {user}")
            conn.execute(f"alter role {user} set search_path = of_{user}")
    cluster.caught_up()
    text = "select whose from things"
    try:
        endpoint = router(default_pool_size=1, workers=1)
        clients = [login(endpoint, user) for user in ("app", "other", "app", "other")]
        for _ in range(3):
            for conn, user in zip(clients, ("app", "other", "app", "other")):
                batch = fe.parse(text, "s") + fe.bind("s") + fe.execute() + fe.close("S", "s") + fe.SYNC
                got = conn.ask(batch if prepared else fe.query(text))
                assert fe.rows(got) == [[user]], got
        clients[1].ask(fe.query("alter role other set search_path = public"))
        with login(endpoint, "other") as new:
            got = new.ask(fe.parse(text, "s") + fe.SYNC)
            assert fe.kinds(got) == "EZ" and fe.errors(got)[0]["C"] == "42P01"
        for conn in clients:
            conn.socket.close()
    finally:
        with cluster.primary.connect("app") as conn:
            for user in ("app", "other"):
                conn.execute(f"drop schema of_{user} cascade")


def test_a_parse_is_not_answered_for_another_user(router, cluster):
    """That a server has parsed the text for one user says nothing of another one."""
    with cluster.primary.connect("app") as conn:
        conn.execute("create schema of_app authorization app")
        conn.execute("create table of_app.mine as select 1 as v")
        conn.execute("alter role app set search_path = of_app")
    try:
        endpoint = router(default_pool_size=1, workers=1)
        with login(endpoint) as app, login(endpoint, "other") as other:
            for _ in range(3):
                assert fe.kinds(app.ask(fe.parse("select v from mine", "s") + fe.close("S", "s") + fe.SYNC)) == "13Z"
            got = other.ask(fe.parse("select v from mine", "s") + fe.SYNC)
            assert fe.kinds(got) == "EZ" and fe.errors(got)[0]["C"] == "42P01"
    finally:
        cluster.primary.sql("drop schema of_app cascade", dbname="app")


def test_made_elsewhere(router, cluster):
    """Of that the router hears nothing; any statement of the kind made through it replaces the connections."""
    endpoint = router(default_pool_size=1, workers=1)
    with endpoint.connect() as conn:
        conn.execute("select txid_current()")
        cluster.primary.sql("alter role app set application_name = 'elsewhere'")
        conn.execute("alter role app reset geqo")
        assert seen(endpoint, "application_name") == {"elsewhere"}
