// Addresses that the server listens on: "host:port" or "unix:PATH".
#pragma once

#include <string>

#include "absl/status/status.h"

namespace tsenor::server {

// The path of "unix:PATH", or "" of any other address.
std::string UnixPath(const std::string& address);

// Checks the form of `address` and removes the socket that a dead server may have left at its path.
// Errors: InvalidArgument for a malformed address; AlreadyExists if a server listens at the path,
// or if something lies there that is not a socket.
absl::Status PrepareAddress(const std::string& address);

}  // namespace tsenor::server
