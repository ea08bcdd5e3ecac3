// What every thread of the CPU backend does, on the best instruction set of the machine.
#pragma once

#include "solver/cpu/block_rows.h"

namespace tsenor::cpu {

// Solves block rows until none is left. Allocates a working memory of up to 0.3 MB once, 2.1 MB
// with Method::kTsenor; neither this method nor Method::kOptimal allocates anything for a block.
// Thread-safe: called by every thread that takes part.
void SolveRows(BlockRows& rows);

}  // namespace tsenor::cpu
