// One head of the gated delta net over one page (kernels/delta.h).
#pragma once

#include <stdint.h>

namespace zeroth::kernels {

inline constexpr int kDeltaPage = 16;

// Rows 0 .. known - 1 of the page are there already, rows known .. rows - 1 are computed.
struct DeltaPage {
  int known = 0, rows = 0, key_dim = 0, value_dim = 0;
  const float* k[kDeltaPage];
  float* u[kDeltaPage];  // those of computed rows are written
  float c[kDeltaPage];
  // Of computed rows.
  const float *q[kDeltaPage], *v[kDeltaPage];
  float* out[kDeltaPage];
  float beta[kDeltaPage];
  const float* state = nullptr;  // [key_dim, value_dim] in front of the page; null: zeros
  float* next = nullptr;         // behind it, with all 16 rows; may be `state`; null: not wanted
};

struct DeltaPageBackward {
  DeltaPage page;  // u are there, out and next unused
  // Of the state behind a page of 16 rows (of that in front of a shorter one, so far); becomes that
  // of the state in front. [key_dim, value_dim].
  float* dstate = nullptr;
  bool through = false;  // dstate is not all zeros, and of the state behind
  // Of computed rows.
  const float* dout[kDeltaPage];
  float *dq[kDeltaPage], *dv[kDeltaPage];  // dq +=, dv =
  float dbeta[kDeltaPage];                 // =
  // Of all rows, += .
  float* du[kDeltaPage];
  float* dk[kDeltaPage];  // null: constant
  float dc[kDeltaPage];
};

// Rows of the convolution that one thread computes.
struct ConvRows {
  const float* x;
  int64_t ldx;
  const float* w;  // [taps, channels]
  int64_t taps, channels;
  const int64_t* past;
  const float* slots;
  int64_t ldslot;
};

}  // namespace zeroth::kernels
