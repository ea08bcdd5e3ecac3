#include "tests/support/device_emulation/lockstep.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <random>
#include <unordered_map>
#include <vector>

#include "tests/support/device_emulation/fiber.h"

namespace tsenor::device_emulation {
namespace {

constexpr int kLanes = 32, kBarriers = 16;
constexpr unsigned char kPoison = 0xff;  // NaN, -1

bool SameName(const char* x, const char* y) { return x == y || std::strcmp(x, y) == 0; }

enum class Status { kRuns, kWaitsForWarp, kWaitsForCta, kEnded };

// A thread, and the collective that it waits at.
struct Thread {
  Status status = Status::kEnded;
  uint3 place = {};
  const char* name = "";
  // kWaitsForWarp.
  uint32_t mask = 0;
  const void* in = nullptr;
  void* out = nullptr;
  CombineWarp combine = nullptr;
  // kWaitsForCta.
  int barrier = 0;
  Arrivals arrivals = {};
};

// Its lanes, as bits.
struct Warp {
  uint32_t running = 0;  // have not ended
  uint32_t waiting = 0;  // at a collective of the warp
};

// Those who have come to a barrier of the CTA.
struct Barrier {
  const char* name = "";
  int wanted = 0;  // 0: all
  int arrived = 0, with_value = 0;
};

class Cta {
 public:
  static Cta& The() {
    static Cta cta;
    return cta;
  }

  void Run(const std::function<void()>& body, dim3 block) {
    Prepare(body, block);
    while (left_ > 0) {
      bool any = false;
      for (const int k : order_) {
        if (thread_[k].status != Status::kRuns) continue;
        any = true;
        running_ = k;
        threadIdx = thread_[k].place;
        in_thread_ = true;
        fiber_[k]->Resume();
        in_thread_ = false;
        if (!error_.empty()) Throw();
        if (thread_[k].status != Status::kEnded) continue;
        --left_;
        CompleteWithout(k);
        if (!error_.empty()) Throw();
      }
      if (!any && left_ > 0) {
        error_ = "threads wait for others that do not come";
        Throw();
      }
    }
  }

  void MeetWarp(const char* name, uint32_t mask, const void* in, void* out, CombineWarp combine) {
    Thread& own = thread_[running_];
    own.status = Status::kWaitsForWarp;
    own.name = name;
    own.mask = mask;
    own.in = in;
    own.out = out;
    own.combine = combine;
    const int lane = running_ % kLanes;
    if (!(mask >> lane & 1)) Fail("the thread's own lane is not in the mask");
    warp_[running_ / kLanes].waiting |= 1u << lane;
    TryWarp(running_);
    if (own.status != Status::kRuns) Pause();
  }

  Arrivals MeetCta(const char* name, int number, int threads, bool value) {
    if (number < 0 || number >= kBarriers) Fail("barriers are numbered 0 to 15");
    Thread& own = thread_[running_];
    own.status = Status::kWaitsForCta;
    own.name = name;
    own.barrier = number;
    Barrier& barrier = barrier_[number];
    if (barrier.arrived == 0) {
      barrier = {.name = name, .wanted = threads};
    } else if (barrier.wanted != threads || !SameName(barrier.name, name)) {
      Error("threads are at different collectives of one barrier");
    }
    ++barrier.arrived;
    barrier.with_value += value;
    TryBarrier(number);
    if (own.status != Status::kRuns) Pause();
    return own.arrivals;
  }

  // In a thread: it does not go on.
  void Error(const std::string& message) {
    if (error_.empty()) error_ = message;
  }
  [[noreturn]] void EndWithError() {
    while (in_thread_) Pause();
    Throw();
  }

  ThreadOrder thread_order = ThreadOrder::kForward;
  std::unordered_map<const char*, int64_t> meetings;

 private:
  void Prepare(const std::function<void()>& body, dim3 block) {
    body_ = &body;
    threads_ = static_cast<int>(block.x * block.y * block.z);
    left_ = threads_;
    thread_.assign(threads_, {});
    barrier_.fill({});
    warp_.assign((threads_ + kLanes - 1) / kLanes, {});
    while (static_cast<int>(fiber_.size()) < threads_) {
      fiber_.push_back(std::make_unique<Fiber>([this] { RunThreads(); }));
    }
    order_.resize(threads_);
    std::iota(order_.begin(), order_.end(), 0);
    if (thread_order == ThreadOrder::kBackward) std::reverse(order_.begin(), order_.end());
    if (thread_order == ThreadOrder::kShuffled) {
      std::shuffle(order_.begin(), order_.end(), random_);
    }
    for (int k = 0; k < threads_; ++k) {
      const unsigned number = k;
      thread_[k].status = Status::kRuns;
      warp_[k / kLanes].running |= 1u << k % kLanes;
      thread_[k].place = {number % block.x, number / block.x % block.y,
                          number / (block.x * block.y)};
    }
  }

  // A fiber's body: one thread after another.
  [[noreturn]] void RunThreads() {
    while (true) {
      (*body_)();
      thread_[running_].status = Status::kEnded;
      Pause();
    }
  }

  void Pause() { fiber_[running_]->Pause(); }

  [[noreturn]] void Throw() {
    in_thread_ = false;
    std::string message = error_ + " (thread " + std::to_string(running_) + ")";
    for (int k = 0; k < threads_; ++k) {
      const Thread& thread = thread_[k];
      if (thread.status == Status::kRuns || thread.status == Status::kEnded) continue;
      char mask[16];
      std::snprintf(mask, sizeof(mask), "%08x", thread.mask);
      message +=
          "\n  thread " + std::to_string(k) + " at " + thread.name +
          (thread.status == Status::kWaitsForWarp ? std::string(", mask ") + mask
                                                  : ", barrier " + std::to_string(thread.barrier));
    }
    error_.clear();
    fiber_.clear();  // they are somewhere in the middle
    throw LockstepError(message);
  }

  // Completes the warp collective that thread `k` waits at, if all have come.
  void TryWarp(int k) {
    const Thread& own = thread_[k];
    const int first = k / kLanes * kLanes, lane = k % kLanes;
    Warp& warp = warp_[k / kLanes];
    const uint32_t present = own.mask & warp.running;
    // Some are on their way, or wait for something else: then none will come in the end.
    if ((present & ~warp.waiting) != 0) return;
    for (int other = 0; other < kLanes; ++other) {
      if (!(present >> other & 1)) continue;
      const Thread& thread = thread_[first + other];
      if (thread.mask != own.mask || thread.combine != own.combine ||
          !SameName(thread.name, own.name)) {
        if (thread.mask >> lane & 1) Error("lanes of one mask are at different collectives");
        return;
      }
    }
    const void* in[kLanes];
    void* out[kLanes];
    for (int other = 0; other < kLanes; ++other) {
      if (!(present >> other & 1)) continue;
      in[other] = thread_[first + other].in;
      out[other] = thread_[first + other].out;
      thread_[first + other].status = Status::kRuns;
    }
    warp.waiting &= ~present;
    ++meetings[own.name];
    own.combine({present, in, out});
  }

  void TryBarrier(int number) {
    Barrier& barrier = barrier_[number];
    const int wanted = barrier.wanted == 0 ? left_ : barrier.wanted;
    if (barrier.arrived == 0 || barrier.arrived < wanted) return;
    for (Thread& thread : thread_) {
      if (thread.status != Status::kWaitsForCta || thread.barrier != number) continue;
      thread.arrivals = {barrier.arrived, barrier.with_value};
      thread.status = Status::kRuns;
    }
    barrier = {};
  }

  // Thread `k` has ended: others may wait for it no more.
  void CompleteWithout(int k) {
    Warp& warp = warp_[k / kLanes];
    warp.running &= ~(1u << k % kLanes);
    for (int lane = 0; lane < kLanes; ++lane) {
      if (warp.waiting >> lane & 1) TryWarp(k / kLanes * kLanes + lane);
    }
    for (int number = 0; number < kBarriers; ++number) TryBarrier(number);
  }

  const std::function<void()>* body_ = nullptr;
  int threads_ = 0, left_ = 0;  // that have not ended
  int running_ = 0;
  bool in_thread_ = false;  // or between threads
  std::vector<Thread> thread_;
  std::vector<Warp> warp_;
  std::array<Barrier, kBarriers> barrier_;
  std::vector<std::unique_ptr<Fiber>> fiber_;
  std::vector<int> order_;
  std::mt19937 random_;
  std::string error_;
};

}  // namespace

void SetThreadOrder(ThreadOrder order) { Cta::The().thread_order = order; }

void RunGrid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  // As aligned as on a device, and not a byte longer than asked for.
  struct Free {
    void operator()(unsigned char* memory) const { std::free(memory); }
  };
  constexpr size_t kAlignment = 256;
  void* place = nullptr;
  if (posix_memalign(&place, kAlignment, std::max<size_t>(shared_bytes, 1)) != 0) {
    throw std::bad_alloc();
  }
  const std::unique_ptr<unsigned char, Free> memory(static_cast<unsigned char*>(place));
  blockDim = block;
  gridDim = grid;
  for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z) {
    for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y) {
      for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) {
        std::memset(memory.get(), kPoison, shared_bytes);
        dynamic_shared = memory.get();
        Cta::The().Run(thread, block);
      }
    }
  }
  dynamic_shared = nullptr;
}

int64_t MeetingsOf(const std::string& name) {
  int64_t meetings = 0;  // a name may lie in more than one place
  for (const auto& [other, count] : Cta::The().meetings) meetings += name == other ? count : 0;
  return meetings;
}

void MeetWarp(const char* name, uint32_t mask, const void* in, void* out, CombineWarp combine) {
  Cta::The().MeetWarp(name, mask, in, out, combine);
}

Arrivals MeetCta(const char* name, int number, int threads, bool value) {
  return Cta::The().MeetCta(name, number, threads, value);
}

void Fail(const char* message) {
  Cta::The().Error(message);
  Cta::The().EndWithError();
}

}  // namespace tsenor::device_emulation
