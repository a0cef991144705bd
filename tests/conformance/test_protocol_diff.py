# SPDX-License-Identifier: ISC
"""Random messages get the same answers through the router (transaction mode) as directly: see protocol_diff.py.

`--sequences N` says how many, `--seed N` which: the seed is printed, and one that failed finds the same again. The server
connections of the router are used by one sequence after the other, so that what one leaves behind shows in another.
"""
import os

import pytest

import frontend as fe
import protocol_diff

DATABASE = USER = "conf"
REPORTED_MAX = 5


@pytest.fixture(scope="module")
def sides(database, module_router):
    """Two functions that make a logged-in connection: directly, and through a router."""
    with database.primary.connect(DATABASE) as conn:
        for schema in ("fuzz_direct", "fuzz_router"):
            conn.execute(f"drop schema if exists {schema} cascade")
            conn.execute(f"create schema {schema} create table t (id int primary key, v text)")
            conn.execute(f"alter schema {schema} owner to {USER}")
    database.caught_up()
    endpoint = module_router(auth={USER: "conf-password"}, auth_type="trust", workers=1, default_pool_size=2)
    direct_path = os.path.join(database.sockets, f".s.PGSQL.{database.primary.port}")
    router_path = os.path.join(endpoint.socket_dir, f".s.PGSQL.{endpoint.port}")

    def connect(path, schema):
        return fe.Frontend(None, timeout=5, path=path).login(USER, DATABASE, search_path=schema)

    yield (lambda: connect(direct_path, "fuzz_direct")), (lambda: connect(router_path, "fuzz_router"))
    with database.primary.connect(DATABASE) as conn:
        for schema in ("fuzz_direct", "fuzz_router"):
            conn.execute(f"drop schema {schema} cascade")


@pytest.mark.timeout(0)
def test_random_sequences(request, sides):
    seed, count = request.config.getoption("--seed"), request.config.getoption("--sequences")
    direct, router = sides
    maker, failures = protocol_diff.Maker(seed), []
    for number in range(count):
        rounds = maker.sequence()
        expected, got = protocol_diff.both(rounds, direct, router)
        if expected != got:
            failures.append(f"sequence {number}\n" + smallest(rounds, expected, got, direct, router))
            if len(failures) == REPORTED_MAX:
                break
    assert not failures, f"--seed {seed}\n" + "\n\n".join(failures)


def smallest(rounds, expected, got, direct, router):
    """As a text: the sequence with nothing in it that the difference could do without."""
    pair = protocol_diff.first(expected, got)

    def differs(candidate):  # in the same way: a smaller one may meet what is known
        return protocol_diff.first(*protocol_diff.both(candidate, direct, router)) == pair

    reduced = protocol_diff.shrink(rounds, differs)
    a, b = protocol_diff.both(reduced, direct, router)
    if a == b:  # it depends on what went before
        reduced, a, b = rounds, expected, got
    return protocol_diff.report(reduced, a, b)


@pytest.mark.parametrize("state", protocol_diff.STATES)
@pytest.mark.parametrize("item", protocol_diff.MALFORMED, ids=lambda item: item.label)
def test_malformed_message(sides, item, state):
    """What PostgreSQL answers to it, and nothing else: an error that the connection survives, or its end."""
    rounds = protocol_diff.malformed(item, state)
    expected, got = (protocol_diff.run(rounds, side) for side in sides)
    assert expected == got, protocol_diff.report(rounds, expected, got)


@pytest.mark.parametrize("name", protocol_diff.AGREED)
def test_what_once_differed(sides, name):
    rounds = protocol_diff.AGREED[name]
    expected, got = (protocol_diff.run(rounds, side) for side in sides)
    assert expected == got, protocol_diff.report(rounds, expected, got)


@pytest.mark.parametrize("name", protocol_diff.KNOWN)
def test_known_still_differs(sides, name):
    direct, router = sides
    expected = [protocol_diff.run(rounds, direct) for rounds in protocol_diff.KNOWN[name]]
    got = [protocol_diff.run(rounds, router) for rounds in protocol_diff.KNOWN[name]]
    assert expected != got, f"remove {name!r} from protocol_diff.KNOWN"
