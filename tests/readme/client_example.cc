// The C++ client in README.md: sends one random matrix to the server at the given address.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "client/mask_client.h"

namespace {

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}

std::vector<float> RandomWeights(size_t count) {
  std::vector<float> weights(count);
  std::mt19937 random(1);
  std::normal_distribution<float> gaussian;
  for (float& weight : weights) weight = gaussian(random);
  return weights;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string address = argc > 1 ? argv[1] : "127.0.0.1:50051";
  auto client = tsenor::client::MaskClient::Connect(address);
  if (!client.ok()) return Fail(client.status());

  tsenor::v1::TensorHeader header;
  header.set_name("layer.0");
  header.add_shape(256);
  header.add_shape(512);
  header.set_dtype(tsenor::v1::DATA_TYPE_FLOAT32);
  header.mutable_pattern()->set_n(16);
  header.mutable_pattern()->set_m(32);

  const std::vector<float> weights = RandomWeights(256 * 512);
  tsenor::client::TensorSource source;
  source.bytes = std::as_bytes(std::span(weights));
  std::vector<uint8_t> mask(256 * 512 / 8);  // one bit a weight
  auto summary = (*client)->SolveTensor(header, source, [&](const tsenor::client::MaskRows& rows) {
    // Rows arrive as soon as they are solved, while the upload still runs.
    std::copy(rows.bits.begin(), rows.bits.end(), mask.begin() + rows.first_row * 512 / 8);
    return absl::OkStatus();
  });
  if (!summary.ok()) return Fail(summary.status());

  std::printf("kept %.4f of |w|, proven gap %.1e\n", summary->value() / summary->score_sum(),
              summary->relative_gap());
}
