// How much host memory tensors in flight may take.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "server/clock.h"
#include "server/fair_queue.h"
#include "server/fair_share.h"
#include "server/observer.h"

namespace tsenor::server {

// A number of bytes, handed out in equal shares to the clients that wait, by priorities that age
// (fair_share.h). Nobody blocks: who asks is called back.
//
// Invariant: 0 <= used() <= total(), and every byte used is held by exactly one Grant. Nobody is
// served past the one whose turn it is, however little he asks for. The budget
// outlives its grants and does not own the memory that they stand for. Thread-safe.
class MemoryBudget {
 public:
  // A share of the budget, given back by the destructor. Move-only. Thread-compatible.
  class Grant {
   public:
    // Holds nothing.
    Grant() = default;
    Grant(Grant&& other) noexcept
        : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    Grant& operator=(Grant&& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Grant() { Shrink(0); }

    // Gives back all but `bytes`. REQUIRES: 0 <= bytes <= this->bytes().
    void Shrink(int64_t bytes);
    int64_t bytes() const { return bytes_; }

   private:
    friend class MemoryBudget;
    Grant(MemoryBudget* budget, int64_t bytes) : budget_(budget), bytes_(bytes) {}

    MemoryBudget* budget_ = nullptr;
    int64_t bytes_ = 0;
  };
  using Callback = absl::AnyInvocable<void(Grant)>;

  // `priority_ageing`: as BatchConfig::priority_ageing.
  // REQUIRES: `total` >= 0; `observer` and `clock` outlive the budget.
  MemoryBudget(int64_t total, Observer& observer, const Clock& clock, Duration priority_ageing)
      : total_(total), observer_(observer), clock_(clock), priority_ageing_(priority_ageing) {}

  // Calls `ready` once with a grant of `bytes`, when it is the turn of `origin`: now, if nobody
  // waits and that many are free, or from the thread that frees them. No lock is held during the
  // call. REQUIRES: 0 <= bytes <= total().
  void Acquire(const Origin& origin, int64_t bytes, Callback ready);

  // A grant of `bytes` at once, past everyone who waits; nothing if they are not free.
  std::optional<Grant> TryAcquire(int64_t bytes);

  int64_t total() const { return total_; }
  int64_t used() const;

 private:
  struct Waiter {
    int64_t bytes;
    Callback ready;
  };

  void Release(int64_t bytes);
  // Serves waiters, by turns, for as long as the first one fits. `lock` holds mutex_, but not while
  // they are called.
  void Serve(std::unique_lock<std::mutex>& lock);
  // One of them, which fits. `lock`: as above. REQUIRES: serving_.
  void ServeOne(std::unique_lock<std::mutex>& lock, Waiter waiter);

  const int64_t total_;
  Observer& observer_;
  const Clock& clock_;
  const Duration priority_ageing_;

  mutable std::mutex mutex_;
  int64_t used_ = 0;                   // guarded by mutex_
  FairShare share_;                    // of waiters_; guarded by mutex_
  FairQueue<Waiter> waiters_{share_};  // guarded by mutex_
  // One thread at a time serves: a callback that gives its grant back at once must not recurse into
  // the next.
  bool serving_ = false;  // guarded by mutex_
};

}  // namespace tsenor::server
