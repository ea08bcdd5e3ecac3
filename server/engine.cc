#include "server/engine.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/brief_lock.h"
#include "server/free_memory.h"

namespace tsenor::server {
namespace {

// How long no session was held when freed memory goes back to the kernel: long enough that it stays
// between the tensors of one client.
constexpr Duration kQuietTime = std::chrono::seconds(1);

absl::Status DrainingError() {
  return absl::UnavailableError("the server is draining; retry, on another server");
}

}  // namespace

Engine::Engine(const Limits& limits, const BatchConfig& batch, std::vector<Solver*> solvers,
               const Clock& clock, Observer& observer, const WeightsDirectory* weights_directory,
               std::string fallback_reason)
    : limits_(limits),
      solvers_(std::move(solvers)),
      fallback_reason_(std::move(fallback_reason)),
      clock_(clock),
      observer_(observer),
      weights_directory_(weights_directory),
      budget_(limits.memory_budget_bytes, observer, clock, batch.priority_ageing),
      norms_budget_(limits.norms_budget_bytes(), unobserved_, clock, batch.priority_ageing),
      reading_budget_(limits.reading_budget_bytes(), unobserved_, clock, batch.priority_ageing),
      dispatcher_(solvers_, batch, clock, observer),
      watch_([this] { Watch(); }) {
  if (weights_directory_ == nullptr) return;
  reader_.emplace(observer_);
  files_.emplace(FileServices{*weights_directory_, reading_budget_, *reader_});
}

Engine::~Engine() {
  {
    const auto lock = LockBriefly(mutex_);
    ending_ = true;
  }
  ending_changed_.notify_all();
  watch_.join();
}

void Engine::Stop() {
  if (reader_.has_value()) reader_->Stop();
  dispatcher_.Stop();
}

absl::StatusOr<std::shared_ptr<Session>> Engine::Admit(SessionPeer& peer, std::string client,
                                                       Time deadline) {
  Sessions::iterator place;
  {
    const auto lock = LockBriefly(mutex_);
    worked_ = true;
    if (!admitting_) return DrainingError();
    if (std::ssize(sessions_) >= limits_.max_streams) {
      observer_.OnRejected(RejectReason::kStreams);
      return absl::ResourceExhaustedError(absl::StrCat("the server solves ", sessions_.size(),
                                                       " tensors, of at most ", limits_.max_streams,
                                                       " (max-streams); retry later"));
    }
    place = sessions_.emplace(sessions_.end());
  }
  auto session = std::make_shared<Session>(
      SessionServices{limits_, clock_, budget_, norms_budget_, dispatcher_, observer_,
                      files_.has_value() ? &*files_ : nullptr},
      peer, std::move(client), deadline);
  const auto lock = LockBriefly(mutex_);
  *place = session;
  // The peer's pointer keeps the session and its place; pieces keep the session alone.
  return std::shared_ptr<Session>(session.get(), [this, place, session](Session*) mutable {
    session->Detach();
    {
      const auto guard = LockBriefly(mutex_);
      sessions_.erase(place);
      if (sessions_.empty()) became_quiet_.notify_all();
    }
    session.reset();
  });
}

void Engine::StopAdmitting() {
  const auto lock = LockBriefly(mutex_);
  admitting_ = false;
}

absl::Status Engine::CheckAdmitting() const {
  const auto lock = LockBriefly(mutex_);
  return admitting_ ? absl::OkStatus() : DrainingError();
}

bool Engine::WaitUntilQuiet(Duration patience) {
  std::unique_lock lock = LockBriefly(mutex_);
  return became_quiet_.wait_for(lock, patience, [this] { return sessions_.empty(); });
}

void Engine::CheckIdle() {
  std::vector<std::shared_ptr<Session>> live;
  {
    const auto lock = LockBriefly(mutex_);
    for (const std::weak_ptr<Session>& session : sessions_) {
      if (auto strong = session.lock()) live.push_back(std::move(strong));
    }
  }
  for (const std::shared_ptr<Session>& session : live) session->CheckIdle();
}

void Engine::Watch() {
  const bool ends_idle = limits_.idle_timeout > Duration::zero();
  // At least a millisecond: a tiny timeout must not keep a core busy.
  const Duration period = ends_idle ? std::clamp<Duration>(limits_.idle_timeout / 4,
                                                           std::chrono::milliseconds(1), kQuietTime)
                                    : kQuietTime;
  auto busy_time = std::chrono::steady_clock::now();  // when a session was last seen
  std::unique_lock lock = LockBriefly(mutex_);
  while (!ending_changed_.wait_for(lock, period, [this] { return ending_; })) {
    const auto now = std::chrono::steady_clock::now();
    if (!sessions_.empty()) busy_time = now;
    const bool trims = worked_ && now - busy_time >= kQuietTime;
    if (trims) worked_ = false;
    lock.unlock();
    if (ends_idle) CheckIdle();
    dispatcher_.CheckSolvers();
    if (trims) ReleaseFreeMemory();
    lock.lock();
  }
}

}  // namespace tsenor::server
