// One warp solves a patch: the (32 / kBlock)^2 blocks in 32 x 32 entries, kBlock = 8, 16 or 32 the
// least that holds m. Blocks that are not its kind it leaves to the general kernel, by a list.
//
//   step                     where the patch is                                bytes a weight
//   load, measure            float32 in 32 registers a thread                  4 read (2, 1)
//   sweep                    half2 in 16 registers; line sums on tensor cores
//   threshold                float32 scores in shared memory                   4 + 4 shared
//   finish, only if needed   the same, a row or column at a time
//   certify                  the same, in float64                              4 shared
//   store                    a word of mask bits a row                         1/8 written
//
// A block's quantum is a power of two, about 2^-27 of its mean score (PatchMeanExponent()). Where
// scores are whole quanta of solver/quantise.h, they are whole quanta here, too: nothing is
// rounded, and value and bound are equal.
#include <cstdint>

#include "solver/cuda/kernels/patch.h"
#include "solver/cuda/kernels/patch_certificate.cuh"
#include "solver/cuda/kernels/patch_finish.cuh"
#include "solver/cuda/kernels/patch_schedule.h"
#include "solver/cuda/kernels/patch_sweeps.cuh"
#include "solver/cuda/primitives/patch_view.cuh"
#include "solver/limits.h"

namespace tsenor::cuda {
namespace {

constexpr int kWarps = 2;           // a CTA
constexpr int kCtas = 14;           // on a multiprocessor: 72 registers a thread
constexpr int kPotentialBits = 13;  // potentials are multiples of 2^-13 of the mean's power of two
constexpr float kWildMax = 64;      // mean scores: a greater maximum would spoil half precision

constexpr int kMostShortRows = 16;  // of a block, after the sweeps: more than that is no detail

// A block of which so many lanes have two equal scores side by side has many ties. (Of Gaussian
// scores in bfloat16, one lane in thirty has.)
constexpr int TiedLanes(int block) { return block == 32 ? 8 : block == 16 ? 3 : 2; }

template <int kBlock>
struct PatchMemory {
  static constexpr int kBlocks = kPatchLines / kBlock;
  alignas(16) float scores[kPatchLines * kPatchLines];   // PatchScores
  alignas(16) float row_start[kBlocks][kPatchLines];     // [block column][row]
  alignas(16) float column_start[kBlocks][kPatchLines];  // [block row][column]
  alignas(16) double column_potential[kPatchLines];      // of the blocks in work
  int sweeps[kBlocks * kBlocks];                         // of each block
};

template <typename Element, int kBlock>
class PatchSolver {
 public:
  __device__ PatchSolver(const Pass& pass, const PatchSchedules& schedules, int64_t number,
                         PatchMemory<kBlock>& memory)
      : pass_(pass),
        schedules_(schedules),
        view_(LocatePatch<kBlock>(pass, number)),
        m_(pass.problem.pattern.m),
        n_(pass.problem.pattern.n),
        memory_(memory) {}

  __device__ void Run() {
    PatchSweepState state;
    if (!LoadAndMeasure(state)) {
      unsolved_ = kAllOfRow;
    } else {
      const bool fit = !(unfit_ >> PatchPlace().block<kBlock>() & 1);
      const PatchPotentials potentials =
          SweepPatch<kBlock>(schedules_, fit, state, [&] { Center(state); });
      const uint32_t rows = Threshold(potentials);
      const uint32_t columns = TransposeBits(rows);
#pragma unroll 1
      for (int h = 0; h < kBlocks; ++h) SolveBlocks(h, rows, columns);
    }
    Store();
  }

 private:
  static constexpr int kBlocks = kPatchLines / kBlock;
  static constexpr uint32_t kAllOfRow = (1u << kBlocks) - 1;
  static constexpr uint32_t kAllBlocks = (1u << kBlocks * kBlocks) - 1;
  static constexpr uint32_t kLines = kBlock == 32 ? ~0u : (1u << kBlock) - 1;

  static __device__ int lane() { return threadIdx.x % 32; }
  // Of this lane's row: its block's row of blocks in the patch, and its number in the block.
  static __device__ int v() { return lane() / kBlock; }
  static __device__ int z() { return lane() % kBlock; }
  // Blocks of a row of the patch that exist, as bits.
  __device__ uint32_t ExistingBlocks() const {
    const auto existing =
        static_cast<int>(min(view_.placed->blocks_per_row - view_.block_column, int64_t{kBlocks}));
    return (1u << existing) - 1;
  }

  // Scores to shared memory, in mean scores less the center to `state`. False: no block is of this
  // kernel's kind.
  __device__ bool LoadAndMeasure(PatchSweepState& state) {
    const PatchPlace place;
    float score[4][8];
    LoadPatch<Element, kBlock>(pass_, view_, score);
    bool equal = false;
    float sum = 0;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      equal |= score[k][2 * k] == score[k][2 * k + 1] &&
               (m_ == kBlock || (Line<kBlock>(place.row(k), m_) >= 0 &&
                                 Line<kBlock>(place.column(2 * k + 1), m_) >= 0));
#pragma unroll
      for (int j = 0; j < 8; ++j) sum += score[k][j];
    }
    const uint32_t equal_lanes = __ballot_sync(~0u, equal) & PatchPlace().lanes_of_block<kBlock>();
    const bool tied = __popc(equal_lanes) >= TiedLanes(kBlock);
    const float mean = SumOfBlock<kBlock>(sum) * schedules_.per_entry;
    __half2 greatest = __float2half2_rn(0.0f);
    Center(score, mean, state);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (const __half2 x : state.x[k]) greatest = __hmax2(greatest, x);
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        scores().quad(place.row(k), 2 * place.t + c) = make_float4(
            score[k][4 * c], score[k][4 * c + 1], score[k][4 * c + 2], score[k][4 * c + 3]);
      }
    }
    // Means for which quanta are float32; NaN is none of them.
    constexpr float kLeastMean = 0x1p-96f, kGreatestMean = 0x1p+127f;
    const bool tame = __hble2(greatest, __float2half2_rn(kWildMax));
    const bool fit = mean >= kLeastMean && mean <= kGreatestMean && tame && !tied;
    const int exponent = static_cast<int>(__float_as_uint(mean) >> 23) - 127;
    quanta_ =
        __uint_as_float(static_cast<uint32_t>(127 + schedules_.mean_exponent - exponent) << 23);
    mean_quanta_ = mean * quanta_;
    unfit_ = __reduce_or_sync(~0u, fit ? 0 : 1u << place.block<kBlock>());
    if (unfit_ == kAllBlocks) return false;
    if (unfit_ != 0 || m_ < kBlock) ClearUnfit(state);
    return true;
  }

  __device__ void Center(const float (&score)[4][8], float mean, PatchSweepState& state) const {
    const float per_mean = __fdividef(1.0f, mean);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        state.x[k][q] =
            __floats2half2_rn(__fmaf_rn(score[k][2 * q], per_mean, -schedules_.center),
                              __fmaf_rn(score[k][2 * q + 1], per_mean, -schedules_.center));
      }
    }
  }

  // The same, from shared memory.
  __device__ void Center(PatchSweepState& state) const {
    const PatchPlace place;
    float score[4][8];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const float4 quad = scores().quad(place.row(k), 2 * place.t + c);
        score[k][4 * c] = quad.x;
        score[k][4 * c + 1] = quad.y;
        score[k][4 * c + 2] = quad.z;
        score[k][4 * c + 3] = quad.w;
      }
    }
    Center(score, mean_quanta_ / quanta_, state);
    if (unfit_ != 0 || m_ < kBlock) ClearUnfit(state);
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

  // Potentials in quanta, rounded such that the sum of two is exact in float32, to shared memory.
  // Returns the entries beyond them, a row a lane.
  __device__ uint32_t Threshold(const PatchPotentials& potentials) {
    const PatchPlace place;
    float row[4], column[8];
#pragma unroll
    for (int k = 0; k < 4; ++k) row[k] = OnGrid(potentials.row[k]);
#pragma unroll
    for (int j = 0; j < 8; ++j) column[j] = OnGrid(potentials.column[j]);
    uint32_t kept = 0;
#pragma unroll
    for (int k = 3; k >= 0; --k) {
      uint32_t bits = 0;
#pragma unroll
      for (int c = 1; c >= 0; --c) {
        const float4 quad = scores().quad(place.row(k), 2 * place.t + c);
        const float score[4] = {quad.x, quad.y, quad.z, quad.w};
#pragma unroll
        for (int j = 3; j >= 0; --j) {
          // The sign of what is missing to the score.
          const float missing = __fmaf_rn(-score[j], quanta_, row[k] + column[4 * c + j]);
          bits = __funnelshift_l(__float_as_uint(missing), bits, 1);
        }
      }
      kept |= bits << 8 * k;
    }
    memory_.sweeps[place.block<kBlock>()] = potentials.sweeps;
    if (8 * place.t % kBlock == 0) {
      *reinterpret_cast<float4*>(&memory_.row_start[8 * place.t / kBlock][place.row(0)]) =
          make_float4(row[0], row[1], row[2], row[3]);
    }
    if (4 * place.g % kBlock == 0) {
      auto* const at =
          reinterpret_cast<float4*>(&memory_.column_start[4 * place.g / kBlock][place.column(0)]);
      at[0] = make_float4(column[0], column[1], column[2], column[3]);
      at[1] = make_float4(column[4], column[5], column[6], column[7]);
    }
    __syncwarp();
    return RowsOfBits(kept) & Lines(m_, m_);
  }

  // Bits of this lane's row of the patch: the first `columns` of each of its blocks, if the row is
  // among the first `rows` of one.
  static __device__ uint32_t Lines(int rows, int columns) {
    const uint32_t of_block = columns >= kBlock ? kLines : (1u << columns) - 1;
    constexpr uint32_t kEach = kBlock == 8 ? 0x01010101 : kBlock == 16 ? 0x00010001 : 1;
    return z() < rows ? of_block * kEach : 0;
  }

  __device__ float OnGrid(float potential) const {
    const float magic =
        __uint_as_float((127 + 23 + schedules_.mean_exponent - kPotentialBits) << 23 | 1 << 22);
    return __fadd_rn(__fadd_rn(potential * mean_quanta_, magic), -magic);
  }

  // Finishes and certifies the blocks of block column h, one a group of lanes.
  __device__ void SolveBlocks(int h, uint32_t rows, uint32_t columns) {
    PatchLines lines;
    lines.row_start = memory_.row_start[h][lane()];
    lines.column_start = memory_.column_start[v()][h * kBlock + z()];
    lines.row_kept = rows >> h * kBlock & kLines;
    lines.column_kept = __shfl_sync(~0u, columns, h * kBlock + z()) >> v() * kBlock & kLines;
    lines.row_wanted = lines.column_wanted = n_;
    if (z() >= m_) {  // no line of the block: nothing can be entered or dropped
      lines.column_kept = kLines;
      lines.row_wanted = 0;
      lines.column_wanted = kBlock;
    }
    const float quanta = QuantaOf(h);
    const uint32_t short_rows = __ballot_sync(~0u, __popc(lines.row_kept) < lines.row_wanted);
    bool solved = (ExistingBlocks() >> h & 1) && !(unfit_ >> (v() * kBlocks + h) & 1) &&
                  __popc(short_rows >> v() * kBlock & kLines) <= kMostShortRows;
    PatchFinish<kBlock> finish(scores(), quanta, v() * kBlock, h * kBlock, lines);
    solved = finish.Run(solved);
    // The score of one quantum: a power of two's inverse.
    const auto unit = static_cast<double>(__uint_as_float((254u << 23) - __float_as_uint(quanta)));
    const double row_potential = (static_cast<double>(lines.row_start) + lines.row_move) * unit;
    const double column_potential =
        (static_cast<double>(lines.column_start) + lines.column_move) * unit;
    memory_.column_potential[lane()] = column_potential;
    __syncwarp();
    Certificate part;
    if (z() < m_) {
      const auto score = [&](int c) { return scores().quad(lane(), h * kBlock / 4 + c); };
      const double* const columns = memory_.column_potential + v() * kBlock;
      part =
          m_ == kBlock
              ? CertifyLine<kBlock, true>(score, columns, row_potential, lines.row_kept, n_, m_)
              : CertifyLine<kBlock, false>(score, columns, row_potential, lines.row_kept, n_, m_);
    }
    __syncwarp();
    const float gap = SumOfGroup(static_cast<float>(part.gap)) * quanta;
    if (!solved || !(gap <= GreatestGap())) {
      unsolved_ |= 1u << h;
      return;
    }
    kept_ |= lines.row_kept << h * kBlock;
    sums_.value += part.value;
    sums_.gap += part.gap;
    sums_.score_sum += part.score_sum;
    augmentations_ += finish.augmentations();
    sweeps_ += memory_.sweeps[v() * kBlocks + h];
    StorePotentials(h, row_potential, column_potential);
    if (m_ % 8 != 0 && z() < m_) pass_.masks[IndexOf(v(), h) * m_ + z()] = lines.row_kept;
  }

  __device__ void StorePotentials(int h, double row_potential, double column_potential) const {
    const PassTile& placed = *view_.placed;
    if (placed.tile.potentials == nullptr || z() >= m_) return;
    const int64_t block = (view_.block_row + v()) * placed.blocks_per_row + view_.block_column + h;
    double* const potentials = placed.tile.potentials + block * 2 * m_;
    potentials[z()] = row_potential;
    potentials[m_ + z()] = column_potential;
  }

  // A block's index in the workspace.
  __device__ int64_t IndexOf(int block_row, int block_column) const {
    const PassTile& placed = *view_.placed;
    return placed.first_block - pass_.first_block +
           (view_.block_row + block_row) * placed.blocks_per_row + view_.block_column +
           block_column;
  }

  // Of a block that is solved and proven, in quanta: what is tolerated of the least that the best
  // mask can be worth, the average of all masks.
  __device__ float GreatestGap() const {
    const auto tolerance =
        static_cast<float>(fmin(pass_.problem.options.optimal.gap_tolerance, kProvenGap));
    const float mean = __uint_as_float((127 + schedules_.mean_exponent) << 23);
    return tolerance * static_cast<float>(n_ * m_) * mean;
  }

  // Quanta per unit of score in this lane's block of block column h.
  __device__ float QuantaOf(int h) const {
    // A lane that holds entries of that block: 4 g = its first row, 8 t its first column.
    return __shfl_sync(~0u, quanta_, v() * kBlock + h * kBlock / 8);
  }

  template <typename T>
  static __device__ T SumOfGroup(T value) {
#pragma unroll
    for (int lanes = kBlock / 2; lanes > 0; lanes /= 2) {
      value += __shfl_xor_sync(~0u, value, lanes);
    }
    return value;
  }

  __device__ void Store() {
    PartResult part;
    part.value = SumOfGroup(sums_.value);
    part.bound = part.value + SumOfGroup(sums_.gap);
    part.score_sum = SumOfGroup(sums_.score_sum);
    const uint32_t exist = ExistingBlocks();
    const int solved = __popc(exist & ~unsolved_);
    part.kept = SumOfGroup(__popc(kept_ & Existing()));
    part.sweeps = sweeps_;
    part.augmentations = augmentations_;
    part.proven = static_cast<uint16_t>(solved);
    part.listed = static_cast<uint16_t>(exist & unsolved_);
    const PassTile& placed = *view_.placed;
    const int block_row = view_.block_row + v();
    if (int64_t{block_row} * m_ >= placed.tile.rows) return;
    if (z() == 0) {
      pass_.parts[PartIndex(pass_, placed, block_row, view_.block_column / kBlocks)] = part;
    }
    if (m_ % 8 == 0) StoreMask();
    if (z() < kBlocks && (part.listed >> z() & 1)) {
      const auto index = static_cast<uint32_t>(IndexOf(v(), z()));
      pass_.hard_blocks[atomicAdd(pass_.hard_count, 1u)] = index;
    }
  }

  // Bits of this lane's row: entries of the matrix.
  __device__ uint32_t Existing() const {
    const Tile& tile = view_.placed->tile;
    const int64_t row = view_.row(m_) + v() * m_ + z();
    const int64_t columns = tile.columns - view_.column(m_);
    if (row >= tile.rows) return 0;
    if (columns >= kBlocks * m_) return ~0u;
    uint32_t bits = 0;
#pragma unroll
    for (int h = 0; h < kBlocks; ++h) {
      const int64_t in_block = min(max(columns - h * m_, int64_t{0}), int64_t{kBlock});
      bits |= (in_block == 32 ? ~0u : (1u << in_block) - 1) << h * kBlock;
    }
    return bits;
  }

  // Of this lane's row; with m a multiple of 8, its bits are bytes of the mask.
  __device__ void StoreMask() const {
    const Tile& tile = view_.placed->tile;
    const int64_t row = view_.row(m_) + lane();
    if (z() >= m_ || row >= tile.rows) return;
    const uint32_t bits = kept_ & Existing();
    const int64_t first = view_.column(m_) / 8;
    uint8_t* const at = tile.mask + row * tile.mask_row_stride + first;
    const auto bytes =
        static_cast<int>(min(int64_t{kBlocks * m_ / 8}, MaskRowBytes(tile.columns) - first));
    if (bytes == 4 && reinterpret_cast<uintptr_t>(at) % 4 == 0) {
      *reinterpret_cast<uint32_t*>(at) = bits;
    } else {
      for (int k = 0; k < bytes; ++k) at[k] = static_cast<uint8_t>(bits >> 8 * k);
    }
  }

  __device__ PatchScores scores() const { return {memory_.scores}; }

  const Pass& pass_;
  const PatchSchedules& schedules_;
  const PatchView view_;
  const int m_, n_;
  PatchMemory<kBlock>& memory_;

  float quanta_;        // per unit of score, of this thread's block; a power of two
  float mean_quanta_;   // its mean score
  uint32_t unfit_ = 0;  // blocks of the patch that are not of this kernel's kind
  // Of this lane's block row, by block columns: left to the other kernel.
  uint32_t unsolved_ = 0;
  uint32_t kept_ = 0;      // of this lane's row
  Certificate sums_;       // this lane's part of the blocks solved
  int augmentations_ = 0;  // of its block row
  int sweeps_ = 0;         // the same
};

template <typename Element, int kBlock>
__global__ void __launch_bounds__(32 * kWarps, kCtas)
    PatchKernel(const __grid_constant__ Pass pass, const __grid_constant__ PatchSchedules schedules,
                uint32_t patches) {
  __shared__ PatchMemory<kBlock> memory[kWarps];
  const int warp = threadIdx.x / 32;
  const uint32_t number = blockIdx.x * kWarps + warp;
  if (number >= patches) return;
  PatchSolver<Element, kBlock>(pass, schedules, pass.first_patch + number, memory[warp]).Run();
}

template <typename Element>
void Launch(const Pass& pass, const PatchSchedules& schedules, cudaStream_t stream) {
  const auto patches = static_cast<uint32_t>(pass.patches);
  const unsigned ctas = (patches + kWarps - 1) / kWarps;
  switch (PatchBlock(pass.problem.pattern.m)) {
    case 8:
      PatchKernel<Element, 8><<<ctas, 32 * kWarps, 0, stream>>>(pass, schedules, patches);
      break;
    case 16:
      PatchKernel<Element, 16><<<ctas, 32 * kWarps, 0, stream>>>(pass, schedules, patches);
      break;
    default:
      PatchKernel<Element, 32><<<ctas, 32 * kWarps, 0, stream>>>(pass, schedules, patches);
  }
}

}  // namespace

cudaError_t LaunchPatches(const Pass& pass, const PatchSchedules& schedules, cudaStream_t stream) {
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
