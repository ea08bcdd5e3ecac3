// `tsenor` against `tsenor-server`, on real weights: all that it writes agrees with itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "client/checkpoint.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/client_program.h"
#include "tests/support/server_program.h"

namespace tsenor {
namespace {

using ::testing::HasSubstr;

constexpr char kRealWeights[] = TSENOR_SOURCE_DIR "/tests/data/minilm.safetensors";
// The two 384 x 384 ones: enough for what is compared here.
constexpr char kSquare[] = "attention";

class CliTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(server_.address(), ""); }

  ProgramOutcome Run(const std::vector<std::string>& arguments) const {
    return testing::RunClient(server_.address(), arguments);
  }

  // `tsenor mask` with 16:32; fails the test if it fails.
  void Mask(const std::string& input, const std::string& out,
            const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"mask", input, "--out", out, "--pattern", "16:32"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramOutcome outcome = Run(arguments);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }

  ProgramOutcome Verify(const std::string& weights, const std::string& masks,
                        const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"verify", weights, masks, "--pattern", "16:32"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(arguments);
  }

  testing::ServerProgram server_;
  const TemporaryDirectory directory_;
  const std::string out_ = directory_ / "out.safetensors";
};

client::SafetensorsFile Open(const std::string& path) {
  auto file = client::SafetensorsFile::Open(path);
  if (!file.ok()) {
    ADD_FAILURE() << file.status();
    std::abort();
  }
  return *std::move(file);
}

std::string BytesOf(const client::SafetensorsFile& file, const client::TensorInfo& tensor) {
  const auto data = file.Data(tensor);
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

TEST_F(CliTest, MasksOfRealWeightsAreFeasibleAndProvenOptimal) {
  const std::string report = directory_ / "report.json";
  Mask(kRealWeights, out_, {"--report", report});
  const auto json = nlohmann::json::parse(ReadWholeFile(report));
  ASSERT_EQ(json["tensors"].size(), 4u);
  for (const auto& tensor : json["tensors"]) {
    EXPECT_LE(tensor["relative_gap"], 1e-6) << tensor["name"];
    EXPECT_EQ(tensor["blocks"], tensor["blocks_proven_optimal"]);
    EXPECT_EQ(tensor["kept"].get<uint64_t>() * 2,
              tensor["rows"].get<uint64_t>() * tensor["columns"].get<uint64_t>());
  }
  const ProgramOutcome verified = Verify(kRealWeights, out_);
  EXPECT_EQ(verified.exit_code, 0) << verified.err;
  EXPECT_THAT(verified.out, HasSubstr("yes"));
  EXPECT_THAT(verified.out, ::testing::Not(HasSubstr("NO")));
}

TEST_F(CliTest, ChunksAreNoLongerThanTheServerTakes) {
  testing::ServerProgram small({"--max-message-bytes", "64KiB", "--piece-bytes", "32KiB"});
  const ProgramOutcome outcome = testing::RunClient(
      small.address(), {"mask", kRealWeights, "--include", kSquare, "--out", out_, "--pattern",
                        "16:32", "--transfer", "stream", "--priority", "2"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(Verify(kRealWeights, out_, {"--include", kSquare}).exit_code, 0);
}

TEST_F(CliTest, AWrongPriorityIsAUsageError) {
  for (const char* priority : {"5", "-5", "high"}) {
    EXPECT_EQ(
        Run({"mask", kRealWeights, "--out", out_, "--pattern", "16:32", "--priority", priority})
            .exit_code,
        2);
  }
}

TEST_F(CliTest, PackedDenseAndAppliedAgree) {
  const std::string dense_path = directory_ / "dense.safetensors";
  const std::string applied_path = directory_ / "applied.safetensors";
  Mask(kRealWeights, out_, {"--include", kSquare});
  Mask(kRealWeights, dense_path, {"--include", kSquare, "--dense"});
  Mask(kRealWeights, applied_path, {"--include", kSquare, "--apply"});
  EXPECT_EQ(Verify(kRealWeights, dense_path, {"--include", kSquare}).exit_code, 0);

  const auto weights = Open(kRealWeights);
  const auto packed = Open(out_);
  const auto dense = Open(dense_path);
  const auto applied = Open(applied_path);
  EXPECT_EQ(applied.header().metadata, weights.header().metadata);
  ASSERT_EQ(applied.header().tensors.size(), weights.header().tensors.size());
  size_t masked = 0;
  for (const client::TensorInfo& tensor : weights.header().tensors) {
    const std::string before = BytesOf(weights, tensor);
    const std::string after = BytesOf(applied, *applied.Find(tensor.name));
    const client::TensorInfo* bits_info = packed.Find(tensor.name);
    if (bits_info == nullptr) {
      EXPECT_EQ(before, after) << tensor.name;
      continue;
    }
    ++masked;
    const std::string bits = BytesOf(packed, *bits_info);
    const std::string bytes = BytesOf(dense, *dense.Find(tensor.name));
    ASSERT_EQ(dense.Find(tensor.name)->shape, tensor.shape);
    std::string expected = before;
    const size_t width = before.size() / bytes.size();
    for (size_t i = 0; i < bytes.size(); ++i) {
      ASSERT_EQ(bits[i / 8] >> (i % 8) & 1, bytes[i]);  // 384 columns: rows are whole bytes
      if (bytes[i] == 0) std::memset(expected.data() + i * width, 0, width);
    }
    EXPECT_EQ(after, expected) << tensor.name;
  }
  EXPECT_EQ(masked, 2u);
}

TEST_F(CliTest, AShardedDirectoryStaysOneWhenApplied) {
  const std::string model = directory_ / "model";
  const std::string pruned = directory_ / "pruned";
  std::filesystem::create_directory(model);
  WriteCheckpointFile(model + "/one.safetensors", {GaussianMatrix("a", 64, 32)},
                      {{"format", "pt"}});
  WriteCheckpointFile(model + "/two.safetensors",
                      {GaussianMatrix("b", 32, 96, 2), {"bias", "F32", {2}, "12345678"}});
  WriteWholeFile(
      model + "/model.safetensors.index.json",
      R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors","bias":"two.safetensors"}})");
  WriteWholeFile(model + "/config.json", "{}");
  WriteWholeFile(model + "/pytorch_model.bin", "dense weights");
  Mask(model, out_);
  EXPECT_EQ(Verify(model, out_).exit_code, 0);
  Mask(model, pruned, {"--apply"});

  EXPECT_EQ(ReadWholeFile(pruned + "/config.json"), "{}");
  EXPECT_FALSE(std::filesystem::exists(pruned + "/pytorch_model.bin"));
  const auto checkpoint = client::Checkpoint::Open(pruned);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  ASSERT_EQ(checkpoint->shards().size(), 2u);
  EXPECT_EQ(checkpoint->shards()[0].header().metadata.at("format"), "pt");
  EXPECT_EQ(BytesOf(checkpoint->shards()[1], *checkpoint->shards()[1].Find("bias")), "12345678");
  const std::string a = BytesOf(checkpoint->shards()[0], *checkpoint->shards()[0].Find("a"));
  int zeros = 0;
  for (size_t i = 0; i < a.size(); i += 4) zeros += a.compare(i, 4, std::string(4, '\0')) == 0;
  EXPECT_EQ(zeros, 64 * 32 / 2);
  // Nothing else is left beside them, and a second run does not overwrite the directory.
  EXPECT_EQ(directory_.Names().size(), 3u);
  const ProgramOutcome again =
      Run({"mask", model, "--out", pruned, "--pattern", "16:32", "--apply"});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.err, HasSubstr("not an empty directory"));
}

TEST_F(CliTest, PaddedShapesAndWandaScoresVerify) {
  const std::string weights = directory_ / "odd.safetensors";
  const std::string norms = directory_ / "norms.safetensors";
  WriteCheckpointFile(weights, {GaussianMatrix("w", 50, 70)});
  TestTensor column_norms = GaussianMatrix("w", 70, 1, 3);
  column_norms.shape = {70};
  for (size_t i = 3; i < column_norms.bytes.size(); i += 4) {
    column_norms.bytes[i] = static_cast<char>(column_norms.bytes[i] & 0x7f);  // |norm|
  }
  WriteCheckpointFile(norms, {column_norms});
  const std::vector<std::string> flags = {"--edge", "pad", "--scores", "wanda:" + norms};
  Mask(weights, out_, flags);
  const ProgramOutcome verified = Verify(weights, out_, flags);
  EXPECT_EQ(verified.exit_code, 0) << verified.out << verified.err;
  // The same mask is not the best one for plain magnitudes.
  const ProgramOutcome magnitudes = Verify(weights, out_, {"--edge", "pad"});
  EXPECT_EQ(magnitudes.exit_code, 0);
  EXPECT_THAT(magnitudes.out, HasSubstr("e-0"));
}

// The two 8-bit types. Bits 6 down to `fraction_bits` are the exponent.
struct Float8 {
  const char* dtype;
  int fraction_bits;
  int bias;
};
constexpr Float8 kFloat8s[] = {{"F8_E4M3", 3, 7}, {"F8_E5M2", 2, 15}};

// A matrix of finite values of the type, subnormals and both zeros among them.
TestTensor Float8Matrix(const Float8& type, uint64_t rows, uint64_t columns) {
  TestTensor tensor{"w", type.dtype, {rows, columns}, {}};
  for (uint32_t k = 0; k < rows * columns; ++k) {
    tensor.bytes += static_cast<char>((k * 2654435761u >> 24) & (k % 5 == 0 ? 0x83 : 0xbb));
  }
  return tensor;
}

// The same values in float32.
TestTensor AsFloat32(const Float8& type, const TestTensor& narrow) {
  TestTensor wide{narrow.name, "F32", narrow.shape, {}};
  for (const char byte : narrow.bytes) {
    const int magnitude = byte & 0x7f;
    const int exponent = magnitude >> type.fraction_bits;
    const int implicit = exponent > 0 ? 1 << type.fraction_bits : 0;
    const int significand = implicit + magnitude % (1 << type.fraction_bits);
    const float value = static_cast<float>(
        std::ldexp(significand, std::max(exponent, 1) - type.bias - type.fraction_bits));
    const auto bytes =
        std::bit_cast<std::array<char, 4>>(std::copysign(value, byte < 0 ? -1.f : 1.f));
    wide.bytes.append(bytes.data(), bytes.size());
  }
  return wide;
}

TEST_F(CliTest, Float8WeightsGetTheMaskOfTheirFloat32ValuesAndStayFloat8) {
  for (const Float8& type : kFloat8s) {
    SCOPED_TRACE(type.dtype);
    const std::string narrow_path = directory_ / type.dtype;
    const std::string wide_path = narrow_path + ".wide";
    const std::string wide_masks = narrow_path + ".masks";
    const std::string applied_path = narrow_path + ".applied";
    const TestTensor narrow = Float8Matrix(type, 64, 96);
    WriteCheckpointFile(narrow_path, {narrow});
    WriteCheckpointFile(wide_path, {AsFloat32(type, narrow)});
    Mask(narrow_path, out_);
    Mask(wide_path, wide_masks);
    Mask(narrow_path, applied_path, {"--apply"});
    const auto masks = Open(out_);
    const std::string bits = BytesOf(masks, *masks.Find("w"));
    const auto of_wide = Open(wide_masks);
    EXPECT_EQ(bits, BytesOf(of_wide, *of_wide.Find("w")));
    const ProgramOutcome verified = Verify(narrow_path, out_);
    EXPECT_EQ(verified.exit_code, 0) << verified.err;
    EXPECT_EQ(Verify(wide_path, out_).out, verified.out);

    std::string expected = narrow.bytes;
    for (size_t i = 0; i < expected.size(); ++i) {
      if ((bits[i / 8] >> (i % 8) & 1) == 0) expected[i] = 0;
    }
    const auto applied = Open(applied_path);
    EXPECT_EQ(applied.Find("w")->dtype, type.dtype);
    EXPECT_EQ(BytesOf(applied, *applied.Find("w")), expected);
  }
}

TEST_F(CliTest, AFloat8NanIsRefusedWithItsPosition) {
  const std::string weights = directory_ / "nan.safetensors";
  for (const Float8& type : kFloat8s) {
    TestTensor matrix = Float8Matrix(type, 32, 32);
    matrix.bytes[5 * 32 + 9] = static_cast<char>(0xff);
    WriteCheckpointFile(weights, {matrix});
    const ProgramOutcome outcome = Run({"mask", weights, "--out", out_, "--pattern", "16:32"});
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_THAT(outcome.err, HasSubstr("row 5, column 9 (flat index 169) is NaN"));
  }
}

// What each method promises, judged by `verify`.
TEST_F(CliTest, MasksOfEveryMethodVerifyAsDocumented) {
  const struct {
    const char* method;
    std::vector<std::string> flags;  // of verify
    int exit_code_without;           // them
  } cases[] = {{"max-random", {}, 0},
               {"tsenor", {"--allow-short"}, 0},
               {"two-approx", {"--allow-short"}, 4},
               {"bi-nm", {"--allow-short"}, 4},
               {"row-nm", {"--lines", "rows"}, 4},
               {"column-nm", {"--lines", "columns"}, 4}};
  const std::string weights = directory_ / "w.safetensors";
  WriteCheckpointFile(weights, {GaussianMatrix("w", 128, 192)});
  for (const auto& [method, flags, exit_code_without] : cases) {
    SCOPED_TRACE(method);
    Mask(weights, out_, {"--method", method});
    const ProgramOutcome verified = Verify(weights, out_, flags);
    EXPECT_EQ(verified.exit_code, 0) << verified.out << verified.err;
    EXPECT_EQ(Verify(weights, out_).exit_code, exit_code_without);
  }
}

TEST_F(CliTest, AOneSidedMaskIsProvenAmongItsKindAndNoTransposableOne) {
  const std::string weights = directory_ / "w.safetensors";
  WriteCheckpointFile(weights, {GaussianMatrix("w", 64, 64)});
  Mask(weights, out_, {"--method", "row-nm"});
  const ProgramOutcome rows = Verify(weights, out_, {"--lines", "rows"});
  EXPECT_THAT(rows.out, HasSubstr("16:32 rows"));
  EXPECT_THAT(rows.out, ::testing::ContainsRegex("yes .* 0  "));  // no gap
  const ProgramOutcome both = Verify(weights, out_);
  EXPECT_EQ(both.exit_code, 4);
  EXPECT_THAT(both.err, HasSubstr("method row-nm: --lines rows checks that"));
  EXPECT_EQ(Verify(weights, out_, {"--lines", "columns"}).exit_code, 4);
  // A transposable mask is one of rows, too, but not the best of them.
  Mask(weights, out_);
  const ProgramOutcome transposable = Verify(weights, out_, {"--lines", "rows"});
  EXPECT_EQ(transposable.exit_code, 0);
  EXPECT_THAT(transposable.out, HasSubstr("e-0"));
}

TEST_F(CliTest, OutputIsTheSameWhateverRunsInParallel) {
  Mask(kRealWeights, out_, {"--parallel", "1"});
  const std::string alone = ReadWholeFile(out_);
  Mask(kRealWeights, out_, {"--parallel", "4"});
  EXPECT_EQ(ReadWholeFile(out_), alone);
}

TEST_F(CliTest, AServersRefusalNamesTheTensorAndTheWeight) {
  const std::string weights = directory_ / "nan.safetensors";
  TestTensor matrix = GaussianMatrix("w", 32, 32);
  const uint32_t nan = 0x7fc00000;
  std::memcpy(matrix.bytes.data() + 4 * (3 * 32 + 7), &nan, sizeof nan);
  WriteCheckpointFile(weights, {matrix});
  const ProgramOutcome outcome = Run({"mask", weights, "--out", out_, "--pattern", "16:32"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, ::testing::AllOf(HasSubstr("tensor 'w': "), HasSubstr("NaN")));
  EXPECT_FALSE(std::filesystem::exists(out_));
}

}  // namespace
}  // namespace tsenor
