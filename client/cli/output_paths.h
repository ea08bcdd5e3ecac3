// Where the files of `tsenor mask` may go, checked before any work.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "client/checkpoint.h"

namespace tsenor::cli {

// What the command line names.
struct OutputPaths {
  std::string out = {};
  std::string report = {};  // empty: none
  std::string scores = {};  // "wanda:FILE" reads FILE
  bool apply = false;
};

// Whether both outputs can appear under their names without taking the place of something that is
// read, of each other, or of what is no regular file. With `apply`, OUT may be the input file, or,
// for a directory, what no file stands in and the input directory does not hold.
// Errors: InvalidArgument, FailedPrecondition, and those of client::ResolveTarget(): naming the
// path.
absl::Status CheckOutputPaths(const OutputPaths& paths, const client::Checkpoint& checkpoint);

}  // namespace tsenor::cli
