"""Two implementations of the published algorithm, one in NumPy and one in C++, agree.

    python3 tsenor_numpy_test.py BIN_DIR
"""

import pathlib
import subprocess
import sys
import unittest

import compare_numpy
import numpy
import tsenor_numpy


class TsenorNumpy(unittest.TestCase):
    bin_dir = None

    def test_values_agree_with_the_cpu_backend(self):
        weights = numpy.random.default_rng(7).standard_normal((384, 384), numpy.float32)
        for n, m in [(2, 4), (4, 8), (8, 16), (16, 32), (8, 32), (24, 32), (32, 64)]:
            with self.subTest(n=n, m=m):
                program = self.bin_dir / "solve_matrix"
                ours = compare_numpy.solve_by_program(program, "tsenor", weights, n, m)
                numpys = compare_numpy.solve_by_numpy(weights, n, m)
                value = compare_numpy.value_of(ours.kept, weights, m)
                self.assertAlmostEqual(compare_numpy.value_of(numpys.kept, weights, m) / value, 1, delta=3e-5)
                # Masks may differ where the order of two entries hangs on the last bits of S.
                same = (ours.kept == numpys.kept).all(axis=(1, 2)).mean()
                self.assertGreater(same, 0.98)
                for axis in (1, 2):
                    self.assertLessEqual(numpys.kept.sum(axis=axis).max(), n)
                error = 1 - value / ours.bound
                self.assertTrue(0 < error < 0.01, error)

    def test_both_ways_to_project_agree(self):
        scores = numpy.abs(numpy.random.default_rng(3).standard_normal((20, 16, 16), numpy.float32))
        s = tsenor_numpy.projections(scores, 5, 200.0, 300)
        literal = tsenor_numpy.literal_projections(scores, 5, 200.0, 300)
        numpy.testing.assert_allclose(s, literal, atol=1e-3)

    def test_small_block_by_hand(self):
        scores = numpy.array([[[5, 1], [1, 4]], [[1, 3], [2, 1]]], numpy.float32)
        kept = tsenor_numpy.masks(scores, 1)
        numpy.testing.assert_array_equal(kept, [[[1, 0], [0, 1]], [[0, 1], [1, 0]]])

    def test_swaps_take_the_best_exchange(self):
        scores = numpy.array([[[9, 8, 0], [7, 9, 0], [0, 0, 1]]], numpy.float32)
        kept = numpy.array([[[1, 0, 0], [0, 0, 0], [0, 0, 1]]], bool)
        room = numpy.array([[0, 1, 0]]), numpy.array([[0, 1, 0]])
        tsenor_numpy.swap(kept, *room, scores, 1)  # (0, 1) and (1, 0) for (0, 0)
        numpy.testing.assert_array_equal(kept, [[[0, 1, 0], [1, 0, 0], [0, 0, 1]]])
        self.assertFalse(room[0].any() or room[1].any())

    def test_table(self):
        done = subprocess.run(
            [sys.executable, compare_numpy.__file__, self.bin_dir, "--edge", "64", "--rounds", "1"],
            capture_output=True,
            text=True,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        _, _, *rows = done.stdout.splitlines()
        self.assertEqual([row.split()[0] for row in rows], [f"{n}:{m}" for n, m in compare_numpy.PATTERNS])
        for row in rows:
            self.assertTrue(all(float(number) > 0 for number in row.replace('%', '').split()[1:]), row)


if __name__ == "__main__":
    TsenorNumpy.bin_dir = pathlib.Path(sys.argv.pop(1))
    unittest.main()
