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

#include "solver/cuda/kernels/wide_certificate.cuh"
#include "solver/cuda/kernels/wide_finish.cuh"
#include "solver/cuda/kernels/wide_patch.h"
#include "solver/cuda/kernels/wide_schedule.h"
#include "solver/cuda/kernels/wide_sweeps.cuh"
#include "solver/cuda/primitives/instructions.cuh"
#include "solver/cuda/primitives/wide_view.cuh"
#include "solver/limits.h"

namespace tsenor::cuda {
namespace {

constexpr int kCtas = 12;  // on a multiprocessor: 168 registers a thread
constexpr int kLines = WideScores::kLines;
constexpr int kPotentialBits = 13;  // potentials are multiples of 2^-13 of the mean's power of two
constexpr float kWildMax = 64;      // mean scores: a greater maximum would spoil half precision
constexpr int kMostShortRows = 24;  // after the sweeps: more than that is no detail

// Of 32 lanes times four patches: a block of which so many have two equal scores side by side has
// many ties. (Of Gaussian scores in bfloat16, one in thirty has.)
constexpr int kTiedLanes = 32;

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
#pragma unroll 1
    for (int quarter = 0; quarter < 4; ++quarter) {
      const int r = quarter / 2, c = quarter % 2;
      float score[4][8];
      reader_.Read(r, c, score);
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
    const float mean = sum * schedules_.per_entry;
    // Also, so that the compiler reads the scores again and does not keep registers for them.
    __syncwarp();
    const __half2 greatest = Center(mean, state);
    // Means for which quanta are float32; NaN is none of them.
    constexpr float kLeastMean = 0x1p-96f, kGreatestMean = 0x1p+126f;
    const bool tame = __all_sync(~0u, __hble2(greatest, __float2half2_rn(kWildMax)));
    const int exponent = static_cast<int>(__float_as_uint(mean) >> 23) - 127;
    quanta_ =
        __uint_as_float(static_cast<uint32_t>(127 + schedules_.mean_exponent - exponent) << 23);
    mean_quanta_ = mean * quanta_;
    return tame && mean >= kLeastMean && mean <= kGreatestMean && tied_lanes < kTiedLanes;
  }

  // Returns the greatest of the thread's entries.
  __device__ __half2 Center(float mean, WideSweepState& state) const {
    const WidePlace place;
    const float per_mean = __fdividef(1.0f, mean);
    __half2 greatest = __float2half2_rn(0.0f);
#pragma unroll
    for (int k = 0; k < kWideRows; ++k) {
      KeepReadsInOrder();
#pragma unroll
      for (int c = 0; c < kWidePairs / 2; ++c) {
        const float4 quad = scores().quad(place, k, c);
        const float center = schedules_.center;
        __half2& first = state.x[k][2 * c];
        __half2& second = state.x[k][2 * c + 1];
        first = __floats2half2_rn(__fmaf_rn(quad.x, per_mean, -center),
                                  __fmaf_rn(quad.y, per_mean, -center));
        second = __floats2half2_rn(__fmaf_rn(quad.z, per_mean, -center),
                                   __fmaf_rn(quad.w, per_mean, -center));
        greatest = __hmax2(greatest, __hmax2(first, second));
      }
    }
    // What lies beyond line m adds nothing to the sums of lines.
    if (m_ < kLines) SetWidePadding(m_, __float2half2_rn(0.0f), state);
    return greatest;
  }

  // False: left to the general kernel.
  __device__ bool Solve(WideSweepState& state, WideLines& lines, PartResult& part) {
    const WidePotentials potentials = SweepWidePatch(schedules_, m_, state);
    Threshold(potentials, lines);
    const bool short_row = lines.RowMissing(0) > 0, other_short = lines.RowMissing(1) > 0;
    const int short_rows =
        __popc(__ballot_sync(~0u, short_row)) + __popc(__ballot_sync(~0u, other_short));
    if (short_rows > kMostShortRows) return false;
    WideFinish finish(scores(), quanta_, lines);
    if (!finish.Run()) return false;
    // The score of one quantum: a power of two's inverse.
    const auto unit = static_cast<double>(__uint_as_float((254u << 23) - __float_as_uint(quanta_)));
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

  // Potentials in quanta, rounded such that the sum of two is exact in float32, and the entries
  // beyond them, to the lanes of their lines.
  __device__ void Threshold(const WidePotentials& potentials, WideLines& lines) {
    const WidePlace place;
    float row[kWideRows], column[2 * kWidePairs];
#pragma unroll
    for (int k = 0; k < kWideRows; ++k) row[k] = OnGrid(potentials.row[k]);
#pragma unroll
    for (int j = 0; j < 2 * kWidePairs; ++j) column[j] = OnGrid(potentials.column[j]);
#pragma unroll
    for (int k = 0; k < kWideRows && place.t == 0; ++k) memory_.row_start[place.row(k)] = row[k];
#pragma unroll
    for (int j = 0; j < 2 * kWidePairs && place.g == 0; ++j) {
      memory_.column_start[place.column(j)] = column[j];
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const uint32_t kept = KeptOfPatch(r, c, row + 4 * r, column + 8 * c);
        const uint32_t rows = RowsOfBits(kept) & Lines(r, c);
        lines.row_kept[r][c] = rows;
        lines.column_kept[c][r] = TransposeBits(rows);
      }
    }
    __syncwarp();  // the potentials are there
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int line = lane_ + 32 * h;
      lines.row_start[h] = memory_.row_start[line];
      lines.column_start[h] = memory_.column_start[line];
      lines.row_wanted[h] = lines.column_wanted[h] = n_;
      if (line < m_) continue;
      // No line of the block: nothing can be entered or dropped.
      lines.row_wanted[h] = 0;
      lines.column_kept[h][0] = lines.column_kept[h][1] = ~0u;
      lines.column_wanted[h] = kLines;
    }
  }

  // Byte k: the entries of the thread's row k of patch (r, c).
  __device__ uint32_t KeptOfPatch(int r, int c, const float* row, const float* column) const {
    const WidePlace place;
    uint32_t kept = 0;
#pragma unroll
    for (int k = 3; k >= 0; --k) {
      uint32_t bits = 0;
#pragma unroll
      for (int h = 1; h >= 0; --h) {
        const float4 quad = scores().quad(place, 4 * r + k, 2 * c + h);
        const float score[4] = {quad.x, quad.y, quad.z, quad.w};
#pragma unroll
        for (int j = 3; j >= 0; --j) {
          // The sign of what is missing to the score.
          const float missing = __fmaf_rn(-score[j], quanta_, row[k] + column[4 * h + j]);
          bits = __funnelshift_l(__float_as_uint(missing), bits, 1);
        }
      }
      kept |= bits << 8 * k;
    }
    return kept;
  }

  // The bits of patch (r, c) that are entries, of this lane's row of it.
  __device__ uint32_t Lines(int r, int c) const {
    const int columns = min(max(m_ - 32 * c, 0), 32);
    const uint32_t bits = columns == 32 ? ~0u : (1u << columns) - 1;
    return lane_ + 32 * r < m_ ? bits : 0;
  }

  __device__ float OnGrid(float potential) const {
    const float magic =
        __uint_as_float((127 + 23 + schedules_.mean_exponent - kPotentialBits) << 23 | 1 << 22);
    return __fadd_rn(__fadd_rn(potential * mean_quanta_, magic), -magic);
  }

  // Of a block that is solved and proven, in quanta: what is tolerated of the least that the best
  // mask can be worth, the average of all masks.
  __device__ float GreatestGap() const {
    const auto tolerance =
        static_cast<float>(fmin(pass_.problem.options.optimal.gap_tolerance, kProvenGap));
    const float mean = __uint_as_float((127 + schedules_.mean_exponent) << 23);
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
      const uint2 row =
          solved ? make_uint2(lines.row_kept[h][0], lines.row_kept[h][1]) : make_uint2(0, 0);
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
};

template <typename Element>
__global__ void __launch_bounds__(32, kCtas)
    WideKernel(const __grid_constant__ Pass pass, const __grid_constant__ WideSchedules schedules) {
  __shared__ WideMemory memory;
  AllowNextKernel();
  WideSolver<Element>(pass, schedules, pass.first_patch + blockIdx.x, memory).Run();
}

template <typename Element>
void Launch(const Pass& pass, const WideSchedules& schedules, cudaStream_t stream) {
  WideKernel<Element><<<static_cast<unsigned>(pass.patches), 32, 0, stream>>>(pass, schedules);
}

}  // namespace

cudaError_t LaunchWidePatches(const Pass& pass, const WideSchedules& schedules,
                              cudaStream_t stream) {
  switch (pass.problem.dtype) {
    case DType::kFloat32:
      Launch<Float32Element>(pass, schedules, stream);
      break;
    case DType::kFloat16:
      Launch<Float16Element>(pass, schedules, stream);
      break;
    case DType::kBFloat16:
      Launch<BFloat16Element>(pass, schedules, stream);
      break;
    case DType::kFloat8E4M3:
      Launch<Float8E4M3Element>(pass, schedules, stream);
      break;
    case DType::kFloat8E5M2:
      Launch<Float8E5M2Element>(pass, schedules, stream);
      break;
  }
  return cudaGetLastError();
}

}  // namespace tsenor::cuda
