// How a checkpoint's weights get to the server: --transfer.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/checkpoint.h"
#include "tsenor/v1/mask_service.pb.h"

namespace tsenor::cli {

// "reference": the server reads the weights itself, from the same files; "stream": they are sent;
// "auto": by reference what lies below the server's directory, else, and where the server cannot
// read it after all, streamed.
//
// Refers to a checkpoint that outlives it. Thread-safe.
class Transfer {
 public:
  // Looks for the server's directory (GetServerInfo) above every shard. `how`: as above.
  // Errors: FailedPrecondition with "reference" if a shard does not lie below it, naming the shard,
  // or if there is none.
  static absl::StatusOr<Transfer> Plan(const std::string& how, const client::Checkpoint& checkpoint,
                                       const v1::GetServerInfoResponse& info);

  // What the server is to read; nullopt for a tensor that is streamed. REQUIRES: `tensor` is one of
  // the checkpoint's.
  std::optional<v1::FileRange> RangeOf(const client::CheckpointTensor& tensor) const;

  // Whether a tensor by reference is streamed after this answer of the server: it is, with "auto",
  // if the server cannot read the file, and the file is still as it was when it was opened.
  bool StreamsAfter(const absl::Status& answer, const client::CheckpointTensor& tensor) const;

 private:
  Transfer(bool falls_back, const client::Checkpoint& checkpoint)
      : falls_back_(falls_back), checkpoint_(&checkpoint), paths_(checkpoint.shards().size()) {}

  bool falls_back_;
  const client::Checkpoint* checkpoint_;
  std::vector<std::string> paths_;  // of each shard below the directory; empty: it is streamed
};

}  // namespace tsenor::cli
