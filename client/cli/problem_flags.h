// The flags that say what is to be solved, and their translation to the API.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tsenor/v1/types.pb.h"

namespace CLI {
class App;
}  // namespace CLI

namespace tsenor::cli {

// Which tensors, which pattern, which scores. As typed; every value has been checked for its form.
struct ProblemFlags {
  std::string pattern;  // "N:M"
  std::string edge = "refuse";
  std::string scores = "magnitude";
  std::string include;  // regular expressions, empty: not given
  std::string exclude;
  int priority = 0;

  bool pad() const { return edge == "pad"; }
};

// The largest M of the solver library and of every server.
inline constexpr uint32_t kLargestM = 128;

// Parses "N:M", in plain digits without sign, space or leading zero, so that equal patterns have
// equal texts. Errors: InvalidArgument unless 0 <= N <= M and 1 <= M <= kLargestM.
absl::StatusOr<v1::Pattern> ParsePattern(const std::string& text);

// Adds --priority, of which every server knows those from -4 to 4.
void AddPriorityFlag(CLI::App& command, int& priority);

// Adds the options; wrong values are usage errors.
void AddProblemFlags(CLI::App& command, ProblemFlags& flags);

}  // namespace tsenor::cli
