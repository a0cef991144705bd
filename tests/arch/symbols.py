# SPDX-License-Identifier: ISC
"""No global name of ours is one that libpg_query exports: the dynamic linker would call ours from inside the library.

libpg_query is PostgreSQL's own code and exports its names. Looks at our static libraries and at what the program exports.
"""
import glob
import os
import subprocess

import source

DEFINED = set("ABCDGRSTVW")


def defined(path, *options):
    """{name: the archive's member, or ""} of the global names that a file defines."""
    done = subprocess.run(["nm", "--defined-only", "--extern-only", *options, path], text=True, check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    names, member = {}, ""
    for line in done.stdout.splitlines():
        if line.endswith(":"):
            member = line[:-1]
        elif line:
            *_, kind, name = line.split()
            if kind in DEFINED:
                names[name.split("@")[0]] = member
    return names


def check(root, build, library):
    archives = [path for folder in source.FOLDERS
                for path in glob.glob(os.path.join(build, folder, "**", "*.a"), recursive=True)]
    if not archives:
        return [f"{build}: no static library is there: build first"]
    theirs = set(defined(library, "--dynamic"))
    if "palloc" not in theirs:
        return [f"{library}: does not export palloc: is it libpg_query?"]
    problems = []
    for archive in sorted(archives):
        ours = defined(archive)
        problems += [f"{os.path.relpath(archive, build)}: {ours[name]}: {name} is a name of libpg_query"
                     for name in sorted(theirs & set(ours))]
    program = os.path.join(build, "pgsteer")
    if os.path.exists(program):
        problems += [f"pgsteer: exports {name}, a name of libpg_query"
                     for name in sorted(theirs & set(defined(program, "--dynamic")))]
    return problems
