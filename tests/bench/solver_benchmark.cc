// How fast the CPU backend is: weights a second, and how many times LEMON's network simplex, on the
// same scores, in the same run.
//
//   solver_benchmark [--benchmark_filter=REGEX] [Google Benchmark's other flags]
//
// Names are METHOD/N:M/KIND (tests/support/generators.h). Both run on one thread; OPTIMAL with its
// default options, refinement to a gap of 1e-9 included, while LEMON solves the quantised scores
// and proves nothing. Counters, in weights a second unless they are ratios:
//
//   weights         the backend on one thread
//   lemon           LEMON's network simplex on one thread
//   x_lemon         weights / lemon
//   x_one_thread    the backend on two threads, as a multiple of one
//
// TSENOR_BENCH_WEIGHTS and TSENOR_BENCH_ROUNDS make a run smaller or larger.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "solver/cpu/cpu_solver.h"
#include "solver/solver.h"
#include "tests/bench/contest.h"
#include "tests/support/block_arithmetic.h"
#include "tests/support/generators.h"
#include "tests/support/lemon_oracle.h"
#include "tests/support/solved_matrix.h"

namespace tsenor {
namespace {

// 16 MB of float32: beyond the first two levels of cache, and a pass takes some 10 ms.
constexpr int64_t kDefaultWeights = int64_t{1} << 22;
// LEMON and the methods that go over a block up to 1000 times are some 50 times slower than
// OPTIMAL: LEMON and all other methods get that much less to do.
constexpr int64_t kSlowShare = 32;
// After some five rounds the fastest of each contestant moves by a few per cent only.
constexpr int kDefaultRounds = 7;

constexpr struct {
  Method method;
  const char* name;
} kMethods[] = {
    {Method::kOptimal, "Optimal"},     {Method::kTsenor, "Tsenor"},
    {Method::kTwoApprox, "TwoApprox"}, {Method::kBiNm, "BiNm"},
    {Method::kMaxRandom, "MaxRandom"}, {Method::kRowNm, "RowNm"},
    {Method::kColumnNm, "ColumnNm"},
};

const char* Name(Method method) {
  for (const auto& entry : kMethods) {
    if (entry.method == method) return entry.name;
  }
  std::abort();  // every method stands above
}

struct Case {
  Method method;
  Pattern pattern;
  WeightKind kind;
};

int64_t FromEnvironment(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::max(1LL, std::atoll(text)) : otherwise;
}

// A matrix about as wide as it is high, of whole blocks that are generated one by one, and what a
// solver answers for it.
class Matrix {
 public:
  Matrix(const Case& c, int64_t weights) : m_(c.pattern.m) {
    const auto edge = static_cast<int64_t>(std::sqrt(static_cast<double>(weights)));
    blocks_along_ = std::max<int64_t>(1, edge / m_);
    for (int64_t block_row = 0; block_row < blocks_along_; ++block_row) {
      const auto row = GenerateBlocks(c.kind, m_, blocks_along_, 1 + block_row);
      weights_.insert(weights_.end(), row.begin(), row.end());
    }
    mask_.resize(edge_length() * MaskRowBytes(edge_length()));
    stats_.resize(blocks_along_);
  }

  int64_t size() const { return edge_length() * edge_length(); }

  // Aborts on an error, and if OPTIMAL leaves a block unproven: no time without its answer.
  void Solve(Solver& solver, const Problem& problem) {
    const Tile tile = {.weights = weights_.data(),
                       .row_stride = edge_length(),
                       .rows = edge_length(),
                       .columns = edge_length(),
                       .mask = mask_.data(),
                       .mask_row_stride = MaskRowBytes(edge_length()),
                       .stats = stats_.data()};
    const absl::Status status = solver.Solve({.problem = problem, .tiles = {&tile, 1}});
    SolveStats total;
    for (const SolveStats& stats : stats_) total += stats;
    const bool is_proven = total.blocks_proven == blocks_along_ * blocks_along_;
    if (!status.ok() || (problem.options.method == Method::kOptimal && !is_proven)) {
      std::fprintf(stderr, "solver_benchmark: %s, %lld blocks proven\n", status.ToString().c_str(),
                   static_cast<long long>(total.blocks_proven));
      std::abort();
    }
  }

  // The quantised scores of the first blocks, row by row of blocks, that make up `weights` weights,
  // at least one.
  std::vector<std::vector<int64_t>> Quanta(int64_t weights) const {
    const int64_t blocks = std::clamp<int64_t>(weights / (m_ * m_), 1, size() / (m_ * m_));
    std::vector<std::vector<int64_t>> quanta;
    for (int64_t block = 0; block < blocks; ++block) {
      quanta.push_back(
          QuantiseBlockByBits(MagnitudesOfBlock(weights_, edge_length(), edge_length(), m_,
                                                block / blocks_along_, block % blocks_along_)));
    }
    return quanta;
  }

 private:
  int64_t edge_length() const { return blocks_along_ * m_; }

  const int m_;
  int64_t blocks_along_ = 0;
  std::vector<float> weights_;
  std::vector<uint8_t> mask_;
  std::vector<SolveStats> stats_;
};

std::unique_ptr<Solver> MakeSolver(int threads) {
  auto solver = MakeCpuSolver({.threads = threads});
  if (!solver.ok()) std::abort();  // 1 and 2 threads are in range
  return *std::move(solver);
}

void Run(benchmark::State& state, const Case& c) {
  const int64_t weights = FromEnvironment("TSENOR_BENCH_WEIGHTS", kDefaultWeights);
  const auto rounds = static_cast<int>(FromEnvironment("TSENOR_BENCH_ROUNDS", kDefaultRounds));
  Matrix matrix(c, c.method == Method::kOptimal ? weights : weights / kSlowShare);
  const auto lemons_blocks = matrix.Quanta(weights / kSlowShare);
  Problem problem;
  problem.pattern = c.pattern;
  problem.options.method = c.method;
  const auto one_thread = MakeSolver(1);
  const auto two_threads = MakeSolver(2);
  LemonOracle lemon(c.pattern);
  for (auto _ : state) {
    const auto seconds =
        FastestSecondsInTurn(rounds, {[&] { matrix.Solve(*one_thread, problem); },
                                      [&] { matrix.Solve(*two_threads, problem); },
                                      [&] {
                                        for (const auto& block : lemons_blocks) {
                                          benchmark::DoNotOptimize(lemon.GreatestKeptSum(block));
                                        }
                                      }});
    const double lemons_weights =
        static_cast<double>(lemons_blocks.size()) * c.pattern.m * c.pattern.m;
    const double rate = static_cast<double>(matrix.size()) / seconds[0];
    const double lemons_rate = lemons_weights / seconds[2];
    state.SetIterationTime(seconds[0]);
    state.counters["weights"] = rate;
    state.counters["lemon"] = lemons_rate;
    state.counters["x_lemon"] = rate / lemons_rate;
    state.counters["x_one_thread"] = seconds[0] / seconds[1];
  }
}

// Every pattern on Gaussian weights; every method; OPTIMAL on every kind; the worst kind known,
// 2^-(i + j), with few and with many kept entries.
std::vector<Case> AllCases() {
  std::vector<Case> cases;
  for (const Method method : {Method::kOptimal, Method::kTsenor}) {
    for (const Pattern pattern :
         {Pattern{2, 4}, Pattern{4, 8}, Pattern{8, 16}, Pattern{16, 32}, Pattern{8, 32},
          Pattern{32, 64}, Pattern{64, 128}, Pattern{10, 20}, Pattern{12, 24}, Pattern{48, 96}}) {
      cases.push_back({method, pattern, WeightKind::kGaussian});
    }
  }
  for (const auto& [method, name] : kMethods) {
    if (method == Method::kOptimal || method == Method::kTsenor) continue;
    cases.push_back({method, {8, 16}, WeightKind::kGaussian});
    cases.push_back({method, {16, 32}, WeightKind::kGaussian});
  }
  for (const WeightKind kind : kAllWeightKinds) {
    for (const int m : {8, 16, 32, 64}) {
      if (kind != WeightKind::kGaussian) cases.push_back({Method::kOptimal, {m / 2, m}, kind});
    }
  }
  for (const int m : {8, 16, 32, 64}) {
    for (const int n : {1, m / 4, m - m / 4, m - 1}) {
      cases.push_back({Method::kOptimal, {n, m}, WeightKind::kGeometric});
    }
  }
  return cases;
}

void RegisterAll() {
  for (const Case& c : AllCases()) {
    const std::string name = std::string(Name(c.method)) + "/" + std::to_string(c.pattern.n) + ":" +
                             std::to_string(c.pattern.m) + "/" + Name(c.kind);
    benchmark::RegisterBenchmark(name.c_str(), [c](benchmark::State& state) { Run(state, c); })
        ->UseManualTime()
        ->Iterations(1)  // of all rounds: the contestants alternate inside
        ->Unit(benchmark::kMillisecond);
  }
}

}  // namespace
}  // namespace tsenor

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  tsenor::RegisterAll();
  return benchmark::RunSpecifiedBenchmarks() > 0 ? 0 : 1;
}
