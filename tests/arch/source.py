# SPDX-License-Identifier: ISC
"""What the gates know of the source tree: which files there are, and a C file without its comments and strings.

Not a parser of C: the code is formatted by clang-format, so a few rules about columns and braces are enough.
"""
import os
import re

FOLDERS = ("base", "config", "parser", "health", "router")


def files(root, suffixes, folders):
    """Paths from the root, sorted, of the files with one of these suffixes."""
    found = []
    for folder in folders:
        for where, dirs, names in os.walk(os.path.join(root, folder)):
            dirs[:] = [d for d in dirs if not d.startswith((".", "__")) and d not in ("node_modules", "build")]
            found += [os.path.relpath(os.path.join(where, n), root) for n in names if n.endswith(suffixes)]
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as f:
        return f.read()


_TOKENS = re.compile(r"""//[^\n]*(?:\\\n[^\n]*)*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)


def stripped(text):
    """The text with comments gone and strings and characters emptied; lines stay where they are."""
    def blank(match):
        token = match[0]
        if token[0] == "/":
            return " " + "\n" * token.count("\n")
        return token[0] * 2
    return _TOKENS.sub(blank, text)


_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)


def blocks(text):
    """(kind, first line, last line, depth) of each brace block; kind is "function", "table" (what stands behind an equals
    sign) or "other". Depth 0 is file scope. A definition starts on the line after the end of the one before it."""
    text = _DIRECTIVE.sub(lambda m: "\n" * m[0].count("\n"), stripped(text))
    opened, head, start = [], "", 1  # open blocks, and what stands before the next
    line = 1
    for char in text:
        if char == "{":
            opened.append((kind_of(head, len(opened)), start if head else line))
            head = ""
        elif char == "}":
            if opened:
                kind, first = opened.pop()
                yield kind, first, line, len(opened)
            head = ""
        elif char == ";":
            head = ""
        elif head or not char.isspace():
            start = start if head else line
            head += char
        line += char == "\n"


def kind_of(head, depth):
    head = head.rstrip()
    if head.endswith("="):
        return "table"
    return "function" if depth == 0 and head.endswith(")") else "other"


def includes(text):
    """(line, "<" or '"', name) of each include."""
    for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', text, re.M):
        yield text.count("\n", 0, match.start()) + 1, match[1], match[2]
