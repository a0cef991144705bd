# SPDX-License-Identifier: ISC
"""The servers that all peers stand before: a real primary with two streaming replicas, and pgbench's tables in them."""
import os
import shutil
import subprocess

import pgcluster

from . import BUILD, note, step

# Room for every client of every peer with a connection of its own, and no more checkpoints than there must be.
SETTINGS = """
max_connections = 1500
shared_buffers = 256MB
checkpoint_timeout = 30min
"""
ROWS_OF_1MB = 1000  # of 1,000 bytes each


class Stage:
    """A context manager; `cluster`, `workspace`, and what peers need to know of users."""

    def __init__(self, scale, replicas=2):
        self.scale, self._replicas = scale, replicas

    def __enter__(self):
        step(f"Starting a primary and {self._replicas} replicas, pgbench's tables at scale {self.scale}")
        pgcluster.SETTINGS += SETTINGS
        self.workspace = pgcluster.Workspace("pgsteer-bench-")
        try:
            self.cluster = pgcluster.Cluster(self._replicas, self.workspace).start()
            self._fill()
        except BaseException:
            self.workspace.close()
            raise
        return self

    def __exit__(self, *exc):
        self.cluster.close()
        self.workspace.close()

    def _fill(self):
        for node in self.cluster.replicas:
            node.set("log_statement", "none")  # the cluster of the tests has it on, and it would be measured
        primary = self.cluster.primary
        subprocess.run(["pgbench", "-i", "-q", "-s", str(self.scale), primary.dsn("app", "app")], check=True,
                       capture_output=True, timeout=600)
        with primary.connect("app", "app") as conn:
            conn.execute("create table bench_1mb as select g as id, repeat('x', 996) as pad "
                         f"from generate_series(1, {ROWS_OF_1MB}) g")
            conn.execute("create unlogged table bench_copy (pad text)")
        primary.sql("checkpoint", dbname="app")
        primary.sql("vacuum analyze", dbname="app")
        self.cluster.caught_up(120)
        note(f"folder {self.workspace.folder}")

    def verifiers(self):
        """{user: SCRAM verifier}: with these alone both routers log in clients and log in to servers."""
        return dict(self.cluster.primary.sql("select rolname, rolpassword from pg_authid where rolname in "
                                             "('app', 'other') order by 1"))

    def program(self, name, folder=BUILD):
        """A copy of a built program where the unprivileged account gets to."""
        path = self.workspace.path(os.path.basename(name))
        if not os.path.exists(path):
            shutil.copy2(os.path.join(folder, name), path)
            os.chmod(path, 0o755)
        return path
