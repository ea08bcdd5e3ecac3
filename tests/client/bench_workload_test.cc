#include "client/cli/bench_workload.h"

#include <gmock/gmock.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <string>

#include "proto/wire/crc32c.h"

namespace tsenor::cli {
namespace {

using ::testing::HasSubstr;

template <typename Message>
Message Parse(grpc::ByteBuffer buffer) {
  Message message;
  EXPECT_TRUE(grpc::SerializationTraits<Message>::Deserialize(&buffer, &message).ok());
  return message;
}

TEST(Workload, AStreamIsTheHeaderAndChunksWithTheirChecksums) {
  WorkloadFlags flags;
  flags.shapes = {"32x64"};
  flags.chunk_bytes = 5000;
  const auto workload = Workload::Make(flags);
  ASSERT_TRUE(workload.ok()) << workload.status();
  ASSERT_EQ(workload->requests().size(), 1u);
  const BenchRequest& request = workload->requests()[0];
  EXPECT_EQ(request.tensor_bytes, 32 * 64 * 4);
  ASSERT_EQ(request.messages.size(), 3u);  // 8192 bytes: 5000 and 3192
  EXPECT_EQ(Parse<v1::SolveStreamRequest>(request.messages[0]).header().pattern().m(), 32u);
  uint64_t offset = 0;
  for (size_t k = 1; k < 3; ++k) {
    const auto message = Parse<v1::SolveStreamRequest>(request.messages[k]);
    const std::string& data = message.chunk().data();
    EXPECT_EQ(message.chunk().offset(), offset);
    EXPECT_EQ(message.chunk().crc32c(), wire::Crc32c(data.data(), data.size()));
    offset += data.size();
  }
  EXPECT_EQ(offset, 8192u);
}

// The tensor of `dtype` as numbers: sign, exponent and mantissa taken apart.
std::vector<double> Decode(const std::string& bytes, int size, int exponent_bits) {
  const int mantissa_bits = 8 * size - 1 - exponent_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  std::vector<double> values;
  for (size_t k = 0; k < bytes.size(); k += static_cast<size_t>(size)) {
    uint32_t bits = 0;
    std::memcpy(&bits, bytes.data() + k, static_cast<size_t>(size));
    const uint32_t mantissa = bits & ((1u << mantissa_bits) - 1);
    const int exponent = static_cast<int>(bits >> mantissa_bits & ((1u << exponent_bits) - 1));
    const double digits = exponent == 0 ? mantissa : mantissa + std::ldexp(1.0, mantissa_bits);
    const double value = std::ldexp(digits, std::max(exponent, 1) - bias - mantissa_bits);
    values.push_back(bits >> (8 * size - 1) ? -value : value);
  }
  return values;
}

TEST(Workload, HasTheSameNormalWeightsInEveryType) {
  const struct {
    const char* name;
    int size;
    int exponent_bits;
  } types[] = {{"float32", 4, 8},
               {"bfloat16", 2, 8},
               {"float16", 2, 5},
               {"float8_e4m3", 1, 4},
               {"float8_e5m2", 1, 5}};
  std::vector<double> exact;
  for (const auto& [name, size, exponent_bits] : types) {
    WorkloadFlags flags;
    flags.shapes = {"64x64"};
    flags.dtypes = {name};
    flags.rpc = "unary";
    const auto workload = Workload::Make(flags);
    ASSERT_TRUE(workload.ok()) << workload.status();
    const auto message = Parse<v1::SolveRequest>(workload->requests()[0].messages[0]);
    EXPECT_EQ(message.crc32c(), wire::Crc32c(message.data().data(), message.data().size()));
    const std::vector<double> values = Decode(message.data(), size, exponent_bits);
    ASSERT_EQ(values.size(), 64u * 64);
    if (exact.empty()) exact = values;
    const int mantissa_bits = 8 * size - 1 - exponent_bits;
    const double least_normal = std::ldexp(1.0, 2 - (1 << (exponent_bits - 1)));
    double squares = 0;
    for (size_t k = 0; k < values.size(); ++k) {
      squares += values[k] * values[k];
      // Rounded towards zero, by less than a unit in the last place.
      EXPECT_LE(std::abs(values[k]), std::abs(exact[k]));
      EXPECT_LT(std::abs(values[k] - exact[k]),
                std::ldexp(std::max(std::abs(exact[k]), least_normal), -mantissa_bits) + 1e-300)
          << name;
    }
    EXPECT_NEAR(squares / 4096, 1, 0.25) << name;
  }
}

TEST(Workload, DrawsShapesInTheirSharesAndTheRestEqually) {
  WorkloadFlags flags;
  flags.shapes = {"16x16:3", "32x16"};
  flags.patterns = {"2:4", "8:16"};
  flags.methods = {"optimal", "bi-nm"};
  const auto workload = Workload::Make(flags);
  ASSERT_TRUE(workload.ok()) << workload.status();
  EXPECT_EQ(workload->requests().size(), 8u);
  std::mt19937_64 random(7);
  std::map<uint64_t, int> rows;
  std::map<uint32_t, int> patterns;
  std::map<int, int> methods;
  for (int k = 0; k < 8000; ++k) {
    const v1::TensorHeader& header = workload->Draw(random).header;
    ++rows[header.shape(0)];
    ++patterns[header.pattern().m()];
    ++methods[header.method()];
  }
  EXPECT_NEAR(rows[16], 6000, 200);  // five standard deviations
  EXPECT_NEAR(patterns[4], 4000, 230);
  EXPECT_NEAR(methods[v1::METHOD_BI_NM], 4000, 230);
}

TEST(Workload, RefusesWhatCannotBeSent) {
  const auto refusal = [](const std::string& shape, const std::string& pattern) {
    WorkloadFlags flags;
    flags.shapes = {shape};
    flags.patterns = {pattern};
    return std::string(Workload::Make(flags).status().message());
  };
  for (const char* shape : {"", "64", "64x", "64x64:", "64x64:0", "64x64:-1", "64x64:1.2.3", "0x64",
                            "99999999999999999999x4"}) {
    EXPECT_THAT(refusal(shape, "2:4"), HasSubstr("shape must be")) << shape;
  }
  EXPECT_THAT(refusal("64x60", "4:8"), HasSubstr("multiples of 8"));
  EXPECT_THAT(refusal("64x64", "9:8"), HasSubstr("pattern must be"));
  EXPECT_THAT(refusal("4294967296x4294967296", "2:4"), HasSubstr("exceed"));
}

}  // namespace
}  // namespace tsenor::cli
