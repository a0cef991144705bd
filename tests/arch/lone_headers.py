# SPDX-License-Identifier: ISC
"""Every header compiles alone, without a warning, and is guarded by a macro that its path names (any, in tests)."""
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import source

FLAGS = ["-std=c11", "-D_GNU_SOURCE", '-DPGSTEER_VERSION="0"', "-Wall", "-Wextra", "-Wundef", "-Wno-unused-function", "-Werror", "-fsyntax-only"]
JOBS = 2


def is_guarded(path, text):
    words = source.stripped(text).split()[:4]
    expected = "PGSTEER_" + re.sub(r"[^A-Z0-9]", "_", path.upper())
    guard = words[1] if len(words) == 4 and path.startswith("tests/") else expected
    return guard.startswith("PGSTEER_") and words == ["#ifndef", guard, "#define", guard]


def check(root, compiler="cc", generated=""):
    headers = source.files(root, (".h",), source.FOLDERS + ("tests",))
    problems = [f"{path}:1: does not start with a guard that its path names"
                for path in headers if not is_guarded(path, source.read(root, path))]
    # One run of the compiler per job; it takes several files and checks each by itself.
    with ThreadPoolExecutor(JOBS) as pool:
        for found in pool.map(lambda part: compile_alone(root, compiler, generated, part),
                              (headers[i::JOBS] for i in range(JOBS))):
            problems += found
    return problems


def compile_alone(root, compiler, generated, headers):
    if not headers:
        return []
    command = [compiler, *FLAGS, "-I", root, *(["-I", generated] if generated else []), "-x", "c", *headers]
    done = subprocess.run(command, cwd=root, text=True, stderr=subprocess.PIPE, env=dict(os.environ, LC_ALL="C"))
    errors = [line for line in done.stderr.splitlines() if re.match(r"\S+:\d+:.*error", line)]
    return errors or ([done.stderr] if done.returncode else [])
