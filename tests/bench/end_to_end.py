"""How much of the solver's speed is left end to end: `tsenor mask` on a large checkpoint, client and server on
the same cores, beside the solver alone on them.

    .venv/bin/python3 tests/bench/end_to_end.py [BIN_DIR] [--tensors 32] [--edge 4096] [--pattern 16:32] [--rounds 3]

BIN_DIR: the folder of tsenor-server, tsenor and solve_matrix; default build/release/bin. Makes a checkpoint of
Gaussian bfloat16 matrices, 1 GiB by default, in a temporary folder, and masks it by reference (the server reads the
file) and streamed (the client sends it). Prints weights a second (the fastest of the rounds, in turn), their share of
the solver's, and where the processors' time went: what the solver alone needs on one thread, the server's rest, the
client, nobody, and other programs: figures count if these took next to nothing.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import subprocess
import tempfile
import time

import numpy

CORES = len(os.sched_getaffinity(0))
TRANSFERS = ["reference", "stream"]
ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass
class Run:
    seconds: float  # of the command, start to end
    client_cpu: float  # processor time, in seconds
    server_cpu: float
    idle: float
    others: float  # processor time of all other programs
    unproven: int
    backends: list  # that solved


def gaussian_bfloat16(edge, seed):
    floats = numpy.random.default_rng(seed).standard_normal((edge, edge), numpy.float32)
    return (floats.view(numpy.uint32) >> 16).astype(numpy.uint16)


def write_checkpoint(path, tensors, edge):
    """A safetensors file of square matrices."""
    size = 2 * edge * edge
    header = {
        f"layer.{k:02}": {"dtype": "BF16", "shape": [edge, edge], "data_offsets": [k * size, (k + 1) * size]}
        for k in range(tensors)
    }
    words = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(words).to_bytes(8, "little") + words)
        for k in range(tensors):
            gaussian_bfloat16(edge, k).tofile(file)


@contextlib.contextmanager
def server(program, folder, backend="cpu"):
    """A running server that reads files of the folder, as (address, process)."""
    address = f"unix:{folder}/{backend}"
    command = [program, "--listen", address, "--backend", backend, "--weights-directory", folder]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        if not process.stdout.readline().startswith("listening on"):
            raise SystemExit("the server did not start")
        yield address, process
    finally:
        process.terminate()
        process.wait()


def cpu_seconds(process):
    """Processor time of a running process, user and system."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine_seconds():
    """Processor time of the whole machine since it started, as (busy, idle)."""
    user, nice, system, idle, waiting, *others = map(int, pathlib.Path("/proc/stat").read_text().split()[1:9])
    ticks = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + sum(others)) / ticks, (idle + waiting) / ticks


def children_cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def mask(program, checkpoint, folder, pattern, transfer, address, process):
    """One `tsenor mask` over the checkpoint."""
    report, masks = folder / "report.json", folder / "masks.safetensors"
    for old in [report, masks]:  # replaced, they would have to be freed in the time that counts
        old.unlink(missing_ok=True)
    command = [program, "mask", checkpoint, "--server", address, "--pattern", pattern, "--quiet"]
    command += ["--out", masks, "--report", report, "--transfer", transfer]
    client_before, server_before = children_cpu_seconds(), cpu_seconds(process)
    busy_before, idle_before = machine_seconds()
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    busy, idle = machine_seconds()
    client_cpu, server_cpu = children_cpu_seconds() - client_before, cpu_seconds(process) - server_before
    tensors = json.loads(report.read_text())["tensors"]
    return Run(
        seconds,
        client_cpu,
        server_cpu,
        idle - idle_before,
        busy - busy_before - client_cpu - server_cpu,
        sum(tensor["blocks"] - tensor["blocks_proven_optimal"] for tensor in tensors),
        sorted({name for tensor in tensors for name in tensor["backend"].split(",")}),
    )


def solve_alone(program, weights, folder, pattern, threads):
    """Weights a second of the solver in a process of its own."""
    n, m = pattern.split(":")
    command = [program, "optimal", "bfloat16", n, m, *weights.shape, threads, folder / "weights", folder / "mask"]
    weights.tofile(folder / "weights")
    output = subprocess.run(map(str, command), check=True, stdout=subprocess.PIPE, text=True).stdout
    return weights.size / float(output.split()[0])


def report(arguments, runs, all_cores, one_thread):
    """Prints the fastest run of each transfer beside the solver's weights a second on all cores and on one thread."""
    weights = arguments.tensors * arguments.edge**2
    solve = weights / one_thread
    print(f"{weights / 2**20:.0f} Mi weights, bfloat16, Gaussian, {arguments.pattern}, {CORES} cores")
    print("                                   processor seconds                                  blocks")
    print("           Mweights/s  of solver   solve  server's rest  client    idle  others  unproven")
    print(f"solver     {all_cores / 1e6:10.1f}      100 % {solve:7.2f}")
    for transfer, run in runs.items():
        rate = weights / run.seconds
        print(
            f"{transfer:10} {rate / 1e6:10.1f}  {100 * rate / all_cores:7.1f} % {solve:7.2f} "
            f"{run.server_cpu - solve:14.2f} {run.client_cpu:7.2f} {run.idle:7.2f} {run.others:7.2f} {run.unproven:9}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bin_dir", nargs="?", type=pathlib.Path, default=ROOT / "build/release/bin")
    parser.add_argument("--tensors", type=int, default=32)
    parser.add_argument("--edge", type=int, default=4096, help="rows and columns of each tensor")
    parser.add_argument("--pattern", default="16:32")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    bin_dir, pattern = arguments.bin_dir, arguments.pattern
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        checkpoint = folder / "model.safetensors"
        write_checkpoint(checkpoint, arguments.tensors, arguments.edge)
        sample = gaussian_bfloat16(arguments.edge, 0)
        runs, all_cores, one_thread = {transfer: [] for transfer in TRANSFERS}, [], []
        with server(bin_dir / "tsenor-server", folder) as running:
            for _ in range(arguments.rounds):
                all_cores.append(solve_alone(bin_dir / "solve_matrix", sample, folder, pattern, 0))
                one_thread.append(solve_alone(bin_dir / "solve_matrix", sample, folder, pattern, 1))
                for transfer in TRANSFERS:
                    runs[transfer].append(mask(bin_dir / "tsenor", checkpoint, folder, pattern, transfer, *running))
        fastest = {transfer: min(some, key=lambda run: run.seconds) for transfer, some in runs.items()}
        report(arguments, fastest, max(all_cores), max(one_thread))


if __name__ == "__main__":
    main()
