#include "kernels/cuda/rows.h"

#include "kernels/cuda/arithmetic.cuh"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/slots.cuh"
#include "kernels/norm_chunk.h"

namespace zeroth::kernels::cuda {
namespace {

constexpr int kRowWarps = 4;     // of a block, where a warp has a row
constexpr int kChunkRows = 256;  // rows that a weight's gradient adds up before it is rounded

ZEROTH_DEVICE float norm_weight(float weight, bool plus_one) {
  return plus_one ? add(weight, 1.0f) : weight;
}

// A warp has a row. Chain i % 64 of a row has element i; absent lanes of the last vector are
// multiplied as +0.
__global__ void __launch_bounds__(kRowWarps* kWarp)
    rms_norm_kernel(const float* x, int64_t ldx, const float* weight, float eps, float* y,
                    int64_t ldy, float* inv_rms, int64_t m, int64_t width, int64_t heads,
                    int64_t ldinv, bool plus_one) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
  if (i >= m * heads) return;  // whole warps
  const int64_t row = i / heads, head = i % heads;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const float* const from = x + row * ldx + head * width;
  const float mean = div(warp_dot(from, from, width), static_cast<float>(width));
  const float inv = div(1.0f, root(add(mean, eps)));
  if (inv_rms && lane == 0) inv_rms[head * ldinv + row] = inv;
  float* const to = y + row * ldy + head * width;
  for (int64_t e = lane; e < width; e += kWarp) {
    to[e] = mul(mul(from[e], inv), norm_weight(weight[e], plus_one));
  }
}

struct NormGradient {
  const float* dy;
  int64_t lddy;
  const float* x;
  int64_t ldx;
  const float *weight, *inv_rms;
  float* dx;
  int64_t lddx, m, width, heads;
  bool accumulate, plus_one;
};

// Half a warp has a row: lane i % 16.
__global__ void __launch_bounds__(128) rms_norm_input_kernel(const NormGradient t) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * 128 + threadIdx.x) / kLanes;
  const bool live = i < t.m * t.heads;
  const int64_t row = live ? i / t.heads : 0, head = live ? i % t.heads : 0;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const float* const dy = t.dy + row * t.lddy + head * t.width;
  const float* const x = t.x + row * t.ldx + head * t.width;
  float* const dx = t.dx + row * t.lddx + head * t.width;
  const float inv = t.inv_rms[head * t.m + row];
  float sum = 0.0f;
  const int64_t padded = live ? round_up(t.width, kLanes) : 0;
  for (int64_t e = lane; e < padded; e += kLanes) {
    const bool there = e < t.width;
    const float gx = mul(there ? dy[e] : 0.0f, mul(there ? x[e] : 0.0f, inv));
    sum = fma(gx, norm_weight(there ? t.weight[e] : 0.0f, t.plus_one), sum);
  }
  const float mean = div(sum_lanes(sum), static_cast<float>(t.width));
  if (!live) return;
  for (int64_t e = lane; e < t.width; e += kLanes) {
    const float g = mul(dy[e], norm_weight(t.weight[e], t.plus_one)), normal = mul(x[e], inv);
    const float d = mul(fma(-normal, mean, g), inv);
    dx[e] = t.accumulate ? add(dx[e], d) : d;
  }
}

// partial [heads][pieces][width]: sums over the rows of a chunk, ascending from +0.
__global__ void __launch_bounds__(128)
    rms_norm_weight_kernel(const NormGradient t, const RowBounds parts, float* partial) {
  const int64_t e = static_cast<int64_t>(blockIdx.x) * 128 + threadIdx.x;
  const int64_t head = blockIdx.z, at = head * t.width + e;
  const Slot rows = find_slot(parts, kChunkRows, blockIdx.y);
  if (e >= t.width || rows.begin == rows.end) return;
  float sum = 0.0f;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const float normal = mul(t.x[row * t.ldx + at], t.inv_rms[head * t.m + row]);
    sum = add(sum, mul(t.dy[row * t.lddy + at], normal));
  }
  partial[(head * gridDim.y + blockIdx.y) * t.width + e] = sum;
}

// dweight += the chunks: part by part, over heads and chunks in order.
__global__ void __launch_bounds__(128)
    rms_norm_weight_sum_kernel(const float* partial, float* dweight, int64_t width, int64_t heads,
                               int64_t pieces, const RowBounds parts) {
  const int64_t e = static_cast<int64_t>(blockIdx.x) * 128 + threadIdx.x;
  if (e >= width) return;
  float sum = dweight[e];
  for (int64_t part = 0; part < parts.count; ++part) {
    const int64_t begin = parts.at[part], rows = parts.at[part + 1] - begin;
    const int64_t first = begin / kChunkRows + part;
    for (int64_t head = 0; head < heads; ++head) {
      for (int64_t chunk = 0; chunk * kChunkRows < rows; ++chunk) {
        sum = add(sum, partial[(head * pieces + first + chunk) * width + e]);
      }
    }
  }
  dweight[e] = sum;
}

// A gate and its partner, clamped where the kind does that, and whose sigmoid the gate takes.
ZEROTH_DEVICE float gated(const Gate& gate, float g) {
  return gate.kind == Gate::kClamped ? smaller(gate.limit, g) : g;
}
ZEROTH_DEVICE float partner(const Gate& gate, float u) {
  return gate.kind == Gate::kClamped ? add(smaller(gate.limit, larger(-gate.limit, u)), 1.0f) : u;
}
ZEROTH_DEVICE float inner(const Gate& gate, float g) {
  return gate.kind == Gate::kGelu      ? gelu_inner(g)
         : gate.kind == Gate::kClamped ? mul(g, gate.alpha)
                                       : g;
}
// g times the slope of inner().
ZEROTH_DEVICE float inner_slope(const Gate& gate, float g) {
  return gate.kind == Gate::kGelu ? gelu_inner_slope(g) : inner(gate, g);
}

__global__ void __launch_bounds__(kThreads)
    swiglu_kernel(const float* gu, int64_t ldgu, float* y, int64_t ldy, int64_t m, int64_t width,
                  const Gate gate) {
  const int64_t i = element();
  if (i >= m * width) return;
  const float* const from = gu + i / width * ldgu + i % width;
  const float g = gated(gate, from[0]), u = partner(gate, from[width]);
  const float above = gate.kind == Gate::kSigmoid ? 1.0f : g;
  y[i / width * ldy + i % width] = mul(div(above, one_plus_exp_minus(inner(gate, g))), u);
}

// Half a warp has a row: lane i % 16.
__global__ void __launch_bounds__(128) swiglu_backward_kernel(const SwigluGradient t) {
  const int64_t row = (static_cast<int64_t>(blockIdx.x) * 128 + threadIdx.x) / kLanes;
  const bool live = row < t.m;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int64_t choice = !live ? 0 : t.order ? t.order[row] : row;
  const float weight = live && t.weights ? t.weights[choice] : 1.0f;
  const float* const dy = t.dy + row * t.lddy;
  const float* const gu = t.gu + row * t.ldgu;
  float* const dgu = t.dgu + row * t.lddgu;
  float sum = 0.0f;
  const int64_t padded = live ? round_up(t.width, kLanes) : 0;
  for (int64_t e = lane; e < padded; e += kLanes) {
    const bool there = e < t.width;
    const float own = there ? gu[e] : 0.0f, beside = there ? gu[t.width + e] : 0.0f;
    const float g = gated(t.gate, own), u = partner(t.gate, beside);
    const float raw = there ? dy[e] : 0.0f, d = mul(raw, weight);
    const float below = one_plus_exp_minus(inner(t.gate, g));
    const float s = div(1.0f, below);
    const bool plain = t.gate.kind == Gate::kSigmoid;  // not times g
    if (t.act) {
      const float y = mul(plain ? s : div(g, below), u);
      sum = add(sum, mul(y, raw));
      if (there) t.act[row * t.width + e] = mul(y, weight);
    }
    if (!there) continue;
    const float slope =
        plain ? mul(s, sub(1.0f, s)) : mul(s, fma(inner_slope(t.gate, g), sub(1.0f, s), 1.0f));
    const bool clamps = t.gate.kind == Gate::kClamped;  // what was clamped passes no gradient
    const float limit = t.gate.limit;
    dgu[e] = clamps && own > limit ? 0.0f : mul(mul(d, u), slope);
    dgu[t.width + e] =
        clamps && (beside > limit || beside < -limit) ? 0.0f : mul(d, plain ? s : mul(g, s));
  }
  sum = sum_lanes(sum);
  if (live && lane == 0 && t.dweights) t.dweights[choice] = sum;
}

__global__ void __launch_bounds__(kThreads)
    rope_kernel(float* x, int64_t ldx, int64_t head_stride, const int32_t* positions,
                const float* cos, const float* sin, int64_t m, int heads, int dim, bool interleaved,
                bool inverse) {
  const int64_t i = element();
  const int half = dim / 2;
  if (i >= m * heads * half) return;
  const int64_t row = i / (int64_t{heads} * half);
  const int head = static_cast<int>(i / half % heads), pair = static_cast<int>(i % half);
  const int64_t at = int64_t{positions[row]} * half + pair;
  const float c = cos[at], s = mul(sin[at], inverse ? -1.0f : 1.0f);
  float* const p = x + row * ldx + head * head_stride;
  float* const first = p + (interleaved ? 2 * pair : pair);
  float* const second = p + (interleaved ? 2 * pair + 1 : half + pair);
  const float a = *first, b = *second;
  *first = fma(-b, s, mul(a, c));
  *second = fma(a, s, mul(b, c));
}

__global__ void __launch_bounds__(kThreads)
    add_kernel(const float* a, const float* b, float* y, int64_t n) {
  const int64_t i = element();
  if (i < n) y[i] = add(a[i], b[i]);
}
__global__ void __launch_bounds__(kThreads) widen_kernel(const Bfloat16* x, float* y, int64_t n) {
  const int64_t i = element();
  if (i < n) y[i] = widen(x[i]);
}
__global__ void __launch_bounds__(kThreads) narrow_kernel(const float* x, Bfloat16* y, int64_t n) {
  const int64_t i = element();
  if (i < n) y[i] = narrow(x[i]);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    embedding_kernel(const T* table, int64_t width, const int32_t* ids, float* out, int64_t m) {
  const int64_t i = element();
  if (i < m * width) out[i] = widen(table[ids[i / width] * width + i % width]);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    packed_rows_kernel(const T* panels, int64_t width, const int32_t* ids, int64_t first,
                       float* out, int64_t m) {
  const int64_t i = element();
  if (i >= m * width) return;
  const int64_t row = ids ? ids[i / width] : first + i / width;
  out[i] = widen(panels[(row / 32 * width + i % width) * 32 + row % 32]);
}

// A block has the first row of an id, and adds that row and all later ones of the id in order.
__global__ void __launch_bounds__(128)
    embedding_backward_kernel(const float* dy, const int32_t* ids, float* dtable, int64_t m,
                              int64_t width) {
  const int64_t first = blockIdx.x;
  const int32_t id = ids[first];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int64_t base = 0; base < first; base += kWarp) {
    const bool equal = base + lane < first && ids[base + lane] == id;
    if (__ballot_sync(kAllLanes, equal) != 0) return;  // whole blocks: all warps see the same
  }
  float* const to = dtable + id * width;
  for (int64_t base = first; base < m; base += kWarp) {
    const bool equal = base + lane < m && ids[base + lane] == id;
    for (uint32_t rows = __ballot_sync(kAllLanes, equal); rows != 0; rows &= rows - 1) {
      const float* const from = dy + (base + __ffs(rows) - 1) * width;
      for (int64_t e = threadIdx.x; e < width; e += 128) to[e] = add(to[e], from[e]);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    pack_rows_kernel(T* panels, int64_t out, int64_t in, int64_t first, int64_t rows,
                     const float* from, int64_t ld) {
  const int64_t i = element();  // of the panels: [panel][in][32]
  if (i >= round_up(rows, 32) * in) return;
  const int64_t row = i / (32 * in) * 32 + i % 32, k = i / 32 % in;
  const float x = row < rows && first + row < out ? from[row * ld + k] : 0.0f;
  if constexpr (sizeof(T) == sizeof(float)) {
    panels[first * in + i] = x;
  } else {
    panels[first * in + i] = narrow(x);
  }
}

__global__ void __launch_bounds__(kThreads)
    adamw_kernel(float* w, const float* grad, float* m, float* v, int64_t n,
                 const AdamWConstants c) {
  const int64_t i = element();
  if (i >= n) return;
  const float g = mul(grad[i], c.grad_scale);
  const float first = fma(c.one_minus_beta1, g, mul(c.beta1, m[i]));
  const float second = fma(mul(c.one_minus_beta2, g), g, mul(c.beta2, v[i]));
  const float size = add(mul(root(second), c.inverse_root_correction2), c.eps);
  m[i] = first;
  v[i] = second;
  w[i] = fma(-c.step_size, div(first, size), mul(w[i], c.decay));
}

// Eight lanes by index % 8 of a chunk, then their tree: eight threads a chunk.
__global__ void __launch_bounds__(kWarp)
    sum_squares_kernel(const float* x, int64_t n, double* partial) {
  const int64_t chunk = static_cast<int64_t>(blockIdx.x) * 4 + threadIdx.x / 8;
  const int64_t begin = chunk * kNormChunk;
  const int64_t end = begin + kNormChunk < n ? begin + kNormChunk : n;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x % 8; i < end; i += 8) {
    const auto v = static_cast<double>(x[i]);
    sum = add(sum, mul(v, v));
  }
  // ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7))
  sum = add(sum, __shfl_xor_sync(kAllLanes, sum, 4));
  sum = add(sum, __shfl_xor_sync(kAllLanes, sum, 2));
  sum = add(sum, __shfl_xor_sync(kAllLanes, sum, 1));
  if (threadIdx.x % 8 == 0 && begin < n) partial[chunk] = sum;
}
__global__ void __launch_bounds__(kWarp)
    sum_chunks_kernel(const double* partial, int64_t chunks, double* total) {
  if (threadIdx.x != 0) return;
  double sum = 0;
  for (int64_t i = 0; i < chunks; ++i) sum = add(sum, partial[i]);
  *total = sum;
}

int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }

}  // namespace

void rms_norm(Stream stream, const float* x, int64_t ldx, const float* weight, float eps, float* y,
              int64_t ldy, float* inv_rms, int64_t m, int64_t width, int64_t heads, int64_t ldinv,
              bool plus_one) {
  launch(stream, rms_norm_kernel, {pieces(m * heads, kRowWarps)}, kRowWarps * kWarp, 0, x, ldx,
         weight, eps, y, ldy, inv_rms, m, width, heads, ldinv == 0 ? m : ldinv, plus_one);
}

int64_t rms_norm_partial(int64_t width, int64_t heads, const RowBounds& parts) {
  return heads * slots_of(parts, kChunkRows) * width;
}

void rms_norm_backward(Stream stream, const float* dy, int64_t lddy, const float* x, int64_t ldx,
                       const float* weight, const float* inv_rms, float* dx, int64_t lddx,
                       float* dweight, int64_t m, int64_t width, bool accumulate, int64_t heads,
                       const RowBounds& parts, float* partial, bool plus_one) {
  const NormGradient t{dy,   lddy, x,     ldx,   weight,     inv_rms, dx,
                       lddx, m,    width, heads, accumulate, plus_one};
  const int64_t chunks = slots_of(parts, kChunkRows);
  // The weight first: dx may lie where dy does.
  launch(stream, rms_norm_weight_kernel, {pieces(width, 128), chunks, heads}, 128, 0, t, parts,
         partial);
  launch(stream, rms_norm_input_kernel, {pieces(m * heads, 128 / kLanes)}, 128, 0, t);
  launch(stream, rms_norm_weight_sum_kernel, {pieces(width, 128)}, 128, 0, partial, dweight, width,
         heads, chunks, parts);
}

void add(Stream stream, const float* a, const float* b, float* y, int64_t n) {
  launch(stream, add_kernel, blocks(n), kThreads, 0, a, b, y, n);
}

void swiglu(Stream stream, const float* gu, int64_t ldgu, float* y, int64_t ldy, int64_t m,
            int64_t width, const Gate& gate) {
  launch(stream, swiglu_kernel, blocks(m * width), kThreads, 0, gu, ldgu, y, ldy, m, width, gate);
}

void swiglu_backward(Stream stream, const SwigluGradient& rows) {
  launch(stream, swiglu_backward_kernel, {pieces(rows.m, 128 / kLanes)}, 128, 0, rows);
}

void rope(Stream stream, float* x, int64_t ldx, int64_t head_stride, const int32_t* positions,
          const float* cos, const float* sin, int64_t m, int heads, int dim, bool interleaved,
          bool inverse) {
  launch(stream, rope_kernel, blocks(m * heads * (dim / 2)), kThreads, 0, x, ldx, head_stride,
         positions, cos, sin, m, heads, dim, interleaved, inverse);
}

void embedding(Stream stream, const float* table, int64_t width, const int32_t* ids, float* out,
               int64_t m) {
  launch(stream, embedding_kernel<float>, blocks(m * width), kThreads, 0, table, width, ids, out,
         m);
}
void embedding(Stream stream, const Bfloat16* table, int64_t width, const int32_t* ids, float* out,
               int64_t m) {
  launch(stream, embedding_kernel<Bfloat16>, blocks(m * width), kThreads, 0, table, width, ids, out,
         m);
}

namespace {

void packed_rows(Stream stream, const Weights& w, const int32_t* ids, int64_t first, int64_t m,
                 float* out) {
  if (w.element == Element::kFloat32) {
    launch(stream, packed_rows_kernel<float>, blocks(m * w.in), kThreads, 0,
           static_cast<const float*>(w.panels), w.in, ids, first, out, m);
  } else {
    launch(stream, packed_rows_kernel<Bfloat16>, blocks(m * w.in), kThreads, 0,
           static_cast<const Bfloat16*>(w.panels), w.in, ids, first, out, m);
  }
}

}  // namespace

void embedding(Stream stream, const Weights& table, const int32_t* ids, float* out, int64_t m) {
  packed_rows(stream, table, ids, 0, m, out);
}
void unpack_rows(Stream stream, const Weights& w, int64_t first, int64_t rows, float* to) {
  packed_rows(stream, w, nullptr, first, rows, to);
}

void embedding_backward(Stream stream, const float* dy, const int32_t* ids, float* dtable,
                        int64_t m, int64_t width) {
  launch(stream, embedding_backward_kernel, {m}, 128, 0, dy, ids, dtable, m, width);
}

void widen(Stream stream, const Bfloat16* x, float* y, int64_t n) {
  launch(stream, widen_kernel, blocks(n), kThreads, 0, x, y, n);
}
void narrow(Stream stream, const float* x, Bfloat16* y, int64_t n) {
  launch(stream, narrow_kernel, blocks(n), kThreads, 0, x, y, n);
}

void pack_rows(Stream stream, const Weights& w, void* panels, int64_t first, int64_t rows,
               const float* from, int64_t ld) {
  const Grid grid = blocks((rows + 31) / 32 * 32 * w.in);
  if (w.element == Element::kFloat32) {
    launch(stream, pack_rows_kernel<float>, grid, kThreads, 0, static_cast<float*>(panels), w.out,
           w.in, first, rows, from, ld);
  } else {
    launch(stream, pack_rows_kernel<Bfloat16>, grid, kThreads, 0, static_cast<Bfloat16*>(panels),
           w.out, w.in, first, rows, from, ld);
  }
}

void adamw(Stream stream, float* w, const float* grad, float* m, float* v, int64_t n,
           const AdamWConstants& constants) {
  launch(stream, adamw_kernel, blocks(n), kThreads, 0, w, grad, m, v, n, constants);
}

void sum_squares(Stream stream, const float* x, int64_t n, double* partial, double* sum) {
  const int64_t chunks = pieces(n, kNormChunk);
  launch(stream, sum_squares_kernel, {pieces(chunks, 4)}, kWarp, 0, x, n, partial);
  launch(stream, sum_chunks_kernel, {1}, kWarp, 0, partial, chunks, sum);
}

}  // namespace zeroth::kernels::cuda
