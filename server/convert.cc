#include "server/convert.h"

#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/wire/crc32c.h"
#include "solver/limits.h"

namespace tsenor::server {
namespace {

// How the API names a method, and which of its options it reads.
struct MethodRow {
  v1::Method name;
  Method method;
  v1::TensorHeader::OptionsCase options = v1::TensorHeader::OPTIONS_NOT_SET;
};

constexpr MethodRow kMethods[] = {
    {v1::METHOD_OPTIMAL, Method::kOptimal, v1::TensorHeader::kOptimal},
    {v1::METHOD_TSENOR, Method::kTsenor, v1::TensorHeader::kTsenor},
    {v1::METHOD_TWO_APPROX, Method::kTwoApprox},
    {v1::METHOD_BI_NM, Method::kBiNm},
    {v1::METHOD_MAX_RANDOM, Method::kMaxRandom, v1::TensorHeader::kMaxRandom},
    {v1::METHOD_ROW_NM, Method::kRowNm},
    {v1::METHOD_COLUMN_NM, Method::kColumnNm},
};

absl::Status UnknownEnum(const char* field, int value, absl::string_view known) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is ", value, "; it must be one of ", known));
}

// An integer of [least, greatest]. Only what does not even fit into an int is refused here, with
// that range; ValidateProblem() checks the rest.
absl::StatusOr<int> ToInt(const char* field, uint32_t value, int least, int greatest) {
  if (value <= uint32_t{std::numeric_limits<int>::max()}) return static_cast<int>(value);
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is ", value, "; it must be in [", least, ", ", greatest, "]"));
}

absl::Status ConvertShape(const v1::TensorHeader& header, TensorSpec& spec) {
  if (header.shape_size() != 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("shape has ", header.shape_size(), " lengths; it must have 2: rows, columns"));
  }
  for (int k = 0; k < 2; ++k) {
    if (header.shape(k) > static_cast<uint64_t>(kMaxLength)) {
      return absl::InvalidArgumentError(absl::StrCat("shape[", k, "] is ", header.shape(k),
                                                     "; it must be in [1, ", kMaxLength, "]"));
    }
  }
  spec.rows = static_cast<int64_t>(header.shape(0));
  spec.columns = static_cast<int64_t>(header.shape(1));
  return absl::OkStatus();
}

absl::Status ConvertEnums(const v1::TensorHeader& header, TensorSpec& spec) {
  switch (header.dtype()) {
    case v1::DATA_TYPE_FLOAT32:
      spec.problem.dtype = DType::kFloat32;
      break;
    case v1::DATA_TYPE_FLOAT16:
      spec.problem.dtype = DType::kFloat16;
      break;
    case v1::DATA_TYPE_BFLOAT16:
      spec.problem.dtype = DType::kBFloat16;
      break;
    case v1::DATA_TYPE_FLOAT8_E4M3:
      spec.problem.dtype = DType::kFloat8E4M3;
      break;
    case v1::DATA_TYPE_FLOAT8_E5M2:
      spec.problem.dtype = DType::kFloat8E5M2;
      break;
    default:
      return UnknownEnum("dtype", header.dtype(),
                         "DATA_TYPE_FLOAT32, DATA_TYPE_FLOAT16, DATA_TYPE_BFLOAT16, "
                         "DATA_TYPE_FLOAT8_E4M3, DATA_TYPE_FLOAT8_E5M2");
  }
  switch (header.layout()) {
    case v1::LAYOUT_UNSPECIFIED:
    case v1::LAYOUT_ROW_MAJOR:
      break;
    default:
      return UnknownEnum("layout", header.layout(), "LAYOUT_ROW_MAJOR");
  }
  switch (header.scores().kind()) {
    case v1::SCORE_KIND_UNSPECIFIED:
    case v1::SCORE_KIND_MAGNITUDE:
      spec.problem.score_kind = ScoreKind::kMagnitude;
      break;
    case v1::SCORE_KIND_MAGNITUDE_TIMES_COLUMN_NORM:
      spec.problem.score_kind = ScoreKind::kMagnitudeTimesColumnNorm;
      break;
    case v1::SCORE_KIND_GIVEN:
      spec.problem.score_kind = ScoreKind::kGiven;
      break;
    default:
      return UnknownEnum(
          "scores.kind", header.scores().kind(),
          "SCORE_KIND_MAGNITUDE, SCORE_KIND_MAGNITUDE_TIMES_COLUMN_NORM, SCORE_KIND_GIVEN");
  }
  switch (header.edge()) {
    case v1::EDGE_UNSPECIFIED:
    case v1::EDGE_REFUSE:
      spec.edge = Edge::kRefuse;
      break;
    case v1::EDGE_PAD:
      spec.edge = Edge::kPad;
      break;
    default:
      return UnknownEnum("edge", header.edge(), "EDGE_REFUSE, EDGE_PAD");
  }
  return absl::OkStatus();
}

absl::Status ConvertPattern(const v1::TensorHeader& header, TensorSpec& spec) {
  if (!header.has_pattern()) {
    return absl::InvalidArgumentError("pattern is not set; it must be");
  }
  const absl::StatusOr<int> n = ToInt("pattern.n", header.pattern().n(), 1, kMaxM);
  if (!n.ok()) return n.status();
  const absl::StatusOr<int> m = ToInt("pattern.m", header.pattern().m(), 1, kMaxM);
  if (!m.ok()) return m.status();
  spec.problem.pattern = {*n, *m};
  return absl::OkStatus();
}

absl::StatusOr<MethodRow> FindMethod(v1::Method name) {
  if (name == v1::METHOD_UNSPECIFIED) name = v1::METHOD_OPTIMAL;
  std::vector<std::string> known;
  for (const MethodRow& row : kMethods) {
    if (row.name == name) return row;
    known.push_back(v1::Method_Name(row.name));
  }
  return UnknownEnum("method", name, absl::StrJoin(known, ", "));
}

// "tsenor" for the field of TensorHeader that holds the options of METHOD_TSENOR.
std::string FieldName(v1::TensorHeader::OptionsCase options) {
  return v1::TensorHeader::descriptor()->FindFieldByNumber(options)->name();
}

absl::Status ConvertMethod(const v1::TensorHeader& header, SolveOptions& options) {
  const absl::StatusOr<MethodRow> row = FindMethod(header.method());
  if (!row.ok()) return row.status();
  options.method = row->method;
  const v1::TensorHeader::OptionsCase given = header.options_case();
  if (given == v1::TensorHeader::OPTIONS_NOT_SET || given == row->options) return absl::OkStatus();
  const std::string expected = row->options == v1::TensorHeader::OPTIONS_NOT_SET
                                   ? "unset"
                                   : absl::StrCat("`", FieldName(row->options), "` or unset");
  return absl::InvalidArgumentError(absl::StrCat("options are `", FieldName(given),
                                                 "`; with method ", v1::Method_Name(row->name),
                                                 " they must be ", expected));
}

absl::Status ConvertOptions(const v1::TensorHeader& header, SolveOptions& options) {
  if (header.optimal().has_gap_tolerance()) {
    options.optimal.gap_tolerance = header.optimal().gap_tolerance();
  }
  const v1::TsenorOptions& tsenor = header.tsenor();
  if (tsenor.has_tau()) options.tsenor.tau = tsenor.tau();
  if (tsenor.has_iterations()) {
    const absl::StatusOr<int> iterations =
        ToInt("tsenor.iterations", tsenor.iterations(), 1, kMaxIterations);
    if (!iterations.ok()) return iterations.status();
    options.tsenor.iterations = *iterations;
  }
  if (tsenor.has_swaps()) {
    const absl::StatusOr<int> swaps = ToInt("tsenor.swaps", tsenor.swaps(), 0, kMaxSwaps);
    if (!swaps.ok()) return swaps.status();
    options.tsenor.swaps = *swaps;
  }
  const v1::MaxRandomOptions& max_random = header.max_random();
  if (max_random.has_samples()) {
    const absl::StatusOr<int> samples =
        ToInt("max_random.samples", max_random.samples(), 1, kMaxSamples);
    if (!samples.ok()) return samples.status();
    options.max_random.samples = *samples;
  }
  if (max_random.has_seed()) options.max_random.seed = max_random.seed();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TensorSpec> FromProto(const v1::TensorHeader& header) {
  TensorSpec spec;
  spec.name = header.name();
  if (absl::Status status = ConvertShape(header, spec); !status.ok()) return status;
  if (absl::Status status = ConvertEnums(header, spec); !status.ok()) return status;
  if (absl::Status status = ConvertPattern(header, spec); !status.ok()) return status;
  if (absl::Status status = ConvertMethod(header, spec.problem.options); !status.ok()) {
    return status;
  }
  if (absl::Status status = ConvertOptions(header, spec.problem.options); !status.ok()) {
    return status;
  }
  spec.priority = header.priority();
  if (header.has_file()) {
    const v1::FileRange& file = header.file();
    spec.file = {.path = file.path(),
                 .offset = file.offset(),
                 .size = file.size(),
                 .file_bytes = file.file_bytes(),
                 .mtime_ns = file.mtime_ns()};
  }
  const auto& norms = header.scores().column_norms();
  spec.column_norms.assign(norms.begin(), norms.end());
  return spec;
}

Chunk FromProto(const v1::DataChunk& chunk) {
  Chunk view;
  view.offset = chunk.offset();
  view.bytes = std::as_bytes(std::span(chunk.data()));
  if (chunk.has_crc32c()) view.crc32c = chunk.crc32c();
  return view;
}

void ToProto(const MaskRows& rows, v1::MaskChunk* chunk) {
  chunk->set_first_row(static_cast<uint64_t>(rows.first_row));
  chunk->set_row_count(static_cast<uint64_t>(rows.row_count));
  chunk->set_mask(rows.bytes.data(), rows.bytes.size());
  chunk->set_crc32c(rows.crc32c);
}

void ToProto(const Summary& summary, v1::SolveSummary* message) {
  const SolveStats& stats = summary.stats;
  message->set_name(summary.name);
  message->set_value(stats.value);
  message->set_bound(stats.bound);
  message->set_relative_gap(stats.relative_gap());
  message->set_score_sum(stats.score_sum);
  message->set_kept(static_cast<uint64_t>(stats.kept));
  message->set_blocks(static_cast<uint64_t>(stats.blocks));
  message->set_blocks_proven_optimal(static_cast<uint64_t>(stats.blocks_proven));
  message->set_blocks_short(static_cast<uint64_t>(stats.blocks_short));
  message->mutable_seconds()->set_receive(summary.receive_seconds);
  message->mutable_seconds()->set_queue(summary.queue_seconds);
  message->mutable_seconds()->set_solve(summary.solve_seconds);
  message->mutable_seconds()->set_total(summary.total_seconds);
  message->set_backend(summary.backend);
}

void ToProto(const SolverInfo& info, v1::Backend* backend) {
  backend->set_name(info.name);
  backend->set_device(info.device);
  backend->set_threads(static_cast<uint32_t>(info.threads));
}

void ToProto(const Limits& limits, v1::Limits* message) {
  message->set_max_m(kMaxM);
  message->set_max_tensor_bytes(static_cast<uint64_t>(limits.max_tensor_bytes));
  message->set_max_block_row_bytes(static_cast<uint64_t>(limits.max_block_row_bytes()));
  message->set_max_message_bytes(static_cast<uint64_t>(limits.max_message_bytes));
  message->set_proven_gap(kProvenGap);
}

void ListSupported(v1::GetServerInfoResponse* response) {
  response->add_dtypes(v1::DATA_TYPE_FLOAT32);
  response->add_dtypes(v1::DATA_TYPE_FLOAT16);
  response->add_dtypes(v1::DATA_TYPE_BFLOAT16);
  response->add_dtypes(v1::DATA_TYPE_FLOAT8_E4M3);
  response->add_dtypes(v1::DATA_TYPE_FLOAT8_E5M2);
  for (const MethodRow& row : kMethods) response->add_methods(row.name);
}

grpc::Status ToGrpc(const absl::Status& status) {
  // Abseil's codes are gRPC's, by definition; a test walks them.
  return grpc::Status(static_cast<grpc::StatusCode>(status.raw_code()),
                      std::string(status.message()));
}

}  // namespace tsenor::server
