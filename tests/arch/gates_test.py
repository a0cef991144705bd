# SPDX-License-Identifier: ISC
"""The gates on small trees made for the purpose: each lets good code pass and finds what it is there for."""
import os
import subprocess
import tempfile
import textwrap
import unittest

import banned_calls
import doc_links
import facades
import file_heads
import include_order
import lone_headers
import sizes
import source
import symbols

GOOD = """\
    // SPDX-License-Identifier: ISC
    // base/good.h: strcpy(a, b) in a comment, and "sprintf(" in a string, are no calls.
    #ifndef PGSTEER_BASE_GOOD_H
    #define PGSTEER_BASE_GOOD_H
    #include <stdint.h>
    static inline const char *good(void) { return "gets( } { // \\""; }
    #endif
    """


class Gates(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        self.write("base/good.h", GOOD)

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(textwrap.dedent(text))
        return full

    def assertFinds(self, problems, *parts):
        self.assertEqual(len(problems), 1, problems)
        for part in parts:
            self.assertIn(part, problems[0])

    def test_good_code_passes(self):
        for gate in (include_order, lone_headers, sizes, banned_calls, file_heads, doc_links):
            self.assertEqual(gate.check(self.root), [], gate.__name__)

    def test_include_upwards(self):
        self.write("router/wire/a.h", "")
        self.write("health/b.c", '#include "base/good.h"\n#include "router/wire/a.h"\n')
        self.assertFinds(include_order.check(self.root), "health/b.c:2", "rank 3 from rank 2")

    def test_include_by_short_path(self):
        self.write("base/b.c", '#include "good.h"\n')
        self.assertFinds(include_order.check(self.root), "base/b.c:1", "not a path from the root")

    def test_no_rank(self):
        self.write("router/new.c", "")
        self.assertFinds(include_order.check(self.root), "router/new.c", "has no rank")

    def test_include_circle(self):
        self.write("base/a.h", '#include "base/b.h"\n')
        self.write("base/b.h", '#include "base/a.h"\n')
        self.assertFinds(include_order.check(self.root), "base/a.h -> base/b.h -> base/a.h")

    def test_header_that_needs_another(self):
        self.write("base/b.h", "#ifndef PGSTEER_BASE_B_H\n#define PGSTEER_BASE_B_H\nuint8_t f(void);\n#endif\n")
        self.assertFinds(lone_headers.check(self.root), "base/b.h:3", "uint8_t")

    def test_header_guard(self):
        self.write("base/b.h", "#ifndef BASE_B_H\n#define BASE_B_H\n#endif\n")
        self.assertFinds(lone_headers.check(self.root), "base/b.h:1", "guard")

    def test_function_sizes(self):
        def body(lines):
            return "static void\nf(void) {\n" + "    g();\n" * (lines - 3) + "}\n"
        self.write("base/b.c", "struct x {\n" + "int a;\n" * 100 + "};\n" + body(80) + "int t[] = {\n" + "1,\n" * 100 + "};\n")
        self.assertEqual(sizes.check(self.root), [])
        self.write("base/c.c", "#define M {\n\n" + body(81))
        self.assertFinds(sizes.check(self.root), "base/c.c:3", "81 lines")

    def test_file_sizes(self):
        table = "static const int t[] = {\n" + "1,\n" * 798 + "};\n"
        self.write("base/b.c", table)
        self.write("tests/unit/b.c", table + "int x;\n" * 800)
        self.assertEqual(sizes.check(self.root), [])
        self.write("base/c.c", table + "int x;\n")
        self.assertFinds(sizes.check(self.root), "base/c.c", "801 lines")

    def test_banned_calls(self):
        self.write("base/b.c", "/* one\n two */\nvoid f(char *s) { strcpy (s, \"x\"); my_strcpy(s); }\n")
        self.assertFinds(banned_calls.check(self.root), "base/b.c:3", "strcpy")

    def test_facades(self):
        listed = self.write("facades.txt", "foo/: base/foo.c\nuv.h: *\n[system]\nstdint.h\n")
        self.write("base/foo.c", "#include <foo/foo.h>\n#include <uv.h>\n")
        self.assertEqual(facades.check(self.root, listed), [])
        self.write("base/b.c", "#include <foo/foo.h>\n")
        self.assertFinds(facades.check(self.root, listed), "base/b.c:1", "may only be included by base/foo.c")
        self.write("base/b.c", "#include <bar.h>\n")
        self.assertFinds(facades.check(self.root, listed), "base/b.c:1", "belongs to no library")
        os.remove(os.path.join(self.root, "base/b.c"))
        os.remove(os.path.join(self.root, "base/foo.c"))
        self.assertFinds(facades.check(self.root, listed), "base/foo.c is not there")

    def test_file_heads(self):
        self.write("base/b.c", "// base/b.c: no licence\n")
        self.assertFinds(file_heads.check(self.root), "base/b.c:1", "SPDX")
        self.write("base/b.c", "// SPDX-License-Identifier: ISC\n// something\n")
        self.assertFinds(file_heads.check(self.root), "base/b.c:2", "path")

    def test_symbols(self):
        build = os.path.join(self.root, "build")
        source_file = self.write("build/base/x.c", "void *palloc(int n);\nvoid *palloc(int n) { (void)n; return 0; }\n")
        library = os.path.join(build, "libtheirs.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source_file], check=True)
        self.assertFinds(symbols.check(self.root, build, library), "no static library")
        self.archive("void ours(void);\nstatic void palloc(void) {}\nvoid ours(void) { palloc(); }\n")
        self.assertEqual(symbols.check(self.root, build, library), [])
        self.archive("void palloc(void);\nvoid palloc(void) {}\n")
        self.assertFinds(symbols.check(self.root, build, library), "libours.a", "palloc is a name of libpg_query")

    def archive(self, text):
        path = self.write("build/base/ours.c", text)
        subprocess.run(["cc", "-c", "-o", path + ".o", path], check=True)
        subprocess.run(["ar", "rc", os.path.join(os.path.dirname(path), "libours.a"), path + ".o"], check=True)

    def test_doc_links(self):
        self.write("docs/a.md", "# Some head, line\n```\n[x](nowhere.md)\n```\n[ok](a.md#some-head-line) `base/good.h`"
                                " `buf_put()` [web](https://example.org)\n")
        self.write("base/b.c", "void buf_put(void);\n")
        self.assertEqual(doc_links.check(self.root), [])
        for text, problem in (("[x](b.md)", "b.md, which is not there"), ("[x](#other)", "no such heading"),
                              ("`base/gone.c`", "base/gone.c"), ("`buf_gone()`", "buf_gone()")):
            self.write("README.md", text + "\n")
            self.assertFinds(doc_links.check(self.root), "README.md:1", problem)

    def test_blocks(self):
        text = ("struct a {\n int x;\n};\n\nstatic int f(int a,\n  int b)\n{\n if (a) { b(); }\n}\n"
                "static const struct {\n int x;\n} t[] = {\n {1},\n};\n"
                "#define G(x) \\\n  void x(void) {\nFLAG(2) int g(void) { return '}'; }\n")
        self.assertEqual([b for b in source.blocks(text) if b[3] == 0],
                         [("other", 1, 3, 0), ("function", 5, 9, 0), ("other", 10, 12, 0), ("table", 12, 14, 0),
                          ("function", 17, 17, 0)])

    def test_tables_in_functions_of_tests(self):
        text = "static void\nf(void) {\n  static const int t[] = {\n" + "    {1},\n" * 100 + "  };\n  g();\n}\n"
        self.write("tests/unit/b.c", text)
        self.assertEqual(sizes.check(self.root), [])
        self.write("base/b.c", text)
        self.assertFinds(sizes.check(self.root), "base/b.c:1", "106 lines")


if __name__ == "__main__":
    unittest.main()
