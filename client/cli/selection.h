// Which tensors of a checkpoint get a mask.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/checkpoint.h"
#include "tsenor/v1/types.pb.h"

namespace tsenor::cli {

// A matrix that gets a mask.
struct SelectedTensor {
  client::CheckpointTensor source;
  v1::DataType dtype = v1::DATA_TYPE_UNSPECIFIED;
  uint64_t rows = 0;
  uint64_t columns = 0;

  const std::string& name() const { return source.info->name; }
  uint64_t weights() const { return rows * columns; }
};

// A tensor that gets none, and why.
struct SkippedTensor {
  std::string name;
  std::string reason;
};

struct Selection {
  std::vector<SelectedTensor> selected;
  std::vector<SkippedTensor> skipped;

  uint64_t weights() const;

  // The reasons and how many tensors have each: "12 not a matrix (1-D), 1 dtype I64".
  std::string SkippedByReason() const;
};

// What may be selected.
struct SelectionRules {
  std::string include = {};  // regular expressions (RE2); empty: none
  std::string exclude = {};
  uint32_t m = 1;    // the pattern's
  bool pad = false;  // take shapes that m does not divide
};

// Takes every 2-D tensor of F32, F16, BF16, F8_E4M3 or F8_E5M2 that the rules allow, in the order
// of the checkpoint, which lives as long as the selection. REQUIRES: both expressions are
// well-formed.
Selection SelectTensors(const client::Checkpoint& checkpoint, const SelectionRules& rules);

}  // namespace tsenor::cli
