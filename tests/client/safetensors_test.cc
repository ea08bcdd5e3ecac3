#include "client/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>

#include "tests/support/checkpoint_files.h"
#include "tests/support/temporary_directory.h"

namespace tsenor::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string WithLength(uint64_t length, std::string_view rest) {
  std::string bytes(8, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(length >> (8 * i));
  return bytes.append(rest);
}

struct Malformed {
  const char* name;
  std::string bytes;
  const char* message;  // part of the error's
};

// One U8 tensor "a" of 4 bytes, with this entry.
std::string One(std::string_view entry) {
  return SafetensorsBytes("{\"a\":" + std::string(entry) + "}", "1234");
}

const Malformed kMalformed[] = {
    {"empty_file", "", "truncated"},
    {"shorter_than_the_length", "1234567", "truncated"},
    {"header_longer_than_the_file", WithLength(100, "{}"), "header length 100 exceeds the 2 bytes"},
    {"huge_header_length", WithLength(~uint64_t{0}, "{}"), "exceeds the bound of 100000000"},
    {"header_length_just_over_the_bound", WithLength(100'000'001, "{}"), "exceeds the bound"},
    {"no_header", WithLength(0, ""), "header"},
    {"not_json", SafetensorsBytes("{\"a\":"), "parse error"},
    {"rubbish_after_json", SafetensorsBytes("{}x"), "parse error"},
    {"not_utf8", SafetensorsBytes("{\"\xff\":1}"), "UTF-8"},
    {"an_array", SafetensorsBytes("[]"), "not a JSON object"},
    {"tensor_is_an_array", One("[[[[7]]]]"), "not an object"},
    {"nested_deeply", SafetensorsBytes("{\"a\":{\"b\":" + std::string(100'000, '[')),
     "nested deeper"},
    {"nested_in_a_shape", One(R"({"dtype":"U8","shape":[[4]],"data_offsets":[0,4]})"),
     "nested deeper"},
    {"words_in_a_shape", One(R"({"dtype":"U8","shape":[4,"4"],"data_offsets":[0,4]})"),
     "shape is not"},
    {"shape_is_an_object", One(R"({"dtype":"U8","shape":{"a":4},"data_offsets":[0,4]})"),
     "shape is not"},
    {"duplicate_metadata", SafetensorsBytes(R"({"__metadata__":{},"__metadata__":{}})"),
     "duplicate name '__metadata__'"},
    {"duplicate_metadata_key", SafetensorsBytes(R"({"__metadata__":{"a":"1","a":"2"}})"),
     "duplicate name 'a'"},
    {"objects_nested_deeply", SafetensorsBytes(R"({"a":{"b":{"c":{"d":1}}}})"), "nested deeper"},
    {"duplicate_tensor",
     SafetensorsBytes(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                      R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})"),
     "duplicate name 'a'"},
    {"duplicate_field", One(R"({"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]})"),
     "duplicate name 'dtype'"},
    {"tensor_is_a_number", One("7"), "not an object"},
    {"no_dtype", One(R"({"shape":[4],"data_offsets":[0,4]})"), "dtype is not a string"},
    {"dtype_is_a_number", One(R"({"dtype":8,"shape":[4],"data_offsets":[0,4]})"), "dtype is not"},
    {"unknown_dtype", One(R"({"dtype":"F7","shape":[4],"data_offsets":[0,4]})"),
     "unknown dtype 'F7'"},
    {"no_shape", One(R"({"dtype":"U8","data_offsets":[0,4]})"), "shape is not an array"},
    {"negative_shape", One(R"({"dtype":"U8","shape":[-4],"data_offsets":[0,4]})"), "shape is not"},
    {"fractional_shape", One(R"({"dtype":"U8","shape":[4.0],"data_offsets":[0,4]})"),
     "shape is not"},
    {"shape_beyond_uint64",
     One(R"({"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,4]})"), "shape is not"},
    {"shape_overflows",
     One(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]})"), "overflows"},
    // 2^61 elements of 32 bits: 2^66 bits wrap around to 0.
    {"bits_overflow", One(R"({"dtype":"F32","shape":[2305843009213693952],"data_offsets":[0,0]})"),
     "overflows"},
    {"half_a_byte", One(R"({"dtype":"F4","shape":[7],"data_offsets":[0,4]})"), "not whole bytes"},
    {"no_offsets", One(R"({"dtype":"U8","shape":[4]})"), "data_offsets is not a pair"},
    {"three_offsets", One(R"({"dtype":"U8","shape":[4],"data_offsets":[0,4,4]})"), "not a pair"},
    {"negative_offset", One(R"({"dtype":"U8","shape":[4],"data_offsets":[-4,0]})"), "not a pair"},
    {"offsets_reversed", One(R"({"dtype":"U8","shape":[4],"data_offsets":[4,0]})"),
     "do not lie within"},
    {"offsets_beyond_the_data", One(R"({"dtype":"U8","shape":[5],"data_offsets":[0,5]})"),
     "do not lie within the 4 bytes"},
    {"size_differs_from_shape", One(R"({"dtype":"F16","shape":[4],"data_offsets":[0,4]})"),
     "span 4 bytes, but F16 [4] has 8"},
    {"data_left_over", One(R"({"dtype":"U8","shape":[3],"data_offsets":[0,3]})"),
     "cover 3 of 4 bytes"},
    {"gap_at_the_start", One(R"({"dtype":"U8","shape":[3],"data_offsets":[1,4]})"), "leaves a gap"},
    {"overlap",
     SafetensorsBytes(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                      R"("b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
                      "1234"),
     "tensor 'b': overlaps"},
    {"same_bytes_twice",
     SafetensorsBytes(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                      R"("b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
                      "1234"),
     "overlaps"},
    {"metadata_is_a_list", SafetensorsBytes(R"({"__metadata__":[]})"), "__metadata__"},
    {"metadata_holds_a_number", SafetensorsBytes(R"({"__metadata__":{"a":1}})"), "is not a string"},
};

class MalformedSafetensors : public ::testing::TestWithParam<Malformed> {};

TEST_P(MalformedSafetensors, IsRefusedByNameAndReason) {
  const TemporaryDirectory directory;
  const std::string path = directory / "bad.safetensors";
  WriteWholeFile(path, GetParam().bytes);
  const auto file = SafetensorsFile::Open(path);
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
  const std::string message(file.status().message());
  EXPECT_THAT(message, HasSubstr(path));
  EXPECT_THAT(message, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(Table, MalformedSafetensors, ::testing::ValuesIn(kMalformed),
                         [](const auto& row) { return row.param.name; });

TEST(SafetensorsFile, MissingFileIsNotFound) {
  const auto file = SafetensorsFile::Open("no/such/file.safetensors");
  EXPECT_EQ(file.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(file.status().message()), HasSubstr("no/such/file.safetensors"));
}

TEST(SafetensorsFile, DirectoryIsRefused) {
  const TemporaryDirectory directory;
  EXPECT_EQ(SafetensorsFile::Open(directory.path()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(SafetensorsFile, ReadsTensorsMetadataAndPadding) {
  const TemporaryDirectory directory;
  const std::string path = directory / "good.safetensors";
  // In the order of the names, which is not that of the bytes; padded with spaces.
  WriteWholeFile(path,
                 SafetensorsBytes(R"({"__metadata__":{"format":"pt"},)"
                                  R"("a":{"dtype":"U8","shape":[2],"data_offsets":[4,6]},)"
                                  R"("b":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]},)"
                                  R"("none":{"dtype":"F32","shape":[0,9],"data_offsets":[4,4]},)"
                                  R"("scalar":{"dtype":"I8","shape":[],"data_offsets":[6,7]}}   )",
                                  "bbbbaas"));
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->header().metadata.at("format"), "pt");
  ASSERT_EQ(file->header().tensors.size(), 4u);
  EXPECT_EQ(file->header().tensors.front().name, "b");
  const TensorInfo* a = file->Find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->dtype, "U8");
  EXPECT_THAT(a->shape, ElementsAre(2));
  EXPECT_EQ(std::memcmp(file->Data(*a).data(), "aa", 2), 0);
  ASSERT_NE(file->Find("none"), nullptr);
  EXPECT_TRUE(file->Data(*file->Find("none")).empty());
  EXPECT_EQ(file->Data(*file->Find("scalar")).size(), 1u);
  EXPECT_EQ(file->Find("c"), nullptr);
}

TEST(SafetensorsFile, ReleasedPagesReadTheSame) {
  const TemporaryDirectory directory;
  const std::string path = directory / "big.safetensors";
  WriteCheckpointFile(path, {GaussianMatrix("w", 512, 512)});
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok());
  const auto data = file->Data(file->header().tensors[0]);
  const std::string before(reinterpret_cast<const char*>(data.data()), data.size());
  file->Release(data);
  EXPECT_EQ(std::memcmp(before.data(), data.data(), data.size()), 0);
}

TEST(SizeInBytes, KnowsEveryDtypeOfTheFormat) {
  const std::pair<const char*, uint64_t> sizes[] = {
      {"BOOL", 8},    {"U8", 8},   {"I8", 8},      {"F8_E4M3", 8}, {"F8_E5M2", 8},
      {"F8_E8M0", 8}, {"F4", 4},   {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"I16", 16},
      {"U16", 16},    {"F16", 16}, {"BF16", 16},   {"I32", 32},    {"U32", 32},
      {"F32", 32},    {"F64", 64}, {"I64", 64},    {"U64", 64},    {"C64", 64}};
  for (const auto& [dtype, bytes_of_eight] : sizes) {
    EXPECT_EQ(SizeInBytes(dtype, {2, 4}).value(), bytes_of_eight) << dtype;
  }
}

TEST(SafetensorsHeader, SerializesToWhatItParsedFrom) {
  SafetensorsHeader header;
  header.metadata = {{"format", "pt"}, {"note", "a \"quoted\" \n line"}};
  header.tensors = {{.name = "z", .dtype = "F32", .shape = {2, 3}},
                    {.name = "a", .dtype = "BF16", .shape = {5}}};
  ASSERT_TRUE(LayOut(header).ok());
  const std::string bytes = SerializeSafetensorsHeader(header);
  EXPECT_EQ(bytes.size() % 8, 0u);
  const auto parsed = ParseSafetensorsHeader(std::string_view(bytes).substr(8), 34);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->metadata, header.metadata);
  ASSERT_EQ(parsed->tensors.size(), 2u);
  EXPECT_EQ(parsed->tensors[0].name, "z");
  EXPECT_EQ(parsed->tensors[1].begin, 24u);
  EXPECT_EQ(parsed->tensors[1].end, 34u);
}

TEST(SafetensorsHeader, IgnoresFieldsItDoesNotKnow) {
  const auto header = ParseSafetensorsHeader(
      R"({"a":{"x":{"shape":1},"dtype":"U8","y":[1,"z"],"shape":[4],"data_offsets":[0,4],"z":null}})",
      4);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->tensors[0].dtype, "U8");
  EXPECT_EQ(header->tensors[0].shape, std::vector<uint64_t>{4});
}

// The least of three tries: what other processes take is not the function's.
double SecondsToSerialize(size_t tensors) {
  SafetensorsHeader header;
  for (size_t i = 0; i < tensors; ++i) {
    header.tensors.push_back({.name = "w" + std::to_string(i), .dtype = "U8", .shape = {1}});
  }
  if (!LayOut(header).ok()) std::abort();
  double least = 1e9;
  for (int i = 0; i < 3; ++i) {
    const auto start = std::chrono::steady_clock::now();
    if (SerializeSafetensorsHeader(header).empty()) std::abort();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    least = std::min(least, taken.count());
  }
  return least;
}

TEST(SafetensorsHeader, WritingTakesTimeInProportion) {
  // Four times as many tensors: 4 if linear, 16 if every name were compared with all others.
  EXPECT_LT(SecondsToSerialize(60'000) / SecondsToSerialize(15'000), 8);
}

TEST(SafetensorsHeader, LayOutRefusesDuplicatesAndUnknownTypes) {
  SafetensorsHeader twice;
  twice.tensors = {{.name = "a", .dtype = "U8", .shape = {1}},
                   {.name = "a", .dtype = "U8", .shape = {1}}};
  EXPECT_EQ(LayOut(twice).code(), absl::StatusCode::kInvalidArgument);
  SafetensorsHeader unknown;
  unknown.tensors = {{.name = "a", .dtype = "F33", .shape = {1}}};
  EXPECT_EQ(LayOut(unknown).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace tsenor::client
