"""Adds up the results of several test runs.

    python3 tests/count_results.py BUILD_FOLDER...

Reads results.xml (JUnit, as ctest writes it) of each build folder and prints what failed and, as its
last line, the sum: "N passed, N failed, N skipped". Exit code 0 only if every folder has results, at least one test
passed and none failed.
"""

import collections
import pathlib
import sys
import xml.etree.ElementTree


LINES_OF_A_FAILURE = 40


def verdict(case):
    """What became of a test case: "passed", "failed" or "skipped"."""
    reason = case.find("skipped")
    if case.get("status") == "run":
        return "passed"
    if case.get("status") == "disabled":
        return "skipped"
    # ctest marks a test as skipped that said so itself (SKIP_RETURN_CODE=..., SKIP_REGULAR_...)
    # but also one whose program is missing or whose fixture failed. The latter have failed.
    if reason is not None and reason.get("message", "").startswith("SKIP_"):
        return "skipped"
    return "failed"


def print_failure(folder, case):
    """The name of a test and the end of what it printed."""
    print(f"{folder}: {case.get('name')} failed")
    for line in case.findtext("system-out", "").splitlines()[-LINES_OF_A_FAILURE:]:
        print(f"    {line}")


def main(folders):
    totals = collections.Counter()
    missing = 0
    for folder in folders:
        results = pathlib.Path(folder) / "results.xml"
        if not results.exists():
            print(f"{folder}: no results")
            missing += 1
            continue
        counts = collections.Counter()
        for case in xml.etree.ElementTree.parse(results).iter("testcase"):
            outcome = verdict(case)
            counts[outcome] += 1
            if outcome == "failed":
                print_failure(folder, case)
        totals += counts
        print(f"{folder}: {summary(counts)}")
    print(summary(totals))
    return 0 if totals["passed"] and not totals["failed"] and not missing else 1


def summary(counts):
    return ", ".join(f"{counts[each]} {each}" for each in ("passed", "failed", "skipped"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
