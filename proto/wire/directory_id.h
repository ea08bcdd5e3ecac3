// How client and server find out that they see the same directory.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace tsenor::wire {

// A file of this name in a directory tells who it is, wherever it is mounted.
inline constexpr char kDirectoryIdFile[] = ".tsenor-directory-id";

// Longest text that such a file may hold, in bytes: a UUID has 36.
inline constexpr size_t kMaxDirectoryIdBytes = 256;

// A text that is the same for two programs that see the same directory, and differs for any two
// directories. If the directory holds kDirectoryIdFile, "file:" and its first line: that is for
// volumes that several machines mount, and whoever writes the file sees to it that its text is like
// no other (`uuidgen`). Else "inode:" and the machine's boot id, device and inode: the same for all
// programs of one machine, in containers too, whatever the path that leads there.
//
// nullopt: `path` is no directory that can be searched, its kDirectoryIdFile cannot be read, is
// empty or too long, or the system has no boot id. Thread-safe.
std::optional<std::string> DirectoryId(const std::string& path);

}  // namespace tsenor::wire
