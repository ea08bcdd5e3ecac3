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
      {"PriorityBelowAll", [](TensorSpec& s) { s.priority = -5; }, {"priority", "-5", "[-4, 4]"}},
      {"PriorityAboveAll", [](TensorSpec& s) { s.priority = 5; }, {"priority", "5", "[-4, 4]"}},
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

// The file that holds GoodSpec()'s 8192 bytes.
BadSpec BadFile(const char* name, std::function<void(FileRange&)> spoil,
                std::vector<const char*> words) {
  return {name,
          [spoil = std::move(spoil)](TensorSpec& spec) {
            spec.file = {.path = "a/b", .offset = 8, .size = 8192, .file_bytes = 9000};
            spoil(*spec.file);
          },
          std::move(words)};
}

const std::vector<BadSpec>& BadFiles() {
  static const auto* specs = new std::vector<BadSpec>{
      BadFile("NoPath", [](FileRange& f) { f.path = ""; }, {"file.path", "0 bytes", "4095"}),
      BadFile("LongPath", [](FileRange& f) { f.path.assign(4096, 'x'); },
              {"file.path", "4096", "4095"}),
      BadFile("ZeroInPath", [](FileRange& f) { f.path[1] = 0; }, {"file.path", "byte 0"}),
      BadFile("AbsolutePath", [](FileRange& f) { f.path = "/a"; }, {"file.path", "/a", "relative"}),
      BadFile("Traversal", [](FileRange& f) { f.path = "a/../../b"; },
              {"file.path", "a/../../b", "without \"..\""}),
      BadFile("UpAtTheEnd", [](FileRange& f) { f.path = "a/.."; }, {"file.path", "a/.."}),
      BadFile("Size", [](FileRange& f) { f.size = 8191; }, {"file.size", "8191", "8192"}),
      BadFile("BeyondTheEnd", [](FileRange& f) { f.offset = 809; },
              {"file.offset", "809", "file.size", "8192", "file.file_bytes", "9000"}),
      BadFile("OffsetThatOverflows", [](FileRange& f) { f.offset = ~uint64_t{0} - 8000; },
              {"file.offset", "18446744073709543615", "9000"}),
      BadFile("FileSmallerThanTheTensor", [](FileRange& f) { f.file_bytes = 100; },
              {"file.size", "8192", "100"}),
      BadFile("FileBeyondAnyFile", [](FileRange& f) { f.file_bytes = uint64_t{1} << 63; },
              {"file.file_bytes", "9223372036854775808", "9223372036854775807"}),
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

INSTANTIATE_TEST_SUITE_P(Files, BadSpecTest, ::testing::ValuesIn(BadFiles()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(TensorSpec, FilesMayEndWithTheTensorAndHaveDotsInTheirNames) {
  TensorSpec spec = GoodSpec();
  spec.file = {.path = "..a/b..c/...", .offset = 808, .size = 8192, .file_bytes = 9000};
  EXPECT_TRUE(ValidateTensor(spec, Limits()).ok());
}

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
