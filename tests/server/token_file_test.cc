#include "server/token_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "tests/support/fake_clock.h"
#include "tests/support/temporary_directory.h"

namespace tsenor::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kFirst = "first-token-of-the-file";
const std::string kSecond = "second~token+of/the.file==";

class TokenFileTest : public ::testing::Test {
 protected:
  void Write(const std::string& text) { WriteWholeFile(path_, text); }

  std::unique_ptr<TokenFile> Open(const std::string& text) {
    Write(text);
    auto tokens = TokenFile::Open(path_, clock_);
    EXPECT_TRUE(tokens.ok()) << tokens.status();
    return *std::move(tokens);
  }

  const TemporaryDirectory directory_;
  const std::string path_ = directory_ / "tokens";
  testing::FakeClock clock_;
};

TEST_F(TokenFileTest, EveryLineIsAToken) {
  const auto tokens = Open("\n" + kFirst + "\r\n\n" + kSecond);
  EXPECT_TRUE(tokens->Accepts("Bearer " + kFirst));
  EXPECT_TRUE(tokens->Accepts("Bearer " + kSecond));
  EXPECT_TRUE(tokens->Accepts("bearer " + kSecond));
}

TEST_F(TokenFileTest, NothingElseIsAccepted) {
  const auto tokens = Open(kFirst + "\n" + kSecond + "\n");
  for (const std::string& authorization :
       {std::string(), std::string("Bearer"), std::string("Bearer "), kFirst, "Basic " + kFirst,
        "Bearer  " + kFirst, "Bearer " + kFirst + " ", "Bearer " + kFirst + "\n" + kSecond,
        "Bearer " + kFirst.substr(1), "Bearer " + kFirst.substr(0, kFirst.size() - 1),
        "Bearer F" + kFirst.substr(1), "Bearer " + kFirst + std::string(1, '\0')}) {
    EXPECT_FALSE(tokens->Accepts(authorization)) << authorization;
  }
}

TEST_F(TokenFileTest, ErrorsNameTheLineAndNotTheToken) {
  struct Case {
    std::string text;
    std::string message;
  };
  for (const Case& wrong : {Case{kFirst + "\nshort-secret\n", "line 2 of " + path_},
                            Case{"two tokens on a line\n", "line 1 of " + path_},
                            Case{"token-of-\x01-control", "line 1 of " + path_},
                            Case{std::string(4097, 'x'), "line 1 of " + path_},
                            Case{"\n\r\n", "there is no token in " + path_},
                            Case{"", "there is no token in " + path_}}) {
    Write(wrong.text);
    const auto tokens = TokenFile::Open(path_, clock_);
    EXPECT_TRUE(absl::IsInvalidArgument(tokens.status())) << wrong.message;
    EXPECT_THAT(std::string(tokens.status().message()),
                AllOf(HasSubstr(wrong.message), Not(HasSubstr("secret")), Not(HasSubstr(kFirst))));
  }
  for (const std::string& path : {directory_ / "none", directory_.path().string()}) {
    const auto tokens = TokenFile::Open(path, clock_);
    EXPECT_TRUE(absl::IsInvalidArgument(tokens.status()));
    EXPECT_THAT(std::string(tokens.status().message()), HasSubstr("cannot read " + path));
  }
}

TEST_F(TokenFileTest, AChangedFileCountsWithinASecond) {
  const auto tokens = Open(kFirst);
  Write(kSecond);
  EXPECT_TRUE(tokens->Accepts("Bearer " + kFirst));
  clock_.Advance(std::chrono::milliseconds(999));
  EXPECT_FALSE(tokens->Accepts("Bearer " + kSecond));
  clock_.Advance(std::chrono::milliseconds(1));
  EXPECT_TRUE(tokens->Accepts("Bearer " + kSecond));
  EXPECT_FALSE(tokens->Accepts("Bearer " + kFirst));
}

TEST_F(TokenFileTest, AFileThatIsGoneOrDamagedChangesNothing) {
  const auto tokens = Open(kFirst);
  const auto is_open = [&](const std::string& token) {
    clock_.Advance(std::chrono::seconds(1));
    return tokens->Accepts("Bearer " + token);
  };
  Write("");
  EXPECT_TRUE(is_open(kFirst));
  Write(kSecond + "\nshort\n");
  EXPECT_TRUE(is_open(kFirst));
  EXPECT_FALSE(is_open(kSecond));
  std::filesystem::remove(path_);
  EXPECT_TRUE(is_open(kFirst));
  Write(kSecond);
  EXPECT_TRUE(is_open(kSecond));
  EXPECT_FALSE(is_open(kFirst));
}

}  // namespace
}  // namespace tsenor::server
