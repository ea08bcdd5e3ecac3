"""end_to_end.py runs with client and server, and says everything that it promises.

    python3 end_to_end_test.py BIN_DIR
"""

import pathlib
import subprocess
import sys
import unittest

import end_to_end

SMALL = ["--tensors", "2", "--edge", "1024", "--rounds", "1"]  # some Mweights/s even on a busy machine


class EndToEnd(unittest.TestCase):
    bin_dir = None

    def test_small_checkpoint(self):
        done = subprocess.run(
            [sys.executable, end_to_end.__file__, self.bin_dir, *SMALL], capture_output=True, text=True
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = [line.split() for line in done.stdout.splitlines()]
        self.assertEqual([line[0] for line in lines[3:]], ["solver", "reference", "stream"], done.stdout)
        for line in lines[4:]:
            self.assertGreater(float(line[1]), 0)  # weights a second
            self.assertEqual(line[-1], "0")  # blocks without proof

    def test_no_server(self):
        with self.assertRaisesRegex(SystemExit, "did not start"):
            with end_to_end.server(pathlib.Path("/bin/true"), "."):
                pass


if __name__ == "__main__":
    EndToEnd.bin_dir = sys.argv.pop(1)
    unittest.main()
