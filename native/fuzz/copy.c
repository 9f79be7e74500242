/* Copy with its checksum, at every length and alignment: the same bytes, the sum of the hardware that of the table, nothing beyond. */
#include "core/shim.h"

#include <stdlib.h>
#include <string.h>

#define MARGIN 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 6) return 0;
  uint32_t seed;
  memcpy(&seed, data, 4);
  size_t skew = data[4] % MARGIN, cut = data[5];
  data += 6;
  size -= 6;
  /* The source ends where the allocation ends: one byte read too far is seen. */
  uint8_t *source = malloc(size + skew), *target = malloc(size + 2 * MARGIN);
  if (source == NULL || target == NULL) abort();
  memcpy(source + skew, data, size);
  memset(target, 0xa5, size + 2 * MARGIN);
  uint32_t sum = shim_copy_crc32c(target + skew, source + skew, size);
  if (memcmp(target + skew, data, size) != 0 || sum != shim_crc32c_table(0, data, size)) abort();
  for (size_t i = 0; i < size + 2 * MARGIN; i++)
    if ((i < skew || i >= skew + size) && target[i] != 0xa5) abort();
  if (shim_crc32c(seed, source + skew, size) != shim_crc32c_table(seed, source + skew, size)) abort();
  /* In two parts as in one. */
  if (cut > size) cut = size;
  if (shim_crc32c(shim_crc32c(0, data, cut), data + cut, size - cut) != sum) abort();
  free(source);
  free(target);
  return 0;
}
