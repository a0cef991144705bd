#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""gate.py NAME ROOT [ARGUMENT...]: runs one gate over the source tree; prints what is wrong and fails if anything is.

A gate is a module beside this one with a function check(root, *arguments) that answers a list of problems, each a line
that starts with the place.
"""
import importlib
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


def main():
    name, root, *arguments = sys.argv[1:]
    problems = importlib.import_module(name).check(root, *arguments)
    for problem in problems:
        print(problem)
    if problems:
        print(f"\n{name}: {len(problems)} problems; docs/style.md has the rules")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
