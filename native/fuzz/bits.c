/* Dirty bits: exactly those asked for, in a bitmap that ends where the last one is. */
#include "core/shim.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 4) return 0;
  uint16_t first, count;
  memcpy(&first, data, 2);
  memcpy(&count, data + 2, 2);
  first &= 4095;
  count &= 4095;
  size_t bytes = ((size_t)first + count + 7) / 8 + (count == 0);
  uint8_t *bitmap = malloc(bytes), *before = malloc(bytes);
  if (bitmap == NULL || before == NULL) abort();
  for (size_t i = 0; i < bytes; i++) before[i] = size > 4 ? data[4 + i % (size - 4)] : 0;
  memcpy(bitmap, before, bytes);
  shim_or_bits(bitmap, first, count);
  for (size_t bit = 0; bit < bytes * 8; bit++) {
    int was = before[bit / 8] >> (bit % 8) & 1, is = bitmap[bit / 8] >> (bit % 8) & 1;
    if (is != (was | (bit >= first && bit < (size_t)first + count))) abort();
  }
  free(bitmap);
  free(before);
  return 0;
}
