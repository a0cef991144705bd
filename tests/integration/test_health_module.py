# SPDX-License-Identifier: ISC
"""The watch over the servers alone (build/.../health_watch), against real servers that lag, hang, die and change roles."""
import bisect
import os
import signal
import socket
import time

import pytest

from harness.load import Background
from harness.watch import Watch
from pgcluster import USERS, send, wait_until

SECOND = 1000000
FOREVER = 2 ** 63 - 1


def now_us():
    """The clock that the watch uses."""
    return time.monotonic_ns() // 1000


def test_without_descriptors(cluster):
    """A probe that gets no socket has seen nothing: what is thought of the servers stays. With sockets it goes on."""
    with Watch(cluster.nodes, health_interval="100ms") as watch:
        watch.ready()
        with watch.without_descriptors():
            for node in cluster.nodes:
                node.ask("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgsteer'")
            watch.until_logged("cannot be probed", len(cluster.nodes))  # once each, however often it is tried
            watch.say("report", "pg1", "timeout")
            watch.steady(2, lambda t: t["primary"] == "pg1" and all(n["state"] == "up" for n in t["nodes"].values()))
        dead = cluster.replicas[0]
        dead.kill()
        watch.node(dead.name, 5, state="down", reason="unreachable")


@pytest.fixture
def writes(cluster):
    """writes(node): the primary is written to all the time within the block."""
    def make(node=None):
        conn = (node or cluster.primary).connect("app", "app")
        conn.execute("create table if not exists written (v int)")

        def write():
            conn.execute("insert into written values (1)")
            time.sleep(0.01)

        return Background(write)

    return make


def test_roles_and_numbers(cluster):
    # No answer is late and no replica is, however slow the machine: what is left must be right from the first word on.
    with Watch(cluster.nodes, health_timeout="20s", max_lag="60s") as watch:
        assert watch.topologies == [] or watch.topologies[0]["generation"] == 1
        topology = watch.ready()
        assert topology["primary"] == "pg1"
        assert {n["role"] for name, n in topology["nodes"].items() if name != "pg1"} == {"replica"}
        assert len({n["system_identifier"] for n in topology["nodes"].values()}) == 1
        assert len({n["timeline"] for n in topology["nodes"].values()}) == 1
        assert [n["writes"] for n in topology["nodes"].values()] == [True, False, False]
        assert topology["alert"] == "ok"
        assert watch.live("pg1") == {"fresh_until_us": FOREVER, "lag_us": 0}
        for name in ("pg2", "pg3"):
            wait_until(lambda: watch.live(name)["lag_us"] == 0, 10, "no lag")
        generation = watch.topologies[-1]["generation"]
        watch.steady(2.5, lambda t: t["generation"] == generation)  # nothing changes, nothing is published
        assert watch.logged("level=warning") == 0, "".join(watch.log)


@pytest.mark.parametrize("delay, synchronous", [("0", "on"), ("0", "off"), ("150ms", "on")])
def test_fresh_until_means_that_the_write_is_there(cluster, table, delay, synchronous):
    """fresh_until has passed the moment a commit was acknowledged: a read there sees the row. Always."""
    name = table()
    replica = cluster.replicas[0]
    if delay != "0":
        replica.delay(delay)
    waited = []
    with Watch(cluster.nodes) as watch, cluster.primary.connect("app") as writer, replica.connect("app") as reader:
        watch.ready()
        writer.execute(f"set synchronous_commit = {synchronous}")
        quick = delay == "0" and synchronous == "on"  # else it is the WAL writer or the delay that takes its time
        for number in range(60 if quick else 15):
            writer.execute(f"insert into {name} values (%s, 0)", (number,))
            acknowledged = now_us()
            watch.say("want", replica.name)
            wait_until(lambda: watch.live(replica.name)["fresh_until_us"] >= acknowledged, 5, "freshness", 0.002)
            waited.append(now_us() - acknowledged)
            assert reader.execute(f"select count(*) from {name} where id = %s", (number,)).fetchone()[0] == 1
    waited.sort()
    assert waited[len(waited) // 2] < (60000 if quick else 600000), waited  # a few times fresh_interval


@pytest.mark.parametrize("synchronous", ["on", "off"])
def test_fresh_until_never_promises_too_much(cluster, table, synchronous):
    """Under constant writes: what was acknowledged before fresh_until is on the replica, at any time one looks."""
    name = table("id bigserial primary key")
    replica = cluster.replicas[0]
    acknowledged = []  # (moment, id), both rising
    writer = cluster.primary.connect("app")
    writer.execute(f"set synchronous_commit = {synchronous}")

    def write():
        number = writer.execute(f"insert into {name} default values returning id").fetchone()[0]
        acknowledged.append((now_us(), number))

    looks = 0
    with Watch(cluster.nodes) as watch, replica.connect("app") as reader, Background(write):
        watch.ready()
        end = time.monotonic() + 4
        while time.monotonic() < end:
            watch.say("want", replica.name)
            until = watch.live(replica.name)["fresh_until_us"]
            found = reader.execute(f"select coalesce(max(id), 0) from {name}").fetchone()[0]
            at = bisect.bisect_right(acknowledged, (until, FOREVER))
            assert found >= (acknowledged[at - 1][1] if at else 0), "a write before fresh_until is missing"
            looks += bool(at)
    writer.close()
    assert looks > 100 and len(acknowledged) > 200


def test_idle_primary_makes_nobody_lag(cluster):
    """Nor does a position just after a page header, as after pg_switch_wal()."""
    with Watch(cluster.nodes, max_lag="600ms", health_interval="100ms") as watch:
        watch.ready()
        lsn = cluster.primary.value("select pg_switch_wal()")
        for replica in cluster.replicas:
            wait_until(lambda: replica.value("select pg_last_wal_replay_lsn() >= %s::pg_lsn", (lsn,)), 10, "the switch")
        watch.steady(2.5, lambda t: all(n["reads"] for n in t["nodes"].values()))
        assert watch.live("pg2")["lag_us"] < 600000


@pytest.mark.parametrize("way", ["paused", "cut", "delayed"])
def test_lag(cluster, writes, way):
    late = cluster.replicas[0]
    with Watch(cluster.nodes, critical_lag="3s") as watch, writes():
        watch.ready()
        start = time.monotonic()
        {"paused": late.pause_replay, "cut": late.cut_walreceiver, "delayed": lambda: late.delay("1h")}[way]()
        watch.node(late.name, 5, reads=False, reason="lag", state="up")
        assert time.monotonic() - start > 1.0, "it was taken out before it was late"
        assert watch.topologies[-1]["nodes"]["pg3"]["reads"]
        assert watch.topologies[-1]["alert"] == "ok"
        watch.until(lambda t: t["lag_critical"] and t["alert"] == "critical", 5)
        assert watch.live(late.name)["lag_us"] > 3 * SECOND
        {"paused": late.resume_replay, "cut": late.restore_walreceiver, "delayed": lambda: late.delay("0")}[way]()
        watch.node(late.name, 15, reads=True, reason="ok")
        watch.until(lambda t: t["alert"] == "ok")
        wait_until(lambda: watch.live(late.name)["lag_us"] < SECOND, 5, "a small lag")
        watch.until_logged("server is not used reason=lag")
        watch.until_logged("replica lags critically")


def test_all_replicas_lag(cluster, writes):
    with Watch(cluster.nodes) as watch, writes():
        watch.ready()
        for replica in cluster.replicas:
            replica.pause_replay()
        topology = watch.until(lambda t: t["no_replica_eligible"], 6)
        assert topology["alert"] == "warning" and topology["primary"] == "pg1" and topology["nodes"]["pg1"]["reads"]
        watch.until(lambda t: t["lag_critical"], 6)
        for replica in cluster.replicas:
            replica.resume_replay()
        watch.until(lambda t: not t["no_replica_eligible"] and t["alert"] == "ok", 6)
        watch.until_logged("no replica takes reads: they go to the primary")
        watch.until_logged("replicas take reads again")


def test_hung_replica(cluster):
    hung = cluster.replicas[0]
    with Watch(cluster.nodes) as watch:
        watch.ready()
        start = time.monotonic()
        hung.freeze()
        watch.node(hung.name, 4, state="down", reason="timeout", reads=False)
        assert time.monotonic() - start < 1 + 2 * 0.5 + 0.7, "interval + health_failures x health_timeout"
        assert watch.live(hung.name) == {"fresh_until_us": 0, "lag_us": -1}
        assert watch.topologies[-1]["primary"] == "pg1"
        hung.thaw()
        watch.node(hung.name, 5, reason="returning", reads=False)
        watch.node(hung.name, 5, state="up", reads=True)


def test_dead_replica(cluster):
    dead = cluster.replicas[0]
    with Watch(cluster.nodes, health_interval="20s") as watch:  # its end is seen by itself, not by the next look
        watch.ready()
        start = time.monotonic()
        dead.kill()
        watch.node(dead.name, 10, reads=False, reason="unreachable")
        watch.node(dead.name, 10, state="down")
        assert time.monotonic() - start < 10
        assert watch.topologies[-1]["alert"] == "ok"
    with Watch(cluster.nodes) as watch:
        watch.node(dead.name, 3, state="down")
        dead.start()
        watch.node(dead.name, 5, state="up", reads=True)


def test_terminated_monitor_is_no_failure(cluster):
    """Its own connection ended by an administrator says nothing of the server."""
    with Watch(cluster.nodes) as watch:
        watch.ready()
        generation = watch.topologies[-1]["generation"]
        for node in cluster.nodes:
            node.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgsteer'")
        watch.steady(1.5, lambda t: t["generation"] == generation)
        assert all(node.value("select count(*) from pg_stat_activity where application_name = 'pgsteer'") == 1
                   for node in cluster.nodes)


def test_a_pause_of_our_own_is_nobodys_failure(cluster):
    """Deadlines that pass while the process itself is stopped (a suspended machine) say nothing of the servers."""
    # A timeout that a busy machine does not reach by itself.
    with Watch(cluster.nodes, health_interval="10ms", health_timeout="600ms") as watch:
        watch.ready()
        generation = watch.topologies[-1]["generation"]
        for _ in range(3):
            watch.pause(1.3)
            watch.steady(0.2, lambda t: t["generation"] == generation)
        assert watch.logged("a probe failed") == 0


def test_evidence_brings_a_probe_at_once(cluster):
    hung = cluster.replicas[0]
    with Watch(cluster.nodes, health_interval="20s") as watch:
        watch.ready()
        time.sleep(1.5)  # the fast probes of the beginning are over
        hung.freeze()
        start = time.monotonic()
        watch.say("report", hung.name, "timeout")
        watch.node(hung.name, 10, state="down")
        assert time.monotonic() - start < 10
        for _ in range(5000):
            watch.say("report", hung.name, "timeout")
        hung.thaw()
        watch.say("report", hung.name, "role_change")
        watch.node(hung.name, 10, state="up")
        watch.say("report", "nobody", "refused")


def follow(replica, node):
    replica.set("primary_conninfo", f"host={replica.cluster.sockets} port={node.port} user=postgres "
                                    f"application_name={replica.name}")
    replica.set("primary_slot_name", "")


def test_failover(new_cluster, writes):
    cluster = new_cluster()
    old, new, other = cluster.nodes
    with Watch(cluster.nodes, max_lag="20s") as watch:
        watch.ready()
        with writes(old):
            time.sleep(0.5)
        cluster.caught_up()
        time.sleep(1.2)
        old.kill()
        topology = watch.until(lambda t: t["no_primary"], 2)
        assert topology["alert"] == "critical"
        # Its replicas are as fresh as can be, and stay in use.
        time.sleep(1)
        last = watch.topologies[-1]
        assert last["nodes"]["pg2"]["reads"] and last["nodes"]["pg3"]["reads"] and last["primary"] is None
        assert watch.live("pg2")["lag_us"] == 0
        new.promote()
        start = time.monotonic()
        topology = watch.until(lambda t: t["primary"] == "pg2", 2)
        assert time.monotonic() - start < 1
        assert topology["nodes"]["pg2"]["timeline"] == 2
        assert topology["nodes"]["pg3"]["reads"], "it has all there was at the fork"
        assert watch.live("pg2")["fresh_until_us"] == FOREVER
        # The rest of the cluster follows; until then it is as fresh as it was.
        promoted = now_us()
        new.sql("create table after_promotion (v int)", dbname="app")
        time.sleep(0.3)
        assert watch.live("pg3")["fresh_until_us"] < promoted
        follow(other, new)
        watch.node("pg3", 10, timeline=2, reads=True)
        wait_until(lambda: watch.live("pg3")["fresh_until_us"] > promoted, 5, "freshness by the new primary")
        # The old primary comes back as what it was: it is left alone.
        old.start()
        watch.node("pg1", 5, state="up", reason="not_primary", reads=False, writes=False)
        assert watch.topologies[-1]["primary"] == "pg2"
        # ... even when the new one is gone.
        new.stop()
        watch.until(lambda t: t["no_primary"], 3)
        watch.steady(1, lambda t: t["primary"] is None)
        watch.until_logged("the primary is now pg2")


def test_failover_as_seen_without_pg_monitor(new_cluster):
    """A monitor without pg_monitor learns late which timeline a replica follows: until then it gets no reads."""
    cluster = new_cluster()
    _, new, other = cluster.nodes
    with Watch(cluster.nodes, user="app", monitor_database="app") as watch:
        watch.ready()
        cluster.primary.kill()
        watch.until(lambda t: t["no_primary"], 3)
        new.promote()
        watch.until(lambda t: t["primary"] == "pg2", 3)
        follow(other, new)
        new.sql("create table after_promotion (v int)", dbname="app")
        watch.node("pg3", 10, reads=False, reason="other_timeline")
        new.sql("checkpoint")
        wait_until(lambda: other.sql("select 1 from pg_tables where tablename = 'after_promotion'", dbname="app"), 10,
                   "the replica to follow")
        other.sql("checkpoint")  # a restart point
        watch.node("pg3", 10, timeline=2, reads=True)


def test_replica_that_went_another_way(new_cluster, writes):
    """A replica that has replayed more of the old primary than the new one had is not used, however high its position."""
    cluster = new_cluster()
    old, new, stray = cluster.nodes
    with Watch(cluster.nodes) as watch:
        watch.ready()
        new.cut_walreceiver()
        with writes(old):
            time.sleep(0.5)
        wait_until(lambda: stray.lsn() > new.lsn(), 5, "the stray one to be ahead")
        time.sleep(1.2)
        old.kill()
        watch.until(lambda t: t["no_primary"], 2)
        new.promote()
        watch.until(lambda t: t["primary"] == "pg2", 2)
        watch.node("pg3", 3, reads=False, reason="other_timeline")
        assert watch.live("pg3") == {"fresh_until_us": 0, "lag_us": -1}
        with writes(new):
            watch.steady(1, lambda t: not t["nodes"]["pg3"]["reads"])


def test_two_primaries(new_cluster):
    cluster = new_cluster()
    twin = cluster.replicas[0]
    with Watch(cluster.nodes) as watch:
        watch.ready()
        twin.stop()
        os.unlink(os.path.join(twin.data, "standby.signal"))
        twin.start()
        topology = watch.until(lambda t: t["two_primaries"], 5)
        assert topology["primary"] is None and topology["alert"] == "critical"
        assert [topology["nodes"][n]["reason"] for n in ("pg1", "pg2")] == ["two_primaries"] * 2
        assert not topology["nodes"]["pg1"]["reads"] and not topology["nodes"]["pg2"]["reads"]
        assert topology["nodes"]["pg3"]["reads"]
        watch.until_logged("two servers qualify as the primary")
        twin.stop()
        watch.until(lambda t: t["primary"] == "pg1" and not t["two_primaries"], 5)


def test_server_of_another_cluster(cluster, new_cluster):
    stranger = new_cluster(replicas=0).primary
    servers = [f"name={n.name} host={n.host} port={n.port}" for n in cluster.nodes]
    with Watch(None, servers + [f"name=stranger host={stranger.host} port={stranger.port}"]) as watch:
        watch.until(lambda t: t["primary"] == "pg1" and all(t["nodes"][n]["reads"] for n in ("pg2", "pg3")))
        node = watch.node("stranger", reason="other_system", reads=False, writes=False)
        assert node["state"] == "up"


def test_reload_after_an_upgrade(new_cluster, tmp_path):
    """The primary has been upgraded, which makes it another system, and a replica has not: a reload finds that out."""
    old, upgraded = new_cluster(replicas=1), new_cluster(replicas=0).primary
    path = tmp_path / "pgsteer.ini"
    servers = zip(("primary", "replica", "upgraded"), (*old.nodes, upgraded))
    path.write_text("[pgsteer]\nauth_type = trust\nlisten_addr = 127.0.0.1\nmonitor_user = monitor\n"
                    f"monitor_password = {USERS['monitor'][0]}\nserver_tls_sslmode = disable\n" + "".join(
                        f"[server {name}]\nhost = {node.host}\nport = {node.port}\n" for name, node in servers) +
                    "[database *]\n")
    with Watch.of_file(str(path)) as watch:
        watch.until(lambda t: t["primary"] == "primary" and t["nodes"]["replica"]["reads"])
        watch.node("upgraded", reason="other_system")
        watch.say("reload")
        watch.steady(0.5, lambda t: t["primary"] == "primary")
        old.primary.stop()
        watch.until(lambda t: t["primary"] is None)
        watch.steady(0.5, lambda t: t["primary"] is None)
        watch.say("reload")
        watch.until(lambda t: t["primary"] == "upgraded")
        watch.node("replica", reason="other_system")


def test_roles_of_the_config(cluster):
    one, two, three = (f"name={n.name} host={n.host} port={n.port}" for n in cluster.nodes)
    with Watch(None, [one + " role=replica", two + " role=primary", three]) as watch:
        watch.node("pg1", reason="role_mismatch", writes=False)
        watch.node("pg2", reason="role_mismatch", reads=False)
        assert watch.topologies[-1]["primary"] is None


def test_names(cluster):
    """A host name is looked up without stopping anything; one that does not exist is that server's trouble alone."""
    one, two, _ = cluster.nodes
    servers = [f"name=pg1 host=localhost port={one.port}", f"name=pg2 host={cluster.sockets} port={two.port}",
               "name=nowhere host=nowhere.invalid port=5432"]
    with Watch(None, servers) as watch:
        topology = watch.until(lambda t: t["primary"] == "pg1" and t["nodes"]["pg2"]["reads"])
        assert topology["nodes"]["pg1"]["addresses"] >= 1 and topology["nodes"]["pg2"]["addresses"] == 1
        node = watch.node("nowhere", 10, state="down", reason="unreachable")
        assert node["addresses"] == 0
        wait_until(lambda: watch.logged("cannot be resolved"), 3, "a line in the log")


@pytest.mark.parametrize("settings", [{"monitor_password": "wrong"}, {"monitor_database": "nothere"},
                                      {"monitor_user": "nobody"}])
def test_login_refused(cluster, settings):
    with Watch(cluster.nodes, **settings) as watch:
        topology = watch.until(lambda t: all(n["state"] == "down" for n in t["nodes"].values()))
        assert topology["primary"] is None
        assert {n["reason"] for n in topology["nodes"].values()} == {"login_failed"}
        watch.until_logged("server is down reason=login_failed", 3)
        assert not any("wrong" in line for line in watch.log)


def test_server_that_lets_nobody_in(cluster):
    """A smart shutdown: whoever is connected is served, the watch as well; new connections get 57P03."""
    replica = cluster.replicas[0]
    with Watch(cluster.nodes) as watch:
        watch.ready()
        with replica.connect("postgres") as conn:
            conn.execute("begin")
            cluster.dirty = True
            send(replica.pid, signal.SIGTERM)
            watch.say("report", replica.name, "shutdown")  # as a worker does that gets 57P03
            watch.node(replica.name, 5, state="down", reason="starting", reads=False)
        replica.stop()


@pytest.mark.parametrize("right", [True, False])
def test_tls(cluster, tmp_path, right):
    import pki
    authority = cluster.tls.cert if right else pki.Authority(tmp_path / "ca").cert
    servers = [f"name={n.name} host=localhost port={n.port}" for n in cluster.nodes]
    with Watch(None, servers, server_tls_sslmode="verify-full", server_tls_ca_file=authority) as watch:
        if not right:
            watch.until(lambda t: all(n["reason"] == "unreachable" for n in t["nodes"].values()))
            wait_until(lambda: watch.logged("certificate verify failed"), 3, "a line in the log")
            return
        watch.ready()
        encrypted = cluster.primary.sql("select s.ssl from pg_stat_ssl s join pg_stat_activity a using (pid) "
                                        "where a.application_name = 'pgsteer'")
        assert encrypted == [(True,)]


def test_reload(cluster, tmp_path):
    path = tmp_path / "pgsteer.ini"

    def write(*servers, user="monitor"):
        lines = ["[pgsteer]", "auth_type = trust", "listen_addr = 127.0.0.1", f"monitor_user = {user}",
                 f"monitor_password = {USERS['monitor'][0]}", "server_tls_sslmode = disable"]
        for node, weight in servers:
            lines += [f"[server {node.name}]", f"host = {node.host}", f"port = {node.port}", f"weight = {weight}"]
        path.write_text("\n".join(lines + ["[database *]", ""]))

    one, two, three = cluster.nodes
    write((one, 1), (two, 1))
    with Watch.of_file(str(path)) as watch:
        watch.ready()
        before = watch.topologies[-1]["nodes"]["pg2"]["up_since_us"]
        write((two, 7), (one, 1), (three, 3))
        watch.say("reload")
        topology = watch.until(lambda t: "pg3" in t["nodes"])
        # Who stayed is as well as before; who is new is not known yet.
        assert topology["primary"] == "pg1" and topology["nodes"]["pg2"]["reads"]
        assert topology["nodes"]["pg2"]["weight"] == 7 and topology["nodes"]["pg2"]["up_since_us"] == before
        watch.node("pg3", reads=True, weight=3)
        write((one, 1), (three, 3))
        watch.say("reload")
        watch.until(lambda t: set(t["nodes"]) == {"pg1", "pg3"} and t["primary"] == "pg1")
        wait_until(lambda: two.value("select count(*) from pg_stat_activity where application_name = 'pgsteer'") == 0, 5,
                   "its connection to be gone")
        # Servers that do not answer put nothing in doubt, however many there are.
        silent = [socket.create_server(("127.0.0.1", 0), backlog=8) for _ in range(3)]
        lines = path.read_text()
        path.write_text(lines + "".join(f"[server s{i}]\nhost = 127.0.0.1\nport = {s.getsockname()[1]}\n"
                                        for i, s in enumerate(silent)))
        since = len(watch.topologies)
        watch.say("reload")
        watch.until(lambda t: len(t["nodes"]) == 5)
        assert all(t["primary"] == "pg1" for t in watch.topologies[since:])
        watch.steady(1.2, lambda t: t["primary"] == "pg1")
        for s in silent:
            s.close()
        # A bad file changes nothing.
        path.write_text("[pgsteer]\nnonsense = 1\n")
        watch.say("reload")
        watch.steady(1.2, lambda t: t["primary"] == "pg1")
        # Another user is used at once, here with a password that is not its own.
        write((one, 1), (three, 3), user="app")
        watch.say("reload")
        watch.until(lambda t: all(n["reason"] == "login_failed" for n in t["nodes"].values()))


CATALOG = """
create schema s;
create function s.acts(a int, b int default 2) returns int language sql volatile as 'select 1';
create function s.reads(variadic a int[]) returns int language sql stable as 'select 1';
create function s.step(a int, b int) returns int language sql volatile as 'select 1';
create aggregate s.agg(int) (sfunc = s.step, stype = int);
create aggregate s.sum_of(int) (sfunc = int4pl, stype = int);
create operator s.=== (leftarg = int, rightarg = int, function = s.acts);
create operator s.<+> (leftarg = int, rightarg = int, function = int4pl);
create sequence s.seq;
create unlogged table s.unlogged (i int);
create table s.plain (i int);
create view s.v_plain as select random(), now(), count(*) from s.plain;
create view s.v_next as select nextval('s.seq');
create view s.v_acts as select s.acts(i) from s.plain;
create view s.v_operator as select i operator(s.===) i as x from s.plain;
create view s.v_over as select * from s.v_acts join s.v_plain on true;
create view s.v_unlogged as select * from s.unlogged;
create view s.v_sublink as select * from s.plain where i in (select s.acts(1));
create view s.v_window as select s.agg(i) over () from s.plain;
create view s.v_lock as select pg_try_advisory_lock(1);
create view s.v_xid as select txid_current();
create materialized view s.stored as select s.acts(1);
create view s.v_stored as select * from s.stored;
create table s.parted (i int) partition by range (i);
create unlogged table s.parted1 partition of s.parted for values from (1) to (10);
create table s.policed (i int);
create policy p on s.policed using (s.acts(i) > 0);
create foreign data wrapper w;
create server f foreign data wrapper w;
create foreign table s.far (i int) server f;
"""


@pytest.fixture
def catalog_database(cluster):
    cluster.primary.sql("create database with_catalog")
    try:
        cluster.primary.sql(CATALOG, dbname="with_catalog")
        yield "with_catalog"
    finally:
        cluster.primary.sql("drop database with_catalog with (force)")


def test_catalog(cluster, catalog_database):
    db = catalog_database
    with Watch(cluster.nodes, user="app", monitor_database="app", catalog_interval="500ms") as watch:
        watch.ready()
        assert watch.answer("function", db, "s", "acts", "1") == "no catalog"
        watch.say("watch", db)
        wait_until(lambda: watch.catalogs == 1, 5, "the catalog")
        functions = [("s", "acts", 1, "volatile"), ("s", "acts", 2, "volatile"), ("s", "acts", 3, "unknown"),
                     ("s", "acts", 0, "unknown"), ("-", "acts", 1, "volatile"), ("s", "reads", 1, "harmless"),
                     ("s", "reads", 9, "harmless"), ("s", "reads", 0, "unknown"), ("s", "agg", 1, "volatile"),
                     ("s", "sum_of", 1, "harmless"), ("public", "acts", 1, "unknown")]
        for schema, name, args, expected in functions:
            assert watch.answer("function", db, schema, name, str(args)) == expected, (schema, name, args)
        assert watch.answer("operator", db, "s", "===") and not watch.answer("operator", db, "s", "<+>")
        primary = ["seq", "unlogged", "v_next", "v_acts", "v_operator", "v_over", "v_unlogged", "v_sublink", "v_window",
                   "v_lock", "v_xid", "parted", "parted1", "policed", "far"]
        for relation in primary:
            assert watch.answer("relation", db, "s", relation), relation
        for relation in ["plain", "v_plain", "stored", "v_stored"]:
            assert not watch.answer("relation", db, "s", relation), relation
        assert watch.answer("relation", db, "pg_catalog", "pg_locks")
        assert not watch.answer("relation", db, "pg_catalog", "pg_class")
        time.sleep(1.2)
        assert watch.catalogs == 1, "it was handed on again although it is the same"
        cluster.primary.sql("alter function s.acts(int, int) stable", dbname=db)
        wait_until(lambda: watch.catalogs == 2, 3, "the change")
        assert watch.answer("function", db, "s", "acts", "1") == "harmless"
        assert not watch.answer("relation", db, "s", "v_over")


# body: what it may leave in its session
SOURCES = {
    "null;": "nothing",
    "update s.plain set i = 1; update only s.plain as p set i = 2 where p.i = 3;": "nothing",
    "insert into s.plain values (1) on conflict do nothing; if found then update s.plain set i = 1; end if;": "nothing",
    "execute format('update %I set i = 1', 'plain');": "nothing",
    "execute format('insert into %I values (1)', t);": "nothing",
    "declare q text := 'select 1'; begin execute q; end;": "nothing",
    "-- set role nobody\n null; /* set role nobody; * **/ null;": "nothing",
    "set local work_mem = '8MB'; perform set_config('a.b', t, true);": "nothing",
    "perform set_config('a.b', coalesce(t, '')::text, is_local => true);": "nothing",
    "perform pg_advisory_xact_lock(1), current_setting('app.sets_it', true);": "nothing",
    "raise notice 'the result set of % is empty', t;": "nothing",
    "set work_mem = '8MB';": "state",
    "if t = '' then set work_mem = '8MB'; end if;": "state",
    "-- a word before it\n SET ROLE nobody;": "state",
    "/* one */ null; /* two */ reset role;": "state",
    "execute 'set search_path to ' || quote_ident(t);": "state",
    "execute format('SET ROLE %I', t);": "state",
    "execute $q$ set role nobody $q$;": "state",
    "perform set_config('a.b', t, false);": "state",
    "perform set_config('a.b', t, true), set_config('a.c', t, false);": "state",
    "create temp table x on commit drop as select 1;": "state",
    "execute 'select 1 into temporary x';": "state",
    "perform pg_advisory_lock(1);": "state",
    "perform pg_try_advisory_lock_shared(1);": "state",
    "listen x;": "state",
    "execute 'prepare p as select 1';": "state",
    "perform s.sets_it();": "state",
    "perform sets_it();": "state",
    "insert into s.fires values (1);": "state",
    "update \"T\" set i = 1;": "nothing",
    "if t like 'image/*' then null; end if; perform set_config('a.b', t, false); /* done */": "state",
    "raise notice '-- %', t; perform set_config('a.b', t, false);": "state",
    "perform set_config('a.b', set_config('a.c', t, false), true);": "state",
    "perform count(*) from s.fires;": "nothing",
    "perform count(*) from s.over;": "state",
    "perform * from \"Odd name\";": "state",
    "set \"a.quoted\" = 'x';": "state",
    "perform set_config('a.' || t, 'x', false);": "unseen",
    "execute 'set a.' || t || ' = 1';": "unseen",
    "execute format('set a.%I = %L', t, 'x');": "unseen",
    "execute format('set %I = %L', t, 'x');": "unseen",
    "execute format('%s', t);": "unseen",
    "set seed = 0.5;": "unseen",
    "execute t;": "unseen",
    "execute format(t, 1);": "unseen",
    "execute $1;": "unseen",
    "perform set_config(t, 'x', false);": "unseen",
    "perform setseed(0.5);": "unseen",
    "load 'auto_explain';": "unseen",
    "perform s.runs_it('x');": "unseen",
}


OTHER_LANGUAGES = [  # (language, function, its source)
    ("plperl", "unseen_perl", "$_SHARED{tenant} = 1;"),
    ("plperl", "nothing_perl", "my $shared = 1; return $shared;"),
    ("plperl", "state_perl", "$i--; spi_exec_query('set role nobody');"),
    ("plpython3u", "unseen_python", "GD['tenant'] = 1"),
    ("plpython3u", "nothing_python", "SD['plan'] = plpy.prepare('select 1')"),
    ("plpython3u", "state_python", 'plpy.execute("set role nobody")'),
]


def test_catalog_of_sources(cluster, catalog_database):
    """Which functions may change their session is read from what they say."""
    db = catalog_database
    cluster.primary.sql("create function s.sets_it() returns int language sql as "
                        "$$ select set_config('a.b', '', false); select 1 $$", dbname=db)
    cluster.primary.sql("create function s.runs_it(q text) returns void language plpgsql as "
                        "$$ begin execute q; end $$", dbname=db)
    cluster.primary.sql("create table s.fires (i int default s.sets_it()); create view s.over as select * from s.fires; "
                        "create view \"Odd name\" as select s.sets_it()",
                        dbname=db)
    cluster.primary.sql("create function s.atomic() returns int language sql return s.sets_it()", dbname=db)
    cluster.primary.sql("create extension pg_trgm schema s; create extension pgcrypto schema s; "
                        "create function s.own_c(text) returns int language c as '$libdir/pgcrypto', 'pg_digest'", dbname=db)
    # The names of languages that need not be installed here: nobody runs these.
    for language, name, body in OTHER_LANGUAGES:
        cluster.primary.sql(f"create or replace language {language} handler plpgsql_call_handler; "
                            f"create function s.{name}() returns void language {language} as $f${body}$f$", dbname=db)
    for n, body in enumerate(SOURCES):
        cluster.primary.sql(f"create function s.body{n}(t text default '') returns void language plpgsql as "
                            f"$f$ begin {body} end $f$", dbname=db)
    with Watch(cluster.nodes, user="app", monitor_database="app") as watch:
        watch.ready()
        watch.say("watch", db)
        wait_until(lambda: watch.catalogs == 1, 5, "the catalog")
        found = {body: watch.answer("leaves", db, "function", "s", f"body{n}") for n, body in enumerate(SOURCES)}
        assert found == SOURCES
        for _, name, _ in OTHER_LANGUAGES:
            assert watch.answer("leaves", db, "function", "s", name) == name.split("_")[0], name
        for relation, leaves in [("fires", "state"), ("over", "state"), ("plain", "nothing")]:
            assert watch.answer("leaves", db, "relation", "s", relation) == leaves
        assert watch.answer("leaves", db, "function", "s", "atomic") == "state"
        assert watch.answer("leaves", db, "function", "s", "acts") == "nothing"
        for function, leaves in [("set_limit", "state"), ("similarity", "nothing"), ("gen_salt", "nothing"),
                                 ("own_c", "unseen")]:
            assert watch.answer("leaves", db, "function", "s", function) == leaves, function
        assert watch.answer("function", db, "s", "atomic", "0") == "volatile"


def test_catalog_of_meaning(cluster, catalog_database):
    """Who sets parameters of applications, and no others, changes no meaning of a text."""
    db = catalog_database
    cluster.primary.sql("create extension pg_trgm", dbname=db)  # its set_limit() may set no more than is its own
    cluster.primary.sql("create function s.sets_it() returns void language plpgsql as $$ begin "
                        "perform set_config('a.b', 'x', false), pg_advisory_lock(1); set a.c = 'y'; listen z; "
                        "end $$", dbname=db)
    with Watch(cluster.nodes, user="app", monitor_database="app", catalog_interval="500ms") as watch:
        watch.ready()
        watch.say("watch", db)
        wait_until(lambda: watch.catalogs == 1, 5, "the catalog")
        assert watch.answer("leaves", db, "function", "s", "sets_it") == "state"
        assert watch.answer("leaves", db, "meaning", "-", "-") == "nothing"
        cluster.primary.sql("create function s.role() returns void language plpgsql as $$ begin "
                            "set role monitor; end $$", dbname=db)
        wait_until(lambda: watch.catalogs == 2, 5, "the change")
        assert watch.answer("leaves", db, "meaning", "-", "-") == "state"


def test_catalog_of_a_missing_database(cluster):
    """Who wants its catalog is told, again and again; when nobody wants it any more it is asked for no more."""
    with Watch(cluster.nodes, user="app", monitor_database="app", catalog_interval="100ms") as watch:
        watch.ready()
        watch.say("watch", "not_there")
        watch.say("watch", "not_there")
        watch.say("watch", "app")
        wait_until(lambda: len(watch.missing) > 1 and watch.catalogs == 1, 5, "the word")
        watch.say("unwatch", "not_there")
        before = len(watch.missing)
        wait_until(lambda: len(watch.missing) > before + 1, 5, "the word for the other one")
        watch.say("unwatch", "not_there")
        watch.say("unwatch", "never_heard_of")
        watch.live("pg1")
        before = len(watch.missing)
        watch.say("watch", "nor_this")
        wait_until(lambda: watch.missing[before:].count("nor_this") > 3, 5, "another one")
        assert "not_there" not in watch.missing[before:]


def test_catalog_after_ddl(cluster, catalog_database):
    with Watch(cluster.nodes, user="app", monitor_database="app", catalog_interval="1h") as watch:
        watch.ready()
        watch.say("watch", catalog_database)
        wait_until(lambda: watch.catalogs == 1, 5, "the catalog")
        cluster.primary.sql("create function s.new() returns int language sql volatile as 'select 1'",
                            dbname=catalog_database)
        for _ in range(100):
            watch.say("refresh", catalog_database)
        wait_until(lambda: watch.catalogs == 2, 30, "the new function")
        assert watch.answer("function", catalog_database, "s", "new", "0") == "volatile"
        # The word comes before the commit: it is looked at again a little later.
        with cluster.primary.connect(catalog_database, autocommit=False) as conn:
            conn.execute("create function s.late() returns int language sql stable as 'select 1'")
            watch.say("refresh", catalog_database)
            time.sleep(1)
        wait_until(lambda: watch.catalogs == 3, 30, "the function that was committed later")
        assert watch.answer("function", catalog_database, "s", "late", "0") == "harmless"
        # Another worker begins to use the database.
        watch.say("watch", catalog_database)
        wait_until(lambda: watch.catalogs == 4, 30, "the same catalog once more")
        watch.say("refresh", "never_watched")
        watch.say("watch", "not_there")
        wait_until(lambda: watch.logged('the catalog of database \\"not_there\\" cannot be read') == 1, 5, "the warning")


def test_catalog_does_not_wait_for_a_primary_of_the_past(new_cluster):
    """What is read from a primary that falls silent meanwhile is read from the next one, not half a minute later."""
    cluster = new_cluster()
    old, new, _ = cluster.nodes
    with Watch(cluster.nodes, user="app", monitor_database="app") as watch:
        watch.ready()
        lock = old.connect("app", autocommit=False)
        lock.execute("lock table pg_catalog.pg_policy")
        watch.say("watch", "app")
        waiting = "select 1 from pg_locks where not granted and relation = 'pg_catalog.pg_policy'::regclass"
        wait_until(lambda: old.sql(waiting, dbname="app"), 5, "the read to be under way")
        old.freeze()
        watch.until(lambda t: t["no_primary"], 10)
        new.promote()
        watch.until(lambda t: t["primary"] == "pg2", 10)
        wait_until(lambda: watch.catalogs == 1, 10, "the catalog")
        assert watch.logged("cannot be read") == 0
        lock.close()


def test_catalog_of_a_primary_that_lets_nobody_in(cluster):
    """Whoever cannot get in for a few seconds leaves the turn to the next database."""
    postmaster = cluster.primary.pid
    with Watch(cluster.nodes) as watch:
        watch.ready()
        cluster.dirty = True
        send(postmaster, signal.SIGSTOP)  # what it has let in goes on
        watch.say("watch", "app")
        try:
            wait_until(lambda: watch.logged('the catalog of database \\"app\\" cannot be read'), 15, "the warning")
            assert watch.topologies[-1]["primary"] == "pg1"
        finally:
            send(postmaster, signal.SIGCONT)
        wait_until(lambda: watch.catalogs == 1, 15, "the catalog")


def test_no_word_is_left_behind(cluster):
    """The watch leaves no connection, and what it asked for was plain reads."""
    mark = cluster.replicas[0].log_size()
    with Watch(cluster.nodes) as watch:
        watch.ready()
        time.sleep(0.5)
    statements = {s for _, s in cluster.replicas[0].statements(mark)}
    assert statements and all(s.startswith(("SELECT ", "WITH ")) for s in statements), statements
    for node in cluster.nodes:
        wait_until(lambda: node.value("select count(*) from pg_stat_activity where application_name = 'pgsteer'") == 0,
                   5, "no connection")
