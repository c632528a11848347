// The kernels compiled for neon (kernels/library.cmake sets the flags).
#define ZEROTH_VEC_NEON
#include "kernels/cpu/fill_table.h"

namespace zeroth::kernels {

const Table& neon_table() {
  static constexpr Table kTable = neon::make_table("neon");
  return kTable;
}

}  // namespace zeroth::kernels
