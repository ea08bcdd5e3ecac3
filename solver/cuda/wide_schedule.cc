#include "solver/cuda/kernels/wide_schedule.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "solver/cpu/quantile.h"
#include "solver/cuda/schedule_numbers.h"

namespace tsenor::cuda {
namespace {

// Found for the fewest paths (kEven on Gaussian blocks of 32:64) by a search without a GPU; not
// tuned on one yet. To try another one, change these tables: schedules are a parameter of the
// kernel, which need not be compiled again.
constexpr float kEvenRelaxation = 1.061f;  // of Newton's step
constexpr EvenSweep kEven[] = {
    {1.815f, 1.58f, 8.09f},   {3.942f, 1.78f, 1.78f},  {5.657f, 1.98f, 1.37f},
    {10.12f, 1.44f, 1.35f},   {20.47f, 1.5f, 0.605f},  {24.96f, 0.776f, 0.871f},
    {44.99f, 0.925f, 0.957f}, {62.43f, 1.07f, 1.08f},  {108.3f, 0.938f, 0.756f},
    {141.8f, 0.913f, 0.884f}, {246.0f, 0.79f, 0.725f}, {346.4f, 0.592f, 0.371f},
};

// Of Gaussian lines, the starts' mean square is center^2 / m times the relative variance of an
// entry, 0.57: lines whose starts spread by so many times center^2 / m are not alike in scale.
constexpr float kScaledSpread = 2.1f;
constexpr float kScaledRelaxation = 0.948f;
constexpr int kScaledRough = 6, kScaledMeasured = 8;
constexpr ScaledSweep kScaled[] = {
    {0.3388f, 0.843f}, {1.208f, 0.974f}, {2.993f, 2.63f}, {5.079f, 1.25f}, {10.08f, 2.18f},
    {19.89f, 1.72f},   {43.55f, 1.61f},  {115.2f, 1.3f},  {200.0f, 1.53f}, {350.0f, 2.31f},
};

// The others grow evenly: from a reach of half the greatest score that is told from others, or of a
// mean score.
struct EvenGrowth {
  int sweeps, rough;
  float first_tau, last_tau;
  float relaxation, least_within;
};
constexpr EvenGrowth kWild = {16, 10, 0.0003f, 350.0f, 1.0f, 1.5f};
constexpr EvenGrowth kTied = {12, 4, 0.5f, 250.0f, 1.0f, 1.0f};

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
  float before = 1;
  for (const EvenSweep& sweep : kEven) {
    WideStep& step = Append(sweep.tau, schedule);
    step.minus_gain_before = Twice(-before);
    before = gain(sweep.tau, sweep.column_limit);
    step.row_gain = Twice(-sweep.tau * gain(sweep.tau, sweep.row_limit));
    step.column_gain = Twice(before);
  }
  return schedule;
}

// Appends a sweep of which lines measure their gains, or use those that they have measured.
void AppendMeasured(const ScaledSweep& sweep, float relaxation, WideSchedule& schedule) {
  WideStep& step = Append(sweep.tau, schedule);
  step.gain_scale = Twice(relaxation / (6 * sweep.tau));
  step.greatest_gain = Twice(relaxation / (sweep.least_within * sweep.tau));
  step.longest = Twice(1 / sweep.tau);
}

// What rough sweeps have in the place of fine ones' offsets: the fraction of entries that are kept.
void SetRough(float fraction, WideSchedule& schedule) {
  for (int k = 0; k < schedule.rough; ++k) schedule.step[k].offset = Twice(fraction);
}

WideSchedule ScaledSchedule(float fraction) {
  WideSchedule schedule = {
      .rough = kScaledRough, .measured = kScaledMeasured, .first_tau = kScaled[0].tau};
  for (const ScaledSweep& sweep : kScaled) AppendMeasured(sweep, kScaledRelaxation, schedule);
  SetRough(fraction, schedule);
  return schedule;
}

// All sweeps measure.
WideSchedule GrowingSchedule(const EvenGrowth& growth, float fraction) {
  WideSchedule schedule = {.rough = growth.rough, .measured = growth.sweeps};
  const float factor =
      std::pow(growth.last_tau / growth.first_tau, 1.0f / static_cast<float>(growth.sweeps - 1));
  float tau = growth.first_tau;
  for (int k = 0; k < growth.sweeps; ++k, tau *= factor) {
    AppendMeasured({tau, growth.least_within}, growth.relaxation, schedule);
  }
  SetRough(fraction, schedule);
  return schedule;
}

static_assert(std::size(kEven) <= WideSchedule::kMostSweeps && std::size(kEven) % 2 == 0);
static_assert(std::size(kScaled) <= WideSchedule::kMostSweeps);
static_assert(std::max(kWild.sweeps, kTied.sweeps) <= WideSchedule::kMostSweeps);

}  // namespace

WideSchedules WideSchedulesFor(int n, int m) {
  const float center = cpu::QuantileFactor(n, m);
  const float density = DensityAt(center, m);
  const float fraction = static_cast<float>(n) / static_cast<float>(m);
  const uint32_t minus_n = Twice(-static_cast<float>(n));
  return {.per_entry = 1.0f / static_cast<float>(m * m),
          .center = center,
          .mean_exponent = WideMeanExponent(n, m),
          .minus_n = {minus_n, minus_n},
          .ones = {Twice(1), Twice(1)},
          .start_factor = Twice(center / static_cast<float>(m)),
          .start_rest = Twice(center * center - center),
          .scaled_spread = kScaledSpread * center * center / static_cast<float>(m),
          .schedule = {EvenSchedule(density), ScaledSchedule(fraction),
                       GrowingSchedule(kTied, fraction), GrowingSchedule(kWild, fraction)}};
}

}  // namespace tsenor::cuda
