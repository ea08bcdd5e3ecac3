#include "server/limits.h"

#include "absl/strings/str_cat.h"

namespace tsenor::server {
namespace {

absl::Status InRange(const char* flag, int64_t value, int64_t least, int64_t greatest) {
  if (value >= least && value <= greatest) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(flag, " is ", value, "; it must be in [", least, ", ", greatest, "]"));
}

}  // namespace

absl::Status ValidateLimits(const Limits& limits) {
  // A block row of 128 x 128 float32, its mask and statistics, four times.
  constexpr int64_t kLeastBudget = int64_t{512} << 10;
  constexpr int64_t kGreatest = int64_t{1} << 50;  // sums and products of limits stay inside int64
  // Protobuf's own limit is 2 GiB; below 64 KiB a header with column norms would hardly fit.
  constexpr int64_t kLeastMessage = int64_t{64} << 10;
  constexpr int64_t kGreatestMessage = int64_t{1} << 30;
  // HTTP/2's own default, and a 64th of what it allows.
  constexpr int64_t kLeastWindow = 65'535;
  constexpr int64_t kGreatestWindow = int64_t{32} << 20;
  const int64_t greatest_piece =
      std::min(limits.memory_budget_bytes / 4, limits.max_message_bytes / 2);
  for (const absl::Status& status :
       {InRange("memory-budget", limits.memory_budget_bytes, kLeastBudget, kGreatest),
        InRange("max-tensor-bytes", limits.max_tensor_bytes, 1, kGreatest),
        InRange("max-message-bytes", limits.max_message_bytes, kLeastMessage, kGreatestMessage),
        InRange("stream-window", limits.stream_window_bytes, kLeastWindow, kGreatestWindow),
        InRange("piece-bytes", limits.piece_bytes, 1, greatest_piece),
        InRange("stream-pieces", limits.stream_pieces, 1, 1 << 20),
        InRange("min-stream-rate", limits.min_stream_rate, 0, kGreatest),
        InRange("max-streams", limits.max_streams, 1, 1 << 20)}) {
    if (!status.ok()) return status;
  }
  if (limits.idle_timeout < Duration::zero()) {
    return absl::InvalidArgumentError(absl::StrCat("idle-timeout is ", Seconds(limits.idle_timeout),
                                                   " s; it must not be negative"));
  }
  return absl::OkStatus();
}

}  // namespace tsenor::server
