#include "tests/support/lemon_oracle.h"

#include <lemon/network_simplex.h>
#include <lemon/smart_graph.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace tsenor {

using Simplex = lemon::NetworkSimplex<lemon::SmartDigraph, int64_t, int64_t>;

// Rows supply n units each, columns demand n, every arc carries at most one at cost -score.
struct LemonOracle::Network {
  explicit Network(Pattern pattern) : upper(graph, 1), cost(graph, 0), supply(graph, 0) {
    std::vector<lemon::SmartDigraph::Node> nodes;
    for (int k = 0; k < 2 * pattern.m; ++k) nodes.push_back(graph.addNode());
    for (int i = 0; i < pattern.m; ++i) {
      for (int j = 0; j < pattern.m; ++j)
        arcs.push_back(graph.addArc(nodes[i], nodes[pattern.m + j]));
    }
    for (int k = 0; k < 2 * pattern.m; ++k) {
      supply[nodes[k]] = k < pattern.m ? pattern.n : -pattern.n;
    }
    for (const auto& arc : arcs) upper[arc] = 1;
    simplex = std::make_unique<Simplex>(graph);
    simplex->upperMap(upper).supplyMap(supply);
  }

  lemon::SmartDigraph graph;
  std::vector<lemon::SmartDigraph::Arc> arcs;
  lemon::SmartDigraph::ArcMap<int64_t> upper;
  lemon::SmartDigraph::ArcMap<int64_t> cost;
  lemon::SmartDigraph::NodeMap<int64_t> supply;
  std::unique_ptr<Simplex> simplex;
};

LemonOracle::LemonOracle(Pattern pattern)
    : pattern_(pattern), network_(std::make_unique<Network>(pattern)) {}
LemonOracle::~LemonOracle() = default;

int64_t LemonOracle::GreatestKeptSum(std::span<const int64_t> scores) {
  for (size_t e = 0; e < scores.size(); ++e) network_->cost[network_->arcs[e]] = -scores[e];
  network_->simplex->costMap(network_->cost);
  if (network_->simplex->run() != Simplex::OPTIMAL) {
    std::fputs("LEMON found no optimum\n", stderr);
    std::abort();
  }
  return -network_->simplex->totalCost<int64_t>();
}

}  // namespace tsenor
