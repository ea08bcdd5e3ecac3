#include "server/listen_address.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace tsenor::server {
namespace {

constexpr char kUnixPrefix[] = "unix:";

absl::Status PrepareUnixPath(const std::string& path) {
  sockaddr_un socket_address = {};
  if (path.empty() || path.size() >= sizeof(socket_address.sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrCat("listen: the path of \"", kUnixPrefix, path, "\" has ", path.size(),
                     " bytes; it must have 1 to ", sizeof(socket_address.sun_path) - 1));
  }
  struct stat found = {};
  if (lstat(path.c_str(), &found) != 0)
    return absl::OkStatus();  // binding tells what else is wrong
  if (!S_ISSOCK(found.st_mode)) {
    return absl::AlreadyExistsError(absl::StrCat("listen: ", path, " exists and is not a socket"));
  }
  socket_address.sun_family = AF_UNIX;
  std::memcpy(socket_address.sun_path, path.c_str(), path.size() + 1);
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int connected =
      connect(probe, reinterpret_cast<const sockaddr*>(&socket_address), sizeof(socket_address));
  const bool refused = connected != 0 && errno == ECONNREFUSED;
  close(probe);
  if (!refused) {
    return absl::AlreadyExistsError(
        absl::StrCat("listen: another server listens on ", kUnixPrefix, path));
  }
  if (unlink(path.c_str()) != 0) {
    return absl::AlreadyExistsError(absl::StrCat("listen: cannot remove the stale socket ", path));
  }
  return absl::OkStatus();
}

}  // namespace

std::string UnixPath(const std::string& address) {
  return absl::StartsWith(address, kUnixPrefix) ? address.substr(sizeof(kUnixPrefix) - 1) : "";
}

absl::Status PrepareAddress(const std::string& address) {
  if (absl::StartsWith(address, kUnixPrefix)) return PrepareUnixPath(UnixPath(address));
  const size_t colon = address.rfind(':');
  const std::string port = colon == std::string::npos ? "" : address.substr(colon + 1);
  const bool is_number = !port.empty() && port.size() <= 5 &&
                         port.find_first_not_of("0123456789") == std::string::npos;
  if (colon == 0 || !is_number || std::stoi(port) > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("listen is \"", address,
                     "\"; it must be host:port with a port in [0, 65535], or unix:PATH"));
  }
  return absl::OkStatus();
}

}  // namespace tsenor::server
