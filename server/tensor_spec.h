// What a client says of a tensor before it sends its bytes, and how those bytes are cut into
// pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/limits.h"
#include "solver/problem.h"
#include "solver/solver.h"

namespace tsenor::server {

// A tensor's bytes in a file below the server's directory, and the state of that file as the client
// saw it. As FileRange in the API. Thread-compatible.
struct FileRange {
  std::string path;
  uint64_t offset = 0;
  uint64_t size = 0;
  uint64_t file_bytes = 0;
  int64_t mtime_ns = 0;
};

// Longest path, in bytes: Linux takes no longer one.
inline constexpr size_t kMaxPathBytes = 4095;

// A path as errors and logs may show it: printable ASCII, other bytes escaped as in C, and no more
// than its first 256 bytes, because the transport limits the size of an error.
std::string Shown(const std::string& path);

// The header of a request. Thread-compatible.
struct TensorSpec {
  std::string name;
  int64_t rows = 0;
  int64_t columns = 0;
  Problem problem;
  Edge edge = Edge::kRefuse;
  std::vector<float> column_norms;  // one per column with ScoreKind::kMagnitudeTimesColumnNorm
  std::optional<FileRange> file;    // unset: the client sends the bytes
  int priority = 0;                 // in [kMinPriority, kMaxPriority] of fair_share.h
};

// Greatest length of a name, in bytes: it is echoed and logged.
inline constexpr int64_t kMaxNameBytes = 1024;

// Errors: InvalidArgument naming field, value and bound.
absl::Status ValidateTensor(const TensorSpec& spec, const Limits& limits);

// Sizes of a tensor and of its pieces, in bytes where not said otherwise.
struct TensorLayout {
  // REQUIRES: ValidateTensor(spec, limits) is OK.
  TensorLayout(const TensorSpec& spec, const Limits& limits);

  int64_t row_bytes = 0;
  int64_t total_bytes = 0;
  int64_t mask_row_bytes = 0;
  int64_t block_rows = 0;      // of the tensor
  int64_t rows_per_piece = 0;  // at most; a multiple of m, but for a piece that is the whole tensor
};

}  // namespace tsenor::server
