// Lines of the log: for people, or JSON for programs.
#pragma once

#include <spdlog/formatter.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tsenor::server {

// What a line tells besides its message: names and values, in their order.
using LogFields = std::vector<std::pair<std::string, std::string>>;

// Logs `message` with `fields` by the default logger, which must have a formatter of
// MakeLogFormatter() for the fields to show. Values may come from clients: whatever bytes they
// hold, the line stays one line. Thread-safe.
void LogWith(spdlog::level::level_enum level, const LogFields& fields, const std::string& message);

// `json`: a line is an object with "time" (UTC, RFC 3339, milliseconds), "level", "message", and
// the fields, all strings; bytes that are no UTF-8 are replaced. Otherwise spdlog's own form, with
// name=value behind the message; what is no printable ASCII character, and the backslash, as \xNN.
std::unique_ptr<spdlog::formatter> MakeLogFormatter(bool json);

}  // namespace tsenor::server
