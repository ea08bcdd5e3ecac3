// What clients hear when what solves fails.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/server/service_fixture.h"

namespace tsenor::server {
namespace {

using testing::MakeHeader;
using testing::Messages;
using testing::SolveStream;
using testing::ToBytes;

TEST_F(ServiceTest, ABackendThatFailsIsUnavailable) {
  Start();
  solver_.FailWith(absl::UnavailableError("device lost"));
  const auto answer =
      SolveStream(*stub_, Messages(MakeHeader(8, 8, 1, 2), ToBytes(Weights(8, 8)), 100));
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(answer.status.error_message(), "device lost");
  solver_.FailWith(absl::OkStatus());
  ExpectHealthy();
}

TEST_F(ServiceTest, ALostDeviceIsUnavailableAndNoBackendAnyMore) {
  Start();
  ExpectHealthy();
  solver_.LoseDevice(absl::UnavailableError("device lost"));
  for (int k = 0; k < 2; ++k) {
    const auto answer =
        SolveStream(*stub_, Messages(MakeHeader(8, 8, 1, 2), ToBytes(Weights(8, 8)), 100));
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_THAT(answer.status.error_message(),
                ::testing::StartsWith("every device of this server has failed"));
  }
  EXPECT_EQ(Gauge("tsenor_backend_up"), 0);
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(stub_->GetServerInfo(&context, {}, &info).ok());
  EXPECT_EQ(info.backends_size(), 0);
}

TEST_F(ServiceTest, AStreamWhoseSolverHangsIsUnavailableOnceThatIsKnown) {
  Start();
  solver_.Block();
  std::thread hangs([this] {
    EXPECT_TRUE(solver_.WaitForCalls(1));
    solver_.LoseDevice(absl::UnavailableError("it hangs"));
  });
  const auto answer =
      SolveStream(*stub_, Messages(MakeHeader(8, 8, 1, 2), ToBytes(Weights(8, 8)), 100));
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(answer.status.error_message(), "it hangs");
  EXPECT_GT(engine_->budget().used(), 0);  // the solver may still write there
  hangs.join();
  solver_.Unblock();
  EXPECT_TRUE(WaitUntilMemoryIsFree());
}

}  // namespace
}  // namespace tsenor::server
