#include <cstdint>

#include "solver/cuda/kernels/evaluate.h"
#include "solver/cuda/kernels/launch_per_block.cuh"
#include "solver/cuda/primitives/block_view.cuh"
#include "solver/cuda/primitives/group.cuh"
#include "solver/cuda/primitives/line_set.cuh"
#include "solver/cuda/primitives/shared_block.cuh"
#include "solver/limits.h"

namespace tsenor::cuda {
namespace {

template <int kWords>
struct EvaluateState {
  uint32_t row[kWords][32 * kWords];  // the mask
  typename Group<32 * kWords>::Scratch scratch;
};

// Evaluates one mask, in float64: thread k works for row k and column k, and all call every
// function. The caller's scores lie in shared memory.
template <int kWords>
class Evaluator {
 public:
  __device__ Evaluator(const Pass& pass, int64_t number, EvaluateState<kWords>& state, void* scores)
      : pass_(pass),
        index_(number - pass.first_block),
        view_(Locate(pass, number)),
        m_(pass.problem.pattern.m),
        n_(pass.problem.pattern.n),
        scores_(scores, m_),
        state_(state),
        group_(state.scratch),
        k_(group_.thread()) {
    LoadScores(pass, view_, group_, scores_);
    if (k_ < m_) row_ = LoadSet<kWords>(pass.masks + (index_ * m_ + k_) * kWords);
#pragma unroll
    for (int w = 0; w < kWords; ++w) state_.row[w][k_] = row_.word[w];
    group_.Sync();
  }

  __device__ void Run() {
    const SolveOptions& options = pass_.problem.options;
    const bool transposable = IsTransposable(options.method);
    BlockResult result = {};
    if (transposable) {
      const BlockResult& optimum = pass_.results[index_];
      result.bound = optimum.bound;
      result.score_sum = optimum.score_sum;
      result.unsolved = optimum.unsolved;
    } else {
      BoundLines(result);
    }
    double value = 0;
    int in_column = 0;
    for (int i = 0; i < m_ && k_ < m_; ++i) {
      if (!Keeps(i, k_)) continue;
      value += scores_(i, k_);
      ++in_column;
    }
    result.value = group_.Sum(value);
    const bool exists = k_ < view_.rows;
    result.kept = group_.Sum(exists ? (row_ & Set::First(view_.columns)).count() : 0);
    const bool short_row = ConstrainsRows(options.method) && row_.count() < n_;
    const bool short_column = ConstrainsColumns(options.method) && in_column < n_;
    result.falls_short = group_.Max(static_cast<int>(k_ < m_ && (short_row || short_column)));
    result.sweeps = options.method == Method::kTsenor ? options.tsenor.iterations : 0;
    result.proven = !result.falls_short && result.bound - result.value <= kProvenGap * result.bound;
    if (k_ == 0) pass_.results[index_] = result;
  }

 private:
  using Set = LineSet<kWords>;

  __device__ bool Keeps(int i, int j) const { return state_.row[j / 32][i] >> (j % 32) & 1; }

  // Bound and potentials of a mask of rows, or of columns, alone: of each line the least score kept
  // (with n = 0 the greatest of all).
  __device__ void BoundLines(BlockResult& result) {
    const bool by_row = pass_.problem.options.method == Method::kRowNm;
    double least = 0, beyond = 0, sum = 0;
    if (k_ < m_) {
      const auto score = [&](int l) { return by_row ? scores_(k_, l) : scores_(l, k_); };
      bool any = false;
      for (int l = 0; l < m_; ++l) {
        const bool counts = n_ == 0 || (by_row ? Keeps(k_, l) : Keeps(l, k_));
        if (!counts) continue;
        const double here = score(l);
        least = !any ? here : n_ == 0 ? fmax(least, here) : fmin(least, here);
        any = true;
      }
      for (int l = 0; l < m_; ++l) {
        sum += score(l);
        beyond += fmax(score(l) - least, 0.0);
      }
      beyond += n_ * least;
      StorePotentials(by_row ? least : 0, by_row ? 0 : least);
    }
    result.bound = group_.Sum(beyond);
    result.score_sum = group_.Sum(sum);
  }

  __device__ void StorePotentials(double row, double column) const {
    if (view_.tile->potentials == nullptr) return;
    double* const potentials = view_.tile->potentials + view_.number_in_tile * 2 * m_;
    potentials[k_] = row;
    potentials[m_ + k_] = column;
  }

  const Pass& pass_;
  const int64_t index_;  // in the workspace
  const BlockView view_;
  const int m_;
  const int n_;
  const SharedBlock<float> scores_;
  EvaluateState<kWords>& state_;
  const Group<32 * kWords> group_;
  const int k_;
  Set row_ = Set::Empty();
};

extern __shared__ __align__(16) unsigned char shared_memory[];

template <int kWords>
__global__ void __launch_bounds__(32 * kWords) EvaluateKernel(const __grid_constant__ Pass pass) {
  auto& state = *reinterpret_cast<EvaluateState<kWords>*>(shared_memory);
  void* const scores = shared_memory + sizeof(EvaluateState<kWords>);
  Evaluator<kWords>(pass, pass.first_block + blockIdx.x, state, scores).Run();
}

}  // namespace

cudaError_t LaunchEvaluate(const Pass& pass, cudaStream_t stream) {
  const int m = pass.problem.pattern.m;
  return ForWordsOf(m, [&](auto words) {
    constexpr int kWords = words();
    const size_t shared_bytes = sizeof(EvaluateState<kWords>) + SharedBlock<float>::Bytes(m);
    return LaunchPerBlock<kWords>(EvaluateKernel<kWords>, pass, shared_bytes, stream);
  });
}

}  // namespace tsenor::cuda
