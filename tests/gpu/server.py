"""The server on a machine with an NVIDIA GPU: it solves there, finds the cpu backend's optimum, and how fast it is.

    python3 tests/gpu/server.py [BIN_DIR] [--tensors 32] [--edge 4096] [--rounds 3]

BIN_DIR: the folder of tsenor-server and tsenor; default build/release/bin. Masks the real weights of tests/data on a
server with --backend auto and on one with --backend cpu, and fails unless the first solved on a GPU, both values agree
to 1e-12 (float64 sums of the same weights in another order), every block is proven optimal, and `tsenor verify`
agrees. Then masks a checkpoint of Gaussian bfloat16 matrices, 1 GiB by default, made in a temporary folder, by
reference (the server reads the file) and streamed (the client sends it), and prints the fastest of the rounds.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "bench"))

import end_to_end  # noqa: E402

WEIGHTS = ROOT / "tests" / "data" / "minilm.safetensors"
PATTERNS = ["2:4", "4:8", "8:16", "16:32", "8:32", "12:24", "32:64", "48:96", "64:128"]
GREATEST_DIFFERENCE = 1e-12


def mask(program, address, pattern, folder):
    """Masks WEIGHTS; returns the mask file and the report's tensors."""
    masks, report = folder / "masks.safetensors", folder / "report.json"
    command = [program, "mask", WEIGHTS, "--server", address, "--pattern", pattern, "--quiet"]
    subprocess.run([*command, "--out", masks, "--report", report], check=True, stdout=subprocess.DEVNULL)
    return masks, json.loads(report.read_text())["tensors"]


def compare(bin_dir, backends, folder):
    """The servers' answers about real weights, pattern by pattern."""
    program = bin_dir / "tsenor"
    for pattern in PATTERNS:
        (masks, found), (_, expected) = (mask(program, address, pattern, folder) for address in backends)
        command = [program, "verify", WEIGHTS, masks, "--pattern", pattern]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        greatest = 0
        for tensor, wanted in zip(found, expected, strict=True):
            if not tensor["backend"].startswith("cuda:"):
                raise SystemExit(f"{tensor['name']} was solved by {tensor['backend']}")
            if tensor["blocks_proven_optimal"] != tensor["blocks"]:
                raise SystemExit(f"{tensor['name']}, {pattern}: a block is not proven optimal")
            greatest = max(greatest, abs(tensor["value"] / wanted["value"] - 1))
        if greatest > GREATEST_DIFFERENCE:
            raise SystemExit(f"{pattern}: values differ by {greatest:.1e} of them")
        print(f"{pattern:>6}  {len(found)} tensors, all proven, values differ by {greatest:.1e} at most", flush=True)


def measure(bin_dir, servers, folder, arguments):
    """Speed on a large checkpoint, as a table."""
    checkpoint = folder / "model.safetensors"
    end_to_end.write_checkpoint(checkpoint, arguments.tensors, arguments.edge)
    weights = arguments.tensors * arguments.edge**2
    print(f"\n{weights / 2**20:.0f} Mi weights, bfloat16, Gaussian, {end_to_end.CORES} cores\n")
    print("| pattern | solved by | weights | seconds | Gweights/s | GB/s | server's CPU, s | client's CPU, s |")
    print("|---|---|---|---|---|---|---|---|")
    for pattern in ["16:32", "2:4"]:
        for running in servers:
            for transfer in end_to_end.TRANSFERS:
                runs = [
                    end_to_end.mask(bin_dir / "tsenor", checkpoint, folder, pattern, transfer, *running)
                    for _ in range(arguments.rounds)
                ]
                run = min(runs, key=lambda some: some.seconds)
                print(
                    f"| {pattern} | {', '.join(run.backends)} | {transfer} | {run.seconds:.3f} | {weights / run.seconds / 1e9:.2f} "
                    f"| {2 * weights / run.seconds / 1e9:.2f} | {run.server_cpu:.2f} | {run.client_cpu:.2f} |",
                    flush=True,
                )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bin_dir", nargs="?", type=pathlib.Path, default=ROOT / "build/release/bin")
    parser.add_argument("--tensors", type=int, default=32)
    parser.add_argument("--edge", type=int, default=4096, help="rows and columns of each tensor")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    bin_dir = arguments.bin_dir
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        program = bin_dir / "tsenor-server"
        with (
            end_to_end.server(program, folder, "auto") as auto,
            end_to_end.server(program, folder, "cpu") as cpu,
        ):
            command = [bin_dir / "tsenor", "info", "--server", auto[0]]
            info = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            print("\n".join(line for line in info.splitlines() if line.startswith("backend")), flush=True)
            compare(bin_dir, [auto[0], cpu[0]], folder)
            measure(bin_dir, [auto, cpu], folder, arguments)


if __name__ == "__main__":
    main()
