# SPDX-License-Identifier: ISC
"""Writes results.md and the plots beside the files of results that are in a folder, however they came there."""
import json
import os

from . import note, plot, scenarios, targets
from .measure import medians
from .peers import KINDS

SECTIONS = ("load", "paced", "instructions", "syscalls", "classify", "memory", "scale")


def in_us(v):
    return f"{v:.1f}"


def in_ms(v):
    """Of microseconds."""
    return f"{v / 1000:.2f}"


METRICS = (
    # key, heading, how a value is written
    ("cpu_us", "CPU of the router per transaction, in microseconds (COPY: per MB)", in_us),
    ("rate", "Transactions per second (COPY: MB per second)", lambda v: f"{v:,.0f}"),
    ("p50", "Latency p50, in milliseconds", in_ms),
    ("p95", "Latency p95, in milliseconds", in_ms),
    ("p99", "Latency p99, in milliseconds", in_ms),
)


def write(folder):
    found = {name: read(os.path.join(folder, name + ".json")) for name in SECTIONS}
    found = {name: content for name, content in found.items() if content}
    text = ["<!-- Written by tools/bench from the JSON files beside it. -->", "# Benchmark results", "",
            "How these were measured, and how to measure them again: [benchmarks.md](../benchmarks.md).", ""]
    for name in SECTIONS:
        if name in found:
            text += WRITERS[name](found[name], folder) + [origin(name, found[name]["meta"]), ""]
    text += ["## Targets", "", "Ratios are medians over the rounds of pgsteer divided by the other in the same round.", "",
             *table(["target", "limit", "measured", ""], [t.row() for t in targets.all_of(found)]), ""]
    path = os.path.join(folder, "results.md")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(text))
    note(f"written: {os.path.relpath(path, os.getcwd())}")


def read(path):
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def origin(section, meta):
    taken = f"{meta['rounds']} round{'s' if meta['rounds'] > 1 else ''} of {meta['seconds']:g} s" \
        f"{', a quick run' if meta['quick'] else ''}; " if section in ("load", "paced", "memory", "scale") else ""
    versions = "; ".join(f"{name}: {text}" for name, text in meta["versions"].items())
    return (f"*{meta['date']}, commit {meta['commit']}; {meta['cpu']}, {meta['cores']} cores, {meta['memory_gib']} GiB, "
            f"Linux {meta['kernel']}, load {meta['load_before']:.1f} before; {taken}{versions}*")


def table(heads, rows):
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "|".join("---" if i == 0 else "---:" for i in range(len(heads))) + "|"
    for row in rows:
        yield "| " + " | ".join(map(str, row)) + " |"


# --- load -----------------------------------------------------------------------------------------------------------

def load_text(results, folder):
    records = results["records"]
    peers = peers_in(records)
    return ["## Load", "", *tables(records, METRICS)] + load_plots(records, peers, folder)


def peers_in(records):
    return [name for name in KINDS if any(r["peer"] == name for r in records)]


def tables(records, metrics):
    """One for each metric: rows are scenarios, columns peers."""
    names = [s.name for s in scenarios.ALL if any(r["scenario"] == s.name for r in records)]
    names += sorted({r["scenario"] for r in records} - set(names))
    peers, text = peers_in(records), []
    for key, heading, form in metrics:
        found = medians(records, key)
        shown = [p for p in peers if not (key == "cpu_us" and p == "direct")]
        rows = [[title(n), *(form(found[n, p]) if (n, p) in found else "" for p in shown)] for n in names
                if any((n, p) in found for p in shown)]
        text += [f"### {heading}", "", *table(["scenario", *(KINDS[p].title for p in shown)], rows), ""]
    return text


def title(name):
    return next((s.title for s in scenarios.ALL if s.name == name), name)


def load_plots(records, peers, folder):
    text = []
    for mode in ("simple", "extended", "prepared"):
        counts = [c for c in (1, 16, 64, 256) if any(r["scenario"] == f"select-{mode}-{c}" for r in records)]
        if not counts:
            continue
        for key, what, unit in (("cpu_us", "CPU of the router per transaction", "microseconds"),
                                ("rate", "Transactions per second", "1/s"), ("p99", "Latency p99", "ms")):
            found = medians(records, key)
            shown = [p for p in peers if any((f"select-{mode}-{c}", p) in found for c in counts)]
            shown = [p for p in shown if not (key == "cpu_us" and p == "direct")]
            values = {(f"{c} clients", p): found.get((f"select-{mode}-{c}", p), 0) / (1000 if key == "p99" else 1)
                      for c in counts for p in shown}
            text += image(folder, f"select-{mode}-{key.replace('_', '-')}.svg", f"{what}, select-only, {mode}", unit,
                          [f"{c} clients" for c in counts], shown, values)
    return text


def image(folder, name, heading, unit, groups, series, values):
    if not plot.bars(os.path.join(folder, name), heading, unit, groups, series, values):
        return []
    return [f"![{heading}]({name})", ""]


# --- the rest -------------------------------------------------------------------------------------------------------

def instructions_text(results, _):
    peers = results["peers"]
    names = list(dict.fromkeys(name for found in peers.values() for name in found))
    rows = [[name, *(f"{peers[p][name]['instructions']:,.0f}" if name in peers[p] else "" for p in peers)] for name in names]
    return ["## Instructions per transaction", "", "By callgrind, user space only.", "",
            *table(["scenario", *(KINDS[p].title for p in peers)], rows), "",
            *hot_spots(peers.get("pgsteer", {}))]


def hot_spots(found):
    """Where pgsteer's are: addresses are functions of libraries that come without names."""
    if not found:
        return []
    rows = [[name, ", ".join(f"{function} {share:.1f} %" for share, function in result["top"]
                             if not function.startswith("0x"))] for name, result in found.items()]
    return ["Functions of pgsteer with the most instructions of their own:", "", *table(["scenario", ""], rows), ""]


def syscalls_text(results, _):
    found = {(name, peer): calls for peer, by_name in results["peers"].items() for name, calls in by_name.items()}
    calls = sorted({call for r in found.values() for call in r}, key=lambda c: -max(r.get(c, 0) for r in found.values()))
    rows = [[name, KINDS[peer].title, *(f"{r.get(c, 0):.2f}" for c in calls), f"{sum(r.values()):.2f}"]
            for (name, peer), r in found.items()]
    return ["## System calls per transaction", "", *table(["scenario", "", *calls, "all"], rows), ""]


def classify_text(results, _):
    rows = [[k, f"{v:.4g}" if isinstance(v, float) else v] for k, v in results.items() if k != "meta"]
    return ["## Classification", "", *table(["figure", "value"], rows), ""]


def paced_text(results, folder):
    from . import section_paced
    return section_paced.text(results, folder)


def memory_text(results, folder):
    from . import section_memory
    return section_memory.text(results, folder)


def scale_text(results, folder):
    from . import section_scale
    return section_scale.text(results, folder)


WRITERS = {"load": load_text, "paced": paced_text, "instructions": instructions_text, "syscalls": syscalls_text,
           "classify": classify_text, "memory": memory_text, "scale": scale_text}
