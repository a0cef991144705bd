# SPDX-License-Identifier: ISC
"""What the system says: CPU time and memory of processes, and which machine and versions a figure comes from."""
import contextlib
import os
import re
import subprocess
import time

from . import ROOT

TICKS = os.sysconf("SC_CLK_TCK")


def descendants(pid):
    """`pid` and every process below it."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as f:
                parents.setdefault(int(f.read().rpartition(")")[2].split()[1]), []).append(int(name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += parents.get(found[-1], [])
    return found


def cpu_seconds(pids):
    """User and system time of these processes with all their threads, and of their children that have ended."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
                ticks += sum(map(int, f.read().rpartition(")")[2].split()[11:15]))
    return ticks / TICKS


def machine_seconds():
    """(CPU time of all cores in which they had nothing to do, all of it)."""
    with open("/proc/stat", encoding="ascii") as f:
        times = [int(n) / TICKS for n in f.readline().split()[1:9]]
    return times[3] + times[4], sum(times)


def memory(pid, file, key):
    """A line of /proc/PID/smaps_rollup or status, in bytes."""
    with open(f"/proc/{pid}/{file}", encoding="ascii") as f:
        return int(re.search(rf"^{key}:\s+(\d+) kB", f.read(), re.M)[1]) * 1024


def pss(pids):
    """Resident memory of these processes, shared pages divided among those that share them, in bytes."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, TypeError):
            total += memory(pid, "smaps_rollup", "Pss")
    return total


def output(*command):
    """The first line that a command prints; empty when there is no such command."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=20)
    except OSError:
        return ""
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return lines[0].strip() if lines else ""


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        found = re.search(r"^(?:model name|Model)\s*:\s*(.*)$", f.read(), re.M)
    return found[1] if found else os.uname().machine


def versions():
    from .peers import pgbouncer_binary
    found = {
        "pgsteer": output("build/release/pgsteer", "--version"),
        "PostgreSQL": output("pgbench", "--version"),
        "PgBouncer": output(pgbouncer_binary(), "--version"),
        "Pgpool-II": output("/usr/sbin/pgpool", "--version"),
        "HAProxy": output("/usr/sbin/haproxy", "-v"),
    }
    if os.environ.get("PGBOUNCER"):
        found["PgBouncer of PGBOUNCER"] = output(os.environ["PGBOUNCER"], "--version")
    return {name: text for name, text in found.items() if text}


def facts():
    """Where and when: goes with every file of results."""
    changed = output("git", "status", "--porcelain", "--untracked-files=no")
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": output("git", "rev-parse", "--short=12", "HEAD") + (" with changes" if changed else ""),
        "cpu": cpu_model(), "cores": os.cpu_count(), "kernel": os.uname().release.partition("-")[0],
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "load_before": os.getloadavg()[0], "versions": versions(),
    }
