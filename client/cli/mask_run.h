// Solves every selected tensor, several at a time.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/checkpoint.h"
#include "client/cli/mask_output.h"
#include "client/cli/method_flags.h"
#include "client/cli/problem_flags.h"
#include "client/cli/progress.h"
#include "client/cli/report.h"
#include "client/cli/score_source.h"
#include "client/cli/selection.h"
#include "client/cli/transfer.h"
#include "client/mask_client.h"

namespace tsenor::cli {

// All that a run needs; refers to objects that outlive it.
struct MaskRun {
  const client::MaskClient& client;
  const client::Checkpoint& checkpoint;
  const Selection& selection;
  const ProblemFlags& problem;
  const MethodFlags& method;
  const ScoreSource& scores;
  const Transfer& transfer;
  MaskOutput& output;
  Progress& progress;
  int parallel = 1;  // tensors in flight; >= 1
};

// Solves all tensors of the selection and hands their masks to the output. The first failure stops
// the others. A stop of `interrupt`, the user's, cancels.
// Errors: those of client::MaskClient::SolveTensor(), the output's and the scores', naming the
// tensor.
absl::StatusOr<std::vector<TensorReport>> SolveAll(const MaskRun& run,
                                                   const std::stop_token& interrupt);

}  // namespace tsenor::cli
