// `tsenor mask`: a checkpoint in, masks (or the masked checkpoint) out.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <optional>
#include <stop_token>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/interrupt.h"
#include "client/cli/mask_output.h"
#include "client/cli/mask_run.h"
#include "client/cli/method_flags.h"
#include "client/cli/output_paths.h"
#include "client/cli/problem_flags.h"
#include "client/cli/report.h"
#include "client/cli/table.h"
#include "client/cli/transfer.h"
#include "proto/grpc_library.h"

namespace tsenor::cli {
namespace {

struct MaskFlags {
  std::string input;
  std::string server = "127.0.0.1:50051";
  client::Security security;
  std::string out;
  std::string report;
  ProblemFlags problem;
  MethodFlags method;
  bool dense = false;
  bool apply = false;
  bool quiet = false;
  bool allow_null_backend = false;
  std::string transfer = "auto";
  int parallel = 4;
  double connect_timeout_seconds = 5;
  double timeout_seconds = 3600;
  int max_attempts = client::RetryPolicy().max_attempts;
};

std::chrono::milliseconds Milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

absl::StatusOr<Selection> Select(const MaskFlags& flags, const client::Checkpoint& checkpoint) {
  const absl::StatusOr<v1::Pattern> pattern = ParsePattern(flags.problem.pattern);
  if (!pattern.ok()) return pattern.status();
  Selection selection = SelectTensors(checkpoint, {.include = flags.problem.include,
                                                   .exclude = flags.problem.exclude,
                                                   .m = pattern->m(),
                                                   .pad = flags.problem.pad()});
  const std::string skipped = selection.SkippedByReason();
  if (selection.selected.empty()) {
    return absl::NotFoundError(absl::StrCat(
        flags.input, ": no matching tensor: ", skipped.empty() ? "it is empty" : skipped));
  }
  if (!flags.quiet && !skipped.empty()) std::cerr << "skipped: " << skipped << std::endl;
  return selection;
}

absl::StatusOr<std::unique_ptr<MaskOutput>> CreateOutput(const MaskFlags& flags,
                                                         const client::Checkpoint& checkpoint,
                                                         const Selection& selection) {
  if (flags.apply) return CreateAppliedOutput(flags.out, checkpoint, selection);
  const MaskMetadata metadata = {
      {"pattern", flags.problem.pattern},
      {"method", flags.method.method},
      {"scores", flags.problem.scores.substr(0, flags.problem.scores.find(':'))},
      {"edge", flags.problem.edge}};
  return CreateMaskFileOutput(flags.out, selection,
                              flags.dense ? MaskEncoding::kDense : MaskEncoding::kPacked, metadata);
}

// Everything but the tensors.
Report StartReport(const MaskFlags& flags, const v1::GetServerInfoResponse& info,
                   const Selection& selection) {
  Report report{.input = flags.input,
                .output = flags.out,
                .pattern = flags.problem.pattern,
                .method = flags.method.method,
                .scores = flags.problem.scores,
                .edge = flags.problem.edge,
                .server = flags.server,
                .server_version = info.version(),
                .backends = {},
                .devices = {},
                .fallback_reason = info.fallback_reason(),
                .seconds = 0,
                .tensors = {},
                .skipped = selection.skipped};
  for (const v1::Backend& backend : info.backends()) {
    report.backends.push_back(backend.name());
    report.devices.push_back(DeviceText(backend.device(), backend.threads()));
  }
  return report;
}

// A server that measures transport answers empty masks, which nobody wants by accident.
absl::Status CheckBackends(const MaskFlags& flags, const v1::GetServerInfoResponse& info) {
  const bool solves = std::none_of(info.backends().begin(), info.backends().end(),
                                   [](const v1::Backend& b) { return b.name() == "null"; });
  if (solves || flags.allow_null_backend) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the server at ", flags.server,
                   " solves nothing (its backend is null): its masks keep no "
                   "weight; --allow-null-backend takes them"));
}

absl::StatusOr<Report> Mask(const MaskFlags& flags, const client::MaskClient& client,
                            const client::Checkpoint& checkpoint, const Selection& selection,
                            const ScoreSource& scores, const std::stop_token& interrupt) {
  const absl::StatusOr<v1::GetServerInfoResponse> info = client.GetServerInfo(interrupt);
  if (!info.ok()) return info.status();
  if (absl::Status status = CheckBackends(flags, *info); !status.ok()) return status;
  const absl::StatusOr<Transfer> transfer = Transfer::Plan(flags.transfer, checkpoint, *info);
  if (!transfer.ok()) return transfer.status();
  const absl::StatusOr<std::unique_ptr<MaskOutput>> output =
      CreateOutput(flags, checkpoint, selection);
  if (!output.ok()) return output.status();

  std::optional<ReportFile> report_file;
  if (!flags.report.empty()) {
    absl::StatusOr<ReportFile> created = ReportFile::Create(flags.report);
    if (!created.ok()) return created.status();
    report_file.emplace(*std::move(created));
  }
  Report report = StartReport(flags, *info, selection);
  const auto start = std::chrono::steady_clock::now();
  {
    Progress progress(Progress::StyleFor(flags.quiet), selection.weights(),
                      selection.selected.size());
    absl::StatusOr<std::vector<TensorReport>> tensors = SolveAll({.client = client,
                                                                  .checkpoint = checkpoint,
                                                                  .selection = selection,
                                                                  .problem = flags.problem,
                                                                  .method = flags.method,
                                                                  .scores = scores,
                                                                  .transfer = *transfer,
                                                                  .output = **output,
                                                                  .progress = progress,
                                                                  .parallel = flags.parallel},
                                                                 interrupt);
    if (!tensors.ok()) return tensors.status();
    report.tensors = *std::move(tensors);
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (absl::Status status = (*output)->Commit(interrupt); !status.ok()) return status;
  if (!report_file) return report;
  if (absl::Status status = report_file->Write(report); !status.ok()) return status;
  return report;
}

// kInterrupted if it was the user who ended the run, else `otherwise`.
ExitCode ExitCodeOf(const absl::Status& failure, const std::stop_source& interrupt,
                    ExitCode otherwise) {
  return absl::IsCancelled(failure) && interrupt.stop_requested() ? kInterrupted : otherwise;
}

int RunMask(const MaskFlags& flags) {
  if (absl::Status status = CheckMethodFlags(flags.method); !status.ok()) {
    return Fail(status, kUsage);
  }
  const std::stop_source interrupt;
  const InterruptWatcher watcher(interrupt);
  const GrpcLibrary grpc;
  const absl::StatusOr<client::Checkpoint> checkpoint = client::Checkpoint::Open(flags.input);
  if (!checkpoint.ok()) return Fail(checkpoint.status());
  const absl::StatusOr<Selection> selection = Select(flags, *checkpoint);
  if (!selection.ok()) return Fail(selection.status());
  const absl::StatusOr<ScoreSource> scores = ScoreSource::Open(flags.problem.scores);
  if (!scores.ok()) return Fail(scores.status());
  if (absl::Status status = CheckOutputPaths(
          {flags.out, flags.report, flags.problem.scores, flags.apply}, *checkpoint);
      !status.ok()) {
    return Fail(status);
  }
  for (const SelectedTensor& tensor : selection->selected) {
    const auto norms = scores->ColumnNorms(tensor.name(), tensor.columns);
    if (!norms.ok()) return Fail(norms.status());
  }

  client::ClientOptions options;
  options.connect_timeout = Milliseconds(flags.connect_timeout_seconds);
  options.solve_timeout = Milliseconds(flags.timeout_seconds);
  options.retry.max_attempts = flags.max_attempts;
  options.security = flags.security;
  const auto client = client::MaskClient::Connect(flags.server, options, interrupt.get_token());
  if (!client.ok()) {
    return Fail(client.status(),
                ExitCodeOf(client.status(), interrupt, ExitCodeOfConnect(client.status())));
  }

  const absl::StatusOr<Report> report =
      Mask(flags, **client, *checkpoint, *selection, *scores, interrupt.get_token());
  if (!report.ok()) {
    return Fail(report.status(), ExitCodeOf(report.status(), interrupt, kFailure));
  }
  PrintTable({*report}, std::cout);
  return kOk;
}

void AddTransportFlags(CLI::App& command, MaskFlags& flags) {
  AddServerOption(command, flags.server);
  AddSecurityOptions(command, flags.security);
  command
      .add_option("--transfer", flags.transfer,
                  "Weights: stream them, by reference (the server reads the same files: "
                  "--weights-directory), or auto: by reference where that works")
      ->envname("TSENOR_TRANSFER")
      ->check(CLI::IsMember({"auto", "stream", "reference"}))
      ->capture_default_str();
  command.add_option("--parallel", flags.parallel, "Tensors in flight")
      ->envname("TSENOR_PARALLEL")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command
      .add_option("--connect-timeout", flags.connect_timeout_seconds,
                  "Seconds to wait for the server")
      ->envname("TSENOR_CONNECT_TIMEOUT")
      ->check(Within(0, 86400))
      ->capture_default_str();
  command
      .add_option("--timeout", flags.timeout_seconds, "Seconds for one tensor, retries included")
      ->envname("TSENOR_TIMEOUT")
      ->check(Within(0.001, 604800))
      ->capture_default_str();
  command
      .add_option("--max-attempts", flags.max_attempts,
                  "Attempts per tensor while the server is full or away")
      ->envname("TSENOR_MAX_ATTEMPTS")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
}

}  // namespace

void AddMaskCommand(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("mask", "Find masks for the matrices of a checkpoint");
  const auto flags = std::make_shared<MaskFlags>();
  command
      ->add_option("INPUT", flags->input,
                   "A .safetensors file, or a directory with model.safetensors[.index.json]")
      ->required();
  command->add_option("--out", flags->out, "Where the result goes")
      ->required()
      ->envname("TSENOR_OUT");
  AddProblemFlags(*command, flags->problem);
  AddPriorityFlag(*command, flags->problem.priority);
  AddMethodFlags(*command, flags->method);
  AddTransportFlags(*command, *flags);
  CLI::Option* dense =
      command->add_flag("--dense", flags->dense, "One byte (0 or 1) per weight instead of one bit")
          ->envname("TSENOR_DENSE");
  command
      ->add_flag("--apply", flags->apply,
                 "Write the checkpoint itself, with the weights that the masks drop set to zero")
      ->envname("TSENOR_APPLY")
      ->excludes(dense);
  command->add_option("--report", flags->report, "Also write what was found as JSON")
      ->envname("TSENOR_REPORT");
  command
      ->add_flag("--allow-null-backend", flags->allow_null_backend,
                 "Take the empty masks of a server that only measures transport")
      ->envname("TSENOR_ALLOW_NULL_BACKEND");
  command->add_flag("--quiet", flags->quiet, "No progress on stderr")->envname("TSENOR_QUIET");
  command->callback([flags, &exit_code] { exit_code = RunMask(*flags); });
}

}  // namespace tsenor::cli
