#include "client/cli/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "client/cli/command.h"

namespace tsenor::cli {
namespace {

using Clock = std::chrono::steady_clock;

// Signals within this time of the first one are the same request.
constexpr std::chrono::seconds kSameRequest{1};

}  // namespace

InterruptWatcher::InterruptWatcher(std::stop_source stop) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGQUIT);
  struct sigaction hangup {};
  sigaction(SIGHUP, nullptr, &hangup);
  // A blocked signal is delivered to sigwait() even if it is ignored.
  if (hangup.sa_handler != SIG_IGN) sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  thread_ = std::jthread([signals, stop = std::move(stop)](const std::stop_token& done) mutable {
    // Ends the wait below, and nothing else, when there is nothing to watch any more.
    const std::stop_callback wake(done, [self = pthread_self()] { pthread_kill(self, SIGTERM); });
    Clock::time_point first;  // signal
    while (true) {
      int signal = 0;
      sigwait(&signals, &signal);
      if (done.stop_requested()) return;
      const Clock::time_point now = Clock::now();
      if (!stop.stop_requested()) {
        first = now;
        stop.request_stop();
      } else if (now - first > kSameRequest) {
        _exit(kInterrupted);
      }
    }
  });
}

}  // namespace tsenor::cli
