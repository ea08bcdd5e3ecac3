"""METHOD_TSENOR beside the same algorithm in NumPy: same weights, one core each, in turn, in one run.

    python3 tests/bench/compare_numpy.py [BIN_DIR] [--edge 1024] [--rounds 5]

BIN_DIR: the folder of solve_matrix; default build/release/bin. Prints, for Gaussian weights, of METHOD_TSENOR, of
NumPy at its fastest, and of the paper's loop taken literally (tsenor_numpy.py): Mweights/s (the fastest of the
rounds), how many times as fast METHOD_TSENOR is, and how far the masks are from the optimum.
"""

import argparse
import dataclasses
import os
import pathlib
import subprocess
import tempfile
import time

# Before NumPy starts its threads: one core each.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy

import tsenor_numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATTERNS = [(4, 8), (8, 16), (16, 32), (8, 32), (32, 64)]


@dataclasses.dataclass
class Solved:
    kept: numpy.ndarray  # blocks x m x m
    seconds: float
    bound: float = numpy.nan
    blocks_short: int = 0


def blocks_of(matrix, m):
    """The m x m blocks of a matrix, row by row: blocks x m x m."""
    rows, columns = matrix.shape
    split = matrix.reshape(rows // m, m, columns // m, m)
    return numpy.ascontiguousarray(split.swapaxes(1, 2)).reshape(-1, m, m)


def solve_by_numpy(weights, n, m, project_all=tsenor_numpy.projections):
    start = time.perf_counter()
    kept = tsenor_numpy.masks(numpy.abs(blocks_of(weights, m)), n, project_all=project_all)
    return Solved(kept, time.perf_counter() - start)


def solve_by_program(program, method, weights, n, m):
    """One thread of the CPU backend."""
    with tempfile.TemporaryDirectory() as folder:
        weights_file, mask_file = pathlib.Path(folder, "weights"), pathlib.Path(folder, "mask")
        weights.tofile(weights_file)
        command = [program, method, "float32", n, m, *weights.shape, 1, weights_file, mask_file]
        output = subprocess.run(map(str, command), check=True, stdout=subprocess.PIPE, text=True).stdout
        bits = numpy.fromfile(mask_file, numpy.uint8).reshape(weights.shape[0], -1)
    seconds, _, bound, _, blocks_short = output.split()
    mask = numpy.unpackbits(bits, axis=1, count=weights.shape[1], bitorder="little").astype(bool)
    return Solved(blocks_of(mask, m), float(seconds), float(bound), int(blocks_short))


def value_of(kept, weights, m):
    return numpy.abs(blocks_of(weights, m)).sum(where=kept, dtype=numpy.float64)


def compare(program, weights, n, m, rounds):
    """One line of the table."""
    contestants = [
        lambda: solve_by_program(program, "tsenor", weights, n, m),
        lambda: solve_by_numpy(weights, n, m),
        lambda: solve_by_numpy(weights, n, m, tsenor_numpy.literal_projections),
    ]
    runs = [[solve() for solve in contestants] for _ in range(rounds)]
    bound = runs[0][0].bound  # of the optimum: value and bound agree to 1e-9
    rates = [weights.size / 1e6 / min(run.seconds for run in column) for column in zip(*runs)]
    errors = [1 - value_of(solved.kept, weights, m) / bound for solved in runs[0]]
    line = f"{n}:{m}".ljust(9) + "".join(f"{rate:9.2f}" for rate in rates)
    line += "".join(f"{rates[0] / rate:9.1f}" for rate in rates[1:])
    return line + "".join(f"{100 * error:9.3f} %" for error in errors)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bin_dir", nargs="?", type=pathlib.Path, default=ROOT / "build/release/bin")
    parser.add_argument("--edge", type=int, default=1024, help="rows and columns of the weights")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    weights = numpy.random.default_rng(1).standard_normal((arguments.edge, arguments.edge), numpy.float32)
    print(f"{'':9}{'Mweights/s':>27}{'times as fast as':>18}{'error':>33}")
    print("pattern  " + "   tsenor    NumPy  literal" + "    NumPy  literal" + "     tsenor      NumPy    literal")
    for n, m in PATTERNS:
        print(compare(arguments.bin_dir / "solve_matrix", weights, n, m, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
