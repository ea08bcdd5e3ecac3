"""The commands that README.md shows work, against a server that this test starts.

    python3 examples_test.py BIN_DIR

Runs every ```sh block that follows a line <!-- run -->, in a folder that looks like the repository's root.
"""

import os
import pathlib
import re
import select
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ADDRESS = "127.0.0.1:50051"  # as README.md has it; the test takes a free port instead
STARTUP_SECONDS = 30

_BLOCK = re.compile(r"^<!-- run -->\n```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def start_server(program):
    """(process, address) of a server on a free port."""
    server = subprocess.Popen(
        [program, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    deadline = time.monotonic() + STARTUP_SECONDS
    while select.select([server.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
        line = server.stdout.readline()
        if line.startswith("listening on "):
            return server, line.split()[-1]
        if not line:
            break
    server.kill()
    server.wait()
    raise RuntimeError("the server did not start")


class Examples(unittest.TestCase):
    bin_dir = None

    @classmethod
    def setUpClass(cls):
        cls.server, cls.address = start_server(cls.bin_dir / "tsenor-server")

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        code = cls.server.wait(timeout=60)
        cls.server.stdout.close()
        assert code == 0, f"the server stopped with exit code {code}"

    def run_block(self, block):
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(f"{folder}/build/release")
            os.symlink(self.bin_dir, f"{folder}/build/release/bin")
            for name in ("tests", "proto", ".venv"):
                os.symlink(ROOT / name, f"{folder}/{name}")
            return subprocess.run(
                ["sh", "-euc", block.replace(ADDRESS, self.address)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=120,
            )

    def test_commands(self):
        blocks = _BLOCK.findall((ROOT / "README.md").read_text())
        self.assertGreaterEqual(len(blocks), 2)
        output = ""
        for block in blocks:
            done = self.run_block(block)
            self.assertEqual(done.returncode, 0, f"{block}\n{done.stdout}")
            output += done.stdout
        for words in [
            "encoder.layer.0.output.dense.weight",  # tsenor mask, tsenor verify
            "tsenor.v1.MaskService\n",  # reflection
            '"mask": "AQI="',  # the 2 x 2 tensor: rows 1 0 and 0 1
            '"blocksProvenOptimal": "1"',
        ]:
            self.assertIn(words, output)

    def test_client_library(self):
        done = subprocess.run(
            [self.bin_dir / "client_example", self.address], capture_output=True, text=True, timeout=120
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"^kept 0\.[0-9]+ of \|w\|, proven gap [0-9.]+e[-+][0-9]+\n$")


if __name__ == "__main__":
    Examples.bin_dir = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
