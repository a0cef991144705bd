# SPDX-License-Identifier: ISC
"""Every message that a frontend may send, in a valid form, and the states that it may come in."""
import struct

import frontend as fe

# name: a valid message of each type (function call: 1598 is random(), which takes nothing)
MESSAGES = {
    "Query": fe.query("select 1"),
    "Parse": fe.parse("select $1", "name", types=[23]),
    "Bind": fe.bind("name", [5, None], portal="portal", formats=[0, 0], results=[0]),
    "Describe": fe.describe("S", "name"),
    "Execute": fe.execute("portal", 5),
    "Close": fe.close("P", "portal"),
    "Sync": fe.SYNC,
    "Flush": fe.FLUSH,
    "CopyData": fe.copy_data(b"1\t2\n"),
    "CopyDone": fe.COPY_DONE,
    "CopyFail": fe.copy_fail("reason"),
    "FunctionCall": fe.message("F", struct.pack("!IHHH", 1598, 0, 0, 0)),
    "Terminate": fe.TERMINATE,
    "Password": fe.message("p", b"password\0"),
}


def idle(conn):
    pass


def in_transaction(conn):
    conn.ask(fe.query("begin"))
    conn.ask(fe.query("select txid_current()"))


def in_failed_transaction(conn):
    conn.ask(fe.query("begin"))
    conn.ask(fe.query("select 1/0"))


def in_batch(conn):
    """An extended exchange under way: its Sync has not come."""
    conn.send(fe.parse("select $1::int", "begun") + fe.bind("begun", [1]))


def after_flush(conn):
    """The same, answered in part."""
    conn.send(fe.parse("select $1::int") + fe.bind(values=[1]) + fe.execute() + fe.FLUSH)
    conn.until("C")


def after_error(conn):
    """A batch that has failed: everything up to Sync is to be skipped."""
    conn.send(fe.parse("select nonsense") + fe.FLUSH)
    conn.until("E")


def in_copy_in(conn):
    conn.send(fe.query("copy wire_table from stdin"))
    conn.until("G")


def in_copy_out(conn):
    conn.send(fe.query("copy (select repeat('x', 1000) from generate_series(1, 2000)) to stdout"))
    conn.until("H")


STATES = {f.__name__: f for f in (idle, in_transaction, in_failed_transaction, in_batch, after_flush, after_error,
                                  in_copy_in, in_copy_out)}
