# SPDX-License-Identifier: ISC
"""Throughput, latency and CPU time per transaction of all peers."""
from . import measure
from .stage import Stage


def run_section(args):
    with Stage(2 if args.quick else args.scale_factor) as stage:
        wanted = [s for s in args.scenarios if s.section == "load"]
        records = measure.run_all(stage, wanted, args.peers, args.rounds, args.seconds, 100 if args.quick else 1000)
    return {"records": records}
