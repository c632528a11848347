// The kernels compiled for avx2 (kernels/library.cmake sets the flags).
#define ZEROTH_VEC_AVX2
#include "kernels/cpu/fill_table.h"

namespace zeroth::kernels {

const Table& avx2_table() {
  static constexpr Table kTable = avx2::make_table("avx2");
  return kTable;
}

}  // namespace zeroth::kernels
