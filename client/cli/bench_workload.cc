#include "client/cli/bench_workload.h"

#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/method_flags.h"
#include "client/cli/problem_flags.h"
#include "proto/wire/crc32c.h"

namespace tsenor::cli {
namespace {

// Weights of all tensors of a mix, in bytes: far beyond what a load needs, far below what takes a
// machine's memory by a slip of the keyboard.
constexpr uint64_t kMaxWorkloadBytes = uint64_t{8} << 30;

struct DataTypeName {
  const char* text;
  v1::DataType type;
  int bytes;
  int exponent_bits;
  int mantissa_bits;
};

constexpr DataTypeName kDataTypes[] = {
    {"float32", v1::DATA_TYPE_FLOAT32, 4, 8, 23},
    {"float16", v1::DATA_TYPE_FLOAT16, 2, 5, 10},
    {"bfloat16", v1::DATA_TYPE_BFLOAT16, 2, 8, 7},
    {"float8_e4m3", v1::DATA_TYPE_FLOAT8_E4M3, 1, 4, 3},
    {"float8_e5m2", v1::DATA_TYPE_FLOAT8_E5M2, 1, 5, 2},
};

struct Shape {
  uint64_t rows = 0;
  uint64_t columns = 0;
  double share = 1;
};

absl::StatusOr<Shape> ParseShape(const std::string& text) {
  Shape shape;
  std::string share;
  const bool good =
      RE2::FullMatch(text, R"((\d+)x(\d+)(?::([\d.]+))?)", &shape.rows, &shape.columns, &share) &&
      (share.empty() || RE2::FullMatch(share, "(.*)", &shape.share));
  if (!good || shape.rows == 0 || shape.columns == 0 || !(shape.share > 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("shape must be ROWSxCOLUMNS[:SHARE], all of them positive, not '", text, "'"));
  }
  return shape;
}

// The bits of `value`, rounded towards zero. REQUIRES: it is in the range of the type.
uint32_t Encode(float value, const DataTypeName& type) {
  const int bias = (1 << (type.exponent_bits - 1)) - 1;
  const float magnitude = std::abs(value);
  const int least = 1 - bias;  // below it numbers are subnormal: their leading bit is 0
  const int exponent = magnitude == 0 ? least : std::max(std::ilogb(magnitude), least);
  const auto digits = static_cast<uint32_t>(std::ldexp(magnitude, type.mantissa_bits - exponent));
  const uint32_t sign = std::signbit(value) ? 1 : 0;
  // The leading bit of `digits`, where it is 1, adds one to the exponent.
  return sign << (type.exponent_bits + type.mantissa_bits) |
         ((static_cast<uint32_t>(exponent + bias - 1) << type.mantissa_bits) + digits);
}

// Standard normal weights.
std::string RandomTensor(uint64_t weights, const DataTypeName& type, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::string bytes(weights * static_cast<uint64_t>(type.bytes), '\0');
  for (char* out = bytes.data(); out != bytes.data() + bytes.size(); out += type.bytes) {
    const uint32_t bits = Encode(normal(random), type);
    std::memcpy(out, &bits, static_cast<size_t>(type.bytes));  // little-endian, as x86 is
  }
  return bytes;
}

template <typename Message>
grpc::ByteBuffer Serialise(const Message& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

std::vector<grpc::ByteBuffer> SerialiseChunks(const std::string& tensor, size_t chunk_bytes) {
  std::vector<grpc::ByteBuffer> messages;
  for (size_t offset = 0; offset < tensor.size(); offset += chunk_bytes) {
    const size_t size = std::min(chunk_bytes, tensor.size() - offset);
    v1::SolveStreamRequest request;
    v1::DataChunk& chunk = *request.mutable_chunk();
    chunk.set_offset(offset);
    chunk.set_data(tensor.data() + offset, size);
    chunk.set_crc32c(wire::Crc32c(tensor.data() + offset, size));
    messages.push_back(Serialise(request));
  }
  return messages;
}

std::vector<grpc::ByteBuffer> SerialiseStream(const v1::TensorHeader& header,
                                              const std::vector<grpc::ByteBuffer>& chunks) {
  v1::SolveStreamRequest request;
  *request.mutable_header() = header;
  std::vector<grpc::ByteBuffer> messages = {Serialise(request)};
  messages.insert(messages.end(), chunks.begin(), chunks.end());
  return messages;
}

std::vector<grpc::ByteBuffer> SerialiseUnary(const v1::TensorHeader& header,
                                             const std::string& tensor) {
  v1::SolveRequest request;
  *request.mutable_header() = header;
  request.set_data(tensor);
  request.set_crc32c(wire::Crc32c(tensor.data(), tensor.size()));
  return {Serialise(request)};
}

// The requests for one tensor: one for each pattern and method.
absl::Status AddRequests(const WorkloadFlags& flags, const Shape& shape, const DataTypeName& type,
                         std::mt19937_64& random, std::vector<BenchRequest>& requests) {
  const std::string tensor = RandomTensor(shape.rows * shape.columns, type, random);
  const bool unary = flags.rpc == "unary";
  std::vector<grpc::ByteBuffer> chunks;
  if (!unary) chunks = SerialiseChunks(tensor, static_cast<size_t>(flags.chunk_bytes));
  for (const std::string& text : flags.patterns) {
    const absl::StatusOr<v1::Pattern> pattern = ParsePattern(text);
    if (!pattern.ok()) return pattern.status();
    if (shape.rows % pattern->m() != 0 || shape.columns % pattern->m() != 0) {
      return absl::InvalidArgumentError(absl::StrCat("shape is ", shape.rows, "x", shape.columns,
                                                     "; pattern ", text, " needs multiples of ",
                                                     pattern->m()));
    }
    for (const std::string& method : flags.methods) {
      BenchRequest& request = requests.emplace_back();
      request.header.set_name("bench");
      request.header.add_shape(shape.rows);
      request.header.add_shape(shape.columns);
      request.header.set_dtype(type.type);
      *request.header.mutable_pattern() = *pattern;
      request.header.set_priority(flags.priority);
      SetMethod({.method = method}, request.header);
      request.unary = unary;
      request.messages =
          unary ? SerialiseUnary(request.header, tensor) : SerialiseStream(request.header, chunks);
      request.weights = static_cast<int64_t>(shape.rows * shape.columns);
      request.tensor_bytes = static_cast<int64_t>(tensor.size());
      request.share = shape.share;
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string> DataTypeNames() {
  std::vector<std::string> names;
  for (const DataTypeName& name : kDataTypes) names.emplace_back(name.text);
  return names;
}

Workload::Workload(std::vector<BenchRequest> requests) : requests_(std::move(requests)) {
  double sum = 0;
  for (const BenchRequest& request : requests_) share_up_to_.push_back(sum += request.share);
}

absl::StatusOr<Workload> Workload::Make(const WorkloadFlags& flags) {
  std::mt19937_64 random(flags.seed);
  std::vector<BenchRequest> requests;
  uint64_t left = kMaxWorkloadBytes;
  for (const std::string& text : flags.shapes) {
    const absl::StatusOr<Shape> shape = ParseShape(text);
    if (!shape.ok()) return shape.status();
    for (const std::string& dtype : flags.dtypes) {
      const DataTypeName& type =
          *std::find_if(std::begin(kDataTypes), std::end(kDataTypes),
                        [&dtype](const DataTypeName& name) { return name.text == dtype; });
      // A unary request holds the tensor itself, so that each pattern and method has its copy.
      const uint64_t copies =
          flags.rpc == "unary" ? flags.patterns.size() * flags.methods.size() : 1;
      const uint64_t row_bytes = static_cast<uint64_t>(type.bytes) * copies;
      if (shape->columns > left / row_bytes / shape->rows) {
        return absl::InvalidArgumentError(absl::StrCat(
            "shape ", text, ": all tensors together exceed ", kMaxWorkloadBytes, " bytes"));
      }
      left -= shape->rows * shape->columns * row_bytes;
      if (absl::Status status = AddRequests(flags, *shape, type, random, requests); !status.ok()) {
        return status;
      }
    }
  }
  return Workload(std::move(requests));
}

const BenchRequest& Workload::Draw(std::mt19937_64& random) const {
  std::uniform_real_distribution<double> uniform(0, share_up_to_.back());
  const auto found = std::upper_bound(share_up_to_.begin(), share_up_to_.end(), uniform(random));
  const size_t index = static_cast<size_t>(found - share_up_to_.begin());
  return requests_[std::min(index, requests_.size() - 1)];  // rounding may draw the upper end
}

}  // namespace tsenor::cli
