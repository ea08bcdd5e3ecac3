#include "server/session.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/wire/crc32c.h"
#include "solver/validate.h"

namespace tsenor::server {
namespace {

// "4 x 8 of float32 has 128 bytes": what every complaint about the number of bytes ends with.
std::string DescribeBytes(const TensorSpec& spec, const TensorLayout& layout) {
  return absl::StrCat("shape ", spec.rows, " x ", spec.columns, " of ", NameOf(spec.problem.dtype),
                      " has ", layout.total_bytes, " bytes");
}

// A weight without a score, placed in the whole tensor.
absl::Status DescribeWeight(const InvalidWeight& weight, const Piece& piece, ScoreKind kind) {
  const int64_t row = piece.first_row + weight.row;
  return absl::InvalidArgumentError(absl::StrCat(
      "data: the element at row ", row, ", column ", weight.column, " (flat index ",
      row * piece.columns + weight.column, ") ", weight.reason, " (", weight.value,
      "); every element must be finite", kind == ScoreKind::kGiven ? " and >= 0" : ""));
}

absl::Status NoFiles() {
  return absl::FailedPreconditionError(
      "file is set, and this server reads no files: it was started without --weights-directory");
}

}  // namespace

Session::Session(const SessionServices& services, SessionPeer& peer, std::string client,
                 Time deadline)
    : services_(services), peer_(peer), client_(std::move(client)), deadline_(deadline) {}

template <typename Event>
void Session::Post(Event event) {
  // Held here, so that the strand outlives the call whatever the event lets go of.
  const std::shared_ptr<Session> self = shared_from_this();
  strand_.Run([self, event = std::move(event)]() mutable {
    if (!self->finished_) event();
  });
}

void Session::Start() {
  Post([this] {
    progress_time_ = services_.clock.Now();
    ReadMessage();
  });
}

void Session::ReadMessage() {
  reading_ = true;
  peer_.Read();
}

void Session::OnHeader(TensorSpec spec) {
  Post([this, spec = std::move(spec)]() mutable {
    reading_ = false;
    header_time_ = progress_time_ = services_.clock.Now();
    if (spec_.has_value()) {
      return Reject(absl::InvalidArgumentError(
          "message: a second header; there must be exactly one, and chunks after it"));
    }
    if (absl::Status status = ValidateTensor(spec, services_.limits); !status.ok()) {
      return Reject(status);
    }
    spec_ = std::move(spec);
    layout_.emplace(*spec_, services_.limits);
    if (absl::Status status = KeepNorms(); !status.ok()) return Fail(status);
    if (spec_->file.has_value()) {
      if (services_.files == nullptr) return RejectFile(NoFiles());
      file_ = std::make_shared<WeightsFile>(services_.files->directory, *std::move(spec_->file));
      ReadMessage();  // the half-close
    }
    RequestPiece();
  });
}

absl::Status Session::KeepNorms() {
  if (spec_->column_norms.empty()) return absl::OkStatus();
  const int64_t bytes = static_cast<int64_t>(spec_->column_norms.size() * sizeof(float));
  auto grant = services_.norms_budget.TryAcquire(bytes);
  if (!grant.has_value()) {
    services_.observer.OnRejected(RejectReason::kStreams);
    return absl::ResourceExhaustedError(
        absl::StrCat("scores.column_norms has ", bytes,
                     " bytes; with those of the other tensors in flight they ", "must be at most ",
                     services_.norms_budget.total(), "; retry later"));
  }
  norms_grant_ = *std::move(grant);
  column_norms_ = std::make_shared<const std::vector<float>>(std::move(spec_->column_norms));
  return absl::OkStatus();
}

void Session::OnChunk(const Chunk& chunk) {
  Post([this, chunk] {
    reading_ = false;
    NoteProgress(chunk.bytes.size());
    if (absl::Status status = CheckChunk(chunk); !status.ok()) return Reject(status);
    pending_ = chunk.bytes;
    Consume();
  });
}

void Session::NoteProgress(size_t bytes) {
  progress_bytes_ += static_cast<int64_t>(bytes);
  if (static_cast<double>(progress_bytes_) < services_.limits.min_progress_bytes()) return;
  progress_bytes_ = 0;
  progress_time_ = services_.clock.Now();
}

absl::Status Session::CheckChunk(const Chunk& chunk) const {
  if (!spec_.has_value()) {
    return absl::InvalidArgumentError(
        "message: a chunk before the header; the header must be the first message");
  }
  if (file_ != nullptr) {
    return absl::InvalidArgumentError(
        "message: a chunk after a header that names a file; there must be none");
  }
  if (chunk.bytes.empty()) {
    return absl::InvalidArgumentError("data has 0 bytes; it must have at least 1");
  }
  const uint64_t expected = static_cast<uint64_t>(received_);
  if (chunk.offset != expected) {
    return absl::InvalidArgumentError(absl::StrCat(
        "offset is ", chunk.offset, "; it must be ", expected, ", the number of bytes before: ",
        chunk.offset < expected ? "the chunk overlaps an earlier one" : "a chunk is missing"));
  }
  if (chunk.bytes.size() > static_cast<uint64_t>(layout_->total_bytes - received_)) {
    return absl::InvalidArgumentError(absl::StrCat("data has ", expected + chunk.bytes.size(),
                                                   " bytes or more; ",
                                                   DescribeBytes(*spec_, *layout_)));
  }
  if (chunk.crc32c.has_value()) {
    const uint32_t actual = wire::Crc32c(chunk.bytes.data(), chunk.bytes.size());
    if (actual != *chunk.crc32c) {
      return absl::InvalidArgumentError(absl::StrCat(
          "crc32c is ", *chunk.crc32c, "; it must be ", actual, ", the CRC-32C of the ",
          chunk.bytes.size(), " bytes of data at offset ", chunk.offset));
    }
  }
  return absl::OkStatus();
}

void Session::OnHalfClose() {
  Post([this] {
    reading_ = false;
    half_closed_ = true;
    progress_time_ = services_.clock.Now();
    if (!spec_.has_value()) {
      return Reject(absl::InvalidArgumentError(
          "message: the stream ended without a header; the header must be the first message"));
    }
    if (file_ == nullptr && received_ < layout_->total_bytes) {
      return Reject(absl::InvalidArgumentError(absl::StrCat(
          "data ended after ", received_, " bytes; ", DescribeBytes(*spec_, *layout_))));
    }
    FinishIfDone();
  });
}

void Session::OnInvalidMessage(absl::Status why) {
  Post([this, why = std::move(why)] { Reject(why); });
}

void Session::OnWriteDone() {
  Post([this] {
    const Time now = progress_time_ = services_.clock.Now();
    services_.observer.OnStage(Stage::kSend, Seconds(now - writing_->solved));
    sent_rows_ += writing_->rows;
    writing_.reset();
    --live_pieces_;
    RequestPiece();
    SendMask();
    FinishIfDone();
  });
}

void Session::OnCancel(absl::Status why) {
  Post([this, why = std::move(why)] { Fail(why); });
}

void Session::CheckIdle() {
  if (finished_) return AbandonIfOverdue();
  Post([this] {
    const Duration limit = services_.limits.idle_timeout;
    const bool client_is_due =
        (reading_ || writing_ != nullptr) && scheduled_pieces_ == 0 && !with_reader_;
    if (limit == Duration::zero() || !client_is_due) return;
    if (services_.clock.Now() - progress_time_ < limit) return;
    services_.observer.OnRejected(RejectReason::kIdle);
    Fail(absl::DeadlineExceededError(absl::StrCat(
        progress_bytes_ > 0 ? "too little" : "nothing", " was ", reading_ ? "sent" : "read",
        " by the client for ", Seconds(limit), " s, the server's idle-timeout",
        progress_bytes_ > 0 ? absl::StrCat(" (min-stream-rate: ", services_.limits.min_stream_rate,
                                           " bytes a second)")
                            : "")));
  });
}

void Session::AbandonIfOverdue() {
  const Duration limit = services_.limits.idle_timeout;
  const std::lock_guard lock(ended_mutex_);
  if (limit == Duration::zero() || !attached_ || !ended_time_.has_value()) return;
  if (services_.clock.Now() - *ended_time_ < limit) return;
  // Once for each idle timeout, in case that the transport holds on.
  ended_time_ = services_.clock.Now();
  services_.observer.OnRejected(RejectReason::kIdle);
  peer_.Abandon();
}

void Session::Detach() {
  const std::lock_guard lock(ended_mutex_);
  attached_ = false;
}

void Session::SetEnded() {
  const std::lock_guard lock(ended_mutex_);
  ended_time_ = services_.clock.Now();
  finished_ = true;
}

void Session::RequestPiece() {
  if (acquiring_ || with_reader_ || filling_ != nullptr || requested_rows_ == spec_->rows ||
      live_pieces_ == services_.limits.stream_pieces) {
    return;
  }
  acquiring_ = true;
  ++live_pieces_;
  const int64_t rows = RowsInPiece(requested_rows_);
  requested_rows_ += rows;
  const int64_t bytes = PieceCost(rows);
  if (file_ == nullptr) return AcquirePiece(bytes);
  Acquire(services_.files->budget, bytes, [this, bytes](MemoryBudget::Grant grant) {
    reading_grant_ = std::move(grant);
    AcquirePiece(bytes);
  });
}

void Session::AcquirePiece(int64_t bytes) {
  Acquire(services_.budget, bytes,
          [this](MemoryBudget::Grant grant) { StartPiece(std::move(grant)); });
}

template <typename Use>
void Session::Acquire(MemoryBudget& budget, int64_t bytes, Use use) {
  // Not owned by its wait: a session that has ended holds memory until it is gone, and must not
  // hold it until others make room for a piece that nobody wants.
  const Origin origin = {client_, spec_->priority};
  budget.Acquire(origin, bytes, [weak = weak_from_this(), use](MemoryBudget::Grant grant) {
    const std::shared_ptr<Session> self = weak.lock();
    if (self == nullptr) return;
    self->Post([use, grant = std::move(grant)]() mutable { use(std::move(grant)); });
  });
}

void Session::StartPiece(MemoryBudget::Grant grant) {
  acquiring_ = false;
  progress_time_ = services_.clock.Now();
  std::unique_ptr<Piece> piece = MakePiece(std::move(grant));
  if (file_ != nullptr) return SubmitToReader(std::move(piece));
  filling_ = std::move(piece);
  filled_ = 0;
  Consume();
}

std::unique_ptr<Piece> Session::MakePiece(MemoryBudget::Grant grant) const {
  auto piece = std::make_unique<Piece>();
  piece->problem = spec_->problem;
  piece->first_row = received_ / layout_->row_bytes;
  piece->rows = requested_rows_ - piece->first_row;
  piece->columns = spec_->columns;
  piece->weights = Buffer::Allocate(static_cast<size_t>(piece->weight_bytes()));
  piece->mask = Buffer::Allocate(static_cast<size_t>(piece->mask_bytes()));
  piece->stats.resize(static_cast<size_t>(BlocksAlong(piece->rows, spec_->problem.pattern.m)));
  piece->column_norms = column_norms_;
  piece->grant = std::move(grant);
  piece->deadline = deadline_;
  piece->client = client_;
  piece->priority = spec_->priority;
  return piece;
}

void Session::SubmitToReader(std::unique_ptr<Piece> piece) {
  piece->file = file_;
  piece->reading_grant = std::move(reading_grant_);
  piece->owner = shared_from_this();
  with_reader_ = true;
  services_.files->reader.Submit(std::move(piece));
}

void Session::OnPieceRead(std::unique_ptr<Piece> piece, absl::Status status) {
  Post([this, piece = std::move(piece), status = std::move(status)]() mutable {
    with_reader_ = false;
    piece->reading_grant = {};
    progress_time_ = services_.clock.Now();
    if (absl::IsUnavailable(status)) return Fail(status);
    if (!status.ok()) return RejectFile(status);
    received_ += piece->weight_bytes();
    filling_ = std::move(piece);
    CompletePiece();
    if (!finished_) RequestPiece();
  });
}

void Session::Consume() {
  while (!pending_.empty() && filling_ != nullptr) {
    const std::span<std::byte> room = filling_->weights.bytes().subspan(filled_);
    const size_t count = std::min(room.size(), pending_.size());
    std::memcpy(room.data(), pending_.data(), count);
    pending_ = pending_.subspan(count);
    filled_ += static_cast<int64_t>(count);
    received_ += static_cast<int64_t>(count);
    if (count < room.size()) break;
    CompletePiece();
    if (finished_) return;
    RequestPiece();
  }
  const bool has_room = filling_ != nullptr || received_ == layout_->total_bytes;
  if (pending_.empty() && has_room && !reading_ && !half_closed_) ReadMessage();
}

void Session::CompletePiece() {
  std::unique_ptr<Piece> piece = std::move(filling_);
  piece->completed = progress_time_ = services_.clock.Now();
  progress_bytes_ = 0;
  if (received_ == layout_->total_bytes) {
    last_byte_time_ = piece->completed;
    services_.observer.OnStage(Stage::kReceive, Seconds(last_byte_time_ - header_time_));
  }
  if (const auto weight = FindInvalidWeight(piece->problem, piece->tile())) {
    return Reject(DescribeWeight(*weight, *piece, piece->problem.score_kind));
  }
  piece->owner = shared_from_this();
  ++scheduled_pieces_;
  services_.scheduler.Submit(std::move(piece));
}

void Session::OnPieceDone(std::unique_ptr<Piece> piece, absl::Status status) {
  Post([this, piece = std::move(piece), status = std::move(status)]() mutable {
    --scheduled_pieces_;
    progress_time_ = services_.clock.Now();
    if (!status.ok()) return Fail(status);
    const int64_t first_row = piece->first_row;
    solved_.emplace(first_row, std::move(piece));
    SendMask();
  });
}

void Session::OnSolverLost(absl::Status why) {
  Post([this, why = std::move(why)] { Fail(why); });
}

void Session::SendMask() {
  if (writing_ != nullptr || solved_.empty() || solved_.begin()->first != sent_rows_) return;
  writing_ = std::move(solved_.begin()->second);
  solved_.erase(solved_.begin());
  // Block row by block row, in order: the sums do not depend on how the tensor was cut.
  for (const SolveStats& stats : writing_->stats) stats_ += stats;
  queue_time_ += writing_->taken - writing_->completed;
  solve_time_ += writing_->solve_share;
  backends_.insert(writing_->backend);
  const std::span<const std::byte> mask = writing_->mask.bytes();
  peer_.Write({writing_->first_row, writing_->rows, mask, wire::Crc32c(mask.data(), mask.size())});
}

void Session::FinishIfDone() {
  if (!half_closed_ || sent_rows_ < spec_->rows) return;
  SetEnded();
  services_.observer.OnTensorDone(spec_->problem, stats_);
  Summary summary;
  summary.name = spec_->name;
  summary.stats = stats_;
  summary.receive_seconds = Seconds(last_byte_time_ - header_time_);
  summary.queue_seconds = Seconds(queue_time_);
  summary.solve_seconds = Seconds(solve_time_);
  summary.total_seconds = Seconds(services_.clock.Now() - header_time_);
  summary.backend = absl::StrJoin(backends_, ",");
  peer_.Finish(summary);
}

void Session::Reject(const absl::Status& why) {
  services_.observer.OnRejected(RejectReason::kInvalid);
  Fail(why);
}

void Session::RejectFile(const absl::Status& why) {
  services_.observer.OnRejected(RejectReason::kFile);
  Fail(why);
}

void Session::Fail(const absl::Status& why) {
  SetEnded();
  pending_ = {};
  filling_.reset();
  reading_grant_ = {};
  solved_.clear();
  // The mask in flight stays: the transport may still be reading it.
  // They look at everything that waits, of whomever.
  if (scheduled_pieces_ > 0) services_.scheduler.DropDead();
  if (with_reader_) services_.files->reader.DropDead();
  peer_.Fail(why);
}

int64_t Session::RowsInPiece(int64_t first_row) const {
  const int64_t m = spec_->problem.pattern.m;
  const int64_t rows_left = spec_->rows - first_row;
  const int64_t left = BlocksAlong(rows_left, static_cast<int>(m));  // block rows, as the next two
  const int64_t in_time = std::max<int64_t>(
      1, services_.scheduler.MaxPieceElements(spec_->problem) / (m * spec_->columns));
  const int64_t pieces = (left - 1) / in_time + 1;
  const int64_t even = (left - 1) / pieces + 1;  // no small one is left over
  return std::min({layout_->rows_per_piece, even * m, rows_left});
}

int64_t Session::PieceCost(int64_t rows) const {
  return rows * (layout_->row_bytes + layout_->mask_row_bytes) +
         BlocksAlong(rows, spec_->problem.pattern.m) * static_cast<int64_t>(sizeof(SolveStats));
}

}  // namespace tsenor::server
