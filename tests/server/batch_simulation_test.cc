// Queue and batch policy against scripted arrivals, in simulated time: no threads, no clock.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/batch_policy.h"
#include "server/request_queue.h"
#include "server/solve_cost.h"
#include "tests/server/piece_fixture.h"

namespace tsenor::server {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int64_t kPiece = 1 << 20;  // elements of a piece of a large tensor
constexpr int64_t kSmall = 64 * 64;
constexpr double kElementsPerSecond = 500e6;

Problem MakeProblem(Pattern pattern, DType dtype) {
  Problem problem;
  problem.pattern = pattern;
  problem.dtype = dtype;
  return problem;
}

const Problem kOneOfTwo = MakeProblem({1, 2}, DType::kFloat32);
const Problem kWide = MakeProblem({16, 32}, DType::kBFloat16);

// One device that solves one batch after the other, and two workers, so that one batch waits for
// the device while the other is solved.
class Simulation {
 public:
  using Done = std::function<void(const Piece&)>;

  explicit Simulation(BatchConfig config = {}) : config_(config), queue_(config.priority_ageing) {}

  Time now() const { return now_; }
  Duration BatchTime(int64_t elements) const {
    return microseconds(50) + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(
                                  static_cast<double>(elements) / kElementsPerSecond));
  }

  void At(Time time, std::function<void()> event) { events_.emplace(time, std::move(event)); }

  // Queues a piece now; `done` runs when it is solved.
  void Arrive(const std::string& client, const std::shared_ptr<PieceOwner>& stream,
              int64_t elements, Done done, int priority = 0, const Problem& problem = kOneOfTwo) {
    auto piece = std::make_unique<Piece>();
    piece->problem = problem;
    piece->rows = 1;
    piece->columns = elements;
    piece->completed = now_;
    piece->owner = stream;
    piece->client = client;
    piece->priority = priority;
    done_[piece.get()] = std::move(done);
    queue_.Push(std::move(piece));
  }

  void RunUntil(Time end) {
    Launch();
    while (!events_.empty() && events_.begin()->first <= end) {
      now_ = events_.begin()->first;
      const std::function<void()> event = std::move(events_.begin()->second);
      events_.erase(events_.begin());
      event();
      Launch();
    }
    now_ = end;
  }

  // Of every batch so far.
  const std::vector<size_t>& batch_pieces() const { return batch_pieces_; }

 private:
  void Launch() {
    while (true) {
      auto states = queue_.states(now_);
      const std::vector<const Problem*> problems = queue_.problems();
      for (size_t k = 0; k < states.size(); ++k) {
        states[k].seconds_per_element = cost_.seconds_per_element(*problems[k]);
      }
      const BatchDecision decision = DecideBatch(states, idle_workers_, now_, config_);
      if (decision.action == BatchDecision::kWait) At(decision.until, [] {});
      if (decision.action != BatchDecision::kLaunch) return;
      const Problem problem = *queue_.problems()[decision.queue];
      auto taken = queue_.Take(decision.queue, decision.max_elements, now_);
      batch_pieces_.push_back(taken.pieces.size());
      int64_t elements = 0;
      for (const auto& piece : taken.pieces) elements += piece->elements();
      device_free_ = std::max(device_free_, now_) + BatchTime(elements);
      cost_.Record(problem, elements, Seconds(BatchTime(elements)));
      --idle_workers_;
      auto batch = std::make_shared<RequestQueue::Taken>(std::move(taken));
      At(device_free_, [this, batch] { Finish(*batch); });
    }
  }

  void Finish(RequestQueue::Taken& batch) {
    ++idle_workers_;
    for (const auto& piece : batch.pieces) {
      const auto done = done_.extract(piece.get());
      if (done.mapped()) done.mapped()(*piece);
    }
  }

  const BatchConfig config_;
  RequestQueue queue_;
  SolveCost cost_;
  Time now_ = Time(std::chrono::hours(1));
  int idle_workers_ = 2;
  Time device_free_ = now_;
  std::multimap<Time, std::function<void()>> events_;
  std::map<const Piece*, Done> done_;
  std::vector<size_t> batch_pieces_;
};

// A client that sends large tensors as fast as it may: each of its streams has eight pieces queued
// or being solved, always.
class BulkClient {
 public:
  BulkClient(Simulation& simulation, std::string name, int streams, Problem problem,
             int priority = 0, int64_t piece_elements = kPiece)
      : simulation_(simulation),
        name_(std::move(name)),
        problem_(problem),
        priority_(priority),
        piece_elements_(piece_elements) {
    for (int k = 0; k < streams; ++k) {
      const auto stream = std::make_shared<FakeOwner>();
      for (int piece = 0; piece < 8; ++piece) Send(stream);
    }
  }

  int64_t solved_bytes() const { return solved_bytes_; }

 private:
  void Send(const std::shared_ptr<FakeOwner>& stream) {
    const auto done = [this, stream](const Piece& piece) {
      solved_bytes_ += piece.weight_bytes();
      Send(stream);
    };
    simulation_.Arrive(name_, stream, piece_elements_, done, priority_, problem_);
  }

  Simulation& simulation_;
  const std::string name_;
  const Problem problem_;
  const int priority_;
  const int64_t piece_elements_;
  int64_t solved_bytes_ = 0;
};

// Sends small tensors, one every 7 ms, each on a stream of its own.
class SmallClient {
 public:
  SmallClient(Simulation& simulation, std::string name, int priority = 0)
      : simulation_(simulation), name_(std::move(name)), priority_(priority) {
    Send();
  }

  size_t answered() const { return waits_.size(); }
  Duration longest_wait() const { return *std::max_element(waits_.begin(), waits_.end()); }

 private:
  void Send() {
    const Time sent = simulation_.now();
    const auto stream = std::make_shared<FakeOwner>();
    simulation_.Arrive(
        name_, stream, kSmall,
        [this, sent](const Piece&) { waits_.push_back(simulation_.now() - sent); }, priority_);
    simulation_.At(sent + milliseconds(7), [this] { Send(); });
  }

  Simulation& simulation_;
  const std::string name_;
  const int priority_;
  std::vector<Duration> waits_;
};

void ExpectEqualShares(int64_t a, int64_t b) {
  EXPECT_GT(std::min(a, b), 0);
  EXPECT_NEAR(static_cast<double>(a) / static_cast<double>(b), 1, 0.1);
}

TEST(BatchSimulation, ClientsHaveEqualSharesHoweverManyStreamsTheyOpen) {
  Simulation simulation;
  BulkClient many(simulation, "many", 20, kOneOfTwo);
  BulkClient one(simulation, "one", 1, kOneOfTwo);
  simulation.RunUntil(simulation.now() + seconds(10));
  ExpectEqualShares(many.solved_bytes(), one.solved_bytes());
}

TEST(BatchSimulation, ClientsHaveEqualSharesBetweenProblems) {
  // Batches of bfloat16 have half the bytes of those of float32.
  Simulation simulation;
  BulkClient many(simulation, "many", 5, kOneOfTwo);
  BulkClient one(simulation, "one", 1, kWide);
  simulation.RunUntil(simulation.now() + seconds(10));
  ExpectEqualShares(many.solved_bytes(), one.solved_bytes());
}

TEST(BatchSimulation, ClientsHaveEqualSharesWithPiecesOfAnySize) {
  Simulation simulation({.max_batch_elements = 8 << 20});
  BulkClient large(simulation, "large", 2, kOneOfTwo, 0, 3 * kPiece);
  BulkClient small(simulation, "small", 3, kOneOfTwo, 0, kPiece / 4);
  BulkClient other(simulation, "other", 1, kOneOfTwo);
  simulation.RunUntil(simulation.now() + seconds(10));
  ExpectEqualShares(large.solved_bytes(), other.solved_bytes());
  ExpectEqualShares(small.solved_bytes(), other.solved_bytes());
}

TEST(BatchSimulation, ASmallTensorBesideLargeOnesWaitsForNoneThatIsQueued) {
  Simulation simulation({.max_batch_elements = kPiece});
  BulkClient bulk(simulation, "bulk", 30, kOneOfTwo);
  SmallClient small(simulation, "small");
  simulation.RunUntil(simulation.now() + seconds(10));
  EXPECT_GT(small.answered(), 1000u);
  // With pieces as large as batches: the two in flight, and the one that the small tensor is in.
  EXPECT_LE(small.longest_wait(), 3 * simulation.BatchTime(kPiece));
}

// A batch that held all that both have in flight would give each what he asks for, and no share.
TEST(BatchSimulation, WithBoundedTimeClientsWithLittleInFlightHaveEqualShares) {
  Simulation simulation({.max_batch_elements = 64 * kPiece, .max_batch_time = milliseconds(4)});
  BulkClient large(simulation, "large", 2, kOneOfTwo, 0, 2 * kPiece);
  BulkClient small(simulation, "small", 8, kOneOfTwo, 0, kPiece / 8);
  simulation.RunUntil(simulation.now() + seconds(10));
  ExpectEqualShares(large.solved_bytes(), small.solved_bytes());
}

TEST(BatchSimulation, WithBoundedTimeASmallTensorWaitsForTwoShortBatches) {
  Simulation simulation({.max_batch_elements = 8 * kPiece, .max_batch_time = milliseconds(2)});
  BulkClient bulk(simulation, "bulk", 30, kOneOfTwo, 0, kPiece / 4);
  SmallClient small(simulation, "small");
  simulation.RunUntil(simulation.now() + seconds(10));
  EXPECT_GT(small.answered(), 1000u);
  EXPECT_LE(small.longest_wait(), milliseconds(3 * 2 + 1));
}

TEST(BatchSimulation, ClientsThatComeAndGoStarveNobody) {
  // A new client every two milliseconds, each with a little more than the device solves in that
  // time.
  Simulation simulation;
  BulkClient old(simulation, "old", 1, kOneOfTwo);
  int clients = 0;
  std::function<void()> come = [&] {
    simulation.Arrive("new" + std::to_string(++clients), std::make_shared<FakeOwner>(), kPiece,
                      nullptr);
    simulation.At(simulation.now() + milliseconds(2), come);
  };
  come();
  for (int second = 0; second < 5; ++second) {
    const int64_t before = old.solved_bytes();
    simulation.RunUntil(simulation.now() + seconds(1));
    EXPECT_GT(old.solved_bytes(), before);
  }
}

TEST(BatchSimulation, HigherPrioritiesGoFirst) {
  Simulation simulation({.max_batch_elements = kPiece, .priority_ageing = seconds(100)});
  BulkClient bulk(simulation, "bulk", 4, kOneOfTwo);
  BulkClient background(simulation, "background", 4, kOneOfTwo, -1);
  SmallClient urgent(simulation, "bulk", 2);
  simulation.RunUntil(simulation.now() + seconds(10));
  EXPECT_GT(bulk.solved_bytes(), 0);
  EXPECT_EQ(background.solved_bytes(), 0);  // has not waited long enough
  EXPECT_LE(urgent.longest_wait(), 3 * simulation.BatchTime(kPiece));
}

TEST(BatchSimulation, NothingStarvesBecauseWaitingWorkAges) {
  Simulation simulation({.max_batch_elements = kPiece, .priority_ageing = seconds(1)});
  BulkClient urgent(simulation, "urgent", 4, kOneOfTwo, kMaxPriority);
  BulkClient a(simulation, "a", 8, kOneOfTwo, kMinPriority);
  BulkClient b(simulation, "b", 1, kWide, kMinPriority);
  simulation.RunUntil(simulation.now() + milliseconds(7900));
  EXPECT_EQ(a.solved_bytes() + b.solved_bytes(), 0);
  simulation.RunUntil(simulation.now() + seconds(120));
  // What the lowest have in line has its turn every eight seconds or so.
  EXPECT_GE(a.solved_bytes(), 14 * 8 * 8 * kPiece * 4);
  EXPECT_GE(b.solved_bytes(), 14 * 8 * kPiece * 2);
  EXPECT_GT(urgent.solved_bytes(), 5 * (a.solved_bytes() + b.solved_bytes()));
}

TEST(BatchSimulation, LaunchesWhenIdleAndFillsWhileBusy) {
  Simulation simulation;
  const auto stream = std::make_shared<FakeOwner>();
  const Time start = simulation.now();
  Time first;
  simulation.Arrive("a", stream, kPiece, [&](const Piece&) { first = simulation.now(); });
  simulation.Arrive("a", stream, kPiece, nullptr, 0, kWide);  // both workers are busy now
  for (int k = 1; k <= 60; ++k) {
    simulation.At(start + microseconds(10 * k), [&, k] {
      simulation.Arrive("client" + std::to_string(k), std::make_shared<FakeOwner>(), kSmall,
                        nullptr);
    });
  }
  simulation.RunUntil(start + seconds(1));
  EXPECT_EQ(first, start + simulation.BatchTime(kPiece));
  EXPECT_EQ(simulation.batch_pieces(), (std::vector<size_t>{1, 1, 60}));
}

TEST(BatchSimulation, WithADelayAnIdleDeviceWaitsForABatchToFill) {
  Simulation simulation({.max_batch_elements = kPiece, .max_batch_delay = milliseconds(1)});
  const Time start = simulation.now();
  for (int k = 0; k < 5; ++k) {
    simulation.At(start + microseconds(100 * k),
                  [&] { simulation.Arrive("a", std::make_shared<FakeOwner>(), kSmall, nullptr); });
  }
  simulation.RunUntil(start + seconds(1));
  EXPECT_EQ(simulation.batch_pieces(), (std::vector<size_t>{5}));
}

}  // namespace
}  // namespace tsenor::server
