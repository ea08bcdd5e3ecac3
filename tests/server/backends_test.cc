// What a server solves with where there is no GPU, or none that it may use.
#include "server/backends.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace tsenor::server {
namespace {

using ::testing::StartsWith;

Flags With(const std::string& backend) {
  Flags flags;
  flags.backend = backend;
  flags.threads = 2;
  return flags;
}

TEST(Backends, AreWhatIsAskedFor) {
  for (const char* name : {"cpu", "reference", "null"}) {
    const auto backends = MakeBackends(With(name));
    ASSERT_TRUE(backends.ok()) << backends.status();
    ASSERT_EQ(backends->solvers.size(), 1u);
    EXPECT_EQ(backends->solvers[0]->info().name, name);
    EXPECT_EQ(backends->fallback_reason, "");
  }
}

TEST(Backends, AutoIsEveryGpuOrElseTheCpuAndTheReason) {
  const auto backends = MakeBackends(With("auto"));
  ASSERT_TRUE(backends.ok()) << backends.status();
  const SolverInfo& first = backends->solvers[0]->info();
  if (backends->fallback_reason.empty()) {
    EXPECT_EQ(first.name, "cuda:0");
    EXPECT_TRUE(MakeBackends(With("cuda")).ok());
    return;
  }
  ASSERT_EQ(backends->solvers.size(), 1u);
  EXPECT_EQ(first.name, "cpu");
  EXPECT_EQ(first.threads, 2);
  // Whoever insists gets the same reason as an error.
  const absl::Status refused = MakeBackends(With("cuda")).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(refused.message(), "backend is cuda: " + backends->fallback_reason);
}

TEST(Backends, AGpuThatIsAskedForAndNotThereIsAnError) {
  Flags flags = With("cuda");
  flags.devices = {1000};
  const absl::Status refused = MakeBackends(flags).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), StartsWith("backend is cuda: "));
}

}  // namespace
}  // namespace tsenor::server
