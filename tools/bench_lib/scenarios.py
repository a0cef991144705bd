# SPDX-License-Identifier: ISC
"""What is run: the table of scenarios. docs/benchmarks.md explains them."""
import dataclasses
import os

HERE = os.path.dirname(os.path.abspath(__file__))
POOLERS = ("direct", "haproxy", "pgbouncer", "pgbouncer-new", "pgpool", "pgsteer")
PREPARED = ("direct", "haproxy", "pgbouncer-session", "pgbouncer-new", "pgpool", "pgsteer")
ALONE = ("pgsteer-primary",)  # what three servers on one machine cost, where latency has a target
TLS = ("direct", "pgbouncer", "pgbouncer-new", "pgpool", "pgsteer")
PACED = ("direct", "haproxy", "pgbouncer", "pgbouncer-new", "pgsteer", "pgsteer-primary")


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    group: str  # rows of one table
    arguments: tuple = ()  # of pgbench
    clients: int = 64
    peers: tuple = POOLERS
    tls: bool = False
    kind: str = "pgbench"  # or copy-in, copy-out, paced
    unit: str = "transaction"
    share: float = 1.0  # paced: of what direct reaches

    @property
    def section(self):
        return "paced" if self.kind == "paced" else "load"


def selects():
    for mode in ("simple", "extended", "prepared"):
        for clients in (1, 16, 64, 256):
            peers = PREPARED if mode == "prepared" else POOLERS
            yield Scenario(f"select-{mode}-{clients}", f"select-only, {mode}, {clients} clients", f"select-{mode}",
                           ("-S", "-M", mode), clients, peers + ALONE if clients == 64 else peers)


def others():
    yield Scenario("tpcb-64", "TPC-B-like, simple, 64 clients", "other", ("-b", "tpcb-like"), peers=POOLERS + ALONE)
    yield Scenario("connect-16", "a connection for each select, SCRAM, 16 clients", "other", ("-S", "-C"), 16)
    yield Scenario("result-1mb", "a result of 1 MB, 16 clients", "other", ("-f", os.path.join(HERE, "result_1mb.sql")), 16)
    yield Scenario("tls-simple-64", "select-only, simple, 64 clients, TLS on both sides", "other", ("-S",), 64, TLS, True)
    yield Scenario("tls-connect-16", "a connection for each select, SCRAM, TLS on both sides, 16 clients", "other",
                   ("-S", "-C"), 16, TLS, True)
    yield Scenario("copy-out", "COPY TO STDOUT, 1 client", "other", clients=1, kind="copy-out", unit="MB")
    yield Scenario("copy-in", "COPY FROM STDIN, 1 client", "other", clients=1, kind="copy-in", unit="MB")


def paced():
    for name, text, share in (("", "half", 0.5), ("-quarter", "a quarter", 0.25)):
        for clients in (50, 100, 200):
            yield Scenario(f"paced{name}-{clients}", f"select-only at {text} of direct's maximum, {clients} clients",
                           "paced", ("-S",), clients, PACED, kind="paced", share=share)


ALL = [*selects(), *others(), *paced()]
QUICK = ("select-simple-64", "select-extended-64", "select-prepared-64", "tpcb-64", "connect-16")


def named(names):
    """The scenarios of these names; one may end in * ."""
    found = []
    for name in names:
        matches = [s for s in ALL if s.name == name or name.endswith("*") and s.name.startswith(name[:-1])]
        if not matches:
            raise SystemExit(f"tools/bench: no scenario {name}: there are {', '.join(s.name for s in ALL)}")
        found += [s for s in matches if s not in found]
    return found
