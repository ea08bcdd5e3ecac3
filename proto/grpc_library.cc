#include "proto/grpc_library.h"

#include <grpc/grpc.h>
#include <openssl/crypto.h>

namespace tsenor {

GrpcLibrary::GrpcLibrary() {
  OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr);
  grpc_init();
}

GrpcLibrary::~GrpcLibrary() { grpc_shutdown_blocking(); }

}  // namespace tsenor
