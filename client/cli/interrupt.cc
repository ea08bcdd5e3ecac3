#include "client/cli/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <ctime>
#include <utility>

#include "client/cli/command.h"

namespace tsenor::cli {

InterruptWatcher::InterruptWatcher(std::stop_source stop) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  thread_ = std::jthread([signals, stop = std::move(stop)](const std::stop_token& done) mutable {
    // Wakes now and then to see whether it is still needed.
    constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 50'000'000};
    while (!done.stop_requested()) {
      if (sigtimedwait(&signals, nullptr, &kPause) < 0) continue;
      if (stop.stop_requested()) _exit(kInterrupted);
      stop.request_stop();
    }
  });
}

}  // namespace tsenor::cli
