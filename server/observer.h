// What the core tells about itself. Metrics implement it; the core knows nothing of them.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "solver/problem.h"
#include "solver/result.h"

namespace tsenor::server {

// Parts of the way of a tensor. kReceive is told once a tensor, the others once a piece.
enum class Stage {
  kReceive,  // header's arrival to the last byte's
  kQueue,    // piece complete to begun by a solver
  kSolve,    // the piece's share of its batch's time in the solver
  kSend,     // mask solved to mask accepted by the transport
};

// Why work was thrown away before a solver saw it.
enum class DropReason { kCancelled, kDeadline, kShutdown };

// Why a tensor was refused.
enum class RejectReason { kInvalid, kStreams, kIdle, kFile };

// One call of Solver::Solve().
struct BatchReport {
  std::string backend;
  Problem problem;
  int64_t elements = 0;
  int64_t full_elements = 0;  // of a full batch (BatchDecision::max_elements)
  int64_t pieces = 0;
  double seconds = 0;         // in the solver
  double wasted_seconds = 0;  // of these, for pieces whose stream had ended when they were done
  SolveStats stats;           // zero unless status is OK
  absl::Status status;
};

// Hears of everything worth counting. The base class ignores it all.
//
// Called from any thread, sometimes while locks are held: implementations are thread-safe, quick,
// and call nothing of the server.
class Observer {
 public:
  virtual ~Observer() = default;

  // Memory charged to the budget, queued work: differences, in bytes and elements.
  virtual void OnMemoryChange(int64_t /*bytes*/) {}
  virtual void OnQueueChange(int64_t /*elements*/, int64_t /*bytes*/) {}

  // Bytes of a tensor that were read from a file.
  virtual void OnFileRead(int64_t /*bytes*/) {}

  // Of some tensors, or pieces; of one.
  virtual void OnStages(Stage /*stage*/, std::span<const double> /*seconds*/) {}
  void OnStage(Stage stage, double seconds) { OnStages(stage, {&seconds, 1}); }

  virtual void OnBatch(const BatchReport& /*report*/) {}
  // The solver of this name has just proved that it is alive (WatchedSolver).
  virtual void OnCanary(const std::string& /*backend*/) {}
  // The solver of this name will never solve again.
  virtual void OnSolverLost(const std::string& /*backend*/) {}
  // All masks of one tensor are sent.
  virtual void OnTensorDone(const Problem& /*problem*/, const SolveStats& /*stats*/) {}
  // One piece.
  virtual void OnDropped(DropReason /*reason*/) {}
  // One tensor.
  virtual void OnRejected(RejectReason /*reason*/) {}

  // RPCs: `method` is the method's simple name, `bytes` those of one message.
  virtual void OnRpcStarted(const char* /*method*/) {}
  virtual void OnRpcHandled(const char* /*method*/, absl::StatusCode /*code*/, double /*seconds*/) {
  }
  virtual void OnMessageReceived(const char* /*method*/, int64_t /*bytes*/) {}
  virtual void OnMessageSent(const char* /*method*/, int64_t /*bytes*/) {}
};

}  // namespace tsenor::server
