#include "server/weights_directory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "proto/wire/directory_id.h"
#include "tests/support/file_range.h"
#include "tests/support/temporary_directory.h"

namespace tsenor::server {
namespace {

using testing::RangeOf;

void ExpectError(const absl::Status& status, absl::StatusCode code, const std::string& words) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_NE(status.message().find(words), absl::string_view::npos) << status;
}

class WeightsDirectoryTest : public ::testing::Test {
 protected:
  WeightsDirectoryTest() {
    std::filesystem::create_directories(directory_ / "open/model");
    WriteWholeFile(file_, "0123456789");
  }

  absl::StatusOr<WeightsDirectory> OpenDirectory() const {
    return WeightsDirectory::Open(directory_ / "open");
  }
  absl::Status OpenFile(const std::string& path) const {
    const auto opened = OpenDirectory();
    return opened.ok() ? opened->OpenFile(path).status() : opened.status();
  }

  const TemporaryDirectory directory_;
  const std::string file_ = directory_ / "open/model/a.safetensors";
};

TEST_F(WeightsDirectoryTest, OpensFilesAndRelativeLinksBelowIt) {
  const std::string link = directory_ / "open/link.safetensors";
  std::filesystem::create_symlink("model/a.safetensors", link);
  std::filesystem::create_symlink("..", directory_ / "open/model/up");
  for (const char* path : {"model/a.safetensors", "./model//a.safetensors", "link.safetensors",
                           "model/up/model/a.safetensors"}) {
    EXPECT_TRUE(OpenFile(path).ok()) << path << ": " << OpenFile(path);
  }
}

TEST_F(WeightsDirectoryTest, ErrorsShowPathsShortenedAndEscaped) {
  const std::string name(300, 'x');  // longer than any name may be
  ExpectError(OpenFile(name), absl::StatusCode::kNotFound, std::string(256, 'x') + "...: no such");
  ExpectError(OpenFile("a\nb\xff"), absl::StatusCode::kNotFound,
              "file.path a\\nb\\xff: no such file");
}

TEST_F(WeightsDirectoryTest, NothingLeadsOut) {
  WriteWholeFile(directory_ / "secret", "x");
  std::filesystem::create_symlink("../secret", directory_ / "open/out");
  std::filesystem::create_symlink(file_, directory_ / "open/absolute");
  std::filesystem::create_directory_symlink("..", directory_ / "open/parent");
  std::filesystem::create_symlink("/proc/self/root", directory_ / "open/magic");
  for (const std::string& path : std::vector<std::string>{
           "../secret", "model/../../secret", "out", "absolute", "parent/secret", "parent/open",
           directory_ / "secret", file_, "magic/etc/passwd"}) {
    ExpectError(OpenFile(path), absl::StatusCode::kPermissionDenied, "leads out");
  }
}

TEST_F(WeightsDirectoryTest, OpensRegularFilesOnly) {
  ASSERT_EQ(::mkfifo((directory_ / "open/fifo").c_str(), 0600), 0);
  std::filesystem::create_symlink("loop", directory_ / "open/loop");
  for (const char* path : {"model", ".", "fifo", "loop"}) {  // and does not wait for a writer
    ExpectError(OpenFile(path), absl::StatusCode::kFailedPrecondition, "not a regular file");
  }
  for (const char* path : {"missing", "model/missing", "model/a.safetensors/x"}) {
    ExpectError(OpenFile(path), absl::StatusCode::kNotFound, path);
  }
}

TEST_F(WeightsDirectoryTest, StaysTheSameWhereverItMoves) {
  const auto opened = OpenDirectory();
  ASSERT_TRUE(opened.ok()) << opened.status();
  std::filesystem::rename(directory_ / "open", directory_ / "moved");
  EXPECT_TRUE(opened->OpenFile("model/a.safetensors").ok());
}

TEST_F(WeightsDirectoryTest, WhatIsNoDirectoryIsNamed) {
  for (const char* name : {"missing", "open/model/a.safetensors"}) {
    ExpectError(WeightsDirectory::Open(directory_ / name).status(),
                absl::StatusCode::kInvalidArgument, "weights-directory " + (directory_ / name));
  }
  WriteWholeFile(directory_ / "open/.tsenor-directory-id", "");
  ExpectError(OpenDirectory().status(), absl::StatusCode::kInvalidArgument, "no id");
}

TEST_F(WeightsDirectoryTest, ItsIdIsTheSameUnderEveryPathAndNoOther) {
  const std::string open = directory_ / "open";
  std::filesystem::create_directory_symlink("open", directory_ / "link");
  const auto id = wire::DirectoryId(open);
  ASSERT_TRUE(id.has_value());
  EXPECT_EQ(id->rfind("inode:", 0), 0u) << *id;
  EXPECT_EQ(OpenDirectory()->id(), *id);
  EXPECT_EQ(wire::DirectoryId(directory_ / "link"), id);
  EXPECT_NE(wire::DirectoryId(open + "/model"), id);
  EXPECT_FALSE(wire::DirectoryId(file_).has_value());
  EXPECT_FALSE(wire::DirectoryId(directory_ / "missing").has_value());
}

TEST_F(WeightsDirectoryTest, AFileInItTellsItsId) {
  const std::string file = directory_ / "open/.tsenor-directory-id";
  WriteWholeFile(file, "volume 7\nand more");
  EXPECT_EQ(OpenDirectory()->id(), "file:volume 7");
  WriteWholeFile(file, std::string(256, 'x'));
  EXPECT_EQ(OpenDirectory()->id(), "file:" + std::string(256, 'x'));
  WriteWholeFile(file, std::string(257, 'x'));
  EXPECT_FALSE(wire::DirectoryId(directory_ / "open").has_value());
  std::filesystem::remove(file);
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  EXPECT_FALSE(wire::DirectoryId(directory_ / "open").has_value());
  // Whoever may write to the directory must not make the server publish another file.
  std::filesystem::remove(file);
  WriteWholeFile(directory_ / "secret", "token");
  std::filesystem::create_symlink("../secret", file);
  EXPECT_FALSE(wire::DirectoryId(directory_ / "open").has_value());
  std::filesystem::remove(file);
  WriteWholeFile(file, "caf\xe9");
  EXPECT_FALSE(wire::DirectoryId(directory_ / "open").has_value());
}

// Reads `size` bytes at `offset` of the tensor.
absl::StatusOr<std::string> Read(WeightsFile& file, int64_t offset, size_t size) {
  std::string bytes(size, '\0');
  if (absl::Status status = file.Read(offset, std::as_writable_bytes(std::span(bytes)));
      !status.ok()) {
    return status;
  }
  return bytes;
}

class WeightsFileTest : public WeightsDirectoryTest {
 protected:
  // Bytes 2 to 8 of the file.
  FileRange Range() const { return RangeOf(file_, "model/a.safetensors", 2, 7); }

  const WeightsDirectory opened_ = *OpenDirectory();
};

TEST_F(WeightsFileTest, ReadsAnyPartOfItsRange) {
  WeightsFile file(opened_, Range());
  EXPECT_EQ(*Read(file, 0, 3), "234");
  EXPECT_EQ(*Read(file, 3, 4), "5678");
  EXPECT_EQ(*Read(file, 0, 7), "2345678");
}

TEST_F(WeightsFileTest, RefusesAFileOfAnotherSize) {
  FileRange range = Range();
  range.file_bytes = 11;
  WeightsFile file(opened_, range);
  ExpectError(Read(file, 0, 1).status(), absl::StatusCode::kFailedPrecondition, "it has 10 bytes");
}

TEST_F(WeightsFileTest, RefusesAFileOfAnotherTime) {
  FileRange range = Range();
  ++range.mtime_ns;
  WeightsFile file(opened_, range);
  ExpectError(Read(file, 0, 1).status(), absl::StatusCode::kFailedPrecondition, "has changed");
}

TEST_F(WeightsFileTest, NoticesAChangeBetweenTwoReads) {
  WeightsFile file(opened_, Range());
  ASSERT_TRUE(Read(file, 0, 1).ok());
  const struct timespec times[2] = {{0, UTIME_OMIT}, {1, 5}};
  ASSERT_EQ(::utimensat(AT_FDCWD, file_.c_str(), times, 0), 0);
  ExpectError(Read(file, 1, 1).status(), absl::StatusCode::kFailedPrecondition,
              "modified at 1000000005 ns");
}

TEST_F(WeightsFileTest, AFileThatIsCutShortGivesAnErrorAndNoSignal) {
  WeightsFile file(opened_, Range());
  ASSERT_TRUE(Read(file, 0, 1).ok());
  ASSERT_EQ(::truncate(file_.c_str(), 4), 0);
  ExpectError(Read(file, 1, 6).status(), absl::StatusCode::kFailedPrecondition, "it has 4 bytes");
}

TEST_F(WeightsFileTest, AFileThatIsReplacedIsReadToItsEnd) {
  WeightsFile file(opened_, Range());
  ASSERT_TRUE(Read(file, 0, 1).ok());
  WriteWholeFile(directory_ / "open/other", "abcdefghij");
  std::filesystem::rename(directory_ / "open/other", file_);
  EXPECT_EQ(*Read(file, 1, 6), "345678");
}

}  // namespace
}  // namespace tsenor::server
