/* Memory that is truncated while it is used: reads go on, as zeros, and only the range it happened in is marked. */
#define _GNU_SOURCE
#include "core/shim.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096u
#define PAGES 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 5) return 0;
  uint64_t length = 1 + (data[0] | (uint64_t)data[1] << 8) % (PAGES * PAGE);
  uint64_t left = data[2] % (PAGES + 1) * PAGE, at = (data[3] | (uint64_t)data[4] << 8) % length;
  int fd = shim_memfd("fuzz", PAGES * PAGE, false);
  void *map, *other;
  if (fd < 0 || shim_map_shared(fd, length, 0, &map) < 0 || shim_map_anonymous(PAGE, &other) < 0) abort();
  if (shim_map_shared(fd, PAGES * PAGE + 1, 0, &(void *){ NULL }) >= 0) abort();
  int watch = shim_watch(map, length), beside = shim_watch(other, PAGE);
  if (watch < 0 || beside < 0) abort();
  memset(map, 0x5a, length);
  if (ftruncate(fd, (off_t)left) < 0) abort();
  uint8_t *out = malloc(length - at);
  if (out == NULL) abort();
  (void)shim_copy_crc32c(out, (uint8_t *)map + at, length - at);
  for (uint64_t i = at; i < length; i++) if (out[i - at] != (i < left ? 0x5a : 0)) abort();
  if (shim_poisoned(watch) != (length > left) || shim_poisoned(beside)) abort();
  ((volatile uint8_t *)map)[length - 1] = 1;
  shim_unwatch(watch);
  shim_unwatch(beside);
  shim_unmap(map, length);
  shim_unmap(other, PAGE);
  close(fd);
  free(out);
  return 0;
}
