// Threads of control on one thread of the operating system, each with a stack of its own.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace tsenor::device_emulation {

// Runs `body` when it is resumed, until that pauses. Not thread-safe.
class Fiber {
 public:
  // `body` never returns.
  explicit Fiber(std::function<void()> body);
  ~Fiber();  // abandons what the body has on its stack
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Goes on with the body. REQUIRES: called from outside of any fiber.
  void Resume();
  // Back to where Resume() was called. REQUIRES: called by the body.
  void Pause();

 private:
  struct State;
  [[noreturn]] static void Enter();

  const std::unique_ptr<State> state_;
};

}  // namespace tsenor::device_emulation
