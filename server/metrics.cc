#include "server/metrics.h"

#include <prometheus/exposer.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/process_metrics.h"

namespace tsenor::server {
namespace {

using Boundaries = prometheus::Histogram::BucketBoundaries;

constexpr const char* kStages[] = {"receive", "queue", "solve", "send"};
constexpr const char* kDropReasons[] = {"cancelled", "deadline", "shutdown"};
constexpr const char* kRejectReasons[] = {"invalid", "streams", "idle", "file"};
constexpr const char* kSolveMethods[] = {"optimal",    "tsenor", "two_approx", "bi_nm",
                                         "max_random", "row_nm", "column_nm"};  // as kAllMethods
static_assert(std::size(kSolveMethods) == std::size(kAllMethods));

// From `first`, each `factor` times the one before.
Boundaries Geometric(double first, double factor, int count) {
  Boundaries boundaries;
  for (int k = 0; k < count; ++k, first *= factor) boundaries.push_back(first);
  return boundaries;
}

// 100 us to 105 s: from one small piece to a large tensor.
Boundaries SecondsBoundaries() { return Geometric(1e-4, 4, 11); }

}  // namespace

Metrics::Metrics(const std::vector<std::string>& backends, int64_t memory_budget_bytes)
    : registry_(std::make_shared<prometheus::Registry>()) {
  NewGauge("tsenor_build_info", "Always 1; the version is a label.", {{"version", TSENOR_VERSION}})
      .Set(1);
  NewGauge("tsenor_memory_budget_bytes", "Host memory that tensors in flight may take.")
      .Set(static_cast<double>(memory_budget_bytes));
  memory_used_ = &NewGauge("tsenor_memory_used_bytes", "Host memory that tensors in flight take.");
  file_bytes_ = &NewCounter("tsenor_file_read_bytes_total",
                            "Bytes of tensors read from files of the weights directory.");
  CreateRpcMetrics();
  CreateWorkMetrics(backends);
  CreateErrorMetrics();
}

void Metrics::CreateRpcMetrics() {
  for (size_t k = 0; k < methods_.size(); ++k) {
    const char* const name = kRpcMethods[k];
    const prometheus::Labels labels = {{"grpc_method", name}};
    MethodMetrics& method = methods_[k];
    method.started = &NewCounter("grpc_server_started_total", "RPCs begun.", labels);
    method.seconds = &NewHistogram("grpc_server_handling_seconds", "Duration of RPCs.",
                                   SecondsBoundaries(), labels);
    method.messages_received =
        &NewCounter("grpc_server_msg_received_total", "Messages received.", labels);
    method.messages_sent = &NewCounter("grpc_server_msg_sent_total", "Messages sent.", labels);
    method.bytes_received =
        &NewCounter("tsenor_received_bytes_total", "Bytes of the messages received.", labels);
    method.bytes_sent =
        &NewCounter("tsenor_sent_bytes_total", "Bytes of the messages sent.", labels);
    for (int code = 0; code < kCodes; ++code) {
      const std::string code_name = absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
      method.handled[code] = &NewCounter("grpc_server_handled_total", "RPCs ended, by status code.",
                                         {{"grpc_method", name}, {"grpc_code", code_name}});
    }
  }
}

void Metrics::CreateWorkMetrics(const std::vector<std::string>& backends) {
  queue_elements_ = &NewGauge("tsenor_queue_elements", "Weights that wait for a worker.");
  queue_bytes_ = &NewGauge("tsenor_queue_bytes", "Bytes of the weights that wait for a worker.");
  batch_elements_ =
      &NewHistogram("tsenor_batch_elements", "Weights in a batch.", Geometric(1 << 10, 4, 9));
  batch_pieces_ =
      &NewHistogram("tsenor_batch_pieces", "Pieces of tensors in a batch.", Geometric(1, 2, 8));
  batch_fill_ = &NewHistogram(
      "tsenor_batch_fill_ratio", "Weights in a batch, of those of a full one.",
      {0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9, 1, 2});  // one large piece may overfill it
  batch_failures_ = &NewCounter("tsenor_batch_failures_total", "Batches that a backend failed.");
  for (size_t k = 0; k < stages_.size(); ++k) {
    stages_[k] = &NewHistogram("tsenor_stage_seconds",
                               "Time per stage: receive once a tensor, the others once a piece.",
                               SecondsBoundaries(), {{"stage", kStages[k]}});
  }
  for (const std::string& backend : backends) {
    const prometheus::Labels name = {{"backend", backend}};
    BackendMetrics& metrics = backends_[backend];
    metrics = {
        &NewGauge("tsenor_backend_up", "1 until the backend's device fails for good.", name),
        &NewGauge("tsenor_canary_success_timestamp_seconds",
                  "Unix time of the last right answer to a canary; 0: none yet.", name),
        &NewCounter("tsenor_solver_seconds_total",
                    "Time of batches in solvers; those that overlap count each.", name),
        &NewCounter("tsenor_solver_wasted_seconds_total",
                    "Of this time, that for pieces whose stream had ended when they were solved.",
                    name),
        {}};
    metrics.up->Set(1);
    for (const Method method : kAllMethods) {
      for (const DType dtype : kAllDTypes) {
        const prometheus::Labels labels = {{"backend", backend},
                                           {"method", kSolveMethods[static_cast<int>(method)]},
                                           {"dtype", NameOf(dtype)}};
        metrics.work[static_cast<int>(method)][static_cast<int>(dtype)] = {
            &NewCounter("tsenor_weights_solved_total", "Weights masked.", labels),
            &NewCounter("tsenor_blocks_solved_total", "Blocks masked.", labels)};
      }
    }
  }
}

void Metrics::CreateErrorMetrics() {
  // One gap below 1e-16 is 0 but for rounding.
  relative_gap_ =
      &NewHistogram("tsenor_relative_gap", "Proven (bound - value) / bound of a tensor's mask.",
                    Geometric(1e-16, 10, 16));
  blocks_proven_ = &NewCounter("tsenor_blocks_proven_total", "Blocks proven optimal.");
  blocks_unproven_ = &NewCounter("tsenor_blocks_unproven_total", "Blocks not proven optimal.");
  sweeps_ = &NewCounter("tsenor_sweeps_total", "Dykstra sweeps over blocks.");
  augmentations_ = &NewCounter("tsenor_augmentations_total", "Augmenting paths of exact finishes.");
  for (size_t k = 0; k < dropped_.size(); ++k) {
    dropped_[k] = &NewCounter("tsenor_dropped_total", "Pieces thrown away before they were solved.",
                              {{"reason", kDropReasons[k]}});
  }
  for (size_t k = 0; k < rejected_.size(); ++k) {
    rejected_[k] =
        &NewCounter("tsenor_rejected_total", "Tensors refused.", {{"reason", kRejectReasons[k]}});
  }
}

const Metrics::MethodMetrics& Metrics::Of(const char* name) const {
  size_t k = 0;
  while (std::strcmp(kRpcMethods[k], name) != 0) ++k;
  return methods_[k];
}

void Metrics::OnMemoryChange(int64_t bytes) { memory_used_->Increment(static_cast<double>(bytes)); }

void Metrics::OnQueueChange(int64_t elements, int64_t bytes) {
  queue_elements_->Increment(static_cast<double>(elements));
  queue_bytes_->Increment(static_cast<double>(bytes));
}

void Metrics::OnFileRead(int64_t bytes) { file_bytes_->Increment(static_cast<double>(bytes)); }

void Metrics::OnStages(Stage stage, std::span<const double> seconds) {
  prometheus::Histogram& histogram = *stages_[static_cast<size_t>(stage)];
  if (seconds.size() == 1) return histogram.Observe(seconds.front());
  // All at once: the histogram has a lock.
  static const Boundaries boundaries = SecondsBoundaries();
  std::vector<double> counts(boundaries.size() + 1);
  for (const double time : seconds) {
    ++counts[std::lower_bound(boundaries.begin(), boundaries.end(), time) - boundaries.begin()];
  }
  histogram.ObserveMultiple(counts, std::accumulate(seconds.begin(), seconds.end(), 0.0));
}

void Metrics::OnCanary(const std::string& backend) {
  backends_.at(backend).canary_time->SetToCurrentTime();
}

void Metrics::OnSolverLost(const std::string& backend) { backends_.at(backend).up->Set(0); }

void Metrics::OnBatch(const BatchReport& report) {
  batch_elements_->Observe(static_cast<double>(report.elements));
  batch_pieces_->Observe(static_cast<double>(report.pieces));
  batch_fill_->Observe(static_cast<double>(report.elements) /
                       static_cast<double>(std::max<int64_t>(report.full_elements, 1)));
  const BackendMetrics& backend = backends_.at(report.backend);
  backend.seconds->Increment(report.seconds);
  backend.wasted_seconds->Increment(report.wasted_seconds);
  if (!report.status.ok()) return batch_failures_->Increment();
  const WorkMetrics& work = backend.work[static_cast<int>(report.problem.options.method)]
                                        [static_cast<int>(report.problem.dtype)];
  const SolveStats& stats = report.stats;
  work.weights->Increment(static_cast<double>(report.elements));
  work.blocks->Increment(static_cast<double>(stats.blocks));
  blocks_proven_->Increment(static_cast<double>(stats.blocks_proven));
  blocks_unproven_->Increment(static_cast<double>(stats.blocks - stats.blocks_proven));
  sweeps_->Increment(static_cast<double>(stats.sweeps));
  augmentations_->Increment(static_cast<double>(stats.augmentations));
}

void Metrics::OnTensorDone(const Problem& /*problem*/, const SolveStats& stats) {
  relative_gap_->Observe(stats.relative_gap());
}

void Metrics::OnDropped(DropReason reason) { dropped_[static_cast<size_t>(reason)]->Increment(); }

void Metrics::OnRejected(RejectReason reason) {
  rejected_[static_cast<size_t>(reason)]->Increment();
}

void Metrics::OnRpcStarted(const char* method) { Of(method).started->Increment(); }

void Metrics::OnRpcHandled(const char* method, absl::StatusCode code, double seconds) {
  const MethodMetrics& metrics = Of(method);
  metrics.handled.at(static_cast<size_t>(code))->Increment();
  metrics.seconds->Observe(seconds);
}

void Metrics::OnMessageReceived(const char* method, int64_t bytes) {
  Of(method).messages_received->Increment();
  Of(method).bytes_received->Increment(static_cast<double>(bytes));
}

void Metrics::OnMessageSent(const char* method, int64_t bytes) {
  Of(method).messages_sent->Increment();
  Of(method).bytes_sent->Increment(static_cast<double>(bytes));
}

prometheus::Counter& Metrics::NewCounter(const char* name, const char* help,
                                         const prometheus::Labels& labels) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(*registry_).Add(labels);
}

prometheus::Gauge& Metrics::NewGauge(const char* name, const char* help,
                                     const prometheus::Labels& labels) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(*registry_).Add(labels);
}

prometheus::Histogram& Metrics::NewHistogram(const char* name, const char* help,
                                             const Boundaries& boundaries,
                                             const prometheus::Labels& labels) {
  return prometheus::BuildHistogram()
      .Name(name)
      .Help(help)
      .Register(*registry_)
      .Add(labels, boundaries);
}

MetricsEndpoint::MetricsEndpoint() = default;
MetricsEndpoint::~MetricsEndpoint() = default;

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Start(const std::string& address,
                                                                        const Metrics& metrics) {
  std::unique_ptr<MetricsEndpoint> endpoint(new MetricsEndpoint);
  try {  // the library throws where it cannot listen, with words about its own inside
    endpoint->exposer_ = std::make_unique<prometheus::Exposer>(address);
  } catch (const std::exception&) {
    return absl::UnavailableError(absl::StrCat("metrics-listen: cannot listen on ", address));
  }
  endpoint->exposer_->RegisterCollectable(metrics.registry());
  endpoint->process_ = std::make_shared<ProcessMetrics>();
  endpoint->exposer_->RegisterCollectable(endpoint->process_);
  endpoint->address_ = absl::StrCat(address.substr(0, address.rfind(':')), ":",
                                    endpoint->exposer_->GetListeningPorts().front());
  return endpoint;
}

}  // namespace tsenor::server
