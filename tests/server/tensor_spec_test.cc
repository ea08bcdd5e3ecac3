#include "server/tensor_spec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "server/limits.h"

namespace tsenor::server {
namespace {

TensorSpec GoodSpec() {
  TensorSpec spec;
  spec.name = "layer";
  spec.rows = 64;
  spec.columns = 32;
  spec.problem.pattern = {16, 32};
  return spec;
}

struct BadSpec {
  const char* name;
  std::function<void(TensorSpec&)> spoil;
  std::vector<const char*> words;  // field, value, bound
};

const std::vector<BadSpec>& BadSpecs() {
  static const auto* specs = new std::vector<BadSpec>{
      {"NAboveM", [](TensorSpec& s) { s.problem.pattern.n = 33; }, {"pattern.n", "33", "[0", "32"}},
      {"NegativeN", [](TensorSpec& s) { s.problem.pattern.n = -1; }, {"pattern.n", "-1", "[0"}},
      {"ZeroM",
       [](TensorSpec& s) {
         s.problem.pattern = {0, 0};
       },
       {"pattern.m", "0", "[1, 128]"}},
      {"MAboveLimit",
       [](TensorSpec& s) {
         s.problem.pattern = {1, 129};
       },
       {"pattern.m", "129", "[1, 128]"}},
      {"RowsNotDivisible", [](TensorSpec& s) { s.rows = 65; }, {"shape[0]", "65", "32"}},
      {"ColumnsNotDivisible", [](TensorSpec& s) { s.columns = 33; }, {"shape[1]", "33", "32"}},
      {"NoRows", [](TensorSpec& s) { s.rows = 0; }, {"shape[0]", "0", "[1, "}},
      {"NoColumns", [](TensorSpec& s) { s.columns = 0; }, {"shape[1]", "0", "[1, "}},
      {"Huge",
       [](TensorSpec& s) {
         s.rows = s.columns = 1000000;
         s.problem.pattern = {2, 4};
       },
       {"shape", "1000000 x 1000000", "max_tensor_bytes", "68719476736"}},
      {"WideBlockRow",
       [](TensorSpec& s) {
         s.rows = 32;
         s.columns = 32 << 20;
       },
       {"shape[1]", "33554432", "max_block_row_bytes", "134217728"}},
      {"LongName", [](TensorSpec& s) { s.name.assign(1025, 'x'); }, {"name", "1025", "1024"}},
      {"NormsMissing",
       [](TensorSpec& s) { s.problem.score_kind = ScoreKind::kMagnitudeTimesColumnNorm; },
       {"column_norms", "0", "32"}},
      {"NormsUnasked", [](TensorSpec& s) { s.column_norms = {1}; }, {"column_norms", "1", "0"}},
      {"BadNorm",
       [](TensorSpec& s) {
         s.problem.score_kind = ScoreKind::kMagnitudeTimesColumnNorm;
         s.column_norms.assign(32, 1.0f);
         s.column_norms[7] = NAN;
       },
       {"column_norms[7]", "nan", ">= 0"}},
      {"Tau",
       [](TensorSpec& s) {
         s.problem.options.method = Method::kTsenor;
         s.problem.options.tsenor.tau = 501;
       },
       {"tsenor.tau", "501", "500"}},
      {"GapTolerance",
       [](TensorSpec& s) { s.problem.options.optimal.gap_tolerance = 0; },
       {"gap_tolerance", "0", "(0, 1]"}},
  };
  return *specs;
}

class BadSpecTest : public ::testing::TestWithParam<BadSpec> {};

TEST_P(BadSpecTest, IsRefusedWithFieldValueAndBound) {
  TensorSpec spec = GoodSpec();
  ASSERT_TRUE(ValidateTensor(spec, Limits()).ok());
  GetParam().spoil(spec);
  const absl::Status status = ValidateTensor(spec, Limits());
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  for (const char* word : GetParam().words) {
    EXPECT_NE(status.message().find(word), absl::string_view::npos)
        << "no \"" << word << "\" in: " << status.message();
  }
}

INSTANTIATE_TEST_SUITE_P(Table, BadSpecTest, ::testing::ValuesIn(BadSpecs()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(TensorSpec, UnusualButLegal) {
  TensorSpec spec = GoodSpec();
  spec.rows = spec.columns = 1;
  spec.problem.pattern = {1, 1};
  EXPECT_TRUE(ValidateTensor(spec, Limits()).ok());
  spec.problem.pattern = {0, 1};
  EXPECT_TRUE(ValidateTensor(spec, Limits()).ok());
  spec.problem.pattern = {128, 128};
  EXPECT_FALSE(ValidateTensor(spec, Limits()).ok());
  spec.edge = Edge::kPad;
  EXPECT_TRUE(ValidateTensor(spec, Limits()).ok());
}

TEST(TensorLayout, PiecesAreWholeBlockRowsThatFitTheirMemory) {
  Limits limits;
  for (int64_t columns : {1, 7, 32, 4096, 100000}) {
    for (int m : {1, 4, 32, 128}) {
      TensorSpec spec = GoodSpec();
      spec.rows = 128 * 128;
      spec.columns = columns;
      spec.problem.pattern = {0, m};
      spec.problem.dtype = DType::kFloat16;
      spec.edge = Edge::kPad;
      ASSERT_TRUE(ValidateTensor(spec, limits).ok());
      const TensorLayout layout(spec, limits);
      EXPECT_EQ(layout.rows_per_piece % m, 0);
      const int64_t block_rows = layout.rows_per_piece / m;
      const int64_t cost = layout.rows_per_piece * (layout.row_bytes + layout.mask_row_bytes) +
                           block_rows * static_cast<int64_t>(sizeof(SolveStats));
      EXPECT_TRUE(cost <= limits.piece_bytes || block_rows == 1);
      EXPECT_LE(cost, limits.memory_budget_bytes);
      EXPECT_LE(layout.rows_per_piece * layout.mask_row_bytes, limits.max_message_bytes / 2 + 256);
    }
  }
}

TEST(TensorLayout, NoPieceIsLargerThanItsTensor) {
  const TensorLayout layout(GoodSpec(), Limits());
  EXPECT_EQ(layout.rows_per_piece, 64);
  EXPECT_EQ(layout.total_bytes, 64 * 32 * 4);
  EXPECT_EQ(layout.block_rows, 2);
}

TEST(Limits, DefaultsAreValid) { EXPECT_TRUE(ValidateLimits(Limits()).ok()); }

TEST(Limits, ContradictionsNameTheFlag) {
  Limits limits;
  limits.piece_bytes = limits.memory_budget_bytes;
  EXPECT_EQ(ValidateLimits(limits).message(),
            "piece-bytes is 1073741824; it must be in [1, 8388608]");
  limits = Limits();
  limits.memory_budget_bytes = 0;
  EXPECT_NE(ValidateLimits(limits).message().find("memory-budget is 0"), absl::string_view::npos);
  limits = Limits();
  limits.idle_timeout = std::chrono::seconds(-1);
  EXPECT_NE(ValidateLimits(limits).message().find("idle-timeout"), absl::string_view::npos);
}

}  // namespace
}  // namespace tsenor::server
