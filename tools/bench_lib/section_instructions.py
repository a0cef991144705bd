# SPDX-License-Identifier: ISC
"""Instructions per transaction, counted by callgrind: what the code itself costs, whatever else the machine does.

The router runs under callgrind all the time. Two runs of different length are counted and subtracted, so that neither its
start nor logins are in the result. The kernel's share cannot be counted this way: --syscalls tells how often it is called.
PgBouncer is Debian's build, pgsteer ours; both are optimised and neither runs with anything beyond its libraries.
"""
import collections
import glob
import os
import re
import shutil
import subprocess

from pgcluster import spawn

from . import ROOT, load, note, step
from .peers import PgBouncer, PgBouncerSession, Pgsteer, Setup
from .stage import Stage

SCENARIOS = {"simple": ["-S", "-M", "simple"], "extended": ["-S", "-M", "extended"],
             "prepared": ["-S", "-M", "prepared"], "tpcb": ["-b", "tpcb-like", "-M", "simple"], "connect": ["-S", "-C"]}
CLIENTS, FEW, MANY = 16, 20, 120
CONNECTS = 5, 25  # instead, where each transaction has a login
TOP = 16


class Counted:
    """A peer under callgrind."""

    def command(self):
        return ["valgrind", "--tool=callgrind", "-q", f"--callgrind-out-file={self.folder}/callgrind.out", *super().command()]

    def control(self, *arguments):
        """callgrind_control as the user that the peer runs as: it looks for that user's pipes."""
        process = spawn(["callgrind_control", *arguments, str(self.process.pid)], self.stage.workspace.account,
                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.folder)
        out, _ = process.communicate(timeout=60)
        if process.returncode != 0:
            raise load.LoadFailed(f"callgrind_control {' '.join(arguments)}: {out.decode()}")

    def count(self, arguments):
        """(instructions per transaction, path of the profile): a longer run less a shorter one, so that the logins and
        what is prepared once are in neither. What happens now and then (a server connection more, a probe) only adds,
        so the least of some runs counts."""
        fewer, more = CONNECTS if "-C" in arguments else (FEW, MANY)
        run(self, arguments, fewer)  # opens the connections to the servers
        self.dump()
        few, _ = min(self.count_run(arguments, fewer) for _ in range(3))
        many, path = min(self.count_run(arguments, more) for _ in range(2))
        return (many - few) / (CLIENTS * (more - fewer)), path

    def count_run(self, arguments, transactions):
        run(self, arguments, transactions)
        return self.dump()

    def dump(self):
        """(instructions since the last dump, path)."""
        before = set(self.dumps())
        self.control("--dump")
        path, = set(self.dumps()) - before
        with open(path, encoding="utf-8") as f:
            return int(re.search(r"^totals: (\d+)", f.read(), re.M)[1]), path

    def dumps(self):
        return glob.glob(os.path.join(self.folder, "callgrind.out.*"))


class CountedPgsteer(Counted, Pgsteer):
    def __init__(self, stage, setup):
        super().__init__(stage, setup)
        # Slow as it is now, it must not take its servers for lost; and looks at them are not to be counted.
        self.options.update(health_interval="10s", health_timeout="10s", server_connect_timeout="30s",
                            client_login_timeout="60s")


class CountedPgBouncer(Counted, PgBouncer):
    pass


class CountedPgBouncerSession(Counted, PgBouncerSession):
    pass


def run(peer, arguments, transactions):
    command = ["pgbench", "-n", "-c", str(CLIENTS), "-j", "1", "-t", str(transactions), *arguments]
    done = subprocess.run(command, env=peer.env(), capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise load.LoadFailed(f"{' '.join(command)} through {peer.name}:\n{done.stderr[-1500:]}\n{peer.log_tail()}")


def top(path):
    """The functions that the most instructions are in themselves: [share in percent, name]. callgrind_annotate of Debian 12
    takes a dump of a running program for one function, so the lines are added up here. Of what the compiler made of one
    function (name.part.0, name.isra.0) the sum counts."""
    names, own, function, of_callee = {}, collections.Counter(), None, False
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            named = re.match(r"(c?)fn=\((\d+)\)(?: (.*))?", line)
            if named:
                names[named[2]] = re.sub(r"(\.\D\w*(\.\d+)?)+$", "", named[3]) if named[3] else names.get(named[2])
                function = function if named[1] else named[2]
            elif line.startswith("calls="):
                of_callee = True
            elif re.match(r"[-+*\d]", line):
                own[names[function]] += 0 if of_callee else int(line.split()[-1])
                of_callee = False
    total = sum(own.values())
    return [[round(100 * count / total, 1), name] for name, count in own.most_common(TOP)]


def counted(stage, kind, names, folder):
    """{scenario: {instructions, top}} of one peer."""
    peer, results = kind(stage, Setup(clients=CLIENTS)), {}
    try:
        peer.start().wait_ready(120)
        for name in names:
            per_transaction, path = peer.count(SCENARIOS[name])
            kept = os.path.join(folder, f"callgrind.{kind.name}.{name}")
            shutil.copyfile(path, kept)
            results[name] = {"instructions": per_transaction, "top": top(kept)}
            note(f"{name:10} {kind.name:18} {per_transaction:10,.0f} instructions per transaction")
    finally:
        peer.stop()
    return results


def run_section(args):
    folder = os.path.join(ROOT, "build", "benchmarks")
    os.makedirs(folder, exist_ok=True)
    peers = {"pgsteer": (CountedPgsteer, list(SCENARIOS)), "pgbouncer": (CountedPgBouncer, ["simple", "extended", "tpcb", "connect"]),
             "pgbouncer-session": (CountedPgBouncerSession, ["prepared"])}
    with Stage(1) as stage:
        step("Instructions per transaction")
        found = {name: counted(stage, *what, folder) for name, what in peers.items() if name in args.peers}
    note(f"profiles, for kcachegrind: {folder}/callgrind.*")
    return {"peers": found}
