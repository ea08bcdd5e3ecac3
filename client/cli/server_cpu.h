// How much processor time a server has taken, as its metrics say.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace tsenor::cli {

// The value of process_cpu_seconds_total in Prometheus' text format. Errors: NotFound if there is
// none.
absl::StatusOr<double> ParseCpuSeconds(const std::string& metrics);

// Gets `url` (http://HOST:PORT/metrics) and reads it so.
// Errors: Unavailable if nothing answers there within two seconds, or not with a page; NotFound;
// each names `url`.
absl::StatusOr<double> ScrapeCpuSeconds(const std::string& url);

}  // namespace tsenor::cli
