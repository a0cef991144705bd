# SPDX-License-Identifier: ISC
"""Messages cut off, with wrong lengths and wrong contents, in every state: an error or the end, and nobody else notices."""
import random
import socket
import struct

import pytest

import frontend as fe
from conftest import settled
from samples import MESSAGES, STATES

pytestmark = pytest.mark.direct


def aftermath(conn):
    """What comes after something bad: (kinds of messages, SQLSTATEs, whether the connection was ended). Fails when
    nothing comes at all."""
    seen, codes = "", []
    try:
        while True:
            got = conn.receive()
            seen += got.type
            if got.type == "E":
                codes.append(fe.fields(got.body)["C"])
            if got.type == "Z" and not conn.pending():
                return seen, codes, False
    except fe.Closed:
        return seen, codes, True


def hang_up(conn):
    """No more from us: the connection must come to its end."""
    try:
        conn.socket.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    conn.drain()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", MESSAGES)
def test_truncated(target, login, name, state):
    """Cut at every byte, then no more: the connection ends, and its server connection is free."""
    data = MESSAGES[name]
    for cut in range(1, len(data)):
        conn = login()
        STATES[state](conn)
        conn.try_send(data[:cut])
        hang_up(conn)
        conn.socket.close()
    settled(target)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", MESSAGES)
def test_impossible_length(target, login, name, state):
    """0 to 3, negative, over the limit: refused on sight, whatever is announced is not waited for."""
    for length in (0, 1, 2, 3, 0x40000001, 0x7fffffff, 0x80000000, 0xffffffff):
        conn = login()
        STATES[state](conn)
        conn.try_send(MESSAGES[name][:1] + struct.pack("!I", length) + b"some bytes")
        seen, codes, ended = aftermath(conn)
        while not ended:  # what was due before may come first
            seen, codes, ended = aftermath(conn)
        assert not codes or codes[-1] in ("08P01", "57014", "26000", "42703", "34000", "22012"), (codes, length)
        conn.socket.close()
    settled(target)


@pytest.mark.parametrize("name", ["Sync", "Flush", "Execute", "Describe", "Close", "CopyDone", "Terminate", "Password"])
def test_large_length_of_a_small_message(target, login, name):
    """A Sync of 100 MB is no Sync."""
    conn = login()
    conn.try_send(MESSAGES[name][:1] + struct.pack("!I", 100 << 20) + b"x" * 1000)
    seen, codes, ended = aftermath(conn)
    assert ended and codes in ([], ["08P01"])


@pytest.mark.memory
@pytest.mark.parametrize("name", ["Query", "Parse", "Bind", "CopyData", "FunctionCall"])
def test_large_length_of_a_large_message(target, login, name):
    """A gigabyte is allowed, and is not reserved before it is there: the neighbour fixture looks at the memory."""
    conns = []
    for _ in range(5):
        conn = login()
        conn.send(MESSAGES[name][:1] + struct.pack("!I", 0x3ffffff0) + b"x" * 100000)
        conns.append(conn)
    other = login()
    assert other.value("select 1") == "1"
    for conn in (*conns, other):
        conn.reset()
    settled(target)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("difference", [-3, -1, 1, 3])
def test_length_that_is_off(target, login, state, difference):
    """A length a little too small or too large puts everything after it out of step."""
    for name, data in MESSAGES.items():
        length = len(data) - 1 + difference
        if length < 4:
            continue
        conn = login()
        STATES[state](conn)
        conn.try_send(data[:1] + struct.pack("!I", length) + data[5:] + fe.SYNC * 3)
        hang_up(conn)
        conn.socket.close()
    settled(target)


@pytest.mark.parametrize("state", STATES)
def test_unknown_types(target, login, state):
    """Every byte that is no message type: 08P01 and the end."""
    known = {data[0] for data in MESSAGES.values()}
    for kind in range(256):
        if kind in known or (kind % 8 and state != "idle"):
            continue
        conn = login()
        STATES[state](conn)
        conn.try_send(bytes([kind]) + struct.pack("!I", 8) + b"body")
        seen, codes, ended = aftermath(conn)
        while not ended:
            seen, codes, ended = aftermath(conn)
        assert codes == [] or codes[-1] == "08P01" or state in ("in_copy_in", "in_copy_out"), (kind, codes)
        conn.socket.close()
    settled(target)


def counted(body):
    return struct.pack("!H", body)


# Well framed, with contents that are not: PostgreSQL says 08P01 to each and closes or goes on.
MALFORMED = {
    "query without NUL": fe.message("Q", b"select 1"),
    "query with a NUL within": fe.message("Q", b"select 1\0select 2\0"),
    "empty query body": fe.message("Q"),
    "parse without NUL": fe.message("P", b"name"),
    "parse with one string": fe.message("P", b"name\0"),
    "parse without types": fe.message("P", b"\0select 1\0"),
    "parse with half a count": fe.message("P", b"\0select 1\0\0"),
    "parse with fewer types than said": fe.message("P", b"\0select 1\0" + counted(2) + bytes(4)),
    "parse with 65,535 types said": fe.message("P", b"\0select 1\0" + counted(65535)),
    "parse with more than said": fe.message("P", b"\0select 1\0" + counted(0) + b"more"),
    "bind without anything": fe.message("B"),
    "bind without NUL": fe.message("B", b"portal"),
    "bind without formats": fe.message("B", b"\0\0"),
    "bind with fewer formats than said": fe.message("B", b"\0\0" + counted(3) + counted(0)),
    "bind with 65,535 values said": fe.message("B", b"\0\0" + counted(0) + counted(65535)),
    "bind with a value of 2 GiB": fe.message("B", b"\0\0" + counted(0) + counted(1) + struct.pack("!I", 0x7fffffff)),
    "bind with a negative value": fe.message("B", b"\0\0" + counted(0) + counted(1) + struct.pack("!i", -2) + counted(0)),
    "bind without result formats": fe.message("B", b"\0\0" + counted(0) + counted(0)),
    "bind with more than said": fe.message("B", b"\0\0" + counted(0) + counted(0) + counted(0) + b"more"),
    "execute without rows": fe.message("E", b"\0"),
    "execute with half of it": fe.message("E", b"\0\0\0"),
    "execute without NUL": fe.message("E", b"portal"),
    "execute with more than said": fe.message("E", b"\0" + bytes(4) + b"more"),
    "describe of nothing": fe.message("D"),
    "describe of another kind": fe.message("D", b"Xname\0"),
    "describe without NUL": fe.message("D", b"Sname"),
    "close of nothing": fe.message("C"),
    "close of another kind": fe.message("C", b"Xname\0"),
    "close without NUL": fe.message("C", b"Pname"),
    "sync with a body": fe.message("S", b"body"),
    "flush with a body": fe.message("H", b"body"),
    "function call without anything": fe.message("F"),
    "function call with half of it": fe.message("F", struct.pack("!IH", 1598, 5)),
    "function call of nothing": fe.message("F", struct.pack("!IHHH", 0, 0, 0, 0)),
    "copy fail without NUL": fe.message("f", b"reason"),
}


@pytest.mark.parametrize("state", ["idle", "in_transaction", "in_batch", "after_flush"])
@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(target, login, name, state):
    """An error, and after the next Sync the session goes on or the connection has ended."""
    conn = login()
    STATES[state](conn)
    conn.try_send(MALFORMED[name] + fe.SYNC)
    seen, codes, ended = aftermath(conn)
    if not ended:
        if name not in ("sync with a body", "flush with a body", "copy fail without NUL"):
            assert codes, f"{name} was taken for good: {seen}"
        conn.try_send(fe.SYNC + fe.query("rollback"))
        aftermath(conn)
    conn.socket.close()
    settled(target)


@pytest.mark.parametrize("state", ["idle", "in_transaction"])
@pytest.mark.parametrize("name", ["CopyData", "CopyDone", "CopyFail", "Password"])
def test_out_of_place(target, login, name, state):
    """Copy messages where there is no COPY are ignored, as PostgreSQL does; a password is an error."""
    conn = login()
    STATES[state](conn)
    conn.try_send(MESSAGES[name] * 3 + fe.query("select 8"))
    seen, codes, ended = aftermath(conn)
    if name == "Password":
        assert ended and codes == ["08P01"]
    else:
        assert not ended and seen == "TDCZ" and codes == []


@pytest.mark.parametrize("name", [n for n in MESSAGES if n not in ("CopyData", "CopyDone", "CopyFail", "Sync", "Flush",
                                                                   "Terminate")])
def test_other_messages_in_copy(target, login, name):
    """They end the COPY with an error; the session goes on or ends, but not in silence."""
    conn = login()
    STATES["in_copy_in"](conn)
    conn.try_send(MESSAGES[name] + fe.SYNC)
    seen, codes, ended = aftermath(conn)
    assert codes and codes[0] in ("08P01", "57014")
    conn.socket.close()
    settled(target)


@pytest.mark.memory
def test_random_messages(target, login):
    """Reproducible sequences of good, cut, mutated and foreign messages; each ends within its time."""
    seed = random.Random(42)
    samples = list(MESSAGES.values()) + list(MALFORMED.values())
    for _ in range(150):
        conn = login()
        data = bytearray(b"".join(seed.choice(samples) for _ in range(seed.randrange(1, 12))))
        for _ in range(seed.randrange(0, 4)):
            data[seed.randrange(len(data))] = seed.randrange(256)
        conn.try_send(bytes(data))
        hang_up(conn)
        conn.socket.close()
    settled(target)
