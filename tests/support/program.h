// Programs of the build, run by tests.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tsenor {

// How a program ended.
struct ProgramOutcome {
  int exit_code = -1;  // 128 + signal if a signal ended it
  std::string out;
  std::string err;
  int64_t peak_resident_bytes = 0;
};

// How a program is started.
struct ProgramOptions {
  std::vector<std::string> environment = {};  // "NAME=value", added to this process's
  uint64_t file_size_limit = 0;               // RLIMIT_FSIZE in bytes; 0: none
};

// A child process. Ends it, if it still runs, on destruction. Not thread-safe.
class Program {
 public:
  // Starts arguments[0], a path, with the others; standard input is empty.
  explicit Program(const std::vector<std::string>& arguments, const ProgramOptions& options = {});
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program();

  void Signal(int signal);

  // Waits until a line of standard output starts with `start` and returns the rest of that line;
  // empty if the program ends, or half a minute passes, without it.
  std::string WaitForLine(const std::string& start);

  // Waits for the end. REQUIRES: called once.
  ProgramOutcome Wait();

  // Greatest resident set so far, in bytes (VmHWM), of a running program.
  int64_t PeakResidentBytes() const;
  // Resident set now, in bytes (VmRSS), of a running program.
  int64_t ResidentBytes() const;

 private:
  int64_t StatusBytes(const std::string& field) const;

  pid_t pid_ = -1;  // -1 once waited for
  std::string out_path_;
  std::string err_path_;
};

// Runs a program to its end.
ProgramOutcome RunProgram(const std::vector<std::string>& arguments,
                          const ProgramOptions& options = {});

}  // namespace tsenor
