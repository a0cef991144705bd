# SPDX-License-Identifier: ISC
"""Includes point one way: a file includes only files of its own rank or below, by their whole path, and headers make no
circle."""
import os

import source

# The beginning of a path and its rank; the first that fits counts.
RANKS = (
    ("base/", 0),
    ("config/", 1), ("parser/", 1),
    ("health/", 2),
    ("router/stats.", 3), ("router/wire/", 3), ("router/net/", 3), ("router/auth/", 3),
    ("router/session/", 4),
    ("router/worker.", 5),
    ("router/admin/", 6),
    ("router/runtime.", 7), ("router/process.", 7), ("router/versions.", 7),
    ("router/main.c", 8),
)


def rank(path):
    return next((r for start, r in RANKS if path.startswith(start)), None)


def check(root):
    problems, graph = [], {}
    for path in source.files(root, (".c", ".h"), source.FOLDERS + ("tests",)):
        is_test = path.startswith("tests/")
        mine = None if is_test else rank(path)
        if mine is None and not is_test:
            problems.append(f"{path}:1: has no rank: give it one in tests/arch/include_order.py")
            continue
        for line, kind, name in source.includes(source.read(root, path)):
            if kind == '"':
                problems += check_one(root, path, mine, line, name)
                graph.setdefault(path, []).append(name)
    return problems + circles(graph)


def check_one(root, path, mine, line, name):
    where = f"{path}:{line}: includes {name}"
    if not os.path.exists(os.path.join(root, name)):
        return [f"{where}: not a path from the root of the project"]
    if mine is None:
        return []
    its = rank(name)
    if its is None:
        return [f"{where}: which has no rank"]
    return [f"{where}: rank {its} from rank {mine}"] if its > mine else []


def circles(graph):
    """One problem per header that includes itself by way of others."""
    problems, done = [], set()

    def visit(path, trail):
        if path in trail:
            problems.append(f"{path}:1: includes itself: {' -> '.join(trail[trail.index(path):] + [path])}")
        elif path not in done:
            for name in graph.get(path, []):
                visit(name, trail + [path])
            done.add(path)

    for path in sorted(graph):
        visit(path, [])
    return problems
