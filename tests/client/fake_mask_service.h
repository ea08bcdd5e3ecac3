// A MaskService that does as the test says.
#pragma once

#include <grpcpp/server.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "tsenor/v1/mask_service.grpc.pb.h"

namespace tsenor {

// Answers every tensor with a feasible mask (Answer()), or as scripted. Checks what the client
// sends.
//
// Thread-safe once the script is set.
class FakeMaskService : public v1::MaskService::Service {
 public:
  using Stream = grpc::ServerReaderWriter<v1::SolveStreamResponse, v1::SolveStreamRequest>;
  // Answers attempt 1, 2, ... (counted over all tensors).
  using Script = std::function<grpc::Status(int attempt, grpc::ServerContext&, Stream&)>;

  // How an answer is wrong.
  enum class Fault {
    kNone,
    kBadCrc,
    kWrongRow,
    kTooManyRows,
    kWrongSize,
    kRowsMissing,
    kNoSummary,
    kAfterSummary
  };

  explicit FakeMaskService(Script script = nullptr) : script_(std::move(script)) {}

  int attempts() const { return attempts_; }

  // Reads a whole tensor and answers it, one block row a message: row r of a block keeps columns r,
  // r + 1, ... (n of them, modulo m). Value 1, bound 2, score_sum 4. INVALID_ARGUMENT if chunks do
  // not follow on each other, are damaged, or do not add up.
  static grpc::Status Answer(Stream& stream, Fault fault = Fault::kNone);

  // Reads the header and chunks of at most `limit` bytes in all. OK if all is well.
  static grpc::Status ReadTensor(Stream& stream, v1::TensorHeader& header,
                                 uint64_t limit = ~uint64_t{0});

  // The next `m` rows of the answer from `first_row` on.
  static v1::SolveStreamResponse BlockRow(const v1::TensorHeader& header, uint64_t first_row);

  grpc::Status SolveStream(grpc::ServerContext* context, Stream* stream) override;
  grpc::Status GetServerInfo(grpc::ServerContext* context, const v1::GetServerInfoRequest* request,
                             v1::GetServerInfoResponse* response) override;

 private:
  const Script script_;
  std::atomic<int> attempts_ = 0;
};

// Serves a FakeMaskService on a free port of the loopback interface, or on `address`.
class FakeServer {
 public:
  explicit FakeServer(FakeMaskService::Script script = nullptr,
                      const std::string& address = "127.0.0.1:0");
  ~FakeServer();

  const std::string& address() const { return address_; }
  const FakeMaskService& service() const { return service_; }

 private:
  FakeMaskService service_;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace tsenor
