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
#pragma once

#include <cstdint>

#include "solver/cuda/kernels/pass.h"
#include "solver/cuda/kernels/patch_certificate.cuh"
#include "solver/cuda/kernels/patch_finish.cuh"
#include "solver/cuda/kernels/patch_measure.cuh"
#include "solver/cuda/kernels/patch_relaxation.cuh"
#include "solver/cuda/kernels/patch_schedule.h"
#include "solver/cuda/kernels/patch_sweeps.cuh"
#include "solver/cuda/kernels/patch_ties.cuh"
#include "solver/cuda/primitives/patch_view.cuh"
#include "solver/limits.h"

namespace tsenor::cuda {

constexpr int kPatchWarps = 2;      // a CTA
constexpr int kPatchCtas = 14;      // on a multiprocessor: 72 registers a thread
constexpr int kPotentialBits = 13;  // potentials are multiples of 2^-13 of the mean's power of two

// After the sweeps: more rows of a block that miss entries, or a line that is farther off, are no
// detail.
constexpr int MostShortRows(int block) { return block / 2; }
constexpr int FarthestLine(bool tied) { return tied ? 12 : 4; }

template <int kBlock>
struct PatchMemory {
  static constexpr int kBlocks = kPatchLines / kBlock;
  alignas(16) float scores[kPatchLines * kPatchLines];  // PatchScores
  PatchLineNumbers<kBlock> start;                       // potentials; before, PatchMeasure's
  union {                                               // of the blocks in work
    alignas(16) double column_potential[kPatchLines];
    PatchRelaxationMemory relaxation;
    TieColumns tie_columns;
  };
  int sweeps[kBlocks * kBlocks];  // of each block that was swept
};

// kWhole: m is kBlock. kPlain: so it is, and a patch is left alone if it is odd, not read by whole
// octets, or with a block that has ties, outliers, or a scale beyond float32's.
template <typename Element, int kBlock, bool kWhole, bool kPlain>
class PatchSolver {
 public:
  __device__ PatchSolver(const Pass& pass, const PatchSchedules& schedules, int64_t number,
                         PatchMemory<kBlock>& memory)
      : pass_(pass),
        schedules_(schedules),
        view_(LocatePatch<kBlock>(pass, number)),
        m_(kWhole ? kBlock : pass.problem.pattern.m),
        n_(pass.problem.pattern.n),
        memory_(memory),
        measure_(schedules, PatchScores{memory.scores}, memory.start) {}

  // False: the patch is left alone.
  __device__ bool Run() {
    PatchSweepState state;
    float weight[4][8];
    if (!LoadPatch<Element, kBlock, kWhole, kPlain>(pass_, view_, weight)) return false;
    const PatchFit fit = measure_.Take(weight, state);
    if (kPlain && fit != PatchFit::kAll) return false;
    if (fit == PatchFit::kNone) {
      unsolved_ = kAllOfRow;
    } else {
      SweepPatch<kBlock, kWhole, kPlain>(
          schedules_, measure_.IsFit(), measure_.IsTied(), state, [&] { measure_.Restore(state); },
          [&](const PatchPotentials& potentials) { Publish(potentials); });
      __syncwarp();
      const uint32_t rows = measure_.tied() == 0 ? Threshold<false>() : Threshold<true>();
      const uint32_t columns = TransposeBits(rows);
#pragma unroll 1
      for (int h = 0; h < kBlocks; ++h) SolveBlocks(h, rows, columns);
    }
    Store();
    return true;
  }

 private:
  static constexpr int kBlocks = kPatchLines / kBlock;
  static constexpr uint32_t kAllOfRow = (1u << kBlocks) - 1;
  // Patches with ties are finished by PatchRelaxation, but for blocks of 32 lines; of 8, all odd
  // ones are.
  static constexpr bool kRelaxesTies = !kPlain && kBlock <= 16,
                        kRelaxesAll = !kPlain && kBlock == 8;
  static constexpr uint32_t kLines = PatchGroup<kBlock>::kLines;

  static __device__ int lane() { return threadIdx.x % 32; }
  // Of this lane's row: its block's row of blocks in the patch, and its number in the block.
  static __device__ int v() { return lane() / kBlock; }
  static __device__ int z() { return lane() % kBlock; }
  // Whether row (and column) z is a line of the block.
  __device__ bool IsLine() const { return kWhole || z() < m_; }
  // Blocks of a row of the patch that exist, as bits.
  __device__ uint32_t ExistingBlocks() const {
    if constexpr (kPlain) return kAllOfRow;
    const auto right = static_cast<int>(view_.placed->blocks_per_row) - view_.block_column;
    return (1u << min(right, kBlocks)) - 1;
  }

  // Potentials in quanta, rounded such that the sum of two is exact in float32, to shared memory.
  __device__ void Publish(PatchPotentials potentials) {
    const PatchPlace place;
    memory_.sweeps[place.block<kBlock>()] = potentials.sweeps;
    measure_.AddOffsets(potentials);
    if (memory_.start.WritesRows(place)) memory_.start.rows(place) = OnGrid(&potentials.row[0]);
    if (memory_.start.WritesColumns(place)) {
      memory_.start.columns(place, 0) = OnGrid(&potentials.column[0]);
      memory_.start.columns(place, 1) = OnGrid(&potentials.column[4]);
    }
  }

  // The entries beyond their potentials, a row a lane. kNoisy: some blocks as the sweeps saw them.
  template <bool kNoisy>
  __device__ uint32_t Threshold() const {
    const PatchPlace place;
    const float4 rows = memory_.start.rows(place), left = memory_.start.columns(place, 0),
                 right = memory_.start.columns(place, 1);
    const float row[4] = {rows.x, rows.y, rows.z, rows.w};
    const float column[8] = {left.x, left.y, left.z, left.w, right.x, right.y, right.z, right.w};
    uint32_t kept = 0;
#pragma unroll
    for (int k = 3; k >= 0; --k) {
      uint32_t bits = 0;
#pragma unroll
      for (int c = 1; c >= 0; --c) {
        const float4 quad = scores().quad(place, k, c);
        float score[4] = {quad.x, quad.y, quad.z, quad.w};
        if constexpr (kNoisy) AddNoise(place.row(k), place.column(4 * c), score);
#pragma unroll
        for (int j = 3; j >= 0; --j) {
          // The sign of what is missing to the score.
          const float missing = (row[k] + column[4 * c + j]) - score[j];
          bits = __funnelshift_l(__float_as_uint(missing), bits, 1);
        }
      }
      kept |= bits << 8 * k;
    }
    kept = RowsOfBits(kept);
    return kWhole ? kept : kept & Lines(m_, m_);
  }

  // To the scores of a row from `column` on, if this thread's block has ties.
  __device__ void AddNoise(int row, int column, float (&score)[4]) const {
    if (!measure_.IsTied()) return;
    const float4 quad = kTieNoiseOf<kBlock>.quad(row, column);
    const float noise[4] = {quad.x, quad.y, quad.z, quad.w};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const bool down = SplitsTieNoise(kBlock) && score[j] == 0;
      score[j] += (down ? -noise[j] : noise[j]) * measure_.mean_quanta();
    }
  }

  // Bits of this lane's row of the patch: the first `columns` of each of its blocks, if the row is
  // among the first `rows` of one.
  static __device__ uint32_t Lines(int rows, int columns) {
    const uint32_t of_block = columns >= kBlock ? kLines : (1u << columns) - 1;
    constexpr uint32_t kEach = kBlock == 8 ? 0x01010101 : kBlock == 16 ? 0x00010001 : 1;
    return z() < rows ? of_block * kEach : 0;
  }

  __device__ float4 OnGrid(const float* potentials) const {
    const int exponent = measure_.mean_exponent(measure_.IsTied());
    const float magic = __uint_as_float((127 + 23 + exponent - kPotentialBits) << 23 | 1 << 22);
    const auto on_grid = [&](float potential) {
      return __fadd_rn(__fmaf_rn(potential, measure_.mean_quanta(), magic), -magic);
    };
    return make_float4(on_grid(potentials[0]), on_grid(potentials[1]), on_grid(potentials[2]),
                       on_grid(potentials[3]));
  }

  // Finishes and certifies the blocks of block column h, one a group of lanes.
  __device__ void SolveBlocks(int h, uint32_t rows, uint32_t columns) {
    PatchLines lines;
    lines.row_start = memory_.start.row[h][lane()];
    lines.column_start = memory_.start.column[v()][h * kBlock + z()];
    lines.row_kept = rows >> h * kBlock & kLines;
    if constexpr (kBlock < 32) columns = __shfl_sync(~0u, columns, h * kBlock + z());
    lines.column_kept = columns >> v() * kBlock & kLines;
    lines.row_wanted = lines.column_wanted = n_;
    if (!IsLine()) {  // nothing can be entered or dropped
      lines.column_kept = kLines;
      lines.row_wanted = 0;
      lines.column_wanted = kBlock;
    }
    int paths = 0;
    if constexpr (!kPlain && !kRelaxesTies) {
      if (measure_.tied() != 0) SnapTies(h, lines, paths);
    }
    const bool tied = measure_.tied() >> (v() * kBlocks + h) & 1;
    const int missing = lines.missing();
    const int excess = lines.excess();
    const uint32_t short_rows = __ballot_sync(~0u, missing > 0);
    const uint32_t far_lines =
        __ballot_sync(~0u, max(abs(missing), abs(excess)) > FarthestLine(tied));
    bool solved = (ExistingBlocks() >> h & 1) && !(measure_.unfit() >> (v() * kBlocks + h) & 1) &&
                  (tied || __popc(short_rows >> v() * kBlock & kLines) <= MostShortRows(kBlock)) &&
                  (far_lines >> v() * kBlock & kLines) == 0;
    solved = Finish(h, solved, tied, lines, paths);
    const double row_potential = static_cast<double>(lines.row_start) + lines.row_move;
    const double column_potential = static_cast<double>(lines.column_start) + lines.column_move;
    memory_.column_potential[lane()] = column_potential;
    __syncwarp();
    Certificate part;
    if (IsLine()) {
      const auto score = [&](int c) { return scores().quad(lane(), h * kBlock / 4 + c); };
      const double* const columns = memory_.column_potential + v() * kBlock;
      part = CertifyLine<kBlock, kWhole>(score, columns, row_potential, lines.row_kept, n_, m_);
    }
    __syncwarp();
    // The score of one quantum: a power of two's inverse.
    const auto unit =
        static_cast<double>(__uint_as_float((254u << 23) - __float_as_uint(QuantaOf(h))));
    constexpr float kRoundUp = 1 + 0x1p-20f;  // more than float32 loses in the sum
    const float gap = SumOfGroup(static_cast<float>(part.gap)) * kRoundUp;
    if (!solved || !(gap <= GreatestGap(tied))) {
      unsolved_ |= 1u << h;
      return;
    }
    kept_ |= lines.row_kept << h * kBlock;
    value_ += part.value * unit;
    gap_ += static_cast<double>(gap) * unit;
    score_sum_ += part.score_sum * unit;
    augmentations_ += paths;
    sweeps_ += memory_.sweeps[v() * kBlocks + h];
    StorePotentials(h, row_potential * unit, column_potential * unit);
    if (m_ % 8 != 0 && IsLine()) pass_.masks[IndexOf(v(), h) * m_ + z()] = lines.row_kept;
  }

  // Of the blocks of block column h that are wanted. False: not to be had here.
  __device__ bool Finish(int h, bool wanted, bool tied, PatchLines& lines, int& paths) {
    if constexpr (kRelaxesTies) {
      if (kRelaxesAll || measure_.tied() != 0) {
        PatchRelaxation<kBlock> finish(scores(), h * kBlock, m_, lines, memory_.relaxation);
        wanted = finish.Run(wanted, tied);
        paths += finish.augmentations();
        return wanted;
      }
    }
    if constexpr (!kRelaxesAll) {
      PatchFinish<kBlock> finish(scores(), h * kBlock, lines);
      wanted = finish.Run(wanted);
      paths += finish.augmentations();
    }
    return wanted;
  }

  // Of the blocks of block column h that have any.
  __device__ void SnapTies(int h, PatchLines& lines, int& paths) const {
    const int block = v() * kBlocks + h;
    const float reach = MeanQuantaOf(h) * kTieReach;
    const TieForest<kBlock> forest(scores(), h * kBlock, m_, reach, memory_.tie_columns);
    const bool wanted = measure_.tied() >> block & ~measure_.unfit() >> block & 1;
    lines = forest.Snap(wanted, lines, paths);
  }

  __device__ void StorePotentials(int h, double row_potential, double column_potential) const {
    const PassTile& placed = *view_.placed;
    if (placed.tile.potentials == nullptr || !IsLine()) return;
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
  __device__ float GreatestGap(bool tied) const {
    const auto tolerance =
        static_cast<float>(fmin(pass_.problem.options.optimal.gap_tolerance, kProvenGap));
    const float mean = __uint_as_float((127 + measure_.mean_exponent(tied)) << 23);
    return tolerance * static_cast<float>(n_ * m_) * mean;
  }

  // Quanta per unit of score in this lane's block of block column h.
  __device__ float QuantaOf(int h) const {
    if constexpr (kBlocks == 1) return measure_.quanta();
    // A lane that holds entries of that block: 4 g = its first row, 8 t its first column.
    return __shfl_sync(~0u, measure_.quanta(), v() * kBlock + h * kBlock / 8);
  }

  // Its mean score in quanta.
  __device__ float MeanQuantaOf(int h) const {
    return __shfl_sync(~0u, measure_.mean_quanta(), v() * kBlock + h * kBlock / 8);
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
    part.value = SumOfGroup(value_);
    part.bound = part.value + gap_;
    part.score_sum = SumOfGroup(score_sum_);
    const uint32_t exist = ExistingBlocks();
    const int solved = __popc(exist & ~unsolved_);
    const bool inside = kPlain || view_.template Inside<kBlock>(m_);
    part.kept = inside ? solved * n_ * m_ : SumOfGroup(__popc(kept_ & Existing()));
    part.sweeps = sweeps_;
    part.augmentations = augmentations_;
    part.proven = static_cast<uint16_t>(solved);
    part.listed = static_cast<uint16_t>(exist & unsolved_);
    const PassTile& placed = *view_.placed;
    const int block_row = view_.block_row + v();
    if (!kPlain && int64_t{block_row} * m_ >= placed.tile.rows) return;
    if (z() == 0) {
      pass_.parts[PartIndex(pass_, placed, block_row, view_.block_column / kBlocks)] = part;
    }
    if (pass_.WritesMasks()) StoreMask(inside);
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

  // Of this lane's row; with m a multiple of 8, its bits are bytes of the mask. `inside`: all of
  // the patch exists.
  __device__ void StoreMask(bool inside) const {
    const Tile& tile = view_.placed->tile;
    const int64_t row = view_.row(m_) + lane(), first = view_.column(m_) / 8;
    uint8_t* const at = tile.mask + row * tile.mask_row_stride + first;
    if (kWhole && inside && reinterpret_cast<uintptr_t>(at) % 4 == 0) {
      *reinterpret_cast<uint32_t*>(at) = kept_;
      return;
    }
    if (!IsLine() || row >= tile.rows) return;
    const uint32_t bits = kept_ & Existing();
    const auto bytes =
        static_cast<int>(min(int64_t{kBlocks * m_ / 8}, MaskRowBytes(tile.columns) - first));
    for (int k = 0; k < bytes; ++k) at[k] = static_cast<uint8_t>(bits >> 8 * k);
  }

  __device__ PatchScores scores() const { return {memory_.scores}; }

  const Pass& pass_;
  const PatchSchedules& schedules_;
  const PatchView view_;
  const int m_, n_;
  PatchMemory<kBlock>& memory_;

  PatchMeasure<kBlock, kWhole, kPlain> measure_;
  // Of this lane's block row, by block columns: left to the other kernel.
  uint32_t unsolved_ = 0;
  uint32_t kept_ = 0;                 // of this lane's row
  double value_ = 0, score_sum_ = 0;  // this lane's part of the blocks solved
  double gap_ = 0;                    // of its block row
  int augmentations_ = 0;             // of its block row
  int sweeps_ = 0;                    // the same
};

}  // namespace tsenor::cuda
