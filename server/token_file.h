// The bearer tokens that open the server.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/clock.h"

namespace tsenor::server {

// A file with one token a line: several while tokens are being exchanged. A token has 16 to 4096
// printable ASCII characters and no space; empty lines do not count.
//
// Holds hashes of tokens alone, and tells neither log nor errors about a token. Does not own the
// clock. Thread-safe.
class TokenFile {
 public:
  // Errors: InvalidArgument naming file and line, unless the file can be read and has a token, and
  // nothing else.
  static absl::StatusOr<std::unique_ptr<TokenFile>> Open(std::string path, const Clock& clock);

  // Whether `authorization`, the header of that name, is "Bearer TOKEN" with a token of the file.
  // The time that takes depends on no token's characters.
  //
  // Looks at the file at most once a second, and reads it again if it has changed. A file that is
  // gone or damaged changes nothing but the log: the tokens that were good stay so.
  bool Accepts(std::string_view authorization);

 private:
  using Digest = std::array<unsigned char, 32>;  // SHA-256

  // What tells one state of the file from another.
  struct State {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    int64_t modified_ns = 0;
    bool operator==(const State&) const = default;
  };

  TokenFile(std::string path, const Clock& clock);

  static Digest DigestOf(std::string_view token);
  State Look() const;
  absl::Status Read();
  void ReadIfChanged();

  const std::string path_;
  const Clock& clock_;
  std::mutex mutex_;
  Time looked_;                  // guarded by mutex_, as all below
  State state_;                  // as it was looked at last
  std::vector<Digest> digests_;  // of the tokens
};

}  // namespace tsenor::server
