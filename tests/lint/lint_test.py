"""Every check finds what it is there to find, and only that."""

import pathlib
import shutil
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
import examples
import layering
import machine_paths
import names
import readmes
import repository
import sizes
import tools


class Tree(unittest.TestCase):
    """A test with a small repository of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.addCleanup(repository.files.cache_clear)
        self.root = pathlib.Path(folder.name)

    def write(self, path, text=""):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)
        repository.files.cache_clear()


class Repository(Tree):
    def test_leaves_build_folders_out(self):
        for path in ["a.h", "x/b.cc", "build/c.h", ".git/d.h", ".venv/e.h", "x/README.md"]:
            self.write(path)
        self.assertEqual(repository.cpp_files(self.root), ["a.h", "x/b.cc"])

    def test_finds_scripts_without_suffix(self):
        self.write("run", "#!/bin/bash\n")
        self.write("x/y.sh")
        self.write("LICENSE", "not a script")
        self.assertEqual(repository.shell_scripts(self.root), ["x/y.sh", "run"])

    def test_this_repository_has_files_of_every_kind(self):
        self.assertGreater(len(repository.cpp_files(repository.ROOT)), 10)
        self.assertIn(".ci/run", repository.shell_scripts(repository.ROOT))


class Layering(Tree):
    def refused(self, path, include):
        self.write(path, f"#include {include}\n")
        return bool(layering.check(self.root))

    def test_refuses(self):
        for path, include in [
            ("solver/a.h", '"server/session.h"'),
            ("solver/a.cc", '"tsenor/v1/types.pb.h"'),
            ("solver/cpu/a.cc", "<grpcpp/grpcpp.h>"),
            ("solver/a.cc", '"absl/synchronization/mutex.h"'),
            ("solver/cuda/kernels/a.cu", '"absl/status/status.h"'),
            ("solver/cuda/kernels/a.cu", '"solver/solver.h"'),
            ("server/session.cc", "<grpcpp/grpcpp.h>"),
            ("server/session.cc", '"tsenor/v1/mask_service.pb.h"'),
            ("server/dispatcher.cc", '"solver/cpu/cpu_solver.h"'),
            ("server/session.cc", '"prometheus/counter.h"'),
            ("client/a.cc", '"solver/solver.h"'),
            ("client/a.cc", '"server/clock.h"'),
            ("elsewhere/a.cc", "<vector>"),
        ]:
            with self.subTest(path=path, include=include):
                self.assertTrue(self.refused(path, include))
                (self.root / path).unlink()

    def test_permits(self):
        for path, include in [
            ("solver/a.cc", "<vector>"),
            ("solver/a.cc", "<sys/mman.h>"),
            ("solver/a.cc", '"absl/status/statusor.h"'),
            ("solver/cuda/kernels/a.cu", '"solver/cuda/primitives/warp.cuh"'),
            ("server/convert.cc", '"tsenor/v1/mask_service.pb.h"'),
            ("server/backends.cc", '"solver/cpu/cpu_solver.h"'),
            ("server/session.cc", '"solver/validate.h"'),
            ("client/cli/verify_command.cc", '"solver/certificate.h"'),
            ("client/a.cc", '"tsenor/v1/mask_service.grpc.pb.h"'),
            ("tests/solver/a.cc", '"solver/cpu/cpu_solver.h"'),
        ]:
            with self.subTest(path=path, include=include):
                self.assertFalse(self.refused(path, include))
                (self.root / path).unlink()

    def test_follows_headers_and_blames_the_one_that_crosses(self):
        self.write("server/session.cc", '#include "server/convert.h"\n')
        self.write("server/convert.h", '#include "tsenor/v1/types.pb.h"\n')
        self.assertEqual(
            layering.check(self.root),
            ["server/session.cc: may not include tsenor/v1/types.pb.h, as it does through server/convert.h"],
        )

    def test_ends_on_a_cycle(self):
        self.write("solver/a.h", '#include "solver/b.h"\n')
        self.write("solver/b.h", '#include "solver/a.h"\n')
        self.assertEqual(layering.check(self.root), [])


class Sizes(Tree):
    def test_files(self):
        self.write("short.cc", "\n" * 499)
        self.write("long.cc", "\n" * 500)
        self.assertEqual(sizes.check(self.root, {}), ["long.cc: 500 lines; fewer than 500 are wanted"])

    def test_functions(self):
        for lines in (69, 70):
            body = "  f();\n" * (lines - 2)
            self.write(f"a{lines}.cc", f"void Long{lines}() {{\n{body}}}\n")
            self.write(f"t{lines}.cc", f"TEST(Long, Test{lines}) {{\n{body}}}\n")
            self.write(f"c{lines}.h", f"class C {{\n  int Method{lines}() {{\n{body}  }}\n}};\n")
            self.write(f"p{lines}.py", f"def long{lines}():\n" + "    f()\n" * (lines - 1))
            self.write(f"s{lines}.sh", f"long{lines}() {{\n{body}}}\n")
        found = {violation.split(":")[0] for violation in sizes.check(self.root, {})}
        self.assertEqual(found, {"a70.cc", "t70.cc", "c70.h", "p70.py", "s70.sh"})

    def test_exceptions(self):
        self.write("long.cc", "\n" * 500)
        self.assertEqual(sizes.check(self.root, {"long.cc": "a table"}), [])
        self.assertEqual(len(sizes.check(self.root, {"long.cc": "", "gone.cc": ""})), 1)


class Names(Tree):
    def test_words(self):
        for path in ["a/util.h", "string_utils.cc", "helpers/a.h", "queue-manager.py", "api.v2.proto"]:
            self.write(path)
        for path in ["utility_function_free.h", "futile.h", "management.md", "conv2d.h"]:
            self.write(path)
        self.assertEqual(len(names.check(self.root)), 6)  # "utility" is one of the words


class Readmes(Tree):
    def test_folders(self):
        self.write("README.md", "`solver/`")
        self.write("solver/README.md", "`cpu/` is fast")
        self.write("solver/cpu/a.h")
        self.write("solver/gpu/a.h")
        self.write("server/README.md")
        self.assertEqual(
            readmes.check(self.root), ["solver/gpu/: no README.md, and solver/README.md does not name it"]
        )

    def test_no_readme_at_all(self):
        self.write("solver/a.h")
        self.assertEqual(readmes.check(self.root), ["solver/: no README.md here or above"])

    def test_links(self):
        self.write("README.md", "[a](a.h) [b](b.h#part) [web](https://example.org) [self](#part)\n"
                   "`[x](y)`\n```cpp\n[&](const T& t) {}\n```\n")
        self.write("a.h")
        self.assertEqual(readmes.check(self.root), ["README.md: link to b.h, which does not exist"])


class MachinePaths(Tree):
    def test_paths(self):
        somewhere = "/ho" + "me/someone/x"
        self.write("a.sh", f"cd {somewhere}\n")
        self.write("b.sh", f'cd "$ROOT{somewhere}" a{somewhere} /usr/include/x {{TMPDIR:-/tmp}}\n')
        (self.root / "binary").write_bytes(b"\0" + somewhere.encode())
        self.assertEqual(machine_paths.check(self.root), [f"a.sh:1: {somewhere}"])


class Examples(Tree):
    def test_blocks(self):
        self.write("a/main.cc", "int a;\nint b;\nint c;\n")
        block = "<!-- from a/main.cc -->\n```cpp\n{}\n```\n"
        self.write("README.md", block.format("int b;\nint c;"))
        self.assertEqual(examples.check(self.root), [])
        self.write("README.md", block.format("int b;\nint d;"))
        self.assertEqual(examples.check(self.root), ["README.md: example differs from a/main.cc"])
        self.write("README.md", block.replace("a/main.cc", "a/gone.cc").format("int b;"))
        self.assertEqual(examples.check(self.root), ["README.md: example from a/gone.cc, which does not exist"])
        self.write("README.md", "```cpp\nint b;\n```\n")
        self.assertEqual(examples.check(self.root), ["README.md: a C++ example that nothing compiles"])
        self.write("README.md")
        self.write("solver/README.md", "```cpp\na sketch\n```\n")
        self.assertEqual(examples.check(self.root), [])


class Tools(Tree):
    def test_formatting(self):
        shutil.copy(repository.ROOT / ".clang-format", self.root)
        self.write("a.cc", "int a;\n")
        self.assertEqual(tools.formatting(self.root), [])
        self.write("a.cc", "int  a ;\n")
        self.assertIn("a.cc:1", tools.formatting(self.root)[0])

    def test_shell(self):
        self.write("a.sh", '#!/bin/sh\necho "$1"\n')
        self.assertEqual(tools.shell(self.root), [])
        self.write("a.sh", "#!/bin/sh\nrm -r $1\n")
        self.assertIn("SC2086", tools.shell(self.root)[0])


class Api(Tree):
    """The checks of proto/, on changed copies of it."""

    def setUp(self):
        super().setUp()
        shutil.copytree(repository.ROOT / "proto", self.root / "proto")

    def change(self, old, new):
        path = self.root / "proto/tsenor/v1/types.proto"
        text = path.read_text()
        self.assertIn(old, text)
        path.write_text(text.replace(old, new, 1))

    def test_style(self):
        self.assertEqual(tools.api_style(self.root), [])
        self.change("  // Entries kept per line of a block. Range: 0 <= n <= m.\n", "")
        self.assertIn("comment", tools.api_style(self.root)[0])

    def test_layout(self):
        self.change("uint32 n = 1;", "uint32   n=1;")
        self.assertTrue(tools.api_style(self.root))

    def test_refuses_what_breaks_clients(self):
        for old, new in [
            ("uint32 n = 1;", "uint32 n = 3;"),  # another number
            ("uint32 n = 1;", "uint64 n = 1;"),  # another type
            ("uint32 n = 1;", "uint32 kept = 1;"),  # another name: JSON and generated code
            ("uint32 n = 1;", ""),  # gone
            ("  DATA_TYPE_BFLOAT16 = 3;", ""),
        ]:
            with self.subTest(new=new):
                shutil.copytree(repository.ROOT / "proto", self.root / "proto", dirs_exist_ok=True)
                self.change(old, new)
                self.assertTrue(tools.api_compatibility(self.root))

    def test_permits_additions(self):
        self.change("uint32 n = 1;", "uint32 n = 1;\n  uint32 new_field = 100;")
        self.assertEqual(tools.api_compatibility(self.root), [])


if __name__ == "__main__":
    unittest.main()
