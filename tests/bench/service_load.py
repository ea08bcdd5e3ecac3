"""Servers and load for service_core.py: programs of one build, on loopback, that end with the script."""

import contextlib
import json
import pathlib
import subprocess
import tempfile
import threading
import time
import urllib.request


class Server:
    """A running tsenor-server on a free port. Not thread-safe."""

    def __init__(self, bin_dir, *flags):
        command = [bin_dir / "tsenor-server", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", *flags]
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        told = dict(line.strip().split(" on ") for line in (self.process.stdout.readline() for _ in range(2)) if line)
        if set(told) != {"listening", "metrics"}:
            self.stop()
            raise SystemExit(f"the server did not start: {' '.join(map(str, command))}")
        self.address, self.metrics = told["listening"], f"http://{told['metrics']}/metrics"

    def resident_bytes(self, field="VmRSS"):
        """Resident memory now, or with VmHWM at its greatest so far."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return 1024 * int(line.split()[1])
        raise SystemExit("the server has ended")

    def metric(self, start):
        """The sum of all samples whose line starts with these words."""
        with urllib.request.urlopen(self.metrics, timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start))

    def stop(self):
        """Ends it and returns its exit code."""
        self.process.terminate()
        return self.process.wait()


@contextlib.contextmanager
def server(bin_dir, *flags):
    running = Server(bin_dir, *flags)
    try:
        yield running
    finally:
        running.stop()


class Load:
    """A running `tsenor bench` of one level and a fixed time, after a warm-up of a second."""

    def __init__(self, bin_dir, address, seconds, *flags):
        self.folder = tempfile.TemporaryDirectory()
        self.json = pathlib.Path(self.folder.name) / "bench.json"
        # No three windows are equal, so that no level ends early; the last three are all there are.
        command = [bin_dir / "tsenor", "bench", "--server", address, "--tolerance", "0", "--window", seconds / 3]
        command += ["--duration", seconds, "--json", self.json, *flags]
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def result(self):
        """Its level, as `tsenor bench --json` tells of it."""
        _, errors = self.process.communicate()
        if self.process.returncode != 0:
            raise SystemExit(f"tsenor bench failed: {errors}")
        level = json.loads(self.json.read_text())["levels"][0]
        self.folder.cleanup()
        return level

    def stop(self):
        """Ends it before its time, without a result."""
        self.process.terminate()
        self.process.communicate()
        self.folder.cleanup()


def load(bin_dir, address, seconds, *flags):
    return Load(bin_dir, address, seconds, *flags).result()


@contextlib.contextmanager
def greatest(value, interval=0.1):
    """While it lasts, looks at value() again and again; gives a function that returns the greatest one."""
    seen = [value()]
    ends = threading.Event()

    def watch():
        while not ends.wait(interval):
            seen[0] = max(seen[0], value())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: seen[0]
    finally:
        ends.set()
        thread.join()


def wait_until(condition, patience=30):
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("waited in vain")
        time.sleep(0.05)
