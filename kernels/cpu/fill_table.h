// Fills the Table of the instruction set that the including file chose.
#pragma once

#include "kernels/cpu/attention.h"
#include "kernels/cpu/attention_backward.h"
#include "kernels/cpu/delta.h"
#include "kernels/cpu/delta_backward.h"
#include "kernels/cpu/delta_inputs.h"
#include "kernels/cpu/gates.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/limits.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/pack.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/sinks.h"
#include "kernels/cpu/table.h"
#include "kernels/cpu/vec.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

inline constexpr Table make_table(const char* name) {
  return {.name = name,
          .gemm = gemm,
          .gemm_pack_b = gemm_pack_b,
          .pack_weight = pack_weight,
          .pack_weight_bfloat16 = pack_weight_bfloat16,
          .unpack_weight = unpack_weight<float>,
          .unpack_weight_bfloat16 = unpack_weight<Bfloat16>,
          .widen = widen,
          .narrow = narrow,
          .rms_norm = rms_norm,
          .rms_norm_backward = rms_norm_backward,
          .add = add_rows,
          .axpy = axpy,
          .dot = dot,
          .swiglu = swiglu,
          .swiglu_backward = swiglu_backward,
          .rope = rope,
          .attention = attention,
          .attention_backward = attention_backward,
          .transpose = transpose,
          .add_sinks = add_sinks,
          .sink_gradients = sink_gradients,
          .conv_rows = conv_rows,
          .conv_slopes = conv_slopes,
          .conv_gradients = conv_gradients,
          .delta_gates = delta_gates,
          .delta_gates_backward = delta_gates_backward,
          .delta_page = delta_page,
          .delta_page_backward = delta_page_backward,
          .softmax = softmax,
          .sigmoid = sigmoid_row,
          .row_statistics = row_statistics,
          .softcap = softcap,
          .softcap_backward = softcap_backward,
          .row_exp = row_exp,
          .row_total = row_total,
          .row_find = row_find,
          .row_gradient = row_gradient,
          .sum_squares = sum_squares,
          .adamw = adamw,
          .fma_loop = fma_loop,
          .read_loop = read_loop};
}

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE
