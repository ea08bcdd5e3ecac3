#!/bin/sh
# On a machine with an NVIDIA GPU: all tests of the CUDA backend, memcheck over those that touch
# every kernel, the benchmarks' tables, the server, and, where python3 has PyTorch, PyTorch beside the
# backend. Needs Python with numpy.
#
#   sh tests/gpu/run.sh [BIN_DIR]     with programs built elsewhere; default: builds preset release
#
# Exit code 0 only if there is a GPU and every step passed.
set -eu
cd "$(dirname "$0")/../.."

if [ $# -gt 0 ]; then
  bin=$1
else
  bin=build/release/bin
  cmake --preset release -DTSENOR_TESTS=ON -DTSENOR_CUDA=ON
  cmake --build --preset release \
    --target cuda_tests cuda_benchmark cuda_host_benchmark cuda_solve_matrix tsenor-server tsenor
fi

nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
"$bin/cuda_tests" --gtest_brief=1
# Small batches: the checker takes some hundred times as long. One test makes the device fail.
TSENOR_CAMPAIGN_BLOCKS=1 compute-sanitizer --error-exitcode 1 \
  "$bin/cuda_tests" --gtest_brief=1 --gtest_filter='-*EveryKindAndSize*:*PassesThatEnd*:*FailedForGood*'
"$bin/cuda_benchmark"
"$bin/cuda_host_benchmark"
python3 tests/gpu/server.py "$bin"
if python3 -c 'import torch' 2>/dev/null; then
  python3 tests/gpu/compare_torch.py "$bin"
else
  echo "python3 has no PyTorch: left out"
fi
