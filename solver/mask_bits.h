// Writes a block's rows into a bit-packed mask (encoding as in Tile::mask).
#pragma once

#include <cstdint>

namespace tsenor {

// Sets the bits first_bit + j of `mask_row`, j < count, for which kept[j] is not 0; leaves others
// as they are. The caller clears rows first, and one thread owns a row at a time.
void SetMaskBits(uint8_t* mask_row, int64_t first_bit, const uint8_t* kept, int count);

// The same for entries that are packed already: bit j % 64 of kept[j / 64]. Bits of `kept` from
// `count` on must be 0.
void SetMaskBits(uint8_t* mask_row, int64_t first_bit, const uint64_t* kept, int count);

}  // namespace tsenor
