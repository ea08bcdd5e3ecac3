#include "solver/cuda/kernels/patch_schedule.h"

#include <iterator>
#include <span>
#include <utility>

#include "solver/cpu/quantile.h"
#include "solver/cuda/kernels/pass.h"
#include "solver/cuda/schedule_numbers.h"

namespace tsenor::cuda {
namespace {

// Numbers found on an H200 by a search for the least time of the kernel: the even ones on Gaussian
// weights, those of kScaled on log-normal column norms, row norms, and both.
struct EvenTable {
  float relaxation;  // of Newton's step
  std::span<const EvenSweep> sweeps;
};
constexpr EvenSweep kEven32[] = {
    {1.464f, 1.4f, 8.67f},    {3.574f, 2.54f, 0.953f},  {6.824f, 1.27f, 2.84f},
    {12.35f, 0.882f, 0.655f}, {22.78f, 0.965f, 1.09f},  {45.3f, 1.16f, 0.98f},
    {63.52f, 1.11f, 0.918f},  {92.23f, 0.984f, 0.818f}, {148.3f, 0.866f, 0.655f},
    {271.2f, 0.655f, 0.447f},
};
constexpr EvenSweep kEven16[] = {
    {1.255f, 2.61f, 8.57f},   {2.596f, 2.67f, 2.53f},  {6.235f, 1.28f, 1.54f},
    {11.8f, 1.15f, 0.974f},   {20.42f, 1.25f, 0.986f}, {29.34f, 1.0f, 0.871f},
    {41.93f, 0.997f, 0.85f},  {61.93f, 0.85f, 0.805f}, {94.83f, 0.812f, 0.626f},
    {207.5f, 0.618f, 0.458f},
};
constexpr EvenSweep kEven8[] = {
    {1.149f, 2.57f, 4.41f},   {1.988f, 1.99f, 3.09f},   {4.467f, 1.44f, 1.33f},
    {8.105f, 1.25f, 1.04f},   {12.22f, 1.04f, 0.749f},  {20.59f, 0.694f, 0.705f},
    {28.34f, 0.642f, 0.673f}, {49.84f, 0.767f, 0.658f}, {102.5f, 0.644f, 0.488f},
};
static_assert(std::size(kEven32) == EvenSweeps(32));
static_assert(std::size(kEven16) == EvenSweeps(16));
static_assert(std::size(kEven8) == EvenSweeps(8));

EvenTable EvenTableFor(int m) {
  const int place = PatchBlock(m);
  if (place == 32) return {1.022f, kEven32};
  return place == 16 ? EvenTable{0.9499f, kEven16} : EvenTable{0.8244f, kEven8};
}

constexpr float kScaledRelaxation = 0.7992f;
constexpr ScaledSweep kScaled32[] = {
    {0.4712f, 0.8214f}, {1.165f, 0.7256f}, {3.427f, 1.08f},  {5.318f, 0.5965f}, {11.69f, 1.776f},
    {21.16f, 1.17f},    {41.59f, 1.25f},   {98.82f, 1.171f}, {203.3f, 1.309f},  {254.3f, 2.149f},
};
// In smaller places, as found before that one: blocks with ties, or a huge line, prefer it.
constexpr ScaledSweep kScaled[] = {
    {0.4712f, 0.797f}, {1.165f, 0.609f}, {3.552f, 1.08f}, {5.318f, 0.795f}, {11.69f, 1.77f},
    {21.16f, 1.17f},   {41.59f, 1.25f},  {98.82f, 1.17f}, {161.1f, 1.41f},  {257.7f, 1.91f},
};

constexpr float kTiedRelaxation = 1.16f;
constexpr ScaledSweep kTied[] = {
    {0.56f, 1.23f},  {1.35f, 1.28f}, {2.42f, 1.18f}, {4.83f, 1.05f}, {10.2f, 1.06f},
    {15.95f, 0.96f}, {34.8f, 0.84f}, {71.8f, 1.63f}, {138.9f, 1.4f}, {180.0f, 2.18f},
};
static_assert(std::size(kTied) == kTiedSweeps);

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

// The bits of c / x are about c's plus these less x's, +-12 %, twice: in half precision they are
// nearly logarithms.
constexpr uint32_t kOfQuotient = 0x3b983b98u;

PatchSchedule MeasuringSchedule(float relaxation, std::span<const ScaledSweep> sweeps) {
  PatchSchedule schedule;
  int k = 0;
  for (const ScaledSweep& sweep : sweeps) {
    SweepStep& step = SetSharpness(k++, sweep.tau, schedule);
    step.reach = Twice(1 / sweep.tau);
    step.twice_reach = Twice(2 / sweep.tau);
    step.least_within = Twice(sweep.least_within / 6);
    step.gain_at_one = Twice(relaxation / 12) + kOfQuotient;
    step.greatest_gain = Twice(relaxation / (sweep.least_within * sweep.tau));
  }
  return schedule;
}

static_assert(std::size(kScaled) == kScaledSweeps);
static_assert(std::size(kScaled32) == kScaledSweeps);

// Lines whose means have a mean square deviation of more than this from the block's differ in
// scale. (Of Gaussian lines of m entries, it is about 0.57 / m.)
float ScaledSpread(int m) {
  const int place = PatchBlock(m);
  return place == 32 ? 0.066f : place == 16 ? 0.112f : 0.28f;
}

}  // namespace

PatchSchedules SchedulesFor(int n, int m) {
  const float center = cpu::QuantileFactor(n, m);
  const float density = DensityAt(center, m);
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
          .of = {EvenSchedule(m, density),
                 MeasuringSchedule(kScaledRelaxation, PatchBlock(m) == 32 ? kScaled32 : kScaled),
                 MeasuringSchedule(kTiedRelaxation, kTied)}};
}

}  // namespace tsenor::cuda
