#include "server/buffer.h"

#include <new>

namespace tsenor::server {

Buffer Buffer::Allocate(size_t size) {
  // A cache line, which is also the widest vector register.
  constexpr std::align_val_t kAlignment{64};
  void* memory = ::operator new(size, kAlignment);
  return Buffer({static_cast<std::byte*>(memory), size},
                std::shared_ptr<void>(
                    memory, [kAlignment](void* owned) { ::operator delete(owned, kAlignment); }));
}

}  // namespace tsenor::server
