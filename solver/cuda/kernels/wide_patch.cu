// One warp solves a block of 32 < m <= 64 lines. Blocks that are not its kind it leaves to the
// general kernel, by a list.
//
//   step                     where the block is                                bytes a weight
//   load, measure            a quarter at a time in registers                  4 read (2, 1)
//                            float32 in shared memory                          4 shared
//   sweep                    half2 in 64 registers; line sums on tensor cores  4 shared
//   threshold                shared memory                                     4 shared
//   finish, only if needed   the same, a row or column at a time
//   certify                  the same, in float64                              4 shared
//   store                    two words of mask bits a row                      1/8 written
//
// Shared memory (WideMemory): 16 KB of scores and 512 bytes of potentials, so that 12 blocks are in
// flight on a multiprocessor, with 168 registers a thread. A warp never waits for another one. Sums
// over lines of 64 take no more products than two sums over lines of 32 (wide_patch.cuh), and what
// a sweep does for each line is done for half as many: a weight takes three quarters of the
// instructions that it takes in a patch of 32 x 32.
//
// A block's quantum is a power of two, about 2^-25 of its mean score (WideMeanExponent()). Where
// scores are whole quanta of solver/quantise.h, they are whole quanta here, too: nothing is
// rounded, and value and bound are equal.
#include <cstdint>

#include "solver/cuda/kernels/launch_dependent.cuh"
#include "solver/cuda/kernels/wide_certificate.cuh"
#include "solver/cuda/kernels/wide_finish.cuh"
#include "solver/cuda/kernels/wide_patch.h"
#include "solver/cuda/kernels/wide_schedule.h"
#include "solver/cuda/kernels/wide_sweeps.cuh"
#include "solver/cuda/kernels/wide_threshold.cuh"
#include "solver/cuda/kernels/wide_ties.cuh"
#include "solver/cuda/primitives/instructions.cuh"
#include "solver/cuda/primitives/wide_view.cuh"
#include "solver/limits.h"

namespace tsenor::cuda {
namespace {

constexpr int kCtas = 12;  // on a multiprocessor: 168 registers a thread
constexpr int kLines = WideScores::kLines;
constexpr int kPotentialBits = 13;  // potentials are multiples of 2^-13 of the mean's power of two
constexpr float kWildMax = 64;  // mean scores: with a greater maximum, means of lines say nothing
// What counts of a score in a robust mean is at most so many times the mean itself.
constexpr float kMostOfMean = 4;
// Robust mean scores: what exceeds that is kept whatever it is.
constexpr float kGreatestScore = 8192;
constexpr float kTieReach = 0.125f;  // powers of two of mean scores: potentials are snapped so far
constexpr int kMostPaths = 64;       // that the finish has to find: more than that is no detail

// Of 32 lanes times four patches: a block of which so many have two equal scores side by side has
// many ties. (Of Gaussian scores in bfloat16, one in thirty has.)
constexpr int kTiedLanes = 32;

// Of a block with many ties, quanta are so many bits coarser: lines are often a tie's height off.
constexpr int kTiedBits = 2;

struct WideMemory {
  alignas(16) float scores[kLines * kLines];  // WideScores
  alignas(16) float row_start[kLines];
  alignas(16) float column_start[kLines];
};

template <typename Element>
class WideSolver {
 public:
  __device__ WideSolver(const Pass& pass, const WideSchedules& schedules, int64_t number,
                        WideMemory& memory)
      : pass_(pass),
        schedules_(schedules),
        view_(LocatePatch<kPatchLines>(pass, number)),
        reader_(pass, view_),
        m_(pass.problem.pattern.m),
        n_(pass.problem.pattern.n),
        lane_(threadIdx.x % 32),
        memory_(memory) {}

  __device__ void Run() {
    WideSweepState state;
    WideLines lines;
    PartResult part = {};
    const bool solved = LoadAndMeasure(state) && Solve(state, lines, part);
    Store(solved, lines, part);
  }

 private:
  // Scores to shared memory, in mean scores less the center to `state`. False: the block is not of
  // this kernel's kind.
  __device__ bool LoadAndMeasure(WideSweepState& state) {
    const WidePlace place;
    float sum = 0;
    int tied_lanes = 0;
    auto next = reader_.Begin(0);
#pragma unroll 1
    for (int patch = 0; patch < 4; ++patch) {
      const int r = patch / 2, c = patch % 2;
      float score[4][8];
      reader_.Finish(patch, next, score);
      if (patch < 3) next = reader_.Begin(patch + 1);
      bool equal = false;
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const bool exist = place.row(4 * r + k) < m_ && place.column(8 * c + 2 * k + 1) < m_;
        equal |= score[k][2 * k] == score[k][2 * k + 1] && exist;
        float of_row = score[k][0];
#pragma unroll
        for (int j = 1; j < 8; ++j) of_row += score[k][j];
        sum += of_row;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          scores().quad(place, 4 * r + k, 2 * c + h) = make_float4(
              score[k][4 * h], score[k][4 * h + 1], score[k][4 * h + 2], score[k][4 * h + 3]);
        }
      }
      tied_lanes += __popc(__ballot_sync(~0u, equal));
    }
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(~0u, sum, lanes);
    float mean = sum * schedules_.per_entry;
    // Also, so that the compiler reads the scores again and does not keep registers for them.
    __syncwarp();
    const __half2 greatest = Center(mean, state);
    kind_ = tied_lanes >= kTiedLanes ? WideKind::kTied : WideKind::kEven;
    const bool wild = !__all_sync(~0u, __hble2(greatest, __float2half2_rn(kWildMax)));
    if (wild && IsInRange(mean)) {
      if (kind_ == WideKind::kEven) kind_ = WideKind::kWild;
      mean = RobustMean(mean);
      Center(mean, state);
      Saturate(kMostOfMean, state);
    }
    const int exponent = static_cast<int>(__float_as_uint(mean) >> 23) - 127;
    mean_exponent_ = schedules_.mean_exponent - (kind_ == WideKind::kTied ? kTiedBits : 0);
    quanta_ = __uint_as_float(static_cast<uint32_t>(127 + mean_exponent_ - exponent) << 23);
    mean_quanta_ = mean * quanta_;
    return IsInRange(mean);
  }

  // Whether quanta of such a mean, the same in all lanes, are float32; not of NaN. By a vote, for
  // the compiler to know that all lanes go the same way.
  static __device__ bool IsInRange(float mean) {
    constexpr float kLeastMean = 0x1p-96f, kGreatestMean = 0x1p+126f;
    return __all_sync(~0u, mean >= kLeastMean && mean <= kGreatestMean);
  }

  // Over and over, until it settles.
  __device__ float RobustMean(float mean) const {
    constexpr float kSettled = 0.8f;
    constexpr int kMostRounds = 12;
    for (int round = 0; round < kMostRounds; ++round) {
      const float most = kMostOfMean * mean;
      float sum = 0;
#pragma unroll 4
      for (int k = 0; k < kLines * kLines / 4; k += 32) {
        const float4 quad = reinterpret_cast<const float4*>(memory_.scores)[k + lane_];
        sum += (fminf(quad.x, most) + fminf(quad.y, most)) +
               (fminf(quad.z, most) + fminf(quad.w, most));
      }
#pragma unroll
      for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(~0u, sum, lanes);
      const float before = mean;
      mean = sum * schedules_.per_entry;
      if (__all_sync(~0u, mean >= kSettled * before)) break;
    }
    return mean;
  }

  // state.x = from(row k, column j, score in mean scores).
  template <typename From>
  __device__ __forceinline__ void SetEntries(float mean, WideSweepState& state, From from) const {
    const WidePlace place;
    const float per_mean = __fdividef(1.0f, mean);
#pragma unroll
    for (int k = 0; k < kWideRows; ++k) {
      KeepReadsInOrder();
#pragma unroll
      for (int c = 0; c < kWidePairs / 2; ++c) {
        const float4 quad = scores().quad(place, k, c);
        state.x[k][2 * c] = __floats2half2_rn(from(k, 4 * c, quad.x, per_mean),
                                              from(k, 4 * c + 1, quad.y, per_mean));
        state.x[k][2 * c + 1] = __floats2half2_rn(from(k, 4 * c + 2, quad.z, per_mean),
                                                  from(k, 4 * c + 3, quad.w, per_mean));
      }
    }
  }

  // Returns the greatest of the thread's entries. What lies beyond line m adds nothing to the sums
  // of lines.
  __device__ __forceinline__ __half2 Center(float mean, WideSweepState& state) const {
    SetEntries(mean, state, [&](int, int, float score, float per_mean) {
      return __fmaf_rn(score, per_mean, -schedules_.center);
    });
    __half2 greatest = __float2half2_rn(0.0f);
#pragma unroll
    for (int k = 0; k < kWideRows; ++k) {
#pragma unroll
      for (int q = 0; q < kWidePairs; ++q) greatest = __hmax2(greatest, state.x[k][q]);
    }
    if (m_ < kLines) SetWidePadding(m_, __float2half2_rn(0.0f), state);
    return greatest;
  }

  __device__ __forceinline__ void Recenter(const WideStarts& starts, WideSweepState& state) const {
    float row[kWideRows], column[2 * kWidePairs];
#pragma unroll
    for (int pair = 0; pair < kWideRows / 2; ++pair) {
      const float2 start = __half22float2(starts.row[pair]);
      row[2 * pair] = start.x + schedules_.center;
      row[2 * pair + 1] = start.y + schedules_.center;
    }
#pragma unroll
    for (int q = 0; q < kWidePairs; ++q) {
      const float2 start = __half22float2(starts.column[q]);
      column[2 * q] = start.x;
      column[2 * q + 1] = start.y;
    }
    SetEntries(mean_quanta_ * UnitOfQuantum(), state,
               [&](int k, int j, float score, float per_mean) {
                 return __fmaf_rn(score, per_mean, -row[k]) - column[j];
               });
    Saturate(kGreatestScore, state);
  }

  static __device__ __forceinline__ void Saturate(float most, WideSweepState& state) {
    const __half2 greatest = __float2half2_rn(most);
#pragma unroll
    for (int k = 0; k < kWideRows; ++k) {
#pragma unroll
      for (int q = 0; q < kWidePairs; ++q) state.x[k][q] = __hmin2(state.x[k][q], greatest);
    }
  }

  // The score of one quantum: a power of two's inverse.
  __device__ float UnitOfQuantum() const {
    return __uint_as_float((254u << 23) - __float_as_uint(quanta_));
  }

  // False: left to the general kernel.
  __device__ bool Solve(WideSweepState& state, WideLines& lines, PartResult& part) {
    const WidePotentials potentials = SweepWidePatch(
        schedules_, m_, kind_, state, [&](const WideStarts& starts) { Recenter(starts, state); });
    Publish(potentials);
    Threshold(lines);
    int paths = 0;  // to go
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      paths += max(lines.RowMissing(h), 0) + max(lines.ColumnExcess(h), 0);
    }
    if (__reduce_add_sync(~0u, paths) > kMostPaths) return false;
    WideFinish finish(scores(), quanta_, lines);
    if (!finish.Run()) return false;
    const auto unit = static_cast<double>(UnitOfQuantum());
    double row_potential[2], column_potential[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      row_potential[h] = (static_cast<double>(lines.row_start[h]) + lines.row_move[h]) * unit;
      column_potential[h] =
          (static_cast<double>(lines.column_start[h]) + lines.column_move[h]) * unit;
    }
    const WideCertificate found =
        m_ == kLines ? CertifyWide<true>(scores(), lines, row_potential, column_potential, n_, m_)
                     : CertifyWide<false>(scores(), lines, row_potential, column_potential, n_, m_);
    if (!(static_cast<float>(found.gap) * quanta_ <= GreatestGap())) return false;
    StorePotentials(row_potential, column_potential);
    part.value = found.value;
    part.bound = found.value + found.gap;
    part.score_sum = found.score_sum;
    part.sweeps = potentials.sweeps;
    part.augmentations = finish.augmentations();
    part.proven = 1;
    return true;
  }

  // Potentials in quanta, rounded such that the sum of two is exact in float32, to shared memory.
  __device__ void Publish(const WidePotentials& potentials) const {
    const WidePlace place;
#pragma unroll
    for (int k = 0; k < kWideRows; ++k) {
      if (place.t == 0) memory_.row_start[place.row(k)] = OnGrid(potentials.row[k]);
    }
#pragma unroll
    for (int j = 0; j < 2 * kWidePairs; ++j) {
      if (place.g == 0) memory_.column_start[place.column(j)] = OnGrid(potentials.column[j]);
    }
    __syncwarp();  // all need them
  }

  // All entries against their potentials; of a block with ties, after these have been snapped to.
  __device__ void Threshold(WideLines& lines) const {
    const WideThreshold threshold(scores(), quanta_, memory_.row_start, memory_.column_start, m_);
    const float mean = __uint_as_float((127 + mean_exponent_) << 23);
    const bool ties = kind_ == WideKind::kTied && threshold.ManyAreTight(mean);
    if (ties) {
      SnapToTies(scores(), quanta_, mean * (1.0f / (1 << kPotentialBits)), mean * kTieReach, m_,
                 memory_.row_start, memory_.column_start);
      __syncwarp();  // all need what they became
    }
    threshold.Keep(n_, lines);
    if (ties) FillTight(threshold, lines);
  }

  __device__ float OnGrid(float potential) const {
    const float magic =
        __uint_as_float((127 + 23 + mean_exponent_ - kPotentialBits) << 23 | 1 << 22);
    return __fadd_rn(__fadd_rn(potential * mean_quanta_, magic), -magic);
  }

  // Of a block that is solved and proven, in quanta: what is tolerated of the least that the best
  // mask can be worth, the average of all masks.
  __device__ float GreatestGap() const {
    const auto tolerance =
        static_cast<float>(fmin(pass_.problem.options.optimal.gap_tolerance, kProvenGap));
    const float mean = __uint_as_float((127 + mean_exponent_) << 23);
    return tolerance * static_cast<float>(n_ * m_) * mean;
  }

  __device__ void StorePotentials(const double (&row)[2], const double (&column)[2]) const {
    const PassTile& placed = *view_.placed;
    if (placed.tile.potentials == nullptr) return;
    double* const potentials =
        placed.tile.potentials +
        (view_.block_row * placed.blocks_per_row + view_.block_column) * 2 * m_;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int line = lane_ + 32 * h;
      if (line >= m_) continue;
      potentials[line] = row[h];
      potentials[m_ + line] = column[h];
    }
  }

  __device__ void Store(bool solved, const WideLines& lines, PartResult& part) const {
    const PassTile& placed = *view_.placed;
    const int64_t index = placed.first_block - pass_.first_block +
                          view_.block_row * placed.blocks_per_row + view_.block_column;
    int kept = 0;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int line = lane_ + 32 * h;
      const uint64_t bits = solved ? lines.row_kept[h] : 0;
      const uint2 row = make_uint2(static_cast<uint32_t>(bits), static_cast<uint32_t>(bits >> 32));
      const uint2 existing = Existing(line);
      kept += __popc(row.x & existing.x) + __popc(row.y & existing.y);
      if (m_ % 8 == 0) {
        StoreMask(line, make_uint2(row.x & existing.x, row.y & existing.y));
      } else if (line < m_ && solved) {
        uint32_t* const words = pass_.masks + (index * m_ + line) * MaskWords(m_);
        words[0] = row.x;
        words[1] = row.y;
      }
    }
    part.kept = __reduce_add_sync(~0u, kept);
    if (lane_ > 0) return;
    if (!solved) {
      part = {.listed = 1};
      pass_.hard_blocks[atomicAdd(pass_.hard_count, 1u)] = static_cast<uint32_t>(index);
    }
    pass_.parts[PartIndex(pass_, placed, view_.block_row, view_.block_column)] = part;
  }

  // The bits of row `line` that are entries of the matrix.
  __device__ uint2 Existing(int line) const {
    const int columns = line < reader_.rows() ? reader_.columns() : 0;
    const auto bits = [](int count) {
      return count >= 32 ? ~0u : count > 0 ? (1u << count) - 1 : 0u;
    };
    return make_uint2(bits(columns), bits(columns - 32));
  }

  // With m a multiple of 8, the bits of row `line` are bytes of the mask.
  __device__ void StoreMask(int line, uint2 bits) const {
    if (line >= reader_.rows()) return;
    const Tile& tile = view_.placed->tile;
    uint8_t* const at =
        tile.mask + (view_.row(m_) + line) * tile.mask_row_stride + view_.column(m_) / 8;
    if (reader_.columns() == kLines && reinterpret_cast<uintptr_t>(at) % 8 == 0) {
      *reinterpret_cast<uint2*>(at) = bits;
      return;
    }
    for (int byte = 0; 8 * byte < reader_.columns(); ++byte) {
      at[byte] = static_cast<uint8_t>((byte < 4 ? bits.x : bits.y) >> 8 * (byte % 4));
    }
  }

  __device__ WideScores scores() const { return {memory_.scores}; }

  const Pass& pass_;
  const WideSchedules& schedules_;
  const PatchView view_;
  const WideReader<Element> reader_;
  const int m_, n_, lane_;
  WideMemory& memory_;

  float quanta_;       // per unit of score; a power of two
  float mean_quanta_;  // the mean score
  WideKind kind_;
  int mean_exponent_;  // the mean score is 2^this to twice as many quanta
};

template <typename Element>
__global__ void __launch_bounds__(32, kCtas)
    WideKernel(const __grid_constant__ Pass pass, const __grid_constant__ WideSchedules schedules) {
  __shared__ WideMemory memory;
  AllowNextKernel();
  WaitForKernelBefore();
  WideSolver<Element>(pass, schedules, pass.first_patch + blockIdx.x, memory).Run();
}

template <typename Element>
cudaError_t Launch(const Pass& pass, const WideSchedules& schedules, cudaStream_t stream) {
  // What a multiprocessor has, for shared memory: else not all CTAs fit.
  const cudaError_t error =
      cudaFuncSetAttribute(WideKernel<Element>, cudaFuncAttributePreferredSharedMemoryCarveout,
                           cudaSharedmemCarveoutMaxShared);
  if (error != cudaSuccess) return error;
  return LaunchDependent(WideKernel<Element>, static_cast<unsigned>(pass.patches), 32, 0, stream,
                         pass, schedules);
}

}  // namespace

cudaError_t LaunchWidePatches(const Pass& pass, const WideSchedules& schedules,
                              cudaStream_t stream) {
  switch (pass.problem.dtype) {
    case DType::kFloat32:
      return Launch<Float32Element>(pass, schedules, stream);
    case DType::kFloat16:
      return Launch<Float16Element>(pass, schedules, stream);
    case DType::kBFloat16:
      return Launch<BFloat16Element>(pass, schedules, stream);
    case DType::kFloat8E4M3:
      return Launch<Float8E4M3Element>(pass, schedules, stream);
    case DType::kFloat8E5M2:
      return Launch<Float8E5M2Element>(pass, schedules, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace tsenor::cuda
