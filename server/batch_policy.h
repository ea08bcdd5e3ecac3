// When to launch a batch, of what, and how large: a pure function.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "server/clock.h"
#include "server/fair_share.h"

namespace tsenor::server {

struct BatchConfig {
  // A batch of this many elements is full: a larger one would not run faster, only answer later. A
  // single piece may exceed it.
  int64_t max_batch_elements = int64_t{4} << 20;
  // A batch that is expected to take this long is full, too, by what its problem's weights cost
  // last (QueueState::seconds_per_element): it is how long others wait, and weights of one method
  // cost a hundred times those of another. A single piece may exceed it. 0: no bound.
  Duration max_batch_time = Duration::zero();
  // How long an idle worker waits for a batch to fill, counted from its oldest piece. 0: not at
  // all; batches then fill only while workers are busy, which costs nobody time.
  Duration max_batch_delay = Duration::zero();
  // How long work waits until it counts as one priority higher: what bounds the wait of the lowest.
  // 0: priorities do not count.
  Duration priority_ageing = std::chrono::seconds(5);
};

// What is queued for one problem: pieces that may share a batch.
struct QueueState {
  int64_t elements = 0;
  int64_t pieces = 0;              // >= 1
  Time oldest;                     // when the piece that waits longest was queued
  Turn first;                      // of the piece that goes next
  double seconds_per_element = 0;  // of its problem, solved last; 0: not known
};

// What a worker does next.
struct BatchDecision {
  enum Action {
    kSleep,   // until something is queued
    kWait,    // until `until`, or until something is queued
    kLaunch,  // solve the first pieces of queue `queue`, together at most `max_elements` or one
              // piece
  };
  Action action = kSleep;
  Time until;
  size_t queue = 0;
  int64_t max_elements = 0;
};

// Weights that are expected to take `time`, at least 1; any number if that is 0.
// `seconds_per_element`: as in QueueState.
int64_t ElementsInTime(double seconds_per_element, Duration time);

// An idle worker launches at once the queue whose turn it is among those that are full or have
// waited max_batch_delay. Busy workers launch nothing: what arrives meanwhile is the next batch.
BatchDecision DecideBatch(std::span<const QueueState> queues, int idle_workers, Time now,
                          const BatchConfig& config);

}  // namespace tsenor::server
