"""What a server does under load, with client and server on the same machine: one line for each claim, with its target.

    python3 tests/bench/service_core.py [BIN_DIR] [--backend cpu] [--only CLAIM...] [--seconds 5] [--overload-seconds 60]

BIN_DIR: the folder of tsenor-server and tsenor; default build/release/bin. --backend cuda: a GPU solves. Claims:

batching  256 clients (64 in each of four processes) with a tensor each in flight, beside the same server with batching
          off; three rounds in turn, the best of each counts
latency   a small tensor's 99th percentile beside a stream of 1 GiB tensors and alone; the same with a server that solves
          nothing, which is what the machine's other work costs it
fairness  two clients at once: alike, and with different sizes and numbers of tensors in flight
overload  five times the capacity, in an open loop: memory, throughput, refusals, and the recovery after it

Exit code 1 if a target is missed. Other programs on the machine make latencies and shares of a capacity worse.
"""

import argparse
import pathlib
import sys
import time

import service_load as load

ROOT = pathlib.Path(__file__).resolve().parents[2]
SMALL = ["--shape", "64x64", "--rpc", "unary"]
MIB = 2**20


class Table:
    """Prints lines as they come, and knows whether all targets were met."""

    def __init__(self):
        self.met = True
        self.line("claim", "what", "measured", "target", "met")

    def line(self, *cells):
        print("{:9} {:64} {:>22} {:>10} {:>4}".format(*cells), flush=True)

    def fact(self, claim, what, measured):
        self.line(claim, what, measured, "", "")

    def judge(self, claim, what, measured, target, met):
        self.met = self.met and met
        self.line(claim, what, measured, target, "yes" if met else "NO")


def milliseconds(seconds):
    return f"{1e3 * seconds:.2f} ms"


def batching(table, arguments):
    # METHOD_TSENOR solves as many blocks at once as there are vector lanes, of which one tensor of 64 x 64 fills 1 (32:64)
    # or 4 (16:32), or as there are warps of a GPU, where it takes some milliseconds however few they are.
    # METHOD_OPTIMAL takes less time for such a tensor than its transport.
    cases = {
        "tsenor 32:64": ["--method", "tsenor", "--pattern", "32:64"],
        "tsenor 16:32": ["--method", "tsenor", "--pattern", "16:32"],
        "optimal 4:8": ["--pattern", "4:8"],
        "optimal 16:32": ["--pattern", "16:32"],
    }
    target = 2 if arguments.backend == "cpu" else 10
    for name, flags in cases.items():
        best = {"on": 0, "off": 0}
        for _ in range(3):
            for switch, more in {"on": [], "off": ["--max-batch-elements", "1"]}.items():
                with load.server(arguments.bin_dir, "--backend", arguments.backend, "--max-streams", 512, *more) as server:
                    clients = ["--concurrency", 64, "--connections", 64, *SMALL, *flags]
                    loads = [load.Load(arguments.bin_dir, server.address, arguments.seconds, *clients) for _ in range(4)]
                    best[switch] = max(best[switch], sum(running.result()["masks_per_second"] for running in loads))
        ratio = best["on"] / best["off"]
        what = f"{name}, 256 clients, 64 x 64: {best['on']:.0f} masks/s, off: {best['off']:.0f}"
        if name == "tsenor 32:64":
            table.judge("batching", what, f"{ratio:.2f} times", f">= {target}", ratio >= target)
        else:
            table.fact("batching", what, f"{ratio:.2f} times")


def latency(table, arguments):
    for backend in ["null", arguments.backend]:
        with load.server(arguments.bin_dir, "--backend", backend) as server:
            alone = load.load(arguments.bin_dir, server.address, arguments.seconds, *SMALL)
            large = load.Load(arguments.bin_dir, server.address, 3600, "--shape", arguments.large_shape, "--timeout", 3600)
            load.wait_until(lambda: server.metric("tsenor_received_bytes_total") > 64 * MIB)
            beside = load.load(arguments.bin_dir, server.address, arguments.seconds, *SMALL)
            large.stop()
        p99 = [level["latency_seconds"]["p99"] for level in (alone, beside)]
        what = f"{backend}: p99 of 64 x 64 beside large ones {milliseconds(p99[1])}, alone {milliseconds(p99[0])}"
        ratio = p99[1] / p99[0]
        if backend != "null":
            table.judge("latency", what, f"{ratio:.1f} times", "< 5", ratio < 5)
        else:
            table.fact("latency", what, f"{ratio:.1f} times")


def fairness(table, arguments):
    cases = {
        "8 x 512 x 512 in flight each": ((8, "512x512"), (8, "512x512")),
        "4 x 1024 x 1024 and 32 x 256 x 256 in flight": ((4, "1024x1024"), (32, "256x256")),
    }
    for name, clients in cases.items():
        with load.server(arguments.bin_dir, "--backend", arguments.backend) as server:
            loads = [
                load.Load(arguments.bin_dir, server.address, arguments.seconds, "--method", "tsenor", "--concurrency",
                          concurrency, "--shape", shape)
                for concurrency, shape in clients
            ]
            rates = [running.result()["sent_bytes_per_second"] for running in loads]
        ratio = max(rates) / min(rates)
        table.judge("fairness", f"bytes/s of two clients, {name}", f"{ratio:.3f} : 1", "<= 1.1", ratio <= 1.1)


def overload(table, arguments):
    # On the CPU one thread for the server's solver, the other cores for the load; tensors whose solving takes long enough
    # that a refusal, which takes the same processor time whatever the tensor, costs little beside it.
    tensor = ["--shape", "512x512", "--dtype", "float8_e4m3", "--method", "tsenor", "--connections", 8]
    budget = 256 * MIB
    flags = ["--backend", arguments.backend, "--memory-budget", budget, "--max-streams", 64]
    if arguments.backend == "cpu":
        flags += ["--threads", 1]
    with load.server(arguments.bin_dir, *flags) as server:
        closed = ["--concurrency", 32, *tensor]
        capacity = load.load(arguments.bin_dir, server.address, arguments.seconds, *closed)["masks_per_second"]
        busy = server.metric("tsenor_solver_seconds_total")
        start = time.monotonic()
        with load.greatest(server.resident_bytes) as resident:
            rate = ["--rate", 5 * capacity, "--max-in-flight", 4096, "--timeout", 30, *tensor]
            level = load.load(arguments.bin_dir, server.address, arguments.overload_seconds, *rate)
        busy = (server.metric("tsenor_solver_seconds_total") - busy) / (time.monotonic() - start)
        recovery = time.monotonic()
        recovered = server.metric("tsenor_solver_seconds_total")
        again = load.load(arguments.bin_dir, server.address, arguments.seconds, "--warm-up", 0, *closed)
        recovered = (server.metric("tsenor_solver_seconds_total") - recovered) / (time.monotonic() - recovery)
        left = server.metric("tsenor_memory_used_bytes")
    # Other programs come and go: the capacity before and after.
    capacity = (capacity + again["masks_per_second"]) / 2
    share = level["masks_per_second"] / capacity
    errors = level["errors"]
    refused = errors.pop("RESOURCE_EXHAUSTED", 0)
    seconds = level["seconds"]
    what = f"capacity {capacity:.1f}/s, five times that for {seconds:.0f} s: throughput"
    table.judge("overload", what, f"{100 * share:.1f} %", ">= 95 %", share >= 0.95)
    table.fact("overload", "time in which the solver was busy", f"{100 * busy:.1f} %")
    table.fact("overload", "the same right after it, start and end of the load included", f"{100 * recovered:.1f} %")
    memory = f"{resident() / MIB:.0f} MiB"
    table.judge("overload", "resident memory at most", memory, f"{budget // MIB} MiB", resident() < budget)
    what = f"{level['masks']} answered, {refused} RESOURCE_EXHAUSTED, others"
    table.judge("overload", what, str(sum(errors.values())), "0", refused > 0 and not errors)
    late = level["failed_latency_seconds"]
    what = f"refusals take {milliseconds(late['p50'])} (p50), {milliseconds(late['p99'])} (p99)"
    answered = level["latency_seconds"]["p50"]
    table.judge("overload", what, f"answers {milliseconds(answered)}", "a tenth", late["p50"] < answered / 10)
    share = again["masks_per_second"] / capacity
    what = f"right after it: {sum(again['errors'].values())} failed, memory of tensors {left:.0f} B, throughput"
    met = share >= 0.95 and not again["errors"] and left == 0
    table.judge("overload", what, f"{100 * share:.1f} %", ">= 95 %", met)


CLAIMS = {"batching": batching, "latency": latency, "fairness": fairness, "overload": overload}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bin_dir", nargs="?", type=pathlib.Path, default=ROOT / "build/release/bin")
    parser.add_argument("--backend", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", nargs="+", choices=CLAIMS, default=list(CLAIMS))
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--large-shape", default="16384x16384", help="of the large tensors of latency, float32")
    parser.add_argument("--overload-seconds", type=float, default=60)
    arguments = parser.parse_args()
    table = Table()
    for claim in arguments.only:
        CLAIMS[claim](table, arguments)
        time.sleep(0.1)
    sys.exit(0 if table.met else 1)


if __name__ == "__main__":
    main()
