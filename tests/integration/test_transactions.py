# SPDX-License-Identifier: ISC
"""Transactions: BEGIN that waits for its first statement, READ ONLY ones on replicas, and the ends of all of them."""
import asyncio
import re
import signal
import socket
import time

import asyncpg
import psycopg
import pytest

import frontend as fe
from harness.load import PORT
from harness.router import Direct, sanitized
from pgcluster import wait_until

# Each is what a client sends, a write (a Query, or a batch in bytes) after the other; it gets the same as from
# PostgreSQL, message by message. {t} is a table with rows 1 to 3 that every server has, {s} a sequence.
BEGIN = fe.parse("begin") + fe.bind() + fe.execute()
BEGIN_READ_ONLY = fe.parse("begin read only") + fe.bind() + fe.describe("P") + fe.execute()


def prepared(name, sql):
    return fe.parse(sql, name) + fe.bind(name) + fe.execute()


SCRIPTS = {
    "empty": ["begin", "commit"],
    "empty_rollback": ["start transaction", "rollback"],
    "end": ["begin work", "end"],
    "abort": ["begin transaction", "abort"],
    "begin_twice": ["begin", "begin read only", "show transaction_read_only", "commit"],
    "begin_twice_deferred": ["begin", "begin", "select 1", "commit"],
    "commit_outside": ["commit", "rollback", "commit and chain"],
    "commit_twice": ["begin", "commit", "commit"],
    "modes": ["begin", "set transaction isolation level repeatable read, read only", "show transaction_isolation",
              "show transaction_read_only", "commit", "show transaction_isolation"],
    "modes_late": ["begin", "select 1", "set transaction isolation level serializable"],
    "modes_outside": ["set transaction read only", "show transaction_read_only"],
    "modes_of_all": ["begin isolation level serializable, read only, deferrable", "show transaction_isolation",
                     "show transaction_read_only", "show transaction_deferrable", "commit"],
    "last_mode_counts": ["begin read only, read write", "show transaction_read_only", "commit"],
    "mode_by_name": ["begin", "set transaction_read_only = on", "insert into {t} values (9, 9)", "rollback"],
    "wrong_mode": ["begin read onl", "select 1", "begin isolation level chaos", "begin; select 1; commit"],
    "read_write_first": ["begin read only", "set transaction read write", "insert into {t} values (7, 7)", "rollback"],
    "read_write_late": ["begin read only", "select 1", "set transaction read write", "rollback"],
    "snapshot_wrong": ["begin isolation level repeatable read", "set transaction snapshot '0-0'", "commit"],
    "savepoint_first": ["begin", "savepoint a", "select 1", "rollback to a", "release a", "commit"],
    "no_savepoint": ["begin", "rollback to a", "commit"],
    "release_nothing": ["begin", "release a", "rollback"],
    "syntax_first": ["begin", "selec 1", "select 1", "commit"],
    "syntax_read_only": ["begin read only", "selec 1", "select 1", "rollback"],
    "syntax_read_only_late": ["begin isolation level repeatable read read only", "select 1", "selec 2", "select 1",
                              "rollback"],
    "error_first": ["begin", "select 1/0", "select 1", "commit", "select 2"],
    "error_read_only": ["begin read only", "select 1/(v - 1) from {t}", "select 1", "commit", "select 2"],
    "error_rollback_to": ["begin read only", "select 1", "savepoint a", "select 1/0", "rollback to a", "select 2",
                          "commit"],
    "write_in_read_only": ["begin read only", "insert into {t} values (9, 9)", "rollback"],
    "write_in_read_only_late": ["begin read only", "select count(*) from {t}", "insert into {t} values (9, 9)",
                                "select 1", "rollback"],
    "writes_late": [m for sql in ["update {t} set v = 1", "delete from {t}", "truncate {t}", "create table x (i int)",
                                  "create temp table x (i int)", "select * from {t} for update",
                                  "select * from {t} for key share", "select nextval('{s}')", "select setval('{s}', 3)",
                                  "with w as (delete from {t} returning 1) select * from w", "select 1 into x",
                                  "drop table {t}", "alter table {t} add c int", "comment on table {t} is 'x'",
                                  "merge into {t} using (select 1) x on true when matched then delete",
                                  "explain analyze insert into {t} values (9, 9)", "grant select on {t} to public",
                                  "copy {t} from stdin", "copy (insert into {t} values (9, 9) returning 1) to stdout"]
                    for m in ["begin isolation level repeatable read read only", "select count(*) from {t}", sql,
                              "rollback"]],
    "repeatable_read": ["begin isolation level repeatable read, read only", "select count(*) from {t}",
                        "select count(*) from {t}", "commit"],
    "copy_out": ["begin read only", "copy {t} to stdout", "copy (select v from {t} order by 1) to stdout", "commit"],
    "copy_in_first": ["begin", ["copy {t} from stdin", fe.copy_data(b"50\t50\n") + fe.COPY_DONE], "rollback"],
    "cursor": ["begin read only", "declare c cursor for select id from {t} order by 1", "fetch 2 from c", "move c",
               "fetch c", "close c", "commit"],
    "set_local": ["begin read only", "set local work_mem = '3MB'", "show work_mem", "select 1", "commit",
                  "show work_mem"],
    "set_in_read_only": ["begin read only", "select 1", "set work_mem = '5MB'", "show work_mem", "commit",
                         "show work_mem", "reset work_mem"],
    "set_rolled_back": ["begin read only", "select 1", "set work_mem = '5MB'", "rollback", "show work_mem"],
    "set_config_local": ["begin read only", "select set_config('my.x', 'a', true), set_config('search_path', '', true)",
                         "select current_setting('my.x')", "commit",
                         "select nullif(current_setting('my.x', true), '')"],
    "lock_share": ["begin read only", "lock table {t} in access share mode", "select 1", "commit"],
    "lock_more": ["begin read only", "lock table {t} in share mode", "commit"],
    "chain": ["begin", "insert into {t} values (60, 60)", "rollback and chain", "select count(*) from {t}",
              "commit and chain", "select 1", "commit"],
    "chain_empty": ["begin isolation level repeatable read", "commit and chain", "show transaction_isolation",
                    "rollback and chain", "rollback", "show transaction_isolation"],
    "chain_read_only": ["begin isolation level repeatable read, read only", "select 1", "commit and chain",
                        "show transaction_isolation", "insert into {t} values (9, 9)", "rollback and chain",
                        "show transaction_read_only", "commit"],
    "chain_failed": ["begin read only", "select 1/0", "commit and chain", "show transaction_read_only", "rollback"],
    "no_chain": ["begin", "commit and no chain", "begin", "rollback and no chain"],
    "failed_then_more": ["begin read only", "select 1/0", "commit; begin; select 1", "rollback"],
    "failed_late_then_more": ["begin isolation level repeatable read read only", "select 1", "select 1/0",
                              "rollback; begin; show transaction_isolation", "commit", "select 2"],
    "failed_then_chain_and_more": ["begin read only", "select 1/0", "commit and chain; select 1", "commit"],
    "chain_outside": ["commit and chain", "rollback and chain"],
    "multi": ["begin; select 1; commit", "begin; insert into {t} values (70, 70); rollback", "begin read only; select 1",
              "select 2; select 3", "commit; select 4"],
    "implicit": ["insert into {t} values (71, 71); select 1/0", "select count(*) from {t} where id = 71",
                 "insert into {t} values (72, 72); begin; select 1", "rollback"],
    "multi_ends": ["begin read only", "select 1; commit; select 2", "select 3"],
    "multi_writes_behind_end": ["begin read only", "select 1", "commit; insert into {t} values (73, 73)",
                                "delete from {t} where id = 73"],
    "default_read_only": ["set default_transaction_read_only = on", "begin", "select 1", "insert into {t} values (9, 9)",
                          "rollback", "insert into {t} values (9, 9)", "begin read write", "select 1", "commit",
                          "reset default_transaction_read_only", "begin", "show transaction_read_only", "commit"],
    "characteristics": ["set session characteristics as transaction isolation level repeatable read, read only", "begin",
                        "show transaction_isolation", "select 1", "insert into {t} values (9, 9)", "rollback",
                        "set session characteristics as transaction isolation level read committed, read write"],
    "default_serializable": ["set default_transaction_isolation = serializable", "begin read only",
                             "show transaction_isolation", "select count(*) from {t}", "commit",
                             "begin isolation level read committed read only", "select 1", "commit"],
    "procedure": ["call {t}_commits(80)", "select count(*) from {t} where id = 80", "begin", "call {t}_commits(81)",
                  "rollback", "delete from {t} where id = 80"],
    "discard_inside": ["begin", "discard all", "rollback", "begin", "discard plans", "commit"],
    "vacuum_inside": ["begin", "vacuum {t}", "rollback"],
    "prepare_transaction_read_only": ["begin read only", "select 1", "prepare transaction 'x'", "rollback",
                                      "rollback prepared 'x'"],
    "functions_of_the_primary": ["begin read only", "select pg_is_in_recovery()", "select txid_current() > 0", "commit",
                                 "begin read only", "select 1", "select pg_is_in_recovery()", "commit"],
    "temp_in_read_only": ["create temp table tt (i int)", "begin read only", "insert into tt values (1)",
                          "select count(*) from tt", "commit", "discard all"],
    "notify_in_read_only": ["begin read only", "select 1", "notify a", "commit"],
    "parse_begin": [fe.parse("begin") + fe.bind() + fe.describe("P") + fe.execute() + fe.SYNC, "select 1", "commit"],
    "parse_begin_only": [BEGIN + fe.SYNC, fe.parse("commit") + fe.bind() + fe.execute() + fe.SYNC, "select 1"],
    "describe_begin": [fe.parse("begin") + fe.describe("S") + fe.bind() + fe.describe("P") + fe.execute() + fe.SYNC,
                       fe.parse("rollback") + fe.bind() + fe.execute() + fe.SYNC],
    "named_begin": [prepared("b", "begin") + fe.SYNC, fe.bind("b") + fe.execute() + fe.SYNC, "commit",
                    fe.bind("b") + fe.execute() + fe.SYNC, "select 1", prepared("c", "commit") + fe.SYNC,
                    fe.bind("c") + fe.execute() + fe.SYNC],
    "named_twice": [prepared("b", "begin") + fe.SYNC, "commit", prepared("b", "begin") + fe.SYNC],
    "unnamed_again": [BEGIN + fe.SYNC, "commit", fe.bind() + fe.execute() + fe.SYNC],
    "unnamed_kept": [BEGIN + fe.SYNC, fe.bind() + fe.execute() + fe.SYNC, "commit"],
    "wrong_begin": [fe.parse("begin") + fe.bind(values=[1]) + fe.execute() + fe.SYNC, "select 1",
                    fe.parse("begin", types=[23]) + fe.bind() + fe.execute() + fe.SYNC,
                    fe.parse("begin") + fe.bind("nobody") + fe.execute() + fe.SYNC,
                    fe.bind("nobody") + fe.execute() + fe.SYNC],
    "begin_with_result_format": [fe.parse("begin") + fe.bind(results=[1]) + fe.execute() + fe.SYNC, "commit"],
    "begin_in_portal": [fe.parse("begin") + fe.bind(portal="p") + fe.execute("p") + fe.SYNC, "commit"],
    "parse_without_execute": [fe.parse("begin", "b") + fe.SYNC, "select 1", fe.close("S", "b") + fe.SYNC],
    "batch": [BEGIN + fe.ask("select $1::int", 5), "commit"],
    "batch_read_only": [BEGIN_READ_ONLY + fe.ask("select count(*) from {t}"), fe.ask("select $1::int", 6),
                        fe.ask("insert into {t} values (9, 9)"), fe.ask("select 1"), "rollback"],
    "batch_read_only_primary": [BEGIN_READ_ONLY + fe.ask("select txid_current() > 0"), "commit"],
    "batch_read_only_write": [BEGIN_READ_ONLY + fe.ask("insert into {t} values (9, 9)"), "rollback"],
    "batch_whole": [BEGIN_READ_ONLY + fe.parse("select 1") + fe.bind() + fe.execute() + fe.parse("commit") + fe.bind() +
                    fe.execute() + fe.SYNC, "select 1"],
    "batch_commit_begin": [BEGIN_READ_ONLY + fe.ask("select 1"), fe.parse("commit") + fe.bind() + fe.execute() + BEGIN +
                           fe.ask("insert into {t} values (90, 90)"), "rollback"],
    "batch_implicit": [fe.parse("insert into {t} values (91, 91)") + fe.bind() + fe.execute() + fe.parse("select 1/0") +
                       fe.bind() + fe.execute() + fe.SYNC, "select count(*) from {t} where id = 91"],
    "batch_begin_late": [fe.parse("insert into {t} values (92, 92)") + fe.bind() + fe.execute() + BEGIN +
                         fe.ask("select 1"), "rollback"],
    "error_behind_begin": [BEGIN + fe.ask("select 1/0"), "select 1", "rollback"],
    "error_behind_begin_read_only": [BEGIN_READ_ONLY + fe.ask("select 1/(v - 1) from {t}"), "select 1", "rollback"],
    "portal_in_parts": [BEGIN_READ_ONLY + fe.parse("select id from {t} order by 1") + fe.bind() + fe.execute(rows=1) +
                        fe.SYNC, fe.execute(rows=1) + fe.SYNC, fe.execute() + fe.SYNC, "commit"],
    "portal_in_parts_deferred": ["begin read only", fe.parse("select id from {t} order by 1") + fe.bind(portal="p") +
                                 fe.execute("p", 1) + fe.SYNC, "select 1", fe.execute("p", 1) + fe.SYNC,
                                 fe.close("P", "p") + fe.SYNC, "commit"],
    "one_write": [["begin", "insert into {t} values (93, 93)", "select count(*) from {t}", "rollback"]],
    "one_write_read_only": [["begin read only", "select 1", "select 2", "commit", "select 3", "begin", "commit",
                             "select 4"]],
    "one_write_error": [["begin", "select 1/0", "select 1", "commit", "begin", "select 1", "commit"]],
    "one_write_mixed": [["select 1", "begin read only", "select count(*) from {t}", "set transaction read write",
                         "commit", "insert into {t} values (94, 94)", "begin", "delete from {t} where id = 94",
                         "commit"]],
    "parse_in_transaction": ["begin read only", fe.parse("select $1::int", "a") + fe.describe("S", "a") + fe.SYNC,
                             fe.bind("a", [1]) + fe.execute() + fe.SYNC, "commit",
                             fe.bind("a", [2]) + fe.execute() + fe.SYNC],
    "sync_only": ["begin", fe.SYNC, fe.close("S", "x") + fe.SYNC, "select 1", fe.SYNC, "commit", fe.SYNC],
    "empty_query": ["begin", "", ";", "commit"],
    "deallocate": [fe.parse("select 1", "a") + fe.SYNC, "begin", "deallocate a", "commit"],
    "deallocate_read_only": [fe.parse("select 1", "a") + fe.SYNC, "begin read only", "select 1", "deallocate a",
                             "commit"],
}


def normal(messages):
    """What is the same on every run: of errors what is not about PostgreSQL's source."""
    return [(m.type, {k: v for k, v in fe.fields(m.body).items() if k not in "FLR"} if m.type in "EN" else m.body)
            for m in messages]


def as_bytes(part, **names):
    if isinstance(part, list):
        return b"".join(as_bytes(one, **names) for one in part)
    if isinstance(part, bytes):  # texts in messages have their length before them
        return rename(part, **names)
    return fe.query(part.format(**names))


def rename(messages, **names):
    """Messages with names filled in; each gets its length anew."""
    done = b""
    while messages:
        size = int.from_bytes(messages[1:5], "big") + 1
        body = messages[5:size]
        for name, value in names.items():
            body = body.replace(b"{%s}" % name.encode(), value.encode())
        done += fe.message(chr(messages[0]), body)
        messages = messages[size:]
    return done


def syncs(data):
    """How many ReadyForQuery will come."""
    found = 0
    while data:
        found += chr(data[0]) in "QS"
        data = data[int.from_bytes(data[1:5], "big") + 1:]
    return found


def play(endpoint, script, **names):
    """All that comes back, write by write."""
    with fe.Frontend(endpoint) as conn:
        conn.login(password="app-password")
        answers = []
        for part in script:
            data = as_bytes(part, **names)
            conn.send(data)
            got = []
            while sum(m.type == "Z" for m in got) < syncs(data):
                got.append(conn.receive())
            answers.append(normal(got))
        return answers


@pytest.fixture(scope="module")
def names(shared_cluster):
    """The table, the sequence and the procedure that the scripts name; they leave them as they were."""
    with shared_cluster.primary.connect("app", "app") as conn:
        conn.execute("create table tx_rows (id int primary key, v int)")
        conn.execute("insert into tx_rows select g, g from generate_series(1, 3) g")
        conn.execute("create sequence tx_numbers")
        conn.execute("create procedure tx_rows_commits(n int) language plpgsql as "
                     "'begin insert into tx_rows values (n, n); commit; end'")
    shared_cluster.caught_up()
    yield {"t": "tx_rows", "s": "tx_numbers"}
    with shared_cluster.primary.connect("app", "app") as conn:
        conn.execute("drop procedure tx_rows_commits(int)")
        conn.execute("drop sequence tx_numbers")
        conn.execute("drop table tx_rows")


@pytest.fixture(scope="module")
def endpoints(module_router):
    """A router in each mode. Its few connections carry over what one script would leave for the next."""
    return {mode: module_router(pool_mode=mode, default_pool_size=2, workers=1) for mode in ("transaction", "session")}


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_as_direct(cluster, endpoints, names, script, mode):
    """Two rounds: a prepared text or a verdict that was learned in the first one is used in the second."""
    expected = play(Direct(cluster), SCRIPTS[script], **names)
    for _ in range(2):
        cluster.caught_up()  # what other sessions have written is no concern of this one's replicas
        assert play(endpoints[mode], SCRIPTS[script], **names) == expected


# Where transactions run.

def routed(router, target, reason):
    return router.metric("pgsteer_routed_total", target=target, reason=reason) or 0


def where(conn, begin, count=3, commit=True):
    """The servers that answered the statements of a transaction, begun by these statements."""
    for sql in begin:
        conn.execute(sql)
    found = {conn.execute(PORT).fetchone()[0] for _ in range(count)}
    if commit:
        conn.execute("commit")
    return found


READ_ONLY = {
    "begin": ["begin read only"],
    "start": ["start transaction read only"],
    "repeatable": ["begin isolation level repeatable read, read only"],
    "uncommitted": ["begin transaction isolation level read uncommitted read only"],
    "deferrable": ["begin read only deferrable"],
    "set": ["begin", "set transaction read only"],
    "set both": ["begin", "set transaction isolation level repeatable read", "set transaction read only"],
    "set back": ["begin isolation level serializable", "set transaction isolation level repeatable read, read only"],
    "default": ["set default_transaction_read_only = on", "begin"],
    "characteristics": ["set session characteristics as transaction read only", "start transaction"],
    "savepoint later": ["begin isolation level repeatable read, read only", "select 1", "savepoint a"],
    "setting": ["begin read only", "set local work_mem = '3MB'"],
    "shown": ["begin read only", "show transaction_isolation"],
    "cursor": ["begin read only", "declare c cursor for select 1", "fetch all from c"],
    "set_config": ["begin read only", "select set_config('my.x', 'a', true)"],
}


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("way", READ_ONLY)
def test_read_only_runs_on_one_replica(router, cluster, way, mode):
    """The whole of each transaction on one replica, and the transactions on all of them."""
    endpoint = router(pool_mode=mode)
    replicas, seen = {n.port for n in cluster.replicas}, set()
    with endpoint.connect() as conn:
        for _ in range(10):
            found = where(conn, READ_ONLY[way])
            assert len(found) == 1 and found <= replicas
            seen |= found
    assert seen == replicas
    assert routed(endpoint, "replica", "read_only_transaction") == 10


PRIMARY = {
    "write": (["begin"], "transaction"),
    "read write": (["begin read only", "set transaction read write"], "transaction"),
    "serializable": (["begin isolation level serializable read only"], "serializable"),
    "default serializable": (["set default_transaction_isolation = 'serializable'", "begin read only"], "serializable"),
    "hint": (["/* pgsteer: primary */ begin read only"], "transaction"),
    "statement's hint": (["begin read only", "/* pgsteer: primary */ select 1"], "hint_primary"),
    "preference": (["set pgsteer.route = 'primary'", "begin read only"], "preference"),
    "advisory lock": (["begin read only", "select pg_advisory_xact_lock(4711)"], "advisory_lock"),
    "function": (["begin read only", "select txid_current()"], "write_function"),
    "savepoint": (["begin read only", "savepoint a"], "transaction"),
    "recovery": (["begin read only", "select pg_is_in_recovery()"], "primary_function"),
    "volatile": (["begin read only", "select tx_volatile()"], "volatile_function"),
    "lock": (["begin read only", "lock table tx_rows in row share mode"], "lock"),
    "do": (["begin read only", "do $$ begin end $$"], "call"),
    "unknown setting": (["begin read only", "select set_config('my.' || 'x', 'a', true)"], "session_function"),
    "seed": (["begin read only", "select setseed(0)"], "session_function"),
    "statistics": (["begin read only", "select count(*) from pg_stat_activity"], "primary_relation"),
    "several": (["begin read only; select 1"], "transaction"),
}


@pytest.fixture(scope="module")
def functions(shared_cluster, names):
    with shared_cluster.primary.connect("app", "app") as conn:
        conn.execute("create or replace function tx_volatile() returns int language sql volatile as 'select 1'")
        conn.execute("create or replace function tx_hidden() returns bigint language plpgsql stable as "
                     "'begin return txid_current(); end'")
        conn.execute("create or replace function tx_stable() returns int language sql stable as 'select 1'")
    shared_cluster.caught_up()
    yield
    with shared_cluster.primary.connect("app", "app") as conn:
        conn.execute("drop function tx_volatile(), tx_hidden(), tx_stable()")


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("way", PRIMARY)
def test_what_runs_on_the_primary(router, cluster, functions, way, mode):
    begin, reason = PRIMARY[way]
    endpoint = router(pool_mode=mode)
    with endpoint.connect() as conn:
        for _ in range(3):
            assert where(conn, begin) == {cluster.primary.port}
    assert routed(endpoint, "primary", reason) >= (1 if way in ("unknown setting", "seed") else 3)  # they pin


def test_pg_dump_reads_from_the_primary(router, cluster, names):
    """It wants the data of unlogged tables as well."""
    endpoint = router()
    with endpoint.connect(application_name="pg_dump") as conn:
        assert where(conn, READ_ONLY["set both"]) == {cluster.primary.port}
    assert routed(endpoint, "primary", "dump") == 1


DEFAULTS = {
    "role": "alter role other {} {} {}",
    "database": "alter database app {} {} {}",
    "both": "alter role other in database app {} {} {}",
}


@pytest.mark.parametrize("way", DEFAULTS)
def test_defaults_of_a_role_or_database(router, cluster, way):
    replicas = {n.port for n in cluster.replicas}

    def alter(what, name, value=""):
        cluster.primary.sql(DEFAULTS[way].format(what, name, value))
        cluster.caught_up()

    try:
        alter("set", "default_transaction_read_only", "= on")
        with router().connect(user="other") as conn:
            assert where(conn, ["begin"]) <= replicas
            assert where(conn, ["begin read write"]) == {cluster.primary.port}
            conn.execute("set default_transaction_read_only = off")
            assert where(conn, ["begin"]) == {cluster.primary.port}
            conn.execute("reset default_transaction_read_only")
            assert where(conn, ["begin"]) <= replicas
        alter("set", "default_transaction_isolation", "= serializable")
        endpoint = router()
        with endpoint.connect(user="other") as conn:
            assert where(conn, ["begin"]) == {cluster.primary.port}
            assert where(conn, ["begin isolation level read committed"]) <= replicas
            assert conn.execute(PORT).fetchone()[0] == cluster.primary.port
        assert routed(endpoint, "primary", "serializable") >= 2
        assert not endpoint.metric("pgsteer_reruns_total")
    finally:
        alter("reset", "default_transaction_read_only")
        alter("reset", "default_transaction_isolation")


@pytest.mark.parametrize("options", ["-c default_transaction_read_only=on", "-c default_transaction_read_only=tru"])
def test_defaults_of_the_start_up_packet(router, cluster, options):
    with router().connect(options=options) as conn:
        assert where(conn, ["begin"]) <= {n.port for n in cluster.replicas}


def test_weights_count_for_transactions(router, cluster):
    much, none = cluster.replicas
    endpoint = router(workers=1, servers={much.name: {"weight": 3}, none.name: {"weight": 1}})
    with endpoint.connect() as conn:
        found = [next(iter(where(conn, ["begin read only"], 1))) for _ in range(40)]
    assert 29 <= found.count(much.port) <= 31 and found.count(much.port) + found.count(none.port) == 40


def test_without_replicas(router, cluster):
    endpoint = router(servers={n.name: None for n in cluster.replicas})
    with endpoint.connect() as conn:
        assert where(conn, ["begin read only"]) == {cluster.primary.port}
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            conn.execute("begin read only")
            conn.execute("create table x (i int)")
        conn.execute("rollback")
    assert routed(endpoint, "primary", "no_replica") == 1


@pytest.mark.parametrize("begin", [["begin read only"], ["begin", "set transaction isolation level repeatable read, "
                                                         "read only"]], ids=["read committed", "repeatable read"])
def test_read_your_writes_in_transactions(router, cluster, table, begin):
    name = table(rows="values (1, 0)")
    for node in cluster.replicas:
        node.delay("400ms")
    endpoint = router()
    with endpoint.connect() as conn:
        for i in range(1, 21):
            conn.execute(f"update {name} set v = {i}")
            for sql in begin:
                conn.execute(sql)
            assert conn.execute(f"select v from {name}").fetchone()[0] == i
            assert conn.execute(f"select v from {name}").fetchone()[0] == i
            conn.execute("commit")
    assert routed(endpoint, "primary", "read_your_writes") >= 19


# Statements that the replica of a transaction cannot do.

MOVES = ["select pg_advisory_xact_lock(4712)", "select txid_current()", "select tx_volatile()", "select tx_hidden()",
         "lock table tx_rows in row share mode", "do $$ begin end $$", "select pg_export_snapshot()", "savepoint a"]


@pytest.mark.parametrize("sql", MOVES)
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_read_committed_moves_to_the_primary(router, cluster, functions, sql, mode):
    replicas = {n.port for n in cluster.replicas}
    cluster.primary.sql("checkpoint")  # what reads write there (pruning) may stay unflushed, and the replicas behind
    endpoint = router(pool_mode=mode)
    for begin in (["begin read only"], ["begin", "set transaction read only"]):
        with endpoint.connect() as conn:
            assert where(conn, begin, commit=False) <= replicas
            conn.execute(sql)
            assert where(conn, [sql], commit=False) == {cluster.primary.port}
            assert conn.execute("show transaction_read_only").fetchone()[0] == "on"
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                conn.execute("insert into tx_rows values (1000, 1)")
            conn.execute("rollback")


BINDING = {
    "repeatable read": (["begin isolation level repeatable read read only", "select count(*) from tx_rows"]),
    "time": (["begin read only", "select now()"]),
    "time by grammar": (["begin read only", "select current_timestamp"]),
    "function": (["begin read only", "select tx_stable()"]),
    "cursor": (["begin read only", "declare c cursor for select 1"]),
    "savepoint": (["begin isolation level repeatable read read only", "select 1", "savepoint a"]),
    "set local": (["begin read only", "set local work_mem = '3MB'"]),
}


@pytest.mark.parametrize("way", BINDING)
def test_what_was_shown_cannot_be_moved(router, cluster, functions, way):
    """One error that says why; the transaction has failed, and nothing else is lost."""
    endpoint = router()
    with endpoint.connect() as conn:
        assert where(conn, BINDING[way], commit=False) <= {n.port for n in cluster.replicas}
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="runs on a replica.*advisory lock"):
            conn.execute("select pg_advisory_xact_lock(4713)")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            conn.execute("select 1")
        assert conn.execute("commit").statusmessage == "ROLLBACK"
        conn.execute("insert into tx_rows values (1001, 1)")
        conn.execute("delete from tx_rows where id = 1001")
        assert where(conn, ["begin"]) == {cluster.primary.port}
    assert cluster.primary.value("select count(*) from pg_locks where locktype = 'advisory'") == 0


def test_what_a_replica_refuses_when_bound(router, cluster, functions):
    """Nobody could have known of it: the replica's own error."""
    with router().connect() as conn:
        assert where(conn, BINDING["repeatable read"], commit=False) <= {n.port for n in cluster.replicas}
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction, match="during recovery"):
            conn.execute("select tx_hidden()")
        conn.execute("rollback")


def test_settings_made_on_a_replica_are_kept(router, cluster):
    replicas = {n.port for n in cluster.replicas}
    with router(default_pool_size=1, workers=1).connect() as conn, router(default_pool_size=1, workers=1).connect():
        assert where(conn, ["begin read only"], commit=False) <= replicas
        conn.execute("set work_mem = '7MB'")
        conn.execute("commit")
        for _ in range(4):
            assert conn.execute("select current_setting('work_mem')").fetchone()[0] == "7MB"
            assert where(conn, ["begin read only"], commit=False) <= replicas
            assert conn.execute("show work_mem").fetchone()[0] == "7MB"
            conn.execute("set work_mem = '9MB'")
            conn.execute("rollback")


# Servers that go.

@pytest.mark.parametrize("end", ["kill", "restart"])
def test_read_committed_survives_its_replica(router, cluster, end):
    endpoint = router()
    with endpoint.connect() as conn:
        (before,) = where(conn, ["begin read only"], commit=False)
        node = next(n for n in cluster.replicas if n.port == before)
        getattr(node, end)()
        assert where(conn, [], 3, commit=False) - {before}
        conn.execute("commit")


def test_a_bound_transaction_is_lost_with_its_replica(router, cluster, functions):
    endpoint = router()
    with endpoint.connect() as conn:
        (before,) = where(conn, BINDING["repeatable read"], commit=False)
        next(n for n in cluster.replicas if n.port == before).kill()
        with pytest.raises(psycopg.OperationalError) as error:
            conn.execute("select 1")
        assert error.value.sqlstate == "08006"
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            conn.execute("select 1")
        conn.execute("rollback")
        assert where(conn, ["begin read only"]) != {before}


def test_recovery_conflict_in_read_committed(router, cluster, names):
    """The replica cancels the statement, nothing of it was shown: the transaction goes on elsewhere."""
    endpoint = router()
    with endpoint.connect() as conn:
        (before,) = where(conn, ["begin read only"], commit=False)
        node = next(n for n in cluster.replicas if n.port == before)
        pid = node.value("select pid from pg_stat_activity where usename = 'app' and state = 'idle in transaction'")
        node.sql("select pg_terminate_backend(%s)", (pid,))
        assert where(conn, [], 3, commit=False)
        conn.execute("commit")


# BEGIN that waits.

def login(endpoint, timeout=10):
    return fe.Frontend(endpoint, timeout).login(password="app-password")


def test_begin_holds_no_server(router, cluster, names):
    """One connection to each server, ten clients in transactions, and none waits for another."""
    endpoint = router(default_pool_size=1, workers=1)
    clients = [login(endpoint) for _ in range(10)]
    for conn in clients:
        assert fe.kinds(conn.ask(fe.query("begin"))) == "CZ" and conn.status == "T"
    with endpoint.connect() as other:
        other.execute("insert into tx_rows values (1002, 1)")
        other.execute("delete from tx_rows where id = 1002")
    for conn in clients:
        assert fe.kinds(conn.ask(fe.query("commit"))) == "CZ" and conn.status == "I"
        conn.socket.close()


def test_empty_transactions_cost_no_server(router, cluster):
    endpoint = router()
    with endpoint.connect() as conn:
        conn.execute("select 1")
        since = cluster.primary.log_size()
        before = endpoint.metric("pgsteer_exchanges_total")
        for _ in range(20):
            conn.execute("begin")
            conn.execute("set transaction read only")
            conn.execute("commit")
        assert endpoint.metric("pgsteer_exchanges_total") == before
        assert not [s for s in cluster.primary.statements(since) if re.search("begin|transaction", str(s), re.I)]


def test_begin_goes_out_with_the_first_statement(router, cluster, table):
    """What a crash or a failover between the two would have cost is nothing."""
    name = table()
    endpoint = router()
    with endpoint.connect() as conn:
        conn.execute(f"insert into {name} values (1, 1)")
        conn.execute("begin isolation level repeatable read")
        cluster.primary.restart()
        wait_until(lambda: endpoint.http("/primary")[0] == 200, 15, "the primary to be back")
        conn.execute(f"insert into {name} values (2, 2)")
        assert conn.execute("show transaction_isolation").fetchone()[0] == "repeatable read"
        conn.execute("rollback")
        assert conn.execute(f"select count(*) from {name}").fetchone()[0] == 1


def test_no_connection_for_a_deferred_transaction(router, names):
    """The transaction has failed, as if the statement had been refused by the server."""
    endpoint = router(default_pool_size=1, workers=1, query_wait_timeout="2s")
    with endpoint.connect() as busy, endpoint.connect() as conn:
        conn.execute("begin")
        busy.execute("begin")
        busy.execute("insert into tx_rows values (1003, 1)")
        with pytest.raises(psycopg.errors.TooManyConnections):
            conn.execute("insert into tx_rows values (1004, 1)")
        busy.execute("rollback")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            conn.execute("insert into tx_rows values (1004, 1)")
        assert conn.execute("commit").statusmessage == "ROLLBACK"
        assert conn.execute("select count(*) from tx_rows where id > 1000").fetchone()[0] == 0


def test_cancel_while_a_deferred_transaction_waits(router, names):
    endpoint = router(default_pool_size=1, workers=1)
    with endpoint.connect() as busy, login(endpoint) as conn:
        conn.ask(fe.query("begin"))
        busy.execute("begin")
        busy.execute("insert into tx_rows values (1005, 1)")
        conn.send(fe.query("insert into tx_rows values (1006, 1)"))
        wait_until(lambda: endpoint.metric("db_connection_pool_size", state="waiting"), 5, "the client to wait")
        with socket.create_connection((endpoint.host, endpoint.port)) as s:
            s.sendall(fe.cancel(*conn.key))
        assert [e["C"] for e in fe.errors(conn.until("Z"))] == ["57014"] and conn.status == "E"
        assert fe.kinds(conn.ask(fe.query("rollback"))) == "CZ" and conn.status == "I"
        busy.execute("rollback")


def test_client_leaves_a_deferred_transaction(router):
    endpoint = router(default_pool_size=1, workers=1)
    for end in ("close", "reset"):
        conn = login(endpoint)
        conn.ask(fe.query("begin"))
        conn.reset() if end == "reset" else conn.socket.close()
    with endpoint.connect() as conn:
        assert where(conn, ["begin"])


def test_idle_limits_hold_for_a_deferred_transaction(router, cluster):
    """The router's own, and the session's, of which PostgreSQL has to know."""
    endpoint = router(idle_transaction_timeout="300ms")
    with login(endpoint) as conn:
        conn.ask(fe.query("begin"))
        assert [e["C"] for e in fe.errors(conn.until("E"))] == ["25P03"]
    endpoint = router()
    for begin in ("begin", "begin read only"):
        with login(endpoint) as conn:
            conn.ask(fe.query("set idle_in_transaction_session_timeout = '200ms'"))
            conn.ask(fe.query(begin))
            start = time.monotonic()
            got = conn.until("E")
            assert [e["C"] for e in fe.errors(got)] == ["25P03"] and time.monotonic() - start < 5


def test_deferred_transactions_are_finished_before_the_end(router, names):
    endpoint = router(shutdown_timeout="20s")
    busy, empty = login(endpoint), login(endpoint)
    for conn in (busy, empty):
        conn.ask(fe.query("begin"))
    endpoint.send_signal(signal.SIGTERM)
    endpoint.wait_log("(?i)drain|shut|stop")
    assert fe.kinds(busy.ask(fe.query("insert into tx_rows values (1007, 1)"))) == "CZ"
    for conn in (busy, empty):
        conn.send(fe.query("rollback"))
        got = conn.drain()
        assert got[0].type == "C" and [e["C"] for e in fe.errors(got)] == ["57P01"]
        conn.socket.close()
    assert endpoint.wait_exit(10) == 0
    endpoint.stop()


def test_a_failed_begin_takes_its_query_with_it(cluster, names):
    """What the router relies on: PostgreSQL passes over a Query behind a failed message, up to the Sync."""
    with fe.Frontend(Direct(cluster)) as conn:
        conn.login(password="app-password")
        got = conn.ask(fe.parse("begin isolation level chaos") + fe.bind() + fe.execute() +
                       fe.query("insert into tx_rows values (1008, 1)") + fe.SYNC)
        assert fe.kinds(got) == "EZ" and conn.status == "I"
        assert conn.value("select count(*) from tx_rows where id = 1008") == "0"
        got = conn.ask(BEGIN + fe.query("select 1"))
        assert fe.kinds(got) == "12CTDCZ" and conn.status == "T"


# Pipelines.

COUNT = 1000


def nonces(kind):
    """COUNT exchanges, each with a number of its own; (bytes, what must come back for each)."""
    data, expected = [], []
    for i in range(COUNT):
        nonce = f"{kind}-{i}"
        ways = [f"select '{nonce}'", f"select '{nonce}', txid_current() is null", f"select '{nonce}', 1/0",
                f"insert into tx_rows values ({2000 + i}, {i}) returning '{nonce}'",
                f"delete from tx_rows where id >= 2000 returning '{nonce}'"]
        which = (0, 0, 1, 0, 3, 0, 2, 0, 4, 0)[i % 10]
        sql = ways[which]
        data.append(fe.query(sql) if kind == "simple" else fe.ask(sql) if i % 3 else fe.parse(sql) + fe.bind() +
                    fe.execute() + fe.parse("select '" + nonce + "'") + fe.bind() + fe.execute() + fe.SYNC)
        expected.append((nonce, which))
    return b"".join(data), expected


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("kind", ["simple", "extended"])
def test_a_thousand_in_one_write(router, cluster, names, kind, mode):
    """Reads, writes and errors: each gets its own answer, in order."""
    endpoint = router(pool_mode=mode)
    data, expected = nonces(kind)
    with login(endpoint, timeout=60) as conn:
        conn.send(data)
        for nonce, which in expected:
            got = conn.until("Z")
            assert conn.status == "I"
            if which == 2:
                assert [e["C"] for e in fe.errors(got)] == ["22012"] and not fe.rows(got)
            else:
                assert not fe.errors(got), fe.errors(got)
                assert {row[0] for row in fe.rows(got)} <= {nonce}
                assert fe.rows(got) or which == 4
        assert not conn.pending()
        conn.ask(fe.query("delete from tx_rows where id >= 2000"))


@pytest.mark.parametrize("begin", ["begin", "begin read only", "begin isolation level repeatable read read only"])
def test_a_thousand_in_transactions(router, cluster, names, begin):
    """The same, each third statement the end or the beginning of a transaction."""
    with login(router(), timeout=60) as conn:
        parts = [q for i in range(COUNT // 3) for q in (begin, f"select 'n-{i}', count(*) from tx_rows", "commit")]
        conn.send(b"".join(fe.query(q) for q in parts))
        for sql in parts:
            got = conn.until("Z")
            if sql.startswith("select"):
                assert [row[0] for row in fe.rows(got)] == [re.search("n-[0-9]+", sql)[0]] and conn.status == "T"
            else:
                assert fe.kinds(got) == "CZ" and conn.status == ("I" if sql == "commit" else "T")


def test_a_pipeline_that_is_not_read(router, cluster):
    """Whoever sends without reading waits; the router holds no more than its buffers."""
    endpoint = router(measure=True, workers=1)
    with login(endpoint, timeout=30) as conn:
        conn.value("select 1")
        before = endpoint.rss()
        one = fe.query(f"select repeat('x', 10000) /* {'y' * 2000} */")
        conn.socket.settimeout(2)
        sent = 0
        with pytest.raises(TimeoutError):
            for _ in range(100000):
                conn.socket.sendall(one)
                sent += 1
        grown = endpoint.rss() - before
        assert grown < (64 if sanitized() else 8) * 1024 * 1024, f"{grown} bytes more after {sent} queries"


# Drivers.

def test_psycopg_read_only(router, cluster):
    endpoint = router()
    with endpoint.connect(autocommit=False) as conn:
        conn.read_only = True
        for level in (None, psycopg.IsolationLevel.REPEATABLE_READ):
            conn.isolation_level = level
            assert conn.execute(PORT).fetchone()[0] in {n.port for n in cluster.replicas}
            conn.commit()
        conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        assert conn.execute(PORT).fetchone()[0] == cluster.primary.port
        conn.commit()


def test_psycopg_pipeline(router, cluster, names):
    with router().connect(autocommit=False) as conn:
        with conn.pipeline():
            for i in range(50):
                with conn.transaction():
                    cursor = conn.execute("select %s::int", (i,))
                    assert cursor.fetchone()[0] == i


def test_asyncpg_read_only(router, cluster, names):
    replicas = {n.port for n in cluster.replicas}

    async def work():
        conn = await asyncpg.connect(**endpoint.asyncpg_params())
        for isolation in (None, "repeatable_read"):
            async with conn.transaction(readonly=True, isolation=isolation):
                first = await conn.fetchval(PORT)
                assert first in replicas
                for _ in range(3):
                    assert await conn.fetchval(PORT) == first
                async for row in conn.cursor("select id from tx_rows"):
                    assert row
        async with conn.transaction(readonly=True):
            assert await conn.fetchval(PORT) in replicas
            await conn.fetchval("select txid_current()")
            assert await conn.fetchval(PORT) == cluster.primary.port
        await conn.close()

    endpoint = router()
    asyncio.run(work())
