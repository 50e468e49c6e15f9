#include <stddef.h>
#include <stdint.h>

uint32_t tiny_adler(const unsigned char *bytes, size_t length);
