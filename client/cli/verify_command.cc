// `tsenor verify`: offline, are these masks feasible, what are they worth, and how far from the
// best?
//
// The one file of the client that uses the solver library. The bound on a mask's value comes from
// potentials that the solver returns, evaluated by Certify(), which trusts nothing but weak
// duality.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <iostream>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/checkpoint.h"
#include "client/cli/command.h"
#include "client/cli/mask_file.h"
#include "client/cli/method_flags.h"
#include "client/cli/problem_flags.h"
#include "client/cli/score_source.h"
#include "client/cli/selection.h"
#include "client/cli/table.h"
#include "solver/certificate.h"
#include "solver/cpu/cpu_solver.h"
#include "solver/limits.h"
#include "solver/solver.h"
#include "solver/validate.h"

namespace tsenor::cli {
namespace {

struct VerifyFlags {
  std::string weights;
  std::string masks;
  ProblemFlags problem;
  std::string lines = "both";
  bool allow_short = false;
};

// The method whose masks keep N in these lines, and whose bound is that of all such masks.
Method MethodFor(const std::string& lines) {
  if (lines == "rows") return Method::kRowNm;
  return lines == "columns" ? Method::kColumnNm : Method::kOptimal;
}

DType DTypeOf(v1::DataType dtype) {
  switch (dtype) {
    case v1::DATA_TYPE_FLOAT16:
      return DType::kFloat16;
    case v1::DATA_TYPE_BFLOAT16:
      return DType::kBFloat16;
    case v1::DATA_TYPE_FLOAT8_E4M3:
      return DType::kFloat8E4M3;
    case v1::DATA_TYPE_FLOAT8_E5M2:
      return DType::kFloat8E5M2;
    default:
      return DType::kFloat32;  // selections hold no sixth type
  }
}

ScoreKind ScoreKindOf(v1::ScoreKind kind) {
  switch (kind) {
    case v1::SCORE_KIND_GIVEN:
      return ScoreKind::kGiven;
    case v1::SCORE_KIND_MAGNITUDE_TIMES_COLUMN_NORM:
      return ScoreKind::kMagnitudeTimesColumnNorm;
    default:
      return ScoreKind::kMagnitude;
  }
}

// Certifies the masks of one file against the weights of one checkpoint. Refers to objects that
// outlive it. Not thread-safe: reuses its buffers.
class Verifier {
 public:
  Verifier(const client::Checkpoint& checkpoint, const MaskFile& masks, const ScoreSource& scores,
           Pattern pattern, Method method, Solver& solver)
      : checkpoint_(checkpoint),
        masks_(masks),
        scores_(scores),
        pattern_(pattern),
        method_(method),
        solver_(solver) {}

  // Goes through one weight in pieces of block rows, so that memory stays bounded.
  // Errors: InvalidArgument for a bad weight or mask.
  absl::StatusOr<MaskCertificate> Verify(const SelectedTensor& tensor) {
    const auto norms = scores_.ColumnNorms(tensor.name(), tensor.columns);
    if (!norms.ok()) return norms.status();
    if (absl::Status status =
            ValidateColumnNorms(norms->data(), static_cast<int64_t>(norms->size()));
        !status.ok()) {
      return status;
    }
    // Large enough to keep all threads busy, small enough for 10 to 20 MB of buffers.
    constexpr uint64_t kPieceElements = 1 << 20;
    const uint64_t m = static_cast<uint64_t>(pattern_.m);
    const uint64_t step = m * std::max<uint64_t>(1, kPieceElements / (m * tensor.columns));
    MaskCertificate sum;
    for (uint64_t row = 0; row < tensor.rows; row += step) {
      const absl::StatusOr<MaskCertificate> piece =
          VerifyRows(tensor, row, std::min(step, tensor.rows - row), *norms);
      if (!piece.ok()) return piece.status();
      sum.stats += piece->stats;
      sum.lines_over += piece->lines_over;
      sum.lines_under += piece->lines_under;
    }
    return sum;
  }

 private:
  absl::StatusOr<MaskCertificate> VerifyRows(const SelectedTensor& tensor, uint64_t first_row,
                                             uint64_t row_count, const std::vector<float>& norms) {
    Problem problem;
    problem.pattern = pattern_;
    problem.dtype = DTypeOf(tensor.dtype);
    problem.score_kind = ScoreKindOf(scores_.kind());
    problem.options.method = method_;
    LoadWeights(tensor, first_row, row_count);
    const uint64_t mask_row_bytes = PackedRowBytes(tensor.columns);
    given_mask_.resize(row_count * mask_row_bytes);
    best_mask_.resize(row_count * mask_row_bytes);
    if (absl::Status status = masks_.ReadRows(tensor, first_row, row_count, given_mask_);
        !status.ok()) {
      return status;
    }
    const int64_t block_rows = BlocksAlong(static_cast<int64_t>(row_count), pattern_.m);
    const int64_t block_columns = BlocksAlong(static_cast<int64_t>(tensor.columns), pattern_.m);
    stats_.resize(static_cast<size_t>(block_rows));
    potentials_.resize(static_cast<size_t>(block_rows * block_columns * 2 * pattern_.m));

    Tile tile{.weights = weights_.data(),
              .row_stride = static_cast<int64_t>(tensor.columns),
              .rows = static_cast<int64_t>(row_count),
              .columns = static_cast<int64_t>(tensor.columns),
              .column_norms = norms.empty() ? nullptr : norms.data(),
              .mask = best_mask_.data(),
              .mask_row_stride = static_cast<int64_t>(mask_row_bytes),
              .stats = stats_.data(),
              .potentials = potentials_.data()};
    if (const std::optional<InvalidWeight> bad = FindInvalidWeight(problem, tile)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "element (", first_row + static_cast<uint64_t>(bad->row), ", ", bad->column, ")",
          std::isfinite(bad->value) ? absl::StrCat(" = ", bad->value) : "", " ", bad->reason));
    }
    const Batch batch{.problem = problem, .tiles = {&tile, 1}};
    if (absl::Status status = solver_.Solve(batch); !status.ok()) return status;
    tile.mask = given_mask_.data();
    return Certify(problem, tile);
  }

  // Copies rows to where they are aligned, and lets go of their pages.
  void LoadWeights(const SelectedTensor& tensor, uint64_t first_row, uint64_t row_count) {
    const client::TensorInfo& info = *tensor.source.info;
    const client::SafetensorsFile& shard = checkpoint_.shards()[tensor.source.shard];
    const uint64_t row_bytes = info.size_bytes() / tensor.rows;
    const auto source = shard.Data(info).subspan(first_row * row_bytes, row_count * row_bytes);
    weights_.resize((source.size() + sizeof(float) - 1) / sizeof(float));
    std::memcpy(weights_.data(), source.data(), source.size());
    shard.Release(source);
  }

  const client::Checkpoint& checkpoint_;
  const MaskFile& masks_;
  const ScoreSource& scores_;
  const Pattern pattern_;
  const Method method_;
  Solver& solver_;

  std::vector<float> weights_;  // the piece's bytes, whatever its dtype
  std::vector<uint8_t> given_mask_;
  std::vector<uint8_t> best_mask_;
  std::vector<SolveStats> stats_;
  std::vector<double> potentials_;
};

// Every mask belongs to a selected weight; the reverse is found when the mask is read.
absl::Status CheckNoExtraMask(const MaskFile& masks, const Selection& selection) {
  std::vector<std::string> names;
  for (const SelectedTensor& tensor : selection.selected) names.push_back(tensor.name());
  std::sort(names.begin(), names.end());
  for (const client::TensorInfo& mask : masks.file().header().tensors) {
    if (std::binary_search(names.begin(), names.end(), mask.name)) continue;
    for (const SkippedTensor& skipped : selection.skipped) {
      if (skipped.name != mask.name) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(masks.file().path(), ": a mask for '", mask.name, "': ", skipped.reason));
    }
    return absl::InvalidArgumentError(absl::StrCat(masks.file().path(), ": a mask for '", mask.name,
                                                   "', which is not among the weights"));
  }
  return absl::OkStatus();
}

bool IsFeasible(const MaskCertificate& certificate, bool allow_short) {
  return certificate.lines_over == 0 && (allow_short || certificate.lines_under == 0);
}

TableRow RowOf(const SelectedTensor& tensor, const VerifyFlags& flags,
               const MaskCertificate& certificate) {
  const SolveStats& stats = certificate.stats;
  const std::string verdict = IsFeasible(certificate, flags.allow_short)
                                  ? "yes"
                                  : absl::StrCat("NO: ", certificate.lines_over, " lines over, ",
                                                 certificate.lines_under, " under");
  const std::string pattern = flags.lines == "both"
                                  ? flags.problem.pattern
                                  : absl::StrCat(flags.problem.pattern, " ", flags.lines);
  return {tensor.name(), MatrixText(tensor.rows, tensor.columns), pattern, verdict,
          absl::StrFormat("%.9g", stats.value), absl::StrFormat("%.9g", stats.bound),
          // The bound says nothing of masks that keep more than the pattern allows.
          certificate.lines_over > 0 ? "-" : GapText(stats.value, stats.bound),
          ShareText(stats.value, stats.score_sum)};
}

// What to try if the file says that its masks were never meant to be transposable.
std::string Hint(const MaskFile& masks, const VerifyFlags& flags) {
  const auto& metadata = masks.file().header().metadata;
  const auto method = metadata.find("method");
  const std::string one_side = method == metadata.end() ? "" : OneSideOf(method->second);
  if (one_side.empty() || one_side == flags.lines) return "";
  return absl::StrCat("; its metadata says method ", method->second, ": --lines ", one_side,
                      " checks that");
}

// OK if all masks are feasible. Errors: FailedPrecondition if one is not; those of the files.
absl::Status VerifyAll(const VerifyFlags& flags, Pattern pattern) {
  const absl::StatusOr<client::Checkpoint> checkpoint = client::Checkpoint::Open(flags.weights);
  if (!checkpoint.ok()) return checkpoint.status();
  const absl::StatusOr<MaskFile> masks = MaskFile::Open(flags.masks);
  if (!masks.ok()) return masks.status();
  const absl::StatusOr<ScoreSource> scores = ScoreSource::Open(flags.problem.scores);
  if (!scores.ok()) return scores.status();
  const Selection selection = SelectTensors(*checkpoint, {.include = flags.problem.include,
                                                          .exclude = flags.problem.exclude,
                                                          .m = static_cast<uint32_t>(pattern.m),
                                                          .pad = flags.problem.pad()});
  if (selection.selected.empty()) {
    return absl::NotFoundError(
        absl::StrCat(flags.weights, ": no matching tensor: ", selection.SkippedByReason()));
  }
  if (absl::Status status = CheckNoExtraMask(*masks, selection); !status.ok()) return status;
  const absl::StatusOr<std::unique_ptr<Solver>> solver = MakeCpuSolver();
  if (!solver.ok()) return solver.status();

  Verifier verifier(*checkpoint, *masks, *scores, pattern, MethodFor(flags.lines), **solver);
  std::vector<TableRow> rows = {
      {"tensor", "shape", "pattern", "feasible", "value", "bound", "gap", "kept |w|"}};
  bool feasible = true;
  for (const SelectedTensor& tensor : selection.selected) {
    const absl::StatusOr<MaskCertificate> certificate = verifier.Verify(tensor);
    if (!certificate.ok()) {
      return absl::Status(
          certificate.status().code(),
          absl::StrCat("tensor '", tensor.name(), "': ", certificate.status().message()));
    }
    feasible = feasible && IsFeasible(*certificate, flags.allow_short);
    rows.push_back(RowOf(tensor, flags, *certificate));
  }
  PrintAligned(rows, std::cout);
  if (feasible) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(flags.masks,
                                                    ": not every mask is feasible for ",
                                                    flags.problem.pattern, Hint(*masks, flags)));
}

int RunVerify(const VerifyFlags& flags) {
  const absl::StatusOr<v1::Pattern> text = ParsePattern(flags.problem.pattern);
  if (!text.ok()) return Fail(text.status(), kUsage);
  static_assert(kLargestM == kMaxM);
  const Pattern pattern{.n = static_cast<int>(text->n()), .m = static_cast<int>(text->m())};
  const absl::Status status = VerifyAll(flags, pattern);
  if (status.ok()) return kOk;
  return Fail(status, absl::IsFailedPrecondition(status) ? kInfeasible : kFailure);
}

}  // namespace

void AddVerifyCommand(CLI::App& app, int& exit_code) {
  CLI::App* command =
      app.add_subcommand("verify", "Check masks offline: feasible? value, bound, gap per tensor");
  const auto flags = std::make_shared<VerifyFlags>();
  command->add_option("WEIGHTS", flags->weights, "A .safetensors file or a model directory")
      ->required();
  command->add_option("MASKS", flags->masks, "A file that `tsenor mask` wrote, packed or dense")
      ->required();
  AddProblemFlags(*command, flags->problem);
  command
      ->add_option("--lines", flags->lines,
                   "Lines that must keep N: both (transposable masks), rows (--method row-nm) or "
                   "columns (column-nm); the bound is that of such masks")
      ->envname("TSENOR_LINES")
      ->check(CLI::IsMember({"both", "rows", "columns"}))
      ->capture_default_str();
  command
      ->add_flag(
          "--allow-short", flags->allow_short,
          "Accept lines that keep fewer than N (--method tsenor, two-approx and bi-nm leave such)")
      ->envname("TSENOR_ALLOW_SHORT");
  command->callback([flags, &exit_code] { exit_code = RunVerify(*flags); });
}

}  // namespace tsenor::cli
