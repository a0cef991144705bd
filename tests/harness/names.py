# SPDX-License-Identifier: ISC
"""Host names that lead where a test wants them to, for a program that is started with env()."""
import os
import shutil

from harness.router import binary

# Beside the program under test, where that was built: the tests of it may run a copy.
LIBRARY = os.path.join(os.path.dirname(binary()), "tests", "unit", "health", "test_names.so")


class Names:
    def __init__(self, workspace, folder):
        folder = workspace.make(folder)
        os.chmod(folder, 0o755)
        self._path = os.path.join(folder, "names")
        self._library = shutil.copy(LIBRARY, folder)
        self._known = {}
        self.set({})

    def set(self, names):
        """{name: its addresses, in order}. Without any its look-up hangs; a name that was never set is the system's."""
        self._known.update(names)
        with open(self._path + ".new", "w", encoding="ascii") as f:
            f.writelines(" ".join([name, *addresses]) + "\n" for name, addresses in self._known.items())
        os.chmod(self._path + ".new", 0o644)
        os.replace(self._path + ".new", self._path)

    def env(self, base=None):
        """The environment `base` (ours, unless told) and what makes the names known."""
        base = {**(os.environ if base is None else base)}
        options = [base["ASAN_OPTIONS"]] if base.get("ASAN_OPTIONS") else []  # which wants to be the first library
        return {**base, "LD_PRELOAD": self._library, "TEST_NAMES": self._path,
                "ASAN_OPTIONS": ":".join(options + ["verify_asan_link_order=0"])}
