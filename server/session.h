// One tensor on its way through the server.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/clock.h"
#include "server/limits.h"
#include "server/memory_budget.h"
#include "server/observer.h"
#include "server/piece.h"
#include "server/strand.h"
#include "server/tensor_spec.h"
#include "solver/result.h"

namespace tsenor::server {

// A run of a tensor's bytes, as it arrives.
struct Chunk {
  uint64_t offset = 0;  // of the first byte within the tensor
  std::span<const std::byte> bytes;
  std::optional<uint32_t> crc32c;
};

// The mask of one piece, as it leaves.
struct MaskRows {
  int64_t first_row = 0;
  int64_t row_count = 0;
  std::span<const std::byte> bytes;  // row_count * MaskRowBytes(columns)
  uint32_t crc32c = 0;
};

// The last word on a tensor. Times in seconds, as described at StageSeconds in the API.
struct Summary {
  std::string name;
  SolveStats stats;
  double receive_seconds = 0;
  double queue_seconds = 0;
  double solve_seconds = 0;
  double total_seconds = 0;
  std::string backend;
};

// The client's side of a session. The session calls it one call at a time, from any thread, and
// never after Finish(), Abandon() apart. Implementations never block.
class SessionPeer {
 public:
  virtual ~SessionPeer() = default;

  // Asks for one message of the client: one of OnHeader(), OnChunk(), OnHalfClose(),
  // OnInvalidMessage() follows.
  virtual void Read() = 0;
  // Sends a mask; OnWriteDone() follows. `rows.bytes` stay valid until then.
  virtual void Write(const MaskRows& rows) = 0;
  // Ends the stream with its summary. No read or write is outstanding.
  virtual void Finish(const Summary& summary) = 0;
  // Ends the stream with an error. A read and a write may still be outstanding; their answers are
  // ignored.
  virtual void Fail(const absl::Status& status) = 0;
  // Gives up what the transport still holds of a stream that has ended long ago: its client does
  // not read, and its place is wanted. After Finish() or Fail(), perhaps again and again, until
  // Session::Detach(), which waits for a call that is under way.
  virtual void Abandon() = 0;
};

// What sessions need to read tensors from files.
struct FileServices {
  const WeightsDirectory& directory;
  MemoryBudget& budget;  // for pieces that are being read: Limits::reading_budget_bytes()
  PieceReader& reader;
};

// What all sessions share. Everything outlives the sessions.
struct SessionServices {
  const Limits& limits;
  const Clock& clock;
  MemoryBudget& budget;        // for pieces
  MemoryBudget& norms_budget;  // for column norms: Limits::norms_budget_bytes()
  PieceScheduler& scheduler;
  Observer& observer;
  const FileServices* files;  // null: the server reads no files
};

// The state machine of one tensor: checks the header, copies what arrives once, straight into the
// staging memory of the current piece, hands complete pieces to the scheduler, and sends their
// masks in ascending order of rows as they come back, while the upload still runs. Of a tensor that
// lies in a file, the reader fills the pieces instead.
//
// It reads a message (or a file) only when it has memory to put it, has at most
// Limits::stream_pieces pieces alive and one write in flight: neither a fast sender nor a slow
// reader makes it grow. Because a piece never needs a second one to be finished, sessions that wait
// for memory cannot lock each other out.
//
// A stream that has ended keeps its place among Limits::max_streams until the transport has let go
// of it, which a client that never reads its last messages can put off: after
// Limits::idle_timeout the peer is told to abandon it.
//
// Owned by shared_ptr: by its peer and by its queued pieces. Events run on a
// Strand, one at a time, and members without a lock are touched by events alone. Thread-safe.
class Session final : public PieceOwner, public std::enable_shared_from_this<Session> {
 public:
  // `peer` lives until Finish() or Fail() is called on it, and then until Detach() is. Memory and
  // batches come out of `client`'s share. Pieces are dropped after `deadline`.
  Session(const SessionServices& services, SessionPeer& peer, std::string client, Time deadline);

  // Asks the peer for the first message. Call once, first.
  void Start();

  // The answers to SessionPeer::Read().
  void OnHeader(TensorSpec spec);
  // The bytes stay valid until the next Read(), Finish() or Fail().
  void OnChunk(const Chunk& chunk);
  void OnHalfClose();
  // The message cannot even be read: `why` is InvalidArgument.
  void OnInvalidMessage(absl::Status why);

  // The answer to SessionPeer::Write().
  void OnWriteDone();
  // The client or the server gave the stream up: `why` is not OK.
  void OnCancel(absl::Status why);
  // Ends the stream if its client has made the server wait for longer than Limits::idle_timeout, or
  // has it abandoned if it ended that long ago.
  void CheckIdle();
  // The peer goes: nothing is called on it any more.
  void Detach();

  // PieceOwner.
  bool dead() const override { return finished_; }
  void OnPieceRead(std::unique_ptr<Piece> piece, absl::Status status) override;
  void OnPieceDone(std::unique_ptr<Piece> piece, absl::Status status) override;
  void OnSolverLost(absl::Status why) override;

 private:
  // Runs `event` on the strand, unless the session is finished by then.
  template <typename Event>
  void Post(Event event);

  // Takes the norms out of the header. Errors: ResourceExhausted if there is no memory for them.
  absl::Status KeepNorms();
  absl::Status CheckChunk(const Chunk& chunk) const;
  // Takes note of `bytes` that have arrived: enough of them are a sign of life.
  void NoteProgress(size_t bytes);
  void ReadMessage();
  // Asks for the memory of the next piece, if there is one to come and room for it.
  void RequestPiece();
  void AcquirePiece(int64_t bytes);
  // Calls `use` on the strand with a grant of `bytes`, unless the session is gone by then.
  template <typename Use>
  void Acquire(MemoryBudget& budget, int64_t bytes, Use use);
  void StartPiece(MemoryBudget::Grant grant);
  std::unique_ptr<Piece> MakePiece(MemoryBudget::Grant grant) const;
  // Has the reader fill `piece`.
  void SubmitToReader(std::unique_ptr<Piece> piece);
  // Moves pending_ into pieces for as long as there is memory, then reads on.
  void Consume();
  // The current piece is full: checks its weights and submits it.
  void CompletePiece();
  // Sends the next mask in order, if it is there and no write is in flight.
  void SendMask();
  // Sends the summary if all is received and sent.
  void FinishIfDone();
  void Fail(const absl::Status& why);
  void AbandonIfOverdue();
  // The stream ends now: it is dead, and its peer may be abandoned from here on.
  void SetEnded();
  void Reject(const absl::Status& why);      // Fail() for the client's fault
  void RejectFile(const absl::Status& why);  // Fail() for a file that cannot be read
  // Of the piece that begins there, if it was asked for now: whole block rows, or the rest.
  int64_t RowsInPiece(int64_t first_row) const;
  int64_t PieceCost(int64_t rows) const;

  const SessionServices services_;
  SessionPeer& peer_;
  const std::string client_;
  const Time deadline_;
  Strand strand_;
  std::atomic<bool> finished_ = false;

  std::mutex ended_mutex_;          // held while the peer is told to abandon the stream
  std::optional<Time> ended_time_;  // when finished_ became true; guarded by ended_mutex_
  bool attached_ = true;            // until Detach(); guarded by ended_mutex_

  // Receiving.
  std::optional<TensorSpec> spec_;  // set by the header
  std::optional<TensorLayout> layout_;
  MemoryBudget::Grant norms_grant_;  // for the next
  std::shared_ptr<const std::vector<float>> column_norms_;
  bool reading_ = false;                // a Read() is unanswered
  bool half_closed_ = false;            // the client has sent its last message
  int64_t received_ = 0;                // bytes copied, or read, into pieces
  std::span<const std::byte> pending_;  // the rest of the current chunk

  // Instead of receiving: the bytes are read from here. Null: they are received.
  std::shared_ptr<WeightsFile> file_;
  MemoryBudget::Grant reading_grant_;  // for the next piece, while its memory is waited for
  bool with_reader_ = false;           // the current piece is being read

  // Pieces, from first byte to mask sent.
  bool acquiring_ = false;          // memory for the next piece is asked for
  int64_t requested_rows_ = 0;      // of all pieces so far, the one asked for included
  int live_pieces_ = 0;             // that one included
  int scheduled_pieces_ = 0;        // with the scheduler
  std::unique_ptr<Piece> filling_;  // the current piece
  int64_t filled_ = 0;              // its bytes that have arrived
  std::map<int64_t, std::unique_ptr<Piece>> solved_;  // by first row: not yet sent

  // Sending.
  std::unique_ptr<Piece> writing_;  // whose mask is in flight
  int64_t sent_rows_ = 0;

  // For the summary.
  Time header_time_;
  Time last_byte_time_;
  Time progress_time_;          // when anything last happened
  int64_t progress_bytes_ = 0;  // received since
  SolveStats stats_;
  Duration queue_time_ = {};
  Duration solve_time_ = {};
  std::set<std::string> backends_;
};

}  // namespace tsenor::server
