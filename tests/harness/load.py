# SPDX-License-Identifier: ISC
"""Many clients at once, and the numbers they bring home.

Every load has its own-bytes checker: each query carries a nonce, and must get exactly its own rows back. A load whose
queries are ours asks by own_rows() (as port() does); one whose queries are not, or break off, has OwnBytes run beside it.
"""
import collections
import itertools
import random
import re
import secrets
import subprocess
import threading
import time

from pgcluster import wait_until

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


def own_rows(conn, values, rest=""):
    """The rows of `select values rest`, after a look at the nonce that each of them must have."""
    nonce = secrets.token_hex(8)
    rows = conn.execute(f"select {values}, '{nonce}' as nonce {rest}").fetchall()
    assert rows and all(row[-1] == nonce for row in rows), f"rows that are not those of {nonce}: {rows[:3]}"
    return [row[:-1] for row in rows]


class OwnBytes:
    """Clients beside a load that ask in every way for rows that nobody else asks for: for a with block."""

    WRITE = ", txid_current()"  # a query with this is one for the primary

    def __init__(self, endpoint, count=2, **connect):
        self._endpoint, self._connect = endpoint, connect
        self._stop, self._failures = threading.Event(), []
        self._threads = [threading.Thread(target=self._work, args=(n,), daemon=True) for n in range(count)]
        self.asked = 0

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        if kind is None:
            if self._failures:
                raise self._failures[0]
            assert not any(t.is_alive() for t in self._threads), "a query for own rows hangs"
            assert self.asked, "nothing was asked for beside the load"

    def _work(self, index):
        ways = itertools.cycle([self._simple, self._bound, self._prepared, self._transaction, self._copied])
        try:
            with self._endpoint.connect(**self._connect) as conn:
                while not self._stop.is_set() or self.asked < 10:
                    next(ways)(conn, secrets.token_hex(random.choice((8, 8, 2000))), random.randrange(1, 30))
                    self.asked += 1
        except BaseException as error:  # noqa: B902
            self._failures.append(error)

    @staticmethod
    def _check(cursor, nonce, count):
        rows = cursor.fetchall()
        assert [row[:2] for row in rows] == [(n, nonce) for n in range(count)], f"{rows[:3]} for {count} of {nonce[:16]}"

    def _simple(self, conn, nonce, count):
        more = random.choice(("", self.WRITE))
        sql = f"select g, '{nonce}'{more} from generate_series(0, {count - 1}) g"
        self._check(conn.execute(sql), nonce, count)

    def _bound(self, conn, nonce, count, **how):
        more = random.choice(("", self.WRITE))
        sql = f"select g, %s::text{more} from generate_series(0, %s::int - 1) g"
        self._check(conn.execute(sql, (nonce, count), **how), nonce, count)

    def _prepared(self, conn, nonce, count):
        self._bound(conn, nonce, count, prepare=True)

    def _transaction(self, conn, nonce, count):
        with conn.transaction():
            self._bound(conn, nonce, count)
            self._simple(conn, nonce, count)

    @staticmethod
    def _copied(conn, nonce, count):
        with conn.cursor().copy(f"copy (select g, '{nonce}' from generate_series(0, {count - 1}) g) to stdout") as copy:
            assert b"".join(copy).decode() == "".join(f"{n}\t{nonce}\n" for n in range(count))


class Readers:
    """Clients that read one statement after the other; every error and the longest wait are kept."""

    def __init__(self, endpoint, count=8, sql="select (select port from here), pg_sleep(0.005)"):
        self._stop = threading.Event()
        self.errors, self.longest = [], 0.0
        self._done = [0] * count
        self._threads = [threading.Thread(target=self._work, args=(endpoint, sql, i), daemon=True) for i in range(count)]
        self.recent = []

    def _work(self, endpoint, sql, index):
        try:
            with endpoint.connect() as conn:
                while not self._stop.is_set():
                    start = time.monotonic()
                    answer = own_rows(conn, "q.*", f"from ({sql}) q")[0][0]
                    self.longest = max(self.longest, time.monotonic() - start)
                    self.recent.append(answer)
                    self._done[index] += 1
        except Exception as error:
            self.errors.append(error)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.more()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        assert not any(t.is_alive() for t in self._threads), "a reader hangs"

    def more(self, count=100):
        """Waits until so many more reads are done, and returns what they answered."""
        self.recent = recent = []
        wait_until(lambda: self.errors or len(recent) >= count, 20, f"{count} more reads")
        return set(recent)

    def everyone(self):
        """Waits until every client has done a read that it began after now."""
        before = list(self._done)
        wait_until(lambda: self.errors or all(n > m + 1 for n, m in zip(self._done, before)), 20, "a read of each client")


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
    return own_rows(conn, "port", "from here")[0][0]


def ports(conn, count):
    """How often each server answered, out of `count` statements: {port: number}."""
    return collections.Counter(port(conn) for _ in range(count))


def pgbench(endpoint, *arguments, dbname="app", timeout=300):
    """Runs pgbench to its end without any error: its transactions per second."""
    with OwnBytes(endpoint, dbname=dbname):
        done = subprocess.run(["pgbench", *arguments, dbname], env=endpoint.env(dbname=dbname), capture_output=True,
                              text=True, timeout=timeout, check=False)
    report = f"pgbench {' '.join(arguments)}:\n{done.stdout}\n{done.stderr[-4000:]}"
    assert done.returncode == 0, report
    assert re.search(r"number of failed transactions: 0 \(", done.stdout), report
    assert not re.search(r"error|aborted|FATAL", done.stderr), report
    return float(re.search(r"^tps = ([\d.]+)", done.stdout, re.M)[1])
