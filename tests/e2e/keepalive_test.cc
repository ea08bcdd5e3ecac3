// What becomes of connections whose other end is gone without a word: a machine that has died.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <span>
#include <string>
#include <vector>

#include "client/mask_client.h"
#include "tests/support/server_program.h"
#include "tests/support/stream_client.h"

namespace tsenor {
namespace {

using std::chrono::seconds;
using testing::MakeHeader;
using testing::ServerProgram;

// A client that opens an HTTP/2 connection and then answers nothing. Not thread-safe.
class DeadClient {
 public:
  explicit DeadClient(const std::string& address) {
    sockaddr_in server{};
    server.sin_family = AF_INET;
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.sin_port =
        htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&server), sizeof server), 0);
    const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const std::string settings("\0\0\0\4\0\0\0\0\0", 9);  // none
    EXPECT_EQ(::send(socket_, (preface + settings).data(), preface.size() + settings.size(), 0),
              static_cast<ssize_t>(preface.size() + settings.size()));
  }
  DeadClient(const DeadClient&) = delete;
  DeadClient& operator=(const DeadClient&) = delete;
  ~DeadClient() { ::close(socket_); }

  // Whether the server closes the connection within `patience`.
  bool IsClosedWithin(std::chrono::milliseconds patience) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    std::vector<char> bytes(4096);
    while (true) {
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      pollfd readable = {.fd = socket_, .events = POLLIN, .revents = 0};
      if (left.count() <= 0 || ::poll(&readable, 1, static_cast<int>(left.count())) <= 0) {
        return false;
      }
      if (::recv(socket_, bytes.data(), bytes.size(), 0) <= 0) return true;
    }
  }

 private:
  const int socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
};

TEST(Keepalive, TheServerClosesConnectionsThatNobodyAnswersOn) {
  ServerProgram server({"--backend", "cpu", "--keepalive-time", "1"});
  DeadClient dead(server.address());
  EXPECT_FALSE(dead.IsClosedWithin(std::chrono::milliseconds(500)));
  EXPECT_TRUE(dead.IsClosedWithin(seconds(20)));
}

TEST(Keepalive, TheServerAsksNobodyWhereThatIsOff) {
  ServerProgram server({"--backend", "cpu", "--keepalive-time", "0"});
  DeadClient dead(server.address());
  EXPECT_FALSE(dead.IsClosedWithin(seconds(3)));
}

TEST(Keepalive, AnAttemptEndsWhenItsServerIsGone) {
  ServerProgram server({"--backend", "cpu"});
  client::ClientOptions options;
  options.keepalive_time = seconds(1);
  options.retry.max_attempts = 1;
  const auto client = client::MaskClient::Connect(server.address(), options);
  ASSERT_TRUE(client.ok()) << client.status();
  const std::vector<float> weights(4096 * 4096, 1.0f);
  const auto start = std::chrono::steady_clock::now();
  const auto summary =
      (*client)->SolveTensor(MakeHeader(4096, 4096, 2, 4),
                             {.bytes = std::as_bytes(std::span(weights)),
                              .on_sent = [&server](uint64_t) { server.program().Signal(SIGSTOP); }},
                             [](const client::MaskRows&) { return absl::OkStatus(); });
  EXPECT_TRUE(absl::IsUnavailable(summary.status())) << summary.status();
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(30));
  server.program().Signal(SIGCONT);
}

}  // namespace
}  // namespace tsenor
