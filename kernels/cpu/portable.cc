// The kernels compiled for portable (kernels/library.cmake sets the flags).

#include "kernels/cpu/fill_table.h"

namespace zeroth::kernels {

const Table& portable_table() {
  static constexpr Table kTable = portable::make_table("portable");
  return kTable;
}

}  // namespace zeroth::kernels
