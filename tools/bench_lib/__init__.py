# SPDX-License-Identifier: ISC
"""What tools/bench is made of: peers to start, loads to run, figures to write down. docs/benchmarks.md tells how."""
import os

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build", "release")


def step(text):
    print(f"\n\033[1m==> {text}\033[0m", flush=True)


def note(text):
    print(text, flush=True)
