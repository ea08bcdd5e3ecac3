#include <cstdint>

#include "solver/cuda/kernels/heuristics.h"
#include "solver/cuda/kernels/launch_per_block.cuh"
#include "solver/cuda/primitives/block_view.cuh"
#include "solver/cuda/primitives/greedy_fill.cuh"
#include "solver/cuda/primitives/group.cuh"
#include "solver/cuda/primitives/line_set.cuh"
#include "solver/cuda/primitives/shared_block.cuh"

namespace tsenor::cuda {
namespace {

// Scores below 1, normalised ones, differ in these bits alone.
constexpr int kScoreBits = 30;

template <int kWords>
struct HeuristicState {
  union {
    GreedyState<kWords> greedy;          // kTwoApprox
    uint32_t line[kWords][32 * kWords];  // the others: what each line keeps
  };
  typename Group<32 * kWords>::Scratch scratch;
};

// Masks one block: thread k works for row k and column k, and all call every function. The
// normalised scores lie in shared memory.
template <int kWords>
class Heuristics {
 public:
  __device__ Heuristics(const Pass& pass, int64_t number, HeuristicState<kWords>& state,
                        void* scores)
      : pass_(pass),
        index_(number - pass.first_block),
        m_(pass.problem.pattern.m),
        n_(pass.problem.pattern.n),
        scores_(scores, m_),
        state_(state),
        group_(state.scratch),
        k_(group_.thread()) {
    LoadNormalisedScores(pass, Locate(pass, number), group_, scores_);
  }

  __device__ void Run() {
    const bool greedy = pass_.problem.options.method == Method::kTwoApprox;
    const Set row = greedy ? KeepGreedily() : KeepLines();
    if (k_ < m_) StoreSet(row, pass_.masks + (index_ * m_ + k_) * kWords);
  }

 private:
  using Set = LineSet<kWords>;

  // Hubara et al., Accelerated sparse neural training, 2021: at least half of the greatest value.
  __device__ Set KeepGreedily() {
    GreedyFill<kWords> fill(group_, state_.greedy, n_, m_);
    fill.Run([this](int i, int j, int p, int q) { return scores_(i, j) > scores_(p, q); });
    return fill.row();
  }

  __device__ Set KeepLines() {
    const Method method = pass_.problem.options.method;
    Set row = k_ < m_ ? Set::First(m_) : Set::Empty();
    if (ConstrainsRows(method)) {
      row = KeepGreatest(row, [this](int j) { return scores_(k_, j); });
    }
    if (ConstrainsColumns(method)) {
      const Set column = KeepGreatest(Transpose(row), [this](int i) { return scores_(i, k_); });
      row = Transpose(column);
    }
    return row;
  }

  // The n greatest entries of a line's set, all if there are fewer; of equal ones the first. The
  // bits of floats >= +0 are in the order of the floats, so the n-th greatest is found bit by bit.
  template <typename ScoreOf>
  __device__ Set KeepGreatest(const Set& set, ScoreOf score_of) const {
    uint32_t least = 0;
    for (uint32_t bit = 1u << (kScoreBits - 1); bit != 0; bit >>= 1) {
      int count = 0;
      ForEach(set, [&](int line) { count += __float_as_uint(score_of(line)) >= (least | bit); });
      if (count >= n_) least |= bit;
    }
    int room = n_;  // for scores equal to the least
    ForEach(set, [&](int line) { room -= __float_as_uint(score_of(line)) > least; });
    Set kept = Set::Empty();
    ForEach(set, [&](int line) {
      const uint32_t score = __float_as_uint(score_of(line));
      if (score > least || (score == least && room-- > 0)) kept.insert(line);
    });
    return kept;
  }

  // In the order of lines.
  template <typename Visit>
  __device__ void ForEach(const Set& set, Visit visit) const {
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      for (uint32_t left = set.word[w]; left != 0; left &= left - 1) {
        visit(32 * w + __ffs(left) - 1);
      }
    }
  }

  // From sets of rows to sets of columns and back.
  __device__ Set Transpose(const Set& set) {
#pragma unroll
    for (int w = 0; w < kWords; ++w) state_.line[w][k_] = set.word[w];
    group_.Sync();
    Set transposed = Set::Empty();
    for (int line = 0; line < m_; ++line) {
      if (state_.line[k_ / 32][line] >> (k_ % 32) & 1) transposed.insert(line);
    }
    group_.Sync();
    return transposed;
  }

  const Pass& pass_;
  const int64_t index_;  // in the workspace
  const int m_;
  const int n_;
  const SharedBlock<float> scores_;
  HeuristicState<kWords>& state_;
  const Group<32 * kWords> group_;
  const int k_;
};

extern __shared__ __align__(16) unsigned char shared_memory[];

template <int kWords>
__global__ void __launch_bounds__(32 * kWords) HeuristicKernel(const __grid_constant__ Pass pass) {
  auto& state = *reinterpret_cast<HeuristicState<kWords>*>(shared_memory);
  void* const scores = shared_memory + sizeof(HeuristicState<kWords>);
  Heuristics<kWords>(pass, pass.first_block + blockIdx.x, state, scores).Run();
}

}  // namespace

cudaError_t LaunchHeuristics(const Pass& pass, cudaStream_t stream) {
  const int m = pass.problem.pattern.m;
  return ForWordsOf(m, [&](auto words) {
    constexpr int kWords = words();
    const size_t shared_bytes = sizeof(HeuristicState<kWords>) + SharedBlock<float>::Bytes(m);
    return LaunchPerBlock<kWords>(HeuristicKernel<kWords>, pass, shared_bytes, stream);
  });
}

}  // namespace tsenor::cuda
