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

// A tensor's bytes lie within the data, and agree with its dtype and shape.
absl::Status CheckTensor(const TensorInfo& tensor, uint64_t data_bytes) {
  if (tensor.begin > tensor.end || tensor.end > data_bytes) {
    return Malformed(tensor.name,
                     absl::StrCat("data_offsets [", tensor.begin, ", ", tensor.end,
                                  "] do not lie within the ", data_bytes, " bytes of data"));
  }
  const absl::StatusOr<uint64_t> size = SizeInBytes(tensor.dtype, tensor.shape);
  if (!size.ok()) return Malformed(tensor.name, std::string(size.status().message()));
  if (*size == tensor.size_bytes()) return absl::OkStatus();
  return Malformed(tensor.name,
                   absl::StrCat("data_offsets span ", tensor.size_bytes(), " bytes, but ",
                                tensor.dtype, " ", ShapeString(tensor.shape), " has ", *size));
}

// Reads a header in one pass, straight into tensors: neither the text's values nor its names are
// kept besides. Refuses what a plain parse lets pass: names that come twice, and nesting that the
// format has not. Not thread-safe.
class HeaderReader : public nlohmann::json_sax<json> {
 public:
  HeaderReader(uint64_t data_bytes, SafetensorsHeader& header)
      : data_bytes_(data_bytes), header_(header) {}

  // OK if nothing was refused.
  const absl::Status& status() const { return status_; }

  bool null() override { return Scalar(); }
  bool boolean(bool) override { return Scalar(); }
  bool number_integer(json::number_integer_t) override { return Scalar(); }
  bool number_float(json::number_float_t, const json::string_t&) override { return Scalar(); }
  bool binary(json::binary_t&) override { return Scalar(); }

  bool number_unsigned(json::number_unsigned_t number) override {
    if (depth_ != kMaxDepth || numbers_ == nullptr) return Scalar();
    numbers_->values.push_back(number);
    return true;
  }

  bool string(json::string_t& text) override {
    if (depth_ != 2) return Scalar();
    if (in_metadata_) {
      header_.metadata.emplace(field_, text);
    } else if (field_ == "dtype") {
      dtype_ = text;
    }
    return true;
  }

  bool key(json::string_t& name) override {
    if (depth_ == 1) return StartEntry(name);
    if (!fields_[static_cast<size_t>(depth_)].insert(name).second) return RefuseDuplicate(name);
    if (depth_ == 2) field_ = name;
    return true;
  }

  bool start_object(size_t) override {
    if (depth_ == 2 && in_metadata_) return Scalar();
    numbers_ = nullptr;
    if (!Enter()) return false;
    fields_[static_cast<size_t>(depth_)].clear();
    return true;
  }

  bool end_object() override { return --depth_ != 1 || in_metadata_ || EndEntry(); }

  bool start_array(size_t) override {
    if (depth_ < 2 || in_metadata_) return Scalar();
    numbers_ = nullptr;
    if (depth_ == 2 && field_ == "shape") numbers_ = &shape_;
    if (depth_ == 2 && field_ == "data_offsets") numbers_ = &offsets_;
    if (numbers_ != nullptr) numbers_->valid = true;
    return Enter();
  }

  bool end_array() override {
    --depth_;
    return true;
  }

  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) override {
    return Refuse(absl::InvalidArgumentError(absl::StrCat("header: ", error.what())));
  }

 private:
  // An array of unsigned integers, each inside uint64.
  struct Numbers {
    std::vector<uint64_t> values;
    bool valid = false;
  };

  bool Refuse(absl::Status status) {
    status_ = std::move(status);
    return false;
  }

  bool RefuseDuplicate(std::string_view name) {
    return Refuse(absl::InvalidArgumentError(absl::StrCat(
        "header: duplicate name '", std::string(name.substr(0, kShownNameBytes)), "'")));
  }

  bool Enter() {
    if (++depth_ <= kMaxDepth) return true;
    return Refuse(
        absl::InvalidArgumentError(absl::StrCat("header: nested deeper than ", kMaxDepth)));
  }

  // A value that is neither expected nor entered: an error where only one type may stand.
  bool Scalar() {
    if (depth_ == 0) return Refuse(absl::InvalidArgumentError("header: not a JSON object"));
    if (depth_ == 1 && in_metadata_) {
      return Refuse(absl::InvalidArgumentError("__metadata__: not an object"));
    }
    if (depth_ == 1) return Refuse(Malformed(name_, "not an object"));
    if (in_metadata_) {
      return Refuse(absl::InvalidArgumentError(
          absl::StrCat("__metadata__: '", field_.substr(0, kShownNameBytes), "' is not a string")));
    }
    if (numbers_ != nullptr && depth_ == kMaxDepth) numbers_->valid = false;
    return true;
  }

  bool StartEntry(const std::string& name) {
    in_metadata_ = name == "__metadata__";
    if (in_metadata_ && std::exchange(metadata_seen_, true)) return RefuseDuplicate(name);
    name_ = name;
    dtype_.reset();
    shape_ = offsets_ = {};
    return true;
  }

  bool EndEntry() {
    if (!dtype_) return Refuse(Malformed(name_, "dtype is not a string"));
    if (!shape_.valid) {
      return Refuse(Malformed(name_, "shape is not an array of non-negative integers"));
    }
    if (!offsets_.valid || offsets_.values.size() != 2) {
      return Refuse(Malformed(name_, "data_offsets is not a pair of non-negative integers"));
    }
    TensorInfo tensor{.name = std::move(name_),
                      .dtype = *std::move(dtype_),
                      .shape = std::move(shape_.values),
                      .begin = offsets_.values[0],
                      .end = offsets_.values[1]};
    if (absl::Status status = CheckTensor(tensor, data_bytes_); !status.ok()) {
      return Refuse(std::move(status));
    }
    header_.tensors.push_back(std::move(tensor));
    return true;
  }

  const uint64_t data_bytes_;
  SafetensorsHeader& header_;
  absl::Status status_;

  int depth_ = 0;  // objects and arrays that are open
  bool metadata_seen_ = false;
  // Names in the open objects of this depth; those of depth 1 are compared when all are read.
  std::array<std::set<std::string>, kMaxDepth + 1> fields_;

  // The entry being read.
  std::string name_;
  bool in_metadata_ = false;
  std::string field_;  // the last name in it
  std::optional<std::string> dtype_;
  Numbers shape_, offsets_;
  Numbers* numbers_ = nullptr;  // the array being read, null if it is no matter
};

// No two tensors have one name.
absl::Status CheckDistinctNames(const std::vector<TensorInfo>& tensors) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "header: duplicate name '", std::string(twice->substr(0, kShownNameBytes)), "'"));
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
  SafetensorsHeader header;
  HeaderReader reader(data_bytes, header);
  if (!json::sax_parse(text.begin(), text.end(), &reader)) return reader.status();
  header.tensors.shrink_to_fit();
  if (absl::Status status = CheckDistinctNames(header.tensors); !status.ok()) return status;
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
