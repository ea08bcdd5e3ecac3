#include <cfloat>
#include <cstdint>

#include "solver/cuda/kernels/block_state.cuh"
#include "solver/cuda/kernels/exact_finish.cuh"
#include "solver/cuda/kernels/general.h"
#include "solver/cuda/kernels/sweeps.cuh"
#include "solver/cuda/kernels/ties.cuh"
#include "solver/cuda/primitives/block_view.cuh"
#include "solver/cuda/primitives/group.cuh"
#include "solver/limits.h"

namespace tsenor::cuda {
namespace {

// Quanta of the first finish, per mean score (its power of two): on blocks without outliers they
// prove a gap of 1e-9, and leave residuals of up to a mean score inside kFinishRange.
constexpr int kResidualBits = 28;
// Potentials that move further may give weight to entries that were clamped to kFinishRange.
constexpr int32_t kGreatestMove = kFinishRange / 2;
constexpr int kRefinementBits = 12;  // more bits per refinement
constexpr float kTieEntries = 2;     // more than this many entries within reach per line: they tie
constexpr float kTieReach = 2;       // potentials are snapped to entries this many reaches away

// Sums over the block in units of the normalised scores.
struct Certificate {
  double value;
  double bound;
  double score_sum;
  __device__ double relative_gap() const { return bound > value ? (bound - value) / bound : 0; }
};

// Solves one block: thread k works for row k and column k, and all call every function.
//
// The scores are read from device memory three times (sweeps, quantisation, certificate; the last
// two out of the second-level cache), so that shared memory holds the block but once:
//
//   entries                     4 m (m | 1) bytes
//   BlockState: lines, path     2.9 KB for m <= 32, 17 KB for m > 96
template <int kWords>
class BlockSolver {
 public:
  __device__ BlockSolver(const Pass& pass, int64_t number, BlockState<kWords>& state,
                         int32_t* entries)
      : pass_(pass),
        index_(number - pass.first_block),
        view_(Locate(pass, number)),
        m_(pass.problem.pattern.m),
        n_(pass.problem.pattern.n),
        state_(state),
        entries_(entries, m_),
        group_(state.scratch),
        k_(group_.thread()) {}

  __device__ void Run() {
    const bool all_zero = Load();
    if (all_zero || n_ == 0 || n_ == m_) {
      SolveTrivially();
    } else if (!SolveOptimally()) {
      unsolved_ = true;
      SolveTrivially();
    }
    Store();
  }

 private:
  using Set = LineSet<kWords>;
  static constexpr int kLines = Side<kWords>::kLines;

  // Normalised scores into shared memory: the caller's times 2^-exponent, so that the greatest lies
  // in [0.5, 1). Returns whether all are 0.
  __device__ bool Load() {
    float greatest = 0;
    if (k_ < m_) {
      VisitColumn(pass_, view_, k_, [&](int i, float score) {
        entries_.set_score(i, k_, score);
        greatest = fmaxf(greatest, score);
      });
    }
    greatest = group_.Max(greatest);
    frexpf(greatest, &exponent_);
    // 2^-exponent in two exact factors: the scale itself may lie outside float32.
    const float first = ldexpf(1.0f, -exponent_ / 2);
    const float second = ldexpf(1.0f, -exponent_ - -exponent_ / 2);
    if (k_ < m_) {
      for (int i = 0; i < m_; ++i) {
        entries_.set_score(i, k_, entries_.score(i, k_) * first * second);
      }
    }
    group_.Sync();
    return greatest == 0;
  }

  // No scores, or no choice: the first n of each line, cyclically, and potentials that prove it.
  __device__ void SolveTrivially() {
    Set row = Set::Empty(), column = Set::Empty();
    for (int d = 0; d < n_ && k_ < m_; ++d) {
      row.insert((k_ + d) % m_);
      column.insert((k_ + m_ - d) % m_);
    }
    Keep(row, column);
    state_.rows.proof[k_] = n_ == 0 ? 1 : 0;  // with n = 0, above every normalised score
    state_.columns.proof[k_] = 0;
    group_.Sync();
    TakeMask();
  }

  __device__ void Keep(const Set& row, const Set& column) {
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      state_.rows.kept[w][k_] = row.word[w];
      state_.columns.kept[w][k_] = column.word[w];
    }
  }

  __device__ bool SolveOptimally() {
    const SweepResult swept = Sweep(group_, entries_, m_, n_, pass_.quantile_factor, state_);
    sweeps_ = swept.sweeps;
    const bool tied = swept.within > kTieEntries;
    if (tied && group_.warp() == 0) {
      SnapPotentials(entries_, m_, static_cast<double>(kTieReach * swept.reach), state_);
    }
    group_.Sync();
    double quanta = ldexp(1.0, kResidualBits - 1 - ilogbf(swept.mean));
    Quantise(quanta);
    if (tied && group_.warp() == 0) FillTightEntries(entries_, m_, n_, state_);
    group_.Sync();
    const bool inside = Finish(quanta);
    if (inside && IsSolved()) return true;
    return Refine(inside, quanta);
  }

  // Solves what is left of the scores after the potentials so far, again and again in finer quanta,
  // until the gap is tolerable: the potentials found add up. If the first finish went well
  // (`solved`), its own quanta are fine enough to start with; after one that left the range, they
  // are so coarse that nothing can. False: there is no answer at all.
  __device__ bool Refine(bool solved, double quanta) {
    bool in_range = solved;
    for (int round = 0; round < kMaxRefinements; ++round) {
      if (!in_range) quanta = CoarseQuanta();
      Quantise(quanta);
      in_range = Finish(quanta);
      if (!in_range) continue;
      solved = true;
      if (IsSolved()) break;
      quanta = ldexp(quanta, kRefinementBits);
    }
    return solved;
  }

  // The gap is tolerable, and so small that on scores in whole quanta (solver/quantise.h) the mask
  // is the optimum.
  __device__ bool IsSolved() const {
    constexpr double kQuantum = 1.0 / (1 << kQuantisationBits);
    const double gap = certificate_.bound - certificate_.value;
    const double tolerance = pass_.problem.options.optimal.gap_tolerance;
    return gap <= tolerance * certificate_.bound && gap < kQuantum;
  }

  __device__ double Residual(int i, float score) const {
    return ldexp(static_cast<double>(score), -exponent_) - state_.rows.proof[i] -
           state_.columns.proof[k_];
  }

  // The greatest power of two with which 2 m residuals in a row, the longest path, stay inside the
  // range of a finish.
  __device__ double CoarseQuanta() const {
    double greatest = 0;
    if (k_ < m_) {
      VisitColumn(pass_, view_, k_,
                  [&](int i, float score) { greatest = fmax(greatest, fabs(Residual(i, score))); });
    }
    greatest = group_.Max(greatest);
    return ldexp(1.0, ilogb(kGreatestMove / (2 * m_ * greatest)));
  }

  // The residuals w - a - b times `quanta`, to the nearest integers within kFinishRange, take the
  // place of the scores; the positive ones are kept.
  __device__ void Quantise(double quanta) {
    Set kept = Set::Empty();
    if (k_ < m_) {
      VisitColumn(pass_, view_, k_, [&](int i, float score) {
        const double scaled = Residual(i, score) * quanta;
        const double limit = kFinishRange;
        const int32_t residual = __double2int_rn(fmin(fmax(scaled, -limit), limit));
        entries_.set_residual(i, k_, residual);
        if (residual > 0) kept.insert(i);
      });
    }
    group_.Sync();
    Keep(KeptOfRow(), kept);
    group_.Sync();
  }

  __device__ Set KeptOfRow() const {
    Set kept = Set::Empty();
    for (int j = 0; j < m_ && k_ < m_; ++j) {
      if (entries_.residual(k_, j) > 0) kept.insert(j);
    }
    return kept;
  }

  // Finishes; if all went well inside the range, adds the potentials and takes the mask.
  __device__ bool Finish(double quanta) {
    const FinishResult result = Finisher<kWords>(group_, entries_, m_, n_, state_).Run();
    augmentations_ += result.augmentations;
    if (!result.optimal || result.greatest_move > kGreatestMove) return false;
    state_.rows.proof[k_] += state_.rows.quanta[k_] / quanta;
    state_.columns.proof[k_] += state_.columns.quanta[k_] / quanta;
    group_.Sync();
    TakeMask();
    return true;
  }

  // Value of the mask and the bound of the potentials (solver/certificate.h), in float64: one sum a
  // column, then over the columns.
  __device__ void Certify() {
    double value = 0, beyond = 0, score_sum = 0;
    if (k_ < m_) {
      VisitColumn(pass_, view_, k_, [&](int i, float score) {
        const double normalised = ldexp(static_cast<double>(score), -exponent_);
        score_sum += normalised;
        beyond += fmax(Residual(i, score), 0.0);
        if (state_.columns.keeps(k_, i)) value += normalised;
      });
      beyond += n_ * (state_.rows.proof[k_] + state_.columns.proof[k_]);
    }
    certificate_ = {group_.Sum(value), group_.Sum(beyond), group_.Sum(score_sum)};
  }

  // The mask becomes the answer, as long as no better one follows.
  __device__ void TakeMask() {
    Certify();
    const Set row = LoadSet<kWords>(&state_.rows.kept[0][k_], kLines);
    if (k_ < m_) StoreSet(row, pass_.masks + (index_ * m_ + k_) * kWords);
    kept_ = group_.Sum(k_ < view_.rows ? (row & Set::First(view_.columns)).count() : 0);
  }

  // Potentials and sums, in the caller's units.
  __device__ void Store() {
    if (k_ < m_ && view_.tile->potentials != nullptr) {
      double* const potentials = view_.tile->potentials + view_.number_in_tile * 2 * m_;
      potentials[k_] = ldexp(state_.rows.proof[k_], exponent_);
      potentials[m_ + k_] = ldexp(state_.columns.proof[k_], exponent_);
    }
    if (k_ > 0) return;
    pass_.results[index_] = {.value = ldexp(certificate_.value, exponent_),
                             .bound = ldexp(certificate_.bound, exponent_),
                             .score_sum = ldexp(certificate_.score_sum, exponent_),
                             .kept = kept_,
                             .sweeps = sweeps_,
                             .augmentations = augmentations_,
                             .proven = certificate_.relative_gap() <= kProvenGap,
                             .unsolved = unsolved_};
  }

  const Pass& pass_;
  const int64_t index_;  // in the workspace
  const BlockView view_;
  const int m_;
  const int n_;
  BlockState<kWords>& state_;
  Entries entries_;
  const Group<kWords> group_;
  const int k_;

  int exponent_ = 0;  // of the block's greatest score: max = f * 2^exponent
  int kept_ = 0;
  int sweeps_ = 0;
  int augmentations_ = 0;
  bool unsolved_ = false;
  Certificate certificate_ = {};
};

// Blocks that a CTA solves at a time: one a warp for m <= 32, so that the limit of CTAs on a
// multiprocessor does not limit its warps.
template <int kWords>
inline constexpr int kBlocksPerCta = kWords == 1 ? 4 : 1;

template <int kWords>
inline constexpr int kThreadsPerCta = 32 * kWords* kBlocksPerCta<kWords>;

template <int kWords>
__host__ __device__ size_t SharedBytesPerBlock(int m) {
  const size_t bytes = sizeof(BlockState<kWords>) + sizeof(int32_t) * Entries::Words(m);
  return (bytes + 15) / 16 * 16;
}

extern __shared__ __align__(16) unsigned char shared_memory[];

// Solves the blocks of `list`, or all blocks of the pass if list.blocks is null: the group of
// threads number g those at the places g, g + number of groups, ...
template <int kWords>
__global__ void __launch_bounds__(kThreadsPerCta<kWords>)
    GeneralKernel(const __grid_constant__ Pass pass, BlockList list) {
  constexpr int kGroups = kBlocksPerCta<kWords>;
  const int group = kGroups == 1 ? 0 : static_cast<int>(threadIdx.x) / 32;
  unsigned char* const memory =
      shared_memory + group * SharedBytesPerBlock<kWords>(pass.problem.pattern.m);
  auto& state = *reinterpret_cast<BlockState<kWords>*>(memory);
  auto* const entries = reinterpret_cast<int32_t*>(memory + sizeof(BlockState<kWords>));
  const int64_t count = list.blocks == nullptr ? pass.blocks : *list.count;
  const int64_t step = int64_t{gridDim.x} * kGroups;
  for (int64_t k = int64_t{blockIdx.x} * kGroups + group; k < count; k += step) {
    const int64_t index = list.blocks == nullptr ? k : list.blocks[k];
    BlockSolver<kWords>(pass, pass.first_block + index, state, entries).Run();
    Group<kWords>::Sync();  // before the next block takes the memory
  }
}

// CTAs of `kernel` that run at a time on the current device.
template <typename Kernel>
cudaError_t ResidentCtas(Kernel kernel, int threads, size_t shared_bytes, unsigned& ctas) {
  int device = 0, multiprocessors = 0, per_multiprocessor = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error != cudaSuccess) return error;
  error = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
  if (error != cudaSuccess) return error;
  error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_multiprocessor, kernel, threads,
                                                        shared_bytes);
  ctas = static_cast<unsigned>(multiprocessors * per_multiprocessor);
  return error;
}

template <int kWords>
cudaError_t Launch(const Pass& pass, const BlockList& list, cudaStream_t stream) {
  constexpr int kGroups = kBlocksPerCta<kWords>;
  const auto kernel = GeneralKernel<kWords>;
  const size_t shared_bytes = kGroups * SharedBytesPerBlock<kWords>(pass.problem.pattern.m);
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           static_cast<int>(shared_bytes));
  if (error != cudaSuccess) return error;
  auto ctas = static_cast<unsigned>((pass.blocks + kGroups - 1) / kGroups);
  if (list.blocks != nullptr) {
    error = ResidentCtas(kernel, kThreadsPerCta<kWords>, shared_bytes, ctas);
    if (error != cudaSuccess) return error;
  }
  kernel<<<ctas, kThreadsPerCta<kWords>, shared_bytes, stream>>>(pass, list);
  return cudaGetLastError();
}

// Calls visit.template operator()<kWords>() with the words of a line of m entries.
template <typename Visit>
auto VisitWords(int m, Visit visit) {
  switch (MaskWords(m)) {
    case 1:
      return visit.template operator()<1>();
    case 2:
      return visit.template operator()<2>();
    case 3:
      return visit.template operator()<3>();
    default:
      return visit.template operator()<4>();
  }
}

}  // namespace

int GeneralThreads(int m) {
  return VisitWords(m, [&]<int kWords>() { return kThreadsPerCta<kWords>; });
}

size_t GeneralSharedBytes(int m) {
  return VisitWords(
      m, [m]<int kWords>() { return kBlocksPerCta<kWords> * SharedBytesPerBlock<kWords>(m); });
}

cudaError_t LaunchGeneral(const Pass& pass, cudaStream_t stream) {
  return LaunchGeneralOnList(pass, BlockList{nullptr, nullptr}, stream);
}

cudaError_t LaunchGeneralOnList(const Pass& pass, const BlockList& list, cudaStream_t stream) {
  return VisitWords(pass.problem.pattern.m,
                    [&]<int kWords>() { return Launch<kWords>(pass, list, stream); });
}

}  // namespace tsenor::cuda
