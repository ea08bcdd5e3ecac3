#include <cstdint>

#include "solver/cuda/kernels/launch_per_block.cuh"
#include "solver/cuda/kernels/random_choice.h"
#include "solver/cuda/primitives/block_view.cuh"
#include "solver/cuda/primitives/group.cuh"
#include "solver/cuda/primitives/shared_block.cuh"
#include "solver/limits.h"

namespace tsenor::cuda {
namespace {

// What every four neighbouring columns of a row keep, by the four bits of a mask that say which of
// them: the method of the four Russians, 1970. 16 words next to each other lie in 16 banks, so that
// threads with different masks do not wait for each other.
using Table = uint32_t[16];

// So many tables, 16 KB, are made at a time: all of them up to M = 32. With the scores of M = 128
// that takes 82 KB of shared memory.
constexpr int kTablesInMemory = 256;

// Masks are told apart by so many bits, below what they keep: 2^38 quanta fit above.
constexpr int kMaskBits = 17;
static_assert(kMaxSamples <= 1 << kMaskBits);

// As many warps as share a block's tables, whatever its size.
constexpr int kWarps = 4;

// Chooses for one block: the threads take the masks in turn, and all call every function. The
// normalised scores lie in shared memory, as quanta once they are normalised.
class RandomChoice {
 public:
  struct State {
    Table table[kTablesInMemory];
    Group<32 * kWarps>::Scratch scratch;
  };

  __device__ RandomChoice(const Pass& pass, int64_t number, State& state, void* scores)
      : pass_(pass),
        index_(number - pass.first_block),
        m_(pass.problem.pattern.m),
        row_bytes_((m_ + 7) / 8),
        samples_(pass.problem.options.max_random.samples),
        quanta_(scores, m_),
        state_(state),
        group_(state.scratch),
        k_(group_.thread()) {
    const SharedBlock<float> normalised(scores, m_);
    LoadNormalisedScores(pass, Locate(pass, number), group_, normalised);
    for (int i = 0; i < m_ && k_ < m_; ++i) {
      quanta_(i, k_) = __float2int_rn(normalised(i, k_) * (1 << kQuantisationBits));
    }
    group_.Sync();
  }

  __device__ void Run() {
    const int rows_at_a_time = kTablesInMemory / (2 * row_bytes_);
    uint64_t best = 0;
    for (int first = 0; first < samples_; first += group_.kThreads) {
      const int mask = min(first + k_, samples_ - 1);
      uint64_t sum = 0;
      for (int row = 0; row < m_; row += rows_at_a_time) {
        const int end = min(row + rows_at_a_time, m_);
        if (first == 0 || rows_at_a_time < m_) FillTables(row, end);
        for (int i = row; i < end; ++i) sum += KeptOfRow(mask, i, i - row);
      }
      const uint64_t key = sum << kMaskBits | (kMaxSamples - mask);  // the first of equal ones
      best = key > best ? key : best;
    }
    best = group_.Max(best);
    Store(kMaxSamples - static_cast<int>(best & ((1 << kMaskBits) - 1)));
  }

 private:
  // Byte `byte` of row i of a mask.
  __device__ uint32_t BitsOf(int mask, int i, int byte) const {
    return pass_.random_masks[(static_cast<int64_t>(i) * samples_ + mask) * row_bytes_ + byte];
  }

  // The tables of rows `row` .. `end` - 1: 2 row_bytes_ of them each.
  __device__ void FillTables(int row, int end) {
    group_.Sync();  // nobody reads the last ones any more
    const int tables = 2 * row_bytes_;
    for (int e = k_; e < (end - row) * tables * 16; e += group_.kThreads) {
      const int i = row + e / 16 / tables, j = e / 16 % tables * 4;
      uint32_t sum = 0;
      for (int k = 0; k < 4; ++k) {
        if (e >> k & 1 && j + k < m_) sum += quanta_(i, j + k);
      }
      state_.table[e / 16][e % 16] = sum;
    }
    group_.Sync();
  }

  // In quanta: at most 128 2^24.
  __device__ uint32_t KeptOfRow(int mask, int i, int row_in_tables) const {
    const Table* const tables = state_.table + row_in_tables * 2 * row_bytes_;
    uint32_t sum = 0;
    for (int byte = 0; byte < row_bytes_; ++byte) {
      const uint32_t bits = BitsOf(mask, i, byte);
      sum += tables[2 * byte][bits & 15] + tables[2 * byte + 1][bits >> 4];
    }
    return sum;
  }

  __device__ void Store(int mask) {
    const int words = MaskWords(m_);
    uint32_t* const rows = pass_.masks + index_ * m_ * words;
    for (int e = k_; e < m_ * words; e += group_.kThreads) {
      uint32_t word = 0;
      for (int k = 0; k < 4; ++k) {
        const int byte = e % words * 4 + k;
        if (byte < row_bytes_) word |= BitsOf(mask, e / words, byte) << 8 * k;
      }
      rows[e] = word;
    }
  }

  const Pass& pass_;
  const int64_t index_;  // in the workspace
  const int m_;
  const int row_bytes_;
  const int samples_;
  const SharedBlock<int32_t> quanta_;
  State& state_;
  const Group<32 * kWarps> group_;
  const int k_;
};

extern __shared__ __align__(16) unsigned char shared_memory[];

__global__ void __launch_bounds__(32 * kWarps)
    RandomChoiceKernel(const __grid_constant__ Pass pass) {
  auto& state = *reinterpret_cast<RandomChoice::State*>(shared_memory);
  void* const scores = shared_memory + sizeof(RandomChoice::State);
  RandomChoice(pass, pass.first_block + blockIdx.x, state, scores).Run();
}

}  // namespace

cudaError_t LaunchRandomChoice(const Pass& pass, cudaStream_t stream) {
  const size_t shared_bytes =
      sizeof(RandomChoice::State) + SharedBlock<float>::Bytes(pass.problem.pattern.m);
  return LaunchPerBlock<kWarps>(RandomChoiceKernel, pass, shared_bytes, stream);
}

}  // namespace tsenor::cuda
