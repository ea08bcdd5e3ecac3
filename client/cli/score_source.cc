#include "client/cli/score_source.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tsenor::cli {

absl::StatusOr<ScoreSource> ScoreSource::Open(const std::string& text) {
  constexpr size_t kPrefixLength = 6;  // "wanda:"
  ScoreSource source;
  if (text == "given") source.kind_ = v1::SCORE_KIND_GIVEN;
  if (text.rfind("wanda:", 0) == 0) {
    absl::StatusOr<client::SafetensorsFile> file =
        client::SafetensorsFile::Open(text.substr(kPrefixLength));
    if (!file.ok()) return file.status();
    source.kind_ = v1::SCORE_KIND_MAGNITUDE_TIMES_COLUMN_NORM;
    source.norms_.emplace(*std::move(file));
  }
  return source;
}

absl::StatusOr<std::vector<float>> ScoreSource::ColumnNorms(const std::string& name,
                                                            uint64_t columns) const {
  if (!norms_) return std::vector<float>();
  const client::TensorInfo* info = norms_->Find(name);
  if (info == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(norms_->path(), ": no column norms for tensor '", name, "'"));
  }
  if (info->dtype != "F32" || info->shape != std::vector<uint64_t>{columns}) {
    return absl::InvalidArgumentError(
        absl::StrCat(norms_->path(), ": the column norms of '", name, "' are ", info->dtype, " ",
                     client::ShapeString(info->shape), ", expected F32 [", columns, "]"));
  }
  std::vector<float> norms(columns);
  std::memcpy(norms.data(), norms_->Data(*info).data(), info->size_bytes());
  return norms;
}

}  // namespace tsenor::cli
