# SPDX-License-Identifier: ISC
"""Loads to run through a peer, and what they bring home.

Only a window in the middle is measured: it begins after the logins, so that they and the first connections to the servers
are not in it (unless the scenario is about them), and ends before pgbench does. CPU time is read at both ends, and the
transactions in between are counted from pgbench's own log.
"""
import bisect
import contextlib
import glob
import math
import os
import re
import subprocess
import tempfile
import time

from . import note
from .machine import cpu_seconds, machine_seconds

SETTLE, SPARE = 0.3, 0.4  # seconds before and after the window, beside the logins
TRIES = 3


class LoadFailed(RuntimeError):
    """The load did not end well; the text has what it said."""


def warm(peer, arguments, clients):
    """A few transactions of each client, so that the connections to the servers are open. Returns how many seconds the
    logins took: pgbench counts them as part of its time."""
    command = ["pgbench", "-n", "-c", str(clients), "-j", str(min(clients, 2)), "-t", "5", *arguments]
    done = subprocess.run(command, env=peer.env(), capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0 or "aborted" in done.stderr:
        raise LoadFailed(f"{' '.join(command)} through {peer.name}:\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}\n"
                         f"{peer.name}: {peer.log_tail()}")
    logins = re.search(r"initial connection time = ([\d.]+) ms", done.stdout)
    return float(logins[1]) / 1000 if logins else 0.0


def pgbench(peer, arguments, clients, seconds, login_seconds=0.0, around=contextlib.nullcontext()):
    """Runs pgbench for a window of `seconds`: {cpu_us, rate, p50, p95, p99, count, machine_idle}; times in microseconds.
    `around` is entered for the window."""
    for attempt in range(TRIES):
        found = pgbench_once(peer, arguments, clients, seconds, login_seconds + attempt, around)
        if found is not None:
            return found
        note(f"{peer.name}: the load did not begin in time, once more")
    raise LoadFailed(f"pgbench {' '.join(arguments)} through {peer.name} does not get going in time")


def pgbench_once(peer, arguments, clients, seconds, login_seconds, around):
    """The same, or None when the logins took so long that the window began before the load."""
    settle = SETTLE + 2 * login_seconds
    lasts = math.ceil(settle + seconds + SPARE)
    with tempfile.TemporaryDirectory(prefix="pgsteer-bench-log-") as folder:
        command = ["pgbench", "-n", "-c", str(clients), "-j", str(min(clients, 2)), "-T", str(lasts),
                   "--log", "--log-prefix", os.path.join(folder, "log"), *arguments]
        process = subprocess.Popen(command, env=peer.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            found = window(peer, process, settle, seconds, around)
            out, err = process.communicate(timeout=lasts + 60)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode != 0 or "aborted" in err:
            raise LoadFailed(f"{' '.join(command)} through {peer.name}:\n{out[-1500:]}\n{err[-1500:]}\n"
                             f"{peer.name}: {peer.log_tail()}")
        return figures(transactions(folder), *found) if found else None


def window(peer, process, settle, seconds, around):
    """((time, CPU, machine's) at its begin, the same at its end), or None when the load ended too early."""
    time.sleep(settle)
    pids = peer.pids()
    with around:
        begin = (time.time(), cpu_seconds(pids), machine_seconds())
        time.sleep(seconds)
        end = (time.time(), cpu_seconds(pids), machine_seconds())
    return (begin, end) if process.poll() is None else None


def transactions(folder):
    """(when it ended, latency in microseconds) of every transaction, in that order."""
    found = []
    for path in glob.glob(os.path.join(folder, "log*")):
        with open(path, encoding="ascii") as f:
            for line in f:
                fields = line.split()
                if len(fields) >= 6 and fields[2].isdigit():
                    found.append((int(fields[4]) + int(fields[5]) / 1e6, int(fields[2])))
    found.sort()
    return found


def figures(found, begin, end):
    (began, cpu_before, before), (ended, cpu_after, after) = begin, end
    first, last = (bisect.bisect_left(found, (moment, 0)) for moment in (began, ended))
    latencies = sorted(latency for _, latency in found[first:last])
    if not latencies or first == 0 and found[0][0] - found[0][1] / 1e6 > began:
        return None
    count = len(latencies)
    idle, all_of_it = (b - a for a, b in zip(before, after))
    return {"cpu_us": (cpu_after - cpu_before) * 1e6 / count, "rate": count / (ended - began), "count": count,
            "p50": percentile(latencies, 50), "p95": percentile(latencies, 95), "p99": percentile(latencies, 99),
            "machine_idle": idle / all_of_it if all_of_it else 0.0}


def percentile(ordered, percent):
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def copy(peer, direction, megabytes):
    """COPY of so much out of the servers or in: a transaction is one megabyte, and there are no percentiles."""
    rows = megabytes * 1000
    if direction == "out":
        sql = f"copy (select repeat('x', 999) from generate_series(1, {rows})) to stdout"
        command = ["psql", "-X", "-q", "-c", sql]
        feed = None
    else:
        command = ["psql", "-X", "-q", "-c", "begin", "-c", "truncate bench_copy",
                   "-c", "copy bench_copy from stdin", "-c", "rollback"]
        feed = subprocess.Popen(["sh", "-c", f"yes {'x' * 999} | head -n {rows}"], stdout=subprocess.PIPE)
    pids = peer.pids()
    began, before = time.monotonic(), cpu_seconds(pids)
    done = subprocess.run(command, env=peer.env(), stdin=feed.stdout if feed else subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=600, check=False)
    took, used = time.monotonic() - began, cpu_seconds(pids) - before
    if feed:
        feed.stdout.close()
        feed.wait()
    if done.returncode != 0:
        raise LoadFailed(f"{' '.join(command)} through {peer.name}:\n{done.stderr[-1500:]}")
    return {"cpu_us": used * 1e6 / megabytes, "rate": megabytes / took, "count": megabytes}
