#include "server/token_file.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tsenor::server {
namespace {

constexpr char kScheme[] = "Bearer ";  // in any case (RFC 7235)

// Nobody guesses 16 characters of a random token; gRPC takes 8 KiB of headers in all.
constexpr size_t kLeastToken = 16;
constexpr size_t kGreatestToken = 4096;

// How often the file is looked at, at most: a token is exchanged within a second, and the look
// costs the calls nothing.
constexpr Duration kLookInterval = std::chrono::seconds(1);

bool IsToken(const std::string& line) {
  return line.size() >= kLeastToken && line.size() <= kGreatestToken &&
         std::all_of(line.begin(), line.end(), [](char c) { return c > ' ' && c <= '~'; });
}

}  // namespace

TokenFile::TokenFile(std::string path, const Clock& clock)
    : path_(std::move(path)), clock_(clock), looked_(clock.Now()), state_(Look()) {}

absl::StatusOr<std::unique_ptr<TokenFile>> TokenFile::Open(std::string path, const Clock& clock) {
  std::unique_ptr<TokenFile> tokens(new TokenFile(std::move(path), clock));
  if (absl::Status status = tokens->Read(); !status.ok()) return status;
  return tokens;
}

TokenFile::Digest TokenFile::DigestOf(std::string_view token) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest.data());
  return digest;
}

bool TokenFile::Accepts(std::string_view authorization) {
  constexpr size_t kSchemeSize = sizeof(kScheme) - 1;
  if (authorization.size() <= kSchemeSize ||
      strncasecmp(authorization.data(), kScheme, kSchemeSize) != 0) {
    return false;
  }
  const Digest digest = DigestOf(authorization.substr(kSchemeSize));
  const std::lock_guard lock(mutex_);
  ReadIfChanged();
  bool accepted = false;
  for (const Digest& good : digests_) {  // all of them, whichever fits
    accepted |= CRYPTO_memcmp(good.data(), digest.data(), digest.size()) == 0;
  }
  return accepted;
}

absl::Status TokenFile::Read() {
  std::vector<Digest> digests;
  std::ifstream file(path_);
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    if (!IsToken(line)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "token-file: line ", number, " of ", path_, " is no token; it must have ", kLeastToken,
          " to ", kGreatestToken, " printable ASCII characters and no space"));
    }
    digests.push_back(DigestOf(line));
  }
  if (!file.is_open() || file.bad()) {
    return absl::InvalidArgumentError(
        absl::StrCat("token-file: cannot read ", path_, ": ", std::strerror(errno)));
  }
  if (digests.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("token-file: there is no token in ", path_));
  }
  digests_ = std::move(digests);
  return absl::OkStatus();
}

TokenFile::State TokenFile::Look() const {
  struct stat found = {};
  if (stat(path_.c_str(), &found) != 0) return {};
  return {.device = found.st_dev,
          .inode = found.st_ino,
          .size = found.st_size,
          .modified_ns = int64_t{found.st_mtim.tv_sec} * 1'000'000'000 + found.st_mtim.tv_nsec};
}

void TokenFile::ReadIfChanged() {
  const Time now = clock_.Now();
  if (now - looked_ < kLookInterval) return;
  looked_ = now;
  const State state = Look();
  if (std::exchange(state_, state) == state) return;
  if (const absl::Status status = Read(); status.ok()) {
    spdlog::info("token-file: read {} tokens", digests_.size());
  } else {
    spdlog::error("{}; the old tokens stay good", status.ToString());
  }
}

}  // namespace tsenor::server
