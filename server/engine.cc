#include "server/engine.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tsenor::server {

Engine::Engine(const Limits& limits, const BatchConfig& batch, std::vector<Solver*> solvers,
               const Clock& clock, Observer& observer)
    : limits_(limits),
      solvers_(std::move(solvers)),
      clock_(clock),
      observer_(observer),
      budget_(limits.memory_budget_bytes, observer),
      dispatcher_(solvers_, batch, clock, observer) {
  if (limits_.idle_timeout > Duration::zero()) {
    idle_watch_ = std::thread([this] { WatchIdle(); });
  }
}

Engine::~Engine() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ending_changed_.notify_all();
  if (idle_watch_.joinable()) idle_watch_.join();
}

absl::StatusOr<std::shared_ptr<Session>> Engine::Admit(SessionPeer& peer, Time deadline) {
  Sessions::iterator place;
  {
    std::lock_guard lock(mutex_);
    if (std::ssize(sessions_) >= limits_.max_streams) {
      observer_.OnRejected(RejectReason::kStreams);
      return absl::ResourceExhaustedError(absl::StrCat("the server solves ", sessions_.size(),
                                                       " tensors, of at most ", limits_.max_streams,
                                                       " (max-streams); retry later"));
    }
    place = sessions_.emplace(sessions_.end());
  }
  auto session = std::make_shared<Session>(
      SessionServices{limits_, clock_, budget_, dispatcher_, observer_}, peer, deadline);
  std::lock_guard lock(mutex_);
  *place = session;
  // The peer's pointer keeps the session and its place; pieces keep the session alone.
  return std::shared_ptr<Session>(session.get(), [this, place, session](Session*) mutable {
    {
      std::lock_guard guard(mutex_);
      sessions_.erase(place);
    }
    session.reset();
  });
}

void Engine::CheckIdle() {
  std::vector<std::shared_ptr<Session>> live;
  {
    std::lock_guard lock(mutex_);
    for (const std::weak_ptr<Session>& session : sessions_) {
      if (auto strong = session.lock()) live.push_back(std::move(strong));
    }
  }
  for (const std::shared_ptr<Session>& session : live) session->CheckIdle();
}

void Engine::WatchIdle() {
  // At least a millisecond: a tiny timeout must not keep a core busy.
  const Duration period =
      std::max<Duration>(limits_.idle_timeout / 4, std::chrono::milliseconds(1));
  std::unique_lock lock(mutex_);
  while (!ending_changed_.wait_for(lock, period, [this] { return ending_; })) {
    lock.unlock();
    CheckIdle();
    lock.lock();
  }
}

}  // namespace tsenor::server
