// The interface that every backend implements, and a convenience for one matrix.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "solver/problem.h"
#include "solver/result.h"

namespace tsenor {

// What a backend is.
struct SolverInfo {
  std::string name;    // kind and, where there are several, index: "cpu", "cuda:0"
  std::string device;  // in words
  int threads = 0;     // threads that solve (0: not applicable)
  // Calls of Solve() that overlap usefully (copies with kernels, say): how many to keep in flight.
  int batches_in_flight = 1;
  // Blocks of work, in elements, from which a larger batch no longer runs faster.
  int64_t efficient_batch_elements = 0;
};

// Finds masks. Deterministic: the answer for a block depends on the block and the problem alone,
// not on its batch, its tile, or the number of threads.
//
// Thread-safe: any number of threads may call Solve() at the same time.
class Solver {
 public:
  virtual ~Solver() = default;

  virtual const SolverInfo& info() const = 0;

  // Solves every tile of `batch` and fills in its outputs.
  //
  // REQUIRES: tiles as described at Tile, not overlapping in their outputs; scores finite and
  // non-negative (FindInvalidWeight(), solver/validate.h). With other scores the masks are
  // unspecified, but the call ends and touches no other memory. Errors: InvalidArgument if
  // ValidateProblem() refuses the problem or this backend does not support it or the memory space;
  // Unavailable if the device failed. After an error the outputs are unspecified.
  virtual absl::Status Solve(const Batch& batch) = 0;

  // OK, or Unavailable and why this solver will never solve again: its device is lost to the
  // process. Once lost, always lost.
  virtual absl::Status health() const { return absl::OkStatus(); }
};

// What happens to a shape that M does not divide.
enum class Edge {
  kRefuse,
  kPad,  // as described at Tile
};

// Solves one row-major matrix in host memory: `rows` x `columns` elements of `problem.dtype`
// without gaps. `column_norms` is as in Tile. Errors: InvalidArgument for a bad problem, shape (see
// Edge) or weight; those of Solver::Solve().
absl::StatusOr<MaskResult> SolveMatrix(Solver& solver, const Problem& problem, const void* weights,
                                       int64_t rows, int64_t columns, Edge edge = Edge::kRefuse,
                                       const float* column_norms = nullptr);

}  // namespace tsenor
