# SPDX-License-Identifier: ISC
"""How the cost of a transaction changes as there is more of something: clients, prepared statements, replicas, workers.

The servers are stubs that answer at once (tests/bench/responder.c), so that the router is all there is to measure.
"""
import os
import statistics
import subprocess
import time
import types

import pgcluster

from . import BUILD, note, plot, step
from .idle_clients import Clients
from .machine import cpu_seconds
from .peers import Pgsteer, Setup
from .stage import Stage

CLIENTS = (1, 10, 100, 1000, 10000)
ACTIVE = 0.05
STATEMENTS = (1, 10, 100, 1000, 10000, 100000)
REPLICAS = (1, 2, 4, 8, 16)
BATCH = 50


class StubStage(Stage):
    """A stage without PostgreSQL: peers bring their own stubs."""

    def __init__(self):
        super().__init__(0, 0)
        self.cluster = types.SimpleNamespace(primary=None, nodes=[], path=os.path.join)

    def __enter__(self):
        self.workspace = pgcluster.Workspace("pgsteer-bench-")
        return self

    def __exit__(self, *exc):
        self.workspace.close()

    def verifiers(self):
        return {}


class Stubbed(Pgsteer):
    """pgsteer before a primary and replicas that are stubs, in two processes so that they keep up with two workers."""

    def __init__(self, stage, setup, replicas, **options):
        ports = [pgcluster.free_port() for _ in range(replicas + 1)]
        super().__init__(stage, setup, [(f"s{i}", port) for i, port in enumerate(ports)])
        self.options = options
        self._groups, self._stubs = [ports[:1], ports[1:]], []

    def start(self):
        # To the responder the first of its ports is a primary: where there are only replicas, none connects to that.
        for group in (self._groups[0], [pgcluster.free_port(), *self._groups[1]]):
            self._stubs.append(subprocess.Popen([self.stage.program("bench_responder"), *map(str, group)],
                                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            self._stubs[-1].stdout.readline()
        return super().start()

    def stop(self, *signum):
        super().stop(*signum)
        for stub in self._stubs:
            stub.stdin.close()
            stub.wait()
            stub.stdout.close()


class Load:
    """bench_load through a peer: a context manager that begins when all clients are at work."""

    def __init__(self, peer, clients, batch=1, statements=0):
        self.peer = peer
        self._command = [os.path.join(BUILD, "bench_load"), str(peer.port), str(clients), str(batch), str(statements)]

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"{' '.join(self._command)} ended\n{self.peer.log_tail()}")
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def answered(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def measure(self, rounds, seconds):
        """{cpu_us, rate}: medians over so many windows."""
        time.sleep(0.3)
        pids, found = self.peer.pids(), []
        for _ in range(rounds):
            began, cpu, count = time.monotonic(), cpu_seconds(pids), self.answered()
            time.sleep(seconds)
            cpu, count = cpu_seconds(pids) - cpu, self.answered() - count
            found.append((cpu * 1e6 / max(count, 1), count / (time.monotonic() - began)))
        return {"cpu_us": statistics.median(c for c, _ in found), "rate": statistics.median(r for _, r in found)}


def run_section(args):
    subprocess.run(["cmake", "--build", BUILD, "--target", "bench_responder", "bench_load"], check=True,
                   stdout=subprocess.DEVNULL)
    rounds, seconds = args.rounds, min(args.seconds, 2)
    with StubStage() as stage:
        step("Clients, 5 % of them at work")
        clients = [with_clients(stage, n, rounds, seconds) for n in CLIENTS]
        step("Distinct prepared statements, 16 clients")
        statements = [with_statements(stage, n, rounds, seconds) for n in STATEMENTS]
        step("Replicas, 64 clients")
        replicas = [with_replicas(stage, n, rounds, seconds) for n in REPLICAS]
        step("Workers, 64 clients with batches")
        workers = [with_workers(stage, n, rounds, seconds) for n in (1, 2)]
    cores = os.cpu_count()
    by_cpu = 2 * workers[0]["cpu_us"] / workers[1]["cpu_us"]
    by_rate = workers[1]["rate"] / workers[0]["rate"]
    note(f"two workers against one: {by_rate:.2f} in queries per second, {by_cpu:.2f} by their CPU time")
    return {"clients": clients, "statements": statements, "replicas": replicas, "workers": workers, "cores": cores,
            "two_workers_rate": by_rate, "two_workers_cpu": by_cpu}


def point(what, number, found):
    note(f"{number:7,} {what:11} {found['cpu_us']:6.2f} us CPU, {found['rate']:9,.0f}/s")
    return {"n": number, **found}


def with_clients(stage, count, rounds, seconds):
    active = max(1, int(count * ACTIVE))
    peer = Stubbed(stage, Setup(auth="trust"), 2).start()
    try:
        peer.wait_ready()
        with Clients(peer) as idle:
            idle.tell(f"open {count - active}")
            with Load(peer, active) as load:
                return point("clients", count, load.measure(rounds, seconds))
    finally:
        peer.stop()


def with_statements(stage, count, rounds, seconds):
    """One server connection, so that the statements are prepared once and not again in each of twenty."""
    peer = Stubbed(stage, Setup(auth="trust", pool=1), 1, max_prepared_statements=200000,
                   max_client_prepared_statements=200000).start()
    try:
        peer.wait_ready()
        with Load(peer, 16, statements=count) as load:
            return point("statements", count, load.measure(rounds, seconds))
    finally:
        peer.stop()


def with_replicas(stage, count, rounds, seconds):
    peer = Stubbed(stage, Setup(auth="trust"), count).start()
    try:
        peer.wait_ready()
        with Load(peer, 64) as load:
            return point("replicas", count, load.measure(rounds, seconds))
    finally:
        peer.stop()


def with_workers(stage, count, rounds, seconds):
    peer = Stubbed(stage, Setup(auth="trust", workers=count, pool=32), 4).start()
    try:
        peer.wait_ready()
        with Load(peer, 64, batch=BATCH) as load:
            return point("workers", count, load.measure(rounds, seconds))
    finally:
        peer.stop()


# --- the page -------------------------------------------------------------------------------------------------------

def text(results, folder):
    from .report import table
    parts = ["## Scale", "", "CPU of the router per transaction, in microseconds, before stub servers.", ""]
    for key, heading in (("clients", "clients, 5 % of them at work"), ("statements", "distinct prepared statements"),
                         ("replicas", "replicas"), ("workers", "workers")):
        rows = [[f"{p['n']:,}", f"{p['cpu_us']:.2f}", f"{p['rate']:,.0f}"] for p in results[key]]
        parts += [*table([heading, "CPU, us", "transactions per second"], rows), ""]
        name = f"scale-{key}.svg"
        if key != "workers" and plot.lines(os.path.join(folder, name), "CPU of the router per transaction", "microseconds",
                                           heading, {"pgsteer": {p["n"]: p["cpu_us"] for p in results[key]}}):
            parts += [f"![{heading}]({name})", ""]
    parts += [f"Two workers against one: {results['two_workers_rate']:.2f} times the queries per second on "
              f"{results['cores']} cores, which the stubs and the clients use as well; by the CPU time of a query alone it "
              f"is {results['two_workers_cpu']:.2f}, what there would be with cores for everybody.", ""]
    return parts
