#include "proto/grpc_library.h"

#include <grpc/grpc.h>
#include <openssl/crypto.h>

#include "absl/synchronization/mutex.h"

namespace tsenor {

GrpcLibrary::GrpcLibrary() {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr);
  grpc_init();
}

GrpcLibrary::~GrpcLibrary() { grpc_shutdown_blocking(); }

}  // namespace tsenor
