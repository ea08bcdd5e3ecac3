#include <cfloat>
#include <cstdint>

#include "solver/cuda/kernels/entropic_plans.h"
#include "solver/cuda/primitives/block_view.cuh"
#include "solver/cuda/primitives/instructions.cuh"

namespace tsenor::cuda {
namespace {

// Powers exp(tau w) reach 2^721 (kMaxTau), and the scales that project them as far down, beyond
// float32. So powers are kept as integers: 2^k (1 + f) as (k + f) 2^kFractionBits, the bits of a
// float with fewer of them for the fraction, and more for the exponent. Rounded to a relative error
// of 1e-6, as if tau w were.
constexpr int kFractionBits = 19;
constexpr int32_t kFraction = (1 << kFractionBits) - 1;

// The power of an entry outside of the block: less than nothing, whatever exponents are added (all
// stay below 2^10 in absolute value: kMaxTau).
constexpr int32_t kNoPower = -(1 << 30);

// Kernels in float32 are limited to 2^kKernelRange: what lies above is at the cap. What lies below
// float32 is nothing.
constexpr int kKernelRange = 116;

// Powers of two of a block's scales are absorbed into its kernel whenever those of rows and columns
// are further apart from 1 than kScaleRange together, looked at every kShortPeriod iterations. No
// iteration but the first changes a scale by more than the factor m (solver/README.md). So four
// cannot lift the product of two beyond 2^(32 + 56), and what counts as nothing stays below 2^-28.
constexpr int kShortPeriod = 4, kScaleRange = 32;

// The same in longer intervals with a smaller range, so that many blocks of a warp absorb at the
// same time: 23 times in 300 iterations instead of 56 at 4:8, 23 instead of 34 at 8:16. Two blocks
// a warp, 16:32, would absorb 17 times instead of 12 (Gaussian weights, counted in float64).
constexpr int kLongPeriod = 16, kSmallScaleRange = 8, kManyBlocks = 8;

// Where m is less than a tile grid's width: added to every sum of a line; nothing, but for lines
// outside of the block, whose sums must not be 0.
constexpr float kTiny = 0x1p-100f;

// The least float > 0: blocks without scores are divided by it.
constexpr float kLeastScore = 0x1p-149f;

// Within 2^-23 of 1 / x: one instruction. Sums and scales are far from the ends of the range.
__device__ float Reciprocal(float x) { return QuickReciprocal(x); }

// The binary exponent of a normal number > 0.
__device__ int ExponentOf(float x) { return (__float_as_int(x) >> 23) - 127; }

// x 2^exponent, for normal numbers.
__device__ float Shift(float x, int exponent) {
  return __int_as_float(__float_as_int(x) + (exponent << 23));
}

// The float of an integer power.
__device__ float FromPower(int32_t power) {
  power = min(max(power + (127 << kFractionBits), 0), (127 + kKernelRange) << kFractionBits);
  return __int_as_float(power << (23 - kFractionBits));
}

// 2^x as an integer power, x >= 0.
__device__ int32_t PowerOf(double x) {
  const double whole = floor(x);
  const float fraction = exp2f(static_cast<float>(x - whole)) - 1;
  return (static_cast<int32_t>(whole) << kFractionBits) +
         __float2int_rn(fraction * (1 << kFractionBits));
}

// min(power scale, 1) in the units of plans; scale in (0.5, 2).
__device__ int32_t ShareOf(int32_t power, float scale) {
  power = min(max(power, -(kPlanRange + 2) * (1 << kFractionBits)), 1 << kFractionBits);
  const int32_t one = 127 << 23;  // the bits of 1.0f
  const int32_t fraction = power & kFraction;
  const float product = __int_as_float((fraction << (23 - kFractionBits)) + one) * scale;
  const int32_t share = ((power - fraction) << (kPlanFractionBits - kFractionBits)) +
                        ((__float_as_int(product) - one) >> (23 - kPlanFractionBits));
  return min(max(share, -kPlanRange * (1 << kPlanFractionBits)), 0);
}

// Finds the entropic transport plan of one block, S = min(K_ij v_j / c_i, 1) with K = exp(tau w),
// after T iterations of Dykstra's algorithm, whose correction Q need not be stored: S Q is K with
// scaled rows and columns throughout (solver/README.md, "TSENOR"; there c is 1 / u):
//
//   P_ij = min(K_ij v_j, c_i);   c_i <- sum_j P_ij / n;   v_j <- v_j / sum_i (P_ij / (n c_i))
//
// The kGrid x kGrid threads of a block hold kTile x kTile entries each, in registers, K and P:
// thread (p, q) those of rows p, p + kGrid, .. and columns q, q + kGrid, .., so that neighbouring
// threads read and write neighbouring entries. A line's sum is taken by a butterfly over its kGrid
// threads, all of which then hold the line's scale. Rows lie inside a warp; columns of more than 32
// threads are added up through shared memory. Four operations an entry and iteration (product,
// minimum, two sums); at 16:32 91 more for each 64 entries.
//
// Powers and exponents wait in shared memory until K is built anew, where only their own thread
// sees them: 4 kTile (kTile + 2) bytes a thread.
//
// kFull: m is kTile kGrid, and no line is outside of the block.
template <int kTile, int kGrid, bool kFull>
class EntropicPlan {
 public:
  static constexpr int kWidth = kTile * kGrid;
  static constexpr int kLanes = kGrid * kGrid;                // threads of a block
  static constexpr int kThreads = kLanes < 64 ? 64 : kLanes;  // of a CTA
  static constexpr int kBlocks = kThreads / kLanes;           // of a CTA
  static constexpr int kWarps = (kLanes + 31) / 32;           // of a block

  struct Shared {
    int32_t power[kTile][kTile][kThreads];
    int32_t row_exponent[kTile][kThreads];  // what was absorbed, in units of the powers
    int32_t column_exponent[kTile][kThreads];
    // Sums of columns by warp, of even and of odd reductions: one barrier for each is enough.
    int32_t of_warp[2][kWarps][kWarps > 1 ? kWidth : 1];
  };

  __device__ EntropicPlan(const Pass& pass, int64_t number, Shared& shared)
      : pass_(pass),
        number_(number),
        m_(pass.problem.pattern.m),
        inverse_n_(1.0f / static_cast<float>(pass.problem.pattern.n)),
        first_row_(static_cast<int>(threadIdx.x) % kLanes / kGrid),
        first_column_(static_cast<int>(threadIdx.x) % kGrid),
        shared_(shared) {}

  __device__ void Solve() {
    const TsenorOptions& options = pass_.problem.options.tsenor;
    TakePowers(options.tau);
    IterateFirst();
    for (int done = 1; done < options.iterations; ++done) {
      if (done % kShortPeriod == 1) {
        const bool together = 32 / kLanes >= kManyBlocks && done % kLongPeriod == 1;
        Absorb(together ? kSmallScaleRange : kScaleRange);
      }
      ProjectRows();
      ProjectColumns();
    }
  }

  // After Solve(). All threads of the CTA call it; those of blocks that do not exist with `plan`
  // null.
  __device__ void Store(int32_t* plan) {
    Absorb(-1);
    if (plan == nullptr) return;
#pragma unroll
    for (int r = 0; r < kTile; ++r) {
      const float inverse = Reciprocal(cap_[r]);
#pragma unroll
      for (int c = 0; c < kTile; ++c) {
        const int32_t share = ShareOf(PowerAt(r, c), column_scale_[c] * inverse);
        if (IsRow(r) && IsColumn(c)) plan[Row(r) * m_ + Column(c)] = share;
      }
    }
  }

 private:
  __device__ int Row(int r) const { return first_row_ + r * kGrid; }
  __device__ int Column(int c) const { return first_column_ + c * kGrid; }
  __device__ bool IsRow(int r) const { return kFull || Row(r) < m_; }
  __device__ bool IsColumn(int c) const { return kFull || Column(c) < m_; }

  // The first term of a line's sum.
  static __device__ float Begin(float x) { return kFull ? x : kTiny + x; }

  // exp(tau w), with what was absorbed.
  __device__ int32_t PowerAt(int r, int c) const {
    const int t = static_cast<int>(threadIdx.x);
    return shared_.power[r][c][t] + (shared_.row_exponent[r][t] + shared_.column_exponent[c][t]);
  }

  // Combines what the threads of each row hold of it.
  template <typename T, typename Op>
  static __device__ void OverRows(T (&of_row)[kTile], Op op) {
#pragma unroll
    for (int offset = 1; offset < kGrid; offset *= 2) {
#pragma unroll
      for (T& value : of_row) value = op(value, __shfl_xor_sync(~0u, value, offset));
    }
  }

  // The same for columns.
  template <typename T, typename Op>
  __device__ void OverColumns(T (&of_column)[kTile], Op op) {
#pragma unroll
    for (int offset = kGrid; offset < min(kLanes, 32); offset *= 2) {
#pragma unroll
      for (T& value : of_column) value = op(value, __shfl_xor_sync(~0u, value, offset));
    }
    if constexpr (kWarps > 1) {
      static_assert(sizeof(T) == sizeof(int32_t));
      auto& of_warp = reinterpret_cast<T(&)[kWarps][kWidth]>(shared_.of_warp[turn_]);
      turn_ ^= 1;
      if (threadIdx.x % 32 < kGrid) {
#pragma unroll
        for (int c = 0; c < kTile; ++c) of_warp[threadIdx.x / 32][Column(c)] = of_column[c];
      }
      __syncthreads();
#pragma unroll
      for (int c = 0; c < kTile; ++c) {
        of_column[c] = of_warp[0][Column(c)];
#pragma unroll
        for (int w = 1; w < kWarps; ++w) of_column[c] = op(of_column[c], of_warp[w][Column(c)]);
      }
    }
  }

  // Powers from scores; tau is given times the block's greatest score.
  __device__ void TakePowers(double tau) {
    const BlockView view = Locate(pass_, number_);
    const int t = static_cast<int>(threadIdx.x);
    float greatest[kTile] = {};
    for (int r = 0; r < kTile; ++r) {
      for (int c = 0; c < kTile; ++c) {
        const float score = IsRow(r) && IsColumn(c) ? ScoreAt(pass_, view, Row(r), Column(c)) : 0;
        shared_.power[r][c][t] = __float_as_int(score);
        greatest[0] = fmaxf(greatest[0], score);
      }
    }
    const auto max_of = [](float x, float y) { return fmaxf(x, y); };
    OverRows(greatest, max_of);
    OverColumns(greatest, max_of);
    const double log2_e = 0x1.71547652b82fep0;
    const double factor = tau * log2_e / static_cast<double>(fmaxf(greatest[0], kLeastScore));
    for (int r = 0; r < kTile; ++r) {
      for (int c = 0; c < kTile; ++c) {
        const double score = __int_as_float(shared_.power[r][c][t]);
        shared_.power[r][c][t] = IsRow(r) && IsColumn(c) ? PowerOf(score * factor) : kNoPower;
      }
    }
  }

  // The first iteration, before which no entry is capped. Here sums reach as far as the powers:
  // those of each line are taken relative to its greatest, or nearly so.
  __device__ void IterateFirst() {
    const int t = static_cast<int>(threadIdx.x);
    const auto max_of = [](int32_t x, int32_t y) { return max(x, y); };
    int32_t greatest[kTile];
#pragma unroll
    for (int k = 0; k < kTile; ++k) {
      shared_.row_exponent[k][t] = shared_.column_exponent[k][t] = 0;
      cap_[k] = FLT_MAX;
      column_scale_[k] = IsColumn(k) ? 1 : 0;
      greatest[k] = kNoPower;
    }
#pragma unroll
    for (int r = 0; r < kTile; ++r) {
#pragma unroll
      for (int c = 0; c < kTile; ++c) greatest[r] = max(greatest[r], PowerAt(r, c));
    }
    OverRows(greatest, max_of);
#pragma unroll
    for (int r = 0; r < kTile; ++r) {
      if (IsRow(r)) shared_.row_exponent[r][t] = -(greatest[r] & ~kFraction);
    }
    BuildKernel();
    ProjectRows();
#pragma unroll
    for (int c = 0; c < kTile; ++c) {
      greatest[c] = kNoPower;
#pragma unroll
      for (int r = 0; r < kTile; ++r) greatest[c] = max(greatest[c], PowerAt(r, c));
    }
    OverColumns(greatest, max_of);
#pragma unroll
    for (int c = 0; c < kTile; ++c) {
      if (IsColumn(c)) shared_.column_exponent[c][t] = -(greatest[c] & ~kFraction);
    }
    BuildKernel();
#pragma unroll
    for (int r = 0; r < kTile; ++r) {
#pragma unroll
      for (int c = 0; c < kTile; ++c) capped_[r][c] = kernel_[r][c];
    }
    ProjectColumns();
  }

  // P, and the caps c with which its rows sum to n.
  __device__ void ProjectRows() {
    float sum[kTile];
#pragma unroll
    for (int c = 0; c < kTile; ++c) {
#pragma unroll
      for (int r = 0; r < kTile; ++r) {
        const float capped = fminf(kernel_[r][c] * column_scale_[c], cap_[r]);
        sum[r] = c == 0 ? Begin(capped) : sum[r] + capped;
        capped_[r][c] = capped;
      }
    }
    OverRows(sum, [](float x, float y) { return x + y; });
#pragma unroll
    for (int r = 0; r < kTile; ++r) {
      cap_[r] = sum[r] * inverse_n_;
      inverse_sum_[r] = Reciprocal(sum[r]);
    }
  }

  // The scales v with which columns sum to n, too.
  __device__ void ProjectColumns() {
    float sum[kTile];
#pragma unroll
    for (int r = 0; r < kTile; ++r) {
#pragma unroll
      for (int c = 0; c < kTile; ++c) {
        const float share = capped_[r][c] * inverse_sum_[r];
        sum[c] = r == 0 ? Begin(share) : fmaf(capped_[r][c], inverse_sum_[r], sum[c]);
      }
    }
    OverColumns(sum, [](float x, float y) { return x + y; });
#pragma unroll
    for (int c = 0; c < kTile; ++c) column_scale_[c] *= Reciprocal(sum[c]);
  }

  // Whether any thread of the block says so.
  __device__ bool AnyOfBlock(bool mine) const {
    if constexpr (kWarps > 1) {
      return __syncthreads_or(mine);
    } else {
      const unsigned first = threadIdx.x % 32 / kLanes * kLanes;
      const unsigned threads = (kLanes == 32 ? 0u : 1u << kLanes % 32) - 1;
      return __ballot_sync(~0u, mine) & threads << first;
    }
  }

  // Moves the powers of two of the scales into the exponents if the farthest of rows and of columns
  // have more than `range` of them, up or down, together.
  __device__ void Absorb(int range) {
    float least_cap = 1, greatest_cap = 1, least_scale = 1, greatest_scale = 1;
#pragma unroll
    for (int k = 0; k < kTile; ++k) {
      if (IsRow(k)) {
        least_cap = fminf(least_cap, cap_[k]);
        greatest_cap = fmaxf(greatest_cap, cap_[k]);
      }
      if (IsColumn(k)) {
        least_scale = fminf(least_scale, column_scale_[k]);
        greatest_scale = fmaxf(greatest_scale, column_scale_[k]);
      }
    }
    const int row_farthest = max(-ExponentOf(least_cap), ExponentOf(greatest_cap));
    const int column_farthest = max(-ExponentOf(least_scale), ExponentOf(greatest_scale));
    // Every row meets every column in some thread.
    const bool absorbs = AnyOfBlock(row_farthest + column_farthest > range);
    if (!__any_sync(~0u, absorbs)) return;
    const int t = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int k = 0; k < kTile; ++k) {
      const int row = absorbs && IsRow(k) ? ExponentOf(cap_[k]) : 0;
      const int column = absorbs && IsColumn(k) ? ExponentOf(column_scale_[k]) : 0;
      cap_[k] = Shift(cap_[k], -row);
      column_scale_[k] = Shift(column_scale_[k], -column);
      shared_.row_exponent[k][t] -= row * (1 << kFractionBits);
      shared_.column_exponent[k][t] += column * (1 << kFractionBits);
    }
    BuildKernel();
  }

  // K from powers and exponents. The same bits again for blocks whose exponents have not changed.
  __device__ void BuildKernel() {
#pragma unroll
    for (int r = 0; r < kTile; ++r) {
#pragma unroll
      for (int c = 0; c < kTile; ++c) kernel_[r][c] = FromPower(PowerAt(r, c));
    }
  }

  const Pass& pass_;
  const int64_t number_;
  const int m_;
  const float inverse_n_;
  const int first_row_, first_column_;
  Shared& shared_;
  int turn_ = 0;  // of the reductions over columns

  float kernel_[kTile][kTile];  // K with what was absorbed
  float capped_[kTile][kTile];  // P
  float cap_[kTile];            // c, by row
  float inverse_sum_[kTile];    // 1 / (n c)
  float column_scale_[kTile];   // v; 0 outside of the block
};

extern __shared__ __align__(16) unsigned char shared_memory[];

// CTAs of a few blocks, or one; the last one repeats the last block, without storing it again. With
// 12 warps a multiprocessor, and hence 168 registers a thread, 3 % faster than with 16 and 128
// (16:32 on an H200, 2026-11-23).
constexpr int kThreadsPerMultiprocessor = 384;

template <typename Plan>
__global__ void __launch_bounds__(Plan::kThreads, kThreadsPerMultiprocessor / Plan::kThreads)
    EntropicKernel(const __grid_constant__ Pass pass) {
  const int64_t index = int64_t{blockIdx.x} * Plan::kBlocks + threadIdx.x / Plan::kLanes;
  const int64_t number = pass.first_block + min(index, pass.blocks - 1);
  Plan plan(pass, number, *reinterpret_cast<typename Plan::Shared*>(shared_memory));
  plan.Solve();
  const int m = pass.problem.pattern.m;
  plan.Store(index < pass.blocks ? pass.plans + index * m * m : nullptr);
}

template <typename Plan>
cudaError_t LaunchPlan(const Pass& pass, cudaStream_t stream) {
  constexpr auto kSharedBytes = sizeof(typename Plan::Shared);
  static_assert(kSharedBytes <= 99 << 10);  // compute capability 8.6, 8.9, 12.0
  const cudaError_t error =
      cudaFuncSetAttribute(EntropicKernel<Plan>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           static_cast<int>(kSharedBytes));
  if (error != cudaSuccess) return error;
  const auto ctas = static_cast<unsigned>((pass.blocks + Plan::kBlocks - 1) / Plan::kBlocks);
  EntropicKernel<Plan><<<ctas, Plan::kThreads, kSharedBytes, stream>>>(pass);
  return cudaGetLastError();
}

template <int kTile, int kGrid>
cudaError_t Launch(const Pass& pass, cudaStream_t stream) {
  if (pass.problem.pattern.m == kTile * kGrid) {
    return LaunchPlan<EntropicPlan<kTile, kGrid, true>>(pass, stream);
  }
  return LaunchPlan<EntropicPlan<kTile, kGrid, false>>(pass, stream);
}

}  // namespace

cudaError_t LaunchEntropicPlans(const Pass& pass, cudaStream_t stream) {
  const int m = pass.problem.pattern.m;
  if (m <= 4) return Launch<4, 1>(pass, stream);
  if (m <= 8) return Launch<8, 1>(pass, stream);
  if (m <= 16) return Launch<8, 2>(pass, stream);
  if (m <= 32) return Launch<8, 4>(pass, stream);
  if (m <= 64) return Launch<8, 8>(pass, stream);
  return Launch<8, 16>(pass, stream);
}

}  // namespace tsenor::cuda
