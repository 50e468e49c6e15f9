#include "adler.h"

uint32_t tiny_adler(const unsigned char *bytes, size_t length) {
  uint32_t a = 1, b = 0;
  for (size_t at = 0; at < length; at++) {
    a = (a + bytes[at]) % ADLER_BASE;
    b = (b + a) % ADLER_BASE;
  }
  return b << 16 | a;
}
