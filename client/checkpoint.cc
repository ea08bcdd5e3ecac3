#include "client/checkpoint.h"

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tsenor::client {
namespace {

namespace fs = std::filesystem;

// Which shard holds a tensor, as an index tells it.
using WeightMap = std::map<std::string, std::string>;

absl::Status Bad(const fs::path& path, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(path.string(), ": ", what));
}

// A shard is a plain file name: an index must not lead out of its directory.
bool IsPlainName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

absl::StatusOr<WeightMap> ReadIndex(const fs::path& path) {
  const absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  if (file->bytes().size() > kMaxSafetensorsHeaderBytes) return Bad(path, "larger than 100 MB");
  const auto* text = reinterpret_cast<const char*>(file->bytes().data());
  const nlohmann::json root =
      nlohmann::json::parse(text, text + file->bytes().size(), nullptr, /*allow_exceptions=*/false);
  if (!root.is_object() || !root.contains("weight_map") || !root["weight_map"].is_object()) {
    return Bad(path, "no JSON object with a weight_map");
  }
  WeightMap shard_of;
  for (const auto& [tensor, shard] : root["weight_map"].items()) {
    if (!shard.is_string() || !IsPlainName(shard.get<std::string>())) {
      return Bad(path, absl::StrCat("the shard of '", tensor, "' is not a file name"));
    }
    shard_of.emplace(tensor, shard.get<std::string>());
  }
  if (shard_of.empty()) return Bad(path, "weight_map is empty");
  return shard_of;
}

// Every tensor lies where the index says, and no shard holds another.
absl::Status CheckAgainstIndex(const fs::path& index, const WeightMap& shard_of,
                               const std::vector<SafetensorsFile>& shards) {
  size_t found = 0;
  for (const SafetensorsFile& shard : shards) {
    for (const TensorInfo& tensor : shard.header().tensors) {
      const auto named = shard_of.find(tensor.name);
      if (named == shard_of.end() || named->second != fs::path(shard.path()).filename()) {
        return Bad(index, absl::StrCat("does not place '", tensor.name, "' in ", shard.path()));
      }
      ++found;
    }
  }
  if (found == shard_of.size()) return absl::OkStatus();
  return Bad(index,
             absl::StrCat("names ", shard_of.size(), " tensors, but the shards hold ", found));
}

absl::StatusOr<std::vector<SafetensorsFile>> OpenShards(const fs::path& directory) {
  const fs::path index = directory / kIndexFileName;
  absl::StatusOr<WeightMap> shard_of = ReadIndex(index);
  if (!shard_of.ok()) return shard_of.status();
  std::map<std::string, bool> names;  // sorted, each once
  for (const auto& [tensor, shard] : *shard_of) names[shard] = true;
  std::vector<SafetensorsFile> shards;
  for (const auto& [name, unused] : names) {
    absl::StatusOr<SafetensorsFile> shard = SafetensorsFile::Open(directory / name);
    if (!shard.ok()) return shard.status();
    shards.push_back(*std::move(shard));
  }
  if (absl::Status status = CheckAgainstIndex(index, *shard_of, shards); !status.ok())
    return status;
  return shards;
}

}  // namespace

Checkpoint::Checkpoint(std::string path, bool is_directory, std::vector<SafetensorsFile> shards)
    : path_(std::move(path)), is_directory_(is_directory), shards_(std::move(shards)) {}

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    return absl::NotFoundError(absl::StrCat(path, ": no such file or directory"));
  }
  const bool is_directory = fs::is_directory(status);
  if (is_directory && fs::exists(fs::path(path) / kIndexFileName, error)) {
    absl::StatusOr<std::vector<SafetensorsFile>> shards = OpenShards(path);
    if (!shards.ok()) return shards.status();
    return Checkpoint(path, true, *std::move(shards));
  }
  const fs::path file = is_directory ? fs::path(path) / kSingleFileName : fs::path(path);
  if (!fs::exists(file, error)) {
    return absl::NotFoundError(absl::StrCat(path, ": neither ", kIndexFileName, " nor ",
                                            kSingleFileName, " in this directory"));
  }
  absl::StatusOr<SafetensorsFile> shard = SafetensorsFile::Open(file);
  if (!shard.ok()) return shard.status();
  std::vector<SafetensorsFile> shards;
  shards.push_back(*std::move(shard));
  return Checkpoint(path, is_directory, std::move(shards));
}

std::vector<CheckpointTensor> Checkpoint::Tensors() const {
  std::vector<CheckpointTensor> tensors;
  for (size_t shard = 0; shard < shards_.size(); ++shard) {
    for (const TensorInfo& tensor : shards_[shard].header().tensors) {
      tensors.push_back({.shard = shard, .info = &tensor});
    }
  }
  return tensors;
}

}  // namespace tsenor::client
