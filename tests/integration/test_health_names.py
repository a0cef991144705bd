# SPDX-License-Identifier: ISC
"""Servers that have names: one that moves to another address is another server until it has answered."""
import socket

from harness.watch import Watch

HERE, THERE = "127.0.0.1", "127.0.0.2"
MORE = [f"127.0.0.{n}" for n in range(11, 19)]  # with HERE more than a server can have


def test_name_that_moves(cluster, names):
    """Nothing is sent to the new address before its first answer, whatever is known of who was at the old one."""
    primary, replica, turning = cluster.nodes
    servers = [f"name={n.name} host={n.name}.test port={n.port}" for n in cluster.nodes]
    names.set({"pg1.test": [HERE], "pg2.test": [HERE], "pg3.test": [HERE, *MORE]})
    with Watch(None, servers, env=names.env(), health_timeout="2s") as watch:
        watch.ready()
        since = len(watch.topologies)
        # They let everybody in, and never say a word.
        silent = [socket.create_server((THERE, n.port)) for n in (primary, replica)]
        # What merely turns round, even among more addresses than are kept, has not moved.
        names.set({"pg1.test": [THERE], "pg2.test": [THERE], "pg3.test": [*MORE, HERE]})
        for node in (primary, replica):
            watch.node(node.name, 30, address=THERE, reads=False, writes=False, role="unknown")
            assert watch.live(node.name) == {"fresh_until_us": 0, "lag_us": -1}
            watch.node(node.name, 10, address=THERE, state="down", reason="timeout")
        moved = [t for t in watch.topologies[since:] if t["nodes"]["pg1"]["address"] == THERE]
        assert moved and all(t["primary"] is None for t in moved)
        assert not any(n["reads"] or n["writes"] for t in watch.topologies[since:] for n in t["nodes"].values()
                       if n["address"] == THERE)
        names.set({"pg1.test": [HERE], "pg2.test": [HERE]})
        watch.node("pg1", 15, address=HERE, reads=True, writes=True)
        primary.sql("create table if not exists moved (v int)", dbname="app")
        watch.node("pg2", 15, address=HERE, reads=True, role="replica")
        watch.node("pg3", 15, reads=True)
        # It was judged by another primary's samples for a moment, but it has never been another server.
        assert len({t["nodes"]["pg3"]["up_since_us"] for t in watch.topologies[since:]}) == 1
        assert {t["nodes"]["pg3"]["role"] for t in watch.topologies[since:]} == {"replica"}
        for listener in silent:
            listener.close()
