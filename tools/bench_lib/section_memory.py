# SPDX-License-Identifier: ISC
"""Memory: of a client that does nothing, at the start, during a large result; and whether idle clients slow others."""
import os
import resource
import statistics
import time

from . import load, note, plot, step
from .idle_clients import Clients
from .machine import memory, pss
from .peers import KINDS, Setup
from .stage import Stage

PEERS = ("pgbouncer", "pgbouncer-new", "pgsteer")
LEVELS = (1000, 5000, 10000)
SPARE_FILES = 300
WORKING = 100
RESULT_MB = 1000


def run_section(args):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    levels = [n for n in LEVELS if n + SPARE_FILES <= hard and (n <= 1000 or not args.quick)]
    if len(levels) < len(LEVELS) and not args.quick:
        note(f"open files are limited to {hard}: no more than {levels[-1]} clients")
    names, results = [p for p in PEERS if p in args.peers], {"start": {}, "idle": [], "stream": {}, "held": []}
    with Stage(2) as stage:
        for name in names:
            for tls in (False, True):
                step(f"Idle clients of {name}, {'TLS' if tls else 'plain'}")
                results["idle"] += idle(stage, name, tls, levels, results["start"])
        for name in names:
            step(f"A result of {RESULT_MB // (10 if args.quick else 1)} MB through {name}")
            results["stream"][name] = stream(stage, name, RESULT_MB // (10 if args.quick else 1))
        for name in names:
            step(f"{WORKING} clients that work beside {levels[-1]} that do not, {name}")
            results["held"].append(held(stage, name, levels[-1], min(args.rounds, 3), args.seconds))
    return results


def warmed(stage, name, tls):
    """A running peer with its pools open."""
    peer = KINDS[name](stage, Setup(tls=tls)).start()
    try:
        peer.wait_ready()
        at_start = memory(peer.process.pid, "status", "VmRSS")
        load.warm(peer, ["-S"], 64)
    except BaseException:
        peer.stop()
        raise
    return peer, at_start


def settled(peer):
    time.sleep(0.3)
    return pss(peer.pids())


def idle(stage, name, tls, levels, start):
    peer, at_start = warmed(stage, name, tls)
    start.setdefault(name, at_start)
    records = []
    try:
        with Clients(peer) as clients:
            base = settled(peer)
            for count in levels:
                began = time.monotonic()
                clients.tell(f"open {count}")
                took, login = time.monotonic() - began, settled(peer)
                clients.tell("query")
                query = settled(peer)
                per_client = {"login": (login - base) / count, "query": (query - base) / count}
                records.append({"peer": name, "tls": tls, "clients": count, "base": base, "pss": query,
                                "per_client": per_client})
                note(f"{count:6} clients: {per_client['login']:7.0f} bytes each after login, {per_client['query']:7.0f} "
                     f"after a query; {query / 2**20:.1f} MiB in all ({took:.1f} s to log in)")
    finally:
        peer.stop()
    return records


def stream(stage, name, megabytes):
    """How much more memory there was at the most, in bytes, while a result came by that the client at first did not take."""
    peer, _ = warmed(stage, name, False)
    try:
        pid = peer.process.pid
        with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as f:
            f.write("5")
        before = memory(pid, "status", "VmRSS")
        with Clients(peer) as clients:
            clients.tell(f"stream select repeat('x', 990) from generate_series(1, {megabytes * 1000})")
        growth = memory(pid, "status", "VmHWM") - before
    finally:
        peer.stop()
    note(f"{growth / 1024:.0f} KiB more at the most")
    return {"megabytes": megabytes, "growth": growth}


def held(stage, name, count, rounds, seconds):
    peer, _ = warmed(stage, name, False)
    found = {"without": [], "with": []}
    try:
        login_seconds = load.warm(peer, ["-S"], WORKING)
        with Clients(peer) as clients:
            for _ in range(rounds):
                found["without"].append(load.pgbench(peer, ["-S"], WORKING, seconds, login_seconds))
                clients.tell(f"open {count}")
                clients.tell("query")
                found["with"].append(load.pgbench(peer, ["-S"], WORKING, seconds, login_seconds))
                clients.tell("close")
    finally:
        peer.stop()
    result = {"peer": name, "clients": count}
    for key, records in found.items():
        result[key] = {k: statistics.median(r[k] for r in records) for k in records[0]}
        note(f"{key:8} {result[key]['rate']:9.0f}/s, p99 {result[key]['p99'] / 1000:.2f} ms, "
             f"{result[key]['cpu_us']:.1f} us CPU")
    return result


# --- the page -------------------------------------------------------------------------------------------------------

def text(results, folder):
    from .report import table
    rows = [[KINDS[r["peer"]].title, "TLS" if r["tls"] else "plain", f"{r['clients']:,}",
             f"{r['per_client']['login'] / 1024:.2f}", f"{r['per_client']['query'] / 1024:.2f}", f"{r['pss'] / 2**20:.1f}"]
            for r in results["idle"]]
    parts = ["## Memory", "", "Proportional set size, less what there was before the clients came, per client.", "",
             *table(["", "", "idle clients", "KiB each after login", "KiB each after one query", "MiB in all"], rows), "",
             "At start, resident: " + "; ".join(f"{KINDS[name].title} {size / 2**20:.1f} MiB"
                                                for name, size in results["start"].items()) + ".", "",
             "Growth during one result that the client is slow to take: " +
             "; ".join(f"{KINDS[name].title} {r['growth'] / 1024:,.0f} KiB of {r['megabytes']:,} MB"
                       for name, r in results["stream"].items()) + ".", ""]
    rows = [[KINDS[r["peer"]].title, f"{r['clients']:,}", *(f"{r[k]['p99'] / 1000:.2f}" for k in ("without", "with")),
             *(f"{r[k]['cpu_us']:.1f}" for k in ("without", "with"))] for r in results["held"]]
    parts += [f"{WORKING} clients that work, without and beside clients that hold a connection and do nothing:", "",
              *table(["", "idle clients", "p99 without, ms", "p99 beside them, ms", "CPU without, us", "CPU beside them, us"],
                     rows), ""]
    for tls in (False, True):
        series = {}
        for r in results["idle"]:
            if r["tls"] == tls:
                series.setdefault(r["peer"], {})[r["clients"]] = r["per_client"]["query"] / 1024
        name = f"memory-{'tls' if tls else 'plain'}.svg"
        heading = f"Memory of an idle client, {'TLS' if tls else 'plain'}"
        if plot.lines(os.path.join(folder, name), heading, "KiB", "idle clients", series):
            parts += [f"![{heading}]({name})", ""]
    return parts
