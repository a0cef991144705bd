# SPDX-License-Identifier: ISC
"""One door per library: tests/arch/facades.txt says which files may include what."""
import fnmatch
import os

import source

LIST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "facades.txt")


def load(path):
    """({beginning of a header's name: patterns of files}, headers of the system)."""
    libraries, system, in_system = {}, set(), False
    with open(path, encoding="utf-8") as f:
        for line in f:
            line = line.split("#")[0].strip()
            if line == "[system]":
                in_system = True
            elif in_system:
                system.update(line.split())
            elif line:
                header, _, allowed = line.partition(":")
                libraries[header] = allowed.split()
    return libraries, system


def check(root, path=LIST):
    libraries, system = load(path)
    problems = [f"{path}: {file} is not there" for allowed in libraries.values() for file in allowed
                if "*" not in file and not os.path.exists(os.path.join(root, file))]
    for file in source.files(root, (".c", ".h"), source.FOLDERS):
        for line, kind, name in source.includes(source.read(root, file)):
            if kind == "<" and name not in system:
                problems += check_one(libraries, file, line, name)
    return problems


def check_one(libraries, file, line, name):
    allowed = next((files for start, files in libraries.items() if name.startswith(start)), None)
    if allowed is None:
        return [f"{file}:{line}: <{name}> belongs to no library of tests/arch/facades.txt"]
    if any(fnmatch.fnmatch(file, pattern) for pattern in allowed):
        return []
    return [f"{file}:{line}: <{name}> may only be included by {', '.join(allowed)}"]
