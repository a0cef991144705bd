# SPDX-License-Identifier: ISC
"""What was aimed at, as ratios within one run with one worker each, and whether it was met."""
from .measure import ratio


class Target:
    """`value` is None when it was not measured; `most`: whether `limit` is an upper one."""

    def __init__(self, title, value, limit, most=True, unit=""):
        self.title, self.value, self.limit, self.most, self.unit = title, value, limit, most, unit

    @property
    def met(self):
        if self.value is None:
            return None
        return self.value <= self.limit if self.most else self.value >= self.limit

    def row(self):
        sign = "<=" if self.most else ">="
        value = "not measured" if self.value is None else f"{self.value:.3g}{self.unit}"
        return [self.title, f"{sign} {self.limit:g}{self.unit}", value,
                {None: "", True: "met", False: "**missed**"}[self.met]]


def all_of(sections):
    """Every target; `sections` are the results by name, those that there are."""
    return [*of_load(sections.get("load")), *of_paced(sections.get("paced")), *of_memory(sections.get("memory")),
            *of_classify(sections.get("classify")), *of_syscalls(sections.get("syscalls")), *of_scale(sections.get("scale"))]


CPU = (
    # scenario, other peer, limit
    ("select-simple-64", "pgbouncer", 1.0), ("select-extended-64", "pgbouncer", 1.0), ("tpcb-64", "pgbouncer", 1.0),
    ("select-prepared-64", "pgbouncer-session", 1.2), ("select-prepared-64", "pgbouncer-new", 0.85),
    ("select-simple-64", "pgpool", 0.33), ("select-extended-64", "pgpool", 0.33), ("select-prepared-64", "pgpool", 0.33),
    ("tpcb-64", "pgpool", 0.33),
)


def of_load(load):
    records = load["records"] if load else []
    for scenario, other, limit in CPU:
        yield Target(f"CPU per transaction against {other}, {scenario}",
                     ratio(records, scenario, "cpu_us", "pgsteer", other), limit)
    for mode in ("simple", "extended"):
        yield Target(f"p99 against pgbouncer, select-{mode}-64",
                     ratio(records, f"select-{mode}-64", "p99", "pgsteer", "pgbouncer"), 1.1)
    yield Target("rate of connect, query, disconnect with SCRAM against pgbouncer",
                 ratio(records, "connect-16", "rate", "pgsteer", "pgbouncer"), 1.0, most=False)


def of_paced(paced):
    records = paced["records"] if paced else []
    for name, share in (("paced", "half"), ("paced-quarter", "a quarter")):
        for clients in (50, 100, 200):
            yield Target(f"p95 at {share} of direct's maximum against direct, {clients} clients",
                         ratio(records, f"{name}-{clients}", "p95", "pgsteer", "direct"), 1.2)


def of_memory(memory):
    memory = memory or {}

    def idle(peer, tls):
        found = [r for r in memory.get("idle", []) if r["peer"] == peer and r["tls"] == tls]
        return max(found, key=lambda r: r["clients"])["per_client"]["query"] if found else None

    plain, tls, other = idle("pgsteer", False), idle("pgsteer", True), idle("pgbouncer", True)
    yield Target("memory of an idle client, plain", plain / 1024 if plain is not None else None, 1.5, unit=" KiB")
    yield Target("memory of an idle client under TLS against pgbouncer", tls / other if tls and other else None, 1.1)
    held = {r["peer"]: r for r in memory.get("held", [])}.get("pgsteer")
    yield Target("p99 beside idle clients against without", held["with"]["p99"] / held["without"]["p99"] if held else None,
                 1.2)
    start = memory.get("start", {}).get("pgsteer")
    yield Target("resident memory at start", start / 2**20 if start else None, 20, unit=" MiB")


def of_classify(found):
    found = found or {}
    yield Target("verdict of a text that is known, up to 500 bytes, median", found.get("hit_us"), 0.3, unit=" us")
    yield Target("verdict of a new text against pg_query_parse_protobuf alone", found.get("miss_ratio"), 1.5)
    for key, title in (("pgbench_hits", "pgbench, simple"), ("orm_hits", "ORM-like texts with literals in them")):
        value = found.get(key)
        yield Target(f"texts known, {title}", None if value is None else value * 100, 99.9, most=False, unit=" %")


def of_syscalls(found):
    simple = (found or {}).get("peers", {}).get("pgsteer", {}).get("simple", {})
    calls = sum(n for name, n in simple.items() if not name.startswith("epoll"))
    yield Target("system calls per transaction, simple, without epoll's", round(calls, 1) if simple else None, 4)


def of_scale(scale):
    scale = scale or {}
    # With fewer cores than two workers, clients and stubs take, their number would be measured and not the router.
    enough = scale.get("cores", 0) >= 4
    yield Target("two workers against one, stub servers" + ("" if enough else " (by CPU time: too few cores here)"),
                 scale.get("two_workers_rate" if enough else "two_workers_cpu"), 1.7, most=False)
    for name in ("clients", "statements", "replicas"):
        points = scale.get(name)
        yield Target(f"CPU per transaction with the most {name} against the cheapest",
                     points[-1]["cpu_us"] / min(p["cpu_us"] for p in points) if points else None, 1.2)
