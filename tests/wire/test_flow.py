# SPDX-License-Identifier: ISC
"""Good messages in unusual company: pipelines, fragments, Flush, several Syncs in flight, answers in order."""
import random
import struct

import pytest

import frontend as fe
from harness.router import sanitized

pytestmark = pytest.mark.direct


def test_many_syncs_in_one_write(login):
    """A thousand exchanges sent at once, answered in order."""
    conn = login()
    got = conn.ask(b"".join(fe.ask(f"select {n}, $1::text", "x" * (n % 50)) for n in range(1000)), syncs=1000)
    assert fe.rows(got) == [[str(n), "x" * (n % 50)] for n in range(1000)]
    assert fe.kinds(got) == "12TDCZ" * 1000


def test_many_queries_in_one_write(login):
    conn = login()
    got = conn.ask(b"".join(fe.query(f"select {n}") for n in range(1000)), syncs=1000)
    assert fe.rows(got) == [[str(n)] for n in range(1000)]


def test_mixed_targets_in_one_write(login, target):
    """Reads, writes, transactions, errors and settings in one pipeline: each answered, in order."""
    conn = login()
    pieces, expected = [], []
    for n in range(200):
        pieces += [fe.ask(f"select {n}"), fe.query(f"select {n} + 0 * txid_current()"), fe.query("select 1/0"),
                   fe.ask("select nonsense"), fe.query("begin"), fe.ask(f"select {n}"), fe.query("commit"), fe.query(""),
                   fe.SYNC]
        expected += ["12TDCZ", "TDCZ", "EZ", "EZ", "CZ", "12TDCZ", "CZ", "IZ", "Z"]
    got = conn.ask(b"".join(pieces), syncs=len(pieces))
    assert fe.kinds(got).replace("TEZ", "EZ") == "".join(expected)
    assert [int(r[0]) for r in fe.rows(got)] == [n for n in range(200) for _ in range(3)]
    assert conn.status == "I"


def test_read_your_writes_in_a_pipeline(login, target, wire_table):
    """A read behind a write in the same segment sees it."""
    conn = login()
    conn.ask(fe.query("truncate wire_table"))
    got = conn.ask(b"".join(fe.query(f"insert into wire_table values ({n}, {n})") +
                            fe.query("select count(*) from wire_table") for n in range(100)), syncs=200)
    assert [int(r[0]) for r in fe.rows(got)] == list(range(1, 101))


def test_error_skips_to_sync(login):
    """What stands between an error and its Sync is not run, whatever it is; what stands behind is."""
    conn = login()
    got = conn.ask(fe.parse("select 1/0") + fe.bind() + fe.execute() + fe.parse("select 1", "skipped") + fe.FLUSH +
                   fe.describe("S", "skipped") + fe.close("S", "skipped") + fe.SYNC + fe.ask("select 2"), syncs=2)
    assert fe.kinds(got).endswith("EZ12TDCZ") and fe.rows(got) == [["2"]]
    assert fe.errors(conn.ask(fe.bind("skipped") + fe.SYNC))[0]["C"] == "26000"


def test_query_behind_an_unfinished_batch(login):
    """A simple Query without a Sync before it, as PostgreSQL takes it."""
    conn = login()
    got = conn.ask(fe.parse("select 1", "unfinished") + fe.query("select 2"))
    assert fe.kinds(got) == "1TDCZ" and fe.rows(got) == [["2"]]
    got = conn.ask(fe.bind("unfinished") + fe.execute() + fe.SYNC)
    assert fe.rows(got) == [["1"]]


def test_flush(login):
    """Answers come without a Sync; the exchange is one all the same."""
    conn = login()
    conn.send(fe.parse("select $1::int + 1", "f") + fe.describe("S", "f") + fe.FLUSH)
    assert fe.kinds(conn.until("T")) == "1tT"
    conn.send(fe.bind("f", [41]) + fe.FLUSH)
    assert fe.kinds(conn.until("2")) == "2"
    conn.send(fe.execute() + fe.FLUSH)
    got = conn.until("C")
    assert fe.rows(got) == [["42"]]
    assert fe.kinds(conn.ask(fe.SYNC)) == "Z"
    conn.send(fe.FLUSH * 10)
    assert fe.kinds(conn.ask(fe.SYNC)) == "Z"


def test_flush_after_execute_then_more(login):
    """The batch goes on where it was, in the same transaction."""
    conn = login()
    conn.send(fe.parse("select txid_current()") + fe.bind() + fe.execute() + fe.FLUSH)
    first = fe.rows(conn.until("C"))[0][0]
    got = conn.ask(fe.parse("select txid_current()") + fe.bind() + fe.execute() + fe.SYNC)
    assert fe.rows(got)[0][0] == first


def test_portal_across_flush(login):
    conn = login()
    conn.send(fe.parse("select generate_series(1, 10)") + fe.bind(portal="p") + fe.execute("p", 3) + fe.FLUSH)
    assert len(fe.rows(conn.until("s"))) == 3
    got = conn.ask(fe.execute("p", 3) + fe.execute("p", 0) + fe.SYNC)
    assert [r[0] for r in fe.rows(got)] == [str(n) for n in range(4, 11)]


def test_implicit_transaction_of_a_batch(login, target, wire_table):
    """Everything up to Sync is one transaction: an error takes all of it back."""
    conn = login()
    conn.ask(fe.query("truncate wire_table"))
    insert = fe.parse("insert into wire_table values (1, 1)") + fe.bind() + fe.execute()
    assert fe.kinds(conn.ask(insert + insert + fe.parse("select 1/0") + fe.bind() + fe.execute() + fe.SYNC)).endswith("EZ")
    assert conn.value("select count(*) + 0 * max(txid_current()) from wire_table") in ("0", None)
    conn.ask(insert + insert + fe.SYNC)
    assert conn.value("select count(*) from wire_table") == "2"


def test_begin_in_a_batch(login):
    conn = login()
    conn.ask(fe.ask("begin"))
    assert conn.status == "T"
    conn.ask(fe.ask("select 1"))
    assert conn.status == "T"
    conn.ask(fe.ask("commit"))
    assert conn.status == "I"


def test_empty_queries(login):
    conn = login()
    for sql in ("", ";", " ; ; ", "-- nothing", "/* nothing */"):
        assert fe.kinds(conn.ask(fe.query(sql))) == "IZ"
        assert fe.kinds(conn.ask(fe.ask(sql))) == "12nIZ"


def test_function_call(login):
    """The protocol's own function call: 1598 is random(), 1317 length(text), 1 none."""
    conn = login()
    got = conn.ask(fe.message("F", struct.pack("!IHHH", 1598, 0, 0, 0)))
    assert fe.kinds(got) == "VZ"
    got = conn.ask(fe.message("F", struct.pack("!IHHI", 1317, 0, 1, 3) + b"ABC" + struct.pack("!H", 0)))
    assert got[0].body == struct.pack("!I", 1) + b"3"
    got = conn.ask(fe.message("F", struct.pack("!IHHH", 1, 0, 0, 0)))
    assert fe.kinds(got) == "EZ"


def test_fragments(login):
    """A whole session, one byte per segment."""
    conn = login()
    conn.ask(fe.query("create temp table fragments (a int) on commit drop"))
    conn.send_bytewise(fe.ask("select $1::text", "fragments"))
    assert fe.rows(conn.until("Z")) == [["fragments"]]
    conn.send_bytewise(fe.query("select 1; select 2"))
    assert fe.rows(conn.until("Z")) == [["1"], ["2"]]
    conn.send_bytewise(fe.parse("select 3", "s") + fe.SYNC + fe.bind("s") + fe.execute() + fe.SYNC)
    assert fe.rows(conn.until("Z") + conn.until("Z")) == [["3"]]
    conn.send_bytewise(fe.query("copy wire_table from stdin"))
    conn.until("G")
    conn.send_bytewise(fe.copy_data(b"1\t1\n") + fe.COPY_DONE)
    assert fe.kinds(conn.until("Z")) == "CZ"


def test_random_fragments(login):
    """The same pipeline cut at random places, reproducibly, gives the same answers."""
    seed = random.Random(1)
    data = b"".join(fe.ask(f"select {n}, $1::text", "y" * (n * 37 % 3000)) + fe.query(f"select {n}") for n in range(60))
    for _ in range(5):
        conn = login()
        cuts = sorted(seed.sample(range(1, len(data)), 80))
        for begin, end in zip([0] + cuts, cuts + [len(data)]):
            conn.send(data[begin:end])
        got = [m for _ in range(120) for m in conn.until("Z")]
        assert [r[0] for r in fe.rows(got)] == [str(n) for n in range(60) for _ in range(2)]


def test_sizes_around_the_buffers(login):
    """Messages of every size near the powers of two that buffers have."""
    conn = login()
    for power in range(8, 20):
        for size in range((1 << power) - 40, (1 << power) + 8, 5):
            conn.send(fe.ask("select length($1::text), $1::text", "z" * size))
            got = conn.until("Z")
            assert fe.rows(got) == [[str(size), "z" * size]]


def test_batch_larger_than_what_is_gathered(login, target, wire_table):
    """A batch of a few megabytes is one transaction, all of it answered."""
    conn = login()
    conn.ask(fe.query("truncate wire_table"))
    one = fe.bind("i", [1, 2]) + fe.execute()
    got = conn.ask(fe.parse("insert into wire_table values ($1, $2)", "i") + one * 20000 + fe.SYNC)
    assert fe.kinds(got) == "1" + "2C" * 20000 + "Z"
    got = conn.ask(fe.parse("select $1::text", "t") + fe.bind("t", ["x" * 3000000]) + fe.execute() + fe.SYNC)
    assert len(fe.rows(got)[0][0]) == 3000000
    assert conn.value("select count(*) from wire_table") == "20000"


def test_statements_far_larger_than_what_is_parsed(login):
    conn = login()
    text = "select " + " + ".join(["1"] * 40000)
    assert conn.ask(fe.query(text))
    assert conn.value("select '" + "x" * 300000 + "' = 'y'") == "f"
    assert conn.value("select 1") == "1"


@pytest.mark.memory
def test_flood_without_reading(login, target):
    """Queries without end from someone who never reads: reading stops, memory does not grow, others go on."""
    before = target.reset_peak() if target.pid else 0
    conn = login()
    conn.socket.settimeout(2)
    sent, batch = 0, fe.query("select repeat('x', 1000)") * 1000
    try:
        while sent < 200 << 20:
            conn.socket.sendall(batch)
            sent += len(batch)
    except TimeoutError:
        pass
    assert sent < 200 << 20, "200 MB were taken from a client that reads nothing"
    assert login().value("select 1") == "1"
    if target.pid:
        assert target.peak() - before < (8 if not sanitized() else 32) << 20
    conn.reset()


@pytest.mark.memory
def test_syncs_without_reading(login, target):
    """The same with the smallest message there is, whose answers are the router's to keep in order."""
    before = target.reset_peak() if target.pid else 0
    conn = login()
    conn.socket.settimeout(2)
    sent = 0
    try:
        while sent < 64 << 20:
            conn.socket.sendall(fe.SYNC * 10000)
            sent += 50000
    except TimeoutError:
        pass
    if target.pid:
        assert target.peak() - before < (8 if not sanitized() else 32) << 20
    conn.reset()


def test_terminate(login, target):
    """The end at once, whatever comes behind it; and in a transaction it is rolled back."""
    conn = login()
    conn.send(fe.TERMINATE + fe.query("select 1"))
    assert conn.drain() == []
    conn = login()
    conn.ask(fe.query("begin"))
    conn.ask(fe.query("lock table wire_table"))
    conn.send(fe.TERMINATE)
    conn.drain()
    assert login().value("select count(*) >= 0 from wire_table, txid_current()") == "t"


def test_notices_come_in_their_place(login):
    conn = login()
    conn.send(fe.query("do $$ begin raise notice 'one'; end $$") + fe.query("select 1"))
    assert conn.receive().type == "N"
    assert fe.kinds(conn.until("Z") + conn.until("Z")) == "CZTDCZ"


def test_nothing_comes_unasked(login):
    """After ReadyForQuery there is silence."""
    conn = login()
    for _ in range(20):
        conn.ask(fe.ask("select 1") + fe.query("begin") + fe.query("rollback"), syncs=3)
        assert not conn.pending()
