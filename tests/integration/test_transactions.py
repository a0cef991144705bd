# SPDX-License-Identifier: ISC
"""Transactions: BEGIN that waits for its first statement, READ ONLY ones on replicas, and the ends of all of them."""
import re
import time

import psycopg
import pytest

import frontend as fe
from harness.load import PORT
from harness.router import Direct
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
                                  "copy (insert into {t} values (9, 9) returning 1) to stdout"]
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
            for _ in range(syncs(data)):
                while not got or got[-1].type != "Z" or sum(m.type == "Z" for m in got) < _ + 1:
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
        assert play(endpoints[mode], SCRIPTS[script], **names) == expected
