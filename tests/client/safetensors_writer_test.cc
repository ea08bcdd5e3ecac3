#include "client/safetensors_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstring>
#include <optional>

#include "client/safetensors.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/temporary_directory.h"

namespace tsenor::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

SafetensorsHeader OneTensor(uint64_t bytes) {
  SafetensorsHeader header;
  header.tensors = {{.name = "w", .dtype = "U8", .shape = {bytes}}};
  if (!LayOut(header).ok()) std::abort();
  return header;
}

// Files of this process may not grow beyond `bytes` while this object lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  sighandler_t handler_;
};

TEST(SafetensorsWriter, AppearsOnCommitOnly) {
  const TemporaryDirectory directory;
  const std::string path = directory / "out.safetensors";
  const SafetensorsHeader header = OneTensor(4);
  auto writer = SafetensorsWriter::Create(path, header);
  ASSERT_TRUE(writer.ok()) << writer.status();
  const std::string text = "34";
  ASSERT_TRUE(writer->Write(header.tensors[0], 2, std::as_bytes(std::span(text))).ok());
  EXPECT_FALSE(std::filesystem::exists(path));
  ASSERT_TRUE(writer->Commit().ok());
  EXPECT_THAT(directory.Names(), ElementsAre("out.safetensors"));
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto data = file->Data(file->header().tensors[0]);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(data.data()), 4), std::string("\0\0"
                                                                                    "34",
                                                                                    4));
}

TEST(SafetensorsWriter, LeavesNothingWithoutCommit) {
  const TemporaryDirectory directory;
  {
    const auto writer = SafetensorsWriter::Create(directory / "out.safetensors", OneTensor(4));
    ASSERT_TRUE(writer.ok());
    EXPECT_EQ(directory.Names().size(), 1u);  // the temporary file
  }
  EXPECT_THAT(directory.Names(), IsEmpty());
}

TEST(SafetensorsWriter, ReplacesOnlyAtCommit) {
  const TemporaryDirectory directory;
  const std::string path = directory / "out.safetensors";
  WriteWholeFile(path, "before");
  {
    const auto given_up = SafetensorsWriter::Create(path, OneTensor(4));
    ASSERT_TRUE(given_up.ok());
  }
  EXPECT_EQ(ReadWholeFile(path), "before");
  auto writer = SafetensorsWriter::Create(path, OneTensor(4));
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->Commit().ok());
  EXPECT_TRUE(SafetensorsFile::Open(path).ok());
}

TEST(SafetensorsWriter, MissingDirectoryIsNamed) {
  const auto writer = SafetensorsWriter::Create("no/such/out.safetensors", OneTensor(4));
  EXPECT_EQ(writer.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(writer.status().message()), HasSubstr("no/such/out.safetensors"));
}

TEST(SafetensorsWriter, FullQuotaIsFoundBeforeAnyWork) {
  const TemporaryDirectory directory;
  absl::Status status;
  {
    const FileSizeLimit limit(1 << 20);
    status = SafetensorsWriter::Create(directory / "out.safetensors", OneTensor(2 << 20)).status();
  }
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("out.safetensors"));
  EXPECT_THAT(directory.Names(), IsEmpty());
}

TEST(SafetensorsWriter, FullDiskIsFoundBeforeAnyWork) {
  const TemporaryDirectory directory;
  if (::mount("tmpfs", directory.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "mounting a small file system needs root";
  }
  const absl::Status status =
      SafetensorsWriter::Create(directory / "out.safetensors", OneTensor(2 << 20)).status();
  const auto names = directory.Names();
  ::umount(directory.path().c_str());
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("No space left"));
  EXPECT_THAT(names, IsEmpty());
}

TEST(AtomicFile, FailedWriteLeavesNothing) {
  const TemporaryDirectory directory;
  {
    const auto file = AtomicFile::Create(directory / "out", 0);
    ASSERT_TRUE(file.ok());
    const FileSizeLimit limit(4096);
    const std::vector<std::byte> bytes(10'000);
    EXPECT_FALSE(file->Write(0, bytes).ok());
  }
  EXPECT_THAT(directory.Names(), IsEmpty());
}

TEST(AtomicFile, FailedRenameLeavesNothing) {
  const TemporaryDirectory directory;
  auto file = AtomicFile::Create(directory / "out", 4);
  ASSERT_TRUE(file.ok());
  std::filesystem::create_directories(directory.path() / "out" / "inside");
  EXPECT_FALSE(file->Commit().ok());
  EXPECT_THAT(directory.Names(), ElementsAre("out"));
}

TEST(AtomicFile, RefusesWhatIsNoRegularFile) {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "directory");
  ASSERT_EQ(::mkfifo((directory / "pipe").c_str(), 0600), 0);
  for (const std::string& path :
       {directory / "directory", directory / "pipe", std::string("/dev/null")}) {
    const absl::Status status = AtomicFile::Create(path, 0).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(path + ": exists and is not a regular file"));
  }
  for (const std::string& path : {std::string(), directory / "directory/", directory / "new/"}) {
    const absl::Status status = AtomicFile::Create(path, 0).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("names no file"));
  }
  EXPECT_THAT(directory.Names(), ElementsAre("directory", "pipe"));
}

TEST(AtomicFile, KeepsThePermissionsOfTheFileItReplaces) {
  const TemporaryDirectory directory;
  const std::string path = directory / "out";
  WriteWholeFile(path, "before");
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  ASSERT_TRUE(WriteFileAtomically(path, {}).ok());
  EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0640));
  EXPECT_EQ(ReadWholeFile(path), "");
}

TEST(AtomicFile, FollowsSymbolicLinks) {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "inside");
  std::filesystem::create_symlink("inside/middle", directory / "link");
  std::filesystem::create_symlink("file", directory / "inside/middle");
  const std::string text = "text";
  for (int i = 0; i < 2; ++i) {  // the file is new, then old
    ASSERT_TRUE(WriteFileAtomically(directory / "link", std::as_bytes(std::span(text))).ok());
    EXPECT_TRUE(std::filesystem::is_symlink(directory / "link"));
    EXPECT_EQ(ReadWholeFile(directory / "inside/file"), text);
  }
  std::filesystem::create_symlink("loop", directory / "loop");
  EXPECT_THAT(std::string(AtomicFile::Create(directory / "loop", 0).status().message()),
              HasSubstr("Too many levels of symbolic links"));
}

TEST(AtomicFile, TakesTheLongestNameAndRefusesALongerOneAtOnce) {
  const TemporaryDirectory directory;
  const std::string longest(255, 'x');
  EXPECT_TRUE(WriteFileAtomically(directory / longest, {}).ok());
  EXPECT_THAT(directory.Names(), ElementsAre(longest));
  EXPECT_THAT(std::string(AtomicFile::Create(directory / (longest + "x"), 0).status().message()),
              HasSubstr("File name too long"));
}

}  // namespace
}  // namespace tsenor::client
