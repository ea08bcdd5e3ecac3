// gRPC for as long as a program runs.
#pragma once

namespace tsenor {

// Keeps gRPC up for its own lifetime, and takes it down before its destructor returns. Without one
// the last channel or server does that, perhaps on a detached thread, which then still works while
// the process ends.
//
// By default, OpenSSL frees its locks as soon as a process ends, with gRPC's threads perhaps still
// busy with a handshake: a client that had given up on a server crashed so, in
// pthread_rwlock_wrlock(nullptr). With this it leaves them to the kernel.
//
// Where Abseil is compiled with its assertions, as Debian's packages are, every lock of an
// absl::Mutex, of which gRPC takes dozens a call, asks a graph of all locks, which has one lock for
// the whole process, whether it may deadlock. With this it does not.
//
// Make one before anything else of gRPC or OpenSSL. Its threads take the signals that are not
// blocked then.
class GrpcLibrary {
 public:
  GrpcLibrary();
  GrpcLibrary(const GrpcLibrary&) = delete;
  GrpcLibrary& operator=(const GrpcLibrary&) = delete;
  ~GrpcLibrary();
};

}  // namespace tsenor
