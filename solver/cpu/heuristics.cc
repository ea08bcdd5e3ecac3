#include "solver/cpu/heuristics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

#include "solver/limits.h"

namespace tsenor::cpu {
namespace {

// Orders entries by descending score, then ascending index: the bits of floats >= +0 are in the
// order of the floats. Never 0.
uint64_t KeyOf(float score, uint32_t index) {
  return uint64_t{std::bit_cast<uint32_t>(score)} << 32 | ~index;
}

uint32_t IndexOf(uint64_t key) { return ~static_cast<uint32_t>(key); }
float ScoreOf(uint64_t key) { return std::bit_cast<float>(static_cast<uint32_t>(key >> 32)); }

}  // namespace

template <int kWidth>
Heuristics<kWidth>::Heuristics(const Problem& problem)
    : method_(problem.options.method), n_(problem.pattern.n), m_(problem.pattern.m) {
  if (method_ == Method::kTwoApprox) keys_.resize(m_ * m_);
  if (method_ == Method::kMaxRandom && n_ > 0 && n_ < m_) {
    random_masks_ = SharedRandomMasks(problem.pattern, problem.options.max_random);
    sums_.resize(problem.options.max_random.samples);
  }
}

template <int kWidth>
bool Heuristics<kWidth>::Solve(const float* scores, uint8_t* kept, double* row_potential,
                               double* column_potential) {
  if (method_ == Method::kTwoApprox) {
    KeepGreedily(scores, kept);
    return IsFull(kept);
  }
  if (method_ == Method::kMaxRandom) {
    KeepBestRandomMask(scores, kept);
    return true;
  }
  // The others prune lines of a mask that keeps everything at first.
  for (int i = 0; i < m_; ++i) std::fill_n(kept + i * kWidth, m_, uint8_t{1});
  const bool one_sided = !IsTransposable(method_);
  if (one_sided) {
    std::fill_n(row_potential, m_, 0.0);
    std::fill_n(column_potential, m_, 0.0);
  }
  if (ConstrainsRows(method_)) {
    for (int i = 0; i < m_; ++i) {
      const float least = KeepGreatest(scores + i * kWidth, 1, kept + i * kWidth);
      if (one_sided) row_potential[i] = least;
    }
  }
  if (ConstrainsColumns(method_)) {
    for (int j = 0; j < m_; ++j) {
      const float least = KeepGreatest(scores + j, kWidth, kept + j);
      if (one_sided) column_potential[j] = least;
    }
  }
  return one_sided || IsFull(kept);
}

// Hubara et al., Accelerated sparse neural training, 2021: at least half of the greatest value.
template <int kWidth>
void Heuristics<kWidth>::KeepGreedily(const float* scores, uint8_t* kept) {
  for (int i = 0; i < m_; ++i) {
    for (int j = 0; j < m_; ++j) {
      keys_[i * m_ + j] = KeyOf(scores[i * kWidth + j], i * kWidth + j);
    }
    std::fill_n(kept + i * kWidth, m_, uint8_t{0});
  }
  sorter_(keys_.data(), keys_.size(), hwy::SortDescending());  // no two keys are equal
  int row_room[kWidth], column_room[kWidth];  // entries that the line may still keep
  std::fill_n(row_room, m_, n_);
  std::fill_n(column_room, m_, n_);
  for (const uint64_t key : keys_) {
    const uint32_t entry = IndexOf(key), i = entry / kWidth, j = entry % kWidth;
    if (row_room[i] == 0 || column_room[j] == 0) continue;
    kept[entry] = 1;
    --row_room[i];
    --column_room[j];
  }
}

// Of the entries that a line keeps, `stride` apart, drops all but the n greatest. Returns the least
// score that stays; with n = 0 the greatest.
template <int kWidth>
float Heuristics<kWidth>::KeepGreatest(const float* scores, int stride, uint8_t* kept) const {
  uint64_t keys[kWidth] = {}, ordered[kWidth] = {};
  for (int k = 0; k < m_; ++k) keys[k] = kept[k * stride] ? KeyOf(scores[k * stride], k) : 0;
  std::copy_n(keys, m_, ordered);
  uint64_t* const last = ordered + std::max(n_ - 1, 0);
  std::nth_element(ordered, last, ordered + m_, std::greater<>());
  for (int k = 0; k < m_; ++k) kept[k * stride] = n_ > 0 && keys[k] != 0 && keys[k] >= *last;
  return ScoreOf(*last);
}

// The first mask that keeps most.
template <int kWidth>
void Heuristics<kWidth>::KeepBestRandomMask(const float* scores, uint8_t* kept) {
  std::fill(sums_.begin(), sums_.end(), 0);
  for (int i = 0; i < m_; ++i) AddRowSums(scores + i * kWidth, i);
  const auto best = static_cast<int>(std::max_element(sums_.begin(), sums_.end()) - sums_.begin());
  for (int i = 0; i < m_; ++i) {
    for (int j = 0; j < m_; ++j) kept[i * kWidth + j] = random_masks_->Keeps(best, i, j);
  }
}

// Adds to sums_ what each mask keeps of one row: looked up for 8 columns at once in a table of all
// their sums (the method of the four Russians, 1970). Quanta make the order of additions
// irrelevant; 8 * 2^24 of them fit into int32.
template <int kWidth>
void Heuristics<kWidth>::AddRowSums(const float* scores, int row) {
  constexpr float kQuanta = 1 << kQuantisationBits;
  constexpr int kBytes = (kWidth + 7) / 8;
  int32_t sum_of[kBytes][256];
  for (int byte = 0; byte < random_masks_->row_bytes(); ++byte) {
    const int count = std::min(m_ - byte * 8, 8);
    int32_t quanta[8] = {};
    for (int k = 0; k < count; ++k) {
      quanta[k] = static_cast<int32_t>(std::lrint(scores[byte * 8 + k] * kQuanta));
    }
    sum_of[byte][0] = 0;
    for (unsigned columns = 1; columns < 1u << count; ++columns) {
      sum_of[byte][columns] =
          sum_of[byte][columns & (columns - 1)] + quanta[std::countr_zero(columns)];
    }
  }
  const uint8_t* bits = random_masks_->Row(row).data();
  for (int64_t& sum : sums_) {
    for (int byte = 0; byte < random_masks_->row_bytes(); ++byte) sum += sum_of[byte][*bits++];
  }
}

template <int kWidth>
bool Heuristics<kWidth>::IsFull(const uint8_t* kept) const {
  int total = 0;  // no line keeps more than n
  for (int i = 0; i < m_; ++i) {
    for (int j = 0; j < m_; ++j) total += kept[i * kWidth + j];
  }
  return total == n_ * m_;
}

template class Heuristics<4>;
template class Heuristics<8>;
template class Heuristics<16>;
template class Heuristics<32>;
template class Heuristics<64>;
template class Heuristics<128>;

}  // namespace tsenor::cpu
