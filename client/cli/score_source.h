// Where the scores of a tensor come from: --scores.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/safetensors.h"
#include "tsenor/v1/types.pb.h"

namespace tsenor::cli {

// --scores, opened. Owns the mapping of the norms. Thread-safe.
class ScoreSource {
 public:
  // `text`: "magnitude", "given" or "wanda:FILE". Errors: those of SafetensorsFile::Open().
  static absl::StatusOr<ScoreSource> Open(const std::string& text);

  v1::ScoreKind kind() const { return kind_; }

  // One norm per column of this tensor; empty unless kind() needs them.
  // Errors: InvalidArgument if the file has no F32 vector of `columns` values under this name.
  absl::StatusOr<std::vector<float>> ColumnNorms(const std::string& name, uint64_t columns) const;

 private:
  v1::ScoreKind kind_ = v1::SCORE_KIND_MAGNITUDE;
  std::optional<client::SafetensorsFile> norms_;
};

}  // namespace tsenor::cli
