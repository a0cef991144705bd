# SPDX-License-Identifier: ISC
"""What the documentation points to is there: files and headings that it links, paths and functions that it names."""
import glob
import os
import re

import source

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"(?:\./)?((?:base|config|parser|health|router|tests|tools|docs)/[\w./-]*)(?:::\w+)?")
CALL = re.compile(r"([a-z]\w*_\w+)\(\)")


def documents(root):
    return sorted(glob.glob("*.md", root_dir=root) + glob.glob("docs/**/*.md", root_dir=root, recursive=True))


def without_fences(text):
    return re.sub(r"^```.*?^```", lambda m: "\n" * m[0].count("\n"), text, flags=re.M | re.S)


def anchors(text):
    """The names of a page's headings, as GitHub makes them."""
    for heading in re.findall(r"^#+ (.*)$", without_fences(text), re.M):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def check(root):
    words = set()
    for path in source.files(root, (".c", ".h"), source.FOLDERS):
        words.update(re.findall(r"\w+", source.stripped(source.read(root, path))))
    problems = []
    for page in documents(root):
        text = without_fences(source.read(root, page))
        for number, line in enumerate(text.splitlines(), 1):
            where = f"{page}:{number}:"
            problems += [f"{where} {problem}" for link in LINK.findall(line) for problem in check_link(root, page, link)]
            for code in CODE.findall(line):
                problems += [f"{where} {problem}" for problem in check_code(root, words, code)]
    return problems


def check_link(root, page, link):
    if re.match(r"[a-z]+:", link):
        return []
    target, _, anchor = link.partition("#")
    path = os.path.normpath(os.path.join(os.path.dirname(page), target)) if target else page
    if not os.path.exists(os.path.join(root, path)):
        return [f"links {link}, which is not there"]
    if anchor and anchor not in anchors(source.read(root, path)):
        return [f"links {link}, but {path} has no such heading"]
    return []


def check_code(root, words, code):
    found = PATH.match(code.split()[0]) if code.split() else None
    if found and not glob.glob(os.path.join(root, found[1].rstrip("."))):
        yield f"names {found[1]}, which is not there"
    for name in CALL.findall(code):
        if name not in words:
            yield f"names {name}(), which the code does not have"
