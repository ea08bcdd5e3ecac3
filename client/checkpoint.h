// A model's weights: one safetensors file, or a Hugging Face directory of one or many.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/safetensors.h"

namespace tsenor::client {

// Names in a Hugging Face directory.
inline constexpr char kSingleFileName[] = "model.safetensors";
inline constexpr char kIndexFileName[] = "model.safetensors.index.json";

// One tensor of a checkpoint.
struct CheckpointTensor {
  size_t shard = 0;                  // position in Checkpoint::shards()
  const TensorInfo* info = nullptr;  // of that shard; lives as long as the checkpoint
};

// All shards of a model, mapped. Invariant: tensor names are distinct over all shards.
// Thread-safe.
class Checkpoint {
 public:
  // Opens a .safetensors file, or a directory that holds kIndexFileName (all shards that it names)
  // or else kSingleFileName. Errors: NotFound, InvalidArgument: naming the file and what is wrong
  // with it; an index that names a tensor or a shard that is not there, or leaves one out, is
  // refused.
  static absl::StatusOr<Checkpoint> Open(const std::string& path);

  const std::string& path() const { return path_; }
  bool is_directory() const { return is_directory_; }
  const std::vector<SafetensorsFile>& shards() const { return shards_; }

  // Every tensor, shard by shard, in the order of their bytes.
  std::vector<CheckpointTensor> Tensors() const;

 private:
  Checkpoint(std::string path, bool is_directory, std::vector<SafetensorsFile> shards);

  std::string path_;
  bool is_directory_ = false;
  std::vector<SafetensorsFile> shards_;
};

}  // namespace tsenor::client
