#include "solver/mask_bits.h"

#include <bit>
#include <cstring>
#include <utility>

namespace tsenor {

namespace {

// Sets the bits of one word of `kept` from bit `first` on, in bytes[first / 8] and those after it.
// The encoding is that of a little-endian machine's integers.
template <typename Word>
void OrWord(uint8_t* bytes, const uint64_t* kept, int first) {
  static_assert(std::endian::native == std::endian::little);
  Word word;
  std::memcpy(&word, bytes + first / 8, sizeof(word));
  word |= static_cast<Word>(kept[first / 64] >> (first % 64));
  std::memcpy(bytes + first / 8, &word, sizeof(word));
}

}  // namespace

void SetMaskBits(uint8_t* mask_row, int64_t first_bit, const uint8_t* kept, int count) {
  for (int j = 0; j < count; ++j) {
    const int64_t bit = first_bit + j;
    mask_row[bit / 8] |= static_cast<uint8_t>((kept[j] != 0) << (bit % 8));
  }
}

void SetMaskBits(uint8_t* mask_row, int64_t first_bit, const uint64_t* kept, int count) {
  uint8_t* byte = mask_row + first_bit / 8;
  const int offset = static_cast<int>(first_bit % 8);
  if (offset == 0 && count % 8 == 0) {  // the common case
    int done = 0;
    for (; done + 32 <= count; done += 32) OrWord<uint32_t>(byte, kept, done);
    if (done + 16 <= count) OrWord<uint16_t>(byte, kept, std::exchange(done, done + 16));
    if (done < count) OrWord<uint8_t>(byte, kept, done);
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
