# SPDX-License-Identifier: ISC
"""The first bytes of a connection: right ones, odd ones, and junk."""
import random
import socket
import struct
import time

import pytest

import frontend as fe
from conftest import settled

pytestmark = pytest.mark.direct

GOOD = fe.startup(user="app", database="app", application_name="wire")


def outcome(conn):
    """What became of a start-up: "in" (ReadyForQuery or a request for a password), the SQLSTATE of a refusal, or
    "closed" without a word."""
    try:
        while True:
            got = conn.receive()
            if got.type == "E":
                assert conn.drain() == [], "something came after a FATAL error"
                return fe.fields(got.body)["C"]
            if got.type == "Z" or got.type == "R" and got.body != bytes(4):
                return "in"
    except fe.Closed:
        return "closed"


def packet(length, code=fe.VERSION_3_0, body=b""):
    return struct.pack("!II", length & 0xffffffff, code) + body


def test_good(connect):
    conn = connect()
    conn.send(GOOD)
    assert outcome(conn) == "in"


def test_one_byte_at_a_time(connect):
    conn = connect()
    conn.send_bytewise(fe.special(fe.SSL_REQUEST))
    assert conn.byte() in (b"N", b"S")
    conn = connect()
    conn.send_bytewise(GOOD)
    assert outcome(conn) == "in"


@pytest.mark.parametrize("cut", range(len(GOOD)))
def test_truncated(connect, cut):
    conn = connect()
    conn.send(GOOD[:cut])
    conn.socket.shutdown(socket.SHUT_WR)
    assert outcome(conn) != "in"


JUNK = {
    "zeros": bytes(100),
    "ones": b"\xff" * 100,
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": bytes.fromhex("1603010200010001fc0303") + b"x" * 500,
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "text": b"select 1;\n" * 10,
    "query": fe.query("select 1"),
    "length 0": packet(0),
    "length 3": packet(3),
    "length 4": packet(4),
    "length 7": packet(7),
    "negative length": packet(-1),
    "2 GiB": packet(0x7fffffff),
    "2 GiB + 1": packet(0x80000000),
    "10,001 bytes": packet(10001) + bytes(9993),
    "version 0": packet(8, 0),
    "version 1": fe.startup(0x00010000, user="app"),
    "version 2": fe.startup(0x00020000, user="app"),
    "version 4": fe.startup(0x00040000, user="app"),
    "no user": fe.startup(database="app"),
    "empty user": fe.startup(user="", database="app"),
    "no body": packet(8),
    "no end": packet(8 + 9, body=b"user\0app\0"),
    "no value": packet(8 + 6, body=b"user\0\0"),
    "no NUL": packet(8 + 8, body=b"user=app"),
    "bytes after the end": packet(8 + 12, body=b"user\0app\0\0xx"),
    "empty name": packet(8 + 7, body=b"\0value\0"),
    "unknown special code": fe.special(80877105),
    "short cancel": fe.special(fe.CANCEL_REQUEST, b"abc"),
    "long cancel": fe.special(fe.CANCEL_REQUEST, bytes(300)),
    "SSLRequest with a body": fe.special(fe.SSL_REQUEST, bytes(8)),
}


@pytest.mark.parametrize("name", JUNK)
def test_junk(connect, name):
    """An error or the end, and that soon."""
    conn = connect(timeout=20)
    start = time.monotonic()
    conn.try_send(JUNK[name])
    if name in ("text", "query", "ssh", "tls", "http", "ones", "zeros", "2 GiB", "2 GiB + 1", "negative length",
                "10,001 bytes") or name.startswith("length"):
        assert outcome(conn) != "in"  # at once: such a length is never waited for
        assert time.monotonic() - start < 5
    else:
        try:
            conn.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        assert outcome(conn) != "in"


def test_largest_packet(connect):
    """10,000 bytes are a packet, a little more is not, and nobody waits for the rest of it. (PostgreSQL does not count
    the four bytes of the length.)"""
    def padded(total):
        room = total - len(fe.startup(user="app", database="app", application_name=""))
        return fe.startup(user="app", database="app", application_name="x" * room)

    conn = connect()
    assert len(padded(10000)) == 10000
    conn.send(padded(10000))
    assert outcome(conn) == "in"
    conn = connect()
    conn.send(padded(10005)[:20])
    assert outcome(conn) in ("closed", "08P01")


@pytest.mark.memory
def test_random_junk(target, connect):
    """Reproducible nonsense of all lengths."""
    seed = random.Random(20240229)
    for n in range(150):
        conn = connect()
        data = seed.randbytes(seed.randrange(1, 200))
        if n % 3 == 0:  # a plausible head
            data = packet(len(data) + 8, fe.VERSION_3_0, data)
        conn.try_send(data)
        try:
            conn.socket.shutdown(socket.SHUT_WR)
        except OSError:
            continue
        assert outcome(conn) != "in"
    settled(target)


def test_mutated_startup(target, connect):
    """Every byte of a good packet replaced: it is let in or refused, never left."""
    for at in range(len(GOOD)):
        for value in (0, 0xff, GOOD[at] ^ 1):
            conn = connect()
            conn.try_send(GOOD[:at] + bytes([value]) + GOOD[at + 1:])
            try:
                conn.socket.shutdown(socket.SHUT_WR)
            except OSError:
                continue
            outcome(conn)
            conn.socket.close()
    settled(target)


# --- special requests -----------------------------------------------------------------------------------------------

def test_ssl_and_gss_requests(connect):
    """Each is answered with one byte, in either order, and the login goes on."""
    for first, second in ((fe.SSL_REQUEST, fe.GSSENC_REQUEST), (fe.GSSENC_REQUEST, fe.SSL_REQUEST)):
        conn = connect()
        for code in (first, second):
            conn.send(fe.special(code))
            answer = conn.byte()
            if answer == b"S":
                return  # PostgreSQL with TLS on: tests/integration/test_tls.py
            assert answer == b"N"
        conn.send(GOOD)
        assert outcome(conn) == "in"


@pytest.mark.parametrize("code", [fe.SSL_REQUEST, fe.GSSENC_REQUEST])
def test_requests_without_end(connect, code):
    """Asked again and again it loses patience."""
    conn = connect()
    try:
        for _ in range(100):
            conn.send(fe.special(code))
            if conn.byte() != b"N":
                return
    except (fe.Closed, ConnectionError):
        return
    pytest.fail("a hundred requests were answered")


def test_alternating_requests_without_end(connect):
    conn = connect()
    try:
        for n in range(100):
            conn.send(fe.special((fe.SSL_REQUEST, fe.GSSENC_REQUEST)[n % 2]))
            if conn.byte() != b"N":
                return
    except (fe.Closed, ConnectionError):
        return
    pytest.fail("a hundred requests were answered")


def test_login_behind_an_ssl_request(connect):
    """In one segment with it: let in or refused, never confused."""
    conn = connect()
    conn.send(fe.special(fe.SSL_REQUEST) + GOOD)
    try:
        if conn.byte() == b"N":
            outcome(conn)
    except fe.Closed:
        pass


def test_cancel_of_nobody(connect):
    """The answer is the end of the connection, and nothing else."""
    for data in (fe.cancel(0, 0), fe.cancel(0xffffffff, 0xffffffff), fe.cancel(1, 2) + GOOD):
        conn = connect()
        conn.send(data)
        assert outcome(conn) == "closed"


# --- versions and options -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("version, options", [(0x00030001, {}), (0x00030002, {}), (0x0003270f, {}),
                                              (fe.VERSION_3_0, {"_pq_.test_option": "on"}),
                                              (0x00030002, {"_pq_.a": "1", "_pq_.b": "2"})])
def test_negotiate_protocol_version(connect, version, options):
    """A newer minor version or an unknown option of the protocol: told what there is, then let in."""
    conn = connect()
    conn.send(fe.startup(version, user="app", database="app", **options))
    got = conn.receive()
    assert got.type == "v"
    newest, count = struct.unpack_from("!II", got.body)
    assert newest in (0, fe.VERSION_3_0)
    names = [n.decode() for n in got.body[8:].split(b"\0")[:-1]]
    assert len(names) == count and names == list(options)
    assert outcome(conn) == "in"


def test_greeting(login):
    """The parameters that drivers rely on, a key, and the database of the user's own name when none is given."""
    conn = login()
    assert {"server_version", "server_encoding", "client_encoding", "application_name", "is_superuser",
            "session_authorization", "DateStyle", "IntervalStyle", "TimeZone", "integer_datetimes",
            "standard_conforming_strings"} <= set(conn.parameters)
    assert conn.parameters["session_authorization"] == "app"
    assert conn.key is not None and conn.status == "I"
    conn = login(client_encoding="LATIN1", application_name="greeting", DateStyle="German")
    assert conn.parameters["client_encoding"] == "LATIN1"
    assert conn.parameters["application_name"] == "greeting"
    assert conn.parameters["DateStyle"].startswith("German")


def test_database_defaults_to_the_user(connect):
    conn = connect()
    conn.send(fe.startup(user="app"))
    assert outcome(conn) == "in"


def test_query_before_the_login_is_done(connect, target):
    """Sent together with the start-up packet: kept, and answered after it, when no password is asked for."""
    conn = connect()
    conn.send(GOOD + fe.query("select 7"))
    if target.pid is None:
        outcome(conn)
        return
    conn.until("Z")
    assert fe.rows(conn.until("Z")) == [["7"]]
