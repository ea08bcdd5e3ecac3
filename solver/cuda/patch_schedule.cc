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
struct EvenTable {
  float relaxation;  // of Newton's step
  std::span<const EvenSweep> sweeps;
};
constexpr EvenSweep kEven32[] = {
    {1.439f, 1.4f, 11.2f},    {3.714f, 2.62f, 0.844f}, {7.47f, 1.3f, 2.5f},
    {11.03f, 0.94f, 0.47f},   {23.34f, 0.936f, 1.02f}, {42.18f, 1.01f, 0.921f},
    {68.53f, 1.12f, 0.968f},  {89.07f, 1.04f, 0.854f}, {138.4f, 0.878f, 0.658f},
    {233.6f, 0.753f, 0.462f},
};
constexpr EvenSweep kEven16[] = {
    {1.453f, 2.17f, 8.23f},   {2.99f, 2.23f, 1.15f},   {7.267f, 1.07f, 1.58f},
    {11.17f, 1.41f, 0.878f},  {23.74f, 1.1f, 0.901f},  {29.59f, 1.03f, 0.849f},
    {50.49f, 0.954f, 0.844f}, {80.3f, 0.766f, 0.699f}, {158.9f, 0.605f, 0.448f},
};
constexpr EvenSweep kEven8[] = {
    {1.256f, 1.84f, 6.07f},   {2.47f, 1.81f, 3.37f},    {4.566f, 1.61f, 1.21f},
    {8.841f, 1.16f, 0.934f},  {14.91f, 0.995f, 0.813f}, {28.36f, 0.742f, 0.762f},
    {44.64f, 0.788f, 0.613f}, {79.0f, 0.614f, 0.489f},
};
static_assert(std::size(kEven32) == EvenSweeps(32));
static_assert(std::size(kEven16) == EvenSweeps(16));
static_assert(std::size(kEven8) == EvenSweeps(8));

EvenTable EvenTableFor(int m) {
  const int place = PatchBlock(m);
  if (place == 32) return {1.026f, kEven32};
  return place == 16 ? EvenTable{0.9393f, kEven16} : EvenTable{0.7996f, kEven8};
}

constexpr float kScaledRelaxation = 0.7992f;
struct ScaledSweep {
  float tau;
  float least_within;  // a line counts at least six times so many entries within reach
};
constexpr ScaledSweep kScaled[] = {
    {0.4712f, 0.794f}, {1.168f, 0.617f}, {3.288f, 1.47f}, {5.318f, 0.77f}, {10.92f, 1.74f},
    {20.38f, 1.21f},   {41.59f, 1.21f},  {100.6f, 1.14f}, {160.4f, 1.43f}, {241.6f, 1.85f},
};

constexpr float kTiedRelaxation = 1.0f;
constexpr ScaledSweep kTied[] = {
    {0.5f, 1.0f},  {1.0f, 1.0f},  {2.0f, 1.0f},  {3.9f, 1.0f},   {7.6f, 1.0f},
    {15.0f, 1.0f}, {28.0f, 1.0f}, {55.0f, 1.0f}, {107.0f, 1.0f}, {210.0f, 1.0f},
};
static_assert(std::size(kTied) == kTiedSweeps);

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
  const EvenTable table = EvenTableFor(m);
  const auto gain = [&](float tau, float limit) {
    return 1 / (tau / limit + density / table.relaxation);
  };
  float gain_before = 1;
  int k = 0;
  for (const EvenSweep& sweep : table.sweeps) {
    SweepStep& step = SetSharpness(k++, sweep.tau, schedule);
    const float column_gain = gain(sweep.tau, sweep.column_limit);
    step.row_gain = Twice(-sweep.tau * gain(sweep.tau, sweep.row_limit));
    step.column_gain = Twice(column_gain);
    step.minus_gain_before = Twice(-std::exchange(gain_before, column_gain));
  }
  return schedule;
}

PatchSchedule MeasuringSchedule(float relaxation, std::span<const ScaledSweep> sweeps) {
  PatchSchedule schedule;
  int k = 0;
  for (const ScaledSweep& sweep : sweeps) {
    SweepStep& step = SetSharpness(k++, sweep.tau, schedule);
    step.gain_scale = Twice(relaxation / (6 * sweep.tau));
    step.greatest_gain = Twice(relaxation / (sweep.least_within * sweep.tau));
    step.longest = Twice(1 / sweep.tau);
  }
  return schedule;
}

static_assert(std::size(kScaled) == kScaledSweeps);

// Lines whose means have a mean square deviation of more than this from the block's differ in
// scale. (Of Gaussian lines of m entries, it is about 0.57 / m.)
float ScaledSpread(int m) {
  const int place = PatchBlock(m);
  return place == 32 ? 0.066f : place == 16 ? 0.112f : 0.28f;
}

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
          .ones = {Twice(1), Twice(1)},
          .start_factor = Twice(center / static_cast<float>(m)),
          .start_rest = Twice(center * center - center),
          .scaled_spread = ScaledSpread(m) * center * center,
          .even = EvenSchedule(m, density),
          .scaled = MeasuringSchedule(kScaledRelaxation, kScaled),
          .tied = MeasuringSchedule(kTiedRelaxation, kTied)};
}

}  // namespace tsenor::cuda
