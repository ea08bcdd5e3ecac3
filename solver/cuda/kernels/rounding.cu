#include <cfloat>
#include <cstdint>

#include "solver/cuda/kernels/launch_per_block.cuh"
#include "solver/cuda/kernels/rounding.h"
#include "solver/cuda/primitives/block_view.cuh"
#include "solver/cuda/primitives/greedy_fill.cuh"
#include "solver/cuda/primitives/group.cuh"
#include "solver/cuda/primitives/line_set.cuh"
#include "solver/cuda/primitives/shared_block.cuh"

namespace tsenor::cuda {
namespace {

template <int kWords>
struct RoundingState {
  GreedyState<kWords> greedy;
  typename Group<32 * kWords>::Scratch scratch;
  uint32_t row[kWords];  // of the row that a swap serves
  int32_t column;        // that a swap drops an entry in
};

// Rounds one block: thread k works for row k and column k, and all call every function. The plan
// lies in shared memory; scores are read out of the second-level cache, where plans tie and for
// swaps: both are rare.
template <int kWords>
class Rounding {
 public:
  __device__ Rounding(const Pass& pass, int64_t number, RoundingState<kWords>& state, void* plan)
      : pass_(pass),
        view_(Locate(pass, number)),
        index_(number - pass.first_block),
        m_(pass.problem.pattern.m),
        plan_(plan, m_),
        state_(state),
        group_(state.scratch),
        k_(group_.thread()),
        fill_(group_, state.greedy, pass.problem.pattern.n, m_) {}

  __device__ void Run() {
    LoadPlan();
    KeepCapped();
    fill_.Run([this](int i, int j, int p, int q) {
      const int32_t share = plan_(i, j), other = plan_(p, q);
      return share > other || (share == other && Score(i, j) > Score(p, q));
    });
    const int swaps = pass_.problem.options.tsenor.swaps;
    for (int swap = 0; swap < swaps && Swap(); ++swap) {
    }
    if (k_ < m_) StoreSet(fill_.row(), pass_.masks + (index_ * m_ + k_) * kWords);
  }

 private:
  using Set = LineSet<kWords>;

  __device__ float Score(int i, int j) const { return ScoreAt(pass_, view_, i, j); }

  __device__ void LoadPlan() {
    const int32_t* const plan = pass_.plans + index_ * m_ * m_;
    for (int i = 0; i < m_ && k_ < m_; ++i) plan_(i, k_) = plan[i * m_ + k_];
    group_.Sync();
  }

  // The entries at the cap S = 1 come first; mostly all of them fit.
  __device__ void KeepCapped() {
    Set row = Set::Empty(), column = Set::Empty();
    for (int line = 0; line < m_ && k_ < m_; ++line) {
      if (plan_(k_, line) == 0) row.insert(line);
      if (plan_(line, k_) == 0) column.insert(line);
    }
    fill_.KeepIfAllFit(row, column);
  }

  // Serves the first row i and column j with room by the best swap: keeps (i, j') and (i', j),
  // drops (i', j'); of equal gains that of the first entry dropped. Thread k tries i' = k. False if
  // there is no such line, or no swap for it.
  __device__ bool Swap() {
    const int i = fill_.FirstOpenRow(), j = fill_.FirstOpenColumn();
    if (i < 0 || j < 0) return false;
    if (k_ == i) StoreSet(fill_.row(), state_.row);
    group_.Sync();
    double gain = -DBL_MAX;
    int column = -1;
    if (k_ < m_ && !fill_.row().contains(j)) {
      Set columns = fill_.row() & ~LoadSet<kWords>(state_.row);
      for (int c; (c = columns.PopFirst()) >= 0;) {
        const double gain_of_c = static_cast<double>(Score(i, c)) + Score(k_, j) - Score(k_, c);
        if (column >= 0 && gain_of_c <= gain) continue;
        gain = gain_of_c;
        column = c;
      }
    }
    const double best = group_.Max(gain);
    const int row = -group_.Max(column >= 0 && gain == best ? -k_ : -group_.kThreads);
    if (row == group_.kThreads) return false;
    if (k_ == row) state_.column = column;
    group_.Sync();
    fill_.Swap(i, j, row, state_.column);
    return true;
  }

  const Pass& pass_;
  const BlockView view_;
  const int64_t index_;  // in the workspace
  const int m_;
  const SharedBlock<int32_t> plan_;
  RoundingState<kWords>& state_;
  const Group<32 * kWords> group_;
  const int k_;
  GreedyFill<kWords> fill_;
};

extern __shared__ __align__(16) unsigned char shared_memory[];

template <int kWords>
__global__ void __launch_bounds__(32 * kWords) RoundingKernel(const __grid_constant__ Pass pass) {
  auto& state = *reinterpret_cast<RoundingState<kWords>*>(shared_memory);
  void* const plan = shared_memory + sizeof(RoundingState<kWords>);
  Rounding<kWords>(pass, pass.first_block + blockIdx.x, state, plan).Run();
}

}  // namespace

cudaError_t LaunchRounding(const Pass& pass, cudaStream_t stream) {
  const int m = pass.problem.pattern.m;
  return ForWordsOf(m, [&](auto words) {
    constexpr int kWords = words();
    const size_t shared_bytes = sizeof(RoundingState<kWords>) + SharedBlock<int32_t>::Bytes(m);
    return LaunchPerBlock<kWords>(RoundingKernel<kWords>, pass, shared_bytes, stream);
  });
}

}  // namespace tsenor::cuda
