// From queue to solver.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "server/batch_policy.h"
#include "server/clock.h"
#include "server/observer.h"
#include "server/piece.h"
#include "server/request_queue.h"
#include "server/solve_cost.h"
#include "solver/solver.h"

namespace tsenor::server {

// Workers that form batches from the queue, as batch_policy says, and solve them: for each solver
// as many as it usefully keeps in flight (SolverInfo::batches_in_flight). The workers of a solver
// that is lost (Solver::health()) end; once none are left, all work goes back as Unavailable.
//
// Invariant: every submitted piece goes back to its owner exactly once. Owns queue and threads; the
// solvers, the clock and the observer are the caller's and outlive it. Thread-safe.
class Dispatcher final : public PieceScheduler {
 public:
  // Starts the workers. REQUIRES: at least one solver.
  Dispatcher(std::span<Solver* const> solvers, const BatchConfig& config, const Clock& clock,
             Observer& observer);
  // Stops.
  ~Dispatcher() override;

  // After Stop(), and once no solver is left, the piece goes straight back with Unavailable.
  void Submit(std::unique_ptr<Piece> piece) override;
  void DropDead() override;

  // Waits for the batches that are being solved, hands back what is queued with Unavailable, and
  // ends the workers. REQUIRES: not called from a worker (from PieceOwner::OnPieceDone()).
  void Stop();

 private:
  void Work(Solver& solver);
  // The queues, with what their problems cost. REQUIRES: mutex_ is held.
  std::vector<QueueState> States(Time now) const;
  // Solves one batch and hands its pieces back. `full_elements`: of a full batch.
  void SolveBatch(Solver& solver, std::vector<std::unique_ptr<Piece>> pieces,
                  int64_t full_elements);
  // Counts and hands back pieces that no solver saw.
  void Drop(std::vector<std::unique_ptr<Piece>> pieces, Time now);
  // From now on no piece is accepted, and no batch begun; what is queued is handed back.
  void Close(const absl::Status& why);
  // Takes note of what a batch has cost.
  void NoteCost(const BatchReport& report);
  // When `solver` began on a batch that was `taken` and is `solved`: not before it had solved the
  // last one. What it keeps in flight beside that waits for the device, as if in the queue.
  Time BeganAt(const Solver& solver, Time taken, Time solved);
  // Takes what came out of the queue off the observer's books.
  void ReportTaken(const std::vector<std::unique_ptr<Piece>>& pieces);

  const BatchConfig config_;
  const Clock& clock_;
  Observer& observer_;

  std::mutex mutex_;
  std::condition_variable changed_;              // queue_ or refusal_; or a worker ends
  RequestQueue queue_{config_.priority_ageing};  // guarded by mutex_
  SolveCost cost_;                               // guarded by mutex_
  int idle_workers_ = 0;                         // guarded by mutex_
  int workers_left_ = 0;                         // whose solver is not lost; guarded by mutex_
  std::map<const Solver*, Time> last_solved_;    // guarded by mutex_
  absl::Status refusal_;  // why pieces go straight back, or OK; guarded by mutex_

  std::vector<std::thread> workers_;  // set by the constructor, emptied by Stop()
};

}  // namespace tsenor::server
