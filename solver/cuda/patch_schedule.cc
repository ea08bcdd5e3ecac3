#include "solver/cuda/kernels/patch_schedule.h"

#include <cuda_fp16.h>

#include <cmath>
#include <iterator>
#include <span>
#include <utility>

#include "solver/cpu/quantile.h"
#include "solver/cuda/kernels/pass.h"

namespace tsenor::cuda {
namespace {

// Numbers found on an H200 by a search for the least time of the kernel: the even ones on Gaussian
// weights, those of kScaled on log-normal column norms, row norms, and both.
struct EvenSweep {
  float tau;
  float row_limit, column_limit;  // tau times the farthest that an excess of one moves a potential
};
constexpr float kEvenRelaxation = 1.042f;  // of Newton's step
constexpr EvenSweep kEven32[] = {
    {1.394f, 1.57f, 8.2f},    {3.742f, 1.83f, 1.12f},   {7.471f, 1.63f, 1.87f},
    {14.67f, 1.2f, 0.578f},   {20.41f, 0.803f, 0.841f}, {34.14f, 1.03f, 0.969f},
    {44.56f, 1.15f, 0.895f},  {75.29f, 0.791f, 0.804f}, {108.8f, 0.748f, 0.729f},
    {176.0f, 0.592f, 0.423f},
};
constexpr EvenSweep kEven16[] = {
    {1.394f, 1.57f, 8.2f},  {3.742f, 1.83f, 1.12f},  {8.0f, 1.63f, 1.87f},   {15.0f, 1.2f, 0.578f},
    {25.0f, 1.03f, 0.969f}, {45.0f, 0.791f, 0.804f}, {85.0f, 0.748f, 0.729f}, {150.0f, 0.592f, 0.423f},
};
constexpr EvenSweep kEven8[] = {
    {1.394f, 1.57f, 8.2f},  {4.0f, 1.83f, 1.12f},    {10.0f, 1.63f, 1.87f},
    {24.0f, 1.03f, 0.969f}, {55.0f, 0.748f, 0.729f}, {130.0f, 0.592f, 0.423f},
};
static_assert(std::size(kEven32) == EvenSweeps(32));
static_assert(std::size(kEven16) == EvenSweeps(16));
static_assert(std::size(kEven8) == EvenSweeps(8));

std::span<const EvenSweep> EvenSweepsFor(int m) {
  const int place = PatchBlock(m);
  return place == 32 ? kEven32 : place == 16 ? std::span<const EvenSweep>(kEven16) : kEven8;
}

constexpr float kScaledRelaxation = 0.948f;
struct ScaledSweep {
  float tau;
  float least_within;  // a line counts at least six times so many entries within reach
};
constexpr ScaledSweep kScaled[] = {
    {0.3388f, 0.843f}, {1.208f, 0.974f}, {2.993f, 2.63f}, {5.079f, 1.25f}, {10.08f, 2.18f},
    {19.89f, 1.72f},   {43.55f, 1.61f},  {115.2f, 1.3f},  {165.4f, 1.53f}, {253.0f, 2.31f},
};

// Twice the same number.
uint32_t Twice(float value) {
  const uint32_t half = __half_raw(__float2half(value)).x;
  return half << 16 | half;
}

// Sweep number `k` without its gains.
SweepStep& SetSharpness(int k, float tau, PatchSchedule& schedule) {
  if (k == 0) schedule.first_tau = Twice(tau);
  const float rescale = k == 0 ? 1 : tau * schedule.per_last_tau;
  SweepStep& step = schedule.step[k];
  step.tau = Twice(tau);
  step.rescale = Twice(rescale);
  step.offset = Twice(0.5f * (1 - rescale));
  schedule.per_last_tau = 1 / tau;
  return step;
}

// `density`: entries of a line per mean score, around its threshold.
PatchSchedule EvenSchedule(int m, float density) {
  PatchSchedule schedule;
  const auto gain = [&](float tau, float limit) {
    return 1 / (tau / limit + density / kEvenRelaxation);
  };
  float gain_before = 1;
  int k = 0;
  for (const EvenSweep& sweep : EvenSweepsFor(m)) {
    SweepStep& step = SetSharpness(k++, sweep.tau, schedule);
    const float column_gain = gain(sweep.tau, sweep.column_limit);
    step.row_gain = Twice(-sweep.tau * gain(sweep.tau, sweep.row_limit));
    step.column_gain = Twice(column_gain);
    step.minus_gain_before = Twice(-std::exchange(gain_before, column_gain));
  }
  return schedule;
}

PatchSchedule ScaledSchedule() {
  PatchSchedule schedule;
  int k = 0;
  for (const ScaledSweep& sweep : kScaled) {
    SweepStep& step = SetSharpness(k++, sweep.tau, schedule);
    step.gain_scale = Twice(kScaledRelaxation / (6 * sweep.tau));
    step.greatest_gain = Twice(kScaledRelaxation / (sweep.least_within * sweep.tau));
    step.longest = Twice(1 / sweep.tau);
  }
  return schedule;
}

static_assert(std::size(kScaled) == kScaledSweeps);

}  // namespace

PatchSchedules SchedulesFor(int n, int m) {
  const float center = cpu::QuantileFactor(n, m);
  // The density of |N(0, 1)| there, in units of its mean sqrt(2 / pi).
  constexpr float kMean = 0.79788456f;
  const float quantile = center * kMean;
  const float density =
      static_cast<float>(m) * kMean * kMean * std::exp(-0.5f * quantile * quantile);
  return {.n = n,
          .m = m,
          .per_entry = 1.0f / static_cast<float>(m * m),
          .center = center,
          .mean_exponent = PatchMeanExponent(n, m),
          .minus_n = {Twice(static_cast<float>(-n)), Twice(static_cast<float>(-n))},
          .start_factor = Twice(center / static_cast<float>(m)),
          .start_rest = Twice(center * center - center),
          .even = EvenSchedule(m, density),
          .scaled = ScaledSchedule()};
}

}  // namespace tsenor::cuda
