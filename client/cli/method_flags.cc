#include "client/cli/method_flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <limits>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"

namespace tsenor::cli {
namespace {

struct MethodName {
  const char* text;
  v1::Method method;
  const char* one_side = "";
};

constexpr MethodName kMethods[] = {
    {"optimal", v1::METHOD_OPTIMAL},
    {"tsenor", v1::METHOD_TSENOR},
    {"two-approx", v1::METHOD_TWO_APPROX},
    {"bi-nm", v1::METHOD_BI_NM},
    {"max-random", v1::METHOD_MAX_RANDOM},
    {"row-nm", v1::METHOD_ROW_NM, "rows"},
    {"column-nm", v1::METHOD_COLUMN_NM, "columns"},
};

const MethodName* Find(const std::string& text) {
  return std::find_if(std::begin(kMethods), std::end(kMethods),
                      [&text](const MethodName& name) { return name.text == text; });
}

}  // namespace

std::vector<std::string> MethodNames() {
  std::vector<std::string> names;
  for (const MethodName& name : kMethods) names.emplace_back(name.text);
  return names;
}

void AddMethodFlags(CLI::App& command, MethodFlags& flags) {
  command
      .add_option("--method", flags.method,
                  "optimal (proven); to compare with: tsenor (arXiv 2505.23949), two-approx "
                  "(greedy), bi-nm (rows, then columns), max-random; not transposable: row-nm, "
                  "column-nm")
      ->envname("TSENOR_METHOD")
      ->check(CLI::IsMember(MethodNames()))
      ->capture_default_str();
  command.add_option("--gap-tolerance", flags.gap_tolerance, "optimal: relative gap to refine to")
      ->check(Within(0, 1))
      ->envname("TSENOR_GAP_TOLERANCE");
  command.add_option("--tau", flags.tau, "tsenor: regularisation strength [server: 200]")
      ->check(Within(0, std::numeric_limits<double>::max()))
      ->envname("TSENOR_TAU");
  command.add_option("--iterations", flags.iterations, "tsenor: Dykstra iterations [server: 300]")
      ->envname("TSENOR_ITERATIONS");
  command.add_option("--swaps", flags.swaps, "tsenor: greatest number of swaps [server: 10]")
      ->envname("TSENOR_SWAPS");
  command.add_option("--samples", flags.samples, "max-random: masks to choose from [server: 1000]")
      ->envname("TSENOR_SAMPLES");
  command.add_option("--seed", flags.seed, "max-random: seed of the masks [server: 0]")
      ->envname("TSENOR_SEED");
}

absl::Status CheckMethodFlags(const MethodFlags& flags) {
  const struct {
    bool given;
    const char* flag;
    const char* method;
  } rules[] = {
      {flags.gap_tolerance.has_value(), "--gap-tolerance", "optimal"},
      {flags.tau.has_value(), "--tau", "tsenor"},
      {flags.iterations.has_value(), "--iterations", "tsenor"},
      {flags.swaps.has_value(), "--swaps", "tsenor"},
      {flags.samples.has_value(), "--samples", "max-random"},
      {flags.seed.has_value(), "--seed", "max-random"},
  };
  for (const auto& [given, flag, method] : rules) {
    if (!given || flags.method == method) continue;
    return absl::InvalidArgumentError(absl::StrCat(flag, " needs --method ", method));
  }
  return absl::OkStatus();
}

void SetMethod(const MethodFlags& flags, v1::TensorHeader& header) {
  header.set_method(Find(flags.method)->method);
  if (flags.gap_tolerance) header.mutable_optimal()->set_gap_tolerance(*flags.gap_tolerance);
  if (flags.tau) header.mutable_tsenor()->set_tau(*flags.tau);
  if (flags.iterations) header.mutable_tsenor()->set_iterations(*flags.iterations);
  if (flags.swaps) header.mutable_tsenor()->set_swaps(*flags.swaps);
  if (flags.samples) header.mutable_max_random()->set_samples(*flags.samples);
  if (flags.seed) header.mutable_max_random()->set_seed(*flags.seed);
}

std::string OneSideOf(const std::string& method) {
  const MethodName* name = Find(method);
  return name == std::end(kMethods) ? "" : name->one_side;
}

}  // namespace tsenor::cli
