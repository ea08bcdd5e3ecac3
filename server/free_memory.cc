#include "server/free_memory.h"

#ifdef TSENOR_TCMALLOC
#include <gperftools/malloc_extension.h>
#else
#include <malloc.h>
#endif

namespace tsenor::server {

void ReleaseFreeMemory() {
#ifdef TSENOR_TCMALLOC
  MallocExtension::instance()->ReleaseFreeMemory();
#else
  malloc_trim(0);
#endif
}

}  // namespace tsenor::server
