/* CRC32C (Castagnoli), by the CPU's instruction where there is one, else by table. */
#include "shim.h"

#include <pthread.h>
#include <string.h>

#define CHUNK 4096

static uint32_t table[8][256];
static pthread_once_t built = PTHREAD_ONCE_INIT;

static void build(void) {
  for (uint32_t n = 0; n < 256; n++) {
    uint32_t crc = n;
    for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
    table[0][n] = crc;
  }
  for (uint32_t n = 0; n < 256; n++)
    for (int k = 1; k < 8; k++) table[k][n] = (table[k - 1][n] >> 8) ^ table[0][table[k - 1][n] & 0xff];
}

uint32_t shim_crc32c_table(uint32_t seed, const void *data, size_t length) {
  pthread_once(&built, build);
  const uint8_t *p = data;
  uint32_t crc = ~seed;
  for (; length >= 8; length -= 8, p += 8) {
    uint32_t low, high;
    memcpy(&low, p, 4);
    memcpy(&high, p + 4, 4);
    low ^= crc;
    crc = table[7][low & 0xff] ^ table[6][(low >> 8) & 0xff] ^ table[5][(low >> 16) & 0xff] ^ table[4][low >> 24] ^
          table[3][high & 0xff] ^ table[2][(high >> 8) & 0xff] ^ table[1][(high >> 16) & 0xff] ^ table[0][high >> 24];
  }
  while (length-- > 0) crc = (crc >> 8) ^ table[0][(crc ^ *p++) & 0xff];
  return ~crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>
#define HARDWARE 1

/* x^(8*bytes) advances a CRC over that many zero bytes; three streams of LANE bytes hide the instruction's latency. */
#define LANE 256
static uint32_t shift_one[4][256], shift_two[4][256];
static pthread_once_t shifts_built = PTHREAD_ONCE_INIT;

static void build_shift(uint32_t out[4][256], size_t zeros) {
  static const uint8_t nothing[2 * LANE];
  for (uint32_t byte = 0; byte < 4; byte++)
    for (uint32_t n = 0; n < 256; n++) {
      uint32_t crc = n << (8 * byte);
      out[byte][n] = ~shim_crc32c_table(~crc, nothing, zeros);
    }
}

static void build_shifts(void) {
  build_shift(shift_one, LANE);
  build_shift(shift_two, 2 * LANE);
}

static inline uint32_t shifted(uint32_t t[4][256], uint32_t crc) {
  return t[0][crc & 0xff] ^ t[1][(crc >> 8) & 0xff] ^ t[2][(crc >> 16) & 0xff] ^ t[3][crc >> 24];
}

__attribute__((target("sse4.2"))) static uint32_t hardware(uint32_t seed, const uint8_t *p, size_t length) {
  pthread_once(&shifts_built, build_shifts);
  uint64_t crc = (uint32_t)~seed;
  for (; length >= 3 * LANE; length -= 3 * LANE, p += 3 * LANE) {
    uint64_t a = crc, b = 0, c = 0;
    for (size_t i = 0; i < LANE; i += 8) {
      uint64_t x, y, z;
      memcpy(&x, p + i, 8);
      memcpy(&y, p + LANE + i, 8);
      memcpy(&z, p + 2 * LANE + i, 8);
      a = _mm_crc32_u64(a, x);
      b = _mm_crc32_u64(b, y);
      c = _mm_crc32_u64(c, z);
    }
    crc = shifted(shift_two, (uint32_t)a) ^ shifted(shift_one, (uint32_t)b) ^ (uint32_t)c;
  }
  for (; length >= 8; length -= 8, p += 8) {
    uint64_t x;
    memcpy(&x, p, 8);
    crc = _mm_crc32_u64(crc, x);
  }
  while (length-- > 0) crc = _mm_crc32_u8((uint32_t)crc, *p++);
  return ~(uint32_t)crc;
}

static bool has_hardware(void) { return __builtin_cpu_supports("sse4.2"); }

#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#define HARDWARE 1
static uint32_t hardware(uint32_t seed, const uint8_t *p, size_t length) {
  uint32_t crc = ~seed;
  for (; length >= 8; length -= 8, p += 8) {
    uint64_t x;
    memcpy(&x, p, 8);
    crc = __crc32cd(crc, x);
  }
  while (length-- > 0) crc = __crc32cb(crc, *p++);
  return ~crc;
}
static bool has_hardware(void) { return true; }
#endif

uint32_t shim_crc32c(uint32_t seed, const void *data, size_t length) {
#ifdef HARDWARE
  if (has_hardware()) return hardware(seed, data, length);
#endif
  return shim_crc32c_table(seed, data, length);
}

uint32_t shim_copy_crc32c(void *target, const void *source, size_t length) {
  uint32_t crc = 0;
  uint8_t *to = target;
  const uint8_t *from = source;
  while (length > 0) {
    size_t part = length < CHUNK ? length : CHUNK;
    memcpy(to, from, part);
    crc = shim_crc32c(crc, to, part);
    to += part;
    from += part;
    length -= part;
  }
  return crc;
}
