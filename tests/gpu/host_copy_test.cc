// Copies in parts, on threads: needs no GPU.
#include "solver/cuda/host_copy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace tsenor::cuda {
namespace {

std::vector<uint8_t> Pattern(size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t k = 0; k < size; ++k) bytes[k] = static_cast<uint8_t>(k * 2654435761u >> 13);
  return bytes;
}

// One copy of `rows` rows of `bytes`, with gaps after them; nothing else changes.
void Judge(int64_t bytes, int64_t rows, int64_t from_gap, int64_t to_gap, int helpers) {
  SCOPED_TRACE(testing::Message() << rows << " rows of " << bytes << ", gaps " << from_gap << ", "
                                  << to_gap << ", " << helpers << " helpers");
  const auto from = Pattern(rows * (bytes + from_gap));
  std::vector<uint8_t> to(rows * (bytes + to_gap), 0xcd);
  cpu::ThreadPool pool(helpers);
  CopyRows({{from.data(), bytes + from_gap, to.data(), bytes + to_gap, bytes, rows}}, pool);
  for (int64_t r = 0; r < rows; ++r) {
    const auto* const row = to.data() + r * (bytes + to_gap);
    ASSERT_TRUE(std::equal(row, row + bytes, from.data() + r * (bytes + from_gap))) << r;
    ASSERT_EQ(std::count(row + bytes, row + bytes + to_gap, 0xcd), to_gap) << r;
  }
}

TEST(CopyRowsTest, CopiesEveryByteAndNoOther) {
  for (const int helpers : {0, 3}) {
    Judge(1, 1, 0, 0, helpers);
    Judge(3'000'001, 1, 0, 0, helpers);
    Judge(1000, 3000, 0, 0, helpers);
    Judge(1000, 3000, 24, 0, helpers);
    Judge(1000, 3000, 0, 3, helpers);
    Judge(1'000'003, 3, 5, 7, helpers);
  }
}

TEST(CopyRowsTest, CopiesManySmallArrays) {
  const auto from = Pattern(3000 * 700);
  std::vector<uint8_t> to(from.size());
  std::vector<RowCopy> copies;
  for (int64_t k = 0; k < 3000; ++k) {
    copies.push_back({from.data() + k * 700, 700, to.data() + k * 700, 700, 700, 1});
  }
  cpu::ThreadPool pool(3);
  CopyRows(copies, pool);
  EXPECT_EQ(to, from);
  CopyRows({}, pool);
}

TEST(IsPinnedTest, MemoryOfTheHeapIsNot) {
  const std::vector<uint8_t> bytes(1000);
  EXPECT_FALSE(IsPinned(bytes.data(), 1000));
}

}  // namespace
}  // namespace tsenor::cuda
