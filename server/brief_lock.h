// A lock for what is never held for long.
#pragma once

#include <mutex>

namespace tsenor::server {

// Locks `mutex`, at first awake: whoever holds it lets go of it, mostly, before this thread could
// fall asleep and be woken again, which would cost both of them microseconds. (std::mutex sleeps at
// once.)
inline std::unique_lock<std::mutex> LockBriefly(std::mutex& mutex) {
  constexpr int kTries = 100;
  std::unique_lock lock(mutex, std::try_to_lock);
  for (int k = 0; k < kTries && !lock.owns_lock(); ++k) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
    lock.try_lock();
  }
  if (!lock.owns_lock()) lock.lock();
  return lock;
}

}  // namespace tsenor::server
