# SPDX-License-Identifier: ISC
"""Latency at a fixed rate, below what the machine can do, and how much of the machine is left over at that."""
from . import measure
from .report import in_ms, in_us, tables
from .stage import Stage


def run_section(args):
    with Stage(2 if args.quick else args.scale_factor) as stage:
        direct_max = measure.calibrate(stage, args.seconds)
        wanted = [s for s in args.scenarios if s.section == "paced"]
        records = measure.run_all(stage, wanted, args.peers, args.rounds, args.seconds, 0, direct_max)
    return {"direct_max": direct_max, "records": records}


# --- the page -------------------------------------------------------------------------------------------------------

METRICS = (
    # key, heading, how a value is written
    ("p50", "Latency p50 at a fixed rate, in milliseconds", in_ms),
    ("p95", "Latency p95 at a fixed rate, in milliseconds", in_ms),
    ("p99", "Latency p99 at a fixed rate, in milliseconds", in_ms),
    ("cpu_us", "CPU of the router per transaction at a fixed rate, in microseconds", in_us),
    ("machine_idle", "Share of the machine's CPU time that nobody needed", lambda v: f"{v:.0%}"),
)


def text(results, _):
    return ["## A fixed rate", "",
            f"Direct connections do {results['direct_max']:,.0f} transactions per second at most, with the whole machine.",
            "", *tables(results["records"], METRICS)]
