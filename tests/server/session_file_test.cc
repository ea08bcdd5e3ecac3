// Sessions whose tensor lies in a file.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/server/session_fixture.h"
#include "tests/support/file_range.h"
#include "tests/support/temporary_directory.h"

namespace tsenor::server {
namespace {

// What FakeSolver keeps: the positive weights, every third.
float WeightAt(size_t k) { return k % 3 == 0 ? 1.0f + static_cast<float>(k) : -1.0f; }

// A tensor of 64 columns in a file, after 8 other bytes.
class SessionFileTest : public SessionTest {
 protected:
  // Writes the file and starts a session on it.
  void StartFile(int64_t rows) {
    weights_.resize(static_cast<size_t>(rows) * 64);
    for (size_t k = 0; k < weights_.size(); ++k) weights_[k] = WeightAt(k);
    std::string content(8, '\0');
    content.append(reinterpret_cast<const char*>(weights_.data()), weights_.size() * sizeof(float));
    WriteWholeFile(path_, content);
    reading_budget_.emplace(limits_.reading_budget_bytes(), observer_, clock_, Duration::zero());
    files_.emplace(FileServices{opened_, *reading_budget_, reader_});
    Start(&*files_);
    TensorSpec spec = MakeSpec(rows, 64);
    spec.file = testing::RangeOf(path_, "weights", 8, weights_.size() * sizeof(float));
    session_->OnHeader(std::move(spec));
  }
  ~SessionFileTest() override { session_.reset(); }  // before the budgets

  // Until the client or nobody has to move.
  void ReadSolveAndSend() {
    while (!reader_.queue.empty() || !scheduler_.queue.empty() || peer_.writing) {
      if (!reader_.queue.empty()) reader_.Read();
      SolveAll();
      FinishWrites();
    }
  }
  void ExpectMask() const {
    ASSERT_EQ(peer_.mask.size(), weights_.size() / 8);
    for (size_t k = 0; k < weights_.size(); ++k) {
      ASSERT_EQ(std::to_integer<int>(peer_.mask[k / 8]) >> (k % 8) & 1, weights_[k] > 0) << k;
    }
  }

  const TemporaryDirectory directory_;
  const std::string path_ = directory_ / "weights";
  const WeightsDirectory opened_ = *WeightsDirectory::Open(directory_.path().string());
  FakeReader reader_;
  std::optional<MemoryBudget> reading_budget_;
  std::optional<FileServices> files_;
  std::vector<float> weights_;
};

TEST_F(SessionFileTest, AnswersAsIfTheBytesHadBeenSent) {
  StartFile(100);
  session_->OnHalfClose();
  ReadSolveAndSend();
  ASSERT_TRUE(peer_.summary.has_value()) << *peer_.failure;
  EXPECT_GT(peer_.written.size(), 3u);
  ExpectMask();
  session_.reset();
  EXPECT_EQ(budget_->used(), 0);
  EXPECT_EQ(reading_budget_->used(), 0);
}

TEST_F(SessionFileTest, EndsWhenTheClientHalfClosesThoughThatComesLast) {
  StartFile(100);
  ReadSolveAndSend();
  EXPECT_FALSE(peer_.ended());
  ExpectMask();
  EXPECT_EQ(peer_.reads, 2);  // the header, and what ends the stream
  session_->OnHalfClose();
  EXPECT_TRUE(peer_.summary.has_value());
}

TEST_F(SessionFileTest, ReadsOnlyWhatItHasMemoryFor) {
  limits_.memory_budget_bytes = 16 << 10;  // a quarter of the tensor
  limits_.stream_pieces = 1 << 10;
  StartFile(256);
  session_->OnHalfClose();
  while (!reader_.queue.empty()) reader_.Read();  // nothing is solved meanwhile
  EXPECT_LT(scheduler_.queue.size(), 5u);
  EXPECT_LE(budget_->used(), limits_.memory_budget_bytes);
  ReadSolveAndSend();
  EXPECT_TRUE(peer_.summary.has_value());
  ExpectMask();
}

TEST_F(SessionFileTest, ASlowReaderOfMasksStopsTheReadingOfTheFile) {
  limits_.stream_pieces = 3;
  StartFile(1024);
  session_->OnHalfClose();
  while (!reader_.queue.empty()) {
    reader_.Read();
    SolveAll();
  }
  EXPECT_EQ(peer_.written.size(), 1u);
  EXPECT_LE(budget_->used(), 3 * limits_.piece_bytes);
  FinishWrite();
  EXPECT_EQ(reader_.queue.size(), 1u);
}

TEST_F(SessionFileTest, StorageThatHangsTakesHalfOfTheMemoryAtMost) {
  limits_.memory_budget_bytes = 16 << 10;
  StartFile(256);
  ASSERT_EQ(reader_.queue.size(), 1u);
  const int64_t piece = budget_->used();
  EXPECT_EQ(reading_budget_->used(), piece);
  std::vector<std::unique_ptr<FakePeer>> peers;
  std::vector<std::shared_ptr<Session>> sessions;
  for (int k = 0; k < 8; ++k) {
    peers.push_back(std::make_unique<FakePeer>());
    sessions.push_back(std::make_shared<Session>(
        SessionServices{limits_, clock_, *budget_, *norms_budget_, scheduler_, observer_, &*files_},
        *peers.back(), "client", Time::max()));
    sessions.back()->Start();
    TensorSpec spec = MakeSpec(256, 64);
    spec.file = testing::RangeOf(path_, "weights", 8, weights_.size() * sizeof(float));
    sessions.back()->OnHeader(std::move(spec));
  }
  EXPECT_EQ(budget_->used(), limits_.memory_budget_bytes / 2 / piece * piece);
  // Whoever waits for the storage and ends lets the next one wait for it.
  const size_t reading = reader_.queue.size();
  session_->OnCancel(absl::CancelledError("gone"));
  EXPECT_EQ(reader_.queue.size(), reading);
  // What is in the reader's hands comes back to a session that has ended, and is gone.
  for (auto& session : sessions) session->OnCancel(absl::CancelledError("gone"));
  EXPECT_TRUE(reader_.queue.empty());
  sessions.clear();
  session_.reset();
  EXPECT_EQ(budget_->used(), 0);
  EXPECT_EQ(reading_budget_->used(), 0);
}

TEST_F(SessionFileTest, ACancelledSessionFreesWhatTheReaderHandsBackLate) {
  StartFile(100);
  std::unique_ptr<Piece> in_hand = std::move(reader_.queue.front());
  reader_.queue.pop_front();
  session_->OnCancel(absl::CancelledError("gone"));
  EXPECT_EQ(*peer_.failure, absl::CancelledError("gone"));
  EXPECT_GT(budget_->used(), 0);
  EXPECT_GT(reading_budget_->used(), 0);
  session_.reset();
  const std::shared_ptr<PieceOwner> owner = std::move(in_hand->owner);
  owner->OnPieceRead(std::move(in_hand), absl::OkStatus());
  EXPECT_EQ(budget_->used(), 0);
  EXPECT_EQ(reading_budget_->used(), 0);
  EXPECT_TRUE(scheduler_.queue.empty());
}

TEST_F(SessionFileTest, NobodyIsIdleWhileTheStorageTakesItsTime) {
  StartFile(100);
  clock_.Advance(std::chrono::hours(1));
  session_->CheckIdle();
  EXPECT_FALSE(peer_.ended());
  ReadSolveAndSend();  // now the client has to half-close
  clock_.Advance(std::chrono::minutes(1));
  session_->CheckIdle();
  ASSERT_TRUE(peer_.failure.has_value());
  EXPECT_TRUE(absl::IsDeadlineExceeded(*peer_.failure));
}

TEST_F(SessionFileTest, RefusesAChunkToo) {
  StartFile(100);
  Send(0, std::vector<float>{1, 2});
  reader_.queue.clear();
  ExpectRefused({"a chunk after a header that names a file", "none"});
}

TEST_F(SessionFileTest, RefusesWeightsWithoutAScoreAndSaysWhere) {
  StartFile(100);
  std::string content = ReadWholeFile(path_);
  content.replace(content.size() - 4, 4, "\xff\xff\xff\xff");
  const auto modified = std::filesystem::last_write_time(path_);
  WriteWholeFile(path_, content);
  std::filesystem::last_write_time(path_, modified);
  ReadSolveAndSend();
  ExpectRefused({"data", "row 99", "column 63", "NaN"});
}

TEST_F(SessionFileTest, AFileThatIsCutShortWhileItIsReadFailsTheStream) {
  StartFile(100);
  reader_.Read();
  SolveAll();
  std::filesystem::resize_file(path_, 5000);
  ReadSolveAndSend();
  ASSERT_TRUE(peer_.failure.has_value());
  EXPECT_TRUE(absl::IsFailedPrecondition(*peer_.failure)) << *peer_.failure;
  EXPECT_NE(peer_.failure->message().find("5000 bytes"), absl::string_view::npos);
  EXPECT_EQ(peer_.written.size(), 1u);
  session_.reset();
  EXPECT_EQ(budget_->used(), 0);
}

TEST_F(SessionTest, AServerWithoutADirectoryReadsNoFiles) {
  TensorSpec spec = MakeSpec(4, 64);
  spec.file = {.path = "weights", .size = 1024, .file_bytes = 1024};
  Start();
  session_->OnHeader(std::move(spec));
  ASSERT_TRUE(peer_.failure.has_value());
  EXPECT_TRUE(absl::IsFailedPrecondition(*peer_.failure));
  EXPECT_NE(peer_.failure->message().find("--weights-directory"), absl::string_view::npos);
  EXPECT_EQ(budget_->used(), 0);
}

}  // namespace
}  // namespace tsenor::server
