# SPDX-License-Identifier: ISC
"""Servers die, hang, restart and come back while clients work."""
import signal
import time

import psycopg
import pytest

import frontend as fe
from harness.load import PORT, Background, Readers, port, ports
from pgcluster import children, send, wait_until


@pytest.mark.parametrize("end", ["kill", "stop", "restart"])
def test_replica_ends(router, cluster, end):
    """Reads outside transactions go on without one error, on the servers that are left; then it is used again."""
    lost, left = cluster.replicas
    endpoint = router()
    with Readers(endpoint) as readers:
        for _ in range(2):
            getattr(lost, end)()
            if end != "restart":
                endpoint.wait_replica(lost.name, healthy=False)
                # A killed instance's backends answer what they were asked before they notice.
                wait_until(lambda: lost.port not in readers.more(), 5, "no reads on the one that is gone")
                lost.start()
            endpoint.wait_replica(lost.name)
            wait_until(lambda: lost.port in readers.more(50), 20, "reads on the replica that has come back")
        assert readers.errors == []
        assert readers.longest < 5


def test_replica_hangs(router, cluster):
    """Frozen, its connections open: what was asked there is asked elsewhere while it still hangs, without one error."""
    lost, left = cluster.replicas
    endpoint = router(health_interval="1s", health_timeout="1s", health_failures=2)  # as they are by default
    with Readers(endpoint) as readers:
        start = time.monotonic()
        lost.freeze()
        endpoint.wait_replica(lost.name, healthy=False, timeout=10)
        assert time.monotonic() - start < 3.5, "interval + health_failures x health_timeout"
        readers.everyone()
        assert readers.more() == {left.port}
        assert endpoint.metric("pgsteer_reruns_total") >= 1
        lost.thaw()
        endpoint.wait_replica(lost.name)
        wait_until(lambda: lost.port in readers.more(50), 20, "reads on the replica that has come back")
    assert readers.errors == []
    assert readers.longest < 4


def running(node, mark):
    """The backend whose statement has this word in it, once there is one."""
    sql = "select pid from pg_stat_activity where query like %s and state = 'active' and pid <> pg_backend_pid()"
    return wait_until(lambda: node.sql(sql, (f"%{mark}%",)), 5, "the statement to run")[0][0]


def freeze_around(node, pid):
    """As freeze(), but for one backend: the server takes nothing new and does not answer its health checks."""
    node.cluster.dirty = True
    send(node.pid, signal.SIGSTOP)
    for child in set(children(node.pid)) - {pid}:
        send(child, signal.SIGSTOP)


def test_rows_that_come_are_not_given_up(router, cluster):
    """A replica that is down for the health checks, and a connection over which rows come: it is left alone."""
    replica = cluster.replicas[0]
    endpoint = router(servers={"pg3": None}, health_timeout="300ms")
    with fe.Frontend(endpoint, timeout=30).login(password="app-password") as conn:
        conn.send(fe.query("select g, repeat('x', 9000), pg_sleep(0.2) from generate_series(1, 20) g /* alive */"))
        freeze_around(replica, running(replica, "alive"))
        endpoint.wait_replica(replica.name, healthy=False)
        got = conn.until("Z")
        assert fe.errors(got) == [] and [r[0] for r in fe.rows(got)] == [str(n) for n in range(1, 21)]
        assert endpoint.metric("db_replica_health", replica=replica.name) == 0
        assert conn.value("select port from here") == str(cluster.primary.port)


def test_replica_hangs_in_the_middle_of_an_answer(router, cluster):
    """Rows have come, and no more will: an error as soon as the server is down, and the client goes on elsewhere."""
    replica = cluster.replicas[0]
    endpoint = router(servers={"pg3": None}, health_timeout="300ms")
    with fe.Frontend(endpoint, timeout=10).login(password="app-password") as conn:
        conn.send(fe.query("select g, repeat('x', 9000), pg_sleep(case when g > 3 then 60 else 0 end) "
                           "from generate_series(1, 10) g"))
        got = conn.until("D")
        replica.freeze()
        start = time.monotonic()
        got += conn.until("Z")
        assert time.monotonic() - start < 3
        assert [e["C"] for e in fe.errors(got)] == ["08006"]
        assert conn.value("select port from here") == str(cluster.primary.port)
    replica.thaw()  # its backend does not see that nobody is there, and would sleep on
    replica.sql("select pg_terminate_backend(pid) from pg_stat_activity where query like %s", ("select g, repeat%",))


def test_all_replicas_gone(router, cluster):
    """Reads go to the primary, without an error, and return."""
    endpoint = router()
    with Readers(endpoint) as readers:
        for node in cluster.replicas:
            node.kill()
        for node in cluster.replicas:
            endpoint.wait_replica(node.name, healthy=False)
        wait_until(lambda: readers.more() == {cluster.primary.port}, 5, "reads on the primary alone")
        for node in cluster.replicas:
            node.start()
        wait_until(lambda: readers.more(50) == {n.port for n in cluster.replicas}, 20, "reads on replicas again")
    assert readers.errors == []


def test_no_replica_configured(router, cluster):
    endpoint = router(servers={"pg2": None, "pg3": None})
    with endpoint.connect() as conn:
        assert set(ports(conn, 20)) == {cluster.primary.port}


def test_read_with_rows_delivered_is_not_repeated(router, cluster):
    """Rows have come already: one error and no row twice. The client stays, unless it was left with half a message."""
    lost = cluster.replicas[0]
    endpoint = router(servers={"pg3": None})
    with fe.Frontend(endpoint, timeout=20).login(password="app-password") as conn:
        conn.send(fe.query("select g, repeat('x', 100), pg_sleep(case when g > 20000 then 0.001 else 0 end) "
                           "from generate_series(1, 1000000) g"))
        got = conn.until("D")
        lost.kill()
        try:
            while got[-1].type != "Z":
                got.append(conn.receive())
        except fe.Closed:
            assert conn.unfinished(), "closed between two messages"
        else:
            assert [e["C"] for e in fe.errors(got)] == ["08006"]
            assert conn.value("select 1") == "1"
        numbers = [int(r[0]) for r in fe.rows(got)]
        assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) < 1000000


def test_primary_dies(router, cluster, table):
    """One error for what was under way there; reads go on; the same connections write again when it is back."""
    name = table(rows="values (1, 0)")
    endpoint = router()
    replicas = {n.port for n in cluster.replicas}
    with fe.Frontend(endpoint, timeout=30).login(password="app-password") as busy, endpoint.connect() as idle:
        idle.execute(f"update {name} set v = 1")
        busy.send(fe.query("select pg_sleep(60), txid_current() /* primary dies */"))
        wait_until(lambda: cluster.primary.sql("select 1 from pg_stat_activity where query like '%primary dies%' and "
                                               "pid <> pg_backend_pid()"), 5, "the statement to run")
        with Readers(endpoint, count=3) as readers:
            cluster.primary.kill()
            got = busy.until("Z")
            assert len(fe.errors(got)) == 1 and fe.errors(got)[0]["C"] in ("08006", "57P01", "57P02")
            assert readers.more() <= replicas
            cluster.primary.start()
            wait_until(lambda: endpoint.http("/primary")[0] == 200, 10, "the primary to be known again")
            idle.execute(f"update {name} set v = 2")
            assert busy.value(f"select v from {name}, txid_current()") == "2"
        assert readers.errors == []


def test_transaction_on_a_primary_that_dies(router, cluster, table):
    """An error, an end, and a session that goes on."""
    name = table()
    endpoint = router()
    with endpoint.connect() as conn:
        conn.execute("begin")
        conn.execute(f"insert into {name} values (1, 1)")
        cluster.primary.kill()
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(f"insert into {name} values (2, 2)")
        assert not isinstance(caught.value, psycopg.errors.UniqueViolation) and not conn.closed
        conn.execute("rollback")
        cluster.primary.start()
        wait_until(lambda: endpoint.http("/primary")[0] == 200, 10, "the primary to be known again")
        assert conn.execute(f"select count(*), max(txid_current()) from {name}").fetchone()[0] == 0


def test_write_without_a_primary(router, cluster, table):
    """It waits for one, or says 57P03; it never hangs beyond its deadline, and never goes to a replica."""
    name = table()
    endpoint = router(query_wait_timeout="2s")
    with endpoint.connect() as conn:
        port(conn)
        cluster.primary.kill()
        wait_until(lambda: endpoint.http("/primary")[0] == 503, 10, "the primary to be known as gone")
        start = time.monotonic()
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(f"insert into {name} values (1, 1)")
        assert caught.value.sqlstate in ("57P03", "53300", "08006") and time.monotonic() - start < 35
        assert not conn.closed and port(conn) != cluster.primary.port


def test_promotion(router, new_cluster):
    """The primary dies and a replica is promoted: writes go there, the clients stay connected."""
    cluster = new_cluster(2)
    cluster.primary.sql("create table t (v int)", dbname="app", user="app")
    cluster.caught_up()
    endpoint = router(cluster=cluster)
    old, new = cluster.primary, cluster.replicas[0]
    with endpoint.connect() as conn:
        conn.execute("insert into t values (1)")
        cluster.caught_up()
        old.kill()
        new.promote()
        start = time.monotonic()

        def written():
            try:
                return conn.execute("insert into t values (2) returning (select port from here)").fetchone()[0]
            except psycopg.Error as error:
                assert error.sqlstate in ("57P03", "08006", "53300") and not conn.closed, error
        assert wait_until(written, 15, "a write on the new primary") == new.port
        assert time.monotonic() - start < 10
        assert conn.execute("select sum(v) from t").fetchone() == (3,)


def test_old_primary_comes_back(router, new_cluster):
    """Still thinking it is the primary, it gets neither reads nor writes: the higher timeline counts."""
    cluster = new_cluster(2)
    cluster.primary.sql("create table t (v int)", dbname="app", user="app")
    cluster.caught_up()
    endpoint = router(cluster=cluster)
    old, new = cluster.primary, cluster.replicas[0]
    old.kill()
    new.promote()
    wait_until(lambda: endpoint.http("/primary")[0] == 200, 15, "the new primary to be known")
    old.start()
    with endpoint.connect() as conn:
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            assert conn.execute("insert into t values (1) returning (select port from here)").fetchone()[0] == new.port
            assert port(conn) != old.port
    assert old.sql("select count(*) from t", dbname="app") == [(0,)]


def test_another_primary_while_the_old_one_lives(router, new_cluster):
    """Nothing is written to it any more: not by who waits for it, nor in a transaction, nor by who is pinned to it."""
    cluster = new_cluster(2)
    cluster.primary.sql("create table t (v int)", dbname="app", user="app")
    cluster.caught_up()
    endpoint = router(cluster=cluster, default_pool_size=2, workers=1)
    old, new = cluster.primary, cluster.replicas[0]
    insert = "insert into t values (%s) returning (select port from here)"
    with endpoint.connect() as pinned, endpoint.connect() as busy, endpoint.connect() as waits:
        pinned.execute("listen x")
        busy.execute("begin")
        assert busy.execute(insert, (1,)).fetchone() == (old.port,)
        found = []
        with Background(lambda: found or found.append(waits.execute(insert, (2,)).fetchone())):
            wait_until(lambda: endpoint.metric("db_connection_pool_size", state="waiting") == 1, 5, "a client to wait")
            new.promote()
            wait_until(lambda: found, 15, "the client that waited to have written")
        assert found == [(new.port,)]
        with pytest.raises(psycopg.errors.ConnectionFailure):
            busy.execute(insert, (1,))
        busy.execute("rollback")
        assert busy.execute(insert, (3,)).fetchone() == (new.port,)
        with pytest.raises(psycopg.OperationalError, match="not the primary any more"):
            pinned.execute(insert, (4,))
        assert pinned.closed
    assert old.sql("select v from t", dbname="app") == []


def test_login_refused_while_there_is_no_primary(router, cluster):
    """A replica's refusal is told, by all replicas when they agree, and nobody else notices."""
    endpoint = router(workers=1)
    with endpoint.connect() as conn:
        cluster.primary.kill()
        wait_until(lambda: endpoint.http("/primary")[0] == 503, 10, "the primary to be missed")
        for _ in range(2):
            with pytest.raises(psycopg.OperationalError, match='database "nowhere" does not exist'):
                endpoint.connect(dbname="nowhere", connect_timeout=10)
            assert port(conn) in {n.port for n in cluster.replicas}


def test_login_by_a_serializable_default_without_a_primary(router, cluster):
    """A replica has no such transactions, and takes the login all the same."""
    cluster.primary.sql("alter role other set default_transaction_isolation = serializable")
    cluster.caught_up()
    try:
        endpoint = router()
        cluster.primary.kill()
        wait_until(lambda: endpoint.http("/primary")[0] == 503, 10, "the primary to be missed")
        endpoint.connect(user="other", connect_timeout=10, application_name="serializable").close()
    finally:
        cluster.primary.start()
        cluster.primary.sql("alter role other reset default_transaction_isolation")


def test_database_that_takes_no_connections(router, cluster):
    """What a server says of one database is no reason to avoid it for others."""
    endpoint = router(workers=1, server_login_retry="10s")
    with endpoint.connect() as first, endpoint.connect() as second:
        with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
            endpoint.connect(dbname="template0", connect_timeout=10)
        start = time.monotonic()
        first.execute("begin; select txid_current()")
        assert second.execute("select txid_current(), (select port from here)").fetchone()[1] == cluster.primary.port
        assert time.monotonic() - start < 3
        first.execute("rollback")


def test_primary_is_back_before_the_next_try_is_due(router, cluster, table):
    """A connection could not be opened, which is not tried again for long; but the server has come up since."""
    name = table(rows="values (1, 0)")
    endpoint = router(workers=1, default_pool_size=2, server_connect_timeout="300ms", server_login_retry="60s",
                      health_timeout="2s", query_wait_timeout="60s")
    with endpoint.connect() as first, endpoint.connect() as second:
        first.execute("begin; select txid_current()")
        cluster.primary.freeze()
        second.pgconn.send_query(f"update {name} set v = 1".encode())
        second.pgconn.flush()
        endpoint.wait_log("no login within 300 ms")
        wait_until(lambda: endpoint.http("/primary")[0] == 503, 10, "the primary to be missed")
        cluster.primary.thaw()
        wait_until(lambda: endpoint.http("/primary")[0] == 200, 10, "the primary to be seen")
        wait_until(lambda: second.pgconn.consume_input() or not second.pgconn.is_busy(), 5, "the update to be done")
        assert second.pgconn.get_result().command_status == b"UPDATE 1" and second.pgconn.get_result() is None


def test_refused_on_a_replica(router, cluster):
    """What a replica refuses is run on the primary without the client noticing, and goes there at once next time."""
    with cluster.primary.connect("app", "app") as conn:
        conn.execute("create table if not exists refused (v int); truncate refused")
        conn.execute("create unlogged table if not exists unlogged_one as select 1 as v")
        conn.execute("create or replace function inner_write() returns int language plpgsql volatile as "
                     "'begin insert into refused values (1); return inet_server_port(); end'")
        conn.execute("create or replace function claims_to_read() returns int language plpgsql stable as "
                     "'begin return inner_write(); end'")
    cluster.caught_up()
    try:
        endpoint = router()
        for extended in (False, True):
            with endpoint.connect(prepare_threshold=0 if extended else None) as conn:
                for _ in range(5):
                    assert conn.execute("select claims_to_read()").fetchone()[0] == cluster.primary.port
                    assert conn.execute("select v from unlogged_one").fetchone() == (1,)
        assert cluster.primary.sql("select count(*) from refused", dbname="app") == [(10,)]
        assert endpoint.metric("pgsteer_reruns_total") <= 4
    finally:
        cluster.primary.sql("drop table refused, unlogged_one; drop function claims_to_read; drop function inner_write",
                            dbname="app")


def test_recovery_conflict(router, cluster, table):
    """A read that the replica cancels for the sake of replay is run again elsewhere."""
    name = table(rows="select g, 0 from generate_series(1, 1000) g")
    replica = cluster.replicas[0]
    endpoint = router(servers={"pg3": None})
    replica.set("max_standby_streaming_delay", "0")
    try:
        with fe.Frontend(endpoint, timeout=30).login(password="app-password") as conn:
            sql = f"select count(*), (select port from here) from (select pg_sleep(0.003), v from {name}) s"
            conn.send(fe.query(sql))
            wait_until(lambda: replica.sql("select 1 from pg_stat_activity where query = %s and "
                                           "backend_xmin is not null", (sql,)), 5, "the statement to have its snapshot")
            cluster.primary.sql(f"delete from {name}", dbname="app")
            cluster.primary.sql(f"vacuum {name}", dbname="app")
            got = conn.until("Z")
            assert fe.errors(got) == []
            assert int(fe.rows(got)[0][1]) == cluster.primary.port
    finally:
        replica.set("max_standby_streaming_delay", None)


def test_everything_is_gone_and_back(router, cluster):
    """No server at all for a while: clients stay, and work as soon as there are servers."""
    endpoint = router()
    with endpoint.connect() as conn:
        port(conn)
        for node in cluster.nodes:
            node.kill()
        wait_until(lambda: endpoint.http("/readiness")[0] == 503, 10, "/readiness to say 503")
        assert endpoint.http("/liveness")[0] == 200
        for node in cluster.nodes:
            node.start()
        wait_until(lambda: endpoint.http("/readiness")[0] == 200, 10, "/readiness to say 200")

        def works():
            try:
                return conn.execute(PORT).fetchone()
            except psycopg.Error:
                assert not conn.closed
        wait_until(works, 10, "the client to work again")


def test_started_before_its_servers(router, cluster):
    """It starts, waits, and serves once there is something to serve from."""
    for node in cluster.nodes:
        node.stop()
    endpoint = router(wait=False)
    wait_until(lambda: http_status(endpoint, "/liveness") == 200, 10, "/liveness to say 200")
    assert http_status(endpoint, "/readiness") == 503
    cluster.heal()
    endpoint.wait_ready()
    with endpoint.connect() as conn:  # the replica that came last starts slowly
        wait_until(lambda: set(ports(conn, 10)) == {n.port for n in cluster.replicas}, 30, "both to answer")


def http_status(endpoint, path):
    try:
        return endpoint.http(path)[0]
    except OSError:
        return None
