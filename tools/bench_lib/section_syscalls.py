# SPDX-License-Identifier: ISC
"""System calls per transaction, counted by strace while clients that are logged in already are busy."""
import re
import signal
import subprocess

from pgcluster import await_exit

from . import load, note, step
from .peers import KINDS, Setup
from .section_instructions import SCENARIOS
from .stage import Stage

CLIENTS, SECONDS = 16, 3


def count(peer, arguments, account_file):
    """{call: times per transaction}."""
    login_seconds = load.warm(peer, arguments, CLIENTS)
    command = ["strace", "-c", "-f", "-U", "name,calls", "-o", account_file]
    for pid in peer.pids():
        command += ["-p", str(pid)]
    found = load.pgbench(peer, arguments, CLIENTS, SECONDS, login_seconds, around=Tracer(command))
    with open(account_file, encoding="ascii") as f:
        calls = dict((name, int(number)) for name, number in re.findall(r"^(\w+)\s+(\d+)$", f.read(), re.M))
    calls.pop("total", None)
    return {name: number / found["count"] for name, number in sorted(calls.items(), key=lambda c: -c[1])
            if number / found["count"] >= 0.005}


class Tracer:
    """strace for the length of the window."""

    def __init__(self, command):
        self._command = command

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._process.stderr.readline()  # "Process ... attached with 3 threads"

    def __exit__(self, *_):
        self._process.send_signal(signal.SIGINT)
        if not await_exit(self._process.pid, 10):
            self._process.kill()
        self._process.wait()
        self._process.stderr.close()


def run_section(args):
    results = {}
    with Stage(1) as stage:
        step("System calls per transaction")
        for name in ("pgsteer", "pgbouncer"):
            if name not in args.peers:
                continue
            peer, results[name] = KINDS[name](stage, Setup(clients=CLIENTS)), {}
            try:
                peer.start().wait_ready()
                for scenario, arguments in SCENARIOS.items():
                    if scenario == "prepared" and not peer.prepares:
                        continue
                    calls = count(peer, arguments, stage.workspace.path("strace.out"))
                    results[name][scenario] = calls
                    note(f"{scenario:10} {name:10} {sum(calls.values()):6.2f}: " +
                         ", ".join(f"{call} {number:.2f}" for call, number in calls.items()))
            finally:
                peer.stop()
    return {"peers": results}
