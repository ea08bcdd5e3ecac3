// From queue to solver.
#pragma once

#include <condition_variable>
#include <list>
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
#include "server/piece_returner.h"
#include "server/request_queue.h"
#include "server/solve_cost.h"
#include "solver/solver.h"

namespace tsenor::server {

// Workers that form batches from the queue, as batch_policy says, and solve them: for each solver
// as many as it usefully keeps in flight (SolverInfo::batches_in_flight). A solver that is lost
// (Solver::health()) gets no more work; once none is left, all work goes back as Unavailable.
//
// Invariant: every submitted piece goes back to its owner exactly once, but for those of a batch in
// which a lost solver hangs: their owners are told. Owns queue and threads; the solvers, the clock
// and the observer are the caller's and outlive it. Thread-safe.
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
  // Those that take eight times BatchConfig::max_batch_time.
  int64_t MaxPieceElements(const Problem& problem) const override;

  // Takes solvers that are lost out. Workers see to that, but not while they wait for one that
  // hangs: somebody has to call this now and then.
  void CheckSolvers();

  // Waits for the batches that are being solved and for their way back, hands back what is queued
  // with Unavailable, and ends the workers: never, if a solver hangs. REQUIRES: not called from a
  // worker (from PieceOwner::OnPieceDone()).
  void Stop();

 private:
  using Owners = std::vector<std::shared_ptr<PieceOwner>>;
  // What is known of a solver.
  struct SolverState {
    bool lost = false;
    Time last_solved;             // when it was last done with a batch
    std::list<Owners> in_flight;  // whose pieces it has, by batch, until they are told of its loss
  };

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
  // Takes note that `solver` has a batch, and is done with it. Returns when it began on what was
  // `taken` and is `solved`: not before it had solved the last batch. What it keeps in flight
  // beside that waits for the device, as if in the queue.
  std::list<Owners>::iterator NoteBegin(Solver& solver, Owners owners);
  Time NoteEnd(Solver& solver, std::list<Owners>::iterator owners, Time taken, Time solved);
  // Takes what came out of the queue off the observer's books.
  void ReportTaken(const std::vector<std::unique_ptr<Piece>>& pieces);

  const BatchConfig config_;
  const Clock& clock_;
  Observer& observer_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;              // queue_ or refusal_; or a worker ends
  RequestQueue queue_{config_.priority_ageing};  // guarded by mutex_
  SolveCost cost_;                               // guarded by mutex_
  int idle_workers_ = 0;                         // guarded by mutex_
  std::map<Solver*, SolverState> solvers_;       // guarded by mutex_
  absl::Status refusal_;  // why pieces go straight back, or OK; guarded by mutex_

  PieceReturner returner_;            // of what the workers have solved
  std::vector<std::thread> workers_;  // set by the constructor, emptied by Stop()
};

}  // namespace tsenor::server
