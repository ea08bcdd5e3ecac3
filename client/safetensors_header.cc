#include "client/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace tsenor::client {
namespace {

using nlohmann::json;

// {"name": {"shape": [..]}} is the deepest that the format has.
constexpr int kMaxDepth = 3;

// Of a name in a message: a hostile one may be as long as the header.
constexpr size_t kShownNameBytes = 200;

struct DTypeBits {
  std::string_view name;
  int bits;
};

// Every dtype of safetensors 0.6.
constexpr std::array<DTypeBits, 20> kDTypes = {{
    {"BOOL", 8}, {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
    {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"I16", 16},
    {"U16", 16}, {"F16", 16},    {"BF16", 16},   {"I32", 32},    {"U32", 32},
    {"F32", 32}, {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64},
}};

absl::Status Malformed(std::string_view tensor, const std::string& what) {
  const std::string shown(tensor.substr(0, kShownNameBytes));
  return absl::InvalidArgumentError(absl::StrCat("tensor '", shown, "': ", what));
}

// Refuses, while reading, what a plain parse lets pass: duplicate names, and nesting that the
// format has not.
class StrictReader : public nlohmann::json_sax<json> {
 public:
  // Empty if nothing was refused.
  const std::string& problem() const { return problem_; }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(json::number_integer_t) override { return true; }
  bool number_unsigned(json::number_unsigned_t) override { return true; }
  bool number_float(json::number_float_t, const json::string_t&) override { return true; }
  bool string(json::string_t&) override { return true; }
  bool binary(json::binary_t&) override { return true; }
  bool start_object(size_t) override {
    names_.emplace_back();
    return Enter();
  }
  bool key(json::string_t& name) override {
    if (names_.back().insert(name).second) return true;
    problem_ = absl::StrCat("duplicate name '", name.substr(0, kShownNameBytes), "'");
    return false;
  }
  bool end_object() override {
    names_.pop_back();
    --depth_;
    return true;
  }
  bool start_array(size_t) override { return Enter(); }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) override {
    problem_ = error.what();
    return false;
  }

 private:
  bool Enter() {
    if (++depth_ <= kMaxDepth) return true;
    problem_ = absl::StrCat("nested deeper than ", kMaxDepth);
    return false;
  }

  int depth_ = 0;
  std::vector<std::set<std::string>> names_;  // of the objects that are open
  std::string problem_;
};

absl::StatusOr<json> ParseStrictly(std::string_view text) {
  StrictReader reader;
  if (!json::sax_parse(text.begin(), text.end(), &reader)) {
    return absl::InvalidArgumentError(absl::StrCat("header: ", reader.problem()));
  }
  json root = json::parse(text.begin(), text.end());
  if (!root.is_object()) return absl::InvalidArgumentError("header: not a JSON object");
  return root;
}

absl::Status ParseMetadata(const json& value, SafetensorsHeader& header) {
  if (!value.is_object()) return absl::InvalidArgumentError("__metadata__: not an object");
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat("__metadata__: '", key.substr(0, kShownNameBytes), "' is not a string"));
    }
    header.metadata.emplace(key, text.get<std::string>());
  }
  return absl::OkStatus();
}

// An array of unsigned integers, each inside uint64.
bool ParseNumbers(const json& object, const char* key, std::vector<uint64_t>& numbers) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) return false;
  for (const json& number : *found) {
    if (!number.is_number_unsigned()) return false;
    numbers.push_back(number.get<uint64_t>());
  }
  return true;
}

absl::StatusOr<TensorInfo> ParseTensor(const std::string& name, const json& value,
                                       uint64_t data_bytes) {
  if (!value.is_object()) return Malformed(name, "not an object");
  TensorInfo tensor{.name = name, .dtype = "", .shape = {}};
  const auto dtype = value.find("dtype");
  if (dtype == value.end() || !dtype->is_string()) return Malformed(name, "dtype is not a string");
  tensor.dtype = dtype->get<std::string>();
  if (!ParseNumbers(value, "shape", tensor.shape)) {
    return Malformed(name, "shape is not an array of non-negative integers");
  }
  std::vector<uint64_t> offsets;
  if (!ParseNumbers(value, "data_offsets", offsets) || offsets.size() != 2) {
    return Malformed(name, "data_offsets is not a pair of non-negative integers");
  }
  tensor.begin = offsets[0];
  tensor.end = offsets[1];
  if (tensor.begin > tensor.end || tensor.end > data_bytes) {
    return Malformed(name, absl::StrCat("data_offsets [", tensor.begin, ", ", tensor.end,
                                        "] do not lie within the ", data_bytes, " bytes of data"));
  }
  const absl::StatusOr<uint64_t> size = SizeInBytes(tensor.dtype, tensor.shape);
  if (!size.ok()) return Malformed(name, std::string(size.status().message()));
  if (*size != tensor.size_bytes()) {
    return Malformed(
        name, absl::StrCat("data_offsets span ", tensor.size_bytes(), " bytes, but ", tensor.dtype,
                           " ", ShapeString(tensor.shape), " has ", *size));
  }
  return tensor;
}

// The tensors must cover the data exactly.
absl::Status CheckCoverage(const std::vector<TensorInfo>& tensors, uint64_t data_bytes) {
  uint64_t covered = 0;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.begin != covered) {
      return Malformed(tensor.name,
                       absl::StrCat(tensor.begin < covered ? "overlaps" : "leaves a gap after",
                                    " the tensor before it: begins at byte ", tensor.begin,
                                    " instead of ", covered));
    }
    covered = tensor.end;
  }
  if (covered == data_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the tensors cover ", covered, " of ", data_bytes, " bytes of data"));
}

}  // namespace

std::optional<int> BitsOf(std::string_view dtype) {
  for (const DTypeBits& known : kDTypes) {
    if (known.name == dtype) return known.bits;
  }
  return std::nullopt;
}

absl::StatusOr<uint64_t> SizeInBytes(std::string_view dtype, const std::vector<uint64_t>& shape) {
  const std::optional<int> bits = BitsOf(dtype);
  if (!bits) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown dtype '", std::string(dtype.substr(0, 40)), "'"));
  }
  uint64_t total = static_cast<uint64_t>(*bits);
  for (const uint64_t length : shape) {
    if (__builtin_mul_overflow(total, length, &total)) {
      return absl::InvalidArgumentError(
          absl::StrCat("shape ", ShapeString(shape), " overflows 2^64 bits"));
    }
  }
  if (total % 8 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("shape ", ShapeString(shape), " of ", *bits, " bits is not whole bytes"));
  }
  return total / 8;
}

std::string ShapeString(const std::vector<uint64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view text,
                                                         uint64_t data_bytes) {
  const absl::StatusOr<json> root = ParseStrictly(text);
  if (!root.ok()) return root.status();
  SafetensorsHeader header;
  for (const auto& [name, value] : root->items()) {
    if (name == "__metadata__") {
      if (absl::Status status = ParseMetadata(value, header); !status.ok()) return status;
      continue;
    }
    absl::StatusOr<TensorInfo> tensor = ParseTensor(name, value, data_bytes);
    if (!tensor.ok()) return tensor.status();
    header.tensors.push_back(*std::move(tensor));
  }
  std::sort(header.tensors.begin(), header.tensors.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  if (absl::Status status = CheckCoverage(header.tensors, data_bytes); !status.ok()) return status;
  return header;
}

absl::Status LayOut(SafetensorsHeader& header) {
  std::set<std::string_view> names;
  uint64_t position = 0;
  for (TensorInfo& tensor : header.tensors) {
    if (!names.insert(tensor.name).second) return Malformed(tensor.name, "duplicate name");
    const absl::StatusOr<uint64_t> size = SizeInBytes(tensor.dtype, tensor.shape);
    if (!size.ok()) return Malformed(tensor.name, std::string(size.status().message()));
    tensor.begin = position;
    if (__builtin_add_overflow(position, *size, &position)) {
      return Malformed(tensor.name, "the file would exceed 2^64 bytes");
    }
    tensor.end = position;
  }
  return absl::OkStatus();
}

std::string SerializeSafetensorsHeader(const SafetensorsHeader& header) {
  // Written piece by piece: an ordered JSON object searches all its names for every new one.
  std::string text = "{";
  if (!header.metadata.empty()) {
    absl::StrAppend(&text, R"("__metadata__":)", json(header.metadata).dump());
  }
  for (const TensorInfo& tensor : header.tensors) {
    absl::StrAppend(&text, text.size() > 1 ? "," : "", json(tensor.name).dump(), R"(:{"dtype":")",
                    tensor.dtype, R"(","shape":[)", absl::StrJoin(tensor.shape, ","),
                    R"(],"data_offsets":[)", tensor.begin, ",", tensor.end, "]}");
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string bytes(kSafetensorsPrefixBytes, '\0');
  for (size_t i = 0; i < kSafetensorsPrefixBytes; ++i) {
    bytes[i] = static_cast<char>(uint64_t{text.size()} >> (8 * i));
  }
  return bytes + text;
}

}  // namespace tsenor::client
