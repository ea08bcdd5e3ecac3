"""deploy/demo.sh: its table, its failures, and that it never leaves a server or a file behind.

    python3 demo_test.py BIN_DIR
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATTERNS = ["16:32", "8:16", "4:8", "2:4"]
TENSORS = 4  # of tests/data/minilm.safetensors

# A server that is ready at once and ends on SIGTERM, and a client that succeeds.
SERVER = """trap 'exit {stop_code}' TERM
echo $$ >"$FOLDER/server.pid"
echo "listening on $2"
while :; do sleep 0.05; done"""
CLIENT = 'echo "$1" >>"$FOLDER/client.calls"'


class Demo(unittest.TestCase):
    bin_dir = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()

    def start(self, bin_dir):
        return subprocess.Popen(
            ["sh", ROOT / "deploy" / "demo.sh", bin_dir],
            env={**os.environ, "TMPDIR": str(self.temporary), "FOLDER": str(self.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run_demo(self, bin_dir):
        """(exit code, standard output, standard error)."""
        process = self.start(bin_dir)
        output, errors = process.communicate(timeout=240)
        return process.returncode, output, errors

    def stand_ins(self, server=SERVER.format(stop_code=0), client=CLIENT):
        folder = self.folder / "bin"
        folder.mkdir()
        for name, body in [("tsenor-server", server), ("tsenor", client)]:
            (folder / name).write_text(f"#!/bin/sh\n{body}\n")
            (folder / name).chmod(0o755)
        return folder

    def assert_nothing_left(self):
        self.assertEqual(list(self.temporary.iterdir()), [])
        command_lines = [path.read_bytes() for path in pathlib.Path("/proc").glob("[0-9]*/cmdline")]
        self.assertFalse([line for line in command_lines if str(self.temporary).encode() in line])

    def test_real_weights(self):
        code, output, errors = self.run_demo(self.bin_dir)
        self.assertEqual((code, errors), (0, ""), output)
        header, *rows, total, device = output.splitlines()
        for column in ["tensor", "shape", "pattern", "kept |w|", "gap", "time", "weights"]:
            self.assertIn(column, header)
        self.assertEqual(len(rows), TENSORS * len(PATTERNS))
        for pattern in PATTERNS:
            self.assertEqual(len([row for row in rows if f" {pattern} " in row]), TENSORS)
        for row in rows:
            kept, percent, gap = row.split()[5:8]  # name, three words of shape, pattern, kept, %, gap
            self.assertEqual(percent, "%")
            self.assertTrue(50 < float(kept) < 100, row)  # better than chance: half of the weights
            self.assertLessEqual(float(gap), 1e-6, row)
        self.assertTrue(total.startswith("total"))
        self.assertTrue(device.startswith("solved by "), device)
        self.assert_nothing_left()

    def test_calls_in_order(self):
        code, _, errors = self.run_demo(self.stand_ins())
        self.assertEqual((code, errors), (0, ""))
        calls = (self.folder / "client.calls").read_text().split()
        self.assertEqual(calls, ["mask"] * len(PATTERNS) + ["verify", "report"])
        self.assert_nothing_left()

    def test_server_ends_early(self):
        code, _, errors = self.run_demo(self.stand_ins(server="echo no such flag; exit 2"))
        self.assertEqual(code, 1)
        self.assertIn("the server ended before it was ready", errors)
        self.assertIn("server: no such flag", errors)
        self.assert_nothing_left()

    def test_client_fails(self):
        for step in ["mask", "verify", "report"]:
            with self.subTest(step=step):
                bin_dir = self.stand_ins(client=f'[ "$1" != {step} ] || {{ echo bad luck >&2; exit 1; }}')
                code, _, errors = self.run_demo(bin_dir)
                self.assertEqual(code, 1)
                self.assertIn("bad luck", errors)
                self.assert_nothing_left()
                for program in bin_dir.iterdir():
                    program.unlink()
                bin_dir.rmdir()

    def test_server_does_not_stop_cleanly(self):
        code, _, errors = self.run_demo(self.stand_ins(server=SERVER.format(stop_code=3)))
        self.assertEqual(code, 1)
        self.assertIn("exit code 3", errors)

    def test_interrupted(self):
        process = self.start(self.stand_ins(client="sleep 60"))
        deadline = time.monotonic() + 30
        while not (self.folder / "server.pid").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)  # let the client start: the signal reaches both, as Ctrl-C does
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)
        self.assertNotEqual(process.returncode, 0)
        self.assert_nothing_left()
        server = int((self.folder / "server.pid").read_text())
        self.assertFalse(pathlib.Path(f"/proc/{server}").exists())

    def test_no_folder(self):
        process = subprocess.run(["sh", ROOT / "deploy" / "demo.sh"], capture_output=True, text=True)
        self.assertEqual(process.returncode, 2)
        self.assertIn("usage", process.stderr)


if __name__ == "__main__":
    Demo.bin_dir = sys.argv.pop(1)
    unittest.main()
