"""Every metric that server/README.md lists is scraped from a running server by a real Prometheus.

    python3 prometheus_test.py BIN_DIR

Takes Debian's package prometheus, which has promtool as well.
"""

import contextlib
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

README = pathlib.Path(__file__).resolve().parents[2] / "server" / "README.md"
PATIENCE = 30  # seconds for a program to start, or for Prometheus to scrape

# What grpc_server_* and tsenor_* must show of the work that the test sends, as PromQL: each holds if it has a result.
CLAIMS = [
    'grpc_server_started_total{grpc_method="SolveStream"} > 0',
    'grpc_server_handled_total{grpc_method="SolveStream", grpc_code="OK"} > 0',
    'grpc_server_handled_total{grpc_method="Solve", grpc_code="INVALID_ARGUMENT"} > 0',
    'grpc_server_handling_seconds_bucket{grpc_method="SolveStream", le="+Inf"} > 0',
    'grpc_server_msg_received_total{grpc_method="SolveStream"} > 0',
    'grpc_server_msg_sent_total{grpc_method="SolveStream"} > 0',
    'tsenor_received_bytes_total{grpc_method="SolveStream"} > 16384',
    'tsenor_sent_bytes_total{grpc_method="SolveStream"} > 512',
    "count(tsenor_stage_seconds_count > 0) == 4",
    'tsenor_weights_solved_total{backend="cpu", method="optimal", dtype="float32"} >= 4096',
    'tsenor_blocks_solved_total{backend="cpu", method="optimal", dtype="float32"} >= 4',
    'tsenor_solver_seconds_total{backend="cpu"} > 0',
    'tsenor_backend_up{backend="cpu"} == 1',
    'time() - tsenor_canary_success_timestamp_seconds{backend="cpu"} < 60',
    "tsenor_batch_fill_ratio_count > 0",
    "tsenor_relative_gap_count > 0",
    "tsenor_blocks_proven_total > 0",
    'tsenor_rejected_total{reason="invalid"} > 0',
    "histogram_quantile(0.99, sum by (le) (tsenor_stage_seconds_bucket)) > 0",
    "process_cpu_seconds_total > 0",
    "process_resident_memory_bytes > 1000000",
]


def documented():
    """The names in the first column of the table of metrics."""
    section = README.read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return re.findall(r"`([a-z_]+)`", " ".join(rows))


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


@contextlib.contextmanager
def running(*command):
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as program:
        try:
            yield program
        finally:
            program.terminate()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Prometheus(unittest.TestCase):
    bin_dir = None

    @classmethod
    def setUpClass(cls):
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(
            running(cls.bin_dir / "tsenor-server", "--backend", "cpu", "--listen", "127.0.0.1:0",
                    "--metrics-listen", "127.0.0.1:0", "--max-tensor-bytes", "64KiB")
        )
        addresses = dict(server.stdout.readline().split(" on ") for _ in range(2))
        cls.metrics = addresses["metrics"].strip()
        cls.load(addresses["listening"].strip())
        cls.prometheus = cls.start_prometheus(stack, folder)

    @classmethod
    def load(cls, server):
        """Work of which every kind of metric tells: streams that are solved, a unary call that is refused."""
        command = [cls.bin_dir / "tsenor", "bench", "--server", server]
        brief = ["--warm-up", "0", "--window", "0.3", "--duration", "0.3"]
        subprocess.run([*command, *brief, "--shape", "64x64"], check=True, stdout=subprocess.DEVNULL)
        refused = subprocess.run([*command, *brief, "--shape", "256x256", "--rpc", "unary"], capture_output=True)
        assert refused.returncode == 1, refused

    @classmethod
    def start_prometheus(cls, stack, folder):
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 500ms, scrape_timeout: 400ms}\n"
            f"scrape_configs: [{{job_name: tsenor, static_configs: [{{targets: ['{cls.metrics}']}}]}}]\n"
        )
        address = f"127.0.0.1:{free_port()}"
        stack.enter_context(
            running("prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address={address}")
        )
        return address

    def query(self, expression):
        url = f"http://{self.prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        return json.loads(get(url))["data"]["result"]

    def wait_until_scraped(self):
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):  # it starts
                if self.query("up == 1"):
                    return
            self.assertLess(time.monotonic(), end, "Prometheus has scraped nothing")
            time.sleep(0.2)

    def test_every_documented_metric_has_samples(self):
        names = documented()
        self.assertIn("tsenor_build_info", names)
        self.assertGreater(len(names), 30)
        self.wait_until_scraped()
        known = {name for name in json.loads(get(f"http://{self.prometheus}/api/v1/label/__name__/values"))["data"]}
        for name in names:
            with self.subTest(name):
                self.assertTrue({name, f"{name}_bucket"} & known)
                self.assertTrue(self.query(name) or self.query(f"{name}_bucket"))

    def test_metrics_tell_of_the_work(self):
        self.wait_until_scraped()
        for claim in CLAIMS:
            with self.subTest(claim):
                self.assertTrue(self.query(claim))

    def test_every_metric_is_documented(self):
        types = re.findall(r"^# TYPE (\S+) ", get(f"http://{self.metrics}/metrics"), re.MULTILINE)
        # Those of the library's own endpoint.
        self.assertEqual({name for name in types if not name.startswith("exposer_")}, set(documented()))

    def test_promtool_finds_no_fault(self):
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=get(f"http://{self.metrics}/metrics"),
            capture_output=True, text=True,
        )
        self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, "", ""))
        faulty = subprocess.run(
            ["promtool", "check", "metrics"], input="# TYPE wrong counter\nwrong 1\n", capture_output=True, text=True
        )
        self.assertNotEqual(faulty.returncode, 0)


if __name__ == "__main__":
    Prometheus.bin_dir = pathlib.Path(sys.argv.pop(1))
    unittest.main()
