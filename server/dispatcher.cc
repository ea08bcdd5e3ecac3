#include "server/dispatcher.h"

#include <algorithm>
#include <utility>

#include "server/brief_lock.h"

namespace tsenor::server {
namespace {

// How many times max_batch_time a piece may take. As one, TSENOR on cores that others wanted, too,
// lost a quarter of its throughput: whoever fetches the next piece had only so long to get a core
// (tests/bench/service_core.py --only overload, 2026-11-30, 2 cores of an AMD EPYC).
constexpr int kBatchesInPiece = 8;

absl::Status ShuttingDown() {
  return absl::UnavailableError("the server is shutting down; retry elsewhere");
}

absl::Status NoSolverLeft() {
  return absl::UnavailableError("every device of this server has failed; retry elsewhere");
}

}  // namespace

Dispatcher::Dispatcher(std::span<Solver* const> solvers, const BatchConfig& config,
                       const Clock& clock, Observer& observer)
    : config_(config), clock_(clock), observer_(observer) {
  std::vector<Solver*> of_workers;
  for (Solver* solver : solvers) {
    of_workers.insert(of_workers.end(), std::max(1, solver->info().batches_in_flight), solver);
  }
  for (Solver* solver : solvers) solvers_.try_emplace(solver);
  for (Solver* solver : of_workers) {
    workers_.emplace_back([this, solver] { Work(*solver); });
  }
}

Dispatcher::~Dispatcher() { Stop(); }

void Dispatcher::Submit(std::unique_ptr<Piece> piece) {
  absl::Status refusal;
  {
    const auto lock = LockBriefly(mutex_);
    refusal = refusal_;
    if (refusal.ok()) {
      observer_.OnQueueChange(piece->elements(), piece->weight_bytes());
      queue_.Push(std::move(piece));
    }
  }
  if (refusal.ok()) return changed_.notify_one();
  observer_.OnDropped(DropReason::kShutdown);
  HandBack(std::move(piece), std::move(refusal));
}

void Dispatcher::DropDead() {
  const Time now = clock_.Now();
  std::vector<std::unique_ptr<Piece>> dead;
  {
    const auto lock = LockBriefly(mutex_);
    dead = queue_.TakeDead(now);
  }
  Drop(std::move(dead), now);
}

int64_t Dispatcher::MaxPieceElements(const Problem& problem) const {
  const auto lock = LockBriefly(mutex_);
  return ElementsInTime(cost_.seconds_per_element(problem),
                        kBatchesInPiece * config_.max_batch_time);
}

void Dispatcher::Stop() {
  Close(ShuttingDown());
  for (std::thread& worker : std::exchange(workers_, {})) worker.join();
  returner_.Stop();
}

void Dispatcher::Close(const absl::Status& why) {
  std::vector<std::unique_ptr<Piece>> left;
  {
    const auto lock = LockBriefly(mutex_);
    refusal_.Update(why);
    left = queue_.TakeAll();
  }
  changed_.notify_all();
  ReportTaken(left);
  for (std::unique_ptr<Piece>& piece : left) {
    observer_.OnDropped(DropReason::kShutdown);
    HandBack(std::move(piece), why);
  }
}

void Dispatcher::Work(Solver& solver) {
  std::unique_lock lock = LockBriefly(mutex_);
  ++idle_workers_;
  while (refusal_.ok() && solver.health().ok()) {
    const Time now = clock_.Now();
    const std::vector<QueueState> states = States(now);
    const BatchDecision decision = DecideBatch(states, idle_workers_, now, config_);
    switch (decision.action) {
      case BatchDecision::kSleep:
        changed_.wait(lock);
        break;
      case BatchDecision::kWait:
        changed_.wait_for(lock, decision.until - now);
        break;
      case BatchDecision::kLaunch: {
        auto [pieces, dead] = queue_.Take(decision.queue, decision.max_elements, now);
        // This worker may have been the one that knew when the rest falls due.
        if (queue_.pieces() > 0) changed_.notify_one();
        --idle_workers_;
        lock.unlock();
        Drop(std::move(dead), now);
        if (!pieces.empty()) SolveBatch(solver, std::move(pieces), decision.max_elements);
        lock.lock();
        ++idle_workers_;
        break;
      }
    }
  }
  --idle_workers_;
  if (solver.health().ok()) return;
  lock.unlock();
  changed_.notify_all();  // this worker may have taken the news that was meant for another
  CheckSolvers();
}

void Dispatcher::CheckSolvers() {
  std::vector<std::pair<Owners, absl::Status>> stranded;
  bool news = false, any_left = false;
  {
    const auto lock = LockBriefly(mutex_);
    for (auto& [solver, state] : solvers_) {
      const absl::Status health = solver->health();
      any_left |= health.ok();
      if (health.ok()) continue;
      if (!state.lost) observer_.OnSolverLost(solver->info().name);
      news |= !std::exchange(state.lost, true);
      for (Owners& owners : state.in_flight) stranded.emplace_back(std::move(owners), health);
    }
  }
  for (const auto& [owners, health] : stranded) {
    for (const std::shared_ptr<PieceOwner>& owner : owners) owner->OnSolverLost(health);
  }
  if (!news) return;
  changed_.notify_all();
  if (!any_left) Close(NoSolverLeft());
}

std::vector<QueueState> Dispatcher::States(Time now) const {
  std::vector<QueueState> states = queue_.states(now);
  const std::vector<const Problem*> problems = queue_.problems();
  for (size_t k = 0; k < states.size(); ++k) {
    states[k].seconds_per_element = cost_.seconds_per_element(*problems[k]);
  }
  return states;
}

void Dispatcher::NoteCost(const BatchReport& report) {
  if (!report.status.ok()) return;
  const auto lock = LockBriefly(mutex_);
  cost_.Record(report.problem, report.elements, report.seconds);
}

void Dispatcher::SolveBatch(Solver& solver, std::vector<std::unique_ptr<Piece>> pieces,
                            int64_t full_elements) {
  ReportTaken(pieces);
  BatchReport report;
  report.backend = solver.info().name;
  report.problem = pieces.front()->problem;
  report.pieces = static_cast<int64_t>(pieces.size());
  report.full_elements = full_elements;
  std::vector<Tile> tiles;
  tiles.reserve(pieces.size());
  Owners owners;
  const Time taken = clock_.Now();
  for (const std::unique_ptr<Piece>& piece : pieces) {
    report.elements += piece->elements();
    tiles.push_back(piece->tile());
    owners.push_back(piece->owner);
  }

  const auto in_flight = NoteBegin(solver, std::move(owners));
  report.status = solver.Solve({report.problem, tiles});
  const Time solved = clock_.Now();
  const Time began = NoteEnd(solver, in_flight, taken, solved);
  report.seconds = Seconds(solved - began);

  std::vector<double> queue_seconds, solve_seconds;
  for (const std::unique_ptr<Piece>& piece : pieces) {
    piece->taken = began;
    piece->solved = solved;
    // In floating point: nanoseconds times elements would overflow.
    piece->solve_share = std::chrono::duration_cast<Duration>(
        (solved - began) * (static_cast<double>(piece->elements()) / report.elements));
    piece->backend = report.backend;
    queue_seconds.push_back(Seconds(began - piece->completed));
    solve_seconds.push_back(Seconds(piece->solve_share));
    if (piece->owner->dead()) report.wasted_seconds += Seconds(piece->solve_share);
    if (!report.status.ok()) continue;
    for (const SolveStats& stats : piece->stats) report.stats += stats;
  }
  NoteCost(report);
  observer_.OnStages(Stage::kQueue, queue_seconds);
  observer_.OnStages(Stage::kSolve, solve_seconds);
  observer_.OnBatch(report);
  for (const std::unique_ptr<Piece>& piece : pieces) piece->ReleaseWeights();
  returner_.Return(std::move(pieces), report.status);
}

std::list<Dispatcher::Owners>::iterator Dispatcher::NoteBegin(Solver& solver, Owners owners) {
  const auto lock = LockBriefly(mutex_);
  std::list<Owners>& in_flight = solvers_.at(&solver).in_flight;
  return in_flight.insert(in_flight.end(), std::move(owners));
}

Time Dispatcher::NoteEnd(Solver& solver, std::list<Owners>::iterator owners, Time taken,
                         Time solved) {
  const auto lock = LockBriefly(mutex_);
  SolverState& state = solvers_.at(&solver);
  state.in_flight.erase(owners);
  const Time began = std::clamp(state.last_solved, taken, solved);
  state.last_solved = std::max(state.last_solved, solved);
  return began;
}

void Dispatcher::Drop(std::vector<std::unique_ptr<Piece>> pieces, Time now) {
  ReportTaken(pieces);
  for (std::unique_ptr<Piece>& piece : pieces) {
    const bool late = !piece->owner->dead() && piece->deadline <= now;
    observer_.OnDropped(late ? DropReason::kDeadline : DropReason::kCancelled);
    HandBack(std::move(piece),
             late ? absl::DeadlineExceededError("the deadline came before the tensor was solved")
                  : absl::CancelledError("the stream has ended"));
  }
}

void Dispatcher::ReportTaken(const std::vector<std::unique_ptr<Piece>>& pieces) {
  if (pieces.empty()) return;
  int64_t elements = 0, bytes = 0;
  for (const std::unique_ptr<Piece>& piece : pieces) {
    elements += piece->elements();
    bytes += piece->weight_bytes();
  }
  observer_.OnQueueChange(-elements, -bytes);
}

}  // namespace tsenor::server
