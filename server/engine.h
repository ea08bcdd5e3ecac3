// The server without its transport.
#pragma once

#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "server/batch_policy.h"
#include "server/clock.h"
#include "server/dispatcher.h"
#include "server/file_reader.h"
#include "server/limits.h"
#include "server/memory_budget.h"
#include "server/observer.h"
#include "server/session.h"
#include "server/weights_directory.h"
#include "solver/solver.h"

namespace tsenor::server {

// Admits sessions and gives them what they share: memory budget, dispatcher, limits.
//
// Owns all of that but solvers, clock, observer and weights directory, which outlive it. Destroy it
// when no session has a peer any more. Thread-safe.
class Engine {
 public:
  // Starts the workers, and readers of files if there is a directory for them. `fallback_reason`:
  // why no GPU solves, for those who ask.
  // REQUIRES: ValidateLimits(limits) is OK; at least one solver.
  Engine(const Limits& limits, const BatchConfig& batch, std::vector<Solver*> solvers,
         const Clock& clock, Observer& observer,
         const WeightsDirectory* weights_directory = nullptr, std::string fallback_reason = "");
  ~Engine();

  // A session for `peer`, of `client`'s share; it counts against Limits::max_streams for as long as
  // the pointer is held.
  // Errors: ResourceExhausted when that many are held; Unavailable after StopAdmitting().
  absl::StatusOr<std::shared_ptr<Session>> Admit(SessionPeer& peer, std::string client,
                                                 Time deadline);

  // From now on every session is refused.
  void StopAdmitting();
  // Unavailable after StopAdmitting().
  absl::Status CheckAdmitting() const;
  // Waits until no session is held, for at most `patience`; returns whether none is.
  bool WaitUntilQuiet(Duration patience);

  // Session::CheckIdle() for every session. The engine does so itself, often enough that a stream
  // ends within 1.25 idle timeouts.
  void CheckIdle();

  // Ends what is queued as Unavailable, and waits for reads and batches that have begun.
  void Stop();

  const Limits& limits() const { return limits_; }
  const Clock& clock() const { return clock_; }
  Observer& observer() const { return observer_; }
  const MemoryBudget& budget() const { return budget_; }
  // Null: no files are read.
  const WeightsDirectory* weights_directory() const { return weights_directory_; }
  std::span<Solver* const> solvers() const { return solvers_; }
  const std::string& fallback_reason() const { return fallback_reason_; }

 private:
  using Sessions = std::list<std::weak_ptr<Session>>;

  // Ends idle sessions and those whose solver is lost, and gives freed memory back to the kernel
  // once there has been none for a while.
  void Watch();

  const Limits limits_;
  const std::vector<Solver*> solvers_;
  const std::string fallback_reason_;
  const Clock& clock_;
  Observer& observer_;
  const WeightsDirectory* const weights_directory_;
  MemoryBudget budget_;
  Observer unobserved_;
  MemoryBudget norms_budget_;
  MemoryBudget reading_budget_;
  Dispatcher dispatcher_;
  std::optional<FileReader> reader_;  // these two only if there is a directory
  std::optional<FileServices> files_;

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
