# SPDX-License-Identifier: ISC
"""COPY in both directions, in every format, with errors in the middle, and in amounts that nobody should hold."""
import hashlib

import psycopg
import pytest

import frontend as fe
from harness.load import port
from harness.router import sanitized

MIB = 1 << 20


@pytest.mark.direct
@pytest.mark.parametrize("options", ["", "with (format csv)", "with (format csv, delimiter ';', header)",
                                     "with (format binary)"])
def test_there_and_back(router, table, options):
    """What COPY TO gives COPY FROM takes."""
    name, copy_of = table("id int, v text"), table("id int, v text")
    with router().connect() as conn:
        conn.execute(f"insert into {name} select g, repeat(chr(97 + g % 26), g % 300) from generate_series(1, 5000) g "
                     "union all select 0, e'tab\\t newline\\n backslash\\\\ quote\" null' union all select null, null")
        with conn.cursor() as cursor:
            with cursor.copy(f"copy {name} to stdout {options}") as copy:
                data = b"".join(bytes(part) for part in copy)
            with cursor.copy(f"copy {copy_of} from stdin {options}") as copy:
                for at in range(0, len(data), 7777):
                    copy.write(data[at:at + 7777])
        assert conn.execute(f"select count(*) from (table {name} except all table {copy_of}) d").fetchone() == (0,)
        assert conn.execute(f"select count(*) from {copy_of}").fetchone() == (5002,)


@pytest.mark.direct
def test_errors_in_the_middle(router, table):
    """Bad data, the client's own failure and a refused COPY: each leaves the connection as good as before."""
    name = table()
    with router().connect() as conn, conn.cursor() as cursor:
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            with cursor.copy(f"copy {name} from stdin") as copy:
                for i in range(10000):
                    copy.write(f"{i}\t{i}\n")
                copy.write("not\tnumbers\n")
                for i in range(10000, 20000):
                    copy.write(f"{i}\t{i}\n")
        with pytest.raises(psycopg.errors.QueryCanceled, match="our own failure"):
            with cursor.copy(f"copy {name} from stdin") as copy:
                copy.write("1\t1\n")
                raise RuntimeError("our own failure")
        with pytest.raises(psycopg.errors.UndefinedTable):
            with cursor.copy("copy no_such_table from stdin") as copy:
                copy.write("1\n")
        with pytest.raises(psycopg.errors.UniqueViolation):
            with cursor.copy(f"copy {name} from stdin") as copy:
                copy.write("1\t1\n1\t1\n")
        assert conn.execute(f"select count(*) from {name}").fetchone() == (0,)


@pytest.mark.direct
def test_error_in_copy_out(router):
    with router().connect() as conn, conn.cursor() as cursor:
        got = 0
        with pytest.raises(psycopg.errors.DivisionByZero):
            with cursor.copy("copy (select 1 / (5000 - g) from generate_series(1, 6000) g) to stdout") as copy:
                for part in copy:
                    got += len(bytes(part))
        assert got > 0
        assert conn.execute("select 1").fetchone() == (1,)


def test_which_server(router, cluster, table):
    """COPY of a query that reads may go to a replica; COPY FROM never does."""
    name = table("p int")
    replicas = {n.port for n in cluster.replicas}
    with router().connect() as conn, conn.cursor() as cursor:
        with cursor.copy("copy (select (select port from here)) to stdout") as copy:
            assert {int(bytes(part)) for part in copy} <= replicas
        with cursor.copy(f"copy {name} from stdin") as copy:
            copy.write("1\n")
        with cursor.copy(f"copy (insert into {name} values (2) returning (select port from here)) to stdout") as copy:
            assert [int(bytes(part)) for part in copy] == [cluster.primary.port]


@pytest.mark.direct
def test_copy_in_a_transaction(router, table):
    name = table()
    with router().connect(autocommit=False) as conn, conn.cursor() as cursor:
        with cursor.copy(f"copy {name} from stdin") as copy:
            copy.write("1\t1\n")
        with cursor.copy(f"copy {name} to stdout") as copy:
            assert b"".join(bytes(p) for p in copy) == b"1\t1\n"
        conn.rollback()
        assert conn.execute(f"select count(*) from {name}").fetchone() == (0,)


@pytest.mark.direct
def test_copy_by_the_extended_protocol(router, table):
    """Copy data follow the Execute; the Sync comes after CopyDone, and one that comes before is ignored."""
    name = table("v int")
    with fe.Frontend(router()).login(password="app-password") as conn:
        conn.send(fe.parse(f"copy {name} from stdin") + fe.bind() + fe.execute() + fe.FLUSH)
        assert fe.kinds(conn.until("G")) == "12G"
        got = conn.ask(fe.copy_data(b"1\n2") + fe.copy_data(b"2\n") + fe.COPY_DONE + fe.SYNC)
        assert fe.kinds(got) == "CZ"
        conn.send(fe.parse(f"copy {name} from stdin") + fe.bind() + fe.execute() + fe.SYNC)
        conn.until("G")
        got = conn.ask(fe.FLUSH + fe.SYNC + fe.copy_data(b"3\n") + fe.COPY_DONE + fe.SYNC)
        assert fe.kinds(got) == "CZ"
        conn.send(fe.query(f"copy {name} from stdin"))
        conn.until("G")
        got = conn.ask(fe.copy_data(b"4\n") + fe.copy_fail("enough"))
        assert fe.errors(got)[0]["C"] == "57014" and "enough" in fe.errors(got)[0]["M"]
        assert fe.rows(conn.ask(fe.query(f"select v from {name} order by v"))) == [["1"], ["3"], ["22"]]


@pytest.mark.direct
def test_several_copies_in_one_query(router, table):
    a, b = table("v int"), table("v int")
    with fe.Frontend(router()).login(password="app-password") as conn:
        conn.send(fe.query(f"copy {a} from stdin; copy {b} from stdin; select sum(v) from {a}; copy {b} to stdout"))
        conn.until("G")
        conn.send(fe.copy_data(b"1\n") + fe.COPY_DONE)
        conn.until("G")
        got = conn.ask(fe.copy_data(b"2\n") + fe.COPY_DONE)
        assert fe.kinds(got) == "CTDCHdcCZ"
        assert fe.rows(got) == [["1"]]


def test_client_gone_in_the_middle(router, cluster, table):
    """The server connection of a COPY whose client vanished is not left in it."""
    name = table("v int")
    endpoint = router(default_pool_size=1, workers=1)
    for how in ("reset", "close"):
        conn = fe.Frontend(endpoint).login(password="app-password")
        conn.send(fe.query(f"copy {name} from stdin"))
        conn.until("G")
        conn.send(fe.copy_data(b"1\n"))
        conn.reset() if how == "reset" else conn.socket.close()
        with endpoint.connect() as other:  # there is one server connection only
            assert other.execute(f"select count(*), max(txid_current()) from {name}").fetchone()[0] == 0
            assert port(other)


@pytest.mark.memory
@pytest.mark.timeout(600)
@pytest.mark.parametrize("direction", ["in", "out"])
def test_much(router, cluster, table, full, direction):
    """100 MB (1 GB in full) pass, unharmed, with the router's memory growing by less than 8 MiB."""
    total = (1024 if full else 100) * MIB
    name = table("v text")
    endpoint = router(measure=True)
    chunk = (("x" * 1023 + "\n") * 64).encode()
    rounds = total // len(chunk)
    digest = hashlib.md5()
    with endpoint.connect() as conn, conn.cursor() as cursor:
        cursor.execute("select 1")
        before = endpoint.reset_peak()
        if direction == "in":
            with cursor.copy(f"copy {name} from stdin") as copy:
                for _ in range(rounds):
                    copy.write(chunk)
            assert cursor.rowcount == rounds * 64
        else:
            received = 0
            with cursor.copy(f"copy (select repeat('x', 1023) from generate_series(1, {rounds * 64})) to stdout") as copy:
                for part in copy:
                    received += len(part)
                    digest.update(part)
            assert received == total
            expected = hashlib.md5()
            for _ in range(rounds):
                expected.update(chunk)
            assert digest.digest() == expected.digest()
        growth = endpoint.peak() - before
    assert growth < (8 if not sanitized() else 32) * MIB, f"memory grew by {growth / MIB:.1f} MiB"


@pytest.mark.parametrize("end", [fe.COPY_DONE, fe.copy_fail("no")], ids=["done", "fail"])
@pytest.mark.parametrize("lead", ["write", "read", "failed", "sync"])
def test_data_sent_ahead_behind_what_is_not_answered(router, table, lead, end):
    """The answer to what went before says nothing of the COPY behind it."""
    name = table()
    first = {"write": fe.query(f"insert into {name} values (1, 1)"), "read": fe.query("select 1"),
             "failed": fe.describe("S", "missing") + fe.SYNC, "sync": fe.SYNC}[lead]
    copy = fe.parse(f"copy {name} from stdin") + fe.bind() + fe.execute() + fe.copy_data(b"2\t2\n") + end + fe.SYNC
    with fe.Frontend(router(workers=1)).login(password="app-password") as conn:
        got = fe.kinds(conn.ask(first + copy, syncs=2))
        assert got.endswith("12GCZ" if end == fe.COPY_DONE else "12GEZ")
        assert fe.kinds(conn.ask(fe.parse("select 1") + fe.SYNC)) == "1Z"
        rows = conn.value(f"select count(*) from {name} where id = 2")
        assert rows == ("1" if end == fe.COPY_DONE else "0")
