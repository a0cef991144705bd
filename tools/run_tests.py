# SPDX-License-Identifier: ISC
"""What tools/test does once everything is installed: builds, runs the parts, adds up what they report.

Every part leaves a JUnit file; a part that could not be built or leaves none counts as one failure. The last line is
"N passed, N failed", with ", N skipped" behind it when there are any. The exit code is 0 only when nothing failed.
"""
import argparse
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PARTS = ["unit", "wire", "integration", "conformance", "instructions"]

# Instructions per transaction that no change may reach without a word: half as many again as there were on an x86-64 of
# 2024, since the library's functions differ from one processor to the next.
INSTRUCTIONS_MAX = {"simple": 7800, "extended": 10000, "prepared": 9600, "tpcb": 45000, "connect": 126000}


class Results:
    """Counts, and the names of what failed."""

    def __init__(self):
        self.passed, self.skipped, self.failures = 0, 0, []

    def read(self, path, what):
        try:
            cases = list(xml.etree.ElementTree.parse(path).iter("testcase"))
        except (OSError, xml.etree.ElementTree.ParseError):
            return self.fail(f"{what} did not run to its end")
        for case in cases:
            if case.find("failure") is not None or case.find("error") is not None:
                self.fail(f"{what}: {case.get('classname', '')}.{case.get('name')}")
            elif case.find("skipped") is not None or case.get("status") in ("disabled", "notrun"):
                self.skipped += 1
            else:
                self.passed += 1

    def fail(self, name):
        self.failures.append(name)

    def report(self, seconds):
        if self.failures:
            print("\nfailed:")
            for name in self.failures:
                print(f"  {name}")
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        print(f"\ntook {seconds:.0f} s\n{self.passed} passed, {len(self.failures)} failed{skipped}", flush=True)
        return 1 if self.failures or not self.passed else 0


def step(text):
    print(f"\n\033[1m==> {text}\033[0m", flush=True)


def run(*command, **options):
    return subprocess.run(command, cwd=ROOT, check=False, **options).returncode


_built = {}


def build(preset, results):
    """Configures and builds a preset, once; False when that fails."""
    if preset not in _built:
        step(f"Building ({preset})")
        configured = subprocess.run(["cmake", "--preset", preset], cwd=ROOT, check=False, text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if configured.returncode != 0:
            print(configured.stdout)
        _built[preset] = configured.returncode == 0 and run("cmake", "--build", f"build/{preset}") == 0
        if not _built[preset]:
            results.fail(f"the build of preset {preset}")
    return _built[preset]


def unit(results, folder, extra):
    # ThreadSanitizer does not know where newer kernels put things unless addresses are left alone.
    fixed = ["setarch", "-R"] if run("setarch", "-R", "true", stderr=subprocess.DEVNULL) == 0 else []
    for preset, prefix in (("debug", []), ("asan", []), ("tsan", fixed)):
        if build(preset, results):
            step(f"Unit tests ({preset})")
            report = os.path.join(folder, f"unit-{preset}.xml")
            run(*prefix, "ctest", "--preset", preset, "-j", str(os.cpu_count()), "--output-junit", report, *extra)
            results.read(report, f"unit ({preset})")


def pytest(results, folder, part, preset, args, extra):
    if not build(preset, results):
        return
    step(f"{part.capitalize()} tests ({preset}{', full' if args.full else ''})")
    report = os.path.join(folder, f"{part}-{preset}.xml")
    # Files of tests side by side: they wait for one thing or another most of the time. Not those that are about time.
    beside = ["-n", str(min(os.cpu_count() or 1, 4)), "--dist", "loadfile"] if not extra and part == "conformance" else []
    run("/usr/bin/python3", "-m", "pytest", "-q", f"--junitxml={report}", f"--basetemp={folder}/tmp",
        f"tests/{part}", *beside, *extra,
        *(["--full"] if args.full else []),
        env={**os.environ, "PGSTEER_BIN": os.path.join(ROOT, "build", preset, "pgsteer")})
    results.read(report, f"{part} ({preset})")


def real(results, folder, part, args, extra):
    """Wire, integration or conformance tests. A sanitizer's own memory and slowness hide the program's: what measures either runs on
    the plain build as well."""
    pytest(results, folder, part, args.build, args, extra)
    if args.build == "asan" and part != "conformance" and not extra:
        pytest(results, folder, part, "debug", args, ["-m", "memory or speed"])


def instructions(results, folder):
    """What a transaction costs the program, as tools/bench --instructions counts it. It does not depend on the machine's load,
    so that a gross regression shows at once."""
    if not build("release", results):
        return
    step("Instructions per transaction (release)")
    run("/usr/bin/python3", "-B", "-m", "bench_lib", "--instructions", "--peers", "pgsteer", "--output", folder,
        env={**os.environ, "PYTHONPATH": os.path.join(ROOT, "tools")}, stdout=subprocess.DEVNULL)
    try:
        with open(os.path.join(folder, "instructions.json"), encoding="utf-8") as f:
            counts = {name: found["instructions"] for name, found in json.load(f)["peers"]["pgsteer"].items()}
    except (OSError, ValueError, KeyError):
        return results.fail("instructions did not run to its end")
    for name, limit in INSTRUCTIONS_MAX.items():
        count = counts.get(name, float("inf"))
        print(f"{name:10} {count:10,.0f}   of at most {limit:,}", flush=True)
        if count > limit:
            results.fail(f"instructions: {name}")
        else:
            results.passed += 1


def fuzz(results, seconds):
    if not build("fuzz", results):
        return
    for program in sorted(glob.glob(os.path.join(ROOT, "build/fuzz/tests/fuzz/*"))):
        name = os.path.basename(program)
        if os.path.isdir(program) or not os.access(program, os.X_OK):
            continue
        step(f"Fuzzing {name} for {seconds} s")
        with tempfile.TemporaryDirectory() as found:
            seeds = os.path.join(ROOT, "tests/fuzz/corpus", name.removeprefix("fuzz_").removesuffix("_fuzz"))
            code = run(program, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
                       f"-artifact_prefix={ROOT}/build/fuzz/{name}-", "-print_final_stats=1", found,
                       *([seeds] if os.path.isdir(seeds) else []))
        if code:
            results.fail(f"fuzz: {name}")
        else:
            results.passed += 1


def main():
    parser = argparse.ArgumentParser(prog="tools/test")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--build", default="asan")
    parser.add_argument("part", nargs="?", choices=[*PARTS, "fuzz"])
    args, extra = parser.parse_known_args()
    start, results = time.monotonic(), Results()
    folder = tempfile.mkdtemp(prefix="pgsteer-results-")
    try:
        for part in [args.part] if args.part else PARTS:
            if part == "unit":
                unit(results, folder, extra)
            elif part == "fuzz":
                fuzz(results, extra[0] if extra else "10")
            elif part == "instructions":
                instructions(results, folder)
            else:
                real(results, folder, part, args, extra)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return results.report(time.monotonic() - start)


if __name__ == "__main__":
    sys.exit(main())
