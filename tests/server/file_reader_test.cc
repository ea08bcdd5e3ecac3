#include "server/file_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "server/weights_directory.h"
#include "tests/server/piece_fixture.h"
#include "tests/support/fake_clock.h"
#include "tests/support/file_range.h"
#include "tests/support/temporary_directory.h"

namespace tsenor::server {
namespace {

// Counts bytes read. Thread-safe.
class ReadCounter final : public Observer {
 public:
  void OnFileRead(int64_t bytes) override { total += bytes; }
  std::atomic<int64_t> total = 0;
};

class FileReaderTest : public ::testing::Test {
 protected:
  // 1:2 pieces of 2 x 4 float32: 32 bytes each.
  std::unique_ptr<Piece> Piece32(std::shared_ptr<WeightsFile> file, int64_t first_row) {
    std::unique_ptr<Piece> piece = MakePiece(owner_, budget_, 4);
    piece->first_row = first_row;
    piece->file = std::move(file);
    return piece;
  }
  std::shared_ptr<WeightsFile> File(const std::string& name, const std::string& content) {
    WriteWholeFile(directory_ / name, content);
    return std::make_shared<WeightsFile>(
        opened_, testing::RangeOf(directory_ / name, name, 0, content.size()));
  }

  const TemporaryDirectory directory_;
  const WeightsDirectory opened_ = *WeightsDirectory::Open(directory_.path().string());
  ReadCounter counter_;
  testing::FakeClock clock_;
  MemoryBudget budget_{1 << 20, counter_, clock_, Duration::zero()};
  const std::shared_ptr<FakeOwner> owner_ = std::make_shared<FakeOwner>();
};

std::string WeightsOf(const Piece& piece) {
  const auto bytes = piece.weights.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_F(FileReaderTest, FillsEachPieceFromItsPlaceInItsFile) {
  FileReader reader(counter_);
  std::vector<std::string> contents;
  for (int k = 0; k < 20; ++k) {
    contents.push_back(std::string(32, '.') + std::string(32, static_cast<char>('a' + k)));
    reader.Submit(Piece32(File("file" + std::to_string(k), contents.back()), 2));
  }
  ASSERT_TRUE(owner_->WaitForPieces(20));
  reader.Stop();
  std::string found;
  for (size_t k = 0; k < 20; ++k) {
    EXPECT_TRUE(owner_->statuses()[k].ok()) << owner_->statuses()[k];
    const std::string weights = WeightsOf(*owner_->pieces()[k]);
    EXPECT_EQ(weights, std::string(32, weights[0]));
    found += weights[0];
  }
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, "abcdefghijklmnopqrst");
  EXPECT_EQ(counter_.total, 20 * 32);
}

TEST_F(FileReaderTest, HandsBackWhatCannotBeReadWithTheReason) {
  FileReader reader(counter_);
  const auto file = File("gone", std::string(64, 'x'));
  std::filesystem::remove(directory_ / "gone");
  reader.Submit(Piece32(file, 0));
  ASSERT_TRUE(owner_->WaitForPieces(1));
  reader.Stop();
  EXPECT_TRUE(absl::IsNotFound(owner_->statuses()[0])) << owner_->statuses()[0];
  EXPECT_EQ(counter_.total, 0);
}

TEST_F(FileReaderTest, OnceStoppedRefusesInWords) {
  FileReader reader(counter_);
  reader.Stop();
  reader.Submit(Piece32(File("file", std::string(64, 'x')), 0));
  ASSERT_EQ(owner_->count(), 1u);
  EXPECT_TRUE(absl::IsUnavailable(owner_->statuses()[0]));
}

// An owner whose answers take as long as the test says: holds up one thread of the reader.
class SlowOwner final : public PieceOwner {
 public:
  bool dead() const override { return false; }
  void OnPieceDone(std::unique_ptr<Piece>, absl::Status) override {}
  void OnSolverLost(absl::Status) override {}
  void OnPieceRead(std::unique_ptr<Piece>, absl::Status) override {
    std::unique_lock lock(mutex_);
    ++begun_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return released_; });
  }
  // False: fewer than `count` threads were held up within ten seconds.
  bool WaitForBegun(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return begun_ >= count; });
  }
  void Release() {
    std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int begun_ = 0;          // guarded by mutex_
  bool released_ = false;  // guarded by mutex_
};

TEST_F(FileReaderTest, WhatWaitsForTheDeadComesBackAtOnceAndUnread) {
  FileReader reader(counter_);
  const auto slow = std::make_shared<SlowOwner>();
  for (int k = 0; k < 4; ++k) {  // all threads
    auto piece = Piece32(File("slow" + std::to_string(k), std::string(64, 'x')), 0);
    piece->owner = slow;
    reader.Submit(std::move(piece));
  }
  ASSERT_TRUE(slow->WaitForBegun(4));
  const auto living = std::make_shared<FakeOwner>();
  auto piece = Piece32(File("living", std::string(64, 'x')), 0);
  piece->owner = living;
  reader.Submit(Piece32(File("dead", std::string(64, 'x')), 0));
  reader.Submit(std::move(piece));
  owner_->Die();
  reader.DropDead();
  ASSERT_EQ(owner_->count(), 1u);
  EXPECT_TRUE(absl::IsCancelled(owner_->statuses()[0]));
  EXPECT_EQ(living->count(), 0u);
  slow->Release();
  EXPECT_TRUE(living->WaitForPieces(1));
  reader.Stop();
  EXPECT_EQ(counter_.total, 5 * 32);
}

}  // namespace
}  // namespace tsenor::server
