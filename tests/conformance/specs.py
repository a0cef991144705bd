# SPDX-License-Identifier: ISC
"""Runs specifications of isolationtester: steps of several sessions in given orders, some of which wait for others.

The format is that of PostgreSQL's src/test/isolation: setup, teardown, sessions with steps, permutations. isolationtester
itself takes a session's process id from the start-up (BackendKeyData), where a pooler has to give an id of its own; it
would never see that a step waits and would hang. Here a step is found by a comment in front of its text: in
pg_stat_activity, on a connection of our own to the primary, where pg_isolation_test_session_is_blocked then tells whether
it waits, as it does for isolationtester. That holds for every pool mode, whatever backend a transaction runs on.

Reads may go to replicas, and what a client reads of others may be older there: before each step the replicas catch up.
"""
import re
import time
from collections import namedtuple

import psycopg
from psycopg import pq

Spec = namedtuple("Spec", "setups teardowns sessions permutations")
Session = namedtuple("Session", "name setup teardown steps")

WORD = re.compile(r"""\s*(?:\#[^\n]*\n\s*)*(?:(\w+)|"([^"]*)"|\{(.*?)\})""", re.S)
BLOCKED = """
select exists (select from pg_stat_activity where state = 'active' and starts_with(query, %s) and
    pg_isolation_test_session_is_blocked(pid, (select array_agg(pid) from pg_stat_activity where datname = %s)))"""


def parse(text):
    words = [(m[1] or m[2], m[3]) for m in WORD.finditer(text)]
    spec, at = Spec([], [], {}, []), 0
    session = None
    while at < len(words):
        word = words[at][0]
        if word in ("setup", "teardown"):
            sql = words[at + 1][1].strip()
            if session is None:
                getattr(spec, word + "s").append(sql)
            else:
                getattr(session, word).append(sql)
            at += 2
        elif word == "session":
            session = Session(words[at + 1][0], [], [], {})
            spec.sessions[session.name] = session
            at += 2
        elif word == "step":
            session.steps[words[at + 1][0]] = words[at + 2][1].strip()
            at += 3
        else:
            assert word == "permutation", f"not a word of a spec: {words[at]}"
            end = at + 1
            while end < len(words) and words[end][0] not in ("permutation", "teardown"):
                end += 1
            spec.permutations.append([words[n][0] for n in range(at + 1, end)])
            session, at = None, end
    return spec


def ordered(lines):
    """Steps that end together, as the two of a deadlock do, are seen in any order: sorted by their names."""
    found, group = [], []
    for line in lines:
        if line.endswith("<... completed>"):
            group.append([line])
        elif group and not line.startswith(("step ", "starting ")) and line:
            group[-1].append(line)
        else:
            found += [one for part in sorted(group) for one in part] + [line]
            group = []
    return found + [one for part in sorted(group) for one in part]


class Runner:
    """One spec by one way. `way` has params() for psycopg; `cluster` is asked who waits for whom."""

    def __init__(self, spec, way, cluster, database, timeout=20):
        self._spec, self._way, self._cluster, self._database = spec, way, cluster, database
        self._timeout = timeout
        self._lines = []
        self._owner = {step: s.name for s in spec.sessions.values() for step in s.steps}

    def run(self):
        self._lines.append(f"Parsed test spec with {len(self._spec.sessions)} sessions")
        self._control = self._cluster.primary.connect(self._database)
        self._replicas = [n.connect("postgres") for n in self._cluster.replicas]
        names = ["control", *self._spec.sessions]
        opened = {name: psycopg.connect(autocommit=True, **self._way.params()) for name in names}
        for name, conn in opened.items():
            conn.add_notice_handler(lambda d, name=name: self._lines.append(f"{name}: {d.severity}:  {d.message_primary}"))
        self._conns, self._waiting = {name: conn.pgconn for name, conn in opened.items()}, {}
        try:
            for steps in self._spec.permutations:
                self._permutation(steps)
        finally:
            for conn in (*opened.values(), self._control, *self._replicas):
                conn.close()
        return "\n".join(ordered(self._lines)) + "\n"

    def _permutation(self, steps):
        self._lines += ["", "starting permutation: " + " ".join(steps)]
        for sql in self._spec.setups:
            self._at_once("control", sql)
        for session in self._spec.sessions.values():
            for sql in session.setup:
                self._at_once(session.name, sql)
        for step in steps:
            self._step(step)
        for name in list(self._waiting):
            self._await(name)
        for session in self._spec.sessions.values():
            for sql in session.teardown:
                self._at_once(session.name, sql)
        for sql in self._spec.teardowns:
            self._at_once("control", sql)

    def _at_once(self, name, sql):
        self._caught_up()
        self._conns[name].send_query(sql.encode())
        self._until(name, None)
        self._results(name)

    def _step(self, step):
        name = self._owner[step]
        if name in self._waiting:
            self._await(name)
        sql = self._spec.sessions[name].steps[step]
        self._caught_up()
        mark = f"/* {name} {step} */ "
        self._conns[name].send_query((mark + sql).encode())
        if self._until(name, mark):
            self._lines.append(f"step {step}: {sql}")
            self._results(name)
        else:
            self._lines.append(f"step {step}: {sql} <waiting ...>")
            self._waiting[name] = step, mark
        for other in list(self._waiting):
            if self._until(other, self._waiting[other][1]):
                self._completed(other)

    def _await(self, name):
        """Others that wait may have to be done first."""
        deadline = time.monotonic() + self._timeout
        while name in self._waiting:
            for other in list(self._waiting):
                if self._until(other, self._waiting[other][1]):
                    self._completed(other)
            assert time.monotonic() < deadline, f"step {self._waiting[name][0]} waits for ever"

    def _completed(self, name):
        self._lines.append(f"step {self._waiting.pop(name)[0]}: <... completed>")
        self._results(name)

    def _until(self, name, mark):
        """True when the answer is there, False when the server says that the step waits for another session."""
        conn, deadline = self._conns[name], time.monotonic() + self._timeout
        while True:
            conn.consume_input()
            if not conn.is_busy():
                return True
            if mark and self._control.execute(BLOCKED, (mark, self._database)).fetchone()[0]:
                conn.consume_input()
                return not conn.is_busy()
            assert time.monotonic() < deadline, f"{name} neither answers nor waits:\n" + "\n".join(self._lines[-20:])
            time.sleep(0.003)

    def _results(self, name):
        conn = self._conns[name]
        while True:
            result = conn.get_result()
            if result is None:
                break
            if result.status == pq.ExecStatus.TUPLES_OK:
                self._lines.append("|".join(result.fname(i).decode() for i in range(result.nfields)))
                for row in range(result.ntuples):
                    self._lines.append("|".join((result.get_value(row, i) or b"").decode() for i in range(result.nfields)))
                self._lines.append(f"({result.ntuples} rows)")
            elif result.status == pq.ExecStatus.FATAL_ERROR:
                field = pq.DiagnosticField
                severity, message = (result.error_field(f).decode() for f in (field.SEVERITY, field.MESSAGE_PRIMARY))
                # Process ids and relations' numbers are others in every run.
                self._lines.append(f"{severity}:  " + re.sub(r"\d{4,}", "?", message))
        while conn.notifies():
            self._lines.append(f"{name}: NOTIFY")

    def _caught_up(self):
        lsn = self._control.execute("select pg_current_wal_flush_lsn()").fetchone()[0]
        for conn in self._replicas:
            while not conn.execute("select pg_last_wal_replay_lsn() >= %s::pg_lsn", (lsn,)).fetchone()[0]:
                time.sleep(0.001)
