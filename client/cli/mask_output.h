// Where masks go: a file of masks, or the checkpoint itself with the other weights zeroed.
#pragma once

#include <cstddef>
#include <memory>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/checkpoint.h"
#include "client/cli/mask_file.h"
#include "client/cli/selection.h"
#include "client/mask_client.h"

namespace tsenor::cli {

// Takes the mask rows of every selected tensor. Nothing stands under the final name before
// Commit(), and nothing is left without it.
//
// Thread-safe but for Commit(), which comes after everything else.
class MaskOutput {
 public:
  virtual ~MaskOutput() = default;

  // Takes rows of selection.selected[tensor]; the same rows may come again and replace the former
  // ones. Errors: the file's.
  virtual absl::Status WriteRows(size_t tensor, const client::MaskRows& rows) = 0;

  // Completes the output and gives it its final name. Errors: the file's; Cancelled if `stop` is
  // requested.
  virtual absl::Status Commit(const std::stop_token& stop) = 0;
};

// A mask file (client/cli/mask_file.h). `selection` outlives the output.
absl::StatusOr<std::unique_ptr<MaskOutput>> CreateMaskFileOutput(const std::string& path,
                                                                 const Selection& selection,
                                                                 MaskEncoding encoding,
                                                                 const MaskMetadata& metadata);

// The checkpoint with the weights that the masks drop set to +0: a file for a file, a directory for
// a directory, with the same shards, tensors, dtypes and metadata, and its other files and
// directories but weights of other formats; what is left out is told on stderr. All but the weights
// is written at once. `checkpoint` and `selection` outlive the output. Errors: FailedPrecondition
// if `path` exists and is not what would replace it (a directory: empty); the files'.
absl::StatusOr<std::unique_ptr<MaskOutput>> CreateAppliedOutput(
    const std::string& path, const client::Checkpoint& checkpoint, const Selection& selection);

}  // namespace tsenor::cli
