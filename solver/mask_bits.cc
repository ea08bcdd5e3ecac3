#include "solver/mask_bits.h"

#include <bit>
#include <cstring>

namespace tsenor {

void SetMaskBits(uint8_t* mask_row, int64_t first_bit, const uint8_t* kept, int count) {
  for (int j = 0; j < count; ++j) {
    const int64_t bit = first_bit + j;
    mask_row[bit / 8] |= static_cast<uint8_t>((kept[j] != 0) << (bit % 8));
  }
}

void SetMaskBits(uint8_t* mask_row, int64_t first_bit, const uint64_t* kept, int count) {
  uint8_t* byte = mask_row + first_bit / 8;
  const int offset = static_cast<int>(first_bit % 8);
  if (offset == 0 && count % 32 == 0) {
    // The common case, in whole words: the encoding is that of a little-endian machine's integers.
    static_assert(std::endian::native == std::endian::little);
    for (int done = 0; done < count; done += 32, byte += 4) {
      uint32_t word;
      std::memcpy(&word, byte, sizeof(word));
      word |= static_cast<uint32_t>(kept[done / 64] >> (done % 64));
      std::memcpy(byte, &word, sizeof(word));
    }
    return;
  }
  // Byte by byte of the mask: its bits are kept's from `done` on (in the first byte, fewer).
  for (int done = -offset; done < count; done += 8, ++byte) {
    const uint64_t word = done < 0 ? kept[0] << -done : kept[done / 64] >> (done % 64);
    const bool straddles = done >= 0 && done % 64 > 56 && done / 64 < (count - 1) / 64;
    const uint64_t rest = straddles ? kept[done / 64 + 1] << (64 - done % 64) : 0;
    *byte |= static_cast<uint8_t>(word | rest);
  }
}

}  // namespace tsenor
