// What `tsenor bench` sends: random tensors, made and serialised once.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tsenor/v1/mask_service.pb.h"

namespace tsenor::cli {

// The mix, as typed. Shapes come in their shares; of the other lists every entry is as likely as
// any other, independently.
struct WorkloadFlags {
  std::vector<std::string> shapes = {"1024x1024"};  // ROWSxCOLUMNS[:SHARE]
  std::vector<std::string> patterns = {"16:32"};
  std::vector<std::string> dtypes = {"float32"};
  std::vector<std::string> methods = {"optimal"};
  std::string rpc = "stream";  // or "unary"
  int64_t chunk_bytes = int64_t{1} << 20;
  int priority = 0;  // of all
  uint64_t seed = 1;
};

// One tensor, ready to be sent any number of times.
struct BenchRequest {
  v1::TensorHeader header;
  bool unary = false;
  std::vector<grpc::ByteBuffer> messages;  // their checksums included; share their bytes
  int64_t weights = 0;
  int64_t tensor_bytes = 0;
  double share = 0;
};

// Names of the data types, as --dtype has them.
std::vector<std::string> DataTypeNames();

// Weights, serialised messages and shares. Takes as much memory as its distinct tensors.
//
// Thread-safe.
class Workload {
 public:
  // Errors: InvalidArgument naming flag, value and bound.
  static absl::StatusOr<Workload> Make(const WorkloadFlags& flags);

  // One of the requests, each with the probability of its share.
  const BenchRequest& Draw(std::mt19937_64& random) const;

  const std::vector<BenchRequest>& requests() const { return requests_; }

 private:
  explicit Workload(std::vector<BenchRequest> requests);

  std::vector<BenchRequest> requests_;
  std::vector<double> share_up_to_;  // of all requests up to this one
};

}  // namespace tsenor::cli
