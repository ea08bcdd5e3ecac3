#include "solver/cuda/kernels/wide_schedule.h"

#include <cuda_fp16.h>

#include <cmath>
#include <iterator>

#include "solver/cpu/quantile.h"

namespace tsenor::cuda {
namespace {

// Not tuned on a GPU yet. To try another one, change these tables: schedules are a parameter of the
// kernel, which need not be compiled again.
constexpr float kEvenRelaxation = 1.042f;  // of Newton's step
struct EvenSweep {
  float tau;
  float row_limit, column_limit;  // tau times the farthest that an excess of one moves a potential
};
constexpr EvenSweep kEven[] = {
    {1.394f, 1.57f, 8.2f},    {3.742f, 1.83f, 1.12f},   {8.0f, 1.63f, 1.87f},
    {16.0f, 1.2f, 0.578f},    {26.0f, 0.803f, 0.841f},  {46.0f, 1.03f, 0.969f},
    {70.0f, 1.15f, 0.895f},   {120.0f, 0.791f, 0.804f}, {190.0f, 0.748f, 0.729f},
    {320.0f, 0.592f, 0.423f},
};

constexpr float kScaledRelaxation = 0.948f;
constexpr int kScaledMeasured = 4;
struct ScaledSweep {
  float tau;
  float least_within;  // a line counts at least six times so many entries within reach
};
constexpr ScaledSweep kScaled[] = {
    {0.3388f, 0.843f}, {1.208f, 0.974f}, {2.993f, 2.63f}, {5.079f, 1.25f}, {10.08f, 2.18f},
    {19.89f, 1.72f},   {43.55f, 1.61f},  {115.2f, 1.3f},  {200.0f, 1.53f}, {350.0f, 2.31f},
};

// Twice the same number.
uint32_t Twice(float value) {
  const uint32_t half = __half_raw(__float2half(value)).x;
  return half << 16 | half;
}

// Appends a sweep without its gains.
WideStep& Append(float tau, WideSchedule& schedule) {
  const float before = schedule.sweeps > 0 ? 1 / schedule.per_last_tau : tau;
  const float rescale = tau / before;
  WideStep& step = schedule.step[schedule.sweeps++];
  step.tau = Twice(tau);
  step.rescale = Twice(rescale);
  step.offset = Twice(0.5f * (1 - rescale));
  schedule.per_last_tau = 1 / tau;
  return step;
}

// `density`: entries of a line per mean score, around its threshold.
WideSchedule EvenSchedule(float density) {
  WideSchedule schedule = {.first_tau = kEven[0].tau};
  const auto gain = [&](float tau, float limit) {
    return 1 / (tau / limit + density / kEvenRelaxation);
  };
  for (const EvenSweep& sweep : kEven) {
    WideStep& step = Append(sweep.tau, schedule);
    step.row_gain = Twice(-sweep.tau * gain(sweep.tau, sweep.row_limit));
    step.column_gain = Twice(gain(sweep.tau, sweep.column_limit));
  }
  return schedule;
}

WideSchedule ScaledSchedule() {
  WideSchedule schedule = {.measured = kScaledMeasured, .first_tau = kScaled[0].tau};
  for (const ScaledSweep& sweep : kScaled) {
    WideStep& step = Append(sweep.tau, schedule);
    step.gain_scale = Twice(kScaledRelaxation / (6 * sweep.tau));
    step.greatest_gain = Twice(kScaledRelaxation / (sweep.least_within * sweep.tau));
    step.longest = Twice(1 / sweep.tau);
  }
  return schedule;
}

static_assert(std::size(kEven) <= WideSchedule::kMostSweeps);
static_assert(std::size(kScaled) <= WideSchedule::kMostSweeps);

}  // namespace

WideSchedules WideSchedulesFor(int n, int m) {
  const float center = cpu::QuantileFactor(n, m);
  // The density of |N(0, 1)| there, in units of its mean sqrt(2 / pi).
  constexpr float kMean = 0.79788456f;
  const float quantile = center * kMean;
  const float density =
      static_cast<float>(m) * kMean * kMean * std::exp(-0.5f * quantile * quantile);
  const uint32_t minus_n = Twice(-static_cast<float>(n));
  return {.per_entry = 1.0f / static_cast<float>(m * m),
          .center = center,
          .mean_exponent = WideMeanExponent(n, m),
          .minus_n = {minus_n, minus_n},
          .ones = {Twice(1), Twice(1)},
          .even = EvenSchedule(density),
          .scaled = ScaledSchedule()};
}

}  // namespace tsenor::cuda
