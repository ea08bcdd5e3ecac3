// What is known of the blocks of a patch before the sweeps: scale, outliers, ties; and the scores
// as the sweeps and the exact steps see them.
#pragma once

#include <cstdint>

#include "solver/cuda/kernels/patch_huge_lines.cuh"
#include "solver/cuda/kernels/patch_schedule.h"
#include "solver/cuda/kernels/patch_sweeps.cuh"
#include "solver/cuda/kernels/patch_ties.cuh"
#include "solver/cuda/primitives/patch.cuh"

namespace tsenor::cuda {

// A block with a score of more mean scores than this has outliers: half precision would be spent on
// them, and of a small block, one of them is most of the mean.
constexpr float WildMax(int block) { return block == 8 ? 24 : block == 16 ? 32 : 64; }

// Whether the blocks of a patch are of the patch kernel's kind.
enum class PatchFit { kNone, kSome, kAll };

// kWhole: m is kBlock. kPlain: so it is, and blocks with ties or outliers do not fit.
template <int kBlock, bool kWhole, bool kPlain>
class PatchMeasure {
 public:
  // `offsets`: memory for those of huge lines, until potentials are written to it.
  __device__ PatchMeasure(const PatchSchedules& schedules, PatchScores scores,
                          PatchLineNumbers<kBlock>& offsets)
      : schedules_(schedules),
        scores_(scores),
        offsets_(offsets),
        m_(kWhole ? kBlock : schedules.m) {}

  // Takes the weights of a thread's entries: scores in quanta to shared memory; if kPlain, in mean
  // scores less the center to `state`, too, and all that only of patches that fit.
  __device__ PatchFit Take(const float (&weight)[4][8], PatchSweepState& state) {
    const PatchPlace place;
    const uint32_t tied = TiedBlocks<kBlock>(weight, m_);
    if (kPlain && tied != 0) return PatchFit::kNone;
    tied_ = tied;
    float mean = SumOfScores(weight) * schedules_.per_entry;
    const int exponent = static_cast<int>(__float_as_uint(mean) >> 23) - 127;
    quanta_ = __uint_as_float((127 + mean_exponent(IsTied()) - exponent) << 23);
    mean_quanta_ = mean * quanta_;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const float* const at = &weight[k][4 * c];
        scores_.quad(place, k, c) = make_float4(fabsf(at[0]) * quanta_, fabsf(at[1]) * quanta_,
                                                fabsf(at[2]) * quanta_, fabsf(at[3]) * quanta_);
      }
    }
    if constexpr (kPlain) {
      Center(state);
      __half2 greatest = __float2half2_rn(0.0f);
#pragma unroll
      for (int k = 0; k < 4; ++k) {
#pragma unroll
        for (const __half2 x : state.x[k]) greatest = __hmax2(greatest, x);
      }
      return __any_sync(~0u, IsOutlier(greatest)) || !__all_sync(~0u, IsInRange(mean))
                 ? PatchFit::kNone
                 : PatchFit::kAll;
    }
    float greatest = 0;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (const float w : weight[k]) greatest = fmaxf(greatest, fabsf(w));
    }
    // The same as if all were centered first.
    const float per_mean = __fdividef(1.0f, mean_quanta_);
    const bool wild = IsOutlier(__float2half2_rn(Centered(greatest * quanta_, per_mean)));
    wild_lanes_ = __ballot_sync(~0u, wild);
    if (wild_lanes_ != 0) {
      const uint32_t of_block = place.lanes_of_block<kBlock>();
      wild_lanes_ = __ballot_sync(~0u, (wild_lanes_ & of_block) != 0);
      TameOutliers(state);
      mean = mean_quanta_ / quanta_;
    }
    const bool fit = IsInRange(mean);
    unfit_ = __reduce_or_sync(~0u, fit ? 0 : 1u << place.block<kBlock>());
    return unfit_ == kAllBlocks ? PatchFit::kNone : unfit_ == 0 ? PatchFit::kAll : PatchFit::kSome;
  }

  // To `state`, scores as the sweeps see them.
  __device__ void Restore(PatchSweepState& state) const {
    __syncwarp();  // the compiler shall read again, not keep registers for it
    Center(state);
    if constexpr (kPlain) return;
    if (tied_ != 0) AddNoise(state);
    if (wild_lanes_ != 0) CutOff(state);
    if (unfit_ != 0 || !kWhole) ClearUnfit(state);
  }

  // To potentials, what their lines had been shifted by: to those that this thread writes.
  __device__ void AddOffsets(PatchPotentials& potentials) {
    if (kPlain || !any_huge_ || !IsWild()) return;
    const PatchPlace place;
    const auto add = [](const float4& offsets, float* to) {
      to[0] += offsets.x;
      to[1] += offsets.y;
      to[2] += offsets.z;
      to[3] += offsets.w;
    };
    if (offsets_.WritesRows(place)) add(offsets_.rows(place), &potentials.row[0]);
    if (offsets_.WritesColumns(place)) {
      add(offsets_.columns(place, 0), &potentials.column[0]);
      add(offsets_.columns(place, 1), &potentials.column[4]);
    }
  }

  // Of this thread's block: quanta per unit of score, a power of two; its mean score in quanta.
  __device__ float quanta() const { return quanta_; }
  __device__ float mean_quanta() const { return mean_quanta_; }
  // Of a block with ties or without: its mean score is 2^this to twice as many quanta.
  __device__ int mean_exponent(bool tied) const {
    return schedules_.mean_exponent - (kPlain ? 0 : tied ? TiedBits(kBlock) : OddBits(kBlock));
  }
  // Blocks of the patch that are not of this kernel's kind, and those with ties: a bit each.
  __device__ uint32_t unfit() const { return kPlain ? 0 : unfit_; }
  __device__ uint32_t tied() const { return kPlain ? 0 : tied_; }
  // Whether this thread's block is of this kernel's kind, and whether it has ties.
  __device__ bool IsFit() const { return kPlain || !(unfit_ >> PatchPlace().block<kBlock>() & 1); }
  __device__ bool IsTied() const { return !kPlain && tied_ >> PatchPlace().block<kBlock>() & 1; }

 private:
  static __device__ bool IsOutlier(__half2 centered) {
    return !__hble2(centered, __float2half2_rn(WildMax(kBlock)));
  }

  // Whether quanta of such a mean are float32; not of NaN.
  static __device__ bool IsInRange(float mean) {
    constexpr float kLeastMean = 0x1p-96f, kGreatestMean = 0x1p+127f;
    return mean >= kLeastMean && mean <= kGreatestMean;
  }

  static constexpr float kGreatest = 4;  // mean scores above the center that sweeps see of outliers
  static constexpr uint32_t kAllBlocks =
      (1u << (kPatchLines / kBlock) * (kPatchLines / kBlock)) - 1;

  // Whether this thread's block has outliers.
  __device__ bool IsWild() const { return wild_lanes_ >> threadIdx.x % 32 & 1; }

  // Measures the blocks that have outliers again, such that these do not count: an entry counts up
  // to some times the mean, again and again until that settles.
  __device__ void TameOutliers(PatchSweepState& state) {
    constexpr int kMostRounds = 10;
    constexpr float kMostOfMean = 4, kSettled = 0.8f;
    float mean = mean_quanta_;
    bool falling = IsWild();
    for (int round = 0; round < kMostRounds && __any_sync(~0u, falling); ++round) {
      float sum = 0;
      VisitScores([&](float& score) { sum += fminf(score, kMostOfMean * mean); });
      const float lower = SumOfBlock<kBlock>(sum) * schedules_.per_entry;
      if (falling) {
        falling = lower < kSettled * mean;
        mean = lower;
      }
    }
    // A power of two: what the mean's exponent is to become over what it is.
    const uint32_t exponent = __float_as_uint(mean) >> 23;
    const float finer = __uint_as_float((127 + 127 + mean_exponent(IsTied()) - exponent) << 23);
    VisitScores([&](float& score) { score *= finer; });
    quanta_ *= finer;
    mean_quanta_ = mean * finer;
    Center(state);
    ShiftHugeLines(state);
  }

  // Finds what the huge lines of blocks with outliers are to be shifted by. `state`: scores less
  // the center.
  __device__ void ShiftHugeLines(PatchSweepState& state) {
    const PatchPlace place;
    const LineSums<kBlock> sums({schedules_.ones[0], schedules_.ones[1]});
    __half2 column[4], row[2];
    const auto count_columns = [&](const __half2(&least)[4], __half2(&counts)[4]) {
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        const auto reach = [&](int k) { return __hge2(state.x[k][q], least[q]); };
        counts[q] = sums.Columns(__hadd2(__hadd2(reach(0), reach(1)), __hadd2(reach(2), reach(3))));
      }
    };
    const auto count_rows = [&](const __half2(&least)[2], __half2(&counts)[2]) {
#pragma unroll
      for (int pair = 0; pair < 2; ++pair) {
        counts[pair] = sums.Rows([&](int h, int q) {
          return Bits(__hge2(state.x[2 * pair + h][q],
                             h == 0 ? __low2half2(least[pair]) : __high2half2(least[pair])));
        });
      }
    };
    const int n = schedules_.n;
    any_huge_ = FindHugeLines(IsWild(), n, kGreatest, count_columns, column);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int q = 0; q < 4; ++q) state.x[k][q] = __hsub2(state.x[k][q], column[q]);
    }
    any_huge_ |= FindHugeLines(IsWild(), n, kGreatest, count_rows, row);
    if (!any_huge_) return;
    const auto write = [](float4& to, __half2 first, __half2 second) {
      to = make_float4(__low2float(first), __high2float(first), __low2float(second),
                       __high2float(second));
    };
    if (offsets_.WritesRows(place)) write(offsets_.rows(place), row[0], row[1]);
    if (offsets_.WritesColumns(place)) {
      write(offsets_.columns(place, 0), column[0], column[1]);
      write(offsets_.columns(place, 1), column[2], column[3]);
    }
  }

  // Of a block with outliers: huge lines shifted, and what is then far from the center cut off.
  __device__ void CutOff(PatchSweepState& state) const {
    const bool wild = IsWild();
    const PatchPlace place;
    if (any_huge_) {
      const float4 rows = offsets_.rows(place);
      const float row[4] = {rows.x, rows.y, rows.z, rows.w};
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const float4 columns = offsets_.columns(place, c);
        const __half2 pairs[2] = {__floats2half2_rn(columns.x, columns.y),
                                  __floats2half2_rn(columns.z, columns.w)};
#pragma unroll
        for (int k = 0; k < 4; ++k) {
#pragma unroll
          for (int q = 0; q < 2; ++q) {
            __half2& x = state.x[k][2 * c + q];
            if (wild) x = __hsub2(__hsub2(x, pairs[q]), __float2half2_rn(row[k]));
          }
        }
      }
      __syncwarp();  // before potentials are written to the offsets' memory
    }
    const __half2 greatest = __float2half2_rn(wild ? kGreatest : INFINITY);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (__half2& x : state.x[k]) x = Clamp(x, greatest);
    }
  }

  // visit(score) for the scores in shared memory that this thread wrote.
  template <typename Visit>
  __device__ void VisitScores(Visit visit) const {
    const PatchPlace place;
#pragma unroll 1
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        float4& quad = scores_.quad(place, k, c);
        float score[4] = {quad.x, quad.y, quad.z, quad.w};
#pragma unroll
        for (float& s : score) visit(s);
        quad = make_float4(score[0], score[1], score[2], score[3]);
      }
    }
  }

  // Over this thread's block.
  static __device__ float SumOfScores(const float (&weight)[4][8]) {
    float sum[4];  // of a row each, for their steps to overlap
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      sum[k] = fabsf(weight[k][0]) + fabsf(weight[k][1]);
#pragma unroll
      for (int j = 2; j < 8; ++j) sum[k] += fabsf(weight[k][j]);
    }
    return SumOfBlock<kBlock>((sum[0] + sum[1]) + (sum[2] + sum[3]));
  }

  // A score in quanta, in mean scores less the center.
  __device__ float Centered(float score, float per_mean) const {
    return __fmaf_rn(score, per_mean, -schedules_.center);
  }

  // From shared memory, by this thread: what it wrote there itself.
  __device__ void Center(PatchSweepState& state) const {
    const PatchPlace place;
    const float per_mean = __fdividef(1.0f, mean_quanta_);
    const auto centered = [&](float score) { return Centered(score, per_mean); };
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const float4 quad = scores_.quad(place, k, c);
        state.x[k][2 * c] = __floats2half2_rn(centered(quad.x), centered(quad.y));
        state.x[k][2 * c + 1] = __floats2half2_rn(centered(quad.z), centered(quad.w));
      }
    }
  }

  // So that they do not spoil the sums of others: blocks of another kind, and what lies beyond line
  // m of a block.
  __device__ void ClearUnfit(PatchSweepState& state) const {
    const PatchPlace place;
    const bool unfit = unfit_ >> place.block<kBlock>() & 1;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const bool row = unfit || place.row(k) % kBlock >= m_;
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        const __half2 x = state.x[k][q];
        state.x[k][q] = __floats2half2_rn(
            row || place.column(2 * q) % kBlock >= m_ ? 0.0f : __low2float(x),
            row || place.column(2 * q + 1) % kBlock >= m_ ? 0.0f : __high2float(x));
      }
    }
  }

  // What goes down from zeros, and up from others: of scores less the center.
  __device__ __half2 NoiseOf(__half2 noise, __half2 centered) const {
    const __half2 zero = __float2half2_rn(-schedules_.center);
    return __hfma2(__heq2(centered, zero), __hmul2(noise, __float2half2_rn(-2.0f)), noise);
  }

  // So that ties are none for the sweeps. `state`: scores less the center.
  __device__ void AddNoise(PatchSweepState& state) const {
    const PatchPlace place;
    if (!(tied_ >> place.block<kBlock>() & 1)) return;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const float4 noise = kTieNoiseOf<kBlock>.quad(place.row(k), place.column(4 * c));
        const __half2 pairs[2] = {__floats2half2_rn(noise.x, noise.y),
                                  __floats2half2_rn(noise.z, noise.w)};
#pragma unroll
        for (int q = 0; q < 2; ++q) {
          __half2& x = state.x[k][2 * c + q];
          x = __hadd2(x, SplitsTieNoise(kBlock) ? NoiseOf(pairs[q], x) : pairs[q]);
        }
      }
    }
  }

  const PatchSchedules& schedules_;
  const PatchScores scores_;
  PatchLineNumbers<kBlock>& offsets_;  // of huge lines, in mean scores, if any_huge_
  const int m_;
  float quanta_ = 0, mean_quanta_ = 0;
  uint32_t unfit_ = 0, tied_ = 0;
  uint32_t wild_lanes_ = 0;  // those whose block has outliers
  bool any_huge_ = false;    // whether some block with outliers has huge lines
};

}  // namespace tsenor::cuda
