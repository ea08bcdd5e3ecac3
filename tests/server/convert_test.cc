// Methods and their options arrive in the core as the API documents them.
#include "server/convert.h"

#include <gtest/gtest.h>

namespace tsenor::server {
namespace {

v1::TensorHeader Header(v1::Method method) {
  v1::TensorHeader header;
  header.add_shape(4);
  header.add_shape(4);
  header.set_dtype(v1::DATA_TYPE_FLOAT32);
  header.mutable_pattern()->set_n(2);
  header.mutable_pattern()->set_m(4);
  header.set_method(method);
  return header;
}

TEST(ConvertMethod, EveryMethodHasItsCounterpart) {
  const struct {
    v1::Method name;
    Method method;
  } methods[] = {
      {v1::METHOD_UNSPECIFIED, Method::kOptimal}, {v1::METHOD_OPTIMAL, Method::kOptimal},
      {v1::METHOD_TSENOR, Method::kTsenor},       {v1::METHOD_TWO_APPROX, Method::kTwoApprox},
      {v1::METHOD_BI_NM, Method::kBiNm},          {v1::METHOD_MAX_RANDOM, Method::kMaxRandom},
      {v1::METHOD_ROW_NM, Method::kRowNm},        {v1::METHOD_COLUMN_NM, Method::kColumnNm}};
  static_assert(std::size(methods) == v1::Method_ARRAYSIZE);
  for (const auto& [name, method] : methods) {
    const auto spec = FromProto(Header(name));
    ASSERT_TRUE(spec.ok()) << spec.status();
    SolveOptions expected;  // unset options: the core's defaults
    expected.method = method;
    EXPECT_EQ(spec->problem.options, expected) << v1::Method_Name(name);
  }
}

TEST(ConvertMethod, OptionsAreTakenOver) {
  v1::TensorHeader header = Header(v1::METHOD_MAX_RANDOM);
  header.mutable_max_random()->set_samples(77);
  header.mutable_max_random()->set_seed(~uint64_t{0});
  const auto spec = FromProto(header);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->problem.options.max_random,
            (MaxRandomOptions{.samples = 77, .seed = ~uint64_t{0}}));
}

TEST(ConvertHeader, PriorityIsTakenOver) {
  v1::TensorHeader header = Header(v1::METHOD_OPTIMAL);
  EXPECT_EQ(FromProto(header)->priority, 0);
  header.set_priority(-3);
  EXPECT_EQ(FromProto(header)->priority, -3);
}

}  // namespace
}  // namespace tsenor::server
