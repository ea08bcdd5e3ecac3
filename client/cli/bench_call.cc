#include "client/cli/bench_call.h"

#include <grpcpp/client_context.h>
#include <grpcpp/grpcpp.h>

#include <optional>
#include <string>
#include <utility>

#include "client/tensor_stream.h"

namespace tsenor::cli {
namespace {

const client::MaskSink& IgnoreRows() {
  static const client::MaskSink ignore = [](const client::MaskRows&) { return absl::OkStatus(); };
  return ignore;
}

// A call, streamed or unary: on the wire, a unary call is a stream with one message each way. Sends
// serialised messages as they are, without a copy. Owns itself until OnDone().
class BenchCall final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  BenchCall(const BenchRequest& request, std::function<void(const BenchOutcome&)> done)
      : request_(request), done_(std::move(done)), reader_(request.header, IgnoreRows()) {}

  void Start(grpc::GenericStub& stub, const BenchCallOptions& options,
             const std::stop_token& stop) {
    context_.set_deadline(std::chrono::system_clock::now() + options.timeout);
    outcome_.status = client::AddToken(options.security, context_);
    if (!outcome_.status.ok()) context_.TryCancel();
    stub.PrepareBidiStreamingCall(
        &context_,
        request_.unary ? "/tsenor.v1.MaskService/Solve" : "/tsenor.v1.MaskService/SolveStream",
        grpc::StubOptions(), this);
    cancel_.emplace(stop, CancelCall{context_});
    WriteNext();
    StartRead(&answer_);
    StartCall();  // the last touch: OnDone() may follow at once
  }

  void OnWriteDone(bool ok) override {
    if (ok && written_ < request_.messages.size()) WriteNext();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    outcome_.received_bytes += static_cast<int64_t>(answer_.Length());
    outcome_.status = request_.unary ? TakeUnary() : TakeStreamed();
    if (!outcome_.status.ok()) return context_.TryCancel();
    StartRead(&answer_);
  }

  void OnDone(const grpc::Status& status) override {
    cancel_.reset();
    if (outcome_.status.ok()) outcome_.status = client::ToAbslStatus(status);
    if (outcome_.status.ok()) {
      absl::StatusOr<v1::SolveSummary> summary = reader_.Finish();
      outcome_.status = summary.status();
      if (summary.ok()) outcome_.summary = *std::move(summary);
    }
    // First the call, which holds on to its channel: once `done` has run, the process may end, and
    // gRPC's threads end with the last channel, which none of them may let go itself.
    const std::function<void(const BenchOutcome&)> done = std::move(done_);
    const BenchOutcome outcome = std::move(outcome_);
    delete this;
    done(outcome);
  }

 private:
  struct CancelCall {
    grpc::ClientContext& context;
    void operator()() const { context.TryCancel(); }
  };

  void WriteNext() {
    const grpc::ByteBuffer& message = request_.messages[written_++];
    if (written_ == request_.messages.size()) {
      StartWriteLast(&message, grpc::WriteOptions());
    } else {
      StartWrite(&message);
    }
  }

  template <typename Message>
  absl::Status Parse(Message& message) {
    return client::ToAbslStatus(
        grpc::SerializationTraits<Message>::Deserialize(&answer_, &message));
  }

  absl::Status TakeStreamed() {
    v1::SolveStreamResponse response;
    if (absl::Status status = Parse(response); !status.ok()) return status;
    return reader_.Take(response);
  }

  absl::Status TakeUnary() {
    v1::SolveResponse response;
    if (absl::Status status = Parse(response); !status.ok()) return status;
    v1::SolveStreamResponse mask;
    mask.mutable_mask()->set_row_count(request_.header.shape(0));
    mask.mutable_mask()->set_mask(std::move(*response.mutable_mask()));
    mask.mutable_mask()->set_crc32c(response.crc32c());
    if (absl::Status status = reader_.Take(mask); !status.ok()) return status;
    v1::SolveStreamResponse summary;
    *summary.mutable_summary() = std::move(*response.mutable_summary());
    return reader_.Take(summary);
  }

  const BenchRequest& request_;
  std::function<void(const BenchOutcome&)> done_;
  client::AnswerReader reader_;
  BenchOutcome outcome_;
  grpc::ByteBuffer answer_;
  size_t written_ = 0;
  grpc::ClientContext context_;
  std::optional<std::stop_callback<CancelCall>> cancel_;
};

}  // namespace

void StartBenchCall(grpc::GenericStub& stub, const BenchRequest& request,
                    const BenchCallOptions& options, const std::stop_token& stop,
                    std::function<void(const BenchOutcome&)> done) {
  auto* call = new BenchCall(request, std::move(done));  // deletes itself in OnDone()
  call->Start(stub, options, stop);
}

}  // namespace tsenor::cli
