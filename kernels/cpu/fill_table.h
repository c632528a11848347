// Fills the Table of the instruction set that the including file chose.
#pragma once

#include "kernels/cpu/attention.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/limits.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/table.h"
#include "kernels/cpu/vec.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

inline constexpr Table make_table(const char* name) {
  return {name,
          gemm,
          gemm_pack_b,
          pack_weight,
          rms_norm,
          rms_norm_backward,
          add_rows,
          axpy,
          dot,
          swiglu,
          swiglu_backward,
          rope,
          attention,
          attention_backward,
          transpose,
          softmax,
          sigmoid_row,
          row_statistics,
          row_exp,
          row_total,
          row_find,
          row_gradient,
          sum_squares,
          adamw,
          fma_loop,
          read_loop};
}

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE
