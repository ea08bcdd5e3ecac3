// Safetensors files made by tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/safetensors_writer.h"
#include "tests/support/temporary_directory.h"

namespace tsenor {

// The bytes of a file with this JSON text and this data, well-formed or not.
inline std::string SafetensorsBytes(std::string_view json, std::string_view data = "") {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(uint64_t{json.size()} >> (8 * i));
  return bytes.append(json).append(data);
}

// A tensor and its content.
struct TestTensor {
  std::string name;
  std::string dtype;
  std::vector<uint64_t> shape;
  std::string bytes;
};

// A matrix of seeded Gaussian weights.
inline TestTensor GaussianMatrix(const std::string& name, uint64_t rows, uint64_t columns,
                                 uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> gaussian;
  std::vector<float> weights(rows * columns);
  for (float& weight : weights) weight = gaussian(random);
  std::string bytes(weights.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), weights.data(), bytes.size());
  return {name, "F32", {rows, columns}, std::move(bytes)};
}

// Writes a well-formed file. Aborts if that fails.
inline void WriteCheckpointFile(const std::string& path, const std::vector<TestTensor>& tensors,
                                const std::map<std::string, std::string>& metadata = {}) {
  client::SafetensorsHeader header;
  header.metadata = metadata;
  for (const TestTensor& tensor : tensors) {
    header.tensors.push_back({.name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape});
  }
  if (!client::LayOut(header).ok()) std::abort();
  auto writer = client::SafetensorsWriter::Create(path, header);
  if (!writer.ok()) std::abort();
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto bytes = std::as_bytes(std::span(tensors[i].bytes));
    if (!writer->Write(header.tensors[i], 0, bytes).ok()) std::abort();
  }
  if (!writer->Commit().ok()) std::abort();
}

}  // namespace tsenor
