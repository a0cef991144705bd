# SPDX-License-Identifier: ISC
"""No function over 80 lines, no file over 800. Tables in tests do not count."""
import source

FUNCTION_MAX, FILE_MAX = 80, 800


def check(root):
    problems = []
    for path in source.files(root, (".c", ".h"), source.FOLDERS + ("tests",)):
        text = source.read(root, path)
        lines = text.count("\n")
        for kind, first, last in source.blocks(text):
            if kind == "function" and last - first + 1 > FUNCTION_MAX:
                problems.append(f"{path}:{first}: a function of {last - first + 1} lines, {FUNCTION_MAX} at most")
            if kind == "table" and path.startswith("tests/"):
                lines -= last - first + 1
        if lines > FILE_MAX:
            problems.append(f"{path}:1: {lines} lines, {FILE_MAX} at most")
    return problems
