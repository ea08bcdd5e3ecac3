"""The benchmark runs, and its tables come out complete: every case once, positive, in the markers.

    python3 update_readme_test.py BIN_DIR
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import update_readme

SCRIPT = pathlib.Path(update_readme.__file__)
# One block a matrix, once: says nothing about speed.
TINY = {"TSENOR_BENCH_WEIGHTS": "32", "TSENOR_BENCH_ROUNDS": "1"}


class UpdateReadme(unittest.TestCase):
    bin_dir = None

    def update(self, text):
        """(exit code, standard error, README) after a tiny run over a README with `text`."""
        with tempfile.TemporaryDirectory() as folder:
            readme = pathlib.Path(folder, "README.md")
            readme.write_text(text)
            done = subprocess.run(
                [sys.executable, SCRIPT, self.bin_dir, "--readme", readme],
                env={**os.environ, **TINY},
                capture_output=True,
                text=True,
            )
            return done.returncode, done.stderr, readme.read_text()

    def test_tables(self):
        marked = f"before\n{update_readme.BEGIN}\nold\n{update_readme.END}\nafter\n"
        code, errors, text = self.update(marked)
        self.assertEqual(code, 0, errors)
        self.assertTrue(text.startswith(f"before\n{update_readme.BEGIN}\n"))
        self.assertTrue(text.endswith(f"{update_readme.END}\nafter\n"))
        self.assertNotIn("old", text)
        self.assertRegex(text, r"\d{4}-\d{2}-\d{2}")
        tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
        shapes = [(len(rows := table.splitlines()) - 2, rows[0].count("|") - 1) for table in tables]
        methods, kinds = len(update_readme.METHODS), len(update_readme.KINDS)
        self.assertEqual(shapes, [(10, 4), (methods, 3), (kinds, 5), (4, 6)])
        for table in tables:
            for row in table.splitlines()[2:]:
                for entry in row.split("|")[2:-1]:
                    self.assertRegex(entry.strip(), r"^[0-9.]+( x| \([0-9.]+ x\))?$", row)
                    self.assertGreater(float(entry.split()[0]), 0, row)
        self.assertEqual(self.update(text)[0], 0)  # a second run finds its markers

    def test_readme_without_markers(self):
        code, errors, text = self.update("no markers\n")
        self.assertEqual((code, text), (1, "no markers\n"))
        self.assertIn(update_readme.BEGIN, errors)


if __name__ == "__main__":
    UpdateReadme.bin_dir = pathlib.Path(sys.argv.pop(1))
    unittest.main()
