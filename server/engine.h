// The server without its transport.
#pragma once

#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "server/batch_policy.h"
#include "server/clock.h"
#include "server/dispatcher.h"
#include "server/limits.h"
#include "server/memory_budget.h"
#include "server/observer.h"
#include "server/session.h"
#include "solver/solver.h"

namespace tsenor::server {

// Admits sessions and gives them what they share: memory budget, dispatcher, limits.
//
// Owns all of that but solvers, clock and observer, which outlive it. Destroy it when no session
// has a peer any more. Thread-safe.
class Engine {
 public:
  // Starts the workers. REQUIRES: ValidateLimits(limits) is OK; at least one solver.
  Engine(const Limits& limits, const BatchConfig& batch, std::vector<Solver*> solvers,
         const Clock& clock, Observer& observer);
  ~Engine();

  // A session for `peer`; it counts against Limits::max_streams for as long as the pointer is held.
  // Errors: ResourceExhausted when that many are held; Unavailable after StopAdmitting().
  absl::StatusOr<std::shared_ptr<Session>> Admit(SessionPeer& peer, Time deadline);

  // From now on every session is refused.
  void StopAdmitting();
  // Unavailable after StopAdmitting().
  absl::Status CheckAdmitting() const;
  // Waits until no session is held, for at most `patience`; returns whether none is.
  bool WaitUntilQuiet(Duration patience);

  // Session::CheckIdle() for every session. The engine does so itself, often enough that a stream
  // ends within 1.25 idle timeouts.
  void CheckIdle();

  // Dispatcher::Stop().
  void Stop() { dispatcher_.Stop(); }

  const Limits& limits() const { return limits_; }
  const Clock& clock() const { return clock_; }
  Observer& observer() const { return observer_; }
  const MemoryBudget& budget() const { return budget_; }
  std::span<Solver* const> solvers() const { return solvers_; }

 private:
  using Sessions = std::list<std::weak_ptr<Session>>;

  // Ends idle sessions, and gives freed memory back to the kernel once there has been none for a
  // while.
  void Watch();

  const Limits limits_;
  const std::vector<Solver*> solvers_;
  const Clock& clock_;
  Observer& observer_;
  MemoryBudget budget_;
  Observer unobserved_;
  MemoryBudget norms_budget_;
  Dispatcher dispatcher_;

  mutable std::mutex mutex_;
  std::condition_variable ending_changed_;
  std::condition_variable became_quiet_;  // sessions_ is empty
  bool ending_ = false;                   // guarded by mutex_
  bool admitting_ = true;                 // guarded by mutex_
  bool worked_ = false;  // a session was asked for since the last trim; guarded by mutex_
  Sessions sessions_;    // guarded by mutex_
  std::thread watch_;
};

}  // namespace tsenor::server
