#include "server/watched_solver.h"

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace tsenor::server {
namespace {

constexpr Pattern kPattern = {.n = 16, .m = 32};
constexpr int kEdge = 64;
constexpr int kBlocks = 4;

// Whether the canary's optimal mask keeps an entry: 16 in a row that move on from row to row.
bool IsKept(int row, int column) { return (3 * row + column) % kPattern.m < kPattern.n; }

// A question with one answer: kEdge x kEdge weights, of which those that the optimal mask keeps are
// greater by 0.2 at least, but for an offset of each row and of each column. These change the
// values of all masks by the same, but not which entries look great: somebody has to solve.
struct Canary {
  std::vector<float> weights;
  double value = 0;  // of the optimal mask
};

Canary MakeCanary() {
  std::mt19937 random(1);
  const auto uniform = [&random] { return static_cast<float>(random() % 1024) / 1024; };
  std::vector<float> of_column(kEdge);
  for (float& offset : of_column) offset = 4 * uniform();
  Canary canary;
  for (int row = 0; row < kEdge; ++row) {
    const float of_row = 4 * uniform();
    for (int column = 0; column < kEdge; ++column) {
      const bool kept = IsKept(row, column);
      const float weight = of_row + of_column[column] + (kept ? 1 + uniform() : 0.8f * uniform());
      canary.weights.push_back(weight);
      if (kept) canary.value += weight;
    }
  }
  return canary;
}

// OK, or DataLoss and what is wrong with an answer to `canary`.
absl::Status CheckAnswer(const Canary& canary, const MaskResult& answer) {
  for (int row = 0; row < kEdge; ++row) {
    for (int column = 0; column < kEdge; ++column) {
      const uint8_t byte = answer.mask[row * MaskRowBytes(kEdge) + column / 8];
      if ((byte >> (column % 8) & 1) == IsKept(row, column)) continue;
      return absl::DataLossError(
          absl::StrCat("its mask is wrong at row ", row, ", column ", column));
    }
  }
  const SolveStats& stats = answer.stats;
  if (stats.blocks != kBlocks || stats.blocks_proven != kBlocks ||
      std::fabs(stats.value - canary.value) > 1e-9 * canary.value) {
    return absl::DataLossError(absl::StrCat("it proves ", stats.blocks_proven, " of ", kBlocks,
                                            " blocks, with a value of ", stats.value,
                                            " instead of ", canary.value));
  }
  return absl::OkStatus();
}

}  // namespace

WatchedSolver::WatchedSolver(Solver& solver, const CanaryConfig& config, const Clock& clock,
                             Observer& observer)
    : solver_(solver), config_(config), clock_(clock), observer_(observer) {
  if (config.interval > Duration::zero()) thread_ = std::thread([this] { Watch(); });
}

WatchedSolver::~WatchedSolver() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ending_changed_.notify_all();
  thread_.join();
}

absl::Status WatchedSolver::health() const {
  if (absl::Status own = solver_.health(); !own.ok()) return own;
  const std::lock_guard lock(mutex_);
  if (lost_.ok() && waiting_since_.has_value() &&
      clock_.Now() - *waiting_since_ > config_.timeout) {
    lost_ = absl::UnavailableError(absl::StrCat(
        info().name, ": no good answer to a canary for ", Seconds(config_.timeout),
        " s: ", last_failure_.ok() ? "it hangs" : std::string(last_failure_.message())));
  }
  return lost_;
}

void WatchedSolver::Watch() {
  const Canary canary = MakeCanary();
  Problem problem;
  problem.pattern = kPattern;
  std::unique_lock lock(mutex_);
  while (!ending_ && lost_.ok()) {
    if (!waiting_since_.has_value()) waiting_since_ = clock_.Now();
    lock.unlock();
    const absl::StatusOr<MaskResult> answer =
        SolveMatrix(solver_, problem, canary.weights.data(), kEdge, kEdge);
    const absl::Status good = answer.ok() ? CheckAnswer(canary, *answer) : answer.status();
    if (good.ok()) observer_.OnCanary(info().name);
    lock.lock();
    last_failure_ = good;
    if (good.ok()) waiting_since_.reset();
    if (absl::IsDataLoss(good)) {
      lost_.Update(absl::UnavailableError(
          absl::StrCat(info().name, ": a wrong answer to a canary: ", good.message())));
    }
    ending_changed_.wait_for(lock, config_.interval, [this] { return ending_; });
  }
}

}  // namespace tsenor::server
