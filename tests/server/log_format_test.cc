#include "server/log_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

namespace tsenor::server {
namespace {

using ::testing::EndsWith;
using ::testing::MatchesRegex;

class LogFormatTest : public ::testing::Test {
 protected:
  ~LogFormatTest() override { spdlog::set_default_logger(before_); }

  void Use(bool json) {
    auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(out_);
    spdlog::set_default_logger(std::make_shared<spdlog::logger>("test", sink));
    spdlog::set_formatter(MakeLogFormatter(json));
  }

  int64_t Lines() const {
    const std::string text = out_.str();
    return std::count(text.begin(), text.end(), '\n');
  }

  const std::shared_ptr<spdlog::logger> before_ = spdlog::default_logger();
  std::ostringstream out_;
};

TEST_F(LogFormatTest, ALineIsAnObject) {
  Use(/*json=*/true);
  LogWith(spdlog::level::warn, {{"request_id", "a-1"}, {"code", "NOT_FOUND"}}, "it \"failed\"\n");
  const auto line = nlohmann::json::parse(out_.str());
  EXPECT_EQ(line["level"], "warning");
  EXPECT_EQ(line["message"], "it \"failed\"\n");
  EXPECT_EQ(line["request_id"], "a-1");
  EXPECT_EQ(line["code"], "NOT_FOUND");
  EXPECT_THAT(line["time"].get<std::string>(), MatchesRegex("20..-..-..T..:..:..\\....Z"));
  EXPECT_EQ(Lines(), 1);
}

TEST_F(LogFormatTest, LinesWithoutFieldsAreObjectsToo) {
  Use(/*json=*/true);
  LogWith(spdlog::level::info, {{"request_id", "a-1"}}, "one");
  out_.str("");
  spdlog::info("two");
  const auto line = nlohmann::json::parse(out_.str());
  EXPECT_EQ(line["message"], "two");
  EXPECT_FALSE(line.contains("request_id"));  // that was another line's
}

TEST_F(LogFormatTest, WhateverBytesAClientSendsALineIsOneLine) {
  const std::string bytes("a\n\xff\x00z", 5);
  for (const bool json : {true, false}) {
    out_.str("");
    Use(json);
    LogWith(spdlog::level::info, {{"request_id", bytes}}, bytes);
    EXPECT_EQ(Lines(), 1);
    EXPECT_EQ(nlohmann::json::accept(out_.str()), json) << out_.str();
  }
}

TEST_F(LogFormatTest, TextHasTheFieldsBehindTheMessage) {
  Use(/*json=*/false);
  LogWith(spdlog::level::info, {{"request_id", "a-1"}, {"peer", "unix:"}}, "done");
  EXPECT_THAT(out_.str(), EndsWith("[test] [info] done request_id=a-1 peer=unix:\n"));
  out_.str("");
  spdlog::info("plain");
  EXPECT_THAT(out_.str(), EndsWith("[test] [info] plain\n"));
  LogWith(spdlog::level::info, {{"name", "a\\\n\xff"}}, "the \"file\"\t");
  EXPECT_THAT(out_.str(), EndsWith("[info] the \"file\"\\x09 name=a\\x5c\\x0a\\xff\n"));
}

}  // namespace
}  // namespace tsenor::server
