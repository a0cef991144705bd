# SPDX-License-Identifier: ISC
"""TLS on both sides, with libpq's sslmode words; certificates are made for each run."""
import asyncio
import os
import ssl
import struct
import threading

import asyncpg
import psycopg
import pytest

import frontend as fe
import pki
from harness.load import ports, run_clients
from harness.router import ports_to, run_cli
from pgcluster import wait_until


@pytest.fixture(scope="session")
def ca(workspace):
    """An authority with a certificate for the router and one for the user `app`."""
    authority = pki.Authority(workspace.path("tls"))
    authority.router = authority.issue("router")
    authority.client = authority.issue("app", names=(), addresses=())
    authority.give_to(workspace.account)
    os.chmod(workspace.path("tls"), 0o755)
    return authority


@pytest.fixture(scope="session")
def client_key(ca):
    """The user's key, as a file of our own: libpq refuses somebody else's."""
    path = ca.client[1] + ".ours"
    with open(ca.client[1], "rb") as source, open(path, "wb") as copy:
        copy.write(source.read())
    os.chmod(path, 0o600)
    return path


@pytest.fixture
def tls_router(router, ca):
    def make(mode, **options):
        cert, key = ca.router
        return router(client_tls_sslmode=mode, client_tls_cert_file=cert, client_tls_key_file=key,
                      client_tls_ca_file=ca.cert, **options)
    return make


def in_use(conn):
    return conn.pgconn.ssl_in_use


def test_offered(tls_router, ca):
    """allow and prefer: as the client likes."""
    endpoint = tls_router("prefer")
    with endpoint.connect(sslmode="disable") as conn:
        assert not in_use(conn)
    for mode in ("prefer", "require"):
        with endpoint.connect(sslmode=mode) as conn:
            assert in_use(conn)
    for mode in ("verify-ca", "verify-full"):
        with endpoint.connect(sslmode=mode, sslrootcert=ca.cert, host="localhost") as conn:
            assert in_use(conn) and conn.execute("select 1").fetchone() == (1,)


def test_wrong_authority(tls_router, cluster):
    """The client's own check works: the router shows the certificate that it was given."""
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        tls_router("prefer").connect(sslmode="verify-full", sslrootcert=cluster.tls.cert, host="localhost")


def test_not_offered(router):
    endpoint = router()
    with endpoint.connect(sslmode="prefer") as conn:
        assert not in_use(conn)
    with pytest.raises(psycopg.OperationalError, match="server does not support SSL"):
        endpoint.connect(sslmode="require")


def test_required(tls_router):
    endpoint = tls_router("require")
    with endpoint.connect(sslmode="require") as conn:
        assert in_use(conn)
    with pytest.raises(psycopg.OperationalError):
        endpoint.connect(sslmode="disable")
    with endpoint.connect(sslmode="disable", host=endpoint.socket_dir) as conn:  # no wire to tap
        assert conn.execute("select 1").fetchone() == (1,)


def test_client_certificate(tls_router, ca, client_key, cluster):
    """verify-ca: only with a certificate of the authority."""
    endpoint = tls_router("verify-ca")
    with endpoint.connect(sslmode="require", sslcert=ca.client[0], sslkey=client_key) as conn:
        assert conn.execute("select 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        endpoint.connect(sslmode="require", sslcert="/nonexistent", sslkey="/nonexistent").execute("select 1")


def test_drivers(tls_router, ca):
    endpoint = tls_router("require")

    async def run():
        context = ssl.create_default_context(cafile=ca.cert)
        conn = await asyncpg.connect(**{**endpoint.asyncpg_params(), "ssl": context, "host": "localhost"})
        assert await conn.fetchval("select $1::int", 7) == 7
        await conn.close()
    asyncio.run(run())


def test_much_over_tls(tls_router, table):
    """Large rows both ways, many clients, cancel: as without."""
    endpoint = tls_router("require", server_tls_sslmode="require", default_pool_size=3)

    def work(index):
        with endpoint.connect(sslmode="require") as conn:
            for n in range(10):
                size = 10 ** (n % 7) + index
                assert conn.execute("select %s", ("z" * size,)).fetchone()[0] == "z" * size
                assert len(conn.execute("select repeat('x', %s)", (size,)).fetchone()[0]) == size
    run_clients(6, work)
    with endpoint.connect(sslmode="require") as conn:
        threading.Timer(0.3, conn.cancel).start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            conn.execute("select pg_sleep(60)")


def test_bytes_after_ssl_request(tls_router):
    """What was sent in the clear behind the SSLRequest is never taken for something that came encrypted."""
    endpoint = tls_router("prefer")
    with fe.Frontend(endpoint) as conn:
        conn.send(fe.special(fe.SSL_REQUEST) + fe.startup(user="app", database="app"))
        try:
            assert conn.byte() in (b"S", b"E")
            with pytest.raises((fe.Closed, ssl.SSLError, OSError)):
                conn.socket = ssl._create_unverified_context().wrap_socket(conn.socket)
                conn.authenticate("app", "app-password")
        except fe.Closed:
            pass


def test_half_a_handshake(tls_router):
    """Junk instead of a ClientHello, and a client that leaves after 'S'."""
    endpoint = tls_router("prefer")
    for data in (b"\x16\x03\x01" + struct.pack("!H", 0x4000) + b"junk" * 100, b"GET / HTTP/1.0\r\n\r\n", b"\x16", b""):
        with fe.Frontend(endpoint) as conn:
            conn.send(fe.special(fe.SSL_REQUEST))
            assert conn.byte() == b"S"
            conn.try_send(data)
    with endpoint.connect(sslmode="require") as conn:
        assert conn.execute("select 1").fetchone() == (1,)
    wait_until(lambda: endpoint.metric("pgsteer_clients") == 0, 5, "the others to be gone")


# --- to the servers -------------------------------------------------------------------------------------------------

def encrypted(endpoint, cluster):
    """Whether the router's server connections are encrypted, as the servers see it."""
    with endpoint.connect() as conn:
        ports(conn, 4)
        conn.execute("select txid_current()")
    found = set()
    for node in cluster.nodes:
        found |= {row[0] for row in node.sql(
            "select ssl from pg_stat_ssl join pg_stat_activity using (pid) where client_port = any(%s)",
            (ports_to(endpoint.server_sockets(), node),))}
    return found


@pytest.mark.parametrize("mode, expected", [("disable", False), ("allow", False), ("prefer", True), ("require", True),
                                            ("verify-ca", True), ("verify-full", True)])
def test_to_servers(router, cluster, mode, expected):
    endpoint = router(server_tls_sslmode=mode, server_tls_ca_file=cluster.tls.cert)
    assert encrypted(endpoint, cluster) == {expected}


def test_server_of_another_authority(router, ca):
    """verify-ca against the wrong authority: no login happens, and the reason is told."""
    endpoint = router(wait=False, server_tls_sslmode="verify-ca", server_tls_ca_file=ca.cert, query_wait_timeout="3s")
    endpoint.wait_log("(?i)certificate")
    with pytest.raises(psycopg.OperationalError):
        with endpoint.connect() as conn:
            conn.execute("select 1")


def test_server_name_that_does_not_match(router, cluster):
    """verify-full checks the name; verify-ca does not."""
    authority_cert = cluster.tls.cert
    cert, key = cluster.tls.issue("elsewhere", names=("elsewhere.example",), addresses=())
    cluster.tls.give_to(cluster.workspace.account)
    try:
        for node in cluster.nodes:
            node.set("ssl_cert_file", cert)
            node.set("ssl_key_file", key)
        assert encrypted(router(server_tls_sslmode="verify-ca", server_tls_ca_file=authority_cert), cluster) == {True}
        endpoint = router(wait=False, server_tls_sslmode="verify-full", server_tls_ca_file=authority_cert,
                          query_wait_timeout="3s")
        endpoint.wait_log("(?i)certificate|does not match|mismatch|name")
        with pytest.raises(psycopg.OperationalError):
            with endpoint.connect() as conn:
                conn.execute("select 1")
    finally:
        for node in cluster.nodes:
            node.set("ssl_cert_file", cluster.path("tls", "server.crt"))
            node.set("ssl_key_file", cluster.path("tls", "server.key"))


def test_server_without_tls(router, new_cluster):
    """prefer does without, require refuses."""
    cluster = new_cluster(1)
    for node in cluster.nodes:
        node.set("ssl", "off")
    assert encrypted(router(cluster=cluster, server_tls_sslmode="prefer"), cluster) == {False}
    endpoint = router(cluster=cluster, wait=False, server_tls_sslmode="require", query_wait_timeout="3s")
    with pytest.raises(psycopg.OperationalError):
        with endpoint.connect() as conn:
            conn.execute("select 1")


def test_bad_certificate_files(router, ca, workspace):
    """Refused at start, with the file named."""
    bad = os.path.join(ca.folder, "bad.crt")
    with open(bad, "w", encoding="ascii") as f:
        f.write("not a certificate\n")
    for options in ({"client_tls_cert_file": bad, "client_tls_key_file": ca.router[1]},
                    {"client_tls_cert_file": "/nonexistent.crt", "client_tls_key_file": ca.router[1]},
                    {"client_tls_cert_file": ca.router[0], "client_tls_key_file": ca.client[1]}):
        endpoint = router(start=False, client_tls_sslmode="require", **options)
        checked, _, err = run_cli("--check", "--config", endpoint.config_path, as_user=workspace.account)
        code, log = endpoint.start_refused()
        for status, text in ((code, log), (checked, err)):
            assert status == 1 and ("bad.crt" in text or "nonexistent" in text or "key" in text)


def test_key_of_our_own_that_a_group_may_read(router, ca, workspace):
    """PostgreSQL's rule: 0640 is for root's keys alone. --check says so, and root checks as the account that will run."""
    shared = os.path.join(ca.folder, "shared.key")
    with open(ca.router[1], "rb") as source, open(shared, "wb") as copy:
        copy.write(source.read())
    os.chown(shared, workspace.account.pw_uid, workspace.account.pw_gid)
    endpoint = router(start=False, client_tls_sslmode="require", client_tls_cert_file=ca.router[0],
                      client_tls_key_file=shared)
    for mode, expected in ((0o600, 0), (0o640, 1)):
        os.chmod(shared, mode)
        for who, more in ((workspace.account, ()), (None, ("--set", f"user={workspace.account.pw_name}"))):
            code, out, err = run_cli("--check", "--config", endpoint.config_path, *more, as_user=who)
            assert code == expected, (out, err)
            assert expected == 0 or "shared.key" in err
