// CTAs on a host: their threads as fibers that meet at warp and CTA collectives.
//
// A thread runs until it comes to a collective, and goes on once all threads that the collective
// names have come. What a GPU leaves undefined is an error here: lanes of a mask that meet at
// different collectives, a barrier that some never reach, a value from a lane outside of the mask.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3() = default;
  constexpr dim3(unsigned width, unsigned height = 1, unsigned depth = 1)
      : x(width), y(height), z(depth) {}
};

// Of the thread that runs.
inline constinit uint3 threadIdx = {}, blockIdx = {};
inline constinit dim3 blockDim, gridDim;

namespace tsenor::device_emulation {

// What a GPU would not have survived, or would have survived by luck.
class LockstepError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// In which order the threads of a CTA run between two collectives. What a correct kernel computes
// does not depend on it.
enum class ThreadOrder { kForward, kBackward, kShuffled };
void SetThreadOrder(ThreadOrder order);

// Runs `thread` as every thread of a grid, one CTA after another, with `shared_bytes` of dynamic
// shared memory, all bits of which are set at first. One grid runs at a time. Throws LockstepError;
// what threads then own is lost.
void RunGrid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread);

// How often lanes of a warp have met at collective `name` since the process began: what it costs a
// kernel, in the warp's instructions. (A search of the finish ends each of its steps with a
// "__reduce_min_sync".)
int64_t MeetingsOf(const std::string& name);

// Dynamic shared memory of the CTA that runs.
inline constinit unsigned char* dynamic_shared = nullptr;

// Values of a warp's lanes at a collective, those of the lanes in the mask.
struct WarpMeeting {
  uint32_t mask;
  const void* const* in;  // [lane]
  void* const* out;       // [lane]
};
using CombineWarp = void (*)(const WarpMeeting& meeting);

// The running thread comes to collective `name` of the lanes of `mask`, with its value at `in`.
// Once all of them have come, `combine` writes what each of them gets to its `out`.
void MeetWarp(const char* name, uint32_t mask, const void* in, void* out, CombineWarp combine);

// The running thread comes to barrier `number` of its CTA; returns when `threads` threads have come
// (0: all that still run): how many of them came with `value`.
struct Arrivals {
  int threads, with_value;
};
Arrivals MeetCta(const char* name, int number, int threads, bool value);

// Ends the grid with an error. The thread does not go on, so it must own no memory then.
[[noreturn]] void Fail(const char* message);

// MeetWarp() with types. combine(lane, in) is what a lane gets, in(other) being the value of
// another lane, which must be in the mask.
template <typename Out, typename In, typename Combine>
Out Meet(const char* name, uint32_t mask, const In& in, Combine) {
  static_assert(std::is_empty_v<Combine>);
  Out out;
  MeetWarp(name, mask, &in, &out, [](const WarpMeeting& meeting) {
    const auto value = [&](int lane) -> const In& {
      if (!(meeting.mask >> lane & 1)) Fail("a value from a lane that is not in the mask");
      return *static_cast<const In*>(meeting.in[lane]);
    };
    for (int lane = 0; lane < 32; ++lane) {
      if (meeting.mask >> lane & 1) {
        *static_cast<Out*>(meeting.out[lane]) = Combine()(lane, value);
      }
    }
  });
  return out;
}

}  // namespace tsenor::device_emulation
