# SPDX-License-Identifier: ISC
"""Servers without a free connection slot: they are alive."""
import contextlib

import psycopg
import pytest

from harness.watch import Watch

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


def test_full_server_is_not_down(small):
    replica = small.replicas[0]
    with Watch(small.nodes, **PATIENT) as watch:
        watch.ready()
        with Crowd(replica) as crowd:
            crowd.push_out(watch)
            watch.steady(1.5, lambda t: t["nodes"][replica.name]["state"] == "suspect")
            watch.until_logged("no connection is left for the monitor")
