"""Runs solver_benchmark and writes its tables into solver/README.md, with date and machine.

    python3 tests/bench/update_readme.py [BIN_DIR] [--readme PATH]

BIN_DIR: the folder of solver_benchmark; default build/release/bin.
"""

import argparse
import json
import math
import pathlib
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BEGIN = "<!-- written by tests/bench/update_readme.py -->"
END = "<!-- end -->"

METHODS = {
    "Optimal": "OPTIMAL",
    "Tsenor": "TSENOR",
    "TwoApprox": "TWO_APPROX",
    "BiNm": "BI_NM",
    "MaxRandom": "MAX_RANDOM",
    "RowNm": "ROW_NM",
    "ColumnNm": "COLUMN_NM",
}
KINDS = {
    "Gaussian": "Gaussian",
    "StudentT": "Student-t(3)",
    "ColumnScaled": "log-normal column norms",
    "RowColumnScaled": "rows and columns scaled",
    "Int8": "8-bit",
    "Int2": "2-bit",
    "Sparse": "70 % zeros",
    "Constant": "constant",
    "Outlier": "one entry 1e6",
    "Subnormal": "subnormal",
    "Zero": "all zero",
    "Geometric": "2^-(i + j)",
    "Pareto": "Pareto(1/2)",
    "BFloat16": "bfloat16",
    "HugeEntries": "0.2 % of entries times 1000",
    "HugeColumns": "1 % of columns times 1000",
    "HugeRow": "one row times 1000",
}
KIND_PATTERNS = ["4:8", "8:16", "16:32", "32:64"]
METHOD_PATTERNS = ["8:16", "16:32"]


def measure(program, output):
    """The report of Google Benchmark as (date, {(method, pattern, kind): counters})."""
    subprocess.run([program, f"--benchmark_out={output}", "--benchmark_out_format=json"], check=True)
    report = json.loads(output.read_text())
    cases = {tuple(run["name"].split("/")[:3]): run for run in report["benchmarks"]}
    return report["context"]["date"][:10], cases


def processor():
    """Name of the processor, as Linux knows it."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*: (.*)", info)[1]
    widest = next((words for flag, words in [("avx512f", "AVX-512"), ("avx2", "AVX2")] if flag in info), "SSE4")
    return f"{name} ({widest})"


def short(number, digits):
    """A positive number with so many significant digits, never as a power of ten."""
    return f"{number:.{max(0, digits - 1 - math.floor(math.log10(number)))}f}"


def mega(run):
    return short(run["weights"] / 1e6, 3)


def cell(run):
    return f"{mega(run)} ({short(run['x_lemon'], 2)} x)"


def table(header, rows):
    lines = ["| " + " | ".join(row) + " |" for row in [header, *rows]]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def pattern_table(cases):
    rows = []
    for (method, pattern, kind), run in cases.items():
        if (method, kind) != ("Optimal", "Gaussian"):
            continue
        tsenor = cases["Tsenor", pattern, "Gaussian"]
        rows.append([pattern, cell(run), f"{short(run['x_one_thread'], 3)} x", mega(tsenor)])
    return table(["pattern", "OPTIMAL", "on 2 threads", "TSENOR"], rows)


def method_table(cases):
    rows = [
        [words, *(mega(cases[method, pattern, "Gaussian"]) for pattern in METHOD_PATTERNS)]
        for method, words in METHODS.items()
    ]
    return table(["method", *METHOD_PATTERNS], rows)


def kind_table(cases):
    rows = [
        [words, *(cell(cases["Optimal", pattern, kind]) for pattern in KIND_PATTERNS)]
        for kind, words in KINDS.items()
    ]
    return table(["scores", *KIND_PATTERNS], rows)


def geometric_table(cases):
    rows = []
    for m in [8, 16, 32, 64]:
        ns = [1, m // 4, m // 2, m - m // 4, m - 1]
        rows.append([str(m), *(cell(cases["Optimal", f"{n}:{m}", "Geometric"]) for n in ns)])
    return table(["M", "N = 1", "M / 4", "M / 2", "3 M / 4", "M - 1"], rows)


def section(date, machine, cases):
    """What stands between the markers."""
    return f"""{machine}, {date}, one thread, `python3 tests/bench/update_readme.py`
([tests/bench](../tests/bench/README.md)): Mweights/s with the default options, and in brackets how many times LEMON's
network simplex, on the same scores in the same run (which solves the quantised scores and does not refine).

Gaussian scores; TSENOR takes T = 300, L = 10:

{pattern_table(cases)}

All methods, Gaussian scores, value and bound included:

{method_table(cases)}

OPTIMAL on other scores:

{kind_table(cases)}

OPTIMAL on the worst scores known, 2^-(i + j):

{geometric_table(cases)}
"""


def around_section(readme):
    """What stands before and after the section, markers included."""
    match = re.search(f"(.*{BEGIN}\n).*({END}\n.*)", readme.read_text(), re.DOTALL)
    if match is None:
        raise SystemExit(f"{readme}: no lines '{BEGIN}' and '{END}'")
    return match.groups()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bin_dir", nargs="?", type=pathlib.Path, default=ROOT / "build/release/bin")
    parser.add_argument("--readme", type=pathlib.Path, default=ROOT / "solver/README.md")
    arguments = parser.parse_args()
    before, after = around_section(arguments.readme)
    with tempfile.TemporaryDirectory() as folder:
        date, cases = measure(arguments.bin_dir / "solver_benchmark", pathlib.Path(folder, "report.json"))
    arguments.readme.write_text(before + section(date, processor(), cases) + after)


if __name__ == "__main__":
    main()
