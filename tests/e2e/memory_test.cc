// Memory of both programs stays bounded, whatever the size of the checkpoint.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "client/safetensors_header.h"
#include "tests/support/client_program.h"
#include "tests/support/server_program.h"
#include "tests/support/temporary_directory.h"

namespace tsenor {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

// What the client may take, however large the checkpoint is.
constexpr int64_t kClientBytes = 512 * kMiB;

// What the server may take besides a budget that its streams use up: program and libraries, one
// message of 16 MiB for each of four streams, and the 128 MiB of free heap that it keeps.
constexpr int64_t kOverheadBytes = 256 * kMiB;

// Sanitizers keep shadow memory and freed blocks: what they take is not the programs'.
constexpr bool kSanitized =
#ifdef __SANITIZE_ADDRESS__
    true;
#else
    false;
#endif

class Memory : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "sanitizers change how much memory the programs take";
  }

  // A sparse file: `count` bfloat16 matrices of 256 MiB, all zeros, that take no space on the disk.
  void WriteSparseCheckpoint(int count) {
    client::SafetensorsHeader header;
    for (int i = 0; i < count; ++i) {
      header.tensors.push_back(
          {.name = "w" + std::to_string(i), .dtype = "BF16", .shape = {4096, 32768}});
    }
    ASSERT_TRUE(client::LayOut(header).ok());
    const std::string start = client::SerializeSafetensorsHeader(header);
    WriteWholeFile(weights_, start);
    ASSERT_EQ(::truncate(weights_.c_str(), static_cast<off_t>(start.size() + header.data_bytes())),
              0);
  }

  // Masks the checkpoint and expects that neither program takes too much.
  void MaskWithinBounds(int64_t budget_bytes, int64_t server_bytes,
                        const std::vector<std::string>& more = {}) {
    // Not on a GPU: CUDA maps hundreds of megabytes of its own.
    testing::ServerProgram server({"--backend", "cpu", "--memory-budget",
                                   std::to_string(budget_bytes), "--weights-directory",
                                   directory_.path().string()});
    std::vector<std::string> arguments = {"mask", weights_, "--out", out_, "--pattern", "16:32"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramOutcome client = testing::RunClient(server.address(), arguments);
    ASSERT_EQ(client.exit_code, 0) << client.err;
    EXPECT_LT(client.peak_resident_bytes, kClientBytes);
    EXPECT_LT(server.program().PeakResidentBytes(), server_bytes);
    RecordProperty("client_MiB", std::to_string(client.peak_resident_bytes / kMiB));
    RecordProperty("server_MiB", std::to_string(server.program().PeakResidentBytes() / kMiB));
  }

  const TemporaryDirectory directory_;
  const std::string weights_ = directory_ / "model.safetensors";
  const std::string out_ = directory_ / "out.safetensors";
};

TEST_F(Memory, MaskingFourGigabytesStaysSmall) {
  WriteSparseCheckpoint(16);
  ASSERT_GT(std::filesystem::file_size(weights_), uint64_t{4} << 30);
  // The whole process stays under its budget.
  MaskWithinBounds(512 * kMiB, 512 * kMiB, {"--transfer", "stream"});
  // One bit for each weight of two bytes.
  EXPECT_GT(std::filesystem::file_size(out_), uint64_t{256} << 20);
}

TEST_F(Memory, MaskingFourGigabytesByReferenceStaysSmall) {
  WriteSparseCheckpoint(16);
  MaskWithinBounds(512 * kMiB, 512 * kMiB, {"--transfer", "reference"});
}

TEST_F(Memory, ApplyingMasksStaysSmall) {
  WriteSparseCheckpoint(3);
  MaskWithinBounds(128 * kMiB, 128 * kMiB + kOverheadBytes, {"--transfer", "stream", "--apply"});
  EXPECT_EQ(std::filesystem::file_size(out_), std::filesystem::file_size(weights_));
}

TEST_F(Memory, DenseMasksOfALargerFileStaySmall) {
  WriteSparseCheckpoint(5);
  MaskWithinBounds(128 * kMiB, 128 * kMiB + kOverheadBytes, {"--transfer", "stream", "--dense"});
  EXPECT_GT(std::filesystem::file_size(out_), uint64_t{5} * 128 << 20);
}

}  // namespace
}  // namespace tsenor
