# SPDX-License-Identifier: ISC
"""Drivers of other languages: node-postgres, postgres.js and DBD::Pg, each driven by a script in its own language."""
import os
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.direct

HERE = os.path.dirname(os.path.abspath(__file__))
NODE = os.path.join(HERE, "node")


def run(endpoint, *argv, cwd=None):
    """Runs a script to its end; it fails by its exit code, and says how far it came in its last line."""
    done = subprocess.run(argv, cwd=cwd, text=True, capture_output=True, timeout=150, check=False,
                          env={**endpoint.env(), "PGSSLMODE": "disable"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def endpoint(shared_cluster, module_router):
    """The users of these scripts may take each other's role."""
    shared_cluster.primary.sql("grant other to app")
    shared_cluster.caught_up()
    yield module_router(default_pool_size=20)
    shared_cluster.primary.sql("revoke other from app")


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory):
    """The drivers as npm installs them from the lock file."""
    folder = str(tmp_path_factory.mktemp("node"))
    for name in os.listdir(NODE):
        shutil.copy(os.path.join(NODE, name), folder)
    done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, text=True,
                          capture_output=True, timeout=170, check=False)
    assert done.returncode == 0, f"npm ci failed:\n{done.stdout}\n{done.stderr}"
    return folder


def test_node_postgres(endpoint, table, node_folder):
    assert run(endpoint, "node", "drivers.mjs", table(), cwd=node_folder) == "ok"


@pytest.mark.parametrize("script", ["session.mjs", "postgres.mjs"])
def test_node(endpoint, node_folder, script):
    assert run(endpoint, "node", script, cwd=node_folder).endswith(" 0 failed")


def test_dbd_pg(endpoint):
    assert run(endpoint, "perl", os.path.join(HERE, "perl", "session.pl")).endswith(" 0 failed")
