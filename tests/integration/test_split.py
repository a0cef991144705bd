# SPDX-License-Identifier: ISC
"""Reads go to replicas, everything else to the primary, and the servers themselves bear witness."""
import collections
import re
import threading
import time

import psycopg
import pytest

from harness.load import PORT, own_rows, port, ports, run_clients
from pgcluster import wait_until

# What no replica may ever be sent.
WRITES = re.compile(r"^\s*(insert|update|delete|merge|truncate|create|drop|alter|vacuum|analyze|grant|revoke|lock|call|"
                    r"do|copy \S+ from|notify|reindex|cluster|comment|refresh|prepare transaction)\b|"
                    r"\b(nextval|setval|for update|for share|for no key update|for key share)\b", re.I)


@pytest.fixture
def functions(cluster):
    """Functions of each volatility that say which server ran them, a sequence and a view."""
    with cluster.primary.connect("app", "app") as conn:
        define_functions(conn)
    cluster.caught_up()


def define_functions(conn):
    for volatility in ("volatile", "stable", "immutable"):
        conn.execute(f"create or replace function port_{volatility}() returns int language plpgsql {volatility} "
                     "as 'begin return inet_server_port(); end'")
    conn.execute("create sequence if not exists split_sequence")
    conn.execute("create or replace view volatile_view as select port_volatile() as port")
    for relation in ("pg_stat_user_tables", "pg_stat_activity", "pg_cursors", "pg_prepared_statements", "pg_settings"):
        conn.execute(f"create or replace view own_{relation} as select (select port from here) as port, "
                     f"(select count(*) from {relation})")
    conn.execute("create or replace view own_own_view as select * from own_pg_stat_user_tables")


def test_reads_go_to_replicas(router, cluster):
    with router().connect() as conn:
        seen = ports(conn, 100)
    assert set(seen) == {n.port for n in cluster.replicas}
    assert min(seen.values()) >= 40  # one connection is spread, not bound to a replica


def test_writes_go_to_primary(router, cluster, table):
    name = table()
    with router().connect() as conn:
        for i in range(20):
            got = conn.execute(f"insert into {name} values ({i}, 0) returning (select port from here)").fetchone()[0]
            assert got == cluster.primary.port


def test_transactions_go_to_primary(router, cluster):
    with router().connect(autocommit=False) as conn:
        for _ in range(10):
            assert {port(conn) for _ in range(5)} == {cluster.primary.port}
            conn.commit()


def test_transaction_keeps_its_server(router, cluster):
    """Whatever kind it is: one server from BEGIN to COMMIT, and after it reads are spread again."""
    with router().connect() as conn:
        for begin in ("begin", "start transaction", "begin read only", "begin isolation level repeatable read",
                      "begin isolation level serializable", "begin; set transaction read only"):
            conn.execute(begin)
            assert len({conn.execute("select (select port from here), pg_backend_pid()").fetchone()
                        for _ in range(5)}) == 1, begin
            conn.execute("commit")
            wait_until(lambda: port(conn) in {n.port for n in cluster.replicas}, 5, f"reads on replicas after {begin}")


READS = [
    "select (select port from here)",
    "  -- a comment\n /* and /* another */ */ select (select port from here)",
    "values ((select port from here))",
    "with a as (select (select port from here) p) select p from a",
    "select (select port from here) from {t} limit 1",
    "select (select port from here), random(), now(), gen_random_uuid(), clock_timestamp()",
    "(select (select port from here)) union all (select (select port from here))",
    "select port_stable()",
    "select port_immutable()",
    "select (select port from here) where 'for update' <> 'insert into'",
    "select (select port from here) from pg_class, lateral (select count(*) from pg_attribute) a limit 1",
    "select (select port from here) from generate_series(1, 3) x order by x",
]
NOT_READS = [
    "insert into {t} values (default) returning (select port from here)",
    "update {t} set id = id where false; select (select port from here)",
    "with a as (insert into {t} values (default) returning 1) select (select port from here) from a",
    "with b as (delete from {t} where false returning 1) select (select port from here)",
    "select (select port from here) from {t} limit 1 for update",
    "select (select port from here) from (select * from {t} limit 1 for share) s",
    "select (select port from here), nextval('split_sequence')",
    "select (select port from here), setval('split_sequence', 100)",
    "select (select port from here), pg_advisory_xact_lock(1)",
    "select (select port from here), pg_notify('channel', 'text')",
    "select (select port from here), txid_current()",
    "select port_volatile()",
    "select port from volatile_view",
    "select port from own_pg_stat_user_tables",
    "select port from own_pg_stat_activity",
    "select port from own_pg_cursors",
    "select port from own_pg_prepared_statements",
    "select port from own_pg_settings",
    "select port from own_own_view",
    "select (select port from here) from {t} where port_volatile() > 0 limit 1",
    "select 1; select (select port from here); insert into {t} values (default)",
    "/* pgsteer: primary */ select (select port from here)",
    "do $$ begin perform 1; end $$; select (select port from here)",
]


def value_of(conn, sql):
    """The first value of the first result that has one."""
    cursor = conn.execute(sql)
    while cursor.description is None or cursor.description[0].name not in (
            "column1", "p", "port", "port_stable", "port_immutable", "port_volatile"):
        assert cursor.nextset(), f"no port in the results of {sql}"
    return cursor.fetchone()[0]


@pytest.fixture(scope="module")
def classified(module_router, shared_cluster):
    """A router that has read the catalog, with a table to ask about."""
    with shared_cluster.primary.connect("app", "app") as conn:
        define_functions(conn)
        conn.execute("create table if not exists classified (id serial)")
        conn.execute("insert into classified values (default)")
    shared_cluster.caught_up()
    endpoint = module_router()
    with endpoint.connect() as conn:
        wait_until(lambda: conn.execute("select port_stable()").fetchone()[0] != shared_cluster.primary.port, 5,
                   "the catalog to be known")
    return endpoint


@pytest.mark.parametrize("sql", READS)
def test_is_a_read(classified, cluster, sql):
    with classified.connect() as conn:
        assert value_of(conn, sql.format(t="classified")) in {n.port for n in cluster.replicas}


@pytest.mark.parametrize("sql", NOT_READS)
def test_is_not_a_read(classified, cluster, sql):
    with classified.connect() as conn:
        for _ in range(3):
            assert value_of(conn, sql.format(t="classified")) == cluster.primary.port


@pytest.mark.parametrize("sql", ["select port_volatile()", "select port from volatile_view"])
def test_before_the_catalog_is_read(router, cluster, functions, sql):
    """The very first statement of a router: unsure means primary."""
    with router().connect() as conn:
        assert conn.execute(sql).fetchone()[0] == cluster.primary.port


def test_function_made_while_running(router, cluster):
    """DDL through the router: what the new function does is known, or the primary is taken, from the first call on."""
    with router().connect() as conn:
        conn.execute("create or replace function made_later() returns int language plpgsql volatile as "
                     "'begin return inet_server_port(); end'")
        try:
            for _ in range(20):
                assert conn.execute("select made_later()").fetchone()[0] == cluster.primary.port
        finally:
            conn.execute("drop function made_later()")


def test_view_made_while_running(router, cluster):
    """Until the catalog has been read again a new view may be over anything: its maker reads from the primary."""
    with router().connect() as conn:
        conn.execute("create view made_later as select (select port from here) as port, count(*) from pg_stat_activity")
        try:
            cluster.caught_up()
            until = time.monotonic() + 4
            while time.monotonic() < until:
                time.sleep(0.02)
                assert conn.execute("select port from made_later").fetchone()[0] == cluster.primary.port
            wait_until(lambda: port(conn) in {n.port for n in cluster.replicas}, 5, "a read on a replica")
        finally:
            conn.execute("drop view made_later")


def test_who_looks_at_counters_finds_its_reads_in_them(router, cluster, table):
    """A scan is counted by the server that does it: whoever asks the primary for its counters scans there from then on."""
    name, replicas = table(rows="values (1, 1)"), {n.port for n in cluster.replicas}
    counter = f"select pg_stat_get_numscans('{name}'::regclass)"
    endpoint = router()
    with endpoint.connect() as conn, endpoint.connect() as other:
        wait_until(lambda: port(conn) in replicas, 5, "a read on a replica")
        before = conn.execute(counter).fetchone()[0]
        cluster.caught_up()
        for _ in range(5):
            conn.execute(f"select count(*) from {name}")
        conn.execute("select pg_stat_force_next_flush()")
        assert conn.execute(counter).fetchone()[0] == before + 5
        assert endpoint.metric("pgsteer_routed_total", target="primary", reason="statistics") >= 5
        assert port(other) in replicas
        other.execute("set stats_fetch_consistency = 'none'")
        assert port(other) == cluster.primary.port
        other.execute("begin read only")
        assert port(other) == cluster.primary.port
        other.execute("commit")
        other.execute("reset stats_fetch_consistency")
        wait_until(lambda: port(other) in replicas, 5, "a read on a replica")


def test_extended_protocol_is_split(router, cluster, table):
    name = table(rows="values (1, 1)")
    replicas = {n.port for n in cluster.replicas}
    with router().connect(prepare_threshold=0) as conn:
        seen = {conn.execute(f"select (select port from here), v from {name} where id = %s", (1,)).fetchone()[0]
                for _ in range(20)}
        assert seen == replicas
        got = conn.execute(f"update {name} set v = %s returning (select port from here)", (2,)).fetchone()[0]
        assert got == cluster.primary.port


def transactions(cluster, dbname="app"):
    """Committed transactions of a database by server, as the servers count them."""
    return {n.name: n.value("select xact_commit from pg_stat_database where datname = %s", (dbname,))
            for n in cluster.nodes}


def test_weights(router, cluster):
    """1 : 3 within 5 %, as the replicas' own pg_stat_database counts."""
    before = transactions(cluster)
    endpoint = router(servers={"pg2": {"weight": 1}, "pg3": {"weight": 3}}, default_pool_size=5)

    def work(_):
        with endpoint.connect() as conn:
            return ports(conn, 500)

    seen = sum(run_clients(8, work), collections.Counter())
    endpoint.stop()  # ends the backends, which makes them report
    wait_until(lambda: sum(transactions(cluster).values()) - sum(before.values()) >= 4000, 15, "4000 transactions")
    counted = {name: count - before[name] for name, count in transactions(cluster).items()}
    assert seen[cluster.primary.port] == 0
    for light, heavy in ((seen[cluster.replicas[0].port], seen[cluster.replicas[1].port]),
                         (counted["pg2"], counted["pg3"])):
        assert abs(light / (light + heavy) - 0.25) <= 0.25 * 0.05, (seen, counted)


def test_equal_weights(router, cluster):
    with router().connect() as conn:
        seen = ports(conn, 1000)
    assert all(abs(seen[n.port] - 500) <= 25 for n in cluster.replicas), seen


def test_weight_zero(router, cluster):
    with router(servers={"pg2": {"weight": 0}}).connect() as conn:
        assert set(ports(conn, 50)) == {cluster.node("pg3").port}


def test_no_write_on_a_replica(router, cluster, table, functions):
    """A mixed load of every kind; the replicas log every statement they are sent."""
    since = {n.name: n.log_size() for n in cluster.replicas}
    name = table("id serial primary key, v int default 0", "(v) select 0 from generate_series(1, 100)")
    endpoint = router()
    refused = []

    def work(index):
        with endpoint.connect(prepare_threshold=0 if index % 2 else None) as conn:
            for sql in (READS + NOT_READS) * 3:
                try:
                    conn.execute(sql.format(t=name))
                except psycopg.errors.ReadOnlySqlTransaction as error:
                    refused.append((sql, error))
                except psycopg.errors.SyntaxError:
                    assert index % 2 and ";" in sql  # several statements cannot be prepared
                own_rows(conn, "v", f"from {name} where id = 50")
            with conn.transaction():
                conn.execute(f"update {name} set v = v + 1 where id = %s", (index + 1,))
                conn.execute(f"select * from {name} where id = %s", (index + 1,))

    run_clients(10, work)
    assert refused == []
    for node in cluster.replicas:
        sent = [sql for user, sql in node.statements(since[node.name]) if user == "app"]
        assert len(sent) > 50, f"{node.name} was hardly used"
        assert [sql for sql in sent if WRITES.search(re.sub(r"'[^']*'", "''", sql))] == []


def test_hint_replica(router, cluster, functions):
    """A comment can say that a call is harmless after all."""
    with router().connect() as conn:
        got = conn.execute("/* pgsteer: replica */ select port_volatile()").fetchone()[0]
        assert got in {n.port for n in cluster.replicas}


def test_every_decision_is_counted(router):
    endpoint = router()

    def routed(target):
        return endpoint.metric("pgsteer_routed_total", target=target) or 0

    with endpoint.connect() as conn:
        before = routed("replica"), routed("primary")
        ports(conn, 30)
        for _ in range(7):
            conn.execute("select txid_current()")
        wait_until(lambda: routed("replica") - before[0] == 30 and routed("primary") - before[1] == 7, 5,
                   "30 reads and 7 others to be counted")
    reasons = {dict(labels)["reason"] for name, labels in endpoint.metrics() if name == "pgsteer_routed_total"}
    assert len(reasons) >= 2


def test_smallest_file(router, cluster):
    """The least configuration: nothing of ours but addresses, the port and the users."""
    options = {k: None for k in ("default_pool_size", "workers", "server_tls_sslmode", "monitor_user", "reserve_pool_size",
                                 "health_interval",
                                 "monitor_password", "monitor_database", "shutdown_timeout", "unix_socket_dir")}
    with router(auth={"app": "app-password"}, **options).connect() as conn:
        assert set(ports(conn, 20)) == {n.port for n in cluster.replicas}


def test_many_clients_few_servers(router, cluster):
    """Fifty clients that all ask at once share five connections per server."""
    endpoint = router(default_pool_size=5, workers=1)
    barrier = threading.Barrier(50)

    def work(_):
        with endpoint.connect() as conn:
            barrier.wait(30)
            return ports(conn, 20)

    seen = sum(run_clients(50, work), collections.Counter())
    assert sum(seen.values()) == 1000
    for node in cluster.replicas:
        assert 1 <= len(endpoint.backends(node)) <= 5


def test_same_answer_everywhere(router, cluster):
    """The client sees one server: in_hot_standby is off though its reads come from standbys."""
    with router().connect() as conn:
        for _ in range(10):
            conn.execute(PORT)
            assert conn.pgconn.parameter_status(b"in_hot_standby") == b"off"
            assert conn.info.server_version // 10000 == 15
