#include "solver/reference/reference_solver.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "solver/limits.h"
#include "solver/mask_bits.h"
#include "solver/quantise.h"
#include "solver/reference/heuristics.h"
#include "solver/reference/min_cost_flow.h"
#include "solver/reference/tsenor.h"
#include "solver/scores.h"
#include "solver/validate.h"

namespace tsenor {
namespace {

// Bits that each refinement adds to the quantisation.
constexpr int kRefinementBits = 12;

// Residuals are clamped to this many refined quanta. The optimum found before is off by at most
// half a quantum an entry, 2^11 refined ones. An entry whose residual is larger than 2m <= 2^8
// times that keeps its place in every optimum (a residual cycle through it would gain), clamped or
// not; 2^30 leaves a wide margin.
constexpr double kResidualLimit = 1 << 30;

// Potentials of one block in units of the scores, and the bound that they prove.
struct Dual {
  std::vector<double> row_potentials;
  std::vector<double> column_potentials;
  double bound = 0;
};

// What is known of one block.
struct BlockAnswer {
  std::vector<uint8_t> kept;
  double value = 0;
  Dual dual;
  int64_t sweeps = 0;
  int64_t augmentations = 0;
};

double Value(std::span<const float> scores, const std::vector<uint8_t>& kept) {
  double value = 0;
  for (size_t e = 0; e < scores.size(); ++e) value += kept[e] ? scores[e] : 0.0;
  return value;
}

// The bound of solver/certificate.h.
double Bound(std::span<const float> scores, Pattern pattern, const Dual& dual) {
  double bound = 0;
  for (int i = 0; i < pattern.m; ++i) {
    bound += pattern.n * (dual.row_potentials[i] + dual.column_potentials[i]);
    for (int j = 0; j < pattern.m; ++j) {
      bound += std::max(0.0, scores[static_cast<size_t>(i) * pattern.m + j] -
                                 dual.row_potentials[i] - dual.column_potentials[j]);
    }
  }
  return bound;
}

double RelativeGap(double value, double bound) {
  return SolveStats{.value = value, .bound = bound}.relative_gap();
}

// n = 0 and n = m leave no choice; potentials of 0 prove it (and the greatest scores for n = 0).
BlockAnswer SolveWithoutChoice(std::span<const float> scores, Pattern pattern) {
  BlockAnswer answer;
  answer.kept.assign(scores.size(), pattern.n > 0);
  answer.value = Value(scores, answer.kept);
  answer.dual = {std::vector<double>(pattern.m, 0.0), std::vector<double>(pattern.m, 0.0)};
  if (pattern.n == 0) {
    const double greatest = *std::max_element(scores.begin(), scores.end());
    answer.dual.row_potentials.assign(pattern.m, greatest);
  }
  answer.dual.bound = Bound(scores, pattern, answer.dual);
  return answer;
}

// What is left of the scores after the potentials, in quanta of 2^-shift, clamped.
std::vector<int64_t> QuantiseResiduals(std::span<const float> scores, int m, const Dual& dual,
                                       int shift) {
  std::vector<int64_t> residuals(scores.size());
  for (size_t e = 0; e < scores.size(); ++e) {
    const double residual = scores[e] - dual.row_potentials[e / m] - dual.column_potentials[e % m];
    residuals[e] =
        std::llrint(std::clamp(std::ldexp(residual, shift), -kResidualLimit, kResidualLimit));
  }
  return residuals;
}

// Adds integer potentials in quanta of 2^-shift to `dual`.
void AddPotentials(std::span<const float> scores, Pattern pattern, const IntegerOptimum& optimum,
                   int shift, Dual& dual) {
  for (int k = 0; k < pattern.m; ++k) {
    dual.row_potentials[k] += std::ldexp(static_cast<double>(optimum.row_potentials[k]), -shift);
    dual.column_potentials[k] +=
        std::ldexp(static_cast<double>(optimum.column_potentials[k]), -shift);
  }
  dual.bound = Bound(scores, pattern, dual);
}

// The exact optimum of the quantised scores; then, while the gap on the scores themselves is too
// large, of the residuals in finer quanta. A mask and potentials prove each other whichever
// round they come from, so the best of each is kept and no round makes the answer worse.
BlockAnswer SolveOptimal(std::span<const float> scores, Pattern pattern, double gap_tolerance) {
  const int m = pattern.m;
  int shift = QuantisationShift(*std::max_element(scores.begin(), scores.end()));
  std::vector<int64_t> quanta(scores.size());
  std::transform(scores.begin(), scores.end(), quanta.begin(),
                 [shift](float score) { return Quantise(score, shift); });

  Dual dual = {std::vector<double>(m, 0.0), std::vector<double>(m, 0.0)};
  BlockAnswer answer;
  for (int round = 0; round <= kMaxRefinements; ++round) {
    if (round > 0) {
      shift += kRefinementBits;
      quanta = QuantiseResiduals(scores, m, dual, shift);
    }
    const IntegerOptimum optimum = MaximiseIntegerScores(quanta, pattern);
    AddPotentials(scores, pattern, optimum, shift, dual);
    answer.augmentations += optimum.augmentations;
    const double value = Value(scores, optimum.kept);
    if (round == 0 || value > answer.value) {
      answer.kept = optimum.kept;
      answer.value = value;
    }
    if (round == 0 || dual.bound < answer.dual.bound) answer.dual = dual;
    if (RelativeGap(answer.value, answer.dual.bound) <= gap_tolerance) break;
  }
  return answer;
}

// The n-th greatest score of each row (with n = 0 the greatest), in `scores` or in its transpose:
// the potentials that prove a mask of rows, or of columns, alone.
std::vector<double> LeastKeptInRows(std::span<const float> scores, Pattern pattern,
                                    bool transposed) {
  const auto [n, m] = pattern;
  std::vector<double> least(m);
  for (int i = 0; i < m; ++i) {
    std::vector<float> line(m);
    for (int j = 0; j < m; ++j) line[j] = transposed ? scores[j * m + i] : scores[i * m + j];
    std::sort(line.rbegin(), line.rend());
    least[i] = line[std::max(n - 1, 0)];
  }
  return least;
}

BlockAnswer SolveOneSided(std::span<const float> scores, const Problem& problem) {
  const Pattern pattern = problem.pattern;
  const std::vector<double> zeros(pattern.m, 0.0);
  BlockAnswer answer;
  if (problem.options.method == Method::kRowNm) {
    answer.kept = RowMask(scores, pattern);
    answer.dual = {LeastKeptInRows(scores, pattern, false), zeros};
  } else {
    answer.kept = ColumnMask(scores, pattern);
    answer.dual = {zeros, LeastKeptInRows(scores, pattern, true)};
  }
  answer.value = Value(scores, answer.kept);
  answer.dual.bound = Bound(scores, pattern, answer.dual);
  return answer;
}

// The method's mask, and the bound of the optimum, so that the gap tells how far apart they are.
BlockAnswer SolveTransposable(std::span<const float> scores, const Problem& problem) {
  const Pattern pattern = problem.pattern;
  const SolveOptions& options = problem.options;
  BlockAnswer answer = SolveOptimal(scores, pattern, options.optimal.gap_tolerance);
  switch (options.method) {
    case Method::kTsenor:
      answer.kept = TsenorMask(scores, pattern, options.tsenor);
      answer.sweeps = options.tsenor.iterations;
      break;
    case Method::kTwoApprox:
      answer.kept = GreedyMask(scores, pattern);
      break;
    case Method::kBiNm:
      answer.kept = RowThenColumnMask(scores, pattern);
      break;
    case Method::kMaxRandom:
      answer.kept = BestRandomMask(scores, pattern, options.max_random);
      break;
    default:
      return answer;
  }
  answer.value = Value(scores, answer.kept);
  answer.augmentations = 0;  // those of the bound do not count
  return answer;
}

BlockAnswer SolveBlock(std::span<const float> scores, const Problem& problem) {
  const Pattern pattern = problem.pattern;
  if (!IsTransposable(problem.options.method)) return SolveOneSided(scores, problem);
  if (pattern.n == 0 || pattern.n == pattern.m) return SolveWithoutChoice(scores, pattern);
  return SolveTransposable(scores, problem);
}

// The scores of one block, extended by zeros. The answer for a score that no caller may pass
// (negative or no finite number) is unspecified; it counts as 0, so that every search ends.
std::vector<float> LoadBlock(const Problem& problem, const Tile& tile, int64_t row,
                             int64_t column) {
  const int m = problem.pattern.m;
  std::vector<float> scores(static_cast<size_t>(m) * m);
  for (int i = 0; i < m; ++i) {
    LoadScores(problem, tile, row + i, column, m, scores.data() + static_cast<size_t>(i) * m);
  }
  for (float& score : scores) {
    if (!(score >= 0 && score <= FLT_MAX)) score = 0;
  }
  return scores;
}

// True if every line of the extended block that the method constrains keeps n entries.
bool IsFull(const std::vector<uint8_t>& kept, const Problem& problem) {
  const auto [n, m] = problem.pattern;
  for (int k = 0; k < m; ++k) {
    int row_sum = 0;
    int column_sum = 0;
    for (int l = 0; l < m; ++l) {
      row_sum += kept[static_cast<size_t>(k) * m + l];
      column_sum += kept[static_cast<size_t>(l) * m + k];
    }
    if (ConstrainsRows(problem.options.method) && row_sum < n) return false;
    if (ConstrainsColumns(problem.options.method) && column_sum < n) return false;
  }
  return true;
}

// Writes the existing entries of the block at (row, column) into the tile's mask; returns how many
// it keeps.
int64_t WriteMask(const std::vector<uint8_t>& kept, int m, const Tile& tile, int64_t row,
                  int64_t column) {
  const auto rows = static_cast<int>(std::min<int64_t>(m, tile.rows - row));
  const auto columns = static_cast<int>(std::min<int64_t>(m, tile.columns - column));
  int64_t count = 0;
  for (int i = 0; i < rows; ++i) {
    const uint8_t* kept_row = kept.data() + static_cast<size_t>(i) * m;
    SetMaskBits(tile.mask + (row + i) * tile.mask_row_stride, column, kept_row, columns);
    count += std::count(kept_row, kept_row + columns, 1);
  }
  return count;
}

// Solves the block at (row, column), writes its mask and, if `potentials` is not null, its 2m
// potentials.
SolveStats SolveBlockOfTile(const Problem& problem, const Tile& tile, int64_t row, int64_t column,
                            double* potentials) {
  const int m = problem.pattern.m;
  const std::vector<float> scores = LoadBlock(problem, tile, row, column);
  const BlockAnswer answer = SolveBlock(scores, problem);
  if (potentials != nullptr) {
    std::copy_n(answer.dual.row_potentials.begin(), m, potentials);
    std::copy_n(answer.dual.column_potentials.begin(), m, potentials + m);
  }
  const bool full = IsFull(answer.kept, problem);
  SolveStats stats;
  stats.value = answer.value;
  stats.bound = answer.dual.bound;
  for (const float score : scores) stats.score_sum += score;
  stats.kept = WriteMask(answer.kept, m, tile, row, column);
  stats.blocks = 1;
  stats.blocks_proven = full && stats.relative_gap() <= kProvenGap;
  stats.blocks_short = !full;
  stats.sweeps = answer.sweeps;
  stats.augmentations = answer.augmentations;
  return stats;
}

void SolveTile(const Problem& problem, const Tile& tile) {
  const int m = problem.pattern.m;
  for (int64_t row = 0; row < tile.rows; ++row) {
    std::memset(tile.mask + row * tile.mask_row_stride, 0, MaskRowBytes(tile.columns));
  }
  double* potentials = tile.potentials;
  for (int64_t block_row = 0; block_row < BlocksAlong(tile.rows, m); ++block_row) {
    SolveStats stats;
    for (int64_t column = 0; column < tile.columns; column += m) {
      stats += SolveBlockOfTile(problem, tile, block_row * m, column, potentials);
      if (potentials != nullptr) potentials += 2 * m;
    }
    tile.stats[block_row] = stats;
  }
}

// Stateless.
//
// Thread-safe.
class ReferenceSolver final : public Solver {
 public:
  ReferenceSolver() {
    info_.name = "reference";
    info_.device = "plain loops on one thread";
    info_.threads = 1;
  }

  const SolverInfo& info() const override { return info_; }

  absl::Status Solve(const Batch& batch) override {
    if (absl::Status status = ValidateProblem(batch.problem); !status.ok()) return status;
    if (batch.memory != MemorySpace::kHost) {
      return absl::InvalidArgumentError(
          "memory is device; the reference backend reads host memory");
    }
    if (batch.stream != nullptr) {
      return absl::InvalidArgumentError("stream is set; it must be null with host memory");
    }
    for (const Tile& tile : batch.tiles) SolveTile(batch.problem, tile);
    return absl::OkStatus();
  }

 private:
  SolverInfo info_;
};

}  // namespace

std::unique_ptr<Solver> MakeReferenceSolver() { return std::make_unique<ReferenceSolver>(); }

}  // namespace tsenor
