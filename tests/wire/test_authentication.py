# SPDX-License-Identifier: ISC
"""The SASL exchange with everything that can be wrong in it: refused with an error, never let in, never left."""
import base64
import contextlib
import random
import socket
import struct

import pytest

import frontend as fe

pytestmark = pytest.mark.direct


@pytest.fixture(scope="module")
def target(module_router, wire_table):
    """A router that asks for passwords."""
    return module_router(measure=True, workers=1, default_pool_size=4)


@pytest.fixture(autouse=True)
def neighbour(target):
    with fe.Frontend(target) as conn:
        conn.login(password="app-password")
        yield conn
        assert conn.value("select 1 + 0 * txid_current()") == "1"


def challenged(connect, user="app"):
    """A connection that has been asked for SASL."""
    conn = connect()
    conn.send(fe.startup(user=user, database="app"))
    got = conn.receive()
    assert got.type == "R" and struct.unpack_from("!I", got.body)[0] == 10
    assert b"SCRAM-SHA-256" in got.body[4:].split(b"\0")
    return conn


def refused(conn):
    """Not let in: the SQLSTATE of the error, or "closed"."""
    codes = [f["C"] for f in fe.errors(conn_messages(conn))]
    return codes[0] if codes else "closed"


def hang_up(conn):
    with contextlib.suppress(OSError):
        conn.socket.shutdown(socket.SHUT_WR)


def conn_messages(conn):
    got = conn.drain()
    assert "Z" not in fe.kinds(got)
    assert bytes(4) not in [m.body for m in got if m.type == "R"], "AuthenticationOk"
    return got


FIRST = fe.sasl_initial(fe.Scram("app-password").first())

BAD_FIRST = {
    "unknown mechanism": fe.sasl_initial(b"n,,n=,r=abc", "PLAIN"),
    "empty mechanism": fe.sasl_initial(b"n,,n=,r=abc", ""),
    "plus without TLS": fe.sasl_initial(b"p=tls-server-end-point,,n=,r=abc", "SCRAM-SHA-256-PLUS"),
    "binding asked for": fe.sasl_initial(b"p=tls-server-end-point,,n=,r=abc"),
    "no data": fe.message("p", fe.string("SCRAM-SHA-256") + struct.pack("!i", -1)),
    "empty data": fe.sasl_initial(b""),
    "length too large": fe.message("p", fe.string("SCRAM-SHA-256") + struct.pack("!I", 100) + b"n,,"),
    "length too small": fe.message("p", fe.string("SCRAM-SHA-256") + struct.pack("!I", 2) + b"n,,n=,r=abc"),
    "length negative": fe.message("p", fe.string("SCRAM-SHA-256") + struct.pack("!i", -2) + b"n,,"),
    "length 2 GiB": fe.message("p", fe.string("SCRAM-SHA-256") + struct.pack("!I", 0x7fffffff) + b"n,,"),
    "no NUL": fe.message("p", b"SCRAM-SHA-256"),
    "no nonce": fe.sasl_initial(b"n,,n="),
    "empty nonce": fe.sasl_initial(b"n,,n=,r="),
    "authorization id": fe.sasl_initial(b"n,a=other,n=,r=abc"),
    "mandatory extension": fe.sasl_initial(b"n,,m=x,n=,r=abc"),
    "wrong flag": fe.sasl_initial(b"x,,n=,r=abc"),
    "unprintable nonce": fe.sasl_initial(b"n,,n=,r=ab\x01c"),
    "NUL within": fe.sasl_initial(b"n,,n=,\0r=abc"),
    "only commas": fe.sasl_initial(b"," * 100),
    "junk": fe.sasl_initial(b"\xff\xfe" * 200),
    "cleartext password": fe.message("p", b"app-password\0"),
    "empty": fe.message("p"),
    "query instead": fe.query("select 1"),
    "terminate": fe.TERMINATE,
    "startup again": fe.startup(user="app"),
    "65,536 bytes": fe.message("p", bytes(65536)),
    "2 GiB message": b"p\x7f\xff\xff\xff",
    "length 0": b"p" + bytes(4),
    "length 3": b"p" + struct.pack("!I", 3),
}


@pytest.mark.parametrize("name", BAD_FIRST)
def test_bad_first_message(connect, name):
    conn = challenged(connect)
    conn.try_send(BAD_FIRST[name])
    hang_up(conn)  # PostgreSQL goes on asking in some of these cases
    refused(conn)


def continued(connect, password="app-password"):
    """A connection whose server-first message has come: (connection, client-final as it should be)."""
    conn, scram = challenged(connect), fe.Scram(password)
    conn.send(fe.sasl_initial(scram.first()))
    got = conn.receive()
    assert struct.unpack_from("!I", got.body)[0] == 11
    return conn, scram.final(got.body[4:])


def changed(final, key, value):
    parts = [part if not part.startswith(key + b"=") else value for part in final.split(b",")]
    return b",".join(part for part in parts if part is not None)


BAD_FINAL = {
    "other nonce": lambda f: changed(f, b"r", b"r=somethingelse"),
    "shorter nonce": lambda f: f.replace(b",p=", b"", 1)[:-10] + b",p=" + base64.b64encode(bytes(32)),
    "no nonce": lambda f: changed(f, b"r", None),
    "no proof": lambda f: f.split(b",p=")[0],
    "empty proof": lambda f: changed(f, b"p", b"p="),
    "short proof": lambda f: changed(f, b"p", b"p=" + base64.b64encode(bytes(31))),
    "long proof": lambda f: changed(f, b"p", b"p=" + base64.b64encode(bytes(33))),
    "proof of zeros": lambda f: changed(f, b"p", b"p=" + base64.b64encode(bytes(32))),
    "proof not base64": lambda f: changed(f, b"p", b"p=" + b"!" * 44),
    "proof with a flipped bit": lambda f: f[:-3] + (b"A" if f[-3:-2] != b"A" else b"B") + f[-2:],
    "proof twice": lambda f: f + b",p=" + base64.b64encode(bytes(32)),
    "other binding": lambda f: changed(f, b"c", b"c=eSws"),
    "no binding": lambda f: changed(f, b"c", None),
    "bad binding": lambda f: changed(f, b"c", b"c=%%%%"),
    "order changed": lambda f: b",".join(reversed(f.split(b","))),
    "trailing junk": lambda f: f + b"x",
    "NUL at the end": lambda f: f + b"\0",
    "empty": lambda f: b"",
    "64 kB": lambda f: f.split(b",p=")[0] + b",x=" + b"y" * 60000 + b",p=" + f.split(b",p=")[1][:-4],
}


@pytest.mark.parametrize("name", BAD_FINAL)
def test_bad_final_message(connect, name):
    conn, final = continued(connect)
    conn.send(fe.message("p", BAD_FINAL[name](final)))
    assert refused(conn) in ("28P01", "08P01", "28000", "closed")


def test_good_after_all(connect):
    """What the bad ones were made of is let in."""
    conn, final = continued(connect)
    conn.send(fe.message("p", final))
    assert conn.until("Z")


def test_one_byte_at_a_time(connect):
    conn, scram = challenged(connect), fe.Scram("app-password")
    conn.send_bytewise(fe.sasl_initial(scram.first()))
    got = conn.receive()
    conn.send_bytewise(fe.message("p", scram.final(got.body[4:])))
    conn.until("Z")
    assert conn.value("select 1") == "1"


def test_replayed_proof(connect):
    """The proof of one exchange is worth nothing in another."""
    _, final = continued(connect)
    conn, _ = continued(connect)
    conn.send(fe.message("p", final))
    assert refused(conn) in ("28P01", "08P01")


def test_final_first(connect):
    _, final = continued(connect)
    conn = challenged(connect)
    conn.send(fe.message("p", final))
    refused(conn)


@pytest.mark.parametrize("user", ["app", "nobody_by_that_name"])
def test_wrong_password(connect, user):
    conn, scram = challenged(connect, user), fe.Scram("wrong")
    conn.send(fe.sasl_initial(scram.first()))
    conn.send(fe.message("p", scram.final(conn.receive().body[4:])))
    assert refused(conn) == "28P01"


def test_more_after_the_proof(connect):
    """Queries sent with the proof are answered after the login, not before."""
    conn, final = continued(connect)
    conn.send(fe.message("p", final) + fe.query("select 5") + fe.query("select 6"))
    conn.until("Z")
    assert fe.rows(conn.until("Z")) == [["5"]] and fe.rows(conn.until("Z")) == [["6"]]


def test_query_without_the_proof(connect):
    conn, _ = continued(connect)
    conn.send(fe.query("select 1"))
    refused(conn)


def test_truncated(connect):
    for cut in range(0, len(FIRST), 3):
        conn = challenged(connect)
        conn.send(FIRST[:cut])
        hang_up(conn)
        refused(conn)
    conn, final = continued(connect)
    message = fe.message("p", final)
    for cut in range(0, len(message), 7):
        conn, _ = continued(connect)
        conn.send(message[:cut])
        hang_up(conn)
        refused(conn)


def test_mutated(connect):
    """Random changes of both messages: reproducible, and never let in unless nothing was changed that counts."""
    seed = random.Random(7)
    for _ in range(60):
        conn, final = continued(connect)
        data = bytearray(fe.message("p", final))
        at = seed.randrange(len(data) - 46, len(data) - 3)  # within the proof, before its padding
        data[at] = seed.choice([c for c in b"ABCDEFabcdef0123456789+/=,\0\xff" if c != data[at]])
        conn.send(bytes(data))
        hang_up(conn)
        refused(conn)


PASSWORDS = ["x" * 900, "p\u00e4ss w\u00f6rd", "\u2168", "a\u00adb", "emoji \U0001f512", " "]


def test_passwords_of_all_kinds(module_router, shared_cluster):
    """Long ones, and ones that SASLprep changes. The router has their verifiers: what PostgreSQL made of them counts."""
    with shared_cluster.primary.connect() as conn:
        for n, password in enumerate(PASSWORDS):
            conn.execute(f"drop role if exists odd{n}")
            conn.execute(f"create role odd{n} login password '{password}'")
        rows = conn.execute("select rolname, rolpassword from pg_authid where rolname like 'odd_'").fetchall()
    endpoint = module_router(auth=dict(rows))
    for n, password in enumerate(PASSWORDS):
        with endpoint.connect(user=f"odd{n}", password=password) as conn:
            assert conn.execute("select current_user").fetchone() == (f"odd{n}",)
