// The program `tsenor`, run as its users run it, against a scripted server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "client/safetensors.h"
#include "tests/client/fake_mask_service.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/program.h"
#include "tests/support/silent_server.h"

namespace tsenor {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Stream = FakeMaskService::Stream;

constexpr char kTsenor[] = TSENOR_BINARY_DIR "/bin/tsenor";

class CommandLine : public ::testing::Test {
 protected:
  CommandLine() {
    WriteCheckpointFile(weights_, {GaussianMatrix("a", 8, 16),
                                   GaussianMatrix("b", 16, 8, 2),
                                   {"bias", "F32", {8}, std::string(32, 'x')}});
  }

  ProgramOutcome Run(std::vector<std::string> arguments, const ProgramOptions& options = {}) const {
    arguments.insert(arguments.begin(), kTsenor);
    return RunProgram(arguments, options);
  }

  // `tsenor mask` on the weights with what nearly every test gives.
  ProgramOutcome Mask(const std::string& address, const std::vector<std::string>& more = {},
                      const ProgramOptions& options = {}) const {
    std::vector<std::string> arguments = {"mask",      weights_, "--server", address,
                                          "--pattern", "2:4",    "--out",    out_};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(arguments, options);
  }

  std::vector<std::string> Verify(const std::string& masks) const {
    return {"verify", weights_, masks, "--pattern", "2:4"};
  }

  const TemporaryDirectory directory_;
  const std::string weights_ = directory_ / "model.safetensors";
  const std::string out_ = directory_ / "out.safetensors";
};

TEST_F(CommandLine, HelpNamesEveryCommandAndExitCode) {
  const ProgramOutcome help = Run({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  for (const char* text : {"mask", "verify", "info", "report", "--config", "Exit codes: 0 ok"}) {
    EXPECT_THAT(help.out, HasSubstr(text));
  }
  const ProgramOutcome mask = Run({"mask", "--help"});
  EXPECT_EQ(mask.exit_code, 0);
  for (const char* text : {"--server", "--pattern", "--method", "--out", "--dense", "--apply",
                           "--include", "--exclude", "--scores", "--edge", "--report", "--parallel",
                           "--quiet", "--allow-null-backend"}) {
    EXPECT_THAT(mask.out, HasSubstr(text));
  }
  const ProgramOutcome bench = Run({"bench", "--help"});
  EXPECT_EQ(bench.exit_code, 0);
  for (const char* text :
       {"--server", "--concurrency", "--rate", "--max-in-flight", "--connections", "--timeout",
        "--shape", "--pattern", "--dtype", "--method", "--rpc", "--chunk-bytes", "--seed",
        "--warm-up", "--window", "--duration", "--tolerance", "--metrics", "--json"}) {
    EXPECT_THAT(bench.out, HasSubstr(text));
  }
}

TEST_F(CommandLine, TellsItsVersion) {
  const ProgramOutcome version = Run({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.out, HasSubstr("tsenor 0."));
}

TEST_F(CommandLine, UsageErrorsExitWithTwo) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"unknown"},
      {"mask", weights_},
      {"mask", weights_, "--out", out_, "--pattern", "5:4"},
      {"mask", weights_, "--out", out_, "--pattern", "2-4"},
      {"mask", weights_, "--out", out_, "--pattern", "2:4", "--method", "magic"},
      {"mask", weights_, "--out", out_, "--pattern", "2:4", "--include", "("},
      {"mask", weights_, "--out", out_, "--pattern", "2:4", "--scores", "wanda:"},
      {"mask", weights_, "--out", out_, "--pattern", "2:4", "--dense", "--apply"},
      {"mask", weights_, "--out", out_, "--pattern", "2:4", "--tau", "3"},
      {"mask", weights_, "--out", out_, "--pattern", "2:4", "--gap-tolerance", "1", "--method",
       "tsenor"},
      {"mask", weights_, "--out", out_, "--pattern", "2:4", "--samples", "10"},
      {"mask", weights_, "--out", out_, "--pattern", "2:4", "--method", "row-nm", "--seed", "1"},
      {"mask", weights_, "--out", out_, "--pattern", "2:4", "--method", "max-random", "--samples",
       "-1"},
      {"verify", weights_, out_, "--pattern", "2:4", "--lines", "diagonals"},
      {"verify", weights_, out_, "--pattern", "2:400"},
      {"mask", weights_, "--out", out_, "--pattern", "2:400"},
      {"verify", weights_, out_, "--pattern", "5:4"},
      {"mask", weights_, "--out", out_, "--pattern", " 2 : 4"},
      {"mask", weights_, "--out", out_, "--pattern", "+2:4"},
      {"mask", weights_, "--out", out_, "--pattern", "02:04"},
      {"verify", weights_, out_, "--pattern", "02:4"},
      {"mask", weights_, "--out", out_, "--pattern", "2:4", "--timeout", "nan"},
      {"mask", weights_, "--out", out_, "--pattern", "2:4", "--connect-timeout", "nan"},
      {"mask", weights_, "--out", out_, "--pattern", "2:4", "--method", "tsenor", "--tau", "nan"},
      {"mask", weights_, "--out", out_, "--pattern", "2:4", "--gap-tolerance", "nan"},
      {"info", "--server", ""},
      {"info", "--server", "localhost"},
      {"info", "--server", "localhost:"},
      {"info", "--server", ":50051"},
      {"info", "--server", "localhost:0"},
      {"info", "--server", "localhost:65536"},
      {"info", "--server", "localhost:+1"},
      {"info", "--server", "http://localhost:50051"},
      {"info", "--server", "::1:50051"},
      {"info", "--server", "unix:"}};
  for (const auto& arguments : wrong) {
    const ProgramOutcome outcome = Run(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << ::testing::PrintToString(arguments) << outcome.err;
    EXPECT_NE(outcome.err, "");
  }
}

TEST_F(CommandLine, MasksWritesATableAndAReport) {
  const FakeServer server;
  const std::string report = directory_ / "report.json";
  const ProgramOutcome outcome = Mask(server.address(), {"--report", report});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("8 x 16"), HasSubstr("25.000 %"), HasSubstr("total (2 tensors)")));
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("skipped: 1 not a matrix (1-D)"), HasSubstr("[2/2]")));
  const auto json = nlohmann::json::parse(ReadWholeFile(report));
  EXPECT_EQ(json["server"]["version"], "9.8.7");
  EXPECT_EQ(json["tensors"].size(), 2u);
  EXPECT_EQ(json["skipped"][0]["reason"], "not a matrix (1-D)");
  const ProgramOutcome table = Run({"report", report, report});
  EXPECT_EQ(table.exit_code, 0);
  EXPECT_THAT(table.out, HasSubstr("total (4 tensors)"));
  const auto file = client::SafetensorsFile::Open(out_);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->header().metadata.at("pattern"), "2:4");
  EXPECT_EQ(file->Find("a")->shape, (std::vector<uint64_t>{8, 2}));
}

TEST_F(CommandLine, QuietSaysNothingOnStderr) {
  const FakeServer server;
  EXPECT_EQ(Mask(server.address(), {"--quiet"}).err, "");
}

TEST_F(CommandLine, OptionsComeFromTheEnvironmentAndAConfigurationFile) {
  const FakeServer server;
  const ProgramOutcome by_environment =
      Run({"mask", weights_}, {.environment = {"TSENOR_SERVER=" + server.address(),
                                               "TSENOR_PATTERN=1:4", "TSENOR_OUT=" + out_}});
  EXPECT_EQ(by_environment.exit_code, 0) << by_environment.err;
  EXPECT_EQ(client::SafetensorsFile::Open(out_)->header().metadata.at("pattern"), "1:4");

  WriteWholeFile(directory_ / "tsenor.toml", "[mask]\nserver = \"" + server.address() +
                                                 "\"\npattern = \"3:4\"\nout = \"" + out_ +
                                                 "\"\ndense = true\n");
  const ProgramOutcome by_file = Run({"mask", weights_, "--config", directory_ / "tsenor.toml"});
  EXPECT_EQ(by_file.exit_code, 0) << by_file.err;
  const auto file = client::SafetensorsFile::Open(out_);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->header().metadata.at("pattern"), "3:4");
  EXPECT_EQ(file->header().metadata.at("encoding"), "dense");
}

TEST_F(CommandLine, AFileWinsOverTheEnvironmentAndTheCommandLineOverBoth) {
  const FakeServer server;
  const std::string file = directory_ / "tsenor.toml";
  WriteWholeFile(file, "[mask]\npattern = \"3:4\"\n");
  const auto pattern_of = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"mask", weights_,   "--out",
                                          out_,   "--server", server.address()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramOutcome outcome =
        Run(arguments, {.environment = {"TSENOR_CONFIG=" + file, "TSENOR_PATTERN=1:4"}});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return client::SafetensorsFile::Open(out_)->header().metadata.at("pattern");
  };
  EXPECT_EQ(pattern_of({}), "3:4");
  EXPECT_EQ(pattern_of({"--pattern", "2:4"}), "2:4");
  const ProgramOutcome absent = Run({"info"}, {.environment = {"TSENOR_CONFIG=absent.toml"}});
  EXPECT_EQ(absent.exit_code, 2);
  EXPECT_THAT(absent.err, HasSubstr("absent.toml"));
}

TEST_F(CommandLine, AConfigurationFileWithUnknownKeysIsRefused) {
  const FakeServer server;
  const std::string file = directory_ / "tsenor.toml";
  for (const char* text :
       {"[mask]\npatern = \"3:4\"\n", "[maks]\nquiet = true\n", "no key\n", "pattern = \"3:4\"\n",
        "\x7f"
        "ELF\x01\n"}) {
    WriteWholeFile(file, text);
    const ProgramOutcome outcome = Mask(server.address(), {"--config", file});
    EXPECT_EQ(outcome.exit_code, 2) << text << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(out_)) << text;
  }
}

TEST_F(CommandLine, AFullStandardOutputIsAFailure) {
  const FakeServer server;
  const std::string report = directory_ / "report.json";
  ASSERT_EQ(Mask(server.address(), {"--report", report}).exit_code, 0);
  const std::string mask = "mask " + weights_ + " --pattern 2:4 --out " + out_ + " --quiet";
  for (const std::string& command : {"report " + report, std::string("info"), mask,
                                     std::string("info --json"), std::string("--help")}) {
    const ProgramOutcome outcome =
        RunProgram({"/bin/sh", "-c", std::string(kTsenor) + " " + command + " > /dev/full"},
                   {.environment = {"TSENOR_SERVER=" + server.address()}});
    EXPECT_EQ(outcome.exit_code, 1) << command;
    EXPECT_THAT(outcome.err, HasSubstr("cannot write to standard output")) << command;
  }
}

TEST_F(CommandLine, NamesAreFitForATerminal) {
  const FakeServer server;
  const std::string long_name = std::string(500, 'x') + ".weight";
  WriteCheckpointFile(weights_, {GaussianMatrix("a\x7f"
                                                "b\xc2\x9b"
                                                "c",
                                                8, 16),
                                 GaussianMatrix(long_name, 8, 16)});
  const ProgramOutcome outcome = Mask(server.address());
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const std::string& text : {outcome.out, outcome.err}) {
    EXPECT_THAT(text, AllOf(HasSubstr("a\\x7fb\\xc2\\x9bc"), Not(HasSubstr("\x7f"))));
  }
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("...xxxx"), HasSubstr("xx.weight ")));
  EXPECT_THAT(outcome.out, Not(HasSubstr(std::string(65, 'x'))));
}

TEST_F(CommandLine, BadInputIsNamedAndLeavesNothing) {
  const FakeServer server;
  const auto expect = [&](const std::string& input, const std::string& message) {
    const ProgramOutcome outcome =
        Run({"mask", input, "--server", server.address(), "--pattern", "2:4", "--out", out_});
    EXPECT_EQ(outcome.exit_code, 1) << message;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr(input), HasSubstr(message)));
    EXPECT_FALSE(std::filesystem::exists(out_));
  };
  expect(directory_ / "absent.safetensors", "no such file");
  const std::string bad = directory_ / "bad.safetensors";
  const std::string whole = ReadWholeFile(weights_);
  WriteWholeFile(bad, whole.substr(0, whole.size() - 1));
  expect(bad, "do not lie within");
  WriteWholeFile(bad, whole.substr(0, 20));
  expect(bad, "exceeds the 12 bytes that follow it");
  WriteWholeFile(bad, SafetensorsBytes(R"({"a":{"dtype":"F5","shape":[0],"data_offsets":[0,0]}})"));
  expect(bad, "unknown dtype 'F5'");
  WriteWholeFile(bad, SafetensorsBytes(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                       R"("b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                                       "x"));
  expect(bad, "overlaps");
  WriteCheckpointFile(bad, {{"bias", "F32", {8}, std::string(32, 'x')}});
  expect(bad, "no matching tensor: 1 not a matrix (1-D)");
}

TEST_F(CommandLine, NoServerExitsWithThree) {
  const ProgramOutcome mask = Mask("127.0.0.1:1", {"--connect-timeout", "0.1"});
  EXPECT_EQ(mask.exit_code, 3);
  EXPECT_THAT(mask.err, HasSubstr("no server at 127.0.0.1:1: "));
  EXPECT_THAT(directory_.Names(), ElementsAre("model.safetensors"));
}

TEST_F(CommandLine, AFailingTensorIsNamedAndLeavesNothing) {
  const FakeServer server([](int, grpc::ServerContext&, Stream& stream) {
    v1::TensorHeader header;
    FakeMaskService::ReadTensor(stream, header).ok();
    stream.Write(FakeMaskService::BlockRow(header, 0));
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "weights[3, 4] is NaN");
  });
  const ProgramOutcome outcome = Mask(server.address(), {"--parallel", "1"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("tensor 'a': weights[3, 4] is NaN"));
  EXPECT_THAT(directory_.Names(), ElementsAre("model.safetensors"));
}

TEST_F(CommandLine, AFullDiskLeavesNothing) {
  const FakeServer server;
  WriteCheckpointFile(weights_, {GaussianMatrix("a", 512, 512)});
  const ProgramOutcome outcome = Mask(server.address(), {"--dense"}, {.file_size_limit = 100'000});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("cannot write " + out_));
  EXPECT_THAT(directory_.Names(), ElementsAre("model.safetensors"));
  EXPECT_EQ(server.service().attempts(), 0);
}

TEST_F(CommandLine, SignalsLeaveNothing) {
  std::signal(SIGHUP, SIG_DFL);  // it may be ignored here (nohup), and programs inherit that
  // The last two come together, as process managers send them.
  const std::vector<std::vector<int>> cases = {{SIGINT},  {SIGTERM},         {SIGHUP},
                                               {SIGQUIT}, {SIGINT, SIGTERM}, {SIGTERM, SIGINT}};
  for (const std::vector<int>& signals : cases) {
    std::atomic<bool> reached = false;
    const FakeServer server([&](int, grpc::ServerContext& context, Stream&) {
      reached = true;
      while (!context.IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      return grpc::Status::CANCELLED;
    });
    Program program({kTsenor, "mask", weights_, "--server", server.address(), "--pattern", "2:4",
                     "--out", out_});
    while (!reached) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    for (const int signal : signals) program.Signal(signal);
    const ProgramOutcome outcome = program.Wait();
    EXPECT_EQ(outcome.exit_code, 130) << signals.front();
    EXPECT_THAT(outcome.err, HasSubstr("interrupted")) << signals.front();
    EXPECT_THAT(directory_.Names(), ElementsAre("model.safetensors")) << signals.front();
  }
}

TEST_F(CommandLine, AnInterruptEndsConnecting) {
  SilentServer server;
  Program program({kTsenor, "mask", weights_, "--server", server.address(), "--pattern", "2:4",
                   "--out", out_, "--connect-timeout", "120"});
  server.WaitForClient();
  const auto start = std::chrono::steady_clock::now();
  program.Signal(SIGINT);
  const ProgramOutcome outcome = program.Wait();
  EXPECT_EQ(outcome.exit_code, 130);
  EXPECT_THAT(outcome.err, HasSubstr("interrupted"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST_F(CommandLine, AServerThatCancelsIsNoInterrupt) {
  const FakeServer server(
      [](int, grpc::ServerContext&, Stream&) { return grpc::Status::CANCELLED; });
  const ProgramOutcome outcome = Mask(server.address(), {"--max-attempts", "1"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("the server cancelled"));
}

// Method and options as the server reads them.
TEST_F(CommandLine, MethodsAreSentWithTheirOptions) {
  std::mutex mutex;
  v1::TensorHeader header;  // of the last tensor; guarded by mutex
  const FakeServer server([&](int, grpc::ServerContext&, Stream& stream) {
    v1::TensorHeader arrived;
    const grpc::Status status = FakeMaskService::ReadTensor(stream, arrived);
    if (!status.ok()) return status;
    const std::lock_guard lock(mutex);
    header = arrived;
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "seen");
  });
  // The other tensor's stream may still be under way when the command has ended.
  const auto seen = [&] {
    const std::lock_guard lock(mutex);
    return header;
  };
  const struct {
    const char* name;
    v1::Method method;
  } methods[] = {{"optimal", v1::METHOD_OPTIMAL},       {"tsenor", v1::METHOD_TSENOR},
                 {"two-approx", v1::METHOD_TWO_APPROX}, {"bi-nm", v1::METHOD_BI_NM},
                 {"max-random", v1::METHOD_MAX_RANDOM}, {"row-nm", v1::METHOD_ROW_NM},
                 {"column-nm", v1::METHOD_COLUMN_NM}};
  for (const auto& [name, method] : methods) {
    EXPECT_THAT(Mask(server.address(), {"--method", name}).err, HasSubstr("seen")) << name;
    EXPECT_EQ(seen().method(), method) << name;
    EXPECT_EQ(seen().options_case(), v1::TensorHeader::OPTIONS_NOT_SET) << name;
  }
  Mask(server.address(),
       {"--method", "max-random", "--samples", "7", "--seed", "18446744073709551615"});
  EXPECT_EQ(seen().max_random().samples(), 7u);
  EXPECT_EQ(seen().max_random().seed(), ~uint64_t{0});
}

TEST_F(CommandLine, InfoTellsWhatTheServerIs) {
  const FakeServer server;
  const ProgramOutcome text = Run({"info", "--server", server.address()});
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_THAT(text.out, AllOf(HasSubstr("version 9.8.7"), HasSubstr("fake: a script")));
  const ProgramOutcome json = Run({"info", "--json", "--server", server.address()});
  EXPECT_EQ(nlohmann::json::parse(json.out)["limits"]["max_m"], 128);
}

TEST_F(CommandLine, WandaNormsAreSentAndChecked) {
  std::mutex mutex;
  std::vector<float> norms;
  const FakeServer server([&](int, grpc::ServerContext&, Stream& stream) {
    v1::TensorHeader header;
    FakeMaskService::ReadTensor(stream, header).ok();
    const std::lock_guard lock(mutex);
    norms.assign(header.scores().column_norms().begin(), header.scores().column_norms().end());
    return grpc::Status(grpc::StatusCode::ABORTED, "seen");
  });
  TestTensor vector = GaussianMatrix("a", 16, 1);
  vector.shape = {16};
  WriteCheckpointFile(directory_ / "norms.safetensors", {vector});
  const std::string scores = "wanda:" + (directory_ / "norms.safetensors");
  EXPECT_THAT(Mask(server.address(), {"--scores", scores}).err,
              HasSubstr("no column norms for tensor 'b'"));
  EXPECT_THAT(Mask(server.address(), {"--scores", scores, "--include", "a"}).err,
              HasSubstr("seen"));
  EXPECT_EQ(std::memcmp(norms.data(), vector.bytes.data(), 64), 0);
  vector.shape = {4, 4};
  WriteCheckpointFile(directory_ / "norms.safetensors", {vector});
  EXPECT_THAT(Mask(server.address(), {"--scores", scores, "--include", "a"}).err,
              HasSubstr("are F32 [4, 4], expected F32 [16]"));
}

TEST_F(CommandLine, VerifyAcceptsFeasibleMasksAndTellsTheirGap) {
  const FakeServer server;
  ASSERT_EQ(Mask(server.address()).exit_code, 0);
  const ProgramOutcome outcome = Run(Verify(out_));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("yes"), HasSubstr("8 x 16"), HasSubstr("e-01")));
}

TEST_F(CommandLine, VerifyFindsInfeasibleMasks) {
  const auto masks = [](char byte) {
    return std::vector<TestTensor>{{"a", "U8", {8, 2}, std::string(16, byte)},
                                   {"b", "U8", {16, 1}, std::string(16, byte)}};
  };
  WriteCheckpointFile(out_, masks('\xff'));
  const ProgramOutcome over = Run(Verify(out_));
  EXPECT_EQ(over.exit_code, 4);
  EXPECT_THAT(over.out, HasSubstr("NO: 64 lines over, 0 under"));
  EXPECT_THAT(over.out, ::testing::ContainsRegex("[0-9] +-  100.000 %"));
  WriteCheckpointFile(out_, masks('\0'));
  const ProgramOutcome under = Run(Verify(out_));
  EXPECT_EQ(under.exit_code, 4);
  EXPECT_THAT(under.out, HasSubstr("NO: 0 lines over, 64 under"));
  std::vector<std::string> arguments = Verify(out_);
  arguments.push_back("--allow-short");
  EXPECT_EQ(Run(arguments).exit_code, 0);
}

TEST_F(CommandLine, VerifyRefusesMasksThatDoNotBelong) {
  const auto expect = [&](const std::vector<TestTensor>& masks, const std::string& message) {
    WriteCheckpointFile(out_, masks);
    const ProgramOutcome outcome = Run(Verify(out_));
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_THAT(outcome.err, HasSubstr(message));
  };
  const TestTensor a{"a", "U8", {8, 2}, std::string(16, '\x33')};
  const TestTensor b{"b", "U8", {16, 1}, std::string(16, '\x33')};
  expect({a}, "no mask for 'b'");
  expect({a, b, {"c", "U8", {1, 1}, "x"}}, "'c', which is not among the weights");
  expect({a, b, {"bias", "U8", {1, 1}, "x"}}, "a mask for 'bias': not a matrix (1-D)");
  expect({a, {"b", "U8", {8, 2}, std::string(16, '\x33')}},
         "the mask of 'b' is U8 [8, 2], expected");
}

}  // namespace
}  // namespace tsenor
