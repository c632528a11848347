// Inside of policy/: a published matrix, and the weights of a model's image codes.
#pragma once

#include "kernels/operators.h"
#include "model/image_codes.h"
#include "model/layout.h"

namespace zeroth {

// A published matrix with its bias (empty: none).
struct Linear {
  kernels::PackedMatrix weight;
  kernels::View<const float> bias;
  void operator()(const kernels::Operators& ops, kernels::At<const float> x, int64_t ldx,
                  kernels::At<float> y, int64_t ldy, int64_t m,
                  const kernels::FetchList& fetch = {}) const;
};

// Where a model with image codes keeps them in the flat buffer.
struct CodeLayout {
  int64_t embed = -1;              // [codes, code_width]
  Matrix aligner_in, aligner_out;  // code_width -> width -> width
  Matrix projector, head;          // width -> head_width -> codes
};
// Of a layout of these codes; all absent when there are none.
CodeLayout image_layout(const Layout& layout, const ImageCodes& codes);

// Their weights, and what follows from them for every row alike.
struct PublishedImages {
  kernels::View<const float> embed;
  Linear aligner_in, aligner_out, projector, head;
  kernels::Array<float> gated;      // [codes, 2 width] aligner_in's output, and ones
  kernels::Array<float> table;      // [codes, width] what stands for a code in the residual stream
  kernels::Array<float> memory;     // of `with_bias`
  kernels::PackedMatrix with_bias;  // [codes, bias_in] the head, its bias, zeros
};

}  // namespace zeroth
