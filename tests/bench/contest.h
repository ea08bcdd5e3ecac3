// Times of several programs for the same work on a machine that others use too.
#pragma once

#include <functional>
#include <vector>

namespace tsenor {

// Runs every contestant once, in turn, `rounds` times, and returns the seconds of the fastest run
// of each: what the machine can do when nothing else runs. In turn, so that a slow minute of the
// machine is a slow minute for all.
std::vector<double> FastestSecondsInTurn(int rounds,
                                         const std::vector<std::function<void()>>& contestants);

}  // namespace tsenor
