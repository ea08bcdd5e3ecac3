"""PyTorch on the same GPU beside the CUDA backend: same weights, times by device events, in one run.

    python3 tests/gpu/compare_torch.py [BIN_DIR] [--edge 8192] [--rounds 5]

BIN_DIR: the folder of cuda_solve_matrix; default build/release/bin. Needs PyTorch with CUDA. Prints, for Gaussian
weights in device memory, medians and how far the masks are from the optimum:

    TSENOR (arXiv 2505.23949), written from the paper for PyTorch, eager and with torch.compile, beside METHOD_TSENOR and
        METHOD_OPTIMAL;
    PyTorch's greedy 2:4 masks along rows and columns (bfloat16), beside METHOD_OPTIMAL;
    torch.topk along rows, beside METHOD_ROW_NM.
"""

import argparse
import math
import pathlib
import statistics
import subprocess
import tempfile

import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
TAU, ITERATIONS, SWAPS = 200.0, 300, 10
PATTERNS = [(16, 32), (8, 32), (8, 16), (4, 8)]
# Entries of the order that one compiled call visits: so many that calling costs little, so few that compiling does.
VISITS = 16


def blocks_of(matrix, m):
    """The m x m blocks of a matrix, row by row: blocks x m x m."""
    rows, columns = matrix.shape
    return matrix.reshape(rows // m, m, columns // m, m).transpose(1, 2).reshape(-1, m, m)


def iterate(s, q, log_n):
    """One of Dykstra's iterations on blocks x m x m: S and the correction Q of the box, as logarithms."""
    s = s + (log_n - torch.logsumexp(s, 2, keepdim=True))
    s = s + (log_n - torch.logsumexp(s, 1, keepdim=True))
    uncapped = s + q
    s = uncapped.clamp(max=0)
    return s, uncapped - s


def visit(order, kept, row_room, column_room):
    """Keeps the entries order[0], order[1], .. of each block (row * m + column) while row and column have room."""
    m = row_room.shape[1]
    for entry in order:
        row, column = (entry // m)[:, None], (entry % m)[:, None]
        fits = (row_room.gather(1, row) > 0) & (column_room.gather(1, column) > 0)
        kept.scatter_(1, entry[:, None], fits)
        row_room.scatter_add_(1, row, -fits.to(row_room.dtype))
        column_room.scatter_add_(1, column, -fits.to(row_room.dtype))


def swap(kept, row_room, column_room, scores):
    """Up to SWAPS times: for the first row i and column j with room the best exchange of an entry (x, y) that is
    kept for (i, y) and (x, j), which are not."""
    m = scores.shape[1]
    for _ in range(SWAPS):
        short = (row_room.any(1) & column_room.any(1)).nonzero()[:, 0]
        if short.numel() == 0:
            return
        every = torch.arange(short.numel(), device=short.device)
        i = (row_room[short] > 0).to(torch.uint8).argmax(1)
        j = (column_room[short] > 0).to(torch.uint8).argmax(1)
        mask, w = kept[short], scores[short]
        gain = w[every, i][:, None, :] + w[every, :, j][:, :, None] - w
        allowed = mask & ~mask[every, i][:, None, :] & ~mask[every, :, j][:, :, None]
        gain.masked_fill_(~allowed, -math.inf)
        best, at = gain.reshape(-1, m * m).max(1)
        possible = best > -math.inf
        block, i, j, at = short[possible], i[possible], j[possible], at[possible]
        kept[block, i, at % m] = True
        kept[block, at // m, j] = True
        kept[block, at // m, at % m] = False
        row_room[block, i] -= 1
        column_room[block, j] -= 1


def tsenor(weights, n, m, iterate, visit):
    """The mask of a matrix, blocks x m x m."""
    scores = blocks_of(weights.abs(), m).contiguous()
    greatest = scores.amax((1, 2), keepdim=True)
    s, q = scores * (TAU / greatest), torch.zeros_like(scores)
    for _ in range(ITERATIONS):
        s, q = iterate(s, q, math.log(n))
    # Descending S; entries at the cap by descending score.
    key = torch.where(s == 0, scores / greatest, s)
    order = key.reshape(-1, m * m).argsort(1, descending=True).t().contiguous()
    blocks = scores.shape[0]
    kept = torch.zeros(blocks, m * m, dtype=torch.bool, device=scores.device)
    row_room = torch.full((blocks, m), n, dtype=torch.int32, device=scores.device)
    column_room = row_room.clone()
    for first in range(0, m * m, VISITS):
        visit(order[first : first + VISITS], kept, row_room, column_room)
    kept = kept.reshape(-1, m, m)
    swap(kept, row_room, column_room, scores)
    return kept


def median_ms(work, rounds):
    """By device events, after a warm-up that compiles; and what the work returns."""
    result = work()
    times = []
    for _ in range(rounds):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times), result


class Table:
    def __init__(self, bin_dir, rounds):
        self.program = bin_dir.resolve() / "cuda_solve_matrix"
        self.rounds = rounds
        print("| masks | by | ms | Gweights/s | error |\n|---|---|---|---|---|")

    def line(self, masks, by, weights, ms, value, bound):
        rate = weights.numel() / ms * 1e-6
        error = max(0.0, 1 - value / bound)
        print(f"| {masks} | {by} | {ms:.3f} | {rate:.2f} | {100 * error:.3g} % |", flush=True)

    def ours(self, weights, runs):
        """Lines of the CUDA backend for (masks, method, n, m); returns their bounds."""
        dtype = str(weights.dtype).removeprefix("torch.")
        with tempfile.NamedTemporaryFile() as file:
            weights.cpu().view(torch.uint8).numpy().tofile(file.name)
            command = [self.program, dtype, *weights.shape, file.name]
            for _, method, n, m in runs:
                command += [method, n, m]
            output = subprocess.run(map(str, command), check=True, stdout=subprocess.PIPE, text=True).stdout
        bounds = []
        for (masks, method, _, _), numbers in zip(runs, output.splitlines()):
            ms, value, bound = map(float, numbers.split()[:3])
            self.line(masks, f"METHOD_{method.upper()}", weights, ms, value, bound)
            bounds.append(bound)
        return bounds

    def theirs(self, masks, by, weights, bound, work, value_of):
        ms, result = median_ms(work, self.rounds)
        self.line(masks, by, weights, ms, value_of(result), bound)


def compare_tsenor(table, weights, n, m, bound):
    scores = blocks_of(weights.abs(), m).double()
    functions = {
        "TSENOR, PyTorch": (iterate, visit),
        "TSENOR, torch.compile": (torch.compile(iterate), torch.compile(visit)),
    }
    for by, steps in functions.items():
        table.theirs(
            f"{n}:{m}",
            by,
            weights,
            bound,
            lambda steps=steps: tsenor(weights, n, m, *steps),
            lambda kept: scores[kept].sum().item(),
        )
    torch.compiler.reset()


def compare_greedy(table, weights):
    """The kernel takes the greatest values, whatever their sign, and packs what it keeps."""
    (bound,) = table.ours(weights, [("2:4 bfloat16", "optimal", 2, 4)])
    magnitudes = weights.abs()
    table.theirs(
        "2:4 bfloat16",
        "PyTorch's greedy tile kernel",
        weights,
        bound,
        lambda: torch._sparse_semi_structured_tile(magnitudes),
        lambda packed: packed[0].double().sum().item(),
    )


def keep_greatest_of_rows(weights, n, m):
    scores = weights.abs().reshape(-1, m)
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, scores.topk(n, 1).indices, True)


def compare_topk(table, weights):
    (bound,) = table.ours(weights, [("rows 16:32", "row_nm", 16, 32)])
    scores = weights.abs().reshape(-1, 32).double()
    table.theirs(
        "rows 16:32",
        "torch.topk",
        weights,
        bound,
        lambda: keep_greatest_of_rows(weights, 16, 32),
        lambda kept: scores[kept].sum().item(),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bin_dir", nargs="?", type=pathlib.Path, default=ROOT / "build/release/bin")
    parser.add_argument("--edge", type=int, default=8192, help="rows and columns of the weights")
    parser.add_argument("--rounds", type=int, default=5, help="of PyTorch; cuda_solve_matrix takes 11")
    arguments = parser.parse_args()
    generator = torch.Generator("cuda").manual_seed(1)
    shape = (arguments.edge, arguments.edge)
    weights = torch.randn(shape, generator=generator, device="cuda")
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, {arguments.edge} x {arguments.edge}\n")
    table = Table(arguments.bin_dir, arguments.rounds)
    with torch.inference_mode():
        compare_greedy(table, weights.bfloat16())
        compare_topk(table, weights)
        runs = [(f"{n}:{m}", method, n, m) for n, m in PATTERNS for method in ("tsenor", "optimal")]
        bounds = table.ours(weights, runs)[::2]
        for (n, m), bound in zip(PATTERNS, bounds):
            compare_tsenor(table, weights, n, m, bound)


if __name__ == "__main__":
    main()
