// A solver that proves, again and again, that it is alive.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "absl/status/status.h"
#include "server/clock.h"
#include "server/observer.h"
#include "solver/solver.h"

namespace tsenor::server {

// How often a solver is tried, and what is expected of it.
struct CanaryConfig {
  Duration interval = std::chrono::seconds(10);  // 0: never
  // How long the answer may take, with what the solver has to do besides, before the solver counts
  // as lost. More than any batch takes, which may be a single block row of 64 million weights.
  Duration timeout = std::chrono::minutes(5);
};

// Has a solver answer, at once and then every interval, a question whose answer is known: a canary.
// A device that fails says so itself (Solver::health()); this one finds out that a device hangs, or
// that its answers are wrong, also while nobody asks for masks. Then the solver counts as lost.
//
// The canary has the same chances as anybody's batch. One that fails without the solver being lost
// (no memory, say) is repeated, until the timeout since the first that failed.
//
// Owns a thread, which a solver that hangs may never give back: the destructor waits for it. Does
// not own solver, clock and observer, which outlive it. Thread-safe.
class WatchedSolver final : public Solver {
 public:
  WatchedSolver(Solver& solver, const CanaryConfig& config, const Clock& clock, Observer& observer);
  ~WatchedSolver() override;

  const SolverInfo& info() const override { return solver_.info(); }
  absl::Status Solve(const Batch& batch) override { return solver_.Solve(batch); }
  // The solver's own, or what the canaries say of it.
  absl::Status health() const override;

 private:
  void Watch();

  Solver& solver_;
  const CanaryConfig config_;
  const Clock& clock_;
  Observer& observer_;

  mutable std::mutex mutex_;
  std::condition_variable ending_changed_;
  bool ending_ = false;                // guarded by mutex_
  std::optional<Time> waiting_since_;  // for a good answer; guarded by mutex_
  absl::Status last_failure_;          // of the last canary, or OK; guarded by mutex_
  mutable absl::Status lost_;          // why the canaries call it lost, or OK; guarded by mutex_
  std::thread thread_;
};

}  // namespace tsenor::server
