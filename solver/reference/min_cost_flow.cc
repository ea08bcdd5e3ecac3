#include "solver/reference/min_cost_flow.h"

#include <algorithm>
#include <cstddef>
#include <limits>

namespace tsenor {
namespace {

constexpr int64_t kUnreached = std::numeric_limits<int64_t>::max();
constexpr int kNone = -1;

// The block as a flow network: every row sends n units, every column takes n, and the arc from row
// i to column j carries one unit or none. Rows are nodes 0 .. m-1, columns nodes m .. 2m-1. A path
// of the residual network runs from a row forwards over entries not kept and backwards over entries
// kept.
//
// Between two calls of Augment() the potentials prove that the present mask is the best one with
// its line sums: residual arcs have non-negative reduced costs.
//
// Not thread-safe: belongs to one call.
class FlowNetwork {
 public:
  FlowNetwork(std::span<const int64_t> scores, Pattern pattern)
      : scores_(scores), m_(pattern.m), n_(pattern.n), row_sums_(m_), column_sums_(m_) {
    optimum_.kept.assign(scores.size(), 0);
    optimum_.column_potentials.assign(m_, 0);
    for (int i = 0; i < m_; ++i) {
      const auto row = scores.subspan(Entry(i, 0), m_);
      optimum_.row_potentials.push_back(*std::max_element(row.begin(), row.end()));
    }
  }

  IntegerOptimum Solve() {
    while (optimum_.augmentations < int64_t{n_} * m_) Augment();
    return std::move(optimum_);
  }

 private:
  size_t Entry(int row, int column) const { return static_cast<size_t>(row) * m_ + column; }

  // a_i + b_j - W_ij: what one more unit from row i to column j costs; its negative is the cost of
  // taking one back.
  int64_t ReducedCost(int row, int column) const {
    return optimum_.row_potentials[row] + optimum_.column_potentials[column] -
           scores_[Entry(row, column)];
  }

  // One unit more, along a shortest path from any row to any column with room.
  void Augment() {
    const int sink = FindShortestPaths();
    MovePotentials(distance_[sink]);
    Flip(sink);
    ++optimum_.augmentations;
  }

  // Dijkstra's algorithm from all rows with room at once; returns the nearest column with room.
  // There is one: as long as some row has room, the sums of the columns fall short of n * m too,
  // and the pattern is feasible.
  int FindShortestPaths() {
    distance_.assign(2 * m_, kUnreached);
    previous_.assign(2 * m_, kNone);
    done_.assign(2 * m_, false);
    for (int i = 0; i < m_; ++i) {
      if (row_sums_[i] < n_) distance_[i] = 0;
    }
    while (true) {
      const int node = NearestOpenNode();
      done_[node] = true;
      if (node < m_) {
        for (int j = 0; j < m_; ++j) {
          if (!optimum_.kept[Entry(node, j)]) Relax(node, m_ + j, ReducedCost(node, j));
        }
      } else {
        const int column = node - m_;
        if (column_sums_[column] < n_) return node;
        for (int i = 0; i < m_; ++i) {
          if (optimum_.kept[Entry(i, column)]) Relax(node, i, -ReducedCost(i, column));
        }
      }
    }
  }

  int NearestOpenNode() const {
    int nearest = kNone;
    for (int node = 0; node < 2 * m_; ++node) {
      if (!done_[node] && (nearest == kNone || distance_[node] < distance_[nearest]))
        nearest = node;
    }
    return nearest;
  }

  void Relax(int from, int to, int64_t cost) {
    if (distance_[from] + cost < distance_[to]) {
      distance_[to] = distance_[from] + cost;
      previous_[to] = from;
    }
  }

  // Moves the potentials by min(distance, length), which leaves no residual arc with a negative
  // reduced cost and makes those of the path zero.
  void MovePotentials(int64_t length) {
    for (int k = 0; k < m_; ++k) {
      optimum_.row_potentials[k] += std::min(distance_[k], length) - length;
      optimum_.column_potentials[k] += length - std::min(distance_[m_ + k], length);
    }
  }

  // Keeps the path's entries that were not kept, and the other way round.
  void Flip(int sink) {
    int node = sink;
    for (; previous_[node] != kNone; node = previous_[node]) {
      const int row = std::min(node, previous_[node]);
      const int column = std::max(node, previous_[node]) - m_;
      optimum_.kept[Entry(row, column)] ^= 1;
    }
    ++row_sums_[node];
    ++column_sums_[sink - m_];
  }

  const std::span<const int64_t> scores_;
  const int m_;
  const int n_;
  std::vector<int> row_sums_;
  std::vector<int> column_sums_;
  IntegerOptimum optimum_;
  // Of the last search, by node.
  std::vector<int64_t> distance_;
  std::vector<int> previous_;
  std::vector<char> done_;
};

}  // namespace

IntegerOptimum MaximiseIntegerScores(std::span<const int64_t> scores, Pattern pattern) {
  return FlowNetwork(scores, pattern).Solve();
}

}  // namespace tsenor
