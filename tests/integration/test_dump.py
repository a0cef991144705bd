# SPDX-License-Identifier: ISC
"""pg_dump and pg_restore through the router, of a database with every kind of object; the copy's dump is the source's.

Everything that is asserted is read straight from the primary; everything that is done is done through the router.
"""
import os
import re
import subprocess

import psycopg
import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
USER, PASSWORD, SOURCE, COPY = "dumper", "dumper-password", "dump_source", "dump_copy"

pytestmark = pytest.mark.direct


def run(endpoint, *argv, dbname, **options):
    """A program of PostgreSQL's, without an error, as the superuser of these tests."""
    done = subprocess.run(argv, env=endpoint.env(dbname=dbname, user=USER, password=PASSWORD), check=False, timeout=100,
                          stderr=subprocess.PIPE, **{"stdout": subprocess.PIPE, **options})
    errors = done.stderr.decode()
    assert done.returncode == 0 and "ERROR" not in errors, f"{argv}: {errors}"
    return done.stdout


def drop(cluster):
    for name in (SOURCE, COPY):
        if cluster.primary.sql("select 1 from pg_database where datname = %s", (name,)):
            cluster.primary.sql("drop subscription if exists never", dbname=name)
            cluster.primary.sql(f"drop database {name} with (force)")


@pytest.fixture(scope="module")
def source(shared_cluster, module_router):
    """The router, and the source made by psql through it."""
    cluster = shared_cluster
    drop(cluster)
    for role in (f"{USER} superuser login password '{PASSWORD}'", "dump_owner", "dump_reader"):
        cluster.primary.sql(f"create role {role}")
    endpoint = module_router(auth={USER: PASSWORD})
    with psycopg.connect(autocommit=True, **endpoint.params(dbname="postgres", user=USER, password=PASSWORD)) as conn:
        conn.execute(f"create database {SOURCE}")
    run(endpoint, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-f", os.path.join(HERE, "every_object.sql"), dbname=SOURCE)
    yield endpoint
    drop(cluster)
    for role in (USER, "dump_owner", "dump_reader"):
        cluster.primary.sql(f"drop role {role}")


@pytest.fixture
def copy(source, cluster):
    """A new, empty database for the copy."""
    with psycopg.connect(autocommit=True, **source.params(dbname="postgres", user=USER, password=PASSWORD)) as conn:
        conn.execute(f"create database {COPY}")
    yield source
    cluster.primary.sql("drop subscription if exists never", dbname=COPY)
    cluster.primary.sql(f"drop database {COPY} with (force)")


def contents(cluster, dbname):
    """What pg_dump says of it on a connection of its own, less the word that differs in each dump."""
    done = subprocess.run(["pg_dump", cluster.primary.dsn(dbname)], check=True, capture_output=True, text=True,
                          timeout=100)
    return re.sub(r"(?m)^\\(un)?restrict .*\n", "", done.stdout)


def same(cluster):
    expected, got = contents(cluster, SOURCE), contents(cluster, COPY)
    assert len(re.findall(r"(?m)^CREATE", expected)) > 55
    assert got.splitlines() == expected.splitlines()


def test_custom_format(copy, cluster, tmp_path):
    """pg_dump -Fc | pg_restore."""
    dump = run(copy, "pg_dump", "-Fc", dbname=SOURCE)
    run(copy, "pg_restore", "-e", "-d", COPY, dbname=COPY, input=dump)
    same(cluster)


def test_plain_into_psql(copy, cluster):
    dump = run(copy, "pg_dump", dbname=SOURCE)
    run(copy, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", dbname=COPY, input=dump)
    same(cluster)


def test_inserts_in_one_transaction(copy, cluster):
    dump = run(copy, "pg_dump", "--column-inserts", "--rows-per-insert=50", "--quote-all-identifiers", dbname=SOURCE)
    run(copy, "psql", "-XqAt", "-1", "-v", "ON_ERROR_STOP=1", dbname=COPY, input=dump)
    same(cluster)


def test_parallel(copy, cluster, tmp_path):
    """Several connections share one snapshot; several restore at once."""
    folder = tmp_path / "dump"
    run(copy, "pg_dump", "-Fd", "-j", "3", "-f", str(folder), dbname=SOURCE)
    run(copy, "pg_restore", "-e", "-j", "3", "-d", COPY, str(folder), dbname=COPY)
    same(cluster)


def test_the_dump_is_the_same(source, cluster):
    """What pg_dump writes through the router is what it writes directly."""
    got = re.sub(r"(?m)^\\(un)?restrict .*\n", "", run(source, "pg_dump", dbname=SOURCE).decode())
    assert got.splitlines() == contents(cluster, SOURCE).splitlines()


def test_globals(source):
    dump = run(source, "pg_dumpall", "--globals-only", "-l", SOURCE, dbname=SOURCE).decode()
    assert "CREATE ROLE dump_owner" in dump and "CREATE ROLE dumper" in dump
