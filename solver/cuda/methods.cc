#include "solver/cuda/methods.h"

#include <memory>

#include "solver/cuda/kernels/entropic_plans.h"
#include "solver/cuda/kernels/evaluate.h"
#include "solver/cuda/kernels/heuristics.h"
#include "solver/cuda/kernels/random_choice.h"
#include "solver/cuda/kernels/rounding.h"
#include "solver/cuda/resources.h"
#include "solver/random_masks.h"

namespace tsenor::cuda {
namespace {

absl::Status EnqueueMasks(const Pass& pass, cudaStream_t stream) {
  switch (pass.problem.options.method) {
    case Method::kTsenor: {
      const absl::Status status =
          ToStatus(LaunchEntropicPlans(pass, stream), "launch of the entropic kernel");
      if (!status.ok()) return status;
      return ToStatus(LaunchRounding(pass, stream), "launch of the rounding kernel");
    }
    case Method::kMaxRandom:
      return ToStatus(LaunchRandomChoice(pass, stream), "launch of the random masks' kernel");
    default:
      return ToStatus(LaunchHeuristics(pass, stream), "launch of the heuristics' kernel");
  }
}

}  // namespace

bool HasMethodKernels(const Problem& problem) {
  const auto [n, m] = problem.pattern;
  const Method method = problem.options.method;
  return method != Method::kOptimal && (!IsTransposable(method) || (n > 0 && n < m));
}

int64_t RandomMaskBytes(const Problem& problem) {
  if (problem.options.method != Method::kMaxRandom || !HasMethodKernels(problem)) return 0;
  const int64_t m = problem.pattern.m;
  return problem.options.max_random.samples * m * ((m + 7) / 8);
}

absl::Status CopyRandomMasks(const Problem& problem, uint8_t* on_device, cudaStream_t stream) {
  const auto masks = SharedRandomMasks(problem.pattern, problem.options.max_random);
  const absl::Status status =
      ToStatus(cudaMemcpyAsync(on_device, masks->Row(0).data(), RandomMaskBytes(problem),
                               cudaMemcpyHostToDevice, stream),
               "copying random masks to the device");
  if (!status.ok()) return status;
  return ToStatus(cudaStreamSynchronize(stream), "copying random masks to the device");
}

absl::Status EnqueueMethod(const Pass& pass, cudaStream_t stream) {
  const absl::Status status = EnqueueMasks(pass, stream);
  if (!status.ok()) return status;
  return ToStatus(LaunchEvaluate(pass, stream), "launch of the evaluating kernel");
}

}  // namespace tsenor::cuda
