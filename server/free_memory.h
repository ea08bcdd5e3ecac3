// What the allocator keeps.
#pragma once

namespace tsenor::server {

// Gives memory that is free, but kept by the allocator, back to the kernel: after a burst of large
// messages the process would stay as large as it was. Takes a while: for quiet times. Thread-safe.
void ReleaseFreeMemory();

}  // namespace tsenor::server
