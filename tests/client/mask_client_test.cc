#include "client/mask_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <numeric>
#include <stop_token>
#include <thread>
#include <vector>

#include "tests/client/fake_mask_service.h"
#include "tests/support/silent_server.h"
#include "tests/support/temporary_directory.h"

namespace tsenor::client {
namespace {

using ::testing::HasSubstr;
using Fault = FakeMaskService::Fault;
using Stream = FakeMaskService::Stream;

// A 16 x 20 tensor of bfloat16 and a client that sends it in chunks of 7 bytes.
class MaskClientTest : public ::testing::Test {
 protected:
  MaskClientTest() : bytes_(16 * 20 * 2) {
    std::iota(reinterpret_cast<uint8_t*>(bytes_.data()),
              reinterpret_cast<uint8_t*>(bytes_.data()) + bytes_.size(), uint8_t{0});
    header_.set_name("w");
    header_.add_shape(16);
    header_.add_shape(20);
    header_.set_dtype(v1::DATA_TYPE_BFLOAT16);
    header_.mutable_pattern()->set_n(2);
    header_.mutable_pattern()->set_m(4);
    options_.chunk_bytes = 7;
    options_.retry = {.max_attempts = 3,
                      .first_delay = std::chrono::milliseconds(1),
                      .max_delay = std::chrono::milliseconds(2)};
  }

  absl::StatusOr<v1::SolveSummary> Solve(const FakeServer& server,
                                         const std::stop_token& stop = {}) {
    auto client = MaskClient::Connect(server.address(), options_);
    if (!client.ok()) return client.status();
    return (*client)->SolveTensor(
        header_, {.bytes = bytes_, .on_sent = [this](uint64_t sent) { sent_ = sent; }},
        [this](const MaskRows& rows) { return Take(rows); }, stop);
  }

  absl::Status Take(const MaskRows& rows) {
    if (rows.first_row == 0) mask_.clear();
    mask_.insert(mask_.end(), rows.bits.begin(), rows.bits.end());
    return absl::OkStatus();
  }

  // Expects that an answer with this fault is refused.
  void ExpectRefused(Fault fault, absl::StatusCode code, const std::string& message) {
    const FakeServer server([fault](int, grpc::ServerContext&, Stream& stream) {
      return FakeMaskService::Answer(stream, fault);
    });
    const auto summary = Solve(server);
    EXPECT_EQ(summary.status().code(), code);
    EXPECT_THAT(std::string(summary.status().message()), HasSubstr(message));
    EXPECT_EQ(server.service().attempts(), 1);
  }

  std::vector<std::byte> bytes_;
  v1::TensorHeader header_;
  ClientOptions options_;
  std::vector<uint8_t> mask_;
  uint64_t sent_ = 0;
};

// Answers attempts before `good` with `code`, all others well.
FakeMaskService::Script FailBefore(int good, grpc::StatusCode code) {
  return [good, code](int attempt, grpc::ServerContext&, Stream& stream) {
    if (attempt < good) return grpc::Status(code, "not now");
    return FakeMaskService::Answer(stream);
  };
}

std::vector<uint8_t> ExpectedMask(const v1::TensorHeader& header) {
  std::vector<uint8_t> mask;
  for (uint64_t row = 0; row < header.shape(0); row += header.pattern().m()) {
    const auto response = FakeMaskService::BlockRow(header, row);
    mask.insert(mask.end(), response.mask().mask().begin(), response.mask().mask().end());
  }
  return mask;
}

TEST_F(MaskClientTest, SendsEveryByteAndDeliversEveryRow) {
  const FakeServer server;
  const auto summary = Solve(server);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->name(), "w");
  EXPECT_EQ(summary->bound(), 2);
  EXPECT_EQ(mask_, ExpectedMask(header_));
  EXPECT_EQ(sent_, bytes_.size());
}

TEST_F(MaskClientTest, ChunkSizeDoesNotMatter) {
  const FakeServer server;
  for (const size_t chunk_bytes : {size_t{1}, size_t{640}, size_t{1} << 20}) {
    options_.chunk_bytes = chunk_bytes;
    const auto summary = Solve(server);
    ASSERT_TRUE(summary.ok()) << summary.status();
    EXPECT_EQ(mask_, ExpectedMask(header_));
  }
}

TEST_F(MaskClientTest, ConnectsToAUnixSocket) {
  const TemporaryDirectory directory;
  const FakeServer server(nullptr, "unix:" + (directory / "socket"));
  EXPECT_TRUE(Solve(server).ok());
}

TEST_F(MaskClientTest, RowsArriveBeforeTheUploadEnds) {
  // The server answers after the first block row; the client sends nothing more until it arrived.
  const FakeServer server([](int, grpc::ServerContext&, Stream& stream) {
    v1::TensorHeader header;
    grpc::Status status = FakeMaskService::ReadTensor(stream, header, 4 * 20 * 2);
    if (!status.ok()) return status;
    stream.Write(FakeMaskService::BlockRow(header, 0));
    v1::SolveStreamRequest rest;
    while (stream.Read(&rest)) {
    }
    return grpc::Status(grpc::StatusCode::ABORTED, "enough");
  });
  options_.chunk_bytes = 4 * 20 * 2;
  const auto client = MaskClient::Connect(server.address(), options_);
  ASSERT_TRUE(client.ok());
  std::mutex mutex;
  std::condition_variable changed;
  bool arrived = false;
  bool early = false;
  const auto hold_back = [&](uint64_t sent) {
    if (sent != 4 * 20 * 2) return;
    std::unique_lock lock(mutex);
    early = changed.wait_for(lock, std::chrono::seconds(20), [&] { return arrived; });
  };
  const auto summary = (*client)->SolveTensor(header_, {.bytes = bytes_, .on_sent = hold_back},
                                              [&](const MaskRows&) {
                                                const std::lock_guard lock(mutex);
                                                arrived = true;
                                                changed.notify_one();
                                                return absl::OkStatus();
                                              });
  EXPECT_TRUE(early);
  EXPECT_EQ(summary.status().code(), absl::StatusCode::kAborted);
}

TEST_F(MaskClientTest, RetriesUntilTheServerIsBack) {
  const FakeServer away(FailBefore(3, grpc::StatusCode::UNAVAILABLE));
  EXPECT_TRUE(Solve(away).ok());
  EXPECT_EQ(away.service().attempts(), 3);
  const FakeServer full(FailBefore(2, grpc::StatusCode::RESOURCE_EXHAUSTED));
  EXPECT_TRUE(Solve(full).ok());
  EXPECT_EQ(full.service().attempts(), 2);
}

TEST_F(MaskClientTest, RetriesAfterHalfAnAnswer) {
  const FakeServer server([](int attempt, grpc::ServerContext&, Stream& stream) {
    if (attempt > 1) return FakeMaskService::Answer(stream);
    v1::TensorHeader header;
    FakeMaskService::ReadTensor(stream, header).ok();
    stream.Write(FakeMaskService::BlockRow(header, 0));
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "draining");
  });
  EXPECT_TRUE(Solve(server).ok());
  EXPECT_EQ(mask_, ExpectedMask(header_));
}

TEST_F(MaskClientTest, GivesUpAfterTheLastAttempt) {
  const FakeServer server(FailBefore(100, grpc::StatusCode::UNAVAILABLE));
  const auto summary = Solve(server);
  EXPECT_EQ(summary.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(summary.status().message()), HasSubstr("not now (after 3 attempts)"));
  EXPECT_EQ(server.service().attempts(), 3);
}

TEST_F(MaskClientTest, DoesNotRepeatWhatCanNeverSucceed) {
  const FakeServer server(FailBefore(2, grpc::StatusCode::INVALID_ARGUMENT));
  const auto summary = Solve(server);
  EXPECT_EQ(summary.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(summary.status().message(), "not now");
  EXPECT_EQ(server.service().attempts(), 1);
}

TEST_F(MaskClientTest, RefusesAnswersThatBreakTheProtocol) {
  ExpectRefused(Fault::kBadCrc, absl::StatusCode::kDataLoss, "rows 12 to 15 arrived damaged");
  ExpectRefused(Fault::kWrongRow, absl::StatusCode::kInternal, "mask rows from 0, expected 12");
  ExpectRefused(Fault::kTooManyRows, absl::StatusCode::kInternal, "5 mask rows at row 12 of 16");
  ExpectRefused(Fault::kWrongSize, absl::StatusCode::kInternal, "13 mask bytes for 4 rows of 3");
  ExpectRefused(Fault::kRowsMissing, absl::StatusCode::kInternal, "after 12 of 16 mask rows");
  ExpectRefused(Fault::kNoSummary, absl::StatusCode::kInternal, "without a summary");
  ExpectRefused(Fault::kAfterSummary, absl::StatusCode::kInternal, "after the summary");
}

TEST_F(MaskClientTest, TheSinksErrorEndsTheSolveWhateverItsCode) {
  const FakeServer server;
  const auto client = MaskClient::Connect(server.address(), options_);
  ASSERT_TRUE(client.ok());
  const auto summary = (*client)->SolveTensor(header_, {.bytes = bytes_}, [](const MaskRows&) {
    return absl::ResourceExhaustedError("disk is full");
  });
  EXPECT_EQ(summary.status(), absl::ResourceExhaustedError("disk is full"));
  EXPECT_EQ(server.service().attempts(), 1);
}

// A server that reads nothing and waits until the call is cancelled.
grpc::Status Hang(int, grpc::ServerContext& context, Stream&) {
  while (!context.IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return grpc::Status::CANCELLED;
}

TEST_F(MaskClientTest, ADeadlineEndsAServerThatHangs) {
  const FakeServer server(Hang);
  options_.solve_timeout = std::chrono::milliseconds(100);
  // More than the transport buffers: the writer is blocked, too.
  header_.set_shape(0, 1 << 20);
  bytes_.resize((20 * 2) << 20);
  options_.chunk_bytes = 1 << 20;
  EXPECT_EQ(Solve(server).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(sent_, bytes_.size());
}

TEST_F(MaskClientTest, ATensorThatWasBegunBeforeHasTheTimeThatIsLeft) {
  const FakeServer server(Hang);
  const auto client = MaskClient::Connect(server.address(), options_);
  ASSERT_TRUE(client.ok());
  const auto begin = MaskClient::Clock::now();
  EXPECT_GT((*client)->SolveDeadline(), begin + std::chrono::minutes(59));
  const auto summary = (*client)->SolveTensorUntil(
      begin + std::chrono::milliseconds(100), header_, {.bytes = bytes_},
      [](const MaskRows&) { return absl::OkStatus(); });
  EXPECT_EQ(summary.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(MaskClient::Clock::now() - begin, std::chrono::seconds(30));
}

TEST_F(MaskClientTest, AStopCancelsWhatIsInFlight) {
  const FakeServer server(Hang);
  std::stop_source stop;
  const std::jthread stopper([&] {
    while (server.service().attempts() == 0) std::this_thread::yield();
    stop.request_stop();
  });
  EXPECT_EQ(Solve(server, stop.get_token()).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(MaskClientTest, AStopEndsTheWaitBetweenAttempts) {
  const FakeServer server(FailBefore(100, grpc::StatusCode::UNAVAILABLE));
  options_.retry.first_delay = options_.retry.max_delay = std::chrono::minutes(10);
  std::stop_source stop;
  const std::jthread stopper([&] {
    while (server.service().attempts() == 0) std::this_thread::yield();
    stop.request_stop();
  });
  EXPECT_EQ(Solve(server, stop.get_token()).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(MaskClientTest, AServerThatCancelsIsAway) {
  const FakeServer server(FailBefore(3, grpc::StatusCode::CANCELLED));
  EXPECT_TRUE(Solve(server).ok());
  EXPECT_EQ(server.service().attempts(), 3);
  const FakeServer always(FailBefore(100, grpc::StatusCode::CANCELLED));
  const auto summary = Solve(always);
  EXPECT_EQ(summary.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(summary.status().message()), HasSubstr("the server cancelled: not now"));
}

// Solves while the server at `address` goes away, and expects success if it is back 2 s later.
class RestartTest : public MaskClientTest, public ::testing::WithParamInterface<const char*> {
 protected:
  RestartTest() { options_.retry = {.max_attempts = 2}; }

  std::string address() const {
    const std::string address = GetParam();
    return address == "unix:" ? address + (directory_ / "socket") : address;
  }

  const TemporaryDirectory directory_;
};

TEST_P(RestartTest, TakesTimeButNoAttempts) {
  auto first = std::make_unique<FakeServer>(Hang, address());
  const auto client = MaskClient::Connect(first->address(), options_);
  ASSERT_TRUE(client.ok()) << client.status();
  std::unique_ptr<FakeServer> second;
  std::jthread restarter([&] {
    while (first->service().attempts() == 0) std::this_thread::yield();
    const std::string same = first->address();
    first.reset();
    std::this_thread::sleep_for(std::chrono::seconds(2));
    second = std::make_unique<FakeServer>(nullptr, same);
  });
  const auto summary = (*client)->SolveTensor(header_, {.bytes = bytes_},
                                              [this](const MaskRows& rows) { return Take(rows); });
  restarter.join();
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(mask_, ExpectedMask(header_));
  EXPECT_EQ(second->service().attempts(), 1);
}

INSTANTIATE_TEST_SUITE_P(OverEveryTransport, RestartTest, ::testing::Values("127.0.0.1:0", "unix:"),
                         [](const auto& test) {
                           return std::string(test.param) == "unix:" ? "Unix" : "Tcp";
                         });

TEST_F(MaskClientTest, AServerThatStaysAwayIsWaitedForUntilTheDeadline) {
  auto server = std::make_unique<FakeServer>(Hang);
  options_.solve_timeout = std::chrono::seconds(1);
  const auto client = MaskClient::Connect(server->address(), options_);
  ASSERT_TRUE(client.ok());
  const std::jthread stopper([&] {
    while (server->service().attempts() == 0) std::this_thread::yield();
    server.reset();
  });
  const auto summary = (*client)->SolveTensor(header_, {.bytes = bytes_},
                                              [](const MaskRows&) { return absl::OkStatus(); });
  EXPECT_EQ(summary.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(summary.status().message()), HasSubstr("until 1000 ms had passed"));
}

TEST_F(MaskClientTest, AFrozenServerTakesNoLongerThanTheConnectTimeout) {
  const SilentServer server;
  options_.connect_timeout = std::chrono::milliseconds(300);
  const auto start = std::chrono::steady_clock::now();
  const auto client = MaskClient::Connect(server.address(), options_);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
  EXPECT_EQ(client.status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(MaskClientTest, AStopEndsConnecting) {
  SilentServer server;
  options_.connect_timeout = std::chrono::minutes(2);
  std::stop_source stop;
  const std::jthread stopper([&] {
    server.WaitForClient();
    stop.request_stop();
  });
  const auto start = std::chrono::steady_clock::now();
  const auto client = MaskClient::Connect(server.address(), options_, stop.get_token());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_EQ(client.status().code(), absl::StatusCode::kCancelled);
}

TEST_F(MaskClientTest, ManyThreadsShareOneClient) {
  const FakeServer server;
  const auto client = MaskClient::Connect(server.address(), options_);
  ASSERT_TRUE(client.ok());
  const std::vector<uint8_t> expected = ExpectedMask(header_);
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        std::vector<uint8_t> mask;
        const auto summary =
            (*client)->SolveTensor(header_, {.bytes = bytes_}, [&](const MaskRows& rows) {
              mask.insert(mask.end(), rows.bits.begin(), rows.bits.end());
              return absl::OkStatus();
            });
        if (summary.ok() && mask == expected) ++good;
      });
    }
  }
  EXPECT_EQ(good, 8);
}

TEST_F(MaskClientTest, AnAbsentServerIsNamed) {
  options_.connect_timeout = std::chrono::milliseconds(50);
  const auto client = MaskClient::Connect("127.0.0.1:1", options_);
  ASSERT_FALSE(client.ok());
  EXPECT_EQ(client.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(client.status().message()), HasSubstr("no server at 127.0.0.1:1: "));
}

TEST_F(MaskClientTest, WaitsForAServerThatStartsLate) {
  const TemporaryDirectory directory;
  const std::string address = "unix:" + (directory / "late");
  options_.connect_timeout = std::chrono::seconds(30);
  std::unique_ptr<FakeServer> server;
  std::jthread starter([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    server = std::make_unique<FakeServer>(nullptr, address);
  });
  const auto client = MaskClient::Connect(address, options_);
  starter.join();
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_EQ((*client)->GetServerInfo()->version(), "9.8.7");
}

TEST_F(MaskClientTest, RefusesAHeaderWithoutShape) {
  const FakeServer server;
  header_.clear_shape();
  EXPECT_EQ(Solve(server).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(server.service().attempts(), 0);
}

}  // namespace
}  // namespace tsenor::client
