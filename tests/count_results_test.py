"""The count that a run of all tests ends with."""

import contextlib
import io
import pathlib
import tempfile
import unittest

import count_results

PASSED = '<testcase name="a" status="run"/>'
FAILED = '<testcase name="b" status="fail"><failure/><system-out>1 is not 2</system-out></testcase>'
SKIPPED = '<testcase name="c" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase>'
DISABLED = '<testcase name="d" status="disabled"/>'
NO_PROGRAM = '<testcase name="e" status="notrun"><skipped message="Unable to find executable"/></testcase>'


class CountResults(unittest.TestCase):
    def output_of(self, *contents):
        """(exit code, lines) for build folders with these test cases; None: no results there."""
        with tempfile.TemporaryDirectory() as root:
            folders = [pathlib.Path(root, str(number)) for number in range(len(contents))]
            for folder, cases in zip(folders, contents):
                folder.mkdir()
                if cases is not None:
                    (folder / "results.xml").write_text(f"<testsuite>{''.join(cases)}</testsuite>")
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                code = count_results.main(folders)
            return code, output.getvalue().splitlines()

    def run_on(self, *contents):
        """(exit code, last line)."""
        code, lines = self.output_of(*contents)
        return code, lines[-1]

    def test_sums_over_folders(self):
        self.assertEqual(
            self.run_on([PASSED, PASSED], [PASSED, SKIPPED, DISABLED]), (0, "3 passed, 0 failed, 2 skipped")
        )

    def test_a_failure_fails(self):
        self.assertEqual(self.run_on([PASSED, FAILED]), (1, "1 passed, 1 failed, 0 skipped"))

    def test_a_failure_is_shown(self):
        _, lines = self.output_of([FAILED])
        self.assertTrue(lines[0].endswith(": b failed"))
        self.assertEqual(lines[1].strip(), "1 is not 2")

    def test_a_missing_program_is_a_failure(self):
        self.assertEqual(self.run_on([PASSED, NO_PROGRAM]), (1, "1 passed, 1 failed, 0 skipped"))

    def test_a_folder_without_results_fails(self):
        self.assertEqual(self.run_on([PASSED], None), (1, "1 passed, 0 failed, 0 skipped"))

    def test_no_test_at_all_fails(self):
        self.assertEqual(self.run_on([SKIPPED]), (1, "0 passed, 0 failed, 1 skipped"))


if __name__ == "__main__":
    unittest.main()
