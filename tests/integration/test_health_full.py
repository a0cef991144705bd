# SPDX-License-Identifier: ISC
"""Servers without a free connection slot: they are alive, and what is not known of them is not taken for good."""
import contextlib
import time

import psycopg
import pytest

from harness.load import Background
from harness.watch import Watch
from pgcluster import wait_until

MONITORS = "select pid from pg_stat_activity where application_name = 'pgsteer'"
PATIENT = {"health_interval": "200ms", "health_timeout": "2s"}  # a busy machine is not taken for a server that hangs


@pytest.fixture
def small(new_cluster):
    return new_cluster(replicas=1)


class Crowd:
    """Takes every connection slot of a server but those kept for superusers."""

    def __init__(self, node):
        self.admin = node.connect("postgres")
        self._node, self._taken = node, []
        self.press()

    def press(self):
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                self._taken.append(self._node.connect("app", "app"))

    def push_out(self, watch):
        """Takes the monitor's slot too, which may be quicker now and then."""
        for last in (False,) * 9 + (True,):
            self.admin.execute(f"select pg_terminate_backend(pid) from ({MONITORS}) as m")
            self.press()
            try:
                return watch.node(self._node.name, 3 if last else 1, state="suspect", reads=True)
            except AssertionError:
                if last:
                    raise

    def go(self):
        for conn in self._taken:
            conn.close()
        self._taken = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.go()
        self.admin.close()


@contextlib.contextmanager
def writes(cluster):
    with cluster.primary.connect("app", "app") as conn:
        conn.execute("create table if not exists written (v int)")

        def write():
            conn.execute("insert into written values (1)")
            time.sleep(0.01)

        yield lambda: Background(write)


def test_full_server_is_not_down(small):
    replica = small.replicas[0]
    with Watch(small.nodes, **PATIENT) as watch:
        watch.ready()
        with Crowd(replica) as crowd:
            crowd.push_out(watch)
            watch.steady(1.5, lambda t: t["nodes"][replica.name]["state"] == "suspect")
            watch.until_logged("no connection is left for the monitor")


def test_full_replica_is_not_read_from_for_ever(small):
    """Nobody can ask how far it is: it counts as standing still, and leaves when that is max_lag ago."""
    replica = small.replicas[0]
    with Watch(small.nodes, **PATIENT) as watch, writes(small) as writing, writing():
        watch.ready()
        with Crowd(replica) as crowd:
            crowd.push_out(watch)
            watch.node(replica.name, 10, reads=False, reason="lag", state="suspect")
            watch.until_logged("server is not used reason=lag")
            crowd.go()
            watch.node(replica.name, 10, reads=True, state="up")


def test_full_primary_lets_nobody_lag_unseen(small):
    """It goes on writing, and nobody can ask how far it is: its replicas' lag counts all the same."""
    primary, replica = small.nodes
    with Watch(small.nodes, **PATIENT) as watch, writes(small) as writing:
        watch.ready()
        with Crowd(primary) as crowd:
            crowd.push_out(watch)
            replica.pause_replay()
            with writing():
                watch.node(replica.name, 10, reads=False, reason="lag", state="up")
            lag_us = watch.live(replica.name)["lag_us"]
            wait_until(lambda: watch.live(replica.name)["lag_us"] > lag_us + 500000, 5, "the lag to grow")
            assert watch.topologies[-1]["primary"] == "pg1" and watch.topologies[-1]["nodes"]["pg1"]["writes"]
            # When it is gone nobody falls further behind.
            primary.freeze()
            watch.until(lambda t: t["no_primary"], 10)
            lag_us = watch.live(replica.name)["lag_us"]
            time.sleep(1)
            assert watch.live(replica.name)["lag_us"] == lag_us
            primary.thaw()
        replica.resume_replay()
        watch.ready()
        wait_until(lambda: watch.live(replica.name)["lag_us"] < 1500000, 10, "a small lag")


def test_monitor_keeps_the_slot_it_has(small):
    """Whether a connection can be had is tried with a second one: the first would not be given back."""
    primary = small.primary
    with Watch(small.nodes, **PATIENT) as watch:
        watch.ready()
        with Crowd(primary) as crowd:
            monitors = crowd.admin.execute(MONITORS).fetchall()
            assert len(monitors) == 1
            mark = primary.log_size()
            watch.say("report", primary.name, "timeout")
            wait_until(lambda: " FATAL: " in primary.log_text(mark), 5, "the second one to be refused")
            watch.steady(1.5, lambda t: t["nodes"][primary.name]["state"] == "up")
            assert crowd.admin.execute(MONITORS).fetchall() == monitors
            assert watch.logged("no connection is left") == 0
            # With room again it is the new one that is kept.
            crowd.go()
            watch.say("report", primary.name, "timeout")
            wait_until(lambda: len(now := crowd.admin.execute(MONITORS).fetchall()) == 1 and now != monitors, 5,
                       "the new connection alone")
            watch.steady(0.5, lambda t: t["nodes"][primary.name]["state"] == "up")
