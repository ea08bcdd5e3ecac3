// `tsenor bench` against a server that solves and against one that only carries.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/checkpoint_files.h"
#include "tests/support/client_program.h"
#include "tests/support/server_program.h"
#include "tests/support/temporary_directory.h"

namespace tsenor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Bench : public ::testing::Test {
 protected:
  // Runs `tsenor bench` briefly; fails the test if it fails. Returns what it wrote as JSON.
  nlohmann::json Run(const std::string& server, std::vector<std::string> arguments) {
    const std::string path = directory_ / "bench.json";
    arguments.insert(arguments.begin(), {"bench", "--warm-up", "0.1", "--window", "0.1",
                                         "--duration", "0.3", "--json", path});
    outcome_ = testing::RunClient(server, arguments);
    EXPECT_EQ(outcome_.exit_code, 0) << outcome_.err;
    return outcome_.exit_code == 0 ? nlohmann::json::parse(ReadWholeFile(path)) : nullptr;
  }

  const TemporaryDirectory directory_;
  ProgramOutcome outcome_;
};

TEST_F(Bench, MeasuresAServerThatSolves) {
  testing::ServerProgram server(
      {"--backend", "cpu", "--threads", "1", "--metrics-listen", "127.0.0.1:0"});
  const std::string metrics = "http://" + server.program().WaitForLine("metrics on ") + "/metrics";
  for (const char* rpc : {"stream", "unary"}) {
    const auto json = Run(server.address(),
                          {"--concurrency", "1,4", "--shape", "64x64:0.9,256x128:0.1", "--pattern",
                           "16:32,2:4", "--dtype", "float32,bfloat16,float8_e4m3", "--method",
                           "optimal,two-approx", "--rpc", rpc, "--metrics", metrics});
    ASSERT_EQ(json["levels"].size(), 2u);
    EXPECT_EQ(json["format"], "tsenor.bench/1");
    EXPECT_EQ(json["server"]["backends"][0]["name"], "cpu");
    EXPECT_EQ(json["levels"][1]["concurrency"], 4);
    for (const auto& level : json["levels"]) {
      EXPECT_EQ(level["errors"], nlohmann::json::object()) << level;
      EXPECT_GT(level["masks_per_second"], 0);
      EXPECT_GT(level["latency_seconds"]["p50"], 0);
      EXPECT_LE(level["latency_seconds"]["p50"], level["latency_seconds"]["p99"]);
      EXPECT_LE(level["latency_seconds"]["p99"], level["latency_seconds"]["max"]);
      EXPECT_GT(level["server_seconds"]["solve"], 0);
      EXPECT_GT(level["client_cpu_seconds_per_gigabyte"], 0);
      EXPECT_GT(level["server_cpu_seconds_per_gigabyte"], 0);
    }
    EXPECT_THAT(outcome_.out, AllOf(HasSubstr("4 in flight"), HasSubstr("solved by cpu: ")));
  }
}

TEST_F(Bench, MeasuresTheTransportWithAServerThatSolvesNothing) {
  testing::ServerProgram server({"--backend", "null"});
  const auto json =
      Run(server.address(), {"--rate", "200", "--shape", "512x512", "--connections", "2"});
  EXPECT_EQ(json["server"]["backends"][0]["name"], "null");
  EXPECT_EQ(json["levels"][0]["rate"], 200);
  EXPECT_EQ(json["levels"][0]["errors"], nlohmann::json::object());
  EXPECT_GT(json["levels"][0]["masks"], 0);
  EXPECT_FALSE(json["levels"][0].contains("server_cpu_seconds_per_gigabyte"));
  EXPECT_THAT(outcome_.out, HasSubstr("solved by null: solves nothing"));
}

TEST_F(Bench, NobodyTakesMasksOfAServerThatSolvesNothingByAccident) {
  testing::ServerProgram server({"--backend", "null"});
  const std::string weights = directory_ / "model.safetensors";
  const std::string out = directory_ / "out.safetensors";
  WriteCheckpointFile(weights, {GaussianMatrix("a", 8, 16)});
  const std::vector<std::string> mask = {"mask", weights, "--out", out, "--pattern", "2:4"};
  const ProgramOutcome refused = testing::RunClient(server.address(), mask);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("--allow-null-backend"));
  EXPECT_FALSE(std::filesystem::exists(out));

  std::vector<std::string> allowed = mask;
  allowed.push_back("--allow-null-backend");
  const ProgramOutcome taken = testing::RunClient(server.address(), allowed);
  EXPECT_EQ(taken.exit_code, 0) << taken.err;
  EXPECT_THAT(taken.out, HasSubstr("solved by null"));
  const ProgramOutcome verified =
      testing::RunClient(server.address(), {"verify", weights, out, "--pattern", "2:4"});
  EXPECT_EQ(verified.exit_code, 4) << "nobody mistakes them for masks";
}

TEST_F(Bench, ErrorsHaveTheirExitCodes) {
  testing::ServerProgram server({"--backend", "null", "--max-tensor-bytes", "16KiB"});
  const auto run = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"bench", "--warm-up",  "0",  "--window",
                                          "0.1",   "--duration", "0.1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return testing::RunClient(server.address(), arguments);
  };
  for (const std::vector<std::string>& wrong :
       std::vector<std::vector<std::string>>{{"--concurrency", "0"},
                                             {"--rate", "0"},
                                             {"--rate", "10", "--concurrency", "4"},
                                             {"--shape", "64"},
                                             {"--shape", "60x64"},
                                             {"--dtype", "int8"},
                                             {"--method", "magic"},
                                             {"--rpc", "carrier-pigeon"},
                                             {"--chunk-bytes", "0"},
                                             {"--tolerance", "nan"}}) {
    EXPECT_EQ(run(wrong).exit_code, 2) << ::testing::PrintToString(wrong);
  }
  const ProgramOutcome refused = run({"--shape", "256x256"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("no tensor was solved: INVALID_ARGUMENT"),
                                 HasSubstr("max_tensor_bytes")));
  EXPECT_EQ(run({"--shape", "64x64", "--metrics", "http://127.0.0.1:1/metrics"}).exit_code, 1);
  EXPECT_EQ(testing::RunClient("127.0.0.1:1", {"bench", "--shape", "64x64"}).exit_code, 3);
}

}  // namespace
}  // namespace tsenor
