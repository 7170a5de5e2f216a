"""Every rule catches a planted violation and leaves good code alone: on small trees made for the purpose."""

import tempfile
import unittest
from pathlib import Path

from functions import Scanner
from source import Source, blank_cpp
from tidy import findings_in

HEADER = "// What this is for.\n#pragma once\n"


def good_tree():
    return {
        "engine/base/CMakeLists.txt": "gridquant_library(engine_base SOURCES a.cc LINKS absl::status)\n",
        "engine/base/a.h": HEADER + "#include <string>\n\nint f();\n",
        "engine/base/a.cc": '#include "engine/base/a.h"\n\n// "system(" is fine here\nint f() {\n  return 1;\n}\n',
        "engine/model/CMakeLists.txt": "gridquant_library(engine_model SOURCES m.cc LINKS engine_base)\n",
        "engine/model/m.h": HEADER + '#include "engine/base/a.h"\n',
        "engine/model/m.cc": '#include "engine/model/m.h"\n\nconst char* s = "std::cout << rand() TO" "DO";\n',
        "coordinator/sched/CMakeLists.txt": "gridquant_library(coordinator_sched SOURCES s.cc)\n",
        "coordinator/sched/s.h": HEADER,
        "coordinator/sched/s.cc": '#include "coordinator/sched/s.h"\n',
        "node/worker/CMakeLists.txt": "add_executable(gridquant-worker main.cc)\n",
        "node/worker/main.cc": "// The worker.\n\nint main() { return std::getenv(\"A\") != nullptr; }\n",
        "engine/ops/CMakeLists.txt": "gridquant_library(engine_ops SOURCES add_cpu.cc LINKS engine_base)\n",
        "engine/ops/ops_list.inc": "// Every op.\nGRIDQUANT_OP(add)\n",
        "engine/ops/add.h": HEADER,
        "engine/ops/add_cpu.cc": "// The op add.\n#include \"engine/ops/add.h\"\n",
        "tests/conformance/ops/CMakeLists.txt": "gridquant_test(ops_test SOURCES ops_test.cc)\n",
        "tests/conformance/ops/ops_test.cc": "// Rows.\nRow rows[] = {{\"add\", &check_add}};\n",
    }


def check(files):
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            target = Path(root, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        return findings_in(root)[1]


# Rule, file, text put at its end (or the whole file, where it is new), words of the message.
PLANTED = [
    ("layers", "engine/base/a.h", '#include "engine/model/m.h"\n', "may not include"),
    ("layers", "engine/model/m.cc", '#include "engine/quant/solver.h"\n', "may not include"),
    ("layers", "coordinator/sched/s.cc", '#include "engine/base/env.h"\n', "may not include"),
    ("layers", "coordinator/sched/s.cc", "#include <thread>\n", "pure"),
    ("layers", "coordinator/sched/s.cc", "#include <fstream>\n", "pure"),
    ("layers", "engine/model/m.cc", "#include <yaml-cpp/yaml.h>\n", "belongs to"),
    ("layers", "engine/model/m.cc", "#include <dnnl.hpp>\n", "belongs to"),
    ("layers", "engine/base/a.cc", "#include <sqlite3.h>\n", "belongs to"),
    ("layers", "engine/base/a.cc", "#include <mpi.h>\n", "belongs to"),
    ("layers", "engine/base/a.cc", "#include <CLI/CLI.hpp>\n", "belongs to"),
    ("layers", "engine/base/a.cc", "#include <spdlog/spdlog.h>\n", "belongs to"),
    ("layers", "engine/base/a.cc", '#include "a.h"\n', "from the tree's root"),
    ("layers", "engine/magic/x.h", HEADER + '#include "engine/base/a.h"\n', "not in the table"),
    ("layers", "engine/base/CMakeLists.txt", "gridquant_library(engine_base LINKS engine_model)\n", "may not link"),
    ("length", "engine/base/a.h", "//\n" * 500, "more than 500"),
    ("length", "engine/base/a.h", "// " + "x" * 118 + "\n", "121 characters"),
    ("length", "engine/base/README.md", "x\n" * 200, "at most a page"),
    ("function-length", "engine/base/a.cc", "int g() {\n" + "  f();\n" * 69 + "}\n", "g has 71 lines"),
    ("function-length", "tests/x.py", "def g():\n" + "    f()\n" * 70, "g has 71 lines"),
    ("banned", "engine/base/a.cc", 'const char* home = getenv("HOME");\n', "environment"),
    ("banned", "engine/base/a.cc", 'void p() { printf("x"); }\n', "prints"),
    ("banned", "engine/base/a.cc", "void p() { std::cout << 1; }\n", "prints"),
    ("banned", "engine/base/a.cc", "#include <regex>\n", "PCRE2"),
    ("banned", "engine/base/a.cc", "int r() { return rand(); }\n", "random"),
    ("banned", "engine/base/a.cc", 'int r() { return system("x"); }\n', "no shell"),
    ("banned", "engine/base/a.cc", "thread_local int counter = 0;\n", "thread_local"),
    ("banned", "engine/base/a.cc", "void t() { throw 1; }\n", "exceptions"),
    ("banned", "engine/base/a.cc", "using namespace std;\n", "using namespace"),
    ("banned", "engine/base/a.cc", "void e() { std::exit(1); }\n", "ends the process"),
    ("banned", "engine/base/a.cc", "int* n() { return new int(1); }\n", "ownership"),
    ("banned", "engine/base/a.cc", "GQ_ASSIGN_OR_RETURN(a() ? b : c, f());\n", "one branch alone"),
    ("banned", "engine/base/a.cc", "// TODO: later\n", "unfinished"),
    ("banned", "scripts/x.sh", "cd /work/main\n", "one machine"),
    ("banned", "engine/base/CMakeLists.txt", "add_compile_options(-march=native)\n", "portable"),
    ("head", "engine/base/b.h", "#pragma once\n", "begins with a comment"),
    ("head", "engine/base/b.h", "// What this is for.\n", "no #pragma once"),
    ("unlisted", "engine/base/b.cc", "// What this is for.\n", "not named in"),
    ("ops", "engine/ops/ops_list.inc", "GRIDQUANT_OP(mul)\n", "has no engine/ops/mul.h"),
    ("ops", "engine/ops/ops_list.inc", "GRIDQUANT_OP(mul)\n", "has no engine/ops/mul_cpu.cc"),
    ("ops", "engine/ops/ops_list.inc", "GRIDQUANT_OP(mul)\n", "no row in the conformance suite"),
]


class Rules(unittest.TestCase):
    def test_good_tree_passes(self):
        self.assertEqual([str(finding) for finding in check(good_tree())], [])

    def test_planted_violations_are_caught_where_they_are(self):
        for rule, path, planted, words in PLANTED:
            with self.subTest(rule=rule, path=path, words=words):
                files = good_tree()
                before = files.get(path, "")
                files[path] = before + planted
                found = [f for f in check(files) if f.rule == rule and f.path == path and words in f.message]
                self.assertTrue(found, "not caught")
                self.assertGreaterEqual(found[0].line, 1)
                self.assertLessEqual(found[0].line, files[path].count("\n") + 1)

    def test_two_files_with_yaml_cpp(self):
        files = good_tree()
        for name in ("a", "b"):
            files[f"coordinator/spec/{name}.cc"] = "// Reads YAML.\n#include <yaml-cpp/yaml.h>\n"
        files["coordinator/spec/CMakeLists.txt"] = "gridquant_library(coordinator_spec SOURCES a.cc b.cc)\n"
        self.assertEqual([f.path for f in check(files)], ["coordinator/spec/b.cc"])

    def test_what_is_allowed_is_not_caught(self):
        files = good_tree()
        files["engine/base/a.cc"] += (
            "static Log& log() { static Log& log = *new Log; return log; }\n"
            "auto p = std::unique_ptr<T>(new T());\nT(const T&) = delete;\nint n = snprintf(b, 3, \"x\");\n"
            "// rand(), system(), throw\nint new_rand(int renewed);\n"
            "GQ_ASSIGN_OR_RETURN(auto x, a ? b() : c());\nGQ_ASSIGN_OR_RETURN((a ? b : c), d());\n")
        self.assertEqual([str(finding) for finding in check(files)], [])


class Functions(unittest.TestCase):
    @staticmethod
    def ends(text):
        return [(name, first, last) for name, first, last in Scanner(Source("x.cc", text).bare).run()]

    def test_finds_functions_and_nothing_else(self):
        text = ("namespace a {\nstruct S {\n  S() : x_{1}, y_(2) {\n    f();\n  }\n  int get() const { return x_; }\n"
                "  int x_ = {3};\n};\nconst int k[] = {1, 2};\nenum class E { kA };\n\ntemplate <typename T>\n"
                "T g(T x, std::function<void()> f = {}) {\n  if (x) {\n    auto l = [&] { return 1; };\n  }\n"
                "  return x;\n}\n}\n")
        self.assertEqual(self.ends(text), [("S", 3, 5), ("get", 6, 6), ("g", 12, 18)])

    def test_braces_in_text_do_not_count(self):
        text = 'void f() {\n  g("}{", \'{\', R"x(}})x");  // }\n  /* } */\n}\nvoid h() {}\n'
        self.assertEqual(self.ends(text), [("f", 1, 4), ("h", 5, 5)])

    def test_blanking_keeps_lines_and_columns(self):
        text = 'int a; /* x\n y */ char c = \'"\'; auto s = "//"; long b = 1\'000;\n'
        bare = blank_cpp(text)
        self.assertEqual(len(bare), len(text))
        self.assertEqual(bare.count("\n"), text.count("\n"))
        self.assertIn("long b = 1'000;", bare)
        self.assertNotIn("//", bare)


if __name__ == "__main__":
    unittest.main()
