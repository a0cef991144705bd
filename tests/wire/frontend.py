# SPDX-License-Identifier: ISC
"""A client of PostgreSQL's protocol 3.0 that says exactly what it is told to, right or wrong.

PostgreSQL documentation, chapter 55. Functions in lower case build messages as bytes; Frontend sends any bytes and takes
the answers apart. Every wait has a deadline.
"""
import base64
import hashlib
import hmac
import os
import secrets
import select
import socket
import struct
import time
from collections import namedtuple

VERSION_3_0 = 0x00030000
CANCEL_REQUEST = 80877102
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104

Message = namedtuple("Message", "type body")


# --- messages -------------------------------------------------------------------------------------------------------

def message(kind, body=b""):
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def string(text):
    return (text if isinstance(text, bytes) else text.encode()) + b"\0"


def startup(version=VERSION_3_0, **parameters):
    body = struct.pack("!I", version) + b"".join(string(k) + string(v) for k, v in parameters.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def special(code, body=b""):
    """SSLRequest, GSSENCRequest or CancelRequest."""
    return struct.pack("!II", len(body) + 8, code) + body


def cancel(pid, key):
    return special(CANCEL_REQUEST, struct.pack("!II", pid, key))


def query(sql):
    return message("Q", string(sql))


def parse(sql, name="", types=()):
    return message("P", string(name) + string(sql) + struct.pack(f"!H{len(types)}I", len(types), *types))


def bind(statement="", values=(), portal="", formats=(), results=()):
    body = string(portal) + string(statement) + struct.pack(f"!H{len(formats)}H", len(formats), *formats)
    body += struct.pack("!H", len(values))
    for value in values:
        if value is None:
            body += struct.pack("!i", -1)
        else:
            data = value if isinstance(value, bytes) else str(value).encode()
            body += struct.pack("!I", len(data)) + data
    return message("B", body + struct.pack(f"!H{len(results)}H", len(results), *results))


def describe(kind, name=""):
    return message("D", kind.encode() + string(name))


def execute(portal="", rows=0):
    return message("E", string(portal) + struct.pack("!I", rows))


def close(kind, name=""):
    return message("C", kind.encode() + string(name))


def function_call(oid, values):
    body = struct.pack("!IHHH", oid, 1, 0, len(values))
    for value in values:
        body += struct.pack("!I", len(value)) + value
    return message("F", body + struct.pack("!H", 0))


def copy_data(data):
    return message("d", data)


SYNC, FLUSH, TERMINATE, COPY_DONE = (message(kind) for kind in "SHXc")


def copy_fail(reason):
    return message("f", string(reason))


def ask(sql, *values):
    """A whole extended exchange without names, to its Sync."""
    return parse(sql) + bind(values=values) + describe("P") + execute() + SYNC


# --- answers --------------------------------------------------------------------------------------------------------

class ServerError(Exception):
    """An ErrorResponse where none was wanted; `fields` by their letters."""

    def __init__(self, fields):
        super().__init__(f"{fields.get('S')} {fields.get('C')}: {fields.get('M')}")
        self.fields = fields
        self.code = fields.get("C")


def fields(body):
    """The fields of an ErrorResponse or NoticeResponse."""
    return {part[:1].decode(): part[1:].decode(errors="replace") for part in body.split(b"\0") if part}


def row(body):
    """The values of a DataRow, None for NULL."""
    (count,), at, values = struct.unpack_from("!H", body), 2, []
    for _ in range(count):
        (length,) = struct.unpack_from("!i", body, at)
        at += 4
        values.append(None if length < 0 else body[at:at + length].decode(errors="replace"))
        at += max(length, 0)
    return values


def rows(messages):
    return [row(m.body) for m in messages if m.type == "D"]


def kinds(messages):
    return "".join(m.type for m in messages)


def errors(messages):
    return [fields(m.body) for m in messages if m.type == "E"]


class Closed(Exception):
    """The other side has closed the connection, or speaks no protocol 3.0."""


class Frontend:
    """One connection. `timeout` seconds are the most that any single wait takes. `narrow`: the kernel keeps little of
    what is not read, 50 to 150 kB on both sides together."""

    def __init__(self, endpoint, timeout=10, path=None, narrow=False):
        self.timeout = timeout
        self._piece = 1 << (10 if narrow else 16)
        if path is not None:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(path)
        elif narrow:
            self.socket = socket.socket()
            self.socket.settimeout(timeout)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # the sender's buffer goes by this
            self.socket.connect((endpoint.host, endpoint.port))
        else:
            self.socket = socket.create_connection((endpoint.host, endpoint.port), timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self.parameters, self.key, self.status = {}, None, None
        self.notices = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    # Sending.

    def send(self, data):
        self.socket.sendall(data)

    def send_bytewise(self, data):
        """Every byte in a segment of its own."""
        for i in range(len(data)):
            self.socket.sendall(data[i:i + 1])

    def try_send(self, data):
        """As send, but the other side may hang up meanwhile."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def reset(self):
        """Ends the connection with an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # Receiving.

    def _fill(self, count):
        deadline = time.monotonic() + self.timeout
        pieces, have = [self._buffer], len(self._buffer)
        try:
            while have < count:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                    raise TimeoutError(f"nothing more came in {self.timeout} s; have {pieces[0][:60]!r}")
                try:
                    pieces.append(self.socket.recv(self._piece))
                except ConnectionError:
                    pieces.append(b"")
                if not pieces[-1]:
                    raise Closed(f"closed with {have} bytes of a message read")
                have += len(pieces[-1])
        finally:
            self._buffer = b"".join(pieces)

    def byte(self):
        """One byte outside any message: the answer to SSLRequest."""
        self._fill(1)
        found, self._buffer = self._buffer[:1], self._buffer[1:]
        return found

    def receive(self):
        """The next message, those sent at any time (notices, parameters) taken note of as well as returned."""
        self._fill(5)
        kind, (length,) = chr(self._buffer[0]), struct.unpack_from("!I", self._buffer, 1)
        if not 4 <= length < 1 << 30:  # older than 3.0, to which PostgreSQL answers in kind
            raise Closed(f"not protocol 3.0: {self._buffer[:80]!r}")
        self._fill(length + 1)
        body, self._buffer = self._buffer[5:length + 1], self._buffer[length + 1:]
        if kind == "S":
            name, value = body.split(b"\0")[:2]
            self.parameters[name.decode()] = value.decode()
        elif kind == "K":
            self.key = struct.unpack("!II", body)
        elif kind == "Z":
            self.status = body.decode()
        elif kind == "N":
            self.notices.append(fields(body))
        return Message(kind, body)

    def until(self, wanted="Z"):
        """Messages up to and including the first of a kind in `wanted`, without notices and parameters."""
        found = []
        while True:
            got = self.receive()
            if got.type not in "NS" or got.type in wanted:
                found.append(got)
            if got.type in wanted:
                return found

    def ask(self, data, syncs=1):
        """Sends and returns the answers up to the last of `syncs` ReadyForQuery."""
        self.send(data)
        return [m for _ in range(syncs) for m in self.until("Z")]

    def value(self, sql):
        """The one value that a simple query returns."""
        messages = self.ask(query(sql))
        if errors(messages):
            raise ServerError(errors(messages)[0])
        return rows(messages)[0][0]

    def pending(self):
        """Whether anything has come that was not read."""
        return bool(self._buffer) or bool(select.select([self.socket], [], [], 0)[0])

    def unfinished(self):
        """What has come of a message whose rest has not."""
        return self._buffer

    def drain(self):
        """Messages up to the end of the connection, which must come."""
        found = []
        try:
            while True:
                found.append(self.receive())
        except Closed:
            return found

    # Logging in.

    def login(self, user="app", database="app", password=None, **parameters):
        self.send(startup(user=user, database=database, **parameters))
        return self.authenticate(user, password)

    def authenticate(self, user, password):
        """Answers what is asked until the first ReadyForQuery; raises ServerError when refused."""
        scram = None
        while True:
            got = self.receive()
            if got.type == "E":
                raise ServerError(fields(got.body))
            if got.type == "Z":
                return self
            if got.type != "R":
                continue
            (code,), rest = struct.unpack_from("!I", got.body), got.body[4:]
            if code == 3:
                self.send(message("p", string(password)))
            elif code == 5:
                inner = hashlib.md5((password + user).encode()).hexdigest()
                self.send(message("p", string("md5" + hashlib.md5(inner.encode() + rest).hexdigest())))
            elif code == 10:
                assert b"SCRAM-SHA-256" in rest.split(b"\0"), rest
                scram = Scram(password)
                self.send(sasl_initial(scram.first()))
            elif code == 11:
                self.send(message("p", scram.final(rest)))
            elif code == 12:
                scram.check(rest)


def sasl_initial(data, mechanism="SCRAM-SHA-256"):
    return message("p", string(mechanism) + struct.pack("!I", len(data)) + data)


class Scram:
    """The client's part of RFC 5802 and 7677."""

    def __init__(self, password):
        self.password = password.encode()
        self.nonce = base64.b64encode(secrets.token_bytes(18)).decode()
        self.bare = f"n=,r={self.nonce}"

    def first(self):
        return b"n,," + self.bare.encode()

    def final(self, server_first):
        attributes = dict(part.split("=", 1) for part in server_first.decode().split(","))
        assert attributes["r"].startswith(self.nonce)
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(attributes["s"]), int(attributes["i"]))
        client_key = self._hmac(salted, b"Client Key")
        without_proof = f"c=biws,r={attributes['r']}"
        everything = f"{self.bare},{server_first.decode()},{without_proof}".encode()
        signature = self._hmac(hashlib.sha256(client_key).digest(), everything)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.expected = self._hmac(self._hmac(salted, b"Server Key"), everything)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def check(self, server_final):
        assert server_final == b"v=" + base64.b64encode(self.expected), "the server does not know the password"

    @staticmethod
    def _hmac(key, data):
        return hmac.new(key, data, "sha256").digest()


def scram_verifier(password, iterations=4096, salt=None):
    """What pg_authid.rolpassword holds for a password."""
    salt = salt or os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.new(salted, b"Client Key", "sha256").digest()).digest()
    server = hmac.new(salted, b"Server Key", "sha256").digest()
    return "SCRAM-SHA-256$%d:%s$%s:%s" % (iterations, *(base64.b64encode(b).decode() for b in (salt, stored, server)))
