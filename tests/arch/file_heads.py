# SPDX-License-Identifier: ISC
"""Every file opens with its licence; a file of C with its own path after it, a test with a word on what it tests."""
import source

HASH = "# SPDX-License-Identifier: ISC"
SLASH = "// SPDX-License-Identifier: ISC"


def check(root):
    problems = []
    for path in source.files(root, (".c", ".h", ".def"), source.FOLDERS + ("tests",)):
        lines = source.read(root, path).split("\n", 4)[:4]
        if lines[0] != SLASH:
            problems.append(f"{path}:1: does not start with \"{SLASH}\"")
        elif path.startswith("tests/"):
            if not any(len(line) > len("// ") and line.startswith("// ") for line in lines[1:3]):
                problems.append(f"{path}:2: does not say what it is")
        elif not any(line.startswith(f"// {path}") for line in lines[1:3]):
            problems.append(f"{path}:2: does not say its path: \"// {path}: ...\"")
    for path in source.files(root, (".py", ".sh"), source.FOLDERS + ("tests", "tools")):
        if HASH not in source.read(root, path).split("\n", 2)[:2]:
            problems.append(f"{path}:1: does not start with \"{HASH}\"")
    return problems
