// Every limit of the server, in one place. Each is a flag (server/flags.cc) of the same name.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "absl/status/status.h"
#include "server/clock.h"

namespace tsenor::server {

// Thread-compatible.
struct Limits {
  // Host memory for tensors in flight: weights, masks and statistics of all pieces.
  int64_t memory_budget_bytes = int64_t{1} << 30;
  // A tensor never lies in memory as a whole, so this only keeps absurd requests out.
  int64_t max_tensor_bytes = int64_t{64} << 30;
  // One message in either direction: what the transport may hold for one stream besides the budget.
  int64_t max_message_bytes = int64_t{16} << 20;
  // What a client may send on one stream before the session asks for it: what a stream that the
  // server does not read holds besides the budget and one message. Bounds a stream's speed, too, to
  // one window a round trip: 100 MB/s over 10 ms with the default.
  int64_t stream_window_bytes = int64_t{1} << 20;
  // Memory that one piece aims at: small enough that masks come back early and clients take turns,
  // large enough that a piece's fixed costs do not show.
  int64_t piece_bytes = int64_t{4} << 20;
  // Pieces of one stream alive at once, from their first byte to their mask's last: bounds what a
  // slow reader, or one fast upload, can take from the others.
  int stream_pieces = 8;
  // RPCs that solve, at once: each may hold one message besides the budget.
  int max_streams = 256;
  // How long a stream may make its server wait before it is ended. 0: for ever.
  Duration idle_timeout = std::chrono::seconds(60);
  // What a stream that the server waits for must send in idle_timeout, in bytes a second: less
  // counts as nothing, or a byte now and then would hold a piece's memory for ever. With the
  // default, a megabyte a minute: a client that sends messages of that size is not allowed less
  // anyway. 0: any byte counts.
  int64_t min_stream_rate = int64_t{16} << 10;

  // How long a connection may be silent before its client is asked whether it is still there; one
  // that does not answer in keepalive_timeout() is closed: its machine may have died without a
  // word. 0: never.
  Duration keepalive_time = std::chrono::seconds(60);

  Duration keepalive_timeout() const {
    return std::min<Duration>(keepalive_time, std::chrono::seconds(20));
  }

  // Bytes that count as a sign of life: what min_stream_rate is in one idle_timeout.
  double min_progress_bytes() const {
    return static_cast<double>(min_stream_rate) * Seconds(idle_timeout);
  }

  // Memory for the column norms of all tensors in flight, besides the budget: a tensor keeps them
  // from its header to its end, and were they part of the budget, tensors that hold norms and wait
  // for a piece could lock each other out. Half of it, so that the norms of any one tensor fit: 4
  // bytes a column, of which there are at most max_block_row_bytes() / 2.
  int64_t norms_budget_bytes() const { return memory_budget_bytes / 2; }

  // Memory for pieces whose bytes are being read from files, as part of the budget: storage that
  // hangs must leave the tensors that are sent something. Half of it, in which any piece fits: one
  // block row is a quarter at most, and its mask and statistics take less than it does.
  int64_t reading_budget_bytes() const { return memory_budget_bytes / 2; }

  // Greatest size of the first m rows of a tensor, in bytes: a block row must be solved as one. A
  // quarter of the budget, because its mask and statistics come on top and several streams should
  // fit; and its mask (at most a sixteenth, one bit for two bytes) must fit into half a message.
  int64_t max_block_row_bytes() const {
    return std::min(memory_budget_bytes / 4, 8 * max_message_bytes);
  }
};

// Whether the limits make sense together. Errors: InvalidArgument naming the flag, its value and
// its bound.
absl::Status ValidateLimits(const Limits& limits);

}  // namespace tsenor::server
