"""Adds up the results of several test runs.

    python3 tests/count_results.py BUILD_FOLDER...

Reads results.xml (JUnit, as ctest writes it) of each build folder and prints, as its last line, the
sum: "N passed, N failed, N skipped". Exit code 0 only if every folder has results, at least one test
passed and none failed.
"""

import pathlib
import sys
import xml.etree.ElementTree


def count(results):
    """(passed, failed, skipped) of one results.xml."""
    passed = failed = skipped = 0
    for case in xml.etree.ElementTree.parse(results).iter("testcase"):
        reason = case.find("skipped")
        if case.get("status") == "run":
            passed += 1
        elif case.get("status") == "disabled":
            skipped += 1
        # ctest marks a test as skipped that said so itself (SKIP_RETURN_CODE=..., SKIP_REGULAR_...)
        # but also one whose program is missing or whose fixture failed. The latter have failed.
        elif reason is not None and reason.get("message", "").startswith("SKIP_"):
            skipped += 1
        else:
            failed += 1
    return passed, failed, skipped


def main(folders):
    totals = [0, 0, 0]
    missing = 0
    for folder in folders:
        results = pathlib.Path(folder) / "results.xml"
        if not results.exists():
            print(f"{folder}: no results")
            missing += 1
            continue
        counts = count(results)
        totals = [total + more for total, more in zip(totals, counts)]
        print("{}: {} passed, {} failed, {} skipped".format(folder, *counts))
    print("{} passed, {} failed, {} skipped".format(*totals))
    passed, failed, _ = totals
    return 0 if passed and not failed and not missing else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
