// The kernels compiled for avx512 (kernels/library.cmake sets the flags).
#define ZEROTH_VEC_AVX512
#include "kernels/cpu/fill_table.h"

namespace zeroth::kernels {

const Table& avx512_table() {
  static constexpr Table kTable = avx512::make_table("avx512");
  return kTable;
}

}  // namespace zeroth::kernels
