#include "client/cli/problem_flags.h"

#include <re2/re2.h>

#include <CLI/CLI.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/cli/command.h"

namespace tsenor::cli {
namespace {

// Validators in CLI11's form: an empty string means that the value is good.
std::string CheckPattern(const std::string& text) {
  const absl::StatusOr<v1::Pattern> pattern = ParsePattern(text);
  return pattern.ok() ? "" : std::string(pattern.status().message());
}

std::string CheckExpression(const std::string& text) {
  const RE2 expression(text, RE2::Quiet);
  return expression.ok() ? "" : "not a regular expression: " + expression.error();
}

std::string CheckScores(const std::string& text) {
  constexpr char kWanda[] = "wanda:";
  if (text == "magnitude" || text == "given") return "";
  if (text.rfind(kWanda, 0) == 0 && text.size() > sizeof(kWanda) - 1) return "";
  return "scores must be magnitude, given or wanda:FILE.safetensors, not '" + text + "'";
}

}  // namespace

absl::StatusOr<v1::Pattern> ParsePattern(const std::string& text) {
  const size_t colon = text.find(':');
  uint32_t n = 0;
  uint32_t m = 0;
  if (colon == std::string::npos || !absl::SimpleAtoi(text.substr(0, colon), &n) ||
      !absl::SimpleAtoi(text.substr(colon + 1), &m) || m == 0 || n > m || m > kLargestM ||
      text != absl::StrCat(n, ":", m)) {
    return absl::InvalidArgumentError(
        absl::StrCat("pattern must be N:M with 0 <= N <= M and 1 <= M <= ", kLargestM,
                     ", in plain digits, not '", text, "'"));
  }
  v1::Pattern pattern;
  pattern.set_n(n);
  pattern.set_m(m);
  return pattern;
}

void AddPriorityFlag(CLI::App& command, int& priority) {
  command
      .add_option("--priority", priority,
                  "How urgent the tensors are, -4 to 4: higher ones go first where tensors wait")
      ->envname("TSENOR_PRIORITY")
      ->check(CLI::Range(-4, 4))
      ->capture_default_str();
}

void AddProblemFlags(CLI::App& command, ProblemFlags& flags) {
  command
      .add_option("--pattern", flags.pattern, "N:M: keep N of M in every row and column of a block")
      ->required()
      ->envname("TSENOR_PATTERN")
      ->check(CLI::Validator(CheckPattern, "N:M"));
  command
      .add_option("--scores", flags.scores,
                  "Worth of a weight: magnitude, given (the tensor is the scores), or "
                  "wanda:FILE.safetensors (|w| times its column's norm: an F32 vector under the "
                  "tensor's own name)")
      ->envname("TSENOR_SCORES")
      ->check(CLI::Validator(CheckScores, "NAME"))
      ->capture_default_str();
  command
      .add_option("--edge", flags.edge, "A shape that M does not divide: refuse (skip it) or pad")
      ->envname("TSENOR_EDGE")
      ->check(CLI::IsMember({"refuse", "pad"}))
      ->capture_default_str();
  command
      .add_option("--include", flags.include,
                  "Only tensors whose name contains a match of this (RE2)")
      ->envname("TSENOR_INCLUDE")
      ->check(CLI::Validator(CheckExpression, "RE"));
  command
      .add_option("--exclude", flags.exclude, "No tensor whose name contains a match of this (RE2)")
      ->envname("TSENOR_EXCLUDE")
      ->check(CLI::Validator(CheckExpression, "RE"));
}

}  // namespace tsenor::cli
