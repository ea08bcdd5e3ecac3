#include "server/solve_calls.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include "proto/wire/crc32c.h"
#include "server/brief_lock.h"
#include "server/convert.h"
#include "server/rpc.h"

namespace tsenor::server {
namespace {

// Calls that may arrive at a queue before its thread has looked at the first of them.
constexpr int kWaitingCalls = 32;

unsigned Queues() { return std::max(std::thread::hardware_concurrency() / 4, 1u); }

// One call, before it arrives and after: plays the client of a stream that has it all in one chunk.
// Owns itself until it has ended.
//
// The thread of its queue calls the On...() methods, the session those of SessionPeer; each side
// one call at a time.
class SolveCall final : private SessionPeer {
 public:
  // What the queue tells: that something of a call has come to pass, or (not `ok`) will not.
  class Event {
   public:
    Event(SolveCall& call, void (SolveCall::*handle)(bool ok)) : call_(call), handle_(handle) {}
    void Handle(bool ok) { (call_.*handle_)(ok); }

   private:
    SolveCall& call_;
    void (SolveCall::*const handle_)(bool ok);
  };

  // Waits for the next one at the queue, if that is open.
  static void Await(MaskService& service, SolveCalls::Queue& queue) {
    const auto lock = LockBriefly(queue.mutex);
    if (!queue.open) return;
    ++queue.calls;
    new SolveCall(service, queue);
  }

 private:
  SolveCall(MaskService& service, SolveCalls::Queue& queue) : service_(service), queue_(queue) {
    context_.AsyncNotifyWhenDone(&done_);
    grpc::ServerCompletionQueue* const events = queue.events.get();
    service.RequestSolve(&context_, &request_, &responder_, events, events, &arrived_);
  }

  ~SolveCall() override {
    const auto lock = LockBriefly(queue_.mutex);
    if (--queue_.calls == 0) queue_.all_ended.notify_all();
  }

  void OnArrived(bool ok) {
    if (!ok) {  // the server shuts down
      delete this;
      return;
    }
    Await(service_, queue_);
    Engine& engine = service_.engine();
    record_.emplace(engine, "Solve", context_);
    record_->Received(request_);
    if (absl::Status authentic = service_.Authenticate(context_); !authentic.ok()) {
      return Fail(authentic);
    }
    auto session = engine.Admit(*this, ClientOf(context_), DeadlineOf(context_, engine.clock()));
    if (!session.ok()) return Fail(session.status());
    session_ = *std::move(session);
    session_->Start();
  }

  // The call is over for gRPC: answered, or given up.
  void OnDone(bool /*ok*/) {
    if (context_.IsCancelled() && session_ != nullptr) session_->OnCancel(GivenUp(context_));
    Leave();
  }

  void OnFinished(bool /*ok*/) { Leave(); }

  // One of the two events that come last.
  void Leave() {
    if (--events_left_ > 0) return;
    session_.reset();  // before anything else goes: until then this call may be abandoned
    delete this;
  }

  void Read() override {
    switch (step_++) {
      case 0:
        return SendHeader();
      case 1:
        return SendData();
      default:
        return session_->OnHalfClose();
    }
  }

  void SendHeader() {
    if (!request_.has_header()) {
      return session_->OnInvalidMessage(
          absl::InvalidArgumentError("header is not set; it must be"));
    }
    if (request_.header().has_file()) {
      return session_->OnInvalidMessage(absl::InvalidArgumentError(
          "header.file is set; it must not be: SolveStream alone reads files"));
    }
    auto spec = FromProto(request_.header());
    if (!spec.ok()) return session_->OnInvalidMessage(spec.status());
    session_->OnHeader(*std::move(spec));
  }

  void SendData() {
    Chunk chunk;
    chunk.bytes = std::as_bytes(std::span(request_.data()));
    if (request_.has_crc32c()) chunk.crc32c = request_.crc32c();
    session_->OnChunk(chunk);
  }

  void Write(const MaskRows& rows) override {
    response_.mutable_mask()->append(reinterpret_cast<const char*>(rows.bytes.data()),
                                     rows.bytes.size());
    session_->OnWriteDone();
  }

  void Finish(const Summary& summary) override {
    ToProto(summary, response_.mutable_summary());
    response_.set_crc32c(wire::Crc32c(response_.mask().data(), response_.mask().size()));
    record_->Sent(response_);
    responder_.Finish(response_, grpc::Status::OK, &finished_);
  }

  void Fail(const absl::Status& status) override {
    record_->EndsWith(status);
    responder_.FinishWithError(ToGrpc(status), &finished_);
  }

  void Abandon() override { context_.TryCancel(); }

  MaskService& service_;
  SolveCalls::Queue& queue_;
  Event arrived_{*this, &SolveCall::OnArrived};
  Event done_{*this, &SolveCall::OnDone};
  Event finished_{*this, &SolveCall::OnFinished};
  int events_left_ = 2;

  grpc::ServerContext context_;
  v1::SolveRequest request_;
  v1::SolveResponse response_;
  grpc::ServerAsyncResponseWriter<v1::SolveResponse> responder_{&context_};
  std::optional<RpcRecord> record_;   // since it arrived
  std::shared_ptr<Session> session_;  // null if it was not admitted
  int step_ = 0;                      // messages read
};

void Serve(grpc::ServerCompletionQueue& events) {
  void* event = nullptr;
  bool ok = false;
  while (events.Next(&event, &ok)) static_cast<SolveCall::Event*>(event)->Handle(ok);
}

}  // namespace

SolveCalls::SolveCalls(MaskService& service, grpc::ServerBuilder& builder) : service_(service) {
  for (unsigned k = 0; k < Queues(); ++k) {
    queues_.push_back(std::make_unique<Queue>());
    queues_.back()->events = builder.AddCompletionQueue();
  }
}

SolveCalls::~SolveCalls() {
  for (const auto& queue : queues_) {
    // A call may still arrive, whose thread then must not wait for the next one; and a session may
    // still answer one that the server's shutdown has cancelled, which a queue that has shut down
    // would end the process for.
    std::unique_lock lock(queue->mutex);
    queue->open = false;
    queue->all_ended.wait(lock, [&queue] { return queue->calls == 0; });
    lock.unlock();
    queue->events->Shutdown();
  }
  for (const auto& queue : queues_) {
    if (queue->thread.joinable()) queue->thread.join();
  }
}

void SolveCalls::Start() {
  for (const auto& queue : queues_) {
    for (int k = 0; k < kWaitingCalls; ++k) SolveCall::Await(service_, *queue);
    queue->thread = std::thread([events = queue->events.get()] { Serve(*events); });
  }
}

}  // namespace tsenor::server
