# SPDX-License-Identifier: ISC
"""What the conformance tests share: one database, three ways to it, and a clean start for every run.

    ways        {"direct": the primary, "transaction": a router in that mode, "session": one in that}
    clean       clean(): empties the database, and takes its settings and the roles named regress_* away
    known       known(test, way): why the two are known to differ, or None

All runs use the same database and user, one after the other, so that no name in their output differs. The pools are
small: a run gets the server connections that earlier ones have used, and would show what they left behind.
"""
import os
import sys

import psycopg
import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from known import Known  # noqa: E402

DATABASE = USER = "conf"
PASSWORD = "conf-password"


class Way:
    """An endpoint with the suite's database and user as what one connects to."""

    def __init__(self, name, endpoint):
        self.name = name
        self.endpoint = endpoint
        self.host, self.port = endpoint.host, endpoint.port

    def params(self, **more):
        return self.endpoint.params(dbname=DATABASE, user=USER, password=PASSWORD, **more)

    def env(self):
        return self.endpoint.env(dbname=DATABASE, user=USER, password=PASSWORD)

    def login(self, frontend, **parameters):
        return frontend.login(USER, DATABASE, PASSWORD, **parameters)


def pytest_terminal_summary(terminalreporter, config):
    terminalreporter.write_line(f"random sequences of messages: --seed {config.option.seed} --sequences {config.option.sequences}")


@pytest.fixture(scope="session")
def database(shared_cluster):
    """The suite's own database and its user, who may do everything."""
    node = shared_cluster.primary
    if not node.sql("select 1 from pg_roles where rolname = %s", (USER,)):
        node.sql(f"create role {USER} superuser login password '{PASSWORD}'")
        node.sql(f"create database {DATABASE} owner {USER}")
    shared_cluster.caught_up()
    return shared_cluster


@pytest.fixture(scope="module")
def ways(database, module_router):
    from harness.router import Direct
    found = {"direct": Way("direct", Direct(database))}
    for mode in ("transaction", "session"):
        endpoint = module_router(auth={USER: PASSWORD}, pool_mode=mode, default_pool_size=4, workers=1,
                                 consistency="global")
        found[mode] = Way(mode, endpoint)
        with psycopg.connect(**found[mode].params()) as conn:  # the router reads the catalog when a client has come
            conn.execute("select 1")
    return found


CLEAN = """
do $$
declare r record;
begin
    for r in select rolname from pg_roles where rolname ~ '^regress_' loop
        execute format('drop owned by %I cascade', r.rolname);
    end loop;
    drop owned by conf cascade;
    for r in select rolname from pg_roles where rolname ~ '^regress_' loop
        execute format('drop role %I', r.rolname);
    end loop;
    for r in select nspname from pg_namespace where nspname !~ '^pg_' and
                    nspname not in ('information_schema', 'public') loop
        execute format('drop schema %I cascade', r.nspname);
    end loop;
    if to_regnamespace('public') is null then
        create schema public authorization pg_database_owner;
        grant usage on schema public to public;
    end if;
end $$;
alter role conf reset all;
alter database conf reset all;
"""


@pytest.fixture(scope="session")
def clean(database):
    """clean(): drops what a run has left. Replicas have it, too, when it returns."""
    def empty():
        with database.primary.connect(DATABASE) as conn:
            for gid, in conn.execute("select gid from pg_prepared_xacts where database = 'conf'").fetchall():
                conn.execute(f"rollback prepared '{gid}'")
            conn.execute("set client_min_messages = error")
            conn.execute(CLEAN)
        database.caught_up()
    return empty


@pytest.fixture(scope="session")
def known():
    return Known(os.path.join(HERE, "known_differences.txt"))
