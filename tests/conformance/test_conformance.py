# SPDX-License-Identifier: ISC
"""Every file of sql/ prints through the router what it prints directly, byte for byte.

psql runs a file (as pg_regress would: every line echoed, errors in their place) against the primary and through a
router with two replicas, in transaction and in session mode. There are no files of expected output: PostgreSQL itself
says what is right. A file must print the same in every run: no oid, process id, time or folder. Errors come with their
SQLSTATE and the line of PostgreSQL's source that raised them, so that one of the router's own would be seen.

The same files then go through the extended protocol, statement by statement: see extended.py.
"""
import functools
import glob
import os
import re
import subprocess

import pytest

import extended

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = sorted(os.path.basename(p).removesuffix(".sql") for p in glob.glob(os.path.join(HERE, "sql", "*.sql")))
EXTENDED = [name for name in FILES if extended.possible(os.path.join(HERE, "sql", name + ".sql"))]


@functools.cache
def text_of(name):
    with open(os.path.join(HERE, "sql", name + ".sql"), encoding="utf-8") as f:
        return f.read()


def psql(name, way):
    """What psql prints of a file."""
    env = {k: v for k, v in way.env().items() if not k.startswith("LC_")}
    done = subprocess.run(["psql", "-X", "-a", "-q", "-v", "VERBOSITY=verbose"], input=text_of(name).encode(),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False,
                          env={**env, "LC_ALL": "C.UTF-8", "PSQL_PAGER": "", "PGAPPNAME": "conformance"})
    # The sender of a notification is the one thing that no two runs have alike.
    text = re.sub(r"(?<=server process with PID )\d+", "?", done.stdout.decode(errors="backslashreplace"))
    return f"{text}exit code {done.returncode}\n"


def messages(name, way):
    """What the extended protocol's runner prints of a file."""
    return extended.run(name, text_of(name), way)


@pytest.fixture(scope="module")
def directly(ways, clean):
    """directly(run, name): what `run` prints of the file without a router, found once."""
    @functools.cache
    def find(run, name):
        clean()
        return run(name, ways["direct"])
    yield find
    clean()


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("name", FILES)
def test_psql(ways, clean, known, directly, name, mode):
    expected = directly(psql, name)
    clean()
    known.judge(name, mode, expected, psql(name, ways[mode]))


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("name", EXTENDED)
def test_extended(ways, clean, known, directly, name, mode):
    expected = directly(messages, name)
    clean()
    known.judge(name, f"extended-{mode}", expected, messages(name, ways[mode]))


def test_repeatable(ways, clean, directly, full):
    """Files print the same twice: what differs by itself says nothing of the router."""
    if not full:
        pytest.skip("of use when files are added: --full")
    differ = []
    for name in FILES:
        expected = directly(psql, name)
        clean()
        if psql(name, ways["direct"]) != expected:
            differ.append(name)
    assert not differ


def test_every_command(ways):
    """Each command of PostgreSQL's reference begins a statement of some file."""
    listed = subprocess.run(["psql", "-X", "-c", "\\h"], env=ways["direct"].env(), text=True, stdout=subprocess.PIPE,
                            timeout=60, check=True).stdout
    names = re.split(r"\n| {2,}|(?<=CONFIGURATION) ", listed.partition("\n")[2])
    commands = {name.strip() for name in names if name.strip()}
    texts = "\n".join(text_of(name) for name in FILES).lower()
    assert len(commands) > 150
    missing = [c for c in sorted(commands) if not re.search(r"\b" + c.lower().replace(" ", r"\b.*?\b") + r"\b", texts)]
    assert not missing


def test_known_differences_exist(known):
    specs = {os.path.basename(p) for p in glob.glob(os.path.join(HERE, "isolation", "*.spec"))}
    assert known.tests() <= set(FILES) | specs, "known_differences.txt names a test that is not there"
