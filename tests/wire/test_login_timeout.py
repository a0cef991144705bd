# SPDX-License-Identifier: ISC
"""Connections that never log in are ended after client_login_timeout, however they pass the time."""
import time

import pytest

import frontend as fe

GOOD = fe.startup(user="app", database="app")


def ended(conn, start):
    conn.drain()
    return time.monotonic() - start


@pytest.mark.parametrize("said", [b"", GOOD[:3], GOOD[:20], fe.special(fe.SSL_REQUEST), fe.special(fe.SSL_REQUEST)[:5]],
                         ids=["nothing", "3 bytes", "20 bytes", "SSLRequest", "half an SSLRequest"])
def test_silent(router, said):
    endpoint = router(client_login_timeout="1s")
    with fe.Frontend(endpoint) as conn:
        start = time.monotonic()
        conn.send(said)
        if said == fe.special(fe.SSL_REQUEST):
            assert conn.byte() == b"N"
        assert 0.8 < ended(conn, start) < 4


def test_drip(router):
    """One byte now and then does not prolong it."""
    endpoint = router(client_login_timeout="1s")
    with fe.Frontend(endpoint) as conn:
        start = time.monotonic()
        for byte in GOOD:
            conn.try_send(bytes([byte]))
            time.sleep(0.2)
            if time.monotonic() - start > 3:
                break
        assert ended(conn, start) < 5


def test_silent_in_authentication(router):
    endpoint = router(client_login_timeout="1s")
    with fe.Frontend(endpoint) as conn:
        start = time.monotonic()
        conn.send(GOOD)
        assert conn.receive().type == "R"
        assert 0.8 < ended(conn, start) < 4


def test_many_silent(router):
    """A hundred of them keep nobody else out, within the limit of clients."""
    endpoint = router(client_login_timeout="2s", max_client_conn=200)
    silent = [fe.Frontend(endpoint) for _ in range(100)]
    start = time.monotonic()
    with fe.Frontend(endpoint) as conn:
        conn.login(password="app-password")
        assert time.monotonic() - start < 1
    for conn in silent:
        conn.drain()
        conn.socket.close()
