#include "client/cli/bench_call.h"

#include <grpcpp/client_context.h>
#include <grpcpp/grpcpp.h>

#include <memory>
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

// What streamed and unary calls have in common. Sends serialised messages as they are, without a
// copy. Owns itself until End().
class BenchCall {
 public:
  BenchCall(const BenchRequest& request, std::function<void(const BenchOutcome&)> done)
      : request_(request), done_(std::move(done)), reader_(request.header, IgnoreRows()) {}
  virtual ~BenchCall() = default;

 protected:
  void Prepare(const BenchCallOptions& options, const std::stop_token& stop) {
    context_.set_deadline(std::chrono::system_clock::now() + options.timeout);
    outcome_.status = client::AddToken(options.security, context_);
    if (!outcome_.status.ok()) context_.TryCancel();
    cancel_.emplace(stop, CancelCall{context_});
  }

  // Parses `answer_`.
  template <typename Message>
  absl::Status Parse(Message& message) {
    outcome_.received_bytes += static_cast<int64_t>(answer_.Length());
    return client::ToAbslStatus(
        grpc::SerializationTraits<Message>::Deserialize(&answer_, &message));
  }

  void End(const grpc::Status& status) {
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

  const BenchRequest& request_;
  std::function<void(const BenchOutcome&)> done_;
  client::AnswerReader reader_;
  BenchOutcome outcome_;
  grpc::ByteBuffer answer_;
  grpc::ClientContext context_;

 private:
  struct CancelCall {
    grpc::ClientContext& context;
    void operator()() const { context.TryCancel(); }
  };

  std::optional<std::stop_callback<CancelCall>> cancel_;
};

// One event a call: of a stream with one message each way gRPC would tell four.
class UnaryCall final : public BenchCall {
 public:
  using BenchCall::BenchCall;

  void Start(grpc::GenericStub& stub, grpc::CompletionQueue& events,
             const BenchCallOptions& options, const std::stop_token& stop) {
    Prepare(options, stop);
    responder_ = stub.PrepareUnaryCall(&context_, "/tsenor.v1.MaskService/Solve",
                                       request_.messages.front(), &events);
    responder_->StartCall();
    // The last touch: OnFinished() may follow at once.
    responder_->Finish(&answer_, &status_, this);
  }

  void OnFinished() {
    if (status_.ok() && outcome_.status.ok()) outcome_.status = Take();
    End(status_);
  }

 private:
  // The answer, as that of a stream.
  absl::Status Take() {
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

  std::unique_ptr<grpc::ClientAsyncResponseReader<grpc::ByteBuffer>> responder_;
  grpc::Status status_;
};

class StreamedCall final : public BenchCall,
                           public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  using BenchCall::BenchCall;

  void Start(grpc::GenericStub& stub, const BenchCallOptions& options,
             const std::stop_token& stop) {
    Prepare(options, stop);
    stub.PrepareBidiStreamingCall(&context_, "/tsenor.v1.MaskService/SolveStream",
                                  grpc::StubOptions(), this);
    WriteNext();
    StartRead(&answer_);
    StartCall();  // the last touch: OnDone() may follow at once
  }

  void OnWriteDone(bool ok) override {
    if (ok && written_ < request_.messages.size()) WriteNext();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    v1::SolveStreamResponse response;
    outcome_.status = Parse(response);
    if (outcome_.status.ok()) outcome_.status = reader_.Take(response);
    if (!outcome_.status.ok()) return context_.TryCancel();
    StartRead(&answer_);
  }

  void OnDone(const grpc::Status& status) override { End(status); }

 private:
  void WriteNext() {
    const grpc::ByteBuffer& message = request_.messages[written_++];
    if (written_ == request_.messages.size()) {
      StartWriteLast(&message, grpc::WriteOptions());
    } else {
      StartWrite(&message);
    }
  }

  size_t written_ = 0;
};

}  // namespace

BenchQueue::BenchQueue()
    : thread_([this] {
        void* call = nullptr;
        bool ok = false;  // always: a call's end is told by its status
        while (events_.Next(&call, &ok)) static_cast<UnaryCall*>(call)->OnFinished();
      }) {}

BenchQueue::~BenchQueue() {
  events_.Shutdown();
  thread_.join();
}

void StartBenchCall(grpc::GenericStub& stub, BenchQueue& queue, const BenchRequest& request,
                    const BenchCallOptions& options, const std::stop_token& stop,
                    std::function<void(const BenchOutcome&)> done) {
  // They delete themselves when they have ended.
  if (request.unary) {
    (new UnaryCall(request, std::move(done)))->Start(stub, queue.events(), options, stop);
  } else {
    (new StreamedCall(request, std::move(done)))->Start(stub, options, stop);
  }
}

}  // namespace tsenor::cli
