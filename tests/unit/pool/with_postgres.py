# SPDX-License-Identifier: ISC
"""Runs a program beside a real PostgreSQL: with_postgres.py PROGRAM [ARGUMENT...].

The server is tools/pgcluster.py's primary, with two users more. The program finds in its environment where it is:
PGSTEER_TEST_PORT (on 127.0.0.1), _SOCKETS (the folder of its Unix socket), _CA (its authority's certificate) and
_VERIFIER (what it keeps of the password of `app`).
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "tools"))
from pgcluster import Cluster  # noqa: E402


def main():
    with Cluster(replicas=0) as cluster:
        node = cluster.primary
        node.sql("create role boss login superuser password 'boss-password'")
        node.sql("create role limited login password 'limited-password' connection limit 1")
        verifier = node.value("select rolpassword from pg_authid where rolname = 'app'")
        found = {"PORT": str(node.port), "SOCKETS": cluster.sockets, "CA": cluster.tls.cert, "VERIFIER": verifier}
        env = {**os.environ, **{f"PGSTEER_TEST_{name}": value for name, value in found.items()}}
        return subprocess.run(sys.argv[1:], env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
