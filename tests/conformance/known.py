# SPDX-License-Identifier: ISC
"""The list of known differences: what does not answer through the router as it does directly, and why.

A line is a test's name, a way to connect, and the reason. The list is strict in both directions: what is not on it must
not differ, and what is on it must.
"""
import os


class Known:
    """known_differences.txt."""

    def __init__(self, path):
        self._path = path
        self._why = {}
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                if line.strip() and not line.startswith("#"):
                    words = line.split(None, 2)
                    assert len(words) == 3, f"{path}:{number}: not a test, a way and a reason"
                    self._why[words[0], words[1]] = words[2].strip()

    def tests(self):
        """The names of tests that are on the list."""
        return {test for test, _ in self._why}

    def judge(self, test, way, expected, got):
        """Fails when the two texts differ and should not, or do not and should."""
        why = self._why.get((test, way))
        name = os.path.basename(self._path)
        if why is not None:
            assert expected != got, f"{test} does not differ any more by {way}: remove it from {name} ({why})"
        elif expected != got:
            raise Differs(test, way, expected, got)


class Differs(AssertionError):
    """Says where two texts differ, with some lines around."""

    def __init__(self, test, way, expected, got):
        from difflib import unified_diff
        lines = list(unified_diff(expected.splitlines(), got.splitlines(), "directly", f"through the router ({way})",
                                  lineterm="", n=4))
        more = [f"... {len(lines) - 80} lines more"] if len(lines) > 80 else []
        super().__init__(f"{test} by {way}:\n" + "\n".join(lines[:80] + more))
