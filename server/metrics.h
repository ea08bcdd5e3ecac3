// What Prometheus hears. server/README.md lists the metrics.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <array>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/observer.h"

namespace prometheus {
class Exposer;
}  // namespace prometheus

namespace tsenor::server {

class ProcessMetrics;

// Counts what the observer hears, in metrics that are all created up front: counting takes no lock
// but that of one histogram.
//
// Owns its registry. Thread-safe.
class Metrics final : public Observer {
 public:
  // `backends`: the names of the solvers. `memory_budget_bytes`: its size.
  Metrics(const std::vector<std::string>& backends, int64_t memory_budget_bytes);

  const std::shared_ptr<prometheus::Registry>& registry() const { return registry_; }

  // Observer.
  void OnMemoryChange(int64_t bytes) override;
  void OnQueueChange(int64_t elements, int64_t bytes) override;
  void OnFileRead(int64_t bytes) override;
  void OnStages(Stage stage, std::span<const double> seconds) override;
  void OnBatch(const BatchReport& report) override;
  void OnCanary(const std::string& backend) override;
  void OnSolverLost(const std::string& backend) override;
  void OnTensorDone(const Problem& problem, const SolveStats& stats) override;
  void OnDropped(DropReason reason) override;
  void OnRejected(RejectReason reason) override;
  void OnRpcStarted(const char* method) override;
  void OnRpcHandled(const char* method, absl::StatusCode code, double seconds) override;
  void OnMessageReceived(const char* method, int64_t bytes) override;
  void OnMessageSent(const char* method, int64_t bytes) override;

 private:
  static constexpr const char* kRpcMethods[] = {"SolveStream", "Solve", "GetServerInfo"};
  static constexpr int kCodes = 17;  // OK = 0 to UNAUTHENTICATED = 16

  struct MethodMetrics {
    prometheus::Counter* started;
    std::array<prometheus::Counter*, kCodes> handled;
    prometheus::Histogram* seconds;
    prometheus::Counter* messages_received;
    prometheus::Counter* messages_sent;
    prometheus::Counter* bytes_received;
    prometheus::Counter* bytes_sent;
  };
  // Work done by one backend with one method on one data type.
  struct WorkMetrics {
    prometheus::Counter* weights;
    prometheus::Counter* blocks;
  };
  struct BackendMetrics {
    prometheus::Gauge* up;
    prometheus::Gauge* canary_time;
    prometheus::Counter* seconds;
    prometheus::Counter* wasted_seconds;
    WorkMetrics work[std::size(kAllMethods)][std::size(kAllDTypes)];
  };

  // REQUIRES: `name` is one of kRpcMethods.
  const MethodMetrics& Of(const char* name) const;
  void CreateRpcMetrics();
  void CreateWorkMetrics(const std::vector<std::string>& backends);
  void CreateErrorMetrics();
  prometheus::Counter& NewCounter(const char* name, const char* help,
                                  const prometheus::Labels& labels = {});
  prometheus::Gauge& NewGauge(const char* name, const char* help,
                              const prometheus::Labels& labels = {});
  prometheus::Histogram& NewHistogram(const char* name, const char* help,
                                      const prometheus::Histogram::BucketBoundaries& boundaries,
                                      const prometheus::Labels& labels = {});

  const std::shared_ptr<prometheus::Registry> registry_;
  // Made once and for all: what is counted most often is found without making a string.
  std::array<MethodMetrics, std::size(kRpcMethods)> methods_;
  std::map<std::string, BackendMetrics> backends_;
  std::array<prometheus::Histogram*, 4> stages_;
  std::array<prometheus::Counter*, 3> dropped_;
  std::array<prometheus::Counter*, 4> rejected_;
  prometheus::Gauge* memory_used_;
  prometheus::Counter* file_bytes_;
  prometheus::Gauge* queue_elements_;
  prometheus::Gauge* queue_bytes_;
  prometheus::Histogram* batch_elements_;
  prometheus::Histogram* batch_pieces_;
  prometheus::Histogram* batch_fill_;
  prometheus::Counter* batch_failures_;
  prometheus::Histogram* relative_gap_;
  prometheus::Counter* blocks_proven_;
  prometheus::Counter* blocks_unproven_;
  prometheus::Counter* sweeps_;
  prometheus::Counter* augmentations_;
};

// Serves /metrics over HTTP. Thread-compatible.
class MetricsEndpoint {
 public:
  // Listens on `address`, host:port, where port 0 is any free one.
  // Errors: Unavailable if it cannot be bound.
  static absl::StatusOr<std::unique_ptr<MetricsEndpoint>> Start(const std::string& address,
                                                                const Metrics& metrics);
  ~MetricsEndpoint();

  // With the real port.
  const std::string& address() const { return address_; }

 private:
  MetricsEndpoint();

  std::string address_;
  std::shared_ptr<ProcessMetrics> process_;  // which the exposer only refers to
  std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace tsenor::server
