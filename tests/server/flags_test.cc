#include "server/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace tsenor::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FlagsTest : public ::testing::Test {
 protected:
  ParsedFlags Parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "tsenor-server");
    return ParseFlags(static_cast<int>(arguments.size()), arguments.data(), out_, err_);
  }

  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(FlagsTest, Defaults) {
  const ParsedFlags parsed = Parse({});
  ASSERT_TRUE(parsed.flags.has_value()) << err_.str();
  EXPECT_THAT(parsed.flags->listen, ElementsAre("127.0.0.1:50051"));
  EXPECT_EQ(parsed.flags->metrics_listen, "");
  EXPECT_EQ(parsed.flags->health_listen, "");
  EXPECT_FALSE(parsed.flags->security.has_tls());
  EXPECT_EQ(parsed.flags->security.tls_reload_seconds, 10);
  EXPECT_EQ(parsed.flags->security.token_file, "");
  EXPECT_EQ(parsed.flags->weights_directory, "");
  EXPECT_EQ(parsed.flags->backend, "auto");
  EXPECT_THAT(parsed.flags->devices, ElementsAre());
  EXPECT_EQ(parsed.flags->limits.idle_timeout, std::chrono::seconds(60));
  EXPECT_EQ(parsed.flags->limits.min_stream_rate, 16 << 10);
  EXPECT_EQ(parsed.flags->limits.stream_window_bytes, 1 << 20);
  EXPECT_EQ(parsed.flags->batch.max_batch_time, std::chrono::milliseconds(2));
  EXPECT_EQ(parsed.flags->drain_timeout, std::chrono::seconds(30));
  EXPECT_EQ(parsed.flags->limits.memory_budget_bytes, int64_t{1} << 30);
}

TEST_F(FlagsTest, ListenMayBeRepeatedAndReplacesTheDefault) {
  const ParsedFlags parsed = Parse({"--listen", "unix:a.sock", "--listen", "[::1]:0"});
  ASSERT_TRUE(parsed.flags.has_value()) << err_.str();
  EXPECT_THAT(parsed.flags->listen, ElementsAre("unix:a.sock", "[::1]:0"));
}

TEST_F(FlagsTest, SizesHaveUnitsAndTimesHaveFractions) {
  const ParsedFlags parsed =
      Parse({"--memory-budget", "256MiB", "--piece-bytes", "65536", "--idle-timeout", "0.25",
             "--min-stream-rate", "1MiB", "--max-batch-delay", "0.001", "--max-batch-time", "0.25",
             "--stream-window", "128KiB", "--priority-ageing", "1.5", "--drain-delay", "0.5"});
  ASSERT_TRUE(parsed.flags.has_value()) << err_.str();
  EXPECT_EQ(parsed.flags->limits.memory_budget_bytes, 256 << 20);
  EXPECT_EQ(parsed.flags->batch.max_batch_time, std::chrono::milliseconds(250));
  EXPECT_EQ(parsed.flags->limits.stream_window_bytes, 128 << 10);
  EXPECT_EQ(parsed.flags->batch.priority_ageing, std::chrono::milliseconds(1500));
  EXPECT_EQ(parsed.flags->drain_delay, std::chrono::milliseconds(500));
  EXPECT_EQ(parsed.flags->limits.piece_bytes, 65536);
  EXPECT_EQ(parsed.flags->limits.idle_timeout, std::chrono::milliseconds(250));
  EXPECT_EQ(parsed.flags->limits.min_stream_rate, 1 << 20);
  EXPECT_EQ(parsed.flags->batch.max_batch_delay, std::chrono::milliseconds(1));
}

TEST_F(FlagsTest, CommandLineBeatsFileBeatsEnvironment) {
  const std::string file = ::testing::TempDir() + "flags_test.toml";
  std::ofstream(file) << "threads = 3\nmax-streams = 7\n";
  setenv("TSENOR_SERVER_THREADS", "4", 1);
  setenv("TSENOR_SERVER_MAX_STREAMS", "8", 1);
  setenv("TSENOR_SERVER_LOG_LEVEL", "debug", 1);
  const ParsedFlags parsed = Parse({"--config", file.c_str(), "--threads", "5"});
  unsetenv("TSENOR_SERVER_THREADS");
  unsetenv("TSENOR_SERVER_MAX_STREAMS");
  unsetenv("TSENOR_SERVER_LOG_LEVEL");
  ASSERT_TRUE(parsed.flags.has_value()) << err_.str();
  EXPECT_EQ(parsed.flags->threads, 5);
  EXPECT_EQ(parsed.flags->limits.max_streams, 7);
  EXPECT_EQ(parsed.flags->log_level, "debug");
}

TEST_F(FlagsTest, AFileWithUnknownKeysOrGarbageIsRefused) {
  const std::string file = ::testing::TempDir() + "flags_test_garbage.toml";
  for (const char* text : {"max-streems = 7\n", "[server]\nthreads = 3\n", "no flags at all\n"}) {
    std::ofstream(file) << text;
    const ParsedFlags parsed = Parse({"--config", file.c_str()});
    EXPECT_FALSE(parsed.flags.has_value()) << text;
    EXPECT_NE(parsed.exit_code, 0) << text;
  }
}

TEST_F(FlagsTest, DevicesAreChosenForTheCudaBackendAlone) {
  const ParsedFlags parsed = Parse({"--backend", "cuda", "--devices", "1,3"});
  ASSERT_TRUE(parsed.flags.has_value()) << err_.str();
  EXPECT_EQ(parsed.flags->backend, "cuda");
  EXPECT_THAT(parsed.flags->devices, ElementsAre(1, 3));
  for (const char* backend : {"auto", "cpu"}) {
    EXPECT_FALSE(Parse({"--backend", backend, "--devices", "0"}).flags.has_value());
    EXPECT_THAT(err_.str(), HasSubstr("--devices is set; --backend must then be cuda"));
  }
}

TEST_F(FlagsTest, FlagsOfTlsGoTogether) {
  const ParsedFlags parsed =
      Parse({"--tls-certificate", "a.pem", "--tls-key", "a.key", "--tls-client-ca", "ca.pem",
             "--tls-reload-interval", "3", "--token-file", "tokens", "--health-listen", "[::1]:1"});
  ASSERT_TRUE(parsed.flags.has_value()) << err_.str();
  EXPECT_TRUE(parsed.flags->security.has_tls());
  EXPECT_EQ(parsed.flags->security.tls_client_ca, "ca.pem");
  EXPECT_EQ(parsed.flags->security.tls_reload_seconds, 3);
  EXPECT_EQ(parsed.flags->health_listen, "[::1]:1");
  EXPECT_FALSE(Parse({"--tls-key", "a.key"}).flags.has_value());
  EXPECT_THAT(err_.str(), HasSubstr("--tls-key is set; --tls-certificate must then be set, too"));
  EXPECT_FALSE(Parse({"--tls-certificate", "a.pem"}).flags.has_value());
  EXPECT_THAT(err_.str(), HasSubstr("--tls-certificate is set; --tls-key must then be set, too"));
  EXPECT_FALSE(Parse({"--tls-client-ca", "ca.pem"}).flags.has_value());
  EXPECT_THAT(err_.str(), HasSubstr("--tls-client-ca is set; --tls-certificate and --tls-key"));
}

TEST_F(FlagsTest, TokensNeedTlsOrUnixSocketsOrPermission) {
  EXPECT_FALSE(Parse({"--listen", "unix:a.sock", "--listen", "[::1]:0", "--token-file", "tokens"})
                   .flags.has_value());
  EXPECT_THAT(err_.str(), HasSubstr("--token-file is set, but on [::1]:0 everybody"));
  EXPECT_TRUE(Parse({"--listen", "unix:a.sock", "--token-file", "tokens"}).flags.has_value());
  EXPECT_TRUE(Parse({"--token-file", "tokens", "--allow-plaintext-token"}).flags.has_value());
  EXPECT_TRUE(Parse({"--token-file", "tokens", "--tls-certificate", "a.pem", "--tls-key", "a.key"})
                  .flags.has_value());
}

TEST_F(FlagsTest, HelpAndVersionEndTheProcessWithSuccess) {
  ParsedFlags parsed = Parse({"--help"});
  EXPECT_FALSE(parsed.flags.has_value());
  EXPECT_EQ(parsed.exit_code, 0);
  EXPECT_THAT(out_.str(), HasSubstr("--memory-budget"));
  EXPECT_THAT(out_.str(), HasSubstr("TSENOR_SERVER_LISTEN"));
  parsed = Parse({"--version"});
  EXPECT_EQ(parsed.exit_code, 0);
  EXPECT_THAT(out_.str(), HasSubstr("tsenor-server "));
}

TEST_F(FlagsTest, NonsenseEndsTheProcessWithAnError) {
  for (const auto& arguments : std::vector<std::vector<const char*>>{
           {"--no-such-flag"},
           {"stray"},
           {"--threads", "-1"},
           {"--stream-window", "1KiB"},
           {"--log-format", "xml"},
           {"--stream-window", "1GiB"},
           {"--backend", "abacus"},
           {"--backend", "cuda", "--devices", "-1"},
           {"--backend", "cuda", "--devices", "first"},
           {"--memory-budget", "lots"},
           {"--idle-timeout", "-1"},
           {"--idle-timeout", "nan"},
           {"--drain-timeout", "inf"},
           {"--tls-reload-interval", "0"},
           {"--tls-reload-interval", "0.5"},
           {"--max-batch-delay", "1e300"},
           {"--config", "no/such/file"},
           {"--piece-bytes", "1GiB"},
       }) {
    const ParsedFlags parsed = Parse(arguments);
    EXPECT_FALSE(parsed.flags.has_value()) << arguments[0];
    EXPECT_NE(parsed.exit_code, 0) << arguments[0];
  }
  EXPECT_THAT(err_.str(), HasSubstr("--piece-bytes is 1073741824; it must be in [1, 8388608]"));
}

}  // namespace
}  // namespace tsenor::server
