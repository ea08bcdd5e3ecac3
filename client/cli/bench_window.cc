#include "client/cli/bench_window.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace tsenor::cli {
namespace {

// Bands of one octave: [64, 128) nanoseconds, [128, 256), ...; shorter times have a band each.
constexpr int kBands = 64;
constexpr int kBandBits = 7;  // a time's leading bits, which name its band: 64 to 127
// Octaves up to 2^63 ns, the greatest time that std::chrono::nanoseconds holds.
constexpr int kOctaves = 63 - kBandBits + 1;

int BandOf(uint64_t ns) {
  const int octave = std::max(static_cast<int>(std::bit_width(ns)) - kBandBits, 0);
  return kBands * octave + static_cast<int>(ns >> octave);
}

int64_t UpperEdge(int band) {
  if (band < 2 * kBands) return band;
  const int octave = band / kBands - 1;
  // The greatest is 2^63 - 1, by way of 2^63.
  return static_cast<int64_t>(((static_cast<uint64_t>(band % kBands) + kBands + 1) << octave) - 1);
}

double Seconds(int64_t ns) { return static_cast<double>(ns) * 1e-9; }

// Whether all values lie within `tolerance` of their mean.
bool Agree(const std::vector<double>& values, double tolerance) {
  double mean = 0;
  for (const double value : values) mean += value / static_cast<double>(values.size());
  return std::all_of(values.begin(), values.end(),
                     [&](double value) { return std::abs(value - mean) <= tolerance * mean; });
}

}  // namespace

LatencyHistogram::LatencyHistogram() : bands_(kBands * (kOctaves + 1)) {}

void LatencyHistogram::Record(std::chrono::nanoseconds latency) {
  const int64_t ns = std::max<int64_t>(latency.count(), 0);
  ++bands_[BandOf(static_cast<uint64_t>(ns))];
  ++count_;
  max_ns_ = std::max(max_ns_, ns);
}

void LatencyHistogram::Add(const LatencyHistogram& other) {
  for (size_t k = 0; k < bands_.size(); ++k) bands_[k] += other.bands_[k];
  count_ += other.count_;
  max_ns_ = std::max(max_ns_, other.max_ns_);
}

double LatencyHistogram::Quantile(double share) const {
  const auto wanted = static_cast<int64_t>(std::ceil(share * static_cast<double>(count_)));
  int64_t seen = 0;
  for (size_t k = 0; k < bands_.size(); ++k) {
    seen += bands_[k];
    if (bands_[k] > 0 && seen >= wanted) {
      return Seconds(std::min(UpperEdge(static_cast<int>(k)), max_ns_));
    }
  }
  return 0;
}

double LatencyHistogram::max_seconds() const { return Seconds(max_ns_); }

Window& Window::operator+=(const Window& other) {
  seconds += other.seconds;
  masks += other.masks;
  weights += other.weights;
  sent_bytes += other.sent_bytes;
  received_bytes += other.received_bytes;
  latency.Add(other.latency);
  receive_seconds += other.receive_seconds;
  queue_seconds += other.queue_seconds;
  solve_seconds += other.solve_seconds;
  total_seconds += other.total_seconds;
  for (const auto& [code, count] : other.errors) errors[code] += count;
  failed_latency.Add(other.failed_latency);
  late_seconds = std::max(late_seconds, other.late_seconds);
  client_cpu_seconds += other.client_cpu_seconds;
  if (other.server_cpu_seconds) {
    server_cpu_seconds = server_cpu_seconds.value_or(0) + *other.server_cpu_seconds;
  }
  return *this;
}

double Window::masks_per_second() const {
  return seconds > 0 ? static_cast<double>(masks) / seconds : 0;
}

int64_t Window::failed() const {
  int64_t sum = 0;
  for (const auto& [code, count] : errors) sum += count;
  return sum;
}

bool Stable(std::span<const Window> windows, double tolerance) {
  if (windows.size() != kStableWindows) return false;
  std::vector<double> speeds;
  std::vector<double> tails;
  for (const Window& window : windows) {
    if (window.masks == 0) return false;
    speeds.push_back(window.masks_per_second());
    tails.push_back(window.latency.Quantile(0.99));
  }
  return Agree(speeds, tolerance) && Agree(tails, tolerance);
}

}  // namespace tsenor::cli
