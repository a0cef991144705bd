# SPDX-License-Identifier: ISC
"""Runs the statements of a file by Parse, Bind, Describe, Execute and Sync, and prints every answer.

More is shown than psql would: types and formats of columns, fields of errors, changed parameters, the transaction
state. Every second statement gets a name, so that both the unnamed and named ones are used; names are closed again.
"""
import struct

import frontend as fe

REPEATED = ("literals", "replan")
USER_OID = 16384  # what was made after initdb has another one in every run


class NotPossible(Exception):
    """The file has commands for psql in it."""


def possible(path):
    try:
        with open(path, encoding="utf-8") as f:
            split(f.read())
        return True
    except NotPossible:
        return False


def split(text):
    """[(statement, the lines of COPY data behind it or None)]; semicolons within quotes and parentheses end nothing."""
    found, start, at, depth = [], 0, 0, 0
    while at < len(text):
        char, two = text[at], text[at:at + 2]
        if two == "--":
            at = end_of(text, "\n", at)
        elif two == "/*":
            at = end_of(text, "*/", at)
        elif char in "'\"":
            at = end_of_quoted(text, at)
        elif char == "$":
            at = end_of_dollars(text, at)
        elif char == "\\":
            raise NotPossible
        elif char == ";" and depth == 0:
            statement, at = text[start:at].strip(), at + 1
            data, at = copy_data(statement, text, at)
            found.append((statement, data))
            start = at
        else:
            depth += (char == "(") - (char == ")")
            at += 1
    if "begin atomic" in text.lower():
        raise NotPossible  # psql counts its BEGIN and END
    return found


def end_of(text, what, at):
    end = text.find(what, at + 1)
    return len(text) if end < 0 else end + len(what)


def end_of_quoted(text, at):
    """Behind a quoted string or name: doubled quotes are two of these, only E'' knows backslashes."""
    quote, escapes = text[at], text[at] == "'" and text[at - 1:at] in "eE" and not text[at - 2:at - 1].isalnum()
    at += 1
    while at < len(text) and text[at] != quote:
        at += 2 if escapes and text[at] == "\\" else 1
    return at + 1


def end_of_dollars(text, at):
    end = text.find("$", at + 1)
    tag = text[at:end + 1]
    if end < 0 or not (tag == "$$" or tag[1:-1].isidentifier()) or text[at - 1:at].isalnum():
        return at + 1
    return end_of(text, tag, end)


def copy_data(statement, text, at):
    words = " ".join(line.partition("--")[0] for line in statement.lower().splitlines()).split()
    if words[:1] != ["copy"] or "stdin" not in words or "from" not in words:
        return None, at
    at = end_of(text, "\n", at - 1)
    end = text.index("\\.\n", at)
    return text[at:end], end + 3


def run(name, text, way):
    """The whole session as text. A comment makes each statement one of its own, so that nothing prepared earlier is met
    again; but for the files that are about just that."""
    lines = []
    with fe.Frontend(way, timeout=30) as conn:
        way.login(conn, client_encoding="UTF8")
        for number, (statement, data) in enumerate(split(text)):
            lines.append(f"> {statement}")
            try:
                mark = f"/* {name} */" if name in REPEATED else f"/* {name} {number:3} */"
                found = exchange(conn, f"{mark} {statement}", data, f"s{number}" if number % 2 else "")
                lines += [show(m) for m in settled(found)]
            except (fe.Closed, TimeoutError) as error:
                return "\n".join([*lines, f"{type(error).__name__}\n"])
    return "\n".join(lines) + "\n"


def exchange(conn, statement, data, name):
    """The answers to one statement, its closing included."""
    conn.send(fe.parse(statement, name) + fe.describe("S", name) + fe.bind(name) + fe.execute() + fe.SYNC)
    found = []
    while not found or found[-1].type != "Z":
        found.append(conn.receive())
        if found[-1].type == "G":
            conn.send((fe.copy_data(data.encode()) if data is not None else b"") + fe.COPY_DONE + fe.SYNC)
    if name:
        conn.send(fe.close("S", name) + fe.SYNC)
        found += conn.until("Z")
    return found


def settled(messages):
    """Without the one difference that is meant: a text that its server has parsed before is not sent to be parsed again,
    so that what Parse would say against it by now (a table is gone, the transaction has failed) is said by the message
    that follows, from another line of PostgreSQL's source."""
    at = next((n for n, m in enumerate(messages) if m.type == "E"), None)
    if at is None:
        return messages
    start = max((n for n in range(at) if messages[n].type == "Z"), default=-1) + 1
    return [m for n, m in enumerate(messages) if not (start <= n < at and m.type in "1tn")]


def show(message):
    kind, body = message
    if kind == "T":
        return "  T " + ", ".join(columns(body))
    if kind == "t":
        return "  t " + " ".join(oid(x) for x in struct.unpack_from(f"!{struct.unpack_from('!H', body)[0]}I", body, 2))
    if kind == "D":
        return f"  D {fe.row(body)}"
    if kind in "EN":
        return f"  {kind} " + "; ".join(f"{k} {v}" for k, v in fe.fields(body).items() if k not in "FLR")
    if kind == "A":
        return f"  A {body[4:]!r}"
    return f"  {kind} {body!r}" if body else f"  {kind}"


def columns(body):
    """name:type/format of each column of a RowDescription, and where it comes from."""
    (count,), at = struct.unpack_from("!H", body), 2
    for _ in range(count):
        end = body.index(b"\0", at)
        table, number, kind, size, modifier, form = struct.unpack_from("!IhIhih", body, end + 1)
        yield f"{body[at:end].decode()}:{oid(kind)},{size},{modifier}/{form} of {oid(table)}.{number}"
        at = end + 19


def oid(value):
    return str(value) if value < USER_OID else "?"
