# SPDX-License-Identifier: ISC
"""A process that holds many client connections open and does nothing with them.

It speaks just enough of protocol 3.0 over blocking sockets, one after the other: at its own ends of 10,000 sockets a
driver would need gigabytes. Its parent says on standard input what to do, a command a line, and reads `ok` or a sentence:

    open N      have N connections, logged in
    query       one query on each
    stream SQL  one more connection on which SQL runs; what comes is thrown away, after a pause at the start
    close       end all of them
"""
import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
import subprocess
import sys
import time

READY = b"Z\0\0\0\5I"
_keys = {}


class Clients:
    """The parent's side: starts the process, sends it commands."""

    def __init__(self, peer):
        p = peer.params()
        where = [p["host"], str(p["port"]), p["user"], p["password"], p["dbname"], p["sslmode"]]
        self._process = subprocess.Popen([sys.executable, "-B", "-m", "bench_lib.idle_clients", *where],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def tell(self, command):
        self.begin(command)
        self.finish(command)

    def begin(self, command):
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def finish(self, command):
        answer = self._process.stdout.readline().strip()
        if answer != "ok":
            raise RuntimeError(f"{command}: {answer or 'the process of the clients has ended'}")


# --- the process ----------------------------------------------------------------------------------------------------

def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


class Client:
    """One connection, logged in. It has no buffer: nothing follows what it waits for."""

    def __init__(self, host, port, user, password, database, sslmode, context):
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sslmode == "require":
            self.socket.sendall(struct.pack("!II", 8, 80877103))
            if self.socket.recv(1) != b"S":
                raise RuntimeError("no TLS")
            self.socket = context.wrap_socket(self.socket)
        body = struct.pack("!I", 0x00030000) + b"user\0" + user.encode() + b"\0database\0" + database.encode() + b"\0\0"
        self.socket.sendall(struct.pack("!I", len(body) + 4) + body)
        self._login(user, password)

    def _login(self, user, password):
        nonce = base64.b64encode(os.urandom(18)).decode()
        first = f"n=,r={nonce}"
        while True:
            kind, body = self._read()
            code = struct.unpack_from("!I", body)[0] if kind == b"R" else None
            if kind == b"E":
                raise RuntimeError(body.replace(b"\0", b" ").decode(errors="replace"))
            if code == 10:
                data = ("n,," + first).encode()
                self.socket.sendall(message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(data)) + data))
            elif code == 11:
                self.socket.sendall(message(b"p", proof(password, first, body[4:].decode()).encode()))
            elif kind == b"Z":
                return

    def _read(self):
        head = self._exactly(5)
        return head[:1], self._exactly(struct.unpack("!I", head[1:])[0] - 4)

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise RuntimeError("the connection was closed")
            data += more
        return data

    def run(self, sql, pause=0):
        """Sends a query and reads until ReadyForQuery, keeping nothing."""
        self.socket.sendall(message(b"Q", sql.encode() + b"\0"))
        tail, begun = b"", False
        while not tail.endswith(READY):
            more = self.socket.recv(1 << 18)
            if not more:
                raise RuntimeError("the connection was closed")
            tail = (tail + more)[-len(READY):]
            if pause and not begun:
                time.sleep(pause)
            begun = True


def proof(password, first, server_first):
    """The client-final-message of RFC 5802. Keys are derived once for each salt: that is meant to be slow."""
    parts = dict(part.split("=", 1) for part in server_first.split(","))
    salt, rounds = base64.b64decode(parts["s"]), int(parts["i"])
    if (salt, rounds) not in _keys:
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
        _keys[salt, rounds] = hmac.digest(salted, b"Client Key", "sha256")
    key = _keys[salt, rounds]
    without = f"c=biws,r={parts['r']}"
    signature = hmac.digest(hashlib.sha256(key).digest(), f"{first},{server_first},{without}".encode(), "sha256")
    return without + ",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()


def obey(command, clients, make):
    verb, _, rest = command.partition(" ")
    if verb == "open":
        while len(clients) < int(rest):
            clients.append(make())
    elif verb == "query":
        for client in clients:
            client.run("select 1")
    elif verb == "stream":
        client = make()
        client.run(rest, pause=1)
        client.socket.close()
    elif verb == "close":
        while clients:
            clients.pop().socket.close()
    else:
        raise RuntimeError("no such command")


def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    clients = []
    for line in sys.stdin:
        try:
            obey(line.strip(), clients, lambda: Client(*sys.argv[1:], context))
            print("ok", flush=True)
        except (OSError, RuntimeError) as error:
            print(f"with {len(clients)} connections: {error}", flush=True)


if __name__ == "__main__":
    main()
