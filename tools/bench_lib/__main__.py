# SPDX-License-Identifier: ISC
"""The command line of tools/bench."""
import argparse
import json
import os
import resource
import sys
import time

from . import ROOT, note, peers, report, scenarios
from .machine import facts


def arguments():
    parser = argparse.ArgumentParser(prog="tools/bench", description="Measures pgsteer beside its peers.")
    parser.add_argument("--quick", action="store_true", help="the main figures, in less than three minutes")
    for section in report.SECTIONS:
        parser.add_argument(f"--{section}", dest="sections", action="append_const", const=section,
                            help="only this section; several may be named")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the page from what is in the folder")
    parser.add_argument("--peers", help=f"of {','.join(peers.KINDS)}")
    parser.add_argument("--scenarios", help="names with commas between; select-simple-* is all that begin so")
    parser.add_argument("--rounds", type=int, help="rounds of each scenario (5; 2 when quick)")
    parser.add_argument("--seconds", type=float, help="seconds of each measurement (5; 0.8 when quick)")
    parser.add_argument("--scale-factor", type=int, default=20, help="pgbench's scale")
    parser.add_argument("--output", help="folder for results (docs/benchmarks; build/benchmarks unless everything is run)")
    parser.add_argument("--list", action="store_true", help="the scenarios and peers there are")
    return parser.parse_args()


def settle(args):
    """Fills in what was not said."""
    complete = not (args.quick or args.sections or args.report or args.peers or args.scenarios)
    args.output = os.path.abspath(args.output or os.path.join(ROOT, "docs" if complete else "build", "benchmarks"))
    args.rounds = args.rounds or (2 if args.quick else 5)
    args.seconds = args.seconds or (0.8 if args.quick else 5.0)
    args.peers = args.peers.split(",") if args.peers else peers.available()
    unknown = set(args.peers) - set(peers.KINDS)
    if unknown:
        raise SystemExit(f"tools/bench: no peer {', '.join(unknown)}: there are {', '.join(peers.KINDS)}")
    chosen = args.scenarios.split(",") if args.scenarios else scenarios.QUICK if args.quick else None
    args.scenarios = scenarios.named(chosen) if chosen else scenarios.ALL
    needed = {s.section for s in args.scenarios}
    args.sections = [] if args.report else args.sections or [s for s in report.SECTIONS if not chosen or s in needed]
    return args


def save(args, section, results):
    os.makedirs(args.output, exist_ok=True)
    path = os.path.join(args.output, section + ".json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(results, f, indent=1)
        f.write("\n")
    note(f"written: {os.path.relpath(path, os.getcwd())}")


def run_section(args, section):
    module = __import__(f"bench_lib.section_{section}", fromlist=["run_section"])
    meta = facts()
    meta["quick"], meta["rounds"], meta["seconds"] = args.quick, args.rounds, args.seconds
    save(args, section, {"meta": meta, **module.run_section(args)})


def allow_files():
    """As many open files as we may have, for us and what we start: 10,000 clients need as many at either end."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main():
    args = arguments()
    if args.list:
        for scenario in scenarios.ALL:
            note(f"{scenario.name:22} {scenario.title} ({', '.join(scenario.peers)})")
        return 0
    args, began = settle(args), time.monotonic()
    allow_files()
    for section in args.sections:
        run_section(args, section)
    report.write(args.output)
    note(f"took {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
