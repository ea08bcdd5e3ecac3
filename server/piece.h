// The unit of work: a few block rows of one tensor.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/buffer.h"
#include "server/clock.h"
#include "server/memory_budget.h"
#include "server/weights_directory.h"
#include "solver/problem.h"
#include "solver/result.h"

namespace tsenor::server {

struct Piece;

// Who gets a piece back. Thread-safe.
class PieceOwner {
 public:
  virtual ~PieceOwner() = default;

  // Whether nobody wants the answer any more; once true, true for ever.
  virtual bool dead() const = 0;
  // `piece`'s weights were read from its file, or (with an error) were not. Called as
  // OnPieceDone().
  virtual void OnPieceRead(std::unique_ptr<Piece> piece, absl::Status status) = 0;
  // `piece` was solved, or (with an error) was dropped or its batch failed. Called from any thread,
  // without locks held.
  virtual void OnPieceDone(std::unique_ptr<Piece> piece, absl::Status status) = 0;
  // A solver that has a piece of this owner is lost: the piece may never come back. Called as
  // OnPieceDone().
  virtual void OnSolverLost(absl::Status why) = 0;
};

// Consecutive whole block rows of one tensor (the tensor's last ones may be incomplete), their
// answer, and the memory of both. Owned by one part of the server at a time: session (reader,
// session), queue, worker, session.
//
// Thread-compatible.
struct Piece {
  Problem problem;
  int64_t first_row = 0;  // of the tensor
  int64_t rows = 0;
  int64_t columns = 0;

  Buffer weights;                 // rows * columns elements without gaps
  Buffer mask;                    // rows * MaskRowBytes(columns) bytes
  std::vector<SolveStats> stats;  // one per block row
  std::shared_ptr<const std::vector<float>>
      column_norms;                   // of the whole tensor; null unless needed
  MemoryBudget::Grant grant;          // for all of the above, norms apart
  MemoryBudget::Grant reading_grant;  // of FileServices::budget, until the weights are read

  std::shared_ptr<WeightsFile> file;  // where the weights lie; null: the client sends them

  std::shared_ptr<PieceOwner> owner;  // set while the piece is with the scheduler or the reader
  Time deadline = Time::max();        // after it, the piece is dropped
  std::string client;                 // whose share it is part of
  int priority = 0;                   // in [kMinPriority, kMaxPriority]

  // Filled in on the way.
  Time completed;             // last byte arrived
  Time taken;                 // a solver began on its batch
  Time solved;                // batch done
  Duration solve_share = {};  // of the batch's time in the solver, by elements
  std::string backend;        // SolverInfo::name

  int64_t elements() const { return rows * columns; }
  int64_t weight_bytes() const { return elements() * static_cast<int64_t>(SizeOf(problem.dtype)); }
  // Position of the first weight within the tensor, in bytes.
  int64_t weight_offset() const {
    return first_row * columns * static_cast<int64_t>(SizeOf(problem.dtype));
  }
  int64_t mask_bytes() const { return rows * MaskRowBytes(columns); }

  // The piece as the solver sees it.
  Tile tile() {
    Tile tile;
    tile.weights = weights.bytes().data();
    tile.row_stride = columns;
    tile.rows = rows;
    tile.columns = columns;
    tile.column_norms = column_norms ? column_norms->data() : nullptr;
    tile.mask = reinterpret_cast<uint8_t*>(mask.bytes().data());
    tile.mask_row_stride = MaskRowBytes(columns);
    tile.stats = stats.data();
    return tile;
  }

  // Frees the weights and their share of the budget, once they are solved.
  void ReleaseWeights() {
    weights = Buffer();
    grant.Shrink(grant.bytes() - weight_bytes());
  }
};

// Fills pieces from their files and hands each back to its owner, exactly once. Thread-safe.
class PieceReader {
 public:
  virtual ~PieceReader() = default;

  // REQUIRES: piece->owner and piece->file are set, and no other piece of this file is with the
  // reader.
  virtual void Submit(std::unique_ptr<Piece> piece) = 0;
  // As PieceScheduler::DropDead().
  virtual void DropDead() = 0;
};

// Takes complete pieces and hands each back to its owner, exactly once. Thread-safe.
class PieceScheduler {
 public:
  virtual ~PieceScheduler() = default;

  // REQUIRES: piece->owner is set; its weights have passed FindInvalidWeight().
  virtual void Submit(std::unique_ptr<Piece> piece) = 0;
  // Hands back, now, what is still queued for dead owners, so that its memory is free.
  virtual void DropDead() = 0;
  // Weights that a piece of this problem should have at most, but for its first block row: while a
  // solver has more of them, all others wait for longer than they should. At least 1.
  virtual int64_t MaxPieceElements(const Problem& problem) const = 0;
};

}  // namespace tsenor::server
