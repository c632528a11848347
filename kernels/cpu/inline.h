// For functions of headers that are compiled once per instruction set outside of its own namespace:
// a copy that is not inlined would be the linker's for the whole program, wherever it was compiled.
// A test holds the objects against it (tests/kernels/check_symbols).
#pragma once

#define ZEROTH_INLINE inline __attribute__((always_inline))
