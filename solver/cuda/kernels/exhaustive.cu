// A thread's *task* is the two blocks under one byte of the mask's rows: eight columns of a block
// row. It reads them in accesses of up to 16 bytes, the next task's before it solves this one,
// searches both blocks in float32 (primitives/quick_search.cuh) and writes a byte a row.
//
// Narrow elements mostly have scores whose float32 sums are exact, ties included. Of Gaussian
// bfloat16 blocks one in a thousand has not: it waits until the thread's other tasks are done, then
// is searched with margins, as all float32 blocks are, and summed in float64; where not even
// margins decide, in float64 altogether.
//
// bfloat16: 64 bytes in, 4 bytes out, some 550 instructions for 32 weights. An H200's memory takes
// half of the time that issuing these takes.
#include <algorithm>
#include <cstdint>

#include "solver/cuda/kernels/exhaustive.h"
#include "solver/cuda/primitives/block_view.cuh"
#include "solver/cuda/primitives/elements.cuh"
#include "solver/cuda/primitives/quick_search.cuh"
#include "solver/cuda/primitives/search.cuh"

namespace tsenor::cuda {
namespace {

constexpr int kM = 4;
constexpr int kTaskColumns = 8;
constexpr int kThreads = 128;  // a CTA
static_assert(kSegmentColumns % (kThreads * kTaskColumns) == 0);

// CTAs on a multiprocessor: 96 registers a thread for elements whose float32 scores have binary
// places to spare, 128 for others, which take more. More CTAs spill, fewer hide less.
template <typename Element, bool kNormed>
inline constexpr int kCtas =
    !kNormed && Element::kFractionBits < Float32Element::kFractionBits ? 5 : 4;

using Scores = float[kM][kM];

// Eight neighbouring elements of a row, as words: read in accesses of up to 16 bytes.
template <typename Element>
struct alignas(std::min<size_t>(16, kTaskColumns * sizeof(typename Element::Bits))) Eight {
  using Bits = typename Element::Bits;
  static constexpr int kBits = 8 * sizeof(Bits), kPerWord = 32 / kBits;
  uint32_t word[kTaskColumns / kPerWord];

  __device__ float ToFloat(int j) const {
    const uint32_t bits = word[j / kPerWord] >> j % kPerWord * kBits;
    if constexpr (kPerWord == 1) return __uint_as_float(bits);
    return Element::ToFloat(static_cast<Bits>(bits));
  }
};

// Eight elements, of which those from number `columns` on do not exist, and are 0.
template <typename Element>
__device__ Eight<Element> LoadSome(const typename Element::Bits* at, int columns) {
  using E = Eight<Element>;
  E eight = {};
#pragma unroll
  for (int j = 0; j < kTaskColumns; ++j) {
    if (j >= columns) continue;
    uint32_t bits;
    if constexpr (E::kPerWord == 1) {
      bits = __float_as_uint(at[j]);
    } else {
      bits = uint32_t{at[j]} << j % E::kPerWord * E::kBits;
    }
    eight.word[j / E::kPerWord] |= bits;
  }
  return eight;
}

template <typename Element>
bool __device__ IsAligned(const void* at) {
  return reinterpret_cast<uintptr_t>(at) % alignof(Eight<Element>) == 0;
}

// A segment of a block row.
template <typename Element>
struct Segment {
  using Bits = typename Element::Bits;

  __device__ Segment(const Tile& tile, int64_t row, int64_t number)
      : stride(tile.row_stride), mask_stride(tile.mask_row_stride) {
    const int64_t first = number * kSegmentColumns;
    weights = static_cast<const Bits*>(tile.weights) + row * kM * stride + first;
    norms = tile.column_norms + first;
    mask = tile.mask + row * kM * mask_stride + first / 8;
    columns = static_cast<int>(min(kSegmentColumns, tile.columns - first));
    rows = static_cast<int>(min(int64_t{kM}, tile.rows - row * kM));
    __builtin_assume(__isGlobal(weights) && __isGlobal(mask));
    aligned = IsAligned<Element>(weights) && IsAligned<Element>(weights + stride) &&
              IsAligned<Float32Element>(tile.column_norms);
  }

  const Bits* weights;  // element (0, 0)
  int64_t stride;
  const float* norms;  // of column 0, if there are norms
  uint8_t* mask;
  int64_t mask_stride;
  int columns, rows;  // that exist
  bool aligned;       // to accesses to whole tasks
};

// Eight columns of a segment: two blocks.
template <typename Element, bool kNormed>
struct Task {
  Eight<Element> row[kM];
  Eight<Float32Element> norm;

  // The scores of block h < 2.
  __device__ void GetScores(int h, Scores& scores) const {
#pragma unroll
    for (int i = 0; i < kM; ++i) {
#pragma unroll
      for (int j = 0; j < kM; ++j) {
        const float magnitude = fabsf(row[i].ToFloat(kM * h + j));
        scores[i][j] = kNormed ? magnitude * norm.ToFloat(kM * h + j) : magnitude;
      }
    }
  }
};

// A task of which `columns` columns exist; where `wide`, all of it does and is aligned. The scores
// of what does not exist are 0.
template <typename Element, bool kNormed>
__device__ Task<Element, kNormed> LoadTask(const Segment<Element>& segment, int column, int columns,
                                           bool wide) {
  const auto* const first = segment.weights + column;
  Task<Element, kNormed> task;
  if (wide) {
#pragma unroll
    for (int i = 0; i < kM; ++i) {
      task.row[i] = *reinterpret_cast<const Eight<Element>*>(first + i * segment.stride);
    }
    if constexpr (kNormed) {
      task.norm = *reinterpret_cast<const Eight<Float32Element>*>(segment.norms + column);
    }
    return task;
  }
#pragma unroll
  for (int i = 0; i < kM; ++i) {
    const int existing = i < segment.rows ? columns : 0;
    task.row[i] = LoadSome<Element>(first + i * segment.stride, existing);
  }
  if constexpr (kNormed) task.norm = LoadSome<Float32Element>(segment.norms + column, columns);
  return task;
}

// The best mask of a block by float64 arithmetic, whatever its scores.
template <int kN>
__device__ uint32_t MaskByFloat64(const Scores& scores) {
  double row[kM][kM];
  double total = 0;
#pragma unroll
  for (int i = 0; i < kM; ++i) {
#pragma unroll
    for (int j = 0; j < kM; ++j) total += row[i][j] = static_cast<double>(scores[i][j]);
  }
  return BestMask<kN>(row, total).mask;
}

template <int kN>
__device__ auto QuickSearch(const Scores& row) {
  if constexpr (kN == 2) {
    return QuickHalf(row);
  } else if constexpr (kN == 1) {
    return QuickPermutation(row);
  } else {  // what is dropped is a permutation: the one of the least sum
    Scores negated;
#pragma unroll
    for (int i = 0; i < kM; ++i) {
#pragma unroll
      for (int j = 0; j < kM; ++j) negated[i][j] = -row[i][j];
    }
    return QuickPermutation(negated);
  }
}

// A block's best mask and its sums.
struct Solved {
  double value, score_sum;
  uint32_t mask;
};

// The sums of a block whose mask is found.
__device__ Solved AddByFloat64(const Scores& row, uint32_t mask) {
  Solved solved = {0, 0, mask};
#pragma unroll
  for (int i = 0; i < kM; ++i) {
    double of_row = 0, kept = 0;
#pragma unroll
    for (int j = 0; j < kM; ++j) {
      const double score = static_cast<double>(row[i][j]);
      of_row += score;
      if (mask >> (4 * i + j) & 1) kept += score;
    }
    solved.score_sum += of_row;
    solved.value += kept;
  }
  return solved;
}

// Whether a float32 search is certain of its mask.
template <typename Search>
__device__ bool IsCertain(const Search& found, const Scores& row, float total) {
  return found.Margin() > kSafeMargin * total || AreWhole(row, total);
}

// Solves a block whose scores have no more than kFractionBits binary places after their first one.
// False if float32 does not tell.
template <int kN, int kFractionBits>
__device__ bool SolveQuickly(const Scores& row, Solved& solved) {
  const float total = Total(row);
  constexpr bool kNarrow = kFractionBits < Float32Element::kFractionBits;
  if (kNarrow && !AreWhole<kFractionBits>(row, total)) return false;
  const auto found = QuickSearch<kN>(row);
  const uint32_t mask = kN == 3 ? found.mask() ^ 0xffff : found.mask();
  if constexpr (!kNarrow) {
    solved = AddByFloat64(row, mask);
    return IsCertain(found, row, total);
  }
  const float kept = kN == 1   ? found.sum()
                     : kN == 2 ? 0.5f * (total + found.sum())
                               : total + found.sum();
  solved = {static_cast<double>(kept), static_cast<double>(total), mask};
  return true;
}

// Solves any block.
template <int kN>
__device__ Solved SolveSlowly(Scores& row) {
  const float total = Total(row);
  const auto found = QuickSearch<kN>(row);
  uint32_t mask = kN == 3 ? found.mask() ^ 0xffff : found.mask();
  if (!IsCertain(found, row, total)) {
#pragma unroll
    for (auto& scores : row) {
#pragma unroll
      for (float& score : scores) score = Finite(score);
    }
    mask = MaskByFloat64<kN>(row);
  }
  return AddByFloat64(row, mask);
}

// Bits of the entries of a 4 x 4 block that exist.
__device__ uint32_t ExistingEntries(int columns, int rows) {
  const uint32_t of_row = columns >= kM ? 15 : columns <= 0 ? 0 : (1u << columns) - 1;
  return of_row * 0x1111 & (rows == kM ? 0xffff : (1u << 4 * rows) - 1);
}

// Writes the byte of two neighbouring blocks in each row of the mask.
__device__ void StoreMask(const uint32_t (&block)[2], uint8_t* mask, int64_t stride, int rows) {
  const uint32_t even = (block[0] & 0x0f0f) | (block[1] & 0x0f0f)
                                                  << 4;                 // rows 0 and 2, a byte each
  const uint32_t odd = (block[0] & 0xf0f0) >> 4 | (block[1] & 0xf0f0);  // rows 1 and 3
  const uint32_t byte[kM] = {even, odd, even >> 8, odd >> 8};
#pragma unroll
  for (int i = 0; i < kM; ++i) {
    if (i < rows) mask[i * stride] = static_cast<uint8_t>(byte[i]);
  }
}

__device__ SearchSums operator+(const SearchSums& x, const SearchSums& y) {
  return {x.value + y.value, x.score_sum + y.score_sum, x.kept + y.kept};
}

// What the lane `offset` further on holds.
__device__ SearchSums FromLane(const SearchSums& sums, int offset) {
  return {__shfl_down_sync(~0u, sums.value, offset), __shfl_down_sync(~0u, sums.score_sum, offset),
          __shfl_down_sync(~0u, sums.kept, offset)};
}

// Adds up what `team` neighbouring threads hold, by halves: the answer is the first one's. Teams of
// any size add what their threads hold in the same order, if those beyond hold nothing.
__device__ SearchSums SumOfTeam(SearchSums sums, int team) {
  __shared__ SearchSums of_thread[kThreads];
  const int k = static_cast<int>(threadIdx.x);
  int half = team / 2;
  for (; half >= 32; half /= 2) {
    of_thread[k] = sums;
    __syncthreads();
    if (k % team < half) sums = sums + of_thread[k + half];
    __syncthreads();
  }
  for (; half > 0; half /= 2) sums = sums + FromLane(sums, half);
  return sums;
}

__device__ void WriteStats(const PassTile& placed, int64_t row, const SearchSums& sums) {
  SolveStats& stats = placed.tile.stats[row];
  const double bound = placed.tile.potentials != nullptr ? stats.bound : sums.value;
  stats = SolveStats();
  stats.value = sums.value;
  stats.bound = bound;
  stats.score_sum = sums.score_sum;
  stats.kept = sums.kept;
  stats.blocks = stats.blocks_proven = placed.blocks_per_row;
}

// Solves a task that exists in full. False, and then nothing is changed, if float32 does not tell.
template <typename Element, int kN, bool kNormed>
__device__ bool SolveTaskQuickly(const Task<Element, kNormed>& task,
                                 const Segment<Element>& segment, int column, SearchSums& sums) {
  constexpr int kFractionBits = kNormed ? Float32Element::kFractionBits : Element::kFractionBits;
  uint32_t mask[2];
  SearchSums of_task = {0, 0, 2 * kM * kN};
  bool certain = true;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    Scores scores;
    task.GetScores(h, scores);
    Solved solved = {};
    certain = certain && SolveQuickly<kN, kFractionBits>(scores, solved);
    mask[h] = solved.mask;
    of_task.value += solved.value;
    of_task.score_sum += solved.score_sum;
  }
  if (!certain) return false;
  StoreMask(mask, segment.mask + column / 8, segment.mask_stride, kM);
  sums = sums + of_task;
  return true;
}

// Solves any task: of segment `number` of block row `row`.
template <typename Element, int kN, bool kNormed>
__noinline__ __device__ SearchSums SolveTaskSlowly(const Tile& tile, int64_t row, int64_t number,
                                                   int column) {
  const Segment<Element> segment(tile, row, number);
  const int columns = min(kTaskColumns, segment.columns - column);
  const bool full = segment.rows == kM && columns == kTaskColumns;
  const auto task = LoadTask<Element, kNormed>(segment, column, columns, full && segment.aligned);
  uint32_t mask[2];
  SearchSums of_task = {};
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    Scores scores;
    task.GetScores(h, scores);
    const Solved solved = SolveSlowly<kN>(scores);
    of_task.value += solved.value;
    of_task.score_sum += solved.score_sum;
    mask[h] = solved.mask & ExistingEntries(columns - kM * h, segment.rows);
    of_task.kept += __popc(mask[h]);
  }
  StoreMask(mask, segment.mask + column / 8, segment.mask_stride, segment.rows);
  return of_task;
}

// What thread `k` of a team finds in segment `number` of block row `row`. Slow tasks wait until the
// others are done.
template <typename Element, int kN, bool kNormed>
__device__ SearchSums SolveTasks(const Tile& tile, int64_t row, int64_t number, int k, int team) {
  const Segment<Element> segment(tile, row, number);
  const int first = k * kTaskColumns, step = team * kTaskColumns;
  const int last_full = segment.rows == kM ? segment.columns - kTaskColumns : -1;
  const auto load = [&](int column) {
    return LoadTask<Element, kNormed>(segment, column, kTaskColumns, segment.aligned);
  };
  Task<Element, kNormed> next;
  if (first <= last_full) next = load(first);
  SearchSums sums = {};
  uint32_t slow = 0;  // a bit a task: kSegmentColumns / (kThreads * kTaskColumns) at most
  for (int column = first, bit = 1; column < segment.columns; column += step, bit *= 2) {
    const Task<Element, kNormed> task = next;
    if (column + step <= last_full) next = load(column + step);
    const bool solved =
        column <= last_full && SolveTaskQuickly<Element, kN, kNormed>(task, segment, column, sums);
    if (!solved) slow |= bit;
  }
  for (int column = first; slow != 0; column += step, slow /= 2) {
    if (slow % 2 == 0) continue;
    sums = sums + SolveTaskSlowly<Element, kN, kNormed>(tile, row, number, column);
  }
  return sums;
}

// `team` neighbouring threads own a segment of a block row: thread k of them the tasks k, k + team,
// ... of it. Every weight is read once from device memory, and a bit written for it.
template <typename Element, int kN, bool kNormed>
__global__ void __launch_bounds__(kThreads, (kCtas<Element, kNormed>))
    SearchSegments(const __grid_constant__ Pass pass, int team) {
  const int k = static_cast<int>(threadIdx.x) % team;
  const int64_t index =
      int64_t{blockIdx.x} * (kThreads / team) + static_cast<int>(threadIdx.x) / team;
  const bool exists = index < pass.segments;
  const PassTile& placed = pass.TileOf(exists ? index : 0, &PassTile::first_segment);
  const int64_t segments = SegmentsOfRow(placed.tile.columns);
  const int64_t row = (index - placed.first_segment) / segments;
  const int64_t number = (index - placed.first_segment) % segments;
  SearchSums sums = {};
  if (exists) sums = SolveTasks<Element, kN, kNormed>(placed.tile, row, number, k, team);
  sums = SumOfTeam(sums, team);
  if (!exists || k > 0) return;
  if (segments > 1) {
    pass.search_sums[index] = sums;
  } else {
    WriteStats(placed, row, sums);
  }
}

// Adds up the segments of a block row, one a warp: lane k the segments k, k + 32, ...
__global__ void __launch_bounds__(kThreads) AddSegments(const __grid_constant__ Pass pass) {
  const int64_t index = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (index >= pass.rows) return;
  const PassTile& placed = pass.TileOf(index, &PassTile::first_row);
  const int64_t row = index - placed.first_row;
  const int64_t segments = SegmentsOfRow(placed.tile.columns);
  if (segments == 1) return;
  const SearchSums* const of_row = pass.search_sums + placed.first_segment + row * segments;
  SearchSums sums = {};
  for (int64_t s = lane; s < segments; s += 32) sums = sums + of_row[s];
  for (int half = 16; half > 0; half /= 2) sums = sums + FromLane(sums, half);
  if (lane == 0) WriteStats(placed, row, sums);
}

// CTAs for `count` things, `each` of them in one.
unsigned CtasFor(int64_t count, int each) {
  return static_cast<unsigned>((count + each - 1) / each);
}

template <typename Element, int kN>
void LaunchFor(const Pass& pass, cudaStream_t stream) {
  int team = kThreads;  // no more than the widest segment has tasks
  while (team > 1 && team / 2 * kTaskColumns >= pass.columns) team /= 2;
  const unsigned ctas = CtasFor(pass.segments, kThreads / team);
  if (pass.problem.score_kind == ScoreKind::kMagnitudeTimesColumnNorm) {
    SearchSegments<Element, kN, true><<<ctas, kThreads, 0, stream>>>(pass, team);
  } else {
    SearchSegments<Element, kN, false><<<ctas, kThreads, 0, stream>>>(pass, team);
  }
  if (SegmentsOfRow(pass.columns) == 1) return;
  AddSegments<<<CtasFor(pass.rows, kThreads / 32), kThreads, 0, stream>>>(pass);
}

template <typename Element>
void Launch(const Pass& pass, cudaStream_t stream) {
  switch (pass.problem.pattern.n) {
    case 1:
      return LaunchFor<Element, 1>(pass, stream);
    case 2:
      return LaunchFor<Element, 2>(pass, stream);
    default:
      return LaunchFor<Element, 3>(pass, stream);
  }
}

}  // namespace

cudaError_t LaunchExhaustive(const Pass& pass, cudaStream_t stream) {
  switch (pass.problem.dtype) {
    case DType::kFloat32:
      Launch<Float32Element>(pass, stream);
      break;
    case DType::kFloat16:
      Launch<Float16Element>(pass, stream);
      break;
    case DType::kBFloat16:
      Launch<BFloat16Element>(pass, stream);
      break;
    case DType::kFloat8E4M3:
      Launch<Float8E4M3Element>(pass, stream);
      break;
    case DType::kFloat8E5M2:
      Launch<Float8E5M2Element>(pass, stream);
      break;
  }
  return cudaGetLastError();
}

}  // namespace tsenor::cuda
