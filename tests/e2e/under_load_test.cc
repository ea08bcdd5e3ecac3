// The server as a process under load: what becomes of requests when it ends, is exchanged, or meets
// clients that do not read.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "client/mask_client.h"
#include "tests/support/program.h"
#include "tests/support/server_program.h"
#include "tests/support/stream_client.h"

namespace tsenor {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ChunkMessage;
using testing::HeaderMessage;
using testing::MakeHeader;
using testing::MakeStub;
using testing::Messages;
using testing::ServerProgram;
using testing::SolveStream;
using ::testing::UnorderedElementsAre;

using Clock = std::chrono::steady_clock;

constexpr int64_t kMiB = int64_t{1} << 20;

#ifdef __SANITIZE_ADDRESS__
constexpr bool kSanitized = true;  // whose memory is not the server's
#else
constexpr bool kSanitized = false;
#endif

// The port of "127.0.0.1:PORT".
std::string PortOf(const std::string& address) { return address.substr(address.rfind(':') + 1); }

// What became of one request.
enum class Outcome { kDone, kRefused, kLost };

// Sends a tensor of which the second half follows when the mask of the first has arrived: by then
// the server has accepted it. Lost: it was accepted, and was not answered well.
Outcome SendInHalves(v1::MaskService::Stub& stub) {
  const std::string data = testing::ToBytes(std::vector<float>(64 * 64, 1.0f));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + seconds(60));
  auto stream = stub.SolveStream(&context);
  stream->Write(HeaderMessage(MakeHeader(64, 64, 2, 4)));
  stream->Write(ChunkMessage(0, data.substr(0, data.size() / 2)));
  v1::SolveStreamResponse response;
  const bool accepted = stream->Read(&response);
  if (!accepted) {
    stream->Finish();
    return Outcome::kRefused;
  }
  stream->Write(ChunkMessage(data.size() / 2, data.substr(data.size() / 2)));
  stream->WritesDone();
  while (stream->Read(&response)) {
  }
  return stream->Finish().ok() && response.has_summary() ? Outcome::kDone : Outcome::kLost;
}

TEST(UnderLoad, SigtermLosesNoRequestThatWasAccepted) {
  // Pieces of a few rows, so that the first half is answered before the second has come.
  ServerProgram server({"--backend", "cpu", "--piece-bytes", "4KiB"});
  std::atomic<int> done = 0;
  std::atomic<int> lost = 0;
  std::vector<std::thread> clients;
  for (int k = 0; k < 16; ++k) {
    clients.emplace_back([&] {
      const auto stub = MakeStub(server.address());
      for (Outcome outcome = Outcome::kDone; outcome == Outcome::kDone;) {
        outcome = SendInHalves(*stub);
        if (outcome == Outcome::kDone) ++done;
        if (outcome == Outcome::kLost) ++lost;
      }
    });
  }
  while (done < 200) std::this_thread::sleep_for(milliseconds(1));
  const Clock::time_point start = Clock::now();
  server.program().Signal(SIGTERM);
  const ProgramOutcome outcome = server.program().Wait();
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_LT(Clock::now() - start, seconds(30));  // --drain-timeout
  EXPECT_EQ(lost, 0) << "of " << done + lost;
  EXPECT_EQ(outcome.err.find("drain timeout"), std::string::npos) << outcome.err;
}

// Two servers behind one client, as replicas behind a headless service.
class Replicas {
 public:
  // The second one solves with another backend, so that answers tell who gave them.
  Replicas() {
    for (const char* backend : {"cpu", "reference"}) {
      flags_.push_back({"--backend", backend});
      servers_.push_back(std::make_unique<ServerProgram>(flags_.back()));
      ports_.push_back(PortOf(servers_.back()->address()));
    }
  }

  std::string address() const { return "ipv4:127.0.0.1:" + ports_[0] + ",127.0.0.1:" + ports_[1]; }

  // Ends one after the other with SIGTERM and starts it anew on its port.
  void ExchangeAll() {
    for (size_t k = 0; k < servers_.size(); ++k) {
      servers_[k]->program().Signal(SIGTERM);
      EXPECT_EQ(servers_[k]->program().Wait().exit_code, 0);
      servers_[k] = std::make_unique<ServerProgram>(flags_[k], ports_[k].c_str());
      std::this_thread::sleep_for(milliseconds(500));  // until clients have found it
    }
  }

 private:
  std::vector<std::vector<std::string>> flags_;
  std::vector<std::unique_ptr<ServerProgram>> servers_;
  std::vector<std::string> ports_;
};

TEST(UnderLoad, ARollingRestartLosesNoRequestOfARetryingClient) {
  Replicas replicas;
  const auto client = client::MaskClient::Connect(replicas.address());
  ASSERT_TRUE(client.ok()) << client.status();
  const std::vector<float> weights(64 * 64, 1.0f);
  std::atomic<bool> ends = false;
  std::atomic<int> done = 0;
  std::mutex mutex;
  std::set<std::string> backends;      // that answered; guarded by mutex
  std::vector<absl::Status> failures;  // guarded by mutex
  std::vector<std::thread> threads;
  for (int k = 0; k < 4; ++k) {
    threads.emplace_back([&] {
      while (!ends) {
        const auto summary = (*client)->SolveTensor(
            MakeHeader(64, 64, 2, 4), {.bytes = std::as_bytes(std::span(weights))},
            [](const client::MaskRows&) { return absl::OkStatus(); });
        const std::lock_guard lock(mutex);
        ++done;
        if (summary.ok()) {
          backends.insert(summary->backend());
        } else {
          failures.push_back(summary.status());
        }
      }
    });
  }
  replicas.ExchangeAll();
  {
    const std::lock_guard lock(mutex);
    EXPECT_THAT(backends, UnorderedElementsAre("cpu", "reference"));
    backends.clear();
  }
  replicas.ExchangeAll();
  ends = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(backends, UnorderedElementsAre("cpu", "reference"));  // the new ones, too
  EXPECT_TRUE(failures.empty()) << failures.size() << " of " << done << ": " << failures.front();
}

TEST(UnderLoad, AHundredClientsThatNeverReadLeaveMemoryBoundedAndAreEnded) {
  constexpr int64_t kBudget = 64 * kMiB;
  // A message for each stream, and what the process holds besides (server/README.md).
  constexpr int64_t kRest = 192 * kMiB;
  ServerProgram server({"--backend", "cpu", "--memory-budget", std::to_string(kBudget),
                        "--idle-timeout", "2", "--piece-bytes", "256KiB"});
  // 32 MiB each, with 1 MiB of masks: far beyond what the transport holds for a reader to come.
  constexpr uint64_t kRows = 1 << 17;
  const std::string chunk(1 << 18, '\0');
  std::deque<grpc::ClientContext> contexts(100);
  std::atomic<int64_t> sent_bytes = 0;
  std::atomic<int> ended_by_server = 0;
  std::vector<std::thread> clients;
  for (grpc::ClientContext& context : contexts) {
    clients.emplace_back([&] {
      const auto stub = MakeStub(server.address(), /*probes=*/false);
      context.set_deadline(std::chrono::system_clock::now() + seconds(120));
      auto stream = stub->SolveStream(&context);
      bool good = stream->Write(HeaderMessage(MakeHeader(kRows, 64, 2, 4)));
      for (uint64_t at = 0; good && at < kRows * 64 * 4; at += chunk.size()) {
        good = stream->Write(ChunkMessage(at, chunk));
        if (good) sent_bytes += static_cast<int64_t>(chunk.size());
      }
      if (!good) ++ended_by_server;
      context.TryCancel();
      stream->Finish();
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(ended_by_server, 100);
  EXPECT_GT(sent_bytes, kBudget);
  if (!kSanitized) {
    EXPECT_LT(server.program().PeakResidentBytes(), kBudget + kRest);
  }
  // Nothing of them is left.
  const auto answer = SolveStream(*MakeStub(server.address()),
                                  Messages(MakeHeader(8, 8, 2, 4), std::string(256, '\0'), 100));
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  server.program().Signal(SIGTERM);
  EXPECT_EQ(server.program().Wait().exit_code, 0);
}

}  // namespace
}  // namespace tsenor
