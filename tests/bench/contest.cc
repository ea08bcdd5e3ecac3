#include "tests/bench/contest.h"

#include <algorithm>
#include <chrono>
#include <limits>

namespace tsenor {

std::vector<double> FastestSecondsInTurn(int rounds,
                                         const std::vector<std::function<void()>>& contestants) {
  std::vector<double> fastest(contestants.size(), std::numeric_limits<double>::infinity());
  for (int round = 0; round < rounds; ++round) {
    for (size_t k = 0; k < contestants.size(); ++k) {
      const auto start = std::chrono::steady_clock::now();
      contestants[k]();
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      fastest[k] = std::min(fastest[k], seconds.count());
    }
  }
  return fastest;
}

}  // namespace tsenor
