# SPDX-License-Identifier: ISC
"""No function over 80 lines, no file over 800. Tables in tests do not count."""
import source

FUNCTION_MAX, FILE_MAX = 80, 800


def check(root):
    problems = []
    for path in source.files(root, (".c", ".h"), source.FOLDERS + ("tests",)):
        text = source.read(root, path)
        blocks = list(source.blocks(text))
        tables = [(first, last) for kind, first, last, _ in blocks if kind == "table" and path.startswith("tests/")]
        for kind, first, last, _ in blocks:
            lines = last - first + 1 - within(tables, first, last)
            if kind == "function" and lines > FUNCTION_MAX:
                problems.append(f"{path}:{first}: a function of {lines} lines, {FUNCTION_MAX} at most")
        lines = text.count("\n")
        lines -= within(tables, 1, lines)
        if lines > FILE_MAX:
            problems.append(f"{path}:1: {lines} lines, {FILE_MAX} at most")
    return problems


def within(tables, first, last):
    """How many lines between these two belong to tables."""
    return len({line for start, end in tables if first <= start and end <= last for line in range(start, end + 1)})
