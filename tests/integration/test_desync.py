# SPDX-License-Identifier: ISC
"""Sequences of messages for which it is easy to give an answer too many or too few, to hang, or to give up."""
import contextlib
import struct
from collections import Counter

import pytest

import frontend as fe
from harness.router import sanitized
from pgcluster import wait_until

MIB = 1 << 20


def limit(mib):
    """What memory may grow by; a sanitizer adds some of its own to everything."""
    return (mib if not sanitized() else 4 * mib) * MIB


@pytest.fixture
def client(router):
    """client(endpoint, **parameters): a client that is logged in; all are gone before their router stops."""
    made = []

    def make(endpoint, timeout=10, **parameters):
        made.append(fe.Frontend(endpoint, timeout=timeout))
        return made[-1].login(**{"password": "app-password", **parameters})

    yield make
    for conn in made:
        conn.socket.close()


def in_step(conn):
    """The answer to a question is the answer to that question, and the last that comes."""
    for n in (7, 8):
        assert fe.rows(conn.ask(fe.query(f"select {n}, txid_current() > 0"))) == [[str(n), "t"]]
        assert fe.rows(conn.ask(fe.query(f"select {n}"))) == [[str(n)]]
    assert not conn.pending()


def kinds(conn, count):
    """The kinds of the next messages, notices and parameters left out."""
    found = ""
    while len(found) < count:
        got = conn.receive()
        found += got.type if got.type not in "NS" else ""
    return found


def blocked(cluster, name):
    """Waits until a client's statement on the table waits for its lock; the id of its backend."""
    sql = f"select pid from pg_stat_activity where wait_event_type = 'Lock' and query like '%{name}%'"
    return wait_until(lambda: cluster.primary.sql(sql), 5, "the statement to wait for its lock")[0][0]


@contextlib.contextmanager
def locked(cluster, name):
    """Nobody gets at the table until the end of the block."""
    with cluster.primary.connect("app", autocommit=False) as lock:
        lock.execute(f"lock table {name} in access exclusive mode")
        yield lock
        lock.rollback()


def count(cluster, name, where="true"):
    return cluster.primary.value(f"select count(*) from {name} where {where}", dbname="app")


# --- messages out of place ------------------------------------------------------------------------------------------

def test_password_after_the_login(router, client):
    endpoint = router(workers=1)
    other, bad = client(endpoint), client(endpoint)
    bad.send(fe.message("p", b"x\0"))
    assert fe.errors(bad.drain())[0]["C"] == "08P01"
    in_step(other)


@pytest.mark.direct
def test_copy_messages_outside_copy(router, client):
    """PostgreSQL ignores them: they are what is left of a COPY that failed."""
    conn = client(router())
    conn.send(fe.copy_data(b"1\n") + fe.COPY_DONE + fe.copy_fail("no"))
    in_step(conn)


# --- COPY -----------------------------------------------------------------------------------------------------------

def test_copy_fails_within_a_message(router, client, table):
    """A row is refused while the client is in the middle of a CopyData; its rest is passed over."""
    name = table("v int")
    endpoint = router(default_pool_size=2, workers=1)
    other, conn = client(endpoint), client(endpoint)
    conn.send(fe.query(f"copy {name} from stdin"))
    assert kinds(conn, 1) == "G"
    conn.send(fe.copy_data(b"not a number\n") + b"d" + struct.pack("!I", 4 + 100000) + b"1\n" * 100)
    got = conn.until("Z")
    assert fe.kinds(got) == "EZ" and fe.errors(got)[0]["C"] == "22P02"
    in_step(other)
    conn.send(b"1\n" * 49900 + fe.COPY_DONE)
    in_step(conn)
    assert fe.rows(conn.ask(fe.query(f"select count(*) from {name}"))) == [["0"]]


def test_client_gone_within_a_message(router, client, table):
    """As above, and the rest never comes: the connection is not given to another as it is."""
    name = table("v int")
    endpoint = router(default_pool_size=1, workers=1)
    for start in (b"", fe.copy_data(b"not a number\n")):
        other, conn = client(endpoint), client(endpoint)
        conn.send(fe.query(f"copy {name} from stdin"))
        assert kinds(conn, 1) == "G"
        conn.send(start + b"d" + struct.pack("!I", 4 + 100000) + b"1\n" * 100)
        if start:
            assert fe.kinds(conn.until("Z")) == "EZ"
        conn.reset()
        in_step(other)


@pytest.mark.direct
@pytest.mark.parametrize("before", [b"", fe.SYNC, fe.FLUSH + fe.SYNC + fe.FLUSH], ids=["none", "sync", "more"])
def test_sync_and_flush_in_copy(router, client, table, before):
    """The server passes over them, so they are not answered."""
    name = table("v int")
    endpoint = router(default_pool_size=1, workers=1)
    conn, other = client(endpoint), client(endpoint)
    conn.send(fe.query(f"copy {name} from stdin"))
    assert kinds(conn, 1) == "G"
    conn.send(before + fe.copy_data(b"1\n") + before + fe.COPY_DONE)
    assert fe.kinds(conn.until("Z")) == "CZ"
    in_step(other)
    in_step(conn)


@pytest.mark.direct
def test_copy_all_at_once(router, client, table):
    """The data come before anybody knows that the server wants them."""
    name = table("v int")
    conn = client(router())
    for _ in range(3):
        conn.send(fe.parse(f"copy {name} from stdin") + fe.bind() + fe.execute() + fe.copy_data(b"1\n") + fe.COPY_DONE +
                  fe.SYNC)
        assert fe.kinds(conn.until("Z")) == "12GCZ"
    conn.send(fe.query(f"copy {name} from stdin") + fe.copy_data(b"1\n") + fe.COPY_DONE)
    assert fe.kinds(conn.until("Z")) == "GCZ"
    in_step(conn)
    assert fe.rows(conn.ask(fe.query(f"select count(*) from {name}"))) == [["4"]]


@pytest.mark.direct
@pytest.mark.parametrize("begin", [False, True], ids=["alone", "transaction"])
def test_copy_described_and_flushed(router, client, table, begin):
    name = table("v int")
    conn = client(router())
    if begin:
        conn.ask(fe.query("begin"))
    conn.send(fe.parse(f"copy {name} from stdin") + fe.describe("S") + fe.FLUSH)
    assert kinds(conn, 3) == "1tn"
    conn.send(fe.bind() + fe.execute() + fe.SYNC)
    assert kinds(conn, 2) == "2G"
    conn.send(fe.copy_data(b"1\n") + fe.COPY_DONE + fe.SYNC)
    assert fe.kinds(conn.until("Z")) == "CZ"
    assert conn.status == ("T" if begin else "I")
    in_step(conn)
    conn.ask(fe.query("rollback"))  # the table is dropped before the client leaves


def test_query_in_copy(router, client, table):
    """Nothing but COPY data may come: PostgreSQL's error and the end, and nothing of it stays for others."""
    name = table("v int")
    endpoint = router(default_pool_size=1, workers=1)
    other, conn = client(endpoint), client(endpoint)
    conn.send(fe.query(f"copy {name} from stdin"))
    assert kinds(conn, 1) == "G"
    conn.try_send(fe.copy_data(b"1\n") + fe.query(f"insert into {name} values (2)"))
    got = conn.drain()
    assert fe.errors(got)[0]["C"] == "08P01" and "Z" not in fe.kinds(got)
    in_step(other)
    assert other.value(f"select count(*) from {name}") == "0"


# --- Flush ----------------------------------------------------------------------------------------------------------

@pytest.mark.direct
def test_flush_of_a_read(router, client, table):
    """Parse, Describe, Flush as drivers send it, then the rest; of a read that goes to a replica."""
    name = table("v int", "values (5)")
    conn = client(router())
    for _ in range(3):
        conn.send(fe.parse(f"select v from {name}") + fe.describe("S") + fe.FLUSH)
        assert kinds(conn, 3) == "1tT"
        conn.send(fe.bind() + fe.execute() + fe.SYNC)
        assert fe.kinds(conn.until("Z")) == "2DCZ"
    in_step(conn)


@pytest.mark.direct
def test_flush_without_a_sync(router, client, table):
    """A simple query may follow a Flush; a write, and then a read."""
    name = table("v int")
    conn = client(router())
    conn.send(fe.parse(f"select v from {name}") + fe.describe("S") + fe.FLUSH)
    assert kinds(conn, 3) == "1tT"
    assert fe.kinds(conn.ask(fe.query(f"insert into {name} values (1)"))) == "CZ"
    assert fe.rows(conn.ask(fe.query(f"select v from {name}"))) == [["1"]]
    in_step(conn)


@pytest.mark.direct
def test_flush_behind_a_read(router, client, table):
    """Sent ahead while a replica still owes the answer to a read."""
    name = table("v int", "values (5)")
    endpoint = router(default_pool_size=2, workers=1)
    conn, other = client(endpoint), client(endpoint)
    for _ in range(3):
        conn.send(fe.query(f"select v from {name}") +
                  fe.parse(f"select v + 1 from {name}") + fe.describe("S") + fe.FLUSH)
        assert fe.kinds(conn.until("Z")) == "TDCZ"
        assert kinds(conn, 3) == "1tT"
        assert fe.rows(conn.ask(fe.bind() + fe.execute() + fe.SYNC)) == [["6"]]
    assert fe.kinds(conn.ask(fe.ask("set work_mem = '55MB'"))) == "12nCZ"
    for _ in range(3):
        in_step(other)
        assert other.value("show work_mem") == "4MB"
    assert conn.value("show work_mem") == "55MB"


@pytest.mark.direct
@pytest.mark.parametrize("begin", [False, True], ids=["alone", "transaction"])
def test_flush_of_an_error(router, client, begin):
    """An error now, ReadyForQuery at the Sync."""
    conn = client(router())
    if begin:
        conn.ask(fe.query("begin"))
    conn.send(fe.parse("selec") + fe.FLUSH)
    assert kinds(conn, 1) == "E"
    assert not conn.pending()
    conn.send(fe.SYNC)
    assert fe.kinds(conn.until("Z")) == "Z"
    assert conn.status == ("E" if begin else "I")
    conn.ask(fe.query("rollback"))
    in_step(conn)


@pytest.mark.parametrize("more", ["sync", "parse", "parse and sync"])
@pytest.mark.parametrize("begin", ["parsed", "executed"])
def test_error_while_more_is_waiting(router, client, cluster, table, begin, more):
    """What came, and was looked at, before the error is passed over up to the Sync; nothing behind that is."""
    name = table("v int")
    endpoint = router(workers=1)
    conn = client(endpoint)
    wrong = fe.parse(f"insert into {name} values (nothere)")
    rest = {"sync": fe.SYNC, "parse": fe.parse("select 1"), "parse and sync": fe.parse("select 1", "nm") + fe.SYNC}[more]

    def received():
        return endpoint.metric("pgsteer_client_received_bytes_total")

    with locked(cluster, name):
        conn.send(wrong + (fe.bind() + fe.execute() if begin == "executed" else b"") + fe.FLUSH)
        blocked(cluster, name)
        before = received()
        conn.send(rest)
        wait_until(lambda: received() == before + len(rest), 5, "the rest to be read")
    assert kinds(conn, 1) == "E"
    if more == "parse":
        assert not conn.pending()
        conn.send(fe.SYNC)
    assert fe.kinds(conn.until("Z")) == "Z" and conn.status == "I"
    assert fe.kinds(conn.ask(fe.query("rollback"))) in ("CZ", "NCZ")
    in_step(conn)


def test_server_lost_after_a_flush(router, client, cluster, table):
    """The error is for the batch: no ReadyForQuery before the Sync, and one for it."""
    name = table("v int")
    conn = client(router())
    with locked(cluster, name):
        conn.send(fe.parse(f"insert into {name} values (1)") + fe.describe("S") + fe.FLUSH)
        cluster.primary.sql("select pg_terminate_backend(%s)", (blocked(cluster, name),))
        assert kinds(conn, 1) == "E"
    conn.send(fe.SYNC + fe.query("select 'the query', txid_current() > 0"))
    assert fe.kinds(conn.until("Z")) == "Z"
    assert fe.rows(conn.until("Z")) == [["the query", "t"]]
    in_step(conn)


# --- DEALLOCATE -----------------------------------------------------------------------------------------------------

@pytest.mark.direct
def test_deallocate_of_a_parsed_name(router, client, table):
    """By the extended protocol in one batch: every message has its answer, and the name is gone."""
    name = table("v int")
    conn = client(router())
    for n in (1, 2):
        assert fe.kinds(conn.ask(fe.parse("select 1", "nm") + fe.SYNC)) == "1Z"
        got = conn.ask(fe.parse(f"insert into {name} values (1)") + fe.bind() + fe.execute() + fe.SYNC)
        assert fe.kinds(got) == "12CZ"
        got = conn.ask(fe.parse("deallocate nm") + fe.bind() + fe.describe("P") + fe.execute() + fe.SYNC)
        assert fe.kinds(got) == "12nCZ" and got[-2].body == b"DEALLOCATE\0"
        assert fe.errors(conn.ask(fe.bind("nm") + fe.execute() + fe.SYNC))[0]["C"] == "26000"
        assert conn.value(f"select count(*) from {name}") == str(n)
    conn.ask(fe.parse("select 1", "n2") + fe.SYNC)
    assert fe.kinds(conn.ask(fe.query("deallocate n2"))) == "CZ"
    in_step(conn)


@pytest.mark.direct
def test_parsed_deallocate_replaces_the_unnamed_statement(router, client, table):
    """Parse of a DEALLOCATE and Sync: a Bind in the next batch does not run what was unnamed before."""
    name = table("v int")
    conn = client(router())
    conn.ask(fe.parse("select 1", "nm") + fe.SYNC)
    assert fe.kinds(conn.ask(fe.parse(f"insert into {name} values (1)") + fe.bind() + fe.execute() + fe.SYNC)) == "12CZ"
    assert fe.kinds(conn.ask(fe.parse("deallocate nm") + fe.describe("S") + fe.SYNC)) == "1tnZ"
    got = conn.ask(fe.bind() + fe.execute() + fe.SYNC)
    assert not any(m.body.startswith(b"INSERT") for m in got)
    assert conn.value(f"select count(*) from {name}") == "1"
    in_step(conn)


@pytest.mark.direct
def test_names_closed_after_the_server_has_them(router, client):
    """Once SQL has looked at what is prepared, the server has the client's own names: closed ones are free again, even
    two of one text, and closing one twice takes nothing from a statement that comes later."""
    conn = client(router())
    conn.ask(fe.query("listen here") + fe.parse("select 1", "one") + fe.parse("select 1", "two") + fe.SYNC)
    conn.until("Z")
    assert conn.value("select count(*) from pg_prepared_statements") == "2"
    for name in ("one", "two", "one", "two"):
        assert fe.kinds(conn.ask(fe.close("S", name) + fe.SYNC)) == "3Z"
    for name, text in (("two", "select 2"), ("one", "select 1")):
        assert fe.kinds(conn.ask(fe.parse(text, name) + fe.bind(name) + fe.execute() + fe.SYNC)) == "12DCZ"
    assert conn.value("select string_agg(name, ' ' order by name) from pg_prepared_statements") == "one two"
    for name in ("one", "two"):
        error, = fe.errors(conn.ask(fe.parse("select 3", name) + fe.SYNC))
        assert error["M"] == f'prepared statement "{name}" already exists'
    in_step(conn)


@pytest.mark.direct
def test_parse_in_a_failed_transaction(router, client):
    """It fails, though the server has the text already, so the name is free afterwards."""
    conn = client(router())
    assert fe.kinds(conn.ask(fe.parse("select 1 for update", "a") + fe.bind("a") + fe.execute() + fe.SYNC)) == "12DCZ"
    conn.ask(fe.query("begin") + fe.query("select 1/0"), 2)
    for more in (fe.describe("S", "b"), fe.bind("b") + fe.execute(), b""):
        got = conn.ask(fe.parse("select 1 for update", "b") + more + fe.SYNC)
        assert fe.kinds(got) == "EZ" and fe.errors(got)[0]["C"] == "25P02"
    assert fe.kinds(conn.ask(fe.parse("rollback", "r") + fe.bind("r") + fe.execute() + fe.SYNC)) == "12CZ"
    assert fe.kinds(conn.ask(fe.parse("select 1 for update", "b") + fe.describe("S", "b") + fe.SYNC)) == "1tTZ"
    conn.ask(fe.query("begin") + fe.query("select 1/0"), 2)
    assert fe.kinds(conn.ask(fe.bind("r") + fe.execute() + fe.SYNC)) == "2CZ"
    in_step(conn)


@pytest.mark.direct
def test_the_first_statement_looks_at_itself(router, client):
    conn = client(router())
    got = conn.ask(fe.parse("select name from pg_prepared_statements", "me") + fe.bind("me") + fe.execute() + fe.SYNC)
    assert fe.rows(got) == [["me"]]
    in_step(conn)


# --- pipelines and transactions -------------------------------------------------------------------------------------

def test_pipelined_writes_are_read(router, client, cluster, table):
    """A read sees the second of two writes sent ahead, though replicas have replayed the first only."""
    first, second = table("v int"), table("v int")
    conn = client(router())
    with locked(cluster, second):
        conn.send(fe.query(f"insert into {first} values (1)") + fe.query(f"insert into {second} values (1)"))
        assert fe.kinds(conn.until("Z")) == "CZ"
        blocked(cluster, second)
        cluster.caught_up()
        for node in cluster.replicas:
            node.pause_replay()
    assert fe.kinds(conn.until("Z")) == "CZ"
    for _ in range(4):
        assert fe.rows(conn.ask(fe.query(f"select count(*) from {first}"))) == [["1"]]
        assert fe.rows(conn.ask(fe.query(f"select count(*) from {second}"))) == [["1"]]


@pytest.mark.parametrize("begin", ["begin", "begin; select txid_current()"])
def test_begin_that_was_refused(router, client, cluster, table, begin):
    """What was sent ahead for the transaction does not run without it: a BEGIN goes out with its first statement, and
    may have been answered by the time that is refused."""
    name = table("v int")
    endpoint = router(default_pool_size=1, workers=1, query_wait_timeout="1s")
    holder, conn = client(endpoint), client(endpoint)
    holder.ask(fe.query("begin"))
    assert holder.value("select txid_current() > 0") == "t"
    conn.send(fe.query(begin) + fe.query(f"insert into {name} values (1)") + fe.query(f"insert into {name} values (2)") +
              fe.query("rollback"))
    if begin == "begin":
        assert fe.kinds(conn.until("Z")) == "CZ" and conn.status == "T"
    assert fe.errors(conn.until("Z"))[0]["C"] == "53300" and conn.status == "E"
    holder.ask(fe.query("rollback"))
    assert fe.errors(conn.until("Z"))[0]["C"] == "25P02"
    if begin != "begin":
        assert fe.errors(conn.until("Z"))[0]["C"] == "25P02"
    got = conn.until("Z")
    assert fe.kinds(got) == "CZ" and got[0].body == b"ROLLBACK\0" and conn.status == "I"
    assert count(cluster, name) == 0
    in_step(conn)


def test_begin_that_was_lost(router, client, cluster, table):
    """The server dies in a query that begins a transaction and goes on: the transaction has failed, not vanished."""
    name = table("v int")
    conn = client(router())
    with locked(cluster, name):
        conn.send(fe.query(f"begin; insert into {name} values (1)"))
        cluster.primary.sql("select pg_terminate_backend(%s)", (blocked(cluster, name),))
        got = conn.until("Z")
        assert fe.errors(got)[0]["C"] == "08006" and conn.status == "E"
    conn.send(fe.query(f"insert into {name} values (2)") + fe.query("commit"))
    assert fe.errors(conn.until("Z"))[0]["C"] == "25P02"
    got = conn.until("Z")
    assert fe.kinds(got) == "CZ" and got[0].body == b"ROLLBACK\0"
    assert count(cluster, name) == 0
    in_step(conn)


@pytest.mark.direct
def test_large_batch(router, client, table):
    """Ten thousand statements before one Sync, and an error in the middle of twenty thousand."""
    name = table("v int")
    conn = client(router(), timeout=30)
    many = (fe.parse(f"insert into {name} values ($1)") + fe.bind(values=[1]) + fe.execute()) * 10000
    assert Counter(fe.kinds(conn.ask(many + fe.SYNC))) == {"1": 10000, "2": 10000, "C": 10000, "Z": 1}
    wrong = fe.parse("select 1/$1::int for update", types=[23]) + fe.bind(values=[0]) + fe.execute()
    got = Counter(fe.kinds(conn.ask(many + wrong + many + fe.SYNC)))
    assert got["C"] == 10000 and got["1"] == 10001 and got["E"] == 1 and got["Z"] == 1
    in_step(conn)
    assert conn.value(f"select count(*) from {name}") == "10000"


@pytest.mark.direct
def test_terminate_behind_a_write(router, client, cluster, table):
    """Who hangs up politely has not taken back what was sent before."""
    name = table("v int")
    conn = client(router())
    with locked(cluster, name):
        conn.send(fe.query(f"insert into {name} values (1)") + fe.TERMINATE)
        blocked(cluster, name)
    wait_until(lambda: count(cluster, name) == 1, 5, "the insert to be there")


# --- time -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("begin", [False, True], ids=["alone", "transaction"])
def test_idle_timeout_in_a_statement(router, client, begin):
    """A client that waits for its answer is not idle; afterwards it is."""
    endpoint = router(idle_transaction_timeout="1s") if begin else router(client_idle_timeout="1s")
    conn = client(endpoint)
    if begin:
        conn.ask(fe.query("begin"))
    for sql in ("select pg_sleep(1.7)", "select pg_sleep(1.7), txid_current()"):
        assert fe.kinds(conn.ask(fe.query(sql))) == "TDCZ"
    conn.drain()


# --- servers that die -----------------------------------------------------------------------------------------------

def test_statement_that_kills_its_server(router, client, cluster):
    """It takes one replica's backend, perhaps another's, and is then answered with an error."""
    endpoint = router()
    conn = client(endpoint)
    conn.value("select 1")
    killed = []
    with contextlib.ExitStack() as stack:
        nodes = [(n, stack.enter_context(n.connect("app"))) for n in cluster.nodes]
        conn.send(fe.query("select count(pg_sleep(60)) /* deadly */"))

        def answered():
            for node, admin in nodes:
                killed.extend(node.name for _ in admin.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where query like '%/* deadly */' and "
                    "state = 'active' and pid <> pg_backend_pid()").fetchall())
            assert len(killed) < 20, killed
            return conn.pending()
        wait_until(answered, 10, "an answer")
        got = conn.until("Z")
    assert fe.errors(got)[0]["C"] == "08006"
    assert 1 <= len(killed) <= len(cluster.nodes), killed
    in_step(conn)


# --- memory ---------------------------------------------------------------------------------------------------------

def pour(conn, data, most):
    """Sends `data` again and again without reading, until nobody takes it or `most` bytes are sent."""
    conn.socket.settimeout(2)
    sent = 0
    with contextlib.suppress(OSError):
        while sent < most:
            conn.socket.sendall(data)
            sent += len(data)
    return sent


@pytest.mark.memory
def test_syncs_that_nobody_reads(router, client):
    endpoint = router(measure=True, workers=1)
    conn, other = client(endpoint), client(endpoint)
    in_step(other)
    before = endpoint.reset_peak()
    sent = pour(conn, fe.SYNC * 200000, 200 * MIB)
    assert sent < 200 * MIB, "nothing stops the client"
    in_step(other)
    assert endpoint.peak() - before < limit(8)


@pytest.mark.memory
def test_listener_that_does_not_read(router, client, cluster):
    """Its server is stopped; later it hears everything."""
    endpoint = router(measure=True, workers=1)
    listener, other = client(endpoint, timeout=30), client(endpoint)
    listener.ask(fe.query("listen news"))
    in_step(other)
    before = endpoint.reset_peak()
    with cluster.primary.connect("app") as speaker:
        for i in range(15):
            speaker.execute("select pg_notify('news', %s || g) from generate_series(1, 1000) g", (f"{i}" + "x" * 7000,))
    stopped = "select count(*) from pg_stat_activity where usename = 'app' and wait_event = 'ClientWrite'"
    wait_until(lambda: cluster.primary.value(stopped) == 1, 10, "the server to be stopped")
    in_step(other)
    assert endpoint.peak() - before < limit(8)
    assert sum(listener.receive().type == "A" for _ in range(15000)) == 15000
    in_step(listener)


@pytest.mark.memory
def test_bind_without_an_end(router, client):
    """A Bind of 500 MB whose names have no end is not waited for."""
    endpoint = router(measure=True, workers=1)
    conn, other = client(endpoint), client(endpoint)
    in_step(other)
    before = endpoint.reset_peak()
    sent = pour(conn, b"B" + struct.pack("!I", 500 * MIB), 1)
    sent += pour(conn, b"a" * MIB, 100 * MIB)
    assert sent < 100 * MIB
    in_step(other)
    assert endpoint.peak() - before < limit(8)
