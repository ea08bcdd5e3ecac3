#include "tests/support/device_emulation/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace tsenor::device_emulation {
namespace {

constexpr size_t kStackBytes = 256 << 10;  // enough for kernels compiled with sanitizers

// A stack above a page that must not be touched.
std::byte* MapStack() {
  void* const memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, static_cast<size_t>(sysconf(_SC_PAGESIZE)), PROT_NONE);
  return static_cast<std::byte*>(memory);
}

// swapcontext() asks the kernel for the signal mask, each time.
#if defined(__x86_64__)
struct Context {
  void* stack_pointer = nullptr;
};

extern "C" void tsenor_switch_stack(void** from, void* to);
asm(R"(
.text
.type tsenor_switch_stack,@function
tsenor_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size tsenor_switch_stack,.-tsenor_switch_stack
)");

void Prepare(Context& context, std::byte* stack, void (*entry)()) {
  constexpr int kSavedRegisters = 6;
  auto* top = reinterpret_cast<void**>(stack + kStackBytes);
  *--top = nullptr;  // where `entry` would return to
  *--top = reinterpret_cast<void*>(entry);
  for (int k = 0; k < kSavedRegisters; ++k) *--top = nullptr;
  context.stack_pointer = top;
}

void Switch(Context& from, Context& to) {
  tsenor_switch_stack(&from.stack_pointer, to.stack_pointer);
}
#else
using Context = ucontext_t;

void Prepare(Context& context, std::byte* stack, void (*entry)()) {
  getcontext(&context);
  context.uc_stack = {.ss_sp = stack, .ss_flags = 0, .ss_size = kStackBytes};
  context.uc_link = nullptr;
  makecontext(&context, entry, 0);
}

void Switch(Context& from, Context& to) { swapcontext(&from, &to); }
#endif

}  // namespace

struct Fiber::State {
  std::function<void()> body;
  std::byte* stack = nullptr;
  Context inside, outside;
  // The address sanitizer follows stacks. The thread sanitizer need not know of fibers: to it, all
  // are the thread that they run on (as threads of their own, most of the time would go into their
  // clocks).
  void* fake_stack = nullptr;
  const void* outer_stack = nullptr;
  size_t outer_bytes = 0;

  void SwitchIn() {
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, stack, kStackBytes);
    Switch(outside, inside);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
    Switch(outside, inside);
#endif
  }

  void SwitchOut() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&fake_stack, outer_stack, outer_bytes);
    Switch(inside, outside);
    __sanitizer_finish_switch_fiber(fake_stack, &outer_stack, &outer_bytes);
#else
    Switch(inside, outside);
#endif
  }

  static thread_local State* entering;
};

thread_local Fiber::State* Fiber::State::entering = nullptr;

Fiber::Fiber(std::function<void()> body) : state_(std::make_unique<State>()) {
  state_->body = std::move(body);
  state_->stack = MapStack();
  Prepare(state_->inside, state_->stack, &Fiber::Enter);
}

Fiber::~Fiber() {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(state_->stack, kStackBytes);  // for the next one who maps it
#endif
  munmap(state_->stack, kStackBytes);
}

void Fiber::Enter() {
  State* const state = State::entering;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &state->outer_stack, &state->outer_bytes);
#endif
  state->body();
  std::abort();
}

void Fiber::Resume() {
  State::entering = state_.get();
  state_->SwitchIn();
}

void Fiber::Pause() { state_->SwitchOut(); }

}  // namespace tsenor::device_emulation
