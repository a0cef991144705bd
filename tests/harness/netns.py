# SPDX-License-Identifier: ISC
"""Servers whose packets vanish without a word.

A Network has a namespace of its own for the router and its clients, and one for each server, with a cable between them.
In a server's namespace a relay listens and passes everything on to the server's Unix socket, which namespaces do not
part. cut() pulls the cable out: no end of file, no reset, no unreachable host, as with a machine that is gone. All
addresses are in namespaces that were made here; nothing of the machine's own network is touched.
"""
import asyncio
import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import threading

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def missing():
    """Why there can be no Network here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "there is no ip command (package iproute2)"
    try:
        name = f"pgsteer-{os.getpid()}-try"
        _ip("netns", "add", name)
        try:
            _ip("-n", name, "link", "set", "lo", "up")  # wants /sys, which not every container has
        finally:
            _ip("netns", "delete", name)
    except subprocess.CalledProcessError as error:
        return f"network namespaces cannot be made: {error.stderr.strip()}"
    return None


def _ip(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def _enter(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def inside(namespace):
    """What this thread starts within the block (sockets, threads, programs) lives in the namespace."""
    before, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _enter(there)
        yield
    finally:
        _enter(before)
        os.close(before)
        os.close(there)


async def _pump(reader, writer):
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class _Relay:
    """Passes the connections of a listening socket on to a Unix socket, in a thread of its own."""

    def __init__(self, listener, path):
        self._path = path
        self._listener = listener
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        self._loop.run_until_complete(asyncio.start_server(self._serve, sock=self._listener))
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader, writer):
        try:
            there_reader, there_writer = await asyncio.open_unix_connection(self._path)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))

    def close(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


class Network:
    """with Network(cluster) as network: the block lives in the router's namespace."""

    def __init__(self, cluster):
        self._cluster = cluster
        self._prefix = f"pgsteer-{os.getpid()}"
        self._relays = []
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        try:
            self._namespace("router")
            for number, node in enumerate(self._cluster.nodes, 1):
                self._connect(number, node)
            self._stack.enter_context(inside(self._name("router")))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _name(self, what):
        return f"{self._prefix}-{what}"

    def _namespace(self, what):
        _ip("netns", "add", self._name(what))
        self._stack.callback(_ip, "netns", "delete", self._name(what))
        _ip("-n", self._name(what), "link", "set", "lo", "up")

    def _connect(self, number, node):
        router, there = self._name("router"), self._name(node.name)
        self._namespace(node.name)
        _ip("-n", router, "link", "add", node.name, "type", "veth", "peer", "name", "cable", "netns", there)
        _ip("-n", router, "address", "add", f"10.77.{number}.1/30", "dev", node.name)
        _ip("-n", there, "address", "add", f"10.77.{number}.2/30", "dev", "cable")
        _ip("-n", router, "link", "set", node.name, "up")
        _ip("-n", there, "link", "set", "cable", "up")
        # Who is asked for the other's address and gets no answer says that the host is unreachable: that is a word.
        hardware = _ip("-n", there, "-brief", "link", "show", "dev", "cable").split()[2]
        _ip("-n", router, "neighbour", "replace", f"10.77.{number}.2", "lladdr", hardware, "dev", node.name, "nud",
            "permanent")
        with inside(there):
            listener = socket.create_server((f"10.77.{number}.2", node.port), backlog=64)
        relay = _Relay(listener, os.path.join(self._cluster.sockets, f".s.PGSQL.{node.port}"))
        self._stack.callback(relay.close)

    def servers(self):
        """The sections of the servers for a router's config."""
        return {node.name: {"host": f"10.77.{number}.2", "port": node.port}
                for number, node in enumerate(self._cluster.nodes, 1)}

    def cut(self, node):
        _ip("-n", self._name(node.name), "link", "set", "cable", "down")

    def restore(self, node):
        _ip("-n", self._name(node.name), "link", "set", "cable", "up")
