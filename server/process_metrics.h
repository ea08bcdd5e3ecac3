// What the kernel knows of this process, for Prometheus.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

namespace tsenor::server {

// The metrics that Prometheus' own client libraries have for every process, under their names, read
// from /proc when they are scraped. Thread-safe.
class ProcessMetrics final : public prometheus::Collectable {
 public:
  // Sees what is there now; what cannot be read is left out.
  std::vector<prometheus::MetricFamily> Collect() const override;
};

}  // namespace tsenor::server
