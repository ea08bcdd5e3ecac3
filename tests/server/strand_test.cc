#include "server/strand.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace tsenor::server {
namespace {

TEST(Strand, RunsEventsPostedByEventsAfterThem) {
  Strand strand;
  std::vector<int> order;
  strand.Run([&] {
    strand.Run([&] { order.push_back(2); });
    order.push_back(1);
  });
  EXPECT_THAT(order, ::testing::ElementsAre(1, 2));
}

TEST(Strand, RunsOneAtATimeFromManyThreads) {
  Strand strand;
  int count = 0;  // no atomic: the thread sanitizer would tell
  int inside = 0;
  bool overlapped = false;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int k = 0; k < 5000; ++k) {
        strand.Run([&] {
          if (++inside != 1) overlapped = true;
          ++count;
          --inside;
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, 20000);
  EXPECT_FALSE(overlapped);
}

}  // namespace
}  // namespace tsenor::server
