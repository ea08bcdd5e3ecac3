#include "client/cli/progress.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "absl/strings/str_format.h"

namespace tsenor::cli {
namespace {

// Often enough to look alive, seldom enough to cost nothing.
constexpr std::chrono::milliseconds kRedrawInterval{100};

constexpr int kBarCells = 30;

}  // namespace

Progress::Style Progress::StyleFor(bool quiet) {
  if (quiet) return Style::kQuiet;
  return ::isatty(STDERR_FILENO) ? Style::kBar : Style::kLines;
}

Progress::Progress(Style style, uint64_t total_weights, size_t total_tensors)
    : style_(style), total_weights_(total_weights), total_tensors_(total_tensors) {}

Progress::~Progress() { EraseBar(); }

void Progress::Advance(int64_t weights) {
  const std::lock_guard lock(mutex_);
  weights_ += weights;
  if (style_ != Style::kBar || Clock::now() - drawn_ < kRedrawInterval) return;
  DrawBar();
}

void Progress::Note(const std::string& line) {
  const std::lock_guard lock(mutex_);
  EraseBar();
  if (style_ != Style::kQuiet) std::cerr << line << std::endl;
}

void Progress::FinishTensor(const std::string& line) {
  const std::lock_guard lock(mutex_);
  ++tensors_;
  if (style_ == Style::kLines) {
    std::cerr << absl::StrFormat("[%d/%d] %s", tensors_, total_tensors_, line) << std::endl;
  } else if (style_ == Style::kBar) {
    DrawBar();
  }
}

void Progress::DrawBar() {
  drawn_ = Clock::now();
  const double share =
      static_cast<double>(weights_) / static_cast<double>(std::max<uint64_t>(total_weights_, 1));
  const double seconds = std::chrono::duration<double>(drawn_ - start_).count();
  const int cells = std::clamp(static_cast<int>(share * kBarCells), 0, kBarCells);
  std::cerr << absl::StrFormat("\r[%s%s] %3.0f %%  %d/%d tensors  %.1f Mweights/s",
                               std::string(cells, '#'), std::string(kBarCells - cells, '.'),
                               100 * share, tensors_, total_tensors_,
                               static_cast<double>(weights_) / 1e6 / std::max(seconds, 1e-3));
  if (share > 0) std::cerr << absl::StrFormat("  %.0f s left", seconds * (1 - share) / share);
  std::cerr << "\x1b[K" << std::flush;
}

void Progress::EraseBar() {
  if (style_ == Style::kBar) std::cerr << "\r\x1b[K" << std::flush;
}

}  // namespace tsenor::cli
