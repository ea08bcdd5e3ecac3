#include "client/cli/selection.h"

#include <re2/re2.h>

#include <map>

#include "absl/strings/str_cat.h"

namespace tsenor::cli {
namespace {

// TensorHeader.name of the API holds no more.
constexpr size_t kMaxNameBytes = 1024;

v1::DataType DataTypeOf(const std::string& dtype) {
  if (dtype == "F32") return v1::DATA_TYPE_FLOAT32;
  if (dtype == "F16") return v1::DATA_TYPE_FLOAT16;
  if (dtype == "BF16") return v1::DATA_TYPE_BFLOAT16;
  if (dtype == "F8_E4M3") return v1::DATA_TYPE_FLOAT8_E4M3;
  if (dtype == "F8_E5M2") return v1::DATA_TYPE_FLOAT8_E5M2;
  return v1::DATA_TYPE_UNSPECIFIED;
}

// Decides tensor by tensor. Not thread-safe.
class Selector {
 public:
  explicit Selector(const SelectionRules& rules)
      : rules_(rules), include_(rules.include, RE2::Quiet), exclude_(rules.exclude, RE2::Quiet) {}

  // Why not; empty if the tensor is selected.
  std::string ReasonToSkip(const client::TensorInfo& tensor) const {
    if (!rules_.include.empty() && !RE2::PartialMatch(tensor.name, include_)) {
      return "not matched by --include";
    }
    if (!rules_.exclude.empty() && RE2::PartialMatch(tensor.name, exclude_)) {
      return "matched by --exclude";
    }
    if (tensor.name.size() > kMaxNameBytes) return "name longer than 1024 bytes";
    if (tensor.shape.size() != 2) return absl::StrCat("not a matrix (", tensor.shape.size(), "-D)");
    if (DataTypeOf(tensor.dtype) == v1::DATA_TYPE_UNSPECIFIED) {
      return absl::StrCat("dtype ", tensor.dtype);
    }
    if (tensor.size_bytes() == 0) return "empty";
    const bool whole = tensor.shape[0] % rules_.m == 0 && tensor.shape[1] % rules_.m == 0;
    if (whole || rules_.pad) return "";
    return absl::StrCat("shape ", client::ShapeString(tensor.shape), " is not divided by ",
                        rules_.m);
  }

 private:
  const SelectionRules& rules_;
  const RE2 include_;
  const RE2 exclude_;
};

}  // namespace

uint64_t Selection::weights() const {
  uint64_t sum = 0;
  for (const SelectedTensor& tensor : selected) sum += tensor.weights();
  return sum;
}

std::string Selection::SkippedByReason() const {
  std::map<std::string, int> counts;
  for (const SkippedTensor& tensor : skipped) ++counts[tensor.reason];
  std::string text;
  for (const auto& [reason, count] : counts) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", count, " ", reason);
  }
  return text;
}

Selection SelectTensors(const client::Checkpoint& checkpoint, const SelectionRules& rules) {
  const Selector selector(rules);
  Selection selection;
  for (const client::CheckpointTensor& tensor : checkpoint.Tensors()) {
    const client::TensorInfo& info = *tensor.info;
    if (const std::string reason = selector.ReasonToSkip(info); !reason.empty()) {
      selection.skipped.push_back({info.name, reason});
      continue;
    }
    selection.selected.push_back({.source = tensor,
                                  .dtype = DataTypeOf(info.dtype),
                                  .rows = info.shape[0],
                                  .columns = info.shape[1]});
  }
  return selection;
}

}  // namespace tsenor::cli
