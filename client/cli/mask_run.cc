#include "client/cli/mask_run.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/table.h"

namespace tsenor::cli {
namespace {

absl::StatusOr<v1::TensorHeader> HeaderOf(const MaskRun& run, const SelectedTensor& tensor) {
  v1::TensorHeader header;
  header.set_name(tensor.name());
  header.add_shape(tensor.rows);
  header.add_shape(tensor.columns);
  header.set_dtype(tensor.dtype);
  header.set_layout(v1::LAYOUT_ROW_MAJOR);
  const absl::StatusOr<v1::Pattern> pattern = ParsePattern(run.problem.pattern);
  if (!pattern.ok()) return pattern.status();
  *header.mutable_pattern() = *pattern;
  header.set_edge(run.problem.pad() ? v1::EDGE_PAD : v1::EDGE_REFUSE);
  header.set_priority(run.problem.priority);
  SetMethod(run.method, header);
  header.mutable_scores()->set_kind(run.scores.kind());
  const absl::StatusOr<std::vector<float>> norms =
      run.scores.ColumnNorms(tensor.name(), tensor.columns);
  if (!norms.ok()) return norms.status();
  header.mutable_scores()->mutable_column_norms()->Add(norms->begin(), norms->end());
  return header;
}

TensorReport ReportOf(const SelectedTensor& tensor, const std::string& pattern,
                      const v1::SolveSummary& summary, bool by_reference, double seconds) {
  return {.name = tensor.name(),
          .dtype = tensor.source.info->dtype,
          .rows = tensor.rows,
          .columns = tensor.columns,
          .pattern = pattern,
          .value = summary.value(),
          .bound = summary.bound(),
          .relative_gap = summary.relative_gap(),
          .score_sum = summary.score_sum(),
          .kept = summary.kept(),
          .blocks = summary.blocks(),
          .blocks_proven_optimal = summary.blocks_proven_optimal(),
          .blocks_short = summary.blocks_short(),
          .seconds = seconds,
          .backend = summary.backend(),
          .transfer = by_reference ? "reference" : "stream",
          .receive_seconds = summary.seconds().receive(),
          .queue_seconds = summary.seconds().queue(),
          .solve_seconds = summary.seconds().solve()};
}

std::string LineOf(const TensorReport& report) {
  return absl::StrFormat("%s [%d, %d] %s gap %.1e, %d of %d blocks proven, %.3f s, %s",
                         Printable(report.name), report.rows, report.columns, report.pattern,
                         report.relative_gap, report.blocks_proven_optimal, report.blocks,
                         report.seconds, report.transfer);
}

// The bytes of a tensor, whose pages are let go as they are sent.
client::TensorSource SourceOf(const MaskRun& run, const SelectedTensor& tensor) {
  const client::SafetensorsFile& shard = run.checkpoint.shards()[tensor.source.shard];
  const std::span<const std::byte> data = shard.Data(*tensor.source.info);
  return {.bytes = data, .on_sent = [&shard, data, released = uint64_t{0}](uint64_t sent) mutable {
            if (sent < released) released = 0;  // a new attempt
            shard.Release(data.subspan(released, sent - released));
            released = sent;
          }};
}

absl::StatusOr<TensorReport> SolveOne(const MaskRun& run, size_t index,
                                      const std::stop_token& stop) {
  const SelectedTensor& tensor = run.selection.selected[index];
  absl::StatusOr<v1::TensorHeader> header = HeaderOf(run, tensor);
  if (!header.ok()) return header.status();

  int64_t arrived = 0;  // weights whose mask is there
  absl::Status written;
  const client::MaskSink sink = [&](const client::MaskRows& rows) {
    if (rows.first_row == 0) run.progress.Advance(-std::exchange(arrived, 0));
    const auto weights = static_cast<int64_t>(rows.row_count * tensor.columns);
    arrived += weights;
    run.progress.Advance(weights);
    return written = run.output.WriteRows(index, rows);
  };
  // One for both ways: whoever set the timeout waits no longer because the first one failed.
  const auto deadline = run.client.SolveDeadline();
  const auto solve = [&](const client::TensorSource& source) {
    return run.client.SolveTensorUntil(deadline, *header, source, sink, stop);
  };

  const auto start = std::chrono::steady_clock::now();
  const std::optional<v1::FileRange> range = run.transfer.RangeOf(tensor.source);
  if (range.has_value()) *header->mutable_file() = *range;
  absl::StatusOr<v1::SolveSummary> summary =
      solve(range ? client::TensorSource{} : SourceOf(run, tensor));
  if (range.has_value() && written.ok() &&
      run.transfer.StreamsAfter(summary.status(), tensor.source)) {
    run.progress.Note(absl::StrFormat("%s is streamed: %s", Printable(tensor.name()),
                                      Printable(std::string(summary.status().message()))));
    header->clear_file();
    summary = solve(SourceOf(run, tensor));
  }
  if (!summary.ok()) return summary.status();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return ReportOf(tensor, run.problem.pattern, *summary, header->has_file(), seconds.count());
}

}  // namespace

absl::StatusOr<std::vector<TensorReport>> SolveAll(const MaskRun& run,
                                                   const std::stop_token& interrupt) {
  std::stop_source stop;  // after a failure or an interrupt
  const std::stop_callback follow(interrupt, [&stop] { stop.request_stop(); });
  const size_t count = run.selection.selected.size();
  std::vector<TensorReport> reports(count);
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  absl::Status failure;  // the first; guarded by mutex

  const auto work = [&] {
    for (size_t i = next++; i < count && !stop.stop_requested(); i = next++) {
      absl::StatusOr<TensorReport> report = SolveOne(run, i, stop.get_token());
      if (report.ok()) {
        run.progress.FinishTensor(LineOf(*report));
        reports[i] = *std::move(report);
        continue;
      }
      const std::lock_guard lock(mutex);
      if (failure.ok() && !stop.stop_requested()) {
        failure = absl::Status(report.status().code(),
                               absl::StrCat("tensor '", run.selection.selected[i].name(),
                                            "': ", report.status().message()));
      }
      stop.request_stop();
    }
  };
  {
    std::vector<std::jthread> threads;
    const size_t wanted = std::min(count, static_cast<size_t>(std::max(run.parallel, 1)));
    for (size_t i = 0; i < wanted; ++i) threads.emplace_back(work);
  }
  if (!failure.ok()) return failure;
  if (interrupt.stop_requested()) return absl::CancelledError("interrupted");
  return reports;
}

}  // namespace tsenor::cli
