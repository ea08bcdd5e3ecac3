// The flags that say how masks are found, and their translation to the API.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tsenor/v1/mask_service.pb.h"

namespace CLI {
class App;
}  // namespace CLI

namespace tsenor::cli {

// A method's name and its options. As typed; every value has been checked for its form.
struct MethodFlags {
  std::string method = "optimal";
  std::optional<double> gap_tolerance;
  std::optional<double> tau;
  std::optional<uint32_t> iterations;
  std::optional<uint32_t> swaps;
  std::optional<uint32_t> samples;
  std::optional<uint64_t> seed;
};

// Names of the methods, as --method has them.
std::vector<std::string> MethodNames();

// Adds the options; wrong values are usage errors.
void AddMethodFlags(CLI::App& command, MethodFlags& flags);

// A flag of one method is refused with another. Errors: InvalidArgument.
absl::Status CheckMethodFlags(const MethodFlags& flags);

// Sets method and options. REQUIRES: CheckMethodFlags() accepts the flags.
void SetMethod(const MethodFlags& flags, v1::TensorHeader& header);

// The lines that keep N with this method, if these are not all: "rows", "columns", else "".
std::string OneSideOf(const std::string& method);

}  // namespace tsenor::cli
