# SPDX-License-Identifier: ISC
"""Many clients at once, and the numbers they bring home."""
import collections
import re
import subprocess
import threading

PORT = "select port from here"


def run_clients(count, work, timeout=120):
    """Runs work(0) ... work(count - 1) in threads; their results in order. The first failure is raised."""
    results, failures = [None] * count, []

    def body(index):
        try:
            results[index] = work(index)
        except BaseException as error:  # noqa: B902: whatever it was, the test is to hear of it
            failures.append(error)

    threads = [threading.Thread(target=body, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
    if failures:
        raise failures[0]
    assert not any(t.is_alive() for t in threads), f"clients still run after {timeout} s"
    return results


class Background:
    """Repeats work() in a thread until the end of a with block; its failure is raised there."""

    def __init__(self, work):
        self._work = work
        self._stop = threading.Event()
        self._failure = None
        self.rounds = 0
        self._thread = threading.Thread(target=self._body, daemon=True)

    def _body(self):
        try:
            while not self._stop.is_set():
                self._work()
                self.rounds += 1
        except BaseException as error:  # noqa: B902
            self._failure = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        self._thread.join(60)
        if kind is None:
            if self._failure is not None:
                raise self._failure
            assert not self._thread.is_alive(), "the background work does not end"


def port(conn):
    """The port of the server that answers now."""
    return conn.execute(PORT).fetchone()[0]


def ports(conn, count):
    """How often each server answered, out of `count` statements: {port: number}."""
    return collections.Counter(port(conn) for _ in range(count))


def pgbench(endpoint, *arguments, dbname="app", timeout=300):
    """Runs pgbench to its end without any error: its transactions per second."""
    done = subprocess.run(["pgbench", *arguments, dbname], env=endpoint.env(dbname=dbname), capture_output=True,
                          text=True, timeout=timeout, check=False)
    report = f"pgbench {' '.join(arguments)}:\n{done.stdout}\n{done.stderr[-4000:]}"
    assert done.returncode == 0, report
    assert re.search(r"number of failed transactions: 0 \(", done.stdout), report
    assert not re.search(r"error|aborted|FATAL", done.stderr), report
    return float(re.search(r"^tps = ([\d.]+)", done.stdout, re.M)[1])
