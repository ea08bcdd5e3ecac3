// The whole service on a loopback port, with a fake solver behind it.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/engine.h"
#include "server/metrics.h"
#include "server/server.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_solver.h"
#include "tests/support/stream_client.h"

namespace tsenor::server {

class ServiceTest : public ::testing::Test {
 protected:
  ServiceTest() { limits_.piece_bytes = 8192; }
  ~ServiceTest() override {
    solver_.Unblock();
    server_.reset();
  }

  void Start(const std::vector<std::string>& addresses = {"127.0.0.1:0"}) {
    engine_ = std::make_unique<Engine>(
        limits_, BatchConfig(), std::vector<Solver*>{&solver_}, clock_, metrics_,
        weights_directory_.has_value() ? &*weights_directory_ : nullptr);
    auto server = Server::Start(addresses, *engine_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = testing::MakeStub(server_->addresses().front());
  }

  // A tensor, its mask by FakeSolver, and its bytes. Columns are a multiple of 8.
  static std::vector<float> Weights(int64_t rows, int64_t columns) {
    std::vector<float> weights(static_cast<size_t>(rows * columns));
    for (size_t k = 0; k < weights.size(); ++k) {
      weights[k] = static_cast<float>((k * 2654435761u) % 1001) - 500.0f;
    }
    return weights;
  }
  static std::string ExpectedMask(const std::vector<float>& weights) {
    std::string mask(weights.size() / 8, '\0');
    for (size_t k = 0; k < weights.size(); ++k) {
      if (weights[k] > 0) mask[k / 8] = static_cast<char>(mask[k / 8] | (1 << (k % 8)));
    }
    return mask;
  }

  // One good request: proves the server healthy.
  void ExpectHealthy() {
    const std::vector<float> weights = Weights(8, 8);
    const auto answer = testing::SolveStream(
        *stub_, testing::Messages(testing::MakeHeader(8, 8, 1, 2), testing::ToBytes(weights), 100));
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.mask, ExpectedMask(weights));
  }

  // Waits, at most ten seconds, until `condition` holds; returns whether it does.
  template <typename Condition>
  static bool WaitUntil(Condition condition) {
    for (int k = 0; k < 1000; ++k) {
      if (condition()) return true;  // and not once more: it may be a call, which uses up a place
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  bool WaitUntilMemoryIsFree() {
    return WaitUntil([this] { return engine_->budget().used() == 0; });
  }

  // The gauge, or the counter, of this name, as Prometheus would see it.
  double Gauge(const std::string& name) const { return MetricOf(name).gauge.value; }
  double Counter(const std::string& name) const { return MetricOf(name).counter.value; }

  prometheus::ClientMetric MetricOf(const std::string& name) const {
    for (const auto& family : metrics_.registry()->Collect()) {
      if (family.name == name) return family.metric.front();
    }
    ADD_FAILURE() << "no metric " << name;
    return {};
  }

  SteadyClock clock_;
  testing::FakeSolver solver_;
  Limits limits_;
  std::optional<WeightsDirectory> weights_directory_;  // none unless set before Start()
  Metrics metrics_{{"fake"}, 1 << 30};
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<v1::MaskService::Stub> stub_;
};

}  // namespace tsenor::server
