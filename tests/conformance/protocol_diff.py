# SPDX-License-Identifier: ISC
"""Random sequences of messages, sent to PostgreSQL and to the router, and their answers compared message by message.

A sequence is one connection's life: rounds of messages, each sent at once and answered to the end before the next, and
perhaps a wild last one that needs no order at all. Everything comes from one random number, so
that a sequence can be made again; one that differs is made smaller before it is reported.

Both sides have a table `t` of their own in a schema of their own, filled anew by the first round: what a client reads of
others may be older through the router, what it reads of its own may not.
"""
import itertools
import random
import struct
from collections import namedtuple

import frontend as fe

# One message, or several that belong together. `ready`: how many ReadyForQuery it brings. `copies`: it may ask for data.
Item = namedtuple("Item", "label data ready copies", defaults=(0, False))
# `answer` is sent when the server asks for data; None when the data are sent ahead of the question.
Round = namedtuple("Round", "items answer wild", defaults=(b"", False))



def query(sql):
    return Item(f"Query {sql!r}", fe.query(sql), 1)


END = "that_is_all"
FILL = "delete from t; insert into t select g, 'v' || g from generate_series(1, 5) g"

# (statement, number of parameters)
READS = [("select id, v from t order by id", 0), ("select count(*) from t", 0), ("select v from t where id = $1", 1),
         ("select $1::int + $2::int", 2), ("select g from generate_series(1, 5) g", 0), ("values (1, 'a'), (2, null)", 0),
         ("select 1 where false", 0), ("explain (costs off) select 1", 0), ("select", 0),
         ("select v from t order by id for update", 0)]
WRITES = [("insert into t values ($1, 'p')", 1), ("insert into t values (10, 'ten')", 0),
          ("insert into t values (11, $1) on conflict (id) do update set v = excluded.v returning *", 1),
          ("update t set v = v || 'u' where id < 3", 0), ("delete from t where id = $1 returning v", 1),
          ("with d as (delete from t where id = 4 returning id) select * from d", 0)]
ERRORS = [("select 1/0", 0), ("selec", 0), ("table missing", 0), ("select 'x'::int", 0), ("select $1::int", 1),
          ("insert into t values (1, 'again')", 0), ("select 1/(id - 3) from t order by id", 0)]
BLOCKS = [(s, 0) for s in (
    "begin", "begin", "begin isolation level serializable", "begin read only", "start transaction", "commit", "commit",
    "rollback", "rollback", "end", "savepoint a", "savepoint a", "rollback to a", "release a", "commit and chain",
    "rollback and chain", "set transaction isolation level repeatable read")]
SESSION = [(s, 0) for s in (
    "set work_mem = '5MB'", "set local work_mem = '6MB'", "reset work_mem", "show work_mem", "set my.a = 'x'", "show my.a",
    "select set_config('my.a', 'y', false)", "select set_config('my.a', 'z', true)",
    "select current_setting('my.a', true)", "set application_name = 'fuzz'", "set datestyle = 'german'",
    "reset datestyle", "set time zone 'Asia/Tokyo'", "set role pg_monitor", "reset role", "select current_user",
    "set client_min_messages = error", "set nonsense = 1", "discard plans", "discard temp",
    "create temp table if not exists tt as select 1 as x", "select * from pg_temp.tt", "drop table if exists pg_temp.tt",
    "create temp table od (x int) on commit drop", "select count(*) from pg_temp.od",
    "prepare q as select count(*) from t", "execute q", "deallocate q", "prepare q (int) as select $1", "execute q(5)",
    "declare c cursor for select id from t order by id", "fetch 2 from c", "fetch all in c", "move 1 in c", "close c",
    "declare h cursor with hold for select id from t order by id", "fetch 1 h", "close h", "close all",
    "listen l", "notify l, 'said'", "unlisten *", "select pg_advisory_lock(99)", "select pg_advisory_unlock(99)",
    "select pg_advisory_xact_lock(98)", "do $$ begin raise notice 'noted'; end $$", "lock table t in share mode",
    "deallocate s1", "deallocate all", "discard all")]
COPIES = [(s, 0) for s in ("copy (table t order by id) to stdout", "copy (select 1 union all select 2) to stdout", "copy missing to stdout",
                           "copy (select 1/(id - 3) from t order by id) to stdout")]
COPIES_IN = ["copy t from stdin", "copy t (id) from stdin", "copy missing from stdin", "copy t from stdin with (format csv)"]
TEXTS = ["select 1; select 2", "insert into t values (20, 'm'); select v from t where id = 20", "begin; select 1",
         "insert into t values (21, 'm'); select 1/0", "begin; delete from t; rollback", "select 1; commit; select 2",
         "begin; insert into t values (22, 'm'); commit; select 1/0", ";", "", " -- nothing", "select 1;; select 2",
         "set work_mem = '7MB'; show work_mem", "savepoint a; select 1", "commit; begin; select 1", "rollback; select 1",
         "select 1; begin", "select 1; selec", "set local work_mem = '8MB'; show work_mem",
         "begin; declare c cursor for select id from t order by id; fetch 1 c", "copy (table t order by id) to stdout; select 1"]
TEXTS_PARSED = [("select 1; select 2", 0), ("", 0), (";", 0)]
DATA = [b"30\tx\n", b"30\tx\n31\ty\n", b"not a number\tx\n", b"1\tagain\n", b"32\n", b"33,z\n", b""]
SESSION.remove(("discard all", 0))  # stands alone: see round()
POOL = READS * 4 + WRITES * 3 + ERRORS * 2 + BLOCKS * 2 + SESSION + COPIES
NAMES, PORTALS = ["", "", "", "s1", "s2", "missing"], ["", "", "", "p1", "p2", "missing"]


# What is known to differ and should not. Its name keeps Maker from making it; its sequence must differ still, else the
# entry is to be removed, and Maker makes it from then on.


def sequence(*rounds):
    """A connection's rounds, each of (bytes, number of ReadyForQuery)."""
    return [Round([Item(FILL, fe.query(FILL), 1)])] + [Round([Item(repr(data), data, ready)]) for data, ready in rounds]


UNKNOWN = Item("an unknown type", fe.message("y", b"abc"))
# By name: the connections to make one after the other.
KNOWN = {
    # docs/routing.md: a DEALLOCATE of a statement made by Parse, split over two batches, is refused.
    "deallocate": [sequence((fe.parse("select 1", "s1") + fe.SYNC, 1),
                            (fe.parse("deallocate s1") + fe.SYNC + fe.bind() + fe.execute() + fe.SYNC, 2))],
    # A variable that another client has set for a transaction is there (and empty) rather than unknown.
    "placeholder": [sequence((fe.query("select set_config('my.b', 'x', true)"), 1)),
                    sequence((fe.query("select current_setting('my.b', true), txid_current() > 0"), 1))],
    # A Flush before anything has run is sent as a Sync, which ends the implicit transaction.
    "flush": [sequence((fe.parse("select 1") + fe.FLUSH + fe.parse("set transaction isolation level serializable") +
                        fe.bind() + fe.execute() + fe.SYNC, 1))],
}


# What random sequences have found, and is as it should be by now.
AGREED = {
    # A Close that its batch's error has undone leaves the name taken, for a Parse that was sent behind it as well.
    "close undone": sequence((fe.parse("select 1", "s2") + fe.SYNC, 1),
                             (fe.bind("missing") + fe.close("S", "s2") + fe.SYNC + fe.parse("select 2", "s2") + fe.SYNC, 2)),
    # ... also behind a batch whose effect is waited for.
    "close undone, by what was not SQL": sequence((fe.parse("select 1", "s2") + fe.parse("selec") + fe.execute("p1") +
                                                   fe.close("S", "s2") + fe.SYNC + fe.parse("begin", "s2") + fe.bind("s2") + fe.execute() +
                                                   fe.SYNC, 2)),
    # What a failed batch never parsed does not come back when the batch behind it fails as well.
    "parses undone one after the other": sequence((fe.execute("missing") + fe.parse("select 1") + fe.SYNC +
                                                   fe.execute("missing") + fe.parse("select 2") + fe.SYNC, 2), (fe.bind() + fe.SYNC, 1)),
    # A COPY that is bound and not executed asks for no data.
    "a copy that is not run": sequence((fe.parse("copy t from stdin") + fe.bind(portal="p2") + fe.parse("select 1", "s1") +
                                        fe.bind("s1") + fe.execute() + fe.copy_data(b"") + fe.SYNC, 1)),
    # What was sent before a message that ends the connection is answered.
    "an unknown type": [Round([Item("Close S", fe.close("S")), Item("Query", fe.query("select 1"), 1), UNKNOWN], b"", True)],
    # A name is taken although what it stands for could not be parsed by the role that there is now.
    "a name that is taken by what a role may not use": sequence(
        (fe.parse("select v from t where id = $1", "s1") + fe.describe("S", "s1") + fe.SYNC, 1),
        (fe.query("set role pg_monitor"), 1), (fe.parse("execute q(5)", "s1") + fe.SYNC, 1),
        (fe.parse("rollback to a", "s1") + fe.bind("s1", portal="p1") + fe.SYNC, 1),
        (fe.query("begin; declare c cursor for select 1"), 1), (fe.parse("rollback to a", "s1") + fe.bind("s1", portal="p1") + fe.SYNC, 1)),
    # ... also by one who has a statement without a text.
    "a name that is taken, beside a statement without text": sequence(
        (fe.parse("execute q(5)", "s1") + fe.SYNC, 1), (fe.parse("", "missing") + fe.parse("rollback", "s2") + fe.SYNC, 1),
        (fe.parse("select 1", "s2") + fe.SYNC, 1)),
    # A Close that needs no server leaves nothing behind on one that has the client's own names.
    "closed, where its name was known": sequence(
        (fe.parse("select 1", "s2") + fe.SYNC, 1), (fe.parse("execute q(5)") + fe.SYNC + fe.bind() + fe.SYNC, 2),
        (fe.close("S", "s2") + fe.SYNC, 1), (fe.bind("s2") + fe.SYNC, 1), (fe.describe("S", "s2") + fe.SYNC, 1)),
    # A BEGIN is not answered ahead of the server where its Sync is an error.
    "begin, and a Sync with a body": sequence((fe.parse("begin") + fe.bind() + fe.execute() + fe.message("S", b"x"), 2)),
    # What is no part of a DEALLOCATE goes to the server although it comes between its Parse and Execute.
    "deallocate, not bound": sequence((fe.parse("select 1", "s1") + fe.SYNC, 1),
                                      (fe.parse("deallocate s1") + fe.execute("p2") + fe.SYNC, 1),
                                      (fe.parse("deallocate s1") + fe.bind(portal="p1") + fe.describe("S", "s1") +
                                       fe.describe("P", "p1") + fe.execute("p1") + fe.SYNC, 1),
                                      (fe.bind("s1") + fe.SYNC, 1)),
    # A Query forgets the unnamed statement, be it one whose Close has been undone.
    "unnamed": sequence((fe.parse("select 1") + fe.execute("missing") + fe.close("S") + fe.SYNC + fe.query("select 2"), 2),
                        (fe.bind() + fe.SYNC, 1)),
    # DEALLOCATE ALL has happened, too, when its batch fails afterwards; and what is parsed behind it is there.
    "deallocate all": sequence((fe.parse("deallocate all", "s1") + fe.bind("s1") + fe.execute() + fe.execute("missing") + fe.SYNC, 1),
                               (fe.bind("s1") + fe.SYNC, 1)),
    "deallocate all, then Parse": sequence((fe.parse("select 1", "s1") + fe.SYNC, 1),
                                           (fe.parse("deallocate all") + fe.bind() + fe.execute() + fe.parse("select 2", "s2") +
                                            fe.SYNC, 1),
                                           (fe.bind("s2") + fe.execute() + fe.SYNC + fe.bind("s1") + fe.SYNC, 2)),
    "deallocate all, then Parse of a name that was taken": sequence(
        (fe.parse("select 1", "s1") + fe.SYNC, 1),
        (fe.parse("deallocate all") + fe.bind() + fe.execute() + fe.parse("select 2", "s1") + fe.bind("s1") + fe.execute() + fe.SYNC, 1),
        (fe.bind("s1") + fe.execute() + fe.SYNC, 1)),
    "deallocate all, then two Parses of one name": sequence(
        (fe.parse("select 1", "s1") + fe.SYNC, 1),
        (fe.parse("deallocate all") + fe.bind() + fe.execute() + fe.parse("select 2", "s1") + fe.parse("select 3", "s1") + fe.SYNC, 1),
        (fe.parse("select 5", "s2") + fe.SYNC, 1),
        (fe.parse("deallocate all") + fe.bind() + fe.execute() + fe.parse("select 2", "s1") + fe.bind("s1") + fe.execute() +
         fe.parse("select 3", "s1") + fe.SYNC, 1),
        (fe.parse("select 4", "s1") + fe.SYNC + fe.bind("s1") + fe.execute() + fe.SYNC, 2)),
    "deallocate all, then Describe of what it has dropped": sequence(
        (fe.parse("select 1", "s1") + fe.SYNC, 1),
        (fe.parse("deallocate all") + fe.bind() + fe.execute() + fe.describe("S", "s1") + fe.SYNC, 1),
        (fe.bind("s1") + fe.execute() + fe.SYNC, 1)),
    "deallocate all, bound before a Flush": sequence(
        (fe.parse("select 1", "s1") + fe.SYNC, 1),
        (fe.parse("deallocate all") + fe.bind(portal="p2") + fe.FLUSH + fe.execute("p2") + fe.parse("select 2", "s1") + fe.bind("s1") +
         fe.execute() + fe.SYNC, 1)),
    "deallocate all that is not run": sequence(
        (fe.parse("select 1", "s1") + fe.SYNC, 1),
        (fe.parse("deallocate all") + fe.execute("missing") + fe.parse("select 2", "s1") + fe.SYNC, 1),
        (fe.bind("s1") + fe.execute() + fe.SYNC, 1)),
    "deallocate all, another portal run": sequence(
        (fe.parse("deallocate all") + fe.bind(portal="p1") + fe.parse("rollback", "s2") + fe.bind("s2") + fe.execute() +
         fe.parse("commit", "s2") + fe.SYNC, 1)),
    "deallocate all, then Parse of what the server has": sequence(
        (fe.parse("set work_mem = '5MB'", "s3") + fe.bind("s3") + fe.execute() + fe.SYNC, 1),
        (fe.parse("select 5", "s4") + fe.bind("s4") + fe.execute() + fe.SYNC, 1),
        (fe.parse("deallocate all", "s2") + fe.bind("s2") + fe.execute() + fe.parse("set work_mem = '5MB'", "s2") +
         fe.bind("s2", portal="p1") + fe.execute("p1") + fe.parse("select 5", "s5") + fe.bind("s5") + fe.execute() + fe.SYNC, 1),
        (fe.parse("deallocate all", "s2") + fe.bind("s2") + fe.execute() + fe.parse("select 5", "s2") + fe.bind("s2") + fe.execute() +
         fe.SYNC, 1)),
    "reset in a transaction": sequence((fe.query("begin"), 1), (fe.query("set search_path = 'nowhere'"), 1),
                                       (fe.query("reset search_path") + fe.query("select count(*) from t"), 2),
                                       (fe.query("reset all"), 1), (fe.query("select count(*) from t"), 1),
                                       (fe.query("rollback"), 1), (fe.query("select count(*) from t"), 1)),
    "reset in a batch in a transaction": sequence((fe.query("begin"), 1), (fe.ask("reset search_path"), 1),
                                                  (fe.ask("select count(*) from t") + fe.ask("commit"), 2),
                                                  (fe.query("select count(*) from t"), 1)),
    "a BEGIN with types": sequence((fe.parse("begin", "", (23,)) + fe.FLUSH + fe.bind() + fe.execute() + fe.SYNC, 1)),
    "a BEGIN by a name that is taken after all": sequence(
        (fe.parse("reset datestyle", "s1") + fe.execute("missing") + fe.close("S", "s1") + fe.SYNC +
         fe.parse("begin", "s1") + fe.bind("s1") + fe.execute() + fe.SYNC, 2), (fe.query("commit"), 1)),
    "a BEGIN by a name that is gone": sequence(
        (fe.execute("missing") + fe.parse("begin", "s1") + fe.SYNC + fe.bind("s1") + fe.execute() + fe.SYNC, 2), (fe.query("commit"), 1)),
    "deallocate all, and the unnamed statement": sequence(
        (fe.parse("select 9") + fe.SYNC, 1), (fe.bind() + fe.execute() + fe.SYNC, 1),
        (fe.parse("deallocate all", "s1") + fe.bind("s1") + fe.execute() + fe.bind() + fe.execute() + fe.SYNC, 1),
        (fe.bind() + fe.execute() + fe.SYNC, 1)),
    "a Query that is passed over": sequence((fe.parse("select 1") + fe.SYNC, 1),
                                            (fe.bind("missing") + fe.query("select 2") + fe.SYNC + fe.bind() + fe.execute() + fe.SYNC, 2)),
    "deallocate all, then a Parse whose Close was passed over": sequence(
        (fe.parse("deallocate all") + fe.bind(portal="p1") + fe.execute("p1") + fe.parse("select 1", "s2") + fe.execute("p1") +
         fe.close("S", "s2") + fe.SYNC, 1), (fe.parse("select 2", "s2") + fe.SYNC, 1)),
    "deallocate all, then Parse behind a Flush": sequence(
        (fe.parse("select 7", "s1") + fe.SYNC, 1), (fe.parse("select 8", "s2") + fe.SYNC, 1),
        (fe.parse("deallocate all") + fe.bind() + fe.execute() + fe.FLUSH + fe.parse("select 8", "s1") + fe.bind("s1") + fe.SYNC, 1)),
    "a name that is closed, where SQL shows names": sequence(
        (fe.parse("execute q(5)", "s2") + fe.SYNC, 1), (fe.parse("select 1", "s1") + fe.bind("s1") + fe.close("S", "s1") + fe.SYNC, 1),
        (fe.message("B", b"p1\0s1\0\0\7") + fe.SYNC, 1)),
    "a name that is taken, where SQL shows names": sequence((fe.parse("execute q", "s1") + fe.SYNC, 1),
                                                            (fe.parse("select 1", "s2") + fe.SYNC, 1),
                                                            (fe.parse("select 2", "s2") + fe.bind("s1") + fe.SYNC, 1)),
    # A text is parsed under a second name as well, where it is not known yet what has become of the first.
    "two names for what is wrong": sequence(
        (fe.parse("insert into nowhere values (1)", "s1") + fe.SYNC + fe.parse("insert into nowhere values (1)", "s2") + fe.SYNC, 2),
        (fe.bind("s2") + fe.SYNC + fe.parse("select 1", "s2") + fe.SYNC, 2)),
    "two names for what is wrong, in a batch": sequence(
        (fe.parse("insert into nowhere values (2)", "s1") + fe.parse("insert into nowhere values (2)", "s2") + fe.SYNC +
         fe.parse("insert into nowhere values (2)", "s2") + fe.SYNC, 2)),
    "two names for a text, of which one is passed over": sequence(
        (fe.bind("missing") + fe.parse("insert into t values (60, 'x')", "s1") + fe.SYNC +
         fe.parse("insert into t values (60, 'x')", "s2") + fe.bind("s2") + fe.execute() + fe.SYNC, 2),
        (fe.bind("s2") + fe.execute() + fe.SYNC, 1)),
    "two names for a FETCH, of which one is passed over": sequence(
        (fe.query("declare h cursor with hold for select 1"), 1),
        (fe.bind("missing") + fe.parse("fetch 1 h", "s1") + fe.SYNC + fe.parse("fetch 1 h", "s2") + fe.SYNC, 2),
        (fe.bind("s2") + fe.execute() + fe.SYNC, 1)),
    "deallocate all, then an error": sequence((fe.parse("select 1", "s1") + fe.SYNC + fe.query("deallocate all; select 1/0"), 2),
                                              (fe.bind("s1") + fe.SYNC, 1)),
}


class Maker:
    """Makes sequences from random numbers."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.parameters = {}  # of a statement, by name

    def sequence(self):
        self.parameters = {}
        rounds = [Round([query(FILL)])] + [self.round() for _ in range(self.random.randint(1, 7))]
        if self.random.random() < 0.25:
            rounds.append(self.wild())
        return rounds

    def round(self):
        if self.random.random() < 0.02:
            return Round([query(self.random.choice(("discard all", "reset all", "reset search_path")))])
        items = []
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            items += self.simple() if self.random.random() < 0.4 else self.batch()
        if self.random.random() < 0.1:
            return self.with_copy(items)
        return Round(items)

    def simple(self):
        pick = self.random.random()
        if pick < 0.03:
            return [Item("FunctionCall", fe.function_call(177, [struct.pack("!i", 1), struct.pack("!i", 2)]), 1)]
        if pick < 0.3:
            return [query(self.random.choice(TEXTS))]
        return [query(self.statement()[0])]

    def batch(self):
        items = []
        for _ in range(self.random.choice((1, 1, 2, 3))):
            items += self.whole() if self.random.random() < 0.65 else [self.any_message()]
        return items + [Item("Sync", fe.SYNC, 1)]

    def whole(self):
        """What a driver sends for a statement, with or without names, a description, a limit of rows."""
        sql, count = self.statement()
        name, portal = self.random.choice(NAMES[:-1]), self.random.choice(PORTALS[:-1])
        items = [self.parse(sql, count, name)]
        if self.random.random() < 0.3:
            items.append(Item(f"Describe S {name}", fe.describe("S", name)))
        items.append(self.bind(name, portal, count))
        if self.random.random() < 0.5:
            items.append(Item(f"Describe P {portal}", fe.describe("P", portal)))
        for _ in range(self.random.choice((1, 1, 1, 2))):
            items.append(self.execute(portal))
        if self.random.random() < 0.2:
            items.append(Item(f"Close S {name}", fe.close("S", name)))
        if self.random.random() < 0.1 and not any("set transaction" in item.label for item in items):
            items.insert(self.random.randrange(len(items) + 1), Item("Flush", fe.FLUSH))
        return items

    def statement(self):
        while True:
            found = self.random.choice(POOL)
            if not (found[0] == "deallocate s1" and "deallocate" in KNOWN or
                    found[0] in ("show my.a", "select current_setting('my.a', true)") and "placeholder" in KNOWN):
                return found

    def any_message(self):
        kind = self.random.choice("PBBDDEECCHdcf")
        name, portal = self.random.choice(NAMES), self.random.choice(PORTALS)
        # PostgreSQL 15 itself ends with a segmentation fault at an Execute of the unnamed portal of a Query that failed.
        if portal == "" and kind in "DE":
            portal = "p1"
        if kind == "P":
            sql, count = self.statement() if self.random.random() < 0.8 else self.random.choice(TEXTS_PARSED)
            return self.parse(sql, count, name)
        if kind == "B":
            return self.bind(name, portal, self.parameters.get(name, 0))
        if kind in "DC":
            make, word = (fe.describe, "Describe") if kind == "D" else (fe.close, "Close")
            which = self.random.choice("SP")
            named = name if which == "S" else portal
            return Item(f"{word} {which} {named}", make(which, named))
        if kind == "E":
            return self.execute(portal)
        return {"H": Item("Flush", fe.FLUSH), "d": Item("CopyData", fe.copy_data(b"40\tnoise\n")),
                "c": Item("CopyDone", fe.COPY_DONE), "f": Item("CopyFail", fe.copy_fail("noise"))}[kind]

    def parse(self, sql, count, name):
        self.parameters[name] = count
        types = self.random.choice(((), (), (), (0,), (23,)))
        return Item(f"Parse {name!r} {sql!r} {types}", fe.parse(sql, name, types))

    def bind(self, name, portal, count):
        if self.random.random() < 0.08:
            count += self.random.choice((-1, 1))
        values = [self.random.choice((1, 3, 7, "x", None)) for _ in range(max(count, 0))]
        results = self.random.choice(((), (), (0,), (1,)))
        return Item(f"Bind {portal!r} of {name!r} {values} {results}", fe.bind(name, values, portal, (), results))

    def execute(self, portal):
        rows = self.random.choice((0, 0, 0, 1, 2))
        return Item(f"Execute {portal!r} {rows}", fe.execute(portal, rows))

    def with_copy(self, items):
        """COPY FROM STDIN is the last of its round: what follows would be taken for data."""
        sql, data = self.random.choice(COPIES_IN), self.random.choice(DATA)
        end = fe.COPY_DONE if self.random.random() < 0.7 else fe.copy_fail("changed my mind")
        simple = self.random.random() < 0.5
        ahead = self.random.random() < 0.3
        answer = fe.copy_data(data) + end
        label = f"({data!r} {'CopyDone' if end == fe.COPY_DONE else 'CopyFail'}{' ahead' if ahead else ''})"
        if simple:
            return Round(items + [Item(f"Query {sql!r} {label}", fe.query(sql) + (answer if ahead else b""), 1, True)],
                         b"" if ahead else answer)
        batch = fe.parse(sql) + fe.bind() + fe.execute() + (answer if ahead else b"") + fe.SYNC
        return Round(items + [Item(f"Parse Bind Execute Sync {sql!r} {label}", batch, 1, True)],
                     b"" if ahead else answer + fe.SYNC)

    def wild(self):
        """No order at all."""
        items = []
        for _ in range(self.random.randint(1, 6)):
            pick = self.random.random()
            if pick < 0.4:
                items.append(self.any_message())
            elif pick < 0.6:
                items += self.simple()
            elif pick < 0.8:
                items += self.batch()[:-1]
            elif pick < 0.9:
                items.append(Item("Sync", fe.SYNC, 1))
            else:
                items.append(self.random.choice(MALFORMED))
        return Round(items, b"", True)


MALFORMED = [Item("Bind without an end", fe.message("B", b"p")), Item("Describe X", fe.message("D", b"Xs1\0")),
             Item("Close X", fe.message("C", b"Xs1\0")), Item("Execute too short", fe.message("E", b"\0\0")),
             Item("Parse too long", fe.message("P", b"\0select 1\0\0\0more")), Item("Sync with a body", fe.message("S", b"x"), 1),
             Item("Flush with a body", fe.message("H", b"x")), Item("Parse of nothing", fe.message("P")),
             Item("Bind with 7 formats, none there", fe.message("B", b"p1\0s1\0\0\7")),
             Item("Bind with more than said", fe.message("B", b"p1\0s1\0" + bytes(6) + b"more")),
             Item("Describe of nothing", fe.message("D")), Item("Close with more than said", fe.message("C", b"Ss1\0more")),
             Item("Execute without an end", fe.message("E", b"p1")), Item("FunctionCall cut short", fe.message("F", b"\0\0")),
             UNKNOWN, Item("Query without an end", fe.message("Q", b"select 1"), 1),
             Item("Query of nothing", fe.message("Q"), 1), Item("Query with more than said", fe.message("Q", b"select 1\0more"), 1)]

# What comes before a malformed message, in a round of its own or in the same.
PREPARED = [Item("Parse s1", fe.parse("select 1", "s1")), Item("Bind p1", fe.bind("s1", (), "p1")), Item("Execute p1", fe.execute("p1"))]
SYNC = Item("Sync", fe.SYNC, 1)
STATES = {
    "idle": ([], []),
    "after a batch": ([[*PREPARED, SYNC]], []),
    "in a batch": ([], PREPARED),
    "in a batch that has failed": ([], [Item("Parse", fe.parse("selec"))]),
    "in a transaction": ([[query("begin; insert into t values (70, 'x')")]], PREPARED),
    "in a failed transaction": ([[query("begin; select 1/0")]], []),
    "behind a batch": ([], [*PREPARED, SYNC]),
    "behind a read": ([], [query("select count(*) from t")]),
    "in a COPY": ([], [Item("Query copy", fe.query("copy t from stdin"), 0, True)]),
}


def malformed(item, state):
    """The sequence of a malformed message in one of STATES, and what the table has then."""
    before, same = STATES[state]
    return [Round([query(FILL)]), *map(Round, before), Round([*same, item], b"", True),
            Round([query("rollback"), query("select * from t")])]


# --- running --------------------------------------------------------------------------------------------------------

def run(rounds, connect):
    """The answers to each round, shown as lines."""
    found = []
    with connect() as conn:
        for part in rounds:
            try:
                found.append(wild_answers(conn, part) if part.wild else answers(conn, part))
            except (fe.Closed, OSError) as error:  # TimeoutError is one of the latter
                found.append([type(error).__name__])
                break
    return loosened(found, rounds)


def exchanges(items):
    """The items up to and with each that brings a ReadyForQuery."""
    found = [[]]
    for item in items:
        found[-1].append(item)
        found += [[] for _ in range(item.ready)]
    return found


def loosened(rounds, parts):
    """In a transaction that has failed everything but its end is an error, and but a Describe of a statement without rows.
    Which error, whether a Parse before it is answered, and whether such a Describe is, may differ: a statement that the
    router knows need not be one that the server connection has, and cannot be parsed there any more."""
    # How many rows there were is of the sequence before, of which not all need have been comparable.
    rounds = [[line for line in rounds[0] if not line.startswith("C b'DELETE")], *rounds[1:]]
    failed, found = False, []
    for lines, part in zip(rounds, parts):
        out, start, asked = [], 0, iter(exchanges(part.items))
        for line in lines:
            out.append(line)
            if not line.startswith("Z "):
                continue
            items = next(asked, ())
            described = any(item.label.startswith("Describe S") for item in items)
            parsed = any(item.label.startswith("Parse ") for item in items)
            if failed and (described or parsed) and items[-1].label != "Sync":  # an error passes over what follows as well
                return [*found, out[:start]]
            ended = any(end in item.label for item in items for end in ("end'", "commit", "rollback", "prepare"))
            if failed and (described or any(given.startswith("E ") for given in out[start:])):
                out[start:] = ["E in a failed transaction", line]
            if failed and described and ended:  # or has not, where the Describe was an error
                return [*found, out[:-1]]
            failed, start = line == "Z b'E'", len(out)
        found.append(out)
    return found


def answers(conn, part):
    conn.send(b"".join(item.data for item in part.items))
    left, lines = sum(item.ready for item in part.items), []
    try:
        while left:
            got = conn.receive()
            left -= got.type == "Z"
            lines.append(show(got))
            if got.type == "G" and part.answer:
                conn.send(part.answer)
    except (fe.Closed, OSError) as error:
        lines.append(type(error).__name__)
    return normal(lines)


def wild_answers(conn, part):
    """Up to the answer to a query that is a syntax error in any state, or to the connection's end."""
    lines = []
    try:
        conn.send(b"".join(item.data for item in part.items) + fe.SYNC + fe.query(END))
        while not (lines[-1:] and lines[-1][0] == "Z" and len(lines) > 1 and END in lines[-2]):
            lines.append(show(conn.receive()))
    except (fe.Closed, OSError) as error:
        lines.append(type(error).__name__)
    if UNKNOWN in part.items:  # the router ends the connection without the answers to a batch that had no Sync yet
        synced = max((i + 1 for i, line in enumerate(lines) if line[0] == "Z"), default=0)
        lines = lines[:synced] + lines[max(synced, len(lines) - 2):]
    return normal(lines)


def show(got):
    kind, body = got
    if kind in "EN":
        found = fe.fields(body)
        # A server connection may have had temporary tables before, of which its empty schema is left.
        if found["M"] == 'schema "pg_temp" does not exist, skipping':
            found["M"] = 'table "tt" does not exist, skipping'
        # Said by the router, which does not count a COPY's lines.
        hidden = "FLRsW" if "during COPY from stdin" in found["M"] else "FLRs"
        # Of what comes behind the Execute of a COPY that was bound earlier, not all is sent ahead; and the server is gone
        # before it has said so, or afterwards.
        if found["M"].startswith("unexpected message type"):
            found["M"] = "unexpected message type during COPY from stdin"
        if found["M"].endswith("protocol synchronization was lost"):
            return f"{kind} protocol synchronization was lost"
        return f"{kind} " + "; ".join(f"{k} {v}" for k, v in found.items() if k not in hidden)
    if kind == "T":  # the number of the table is another on each side
        return f"T {b'|'.join(bytes(c) for c in columns(body))!r}"
    if kind == "A":
        return f"A {body[4:]!r}"
    return f"{kind} {body!r}"


def columns(body):
    at = 2
    for _ in range(struct.unpack_from("!H", body)[0]):
        end = body.index(b"\0", at) + 1
        yield body[at:end - 1] + b":" + body[end + 4:end + 18]
        at = end + 18


# --- differences that are meant -------------------------------------------------------------------------------------

def normal(lines):
    """Without what is meant to differ."""
    found = []
    for line in lines:
        # A text that a server connection has parsed before is not sent to be parsed again: Parse succeeds, and what it
        # would have said (a failed transaction) is said by the next message that needs the statement.
        if line.startswith("E "):
            while found and found[-1][0] in "1tn":
                found.pop()
        found.append(line)
    return found


REFUSED = "the READ ONLY transaction runs on a replica, which does not do this as the primary would"
COPY_REFUSED = "C 25006; M cannot execute COPY FROM in a read-only transaction"
HIDDEN = 'C 42P01; M relation "t" does not exist; P '
ISOLATION_REFUSED = "C 25001; M SET TRANSACTION ISOLATION LEVEL must be called before any query"


def comparable(expected, got):
    """Both without what comes of a READ ONLY transaction on a replica, as docs/sessions.md says: what the transaction can
    do only on the primary may be refused once it is bound to its replica, and then it has failed; and a COPY FROM is
    refused before its table is looked for. And without what comes of an isolation level that is set in one batch behind
    a Describe of a statement from before, which the connection may have to parse anew for that, or behind a Flush, which
    ends what came before it. Of what is wrong with a
    statement that the present role may not even see, the error may be that one."""
    a, b = [list(part) for part in expected], [list(part) for part in got]
    for n, (direct, router) in enumerate(zip(a, b)):
        for i, line in enumerate(router):
            if REFUSED in line or ISOLATION_REFUSED in line or ISOLATION_REFUSED in "".join(direct[i:i + 1]):
                return [*a[:n], direct[:i]], [*b[:n], router[:i]]
            if HIDDEN in line and i < len(direct) and direct[i].startswith("E "):
                direct[i] = line
            if COPY_REFUSED in line and i < len(direct) and direct[i].startswith("E "):
                direct[i] = line
    return a, b


def both(rounds, direct, router):
    """The answers of the two."""
    return comparable(run(rounds, direct), run(rounds, router))


def first(expected, got):
    """The first two lines that differ, or None."""
    for a, b in itertools.zip_longest(expected, got, fillvalue=[]):
        for pair in itertools.zip_longest(a, b, fillvalue="(nothing)"):
            if pair[0] != pair[1]:
                return pair
    return None


def shrink(rounds, differs, limit=300):
    """The smallest sequence that was found to differ still: rounds, then items, are left out one by one."""
    tries, smaller = 0, True
    while smaller and tries < limit:
        smaller = False
        for candidate in candidates(rounds):
            tries += 1
            if tries > limit:
                break
            if differs(candidate):
                rounds, smaller = candidate, True
                break
    return rounds


def candidates(rounds):
    for n in range(len(rounds) - 1, 0, -1):
        yield rounds[:n] + rounds[n + 1:]
    for n in range(len(rounds) - 1, 0, -1):
        items = rounds[n].items
        for i in range(len(items)):
            if items[i].label != "Sync":
                yield rounds[:n] + [rounds[n]._replace(items=items[:i] + items[i + 1:])] + rounds[n + 1:]


def report(rounds, expected, got):
    lines = []
    for n, part in enumerate(rounds):
        lines.append(f"round {n}: " + ", ".join(item.label for item in part.items))
        a, b = (side[n] if n < len(side) else ["(nothing)"] for side in (expected, got))
        if a == b:
            lines += [f"    both     {line}" for line in a]
        else:
            lines += [f"    direct   {line}" for line in a] + [f"    router   {line}" for line in b]
    return "\n".join(lines)
