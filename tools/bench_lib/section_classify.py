# SPDX-License-Identifier: ISC
"""What a verdict costs: tools/bench-classify, as part of the results."""
import json
import subprocess

from . import ROOT, note, step


def run_section(_):
    step("Classification")
    done = subprocess.run(["tools/bench-classify", "--json"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    for name, value in found.items():
        note(f"{name:18} {value:.5g}")
    return found
