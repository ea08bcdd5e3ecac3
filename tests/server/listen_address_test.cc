#include "server/listen_address.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>

namespace tsenor::server {
namespace {

// A socket that listens at `path` until it is closed; the file stays.
int Listen(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  const int socket_fd = socket(AF_UNIX, SOCK_STREAM, 0);
  EXPECT_EQ(bind(socket_fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(listen(socket_fd, 1), 0);
  return socket_fd;
}

std::string NewPath(const char* name) {
  const std::string path = ::testing::TempDir() + name + std::to_string(getpid());
  unlink(path.c_str());
  return path;
}

TEST(ListenAddress, AcceptsHostsWithPortsAndNewPaths) {
  for (const char* address : {"127.0.0.1:0", "localhost:65535", "[::1]:50051"}) {
    EXPECT_TRUE(PrepareAddress(address).ok()) << address;
  }
  EXPECT_TRUE(PrepareAddress("unix:" + NewPath("new")).ok());
}

TEST(ListenAddress, RefusesWhatIsNeither) {
  for (const char* address : {"", "localhost", "localhost:", ":50051", "localhost:http",
                              "localhost:65536", "localhost:-1", "unix:"}) {
    const absl::Status status = PrepareAddress(address);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address;
  }
  EXPECT_FALSE(PrepareAddress("unix:" + std::string(108, 'x')).ok());
}

TEST(ListenAddress, RemovesTheSocketOfADeadServer) {
  const std::string path = NewPath("stale");
  close(Listen(path));
  ASSERT_EQ(access(path.c_str(), F_OK), 0);
  EXPECT_TRUE(PrepareAddress("unix:" + path).ok());
  EXPECT_NE(access(path.c_str(), F_OK), 0);
}

TEST(ListenAddress, LeavesTheSocketOfALivingServer) {
  const std::string path = NewPath("living");
  const int living = Listen(path);
  EXPECT_EQ(PrepareAddress("unix:" + path).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(access(path.c_str(), F_OK), 0);
  close(living);
  unlink(path.c_str());
}

TEST(ListenAddress, LeavesFilesThatAreNoSockets) {
  const std::string path = NewPath("file");
  std::ofstream(path) << "precious";
  EXPECT_EQ(PrepareAddress("unix:" + path).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(access(path.c_str(), F_OK), 0);
  unlink(path.c_str());
}

}  // namespace
}  // namespace tsenor::server
