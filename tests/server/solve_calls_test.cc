// The unary RPC Solve on completion queues: calls that are given up, many at once, and the server's
// end. What it answers is in mask_service_test.cc.
#include "server/solve_calls.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/server/service_fixture.h"

namespace tsenor::server {
namespace {

using testing::MakeHeader;
using testing::ToBytes;

class SolveCallsTest : public ServiceTest {
 protected:
  // One call on a connection of its caller's.
  struct Call {
    grpc::ClientContext context;
    v1::SolveResponse response;
    grpc::Status status;
  };

  SolveCallsTest() {
    *request_.mutable_header() = MakeHeader(16, 8, 1, 2);
    request_.set_data(ToBytes(weights_));
  }

  void Solve(v1::MaskService::Stub& stub, Call& call) const {
    call.status = stub.Solve(&call.context, request_, &call.response);
  }

  // Begins a call that the solver does not answer before Unblock(); returns once it has it.
  std::thread BeginBlocked(Call& call) {
    solver_.Block();
    std::thread client([&] { Solve(*stub_, call); });
    EXPECT_TRUE(solver_.WaitForCalls(1));
    return client;
  }

  void ExpectAnswer(const Call& call) const {
    EXPECT_TRUE(call.status.ok()) << call.status.error_message();
    EXPECT_EQ(call.response.mask(), ExpectedMask(weights_));
  }

  const std::vector<float> weights_ = Weights(16, 8);
  v1::SolveRequest request_;
};

TEST_F(SolveCallsTest, MoreCallsThanWaitForAnArrivalAreAllAnswered) {
  Start();
  std::deque<Call> calls(150);
  std::vector<std::thread> clients;
  clients.push_back(BeginBlocked(calls[0]));  // the solver's one worker: the others wait
  for (size_t k = 1; k < calls.size(); ++k) {
    clients.emplace_back([this, &call = calls[k]] { Solve(*stub_, call); });
  }
  EXPECT_TRUE(WaitUntil([this] { return Gauge("tsenor_queue_elements") == 149 * 128; }));
  solver_.Unblock();
  for (std::thread& client : clients) client.join();
  for (const Call& call : calls) ExpectAnswer(call);
}

TEST_F(SolveCallsTest, ACallThatIsGivenUpFreesItsMemory) {
  Start();
  Call first, second;
  std::thread running = BeginBlocked(first);
  std::thread waiting([&] { Solve(*stub_, second); });
  ASSERT_TRUE(WaitUntil([this] { return Gauge("tsenor_queue_elements") == 128; }));
  second.context.TryCancel();
  waiting.join();
  EXPECT_EQ(second.status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(WaitUntil([this] { return Gauge("tsenor_queue_elements") == 0; }));
  solver_.Unblock();
  running.join();
  ExpectAnswer(first);
  EXPECT_TRUE(WaitUntilMemoryIsFree());
}

// A thousand calls of eight clients, half of which end at some moment: by a cancellation, or by
// their deadline.
TEST_F(SolveCallsTest, AStormOfCallsThatAreGivenUpLeavesNothingBehind) {
  Start();
  constexpr int kClients = 8, kCalls = 125;
  std::atomic<int> answered = 0, given_up = 0;
  const auto storm = [&](int client) {
    const auto stub = testing::MakeStub(server_->addresses().front());
    std::mt19937 random(client);
    const auto some_time = [&] { return std::chrono::microseconds(random() % 2000); };
    for (int k = 0; k < kCalls; ++k) {
      Call call;
      std::thread canceller;
      const auto kind = random() % 4;
      if (kind == 0) call.context.set_deadline(std::chrono::system_clock::now() + some_time());
      if (kind == 1) {
        canceller = std::thread([&call, wait = some_time()] {
          std::this_thread::sleep_for(wait);
          call.context.TryCancel();
        });
      }
      Solve(*stub, call);
      if (canceller.joinable()) canceller.join();
      if (kind > 1) ExpectAnswer(call);
      ++(call.status.ok() ? answered : given_up);
    }
  };
  std::vector<std::thread> clients;
  for (int client = 0; client < kClients; ++client) clients.emplace_back(storm, client);
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(answered + given_up, kClients * kCalls);
  EXPECT_GT(given_up, 0);
  EXPECT_TRUE(WaitUntilMemoryIsFree());
  ExpectHealthy();
}

TEST_F(SolveCallsTest, DrainFinishesCallsInFlight) {
  Start();
  Call call;
  std::thread client = BeginBlocked(call);
  std::thread drain([this] { EXPECT_TRUE(server_->Drain(std::chrono::seconds(30))); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // it has begun
  solver_.Unblock();
  drain.join();
  client.join();
  ExpectAnswer(call);
}

TEST_F(SolveCallsTest, DrainCancelsCallsThatAreLeftAfterItsPatience) {
  Start();
  Call call;
  std::thread client = BeginBlocked(call);
  EXPECT_FALSE(server_->Drain(std::chrono::milliseconds(100)));
  client.join();
  EXPECT_FALSE(call.status.ok());
  solver_.Unblock();
  engine_->Stop();
}

// Their answers come while the server shuts down: none may come too late for its queues.
TEST_F(SolveCallsTest, DrainWaitsForTheAnswersOfCallsThatItCancels) {
  Start();
  std::deque<Call> calls(100);
  std::vector<std::thread> clients;
  clients.push_back(BeginBlocked(calls[0]));
  for (size_t k = 1; k < calls.size(); ++k) {
    clients.emplace_back([this, &call = calls[k]] { Solve(*stub_, call); });
  }
  EXPECT_TRUE(WaitUntil([this] { return Gauge("tsenor_queue_elements") == 99 * 128; }));
  EXPECT_FALSE(server_->Drain(std::chrono::milliseconds(1)));
  for (std::thread& client : clients) client.join();
  for (const Call& call : calls) EXPECT_FALSE(call.status.ok());
  solver_.Unblock();
  engine_->Stop();
}

}  // namespace
}  // namespace tsenor::server
