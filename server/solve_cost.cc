#include "server/solve_cost.h"

namespace tsenor::server {
namespace {

// What a batch counts once another one has come: three quarters, so that the last four make up two
// thirds of the sum.
constexpr double kMemory = 0.75;

}  // namespace

void SolveCost::Record(const Problem& problem, int64_t elements, double seconds) {
  // Those in use come back with their next batch.
  if (sums_.size() == kMaxProblems && !sums_.contains(problem)) sums_.clear();
  Sums& sums = sums_[problem];
  sums.elements = kMemory * sums.elements + static_cast<double>(elements);
  sums.seconds = kMemory * sums.seconds + seconds;
}

double SolveCost::seconds_per_element(const Problem& problem) const {
  const auto found = sums_.find(problem);
  return found == sums_.end() ? 0 : found->second.seconds / found->second.elements;
}

}  // namespace tsenor::server
