#include "server/log_format.h"

#include <spdlog/fmt/chrono.h>
#include <spdlog/pattern_formatter.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace tsenor::server {
namespace {

// Of the line that this thread logs: a logger without a queue formats where it is called.
thread_local const LogFields* current_fields = nullptr;

std::string Utc(spdlog::log_clock::time_point time) {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  const auto since_epoch = duration_cast<milliseconds>(time.time_since_epoch()).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                     fmt::gmtime(static_cast<std::time_t>(since_epoch / 1000)), since_epoch % 1000);
}

// What is no printable ASCII character, and the backslash, as \xNN.
std::string OneLine(absl::string_view text) {
  std::string line;
  for (const char c : text) {
    if (c >= ' ' && c <= '~' && c != '\\') {
      line += c;
    } else {
      absl::StrAppend(&line, "\\x", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
    }
  }
  return line;
}

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& line) override {
    nlohmann::ordered_json object = {
        {"time", Utc(message.time)},
        {"level", std::string(spdlog::level::to_string_view(message.level).data())},
        {"message", std::string(message.payload.data(), message.payload.size())}};
    if (current_fields != nullptr) {
      for (const auto& [name, value] : *current_fields) object[name] = value;
    }
    const std::string text =
        object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    line.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }
};

class TextFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& line) override {
    if (current_fields == nullptr) return pattern_.format(message, line);
    std::string text = OneLine({message.payload.data(), message.payload.size()});
    for (const auto& [name, value] : *current_fields) {
      absl::StrAppend(&text, " ", name, "=", OneLine(value));
    }
    spdlog::details::log_msg with_fields = message;
    with_fields.payload = text;
    pattern_.format(with_fields, line);
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<TextFormatter>();
  }

 private:
  spdlog::pattern_formatter pattern_;
};

}  // namespace

void LogWith(spdlog::level::level_enum level, const LogFields& fields, const std::string& message) {
  current_fields = &fields;
  spdlog::log(level, "{}", message);
  current_fields = nullptr;
}

std::unique_ptr<spdlog::formatter> MakeLogFormatter(bool json) {
  if (json) return std::make_unique<JsonFormatter>();
  return std::make_unique<TextFormatter>();
}

}  // namespace tsenor::server
