#include "client/cli/output_paths.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/atomic_file.h"

namespace tsenor::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kNormsPrefix = "wanda:";

// The path without links and dots; as it is if that cannot be found out. "out/" is "out".
fs::path Canonical(const fs::path& path) {
  std::error_code error;
  // Absolute first: a relative path of which nothing exists would stay relative.
  fs::path canonical = fs::weakly_canonical(fs::absolute(path, error), error);
  if (error) canonical = path;
  return canonical.filename().empty() ? canonical.parent_path() : canonical;
}

// True if both name one file, existing (by whatever links) or not yet.
bool IsSame(const fs::path& a, const fs::path& b) {
  std::error_code error;
  return fs::equivalent(a, b, error) || Canonical(a) == Canonical(b);
}

// True if `path` is `directory` or below it.
bool IsWithin(const fs::path& path, const fs::path& directory) {
  const fs::path inner = Canonical(path), outer = Canonical(directory);
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

absl::Status Refuse(const std::string& option, const std::string& path, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat(option, " ", path, ": ", why));
}

// Every file that the run reads, the shards first.
std::vector<std::string> FilesRead(const OutputPaths& paths, const client::Checkpoint& checkpoint) {
  std::vector<std::string> files;
  for (const client::SafetensorsFile& shard : checkpoint.shards()) files.push_back(shard.path());
  if (checkpoint.is_directory()) {
    files.push_back((fs::path(checkpoint.path()) / client::kIndexFileName).string());
  }
  if (paths.scores.rfind(kNormsPrefix, 0) == 0) {
    files.push_back(paths.scores.substr(kNormsPrefix.size()));
  }
  return files;
}

// `replaceable`: the one file of `read` that may be replaced, empty if none.
absl::Status CheckFile(const std::string& option, const std::string& path,
                       const std::vector<std::string>& read, const std::string& replaceable) {
  const absl::StatusOr<std::string> target = client::ResolveTarget(path);
  if (!target.ok()) {
    return absl::Status(target.status().code(),
                        absl::StrCat(option, ": ", target.status().message()));
  }
  for (const std::string& file : read) {
    if (file != replaceable && IsSame(*target, file)) {
      return Refuse(option, path, absl::StrCat("would replace ", file, ", which is read"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckOutputPaths(const OutputPaths& paths, const client::Checkpoint& checkpoint) {
  const std::vector<std::string> read = FilesRead(paths, checkpoint);
  const bool to_directory = paths.apply && checkpoint.is_directory();
  if (to_directory) {
    if (IsWithin(paths.out, checkpoint.path())) {
      return Refuse("--out", paths.out, "lies within the input directory");
    }
    if (!paths.report.empty() && IsWithin(paths.report, paths.out)) {
      return Refuse("--report", paths.report, "lies within the directory of --out");
    }
  } else {
    const absl::Status status =
        CheckFile("--out", paths.out, read, paths.apply ? read.front() : std::string());
    if (!status.ok()) return status;
  }
  if (paths.report.empty()) return absl::OkStatus();
  if (absl::Status status = CheckFile("--report", paths.report, read, ""); !status.ok()) {
    return status;
  }
  if (IsSame(paths.out, paths.report)) {
    return Refuse("--report", paths.report, "is the file of --out");
  }
  return absl::OkStatus();
}

}  // namespace tsenor::cli
