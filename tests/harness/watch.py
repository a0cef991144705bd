# SPDX-License-Identifier: ISC
"""The watch over the servers without a router: what health_watch (tests/unit/health) says, and questions to it."""
import contextlib
import json
import os
import resource
import signal
import subprocess
import threading
import time

from harness.router import binary
from pgcluster import USERS

# Beside the program under test, where that was built: the tests of it may run a copy.
PROGRAM = os.path.join(os.path.dirname(binary()), "tests", "unit", "health", "health_watch")


class Watch:
    """A running health_watch."""

    def __init__(self, nodes, servers=None, user="monitor", env=None, **config):
        settings = {"monitor_user": user, "monitor_password": USERS[user][0], "server_tls_sslmode": "disable",
                    "health_timeout": "500ms", "max_lag": "1500ms", **config}
        argv = [PROGRAM]
        for text in servers or [f"name={n.name} host={n.host} port={n.port}" for n in nodes]:
            argv += ["--server", text]
        for key, value in settings.items():
            argv += ["--set", f"{key}={value}"]
        self._start(argv, env)

    @classmethod
    def of_file(cls, path):
        self = cls.__new__(cls)
        self._start([PROGRAM, "--config", path])
        return self

    def _start(self, argv, env=None):
        self.topologies, self.log = [], []
        self.catalogs = 0
        self.missing = []
        self._answers = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                         text=True, env=env)
        self._threads = [threading.Thread(target=body, daemon=True) for body in (self._read_out, self._read_log)]
        for thread in self._threads:
            thread.start()

    def _read_out(self):
        for line in self._process.stdout:
            event = json.loads(line)
            with self._changed:
                if event["event"] == "topology":
                    self.topologies.append(event)
                elif event["event"] == "catalog":
                    self.catalogs += 1
                elif event["event"] == "missing":
                    self.missing.append(event["database"])
                elif event["event"] in ("live", "answer"):
                    self._answers.append(event)
                self._changed.notify_all()

    def _read_log(self):
        for line in self._process.stderr:
            with self._changed:
                self.log.append(line)
                self._changed.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.quit()
        if kind is None:
            assert self._process.returncode == 0, self.log[-5:]
            assert not any("ERROR: " in line or "runtime error" in line for line in self.log), self.log[-20:]

    def quit(self):
        with contextlib.suppress(BrokenPipeError):
            self.say("quit")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        for thread in self._threads:
            thread.join(5)

    @contextlib.contextmanager
    def without_descriptors(self):
        """It gets no new file descriptor until the end of the block."""
        pid = self._process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    def pause(self, seconds):
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def say(self, *words):
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()

    def ask(self, *words):
        with self._changed:
            count = len(self._answers)
            self.say(*words)
            assert self._changed.wait_for(lambda: len(self._answers) > count, 5), "no answer"
            return self._answers[-1]

    def live(self, name):
        return self.ask("live")["nodes"][name]

    def answer(self, *words):
        return self.ask(*words)["answer"]

    def until(self, check, timeout=5, what="a topology"):
        """The first topology, of the latest one on, for which check(topology) holds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            seen = max(len(self.topologies) - 1, 0)
            while True:
                for topology in self.topologies[seen:]:
                    if check(topology):
                        return topology
                seen = len(self.topologies)
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise AssertionError(f"waited {timeout} s for {what}; the last one: {self.topologies[-1:]}\n"
                                         + "".join(self.log[-10:]))

    def ready(self):
        """All servers are in good order."""
        return self.until(lambda t: t["primary"] and all(n["reads"] for n in t["nodes"].values()), 15, "all to be well")

    def node(self, name, timeout=5, **wanted):
        """Waits until the node has these fields."""
        found = self.until(lambda t: all(t["nodes"][name][k] == v for k, v in wanted.items()), timeout,
                           f"{name} to be {wanted}")
        return found["nodes"][name]

    def steady(self, seconds, check):
        """check(topology) holds for every topology for this long."""
        end = time.monotonic() + seconds
        with self._changed:
            first = len(self.topologies) - 1
            self._changed.wait_for(lambda: not all(map(check, self.topologies[first:])), end - time.monotonic())
            assert all(map(check, self.topologies[first:])), self.topologies[-1]

    def logged(self, text):
        with self._changed:
            return sum(text in line for line in self.log)

    def until_logged(self, text, count=1):
        """Waits until so many lines have the text: they come on another pipe than the topologies."""
        with self._changed:
            assert self._changed.wait_for(lambda: sum(text in line for line in self.log) >= count, 3), self.log[-10:]
        assert self.logged(text) == count
