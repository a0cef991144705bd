# SPDX-License-Identifier: ISC
"""Runs scenarios: all peers of one at the same time up, one at a time under load, in an order that turns by one with
every round. What is compared was thus measured within the same minute or two, and a machine that is busy for a while is
busy for all."""
import statistics

from . import load, note, step
from .peers import KINDS, Setup


def run_all(stage, scenarios, peers, rounds, seconds, copy_mb, direct_max=None):
    """[{scenario, peer, round, cpu_us, rate, ...}] of all of them. direct_max, see calibrate, is for those at a fixed rate."""
    records = []
    total = sum(len(wanted(s, peers)) for s in scenarios) * rounds
    progress = Progress(total)
    for scenario in scenarios:
        records += run(stage, scenario, wanted(scenario, peers), rounds, seconds, copy_mb, direct_max, progress)
    return records


class Progress:
    def __init__(self, total):
        self.total, self.done = total, 0

    def tell(self, record):
        self.done += 1
        latency = f", p99 {record['p99'] / 1000:.2f} ms" if "p99" in record else ""
        cpu = f"{record['cpu_us']:7.1f} us CPU" if record["peer"] != "direct" else " " * 14
        note(f"[{self.done:3}/{self.total}] {record['scenario']:20} {record['peer']:18} round {record['round'] + 1} "
             f"{cpu} {record['rate']:9.0f}/s{latency}")


def wanted(scenario, peers):
    return [name for name in scenario.peers if name in peers]


def calibrate(stage, seconds):
    """What direct connections do at most, in transactions per second."""
    direct = KINDS["direct"](stage, Setup())
    found = load.pgbench(direct, ["-S"], 64, seconds)["rate"]
    note(f"direct maximum: {found:.0f} transactions per second")
    return found


def run(stage, scenario, names, rounds, seconds, copy_mb, direct_max, progress):
    step(f"{scenario.name}: {scenario.title}")
    setup = Setup(clients=scenario.clients, tls=scenario.tls)
    records, peers = [], []
    try:
        for name in names:
            peers.append(KINDS[name](stage, setup).start())
        for peer in peers:
            peer.wait_ready()
        logins = {peer: warm(scenario, peer) for peer in peers}
        for number in range(rounds):
            turn = number % max(1, len(peers))
            for peer in peers[turn:] + peers[:turn]:
                record = one(scenario, peer, number, logins[peer], seconds, copy_mb, direct_max)
                records.append(record)
                progress.tell(record)
    finally:
        for peer in peers:
            peer.stop()
    return records


def warm(scenario, peer):
    return 0.0 if scenario.kind.startswith("copy") else load.warm(peer, list(scenario.arguments), scenario.clients)


def one(scenario, peer, number, login_seconds, seconds, copy_mb, direct_max):
    record = {"scenario": scenario.name, "peer": peer.name, "round": number}
    if scenario.kind.startswith("copy"):
        found = load.copy(peer, scenario.kind.removeprefix("copy-"), copy_mb)
    else:
        arguments = list(scenario.arguments)
        if scenario.kind == "paced":
            record["target_rate"] = direct_max * scenario.share
            arguments += ["-R", str(int(direct_max * scenario.share))]
        found = load.pgbench(peer, arguments, scenario.clients, seconds, login_seconds)
    return {**record, **found}


def medians(records, key):
    """{(scenario, peer): median over the rounds}."""
    values = {}
    for record in records:
        if key in record:
            values.setdefault((record["scenario"], record["peer"]), []).append(record[key])
    return {where: statistics.median(found) for where, found in values.items()}


def ratio(records, scenario, key, peer, other):
    """The median over the rounds of peer's value divided by the other's in the same round; None when there is none."""
    by_round = {(r["peer"], r["round"]): r[key] for r in records if r["scenario"] == scenario and key in r}
    rounds = {number for name, number in by_round if name == peer} & {n for name, n in by_round if name == other}
    found = [by_round[peer, n] / by_round[other, n] for n in rounds if by_round[other, n]]
    return statistics.median(found) if found else None
