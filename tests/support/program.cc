#include "tests/support/program.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/support/temporary_directory.h"

namespace tsenor {
namespace {

std::string NewFile() {
  std::string name = (std::filesystem::temp_directory_path() / "tsenor_program.XXXXXX").string();
  const int fd = ::mkstemp(name.data());
  if (fd < 0) std::abort();
  ::close(fd);
  return name;
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// In the child: only what is safe after fork() in a program with threads.
void Execute(char* const* arguments, char* const* environment, const char* out, const char* err,
             uint64_t file_size_limit) {
  ::dup2(::open("/dev/null", O_RDONLY), STDIN_FILENO);
  ::dup2(::open(out, O_WRONLY | O_TRUNC), STDOUT_FILENO);
  ::dup2(::open(err, O_WRONLY | O_TRUNC), STDERR_FILENO);
  if (file_size_limit > 0) {
    const rlimit limit{file_size_limit, file_size_limit};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ::execve(arguments[0], arguments, environment);
  ::_exit(127);
}

}  // namespace

Program::Program(const std::vector<std::string>& arguments, const ProgramOptions& options)
    : out_path_(NewFile()), err_path_(NewFile()) {
  std::vector<std::string> variables = options.environment;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.push_back(*variable);
  const std::vector<char*> argument_pointers = Pointers(arguments);
  const std::vector<char*> variable_pointers = Pointers(variables);
  pid_ = ::fork();
  if (pid_ == 0) {
    Execute(argument_pointers.data(), variable_pointers.data(), out_path_.c_str(),
            err_path_.c_str(), options.file_size_limit);
  }
}

Program::~Program() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  std::filesystem::remove(out_path_);
  std::filesystem::remove(err_path_);
}

void Program::Signal(int signal) { ::kill(pid_, signal); }

std::string Program::WaitForLine(const std::string& start) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (std::chrono::steady_clock::now() < deadline) {
    std::istringstream lines(ReadWholeFile(out_path_));
    for (std::string line; std::getline(lines, line);) {
      if (!lines.eof() && line.rfind(start, 0) == 0) return line.substr(start.size());
    }
    siginfo_t ended{};
    ::waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT);
    if (ended.si_pid == pid_) return "";
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return "";
}

ProgramOutcome Program::Wait() {
  int status = 0;
  rusage usage{};
  ::wait4(pid_, &status, 0, &usage);
  pid_ = -1;
  return {.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          .out = ReadWholeFile(out_path_),
          .err = ReadWholeFile(err_path_),
          .peak_resident_bytes = int64_t{usage.ru_maxrss} * 1024};
}

int64_t Program::PeakResidentBytes() const { return StatusBytes("VmHWM:"); }

int64_t Program::ResidentBytes() const { return StatusBytes("VmRSS:"); }

int64_t Program::StatusBytes(const std::string& field) const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(field, 0) == 0) return std::stoll(line.substr(field.size())) * 1024;
  }
  return 0;
}

ProgramOutcome RunProgram(const std::vector<std::string>& arguments,
                          const ProgramOptions& options) {
  Program program(arguments, options);
  return program.Wait();
}

}  // namespace tsenor
