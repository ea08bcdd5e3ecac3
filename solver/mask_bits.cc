#include "solver/mask_bits.h"

namespace tsenor {

void SetMaskBits(uint8_t* mask_row, int64_t first_bit, const uint8_t* kept, int count) {
  for (int j = 0; j < count; ++j) {
    const int64_t bit = first_bit + j;
    mask_row[bit / 8] |= static_cast<uint8_t>((kept[j] != 0) << (bit % 8));
  }
}

}  // namespace tsenor
