# SPDX-License-Identifier: ISC
"""No call of a function that writes without a bound or takes its memory from the stack."""
import re

import source

BANNED = re.compile(r"\b(strcpy|stpcpy|strcat|sprintf|vsprintf|gets|alloca)\s*\(")


def check(root):
    problems = []
    for path in source.files(root, (".c", ".h", ".def"), source.FOLDERS + ("tests",)):
        text = source.stripped(source.read(root, path))
        for match in BANNED.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            problems.append(f"{path}:{line}: calls {match[1]}")
    return problems
