# SPDX-License-Identifier: ISC
"""Concurrent sessions do through the router what they do directly: the specifications of isolation/.

Each runs by specs.py directly and through the router, in transaction and in session mode, and prints the same. Two
things keep specs.py honest: PostgreSQL's isolationtester runs each spec directly, too, and must see the same steps wait,
succeed and fail; and where no step waits, it runs through the router as well and prints the same text.
"""
import functools
import glob
import os
import subprocess

import pytest

import specs

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = sorted(os.path.basename(p) for p in glob.glob(os.path.join(HERE, "isolation", "*.spec")))
TESTER = "/usr/lib/postgresql/15/lib/pgxs/src/test/isolation/isolationtester"
DATABASE = "conf"


@functools.cache
def text_of(name):
    with open(os.path.join(HERE, "isolation", name), encoding="utf-8") as f:
        return f.read()


@pytest.fixture(scope="module")
def run(ways, clean, database):
    def by_way(name, way):
        clean()
        return specs.Runner(specs.parse(text_of(name)), ways[way], database, DATABASE).run()
    yield by_way
    clean()


@pytest.fixture(scope="module")
def directly(run):
    return functools.cache(lambda name: run(name, "direct"))


@pytest.fixture(scope="module")
def tester(ways, clean):
    """tester(name, way): what isolationtester prints."""
    @functools.cache
    def by_way(name, way):
        clean()
        conninfo = " ".join(f"{k}={v}" for k, v in ways[way].params().items())
        done = subprocess.run([TESTER, conninfo], input=text_of(name), text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60, check=False,
                              env={**os.environ, "PGISOLATIONTIMEOUT": "15"})
        assert done.returncode == 0, done.stdout
        return done.stdout
    return by_way


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("name", FILES)
def test_spec(run, directly, known, name, mode):
    expected = directly(name)
    known.judge(name, mode, expected, run(name, mode))


def skeleton(text):
    """The lines that say which step did what, without the rows."""
    return specs.ordered([line for line in text.splitlines() if line.startswith(("step ", "starting ", "ERROR"))])


@pytest.mark.parametrize("name", FILES)
def test_as_isolationtester(directly, tester, name):
    assert skeleton(tester(name, "direct")) == skeleton(directly(name))


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("name", [n for n in FILES if "# nobody waits" in text_of(n)])
def test_isolationtester(tester, name, mode):
    assert tester(name, mode) == tester(name, "direct")
