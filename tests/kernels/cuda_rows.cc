// Operators on rows and the optimizer of the device over fibers against the CPU's, by bits.
#include <algorithm>
#include <cmath>

#include "cuda_test.h"
#include "kernels/adamw_constants.h"
#include "kernels/cuda/rows.h"

namespace zeroth::kernels {
namespace {

const Compared kCompared{"rms_norm",
                         "rms_norm_backward",
                         "swiglu",
                         "swiglu_backward",
                         "rope",
                         "embedding",
                         "narrow",
                         "widen",
                         "embedding_backward",
                         "pack_rows",
                         "unpack_rows",
                         "adamw",
                         "sum_squares",
                         "add"};

// Widths of less than a vector, of whole ones, and of neither; one row, 65 rows.
constexpr int64_t kWidths[] = {1, 7, 16, 17, 64, 70, 129, 200};
constexpr int64_t kHeights[] = {1, 5, 65};

void check_norm(int64_t width, int64_t m, int64_t heads, int64_t more) {
  if (!shapes.add({"rms_norm", "rms_norm_backward"}, {width, m, heads, more})) return;
  CAPTURE(width);
  CAPTURE(m);
  CAPTURE(heads);
  const int64_t ld = heads * width + more, ldinv = m + 2;
  const bool plus_one = (width + m) % 2 == 0;
  const Values x = random_values(m * ld, 1), w = random_values(width, 2);
  Values y = x, inv = unwritten(heads * ldinv);
  rms_norm(y.data(), ld, w.data(), 1e-6f, y.data(), ld, inv.data(), m, width, heads, ldinv,
           plus_one);
  const Array<float> ax(x), aw(w), ainv(heads * ldinv);
  cuda::rms_norm(nullptr, ax.data(), ld, aw.data(), 1e-6f, ax.data(), ld, ainv.data(), m, width,
                 heads, ldinv, plus_one);
  check_same(ax, y, "rms_norm");
  check_same(ainv, inv, "inv_rms");

  std::vector<int64_t> bounds = m > 20 ? std::vector<int64_t>{0, 7, 20} : std::vector<int64_t>{0};
  const std::vector<int64_t> parts = bounds;
  bounds.push_back(m);
  const DeviceBounds cut(bounds);
  Values scales(heads * m);
  for (int64_t i = 0; i < heads * m; ++i) scales[i] = 0.5f + 0.01f * static_cast<float>(i);
  const Values dy = random_values(m * ld, 3), start = random_values(m * ld, 4);
  const Array<float> bx(x), ady(dy), scale(scales),
      partial(cuda::rms_norm_partial(width, heads, cut.bounds()));
  for (const bool accumulate : {false, true}) {
    Values dx = start, dw = random_values(width, 5);
    const Array<float> adx(dx), adw(dw);
    rms_norm_backward(dy.data(), ld, x.data(), ld, w.data(), scales.data(), dx.data(), ld,
                      dw.data(), m, width, accumulate, heads, parts, plus_one);
    cuda::rms_norm_backward(nullptr, ady.data(), ld, bx.data(), ld, aw.data(), scale.data(),
                            adx.data(), ld, adw.data(), m, width, accumulate, heads, cut.bounds(),
                            partial.data(), plus_one);
    check_same(adx, dx, "dx");
    check_same(adw, dw, "dweight");
  }
}

TEST_CASE("rms_norm and its gradients give the CPU's bits: heads, strides, parts, in place") {
  for (const int64_t width : kWidths) {
    for (const int64_t m : {int64_t{1}, int64_t{9}, int64_t{300}}) {
      for (const int64_t heads : {1, 3}) {
        if (m * width * heads <= 40'000) check_norm(width, m, heads, 3);
      }
    }
  }
  for (Draw draw(1); shapes.wanting("rms_norm");) {
    check_norm(draw.between(1, 80), draw.of({1, 2, 3, 7, 21, 30}), draw.between(1, 3),
               draw.between(0, 4));
  }
}

void check_gate(const Gate& gate, int64_t width, int64_t m) {
  if (!shapes.add({"swiglu", "swiglu_backward"}, {static_cast<int64_t>(gate.kind), width, m}))
    return;
  CAPTURE(width);
  CAPTURE(m);
  const int64_t ldgu = 2 * width + 1, ld = width + 2;
  const Values gu = random_values(m * ldgu, 1, 4), dy = random_values(m * ld, 2);
  Values y = unwritten(m * ld);
  swiglu(gu.data(), ldgu, y.data(), ld, m, width, gate);
  const Array<float> agu(gu), ay(m * ld), ady(dy);
  cuda::swiglu(nullptr, agu.data(), ldgu, ay.data(), ld, m, width, gate);
  check_same(ay, y, "swiglu");

  const std::vector<int32_t> order = shuffled(static_cast<int>(m), 3);
  const Values weights = random_values(m, 4);
  const Array<int32_t> aorder(order);
  const Array<float> aweights(weights);
  for (const int kind : {0, 1, 2}) {  // plain; with act and weights; and by an order
    Values dgu = unwritten(m * ldgu), act = unwritten(m * width), dweights = unwritten(m);
    const Array<float> adgu(m * ldgu), aact(m * width), adweights(m);
    cuda::SwigluGradient t;
    t.dy = ady.data(), t.lddy = ld, t.gu = agu.data(), t.ldgu = ldgu;
    t.dgu = adgu.data(), t.lddgu = ldgu, t.m = m, t.width = width, t.gate = gate;
    RowWeights w;
    if (kind > 0) {
      t.act = aact.data(), t.weights = aweights.data(), t.dweights = adweights.data();
      w.weights = weights.data(), w.dweights = dweights.data();
    }
    if (kind > 1) {
      t.order = aorder.data();
      w.order = order.data();
    }
    swiglu_backward(dy.data(), ld, gu.data(), ldgu, dgu.data(), ldgu, m, width,
                    kind > 0 ? act.data() : nullptr, w, gate);
    cuda::swiglu_backward(nullptr, t);
    check_same(adgu, dgu, "dgu");
    check_same(aact, act, "act");
    check_same(adweights, dweights, "dweights");
  }
}

TEST_CASE("gates and their gradients give the CPU's bits, with and without weights") {
  const std::vector<Gate> gates = {Gate(), Gate(Gate::kGelu), Gate(Gate::kClamped, 1.7f, 2.5f),
                                   Gate(Gate::kSigmoid)};
  for (const Gate& gate : gates) {
    for (const int64_t width : kWidths) {
      for (const int64_t m : kHeights) check_gate(gate, width, m);
    }
  }
  for (Draw draw(2); shapes.wanting("swiglu");) {
    check_gate(gates[draw.between(0, 3)], draw.between(1, 70), draw.between(1, 9));
  }
}

TEST_CASE("exp, sigmoid and silu have the CPU's bits from end to end of the floats") {
  Values gate;
  for (int64_t bits = 0; bits < (int64_t{1} << 32); bits += 2'147'483) {
    const auto pattern = static_cast<uint32_t>(bits);
    float x;
    std::memcpy(&x, &pattern, sizeof(x));
    if (x == x) gate.push_back(x);
  }
  for (const float x : {0.0f, -0.0f, 88.8f, -88.0f, 88.38f, -87.69f, INFINITY, -INFINITY})
    gate.push_back(x);
  const auto n = static_cast<int64_t>(gate.size());
  Values gu(2 * n, 1.0f), y(n);
  for (int64_t i = 0; i < n; ++i) gu[i] = gate[i];
  swiglu(gu.data(), 2 * n, y.data(), n, 1, n);
  const Array<float> agu(gu), ay(n);
  cuda::swiglu(nullptr, agu.data(), 2 * n, ay.data(), n, 1, n);
  check_quiet();
  const Values got = ay.host();
  bool same = true;
  for (int64_t i = 0; i < n; ++i) {  // -inf / inf is NaN; which one is nobody's contract
    same &= std::memcmp(&got[i], &y[i], sizeof(float)) == 0 || (got[i] != got[i] && y[i] != y[i]);
  }
  CHECK(same);
}

void check_rope(int dim, bool interleaved, bool inverse, int64_t m, int heads, int64_t gap) {
  if (!shapes.add({"rope"}, {dim, interleaved, inverse, m, heads, gap})) return;
  CAPTURE(dim);
  const int64_t stride = dim + gap, ld = heads * stride + 1;
  const std::vector<int32_t> positions = random_ids(m, 20, 1);
  const Values cos = random_values(20 * dim / 2, 2), sin = random_values(20 * dim / 2, 3);
  Values x = random_values(m * ld, 4);
  const Array<float> ax(x), ac(cos), as(sin);
  const Array<int32_t> ap(positions);
  rope(x.data(), ld, stride, positions.data(), cos.data(), sin.data(), m, heads, dim, interleaved,
       inverse);
  cuda::rope(nullptr, ax.data(), ld, stride, ap.data(), ac.data(), as.data(), m, heads, dim,
             interleaved, inverse);
  check_same(ax, x, "rope");
}

TEST_CASE(
    "rope gives the CPU's bits: halves and pairs, forward and back, heads inside wider rows") {
  for (const int dim : {2, 6, 32, 36}) {
    for (const bool interleaved : {false, true}) {
      for (const bool inverse : {false, true}) check_rope(dim, interleaved, inverse, 7, 3, 4);
    }
  }
  for (Draw draw(3); shapes.wanting("rope");) {
    check_rope(static_cast<int>(2 * draw.between(1, 24)), draw.coin(), draw.coin(),
               draw.between(1, 12), static_cast<int>(draw.between(1, 4)), draw.between(0, 5));
  }
}

void check_tables(int64_t vocab, int64_t width, int64_t m) {
  if (!shapes.add(
          {"embedding", "embedding_backward", "narrow", "widen", "pack_rows", "unpack_rows"},
          {vocab, width, m})) {
    return;
  }
  CAPTURE(vocab);
  CAPTURE(width);
  const std::vector<int32_t> ids = random_ids(m, static_cast<int32_t>(vocab), 1);
  const Values floats = random_values(vocab * width, 2), dy = random_values(m * width, 3);
  std::vector<Bfloat16> halves(vocab * width);
  narrow(floats.data(), halves.data(), vocab * width);
  const Array<float> afloats(floats), out(m * width), ady(dy);
  const Array<Bfloat16> ahalves(halves), narrowed(vocab * width);
  const Array<int32_t> aids(ids);
  cuda::narrow(nullptr, afloats.data(), narrowed.data(), vocab * width);
  check_same(narrowed, halves, "narrow");
  Values y = unwritten(m * width), widened(vocab * width);
  widen(halves.data(), widened.data(), vocab * width);
  const Array<float> awidened(vocab * width);
  cuda::widen(nullptr, ahalves.data(), awidened.data(), vocab * width);
  check_same(awidened, widened, "widen");

  EmbeddingTable table;
  table.floats = floats.data();
  embedding(table, width, ids.data(), y.data(), m);
  cuda::embedding(nullptr, afloats.data(), width, aids.data(), out.data(), m);
  check_same(out, y, "embedding of floats");
  table = {};
  table.halves = halves.data();
  embedding(table, width, ids.data(), y.data(), m);
  cuda::embedding(nullptr, ahalves.data(), width, aids.data(), out.data(), m);
  check_same(out, y, "embedding of bfloat16");
  const int64_t first = std::min<int64_t>(vocab, 32);
  for (const Element element : {Element::kFloat32, Element::kBfloat16}) {
    const CudaWeights w(floats, vocab, width, element);
    table = {};
    table.packed = &w.packed;
    embedding(table, width, ids.data(), y.data(), m);
    cuda::embedding(nullptr, w.weights(), aids.data(), out.data(), m);
    check_same(out, y, "embedding of packed rows");
    // Packed in two parts on the device: the CPU's bytes.
    const Array<float> panels(packed_floats(vocab, width, element)), rows(vocab * width);
    cuda::pack_rows(nullptr, w.weights(), panels.data(), 0, first, afloats.data(), width);
    if (vocab > first) {
      cuda::pack_rows(nullptr, w.weights(), panels.data(), first, vocab - first,
                      afloats.data() + first * width, width);
    }
    check_same(panels, w.memory.host(), "pack_rows");
    Values back(vocab * width);
    unpack_rows(w.packed, 0, vocab, back.data());
    cuda::unpack_rows(nullptr, w.weights(), 0, vocab, rows.data());
    check_same(rows, back, "unpack_rows");
  }
  Values dtable = random_values(vocab * width, 4);
  const Array<float> adtable(dtable);
  embedding_backward(dy.data(), ids.data(), dtable.data(), m, width, vocab);
  cuda::embedding_backward(nullptr, ady.data(), aids.data(), adtable.data(), m, width);
  check_same(adtable, dtable, "dtable");
}

TEST_CASE("embeddings of three forms, packing and publishing give the CPU's bits and bytes") {
  check_tables(50, 17, 65);
  check_tables(64, 32, 65);
  check_tables(33, 48, 65);
  for (Draw draw(4); shapes.wanting("embedding");) {
    check_tables(draw.of({1, 2, 31, 32, 33, 40, 64, 65}), draw.between(1, 50), draw.between(1, 20));
  }
}

TEST_CASE("narrowing rounds to nearest even and keeps NaN, infinities and denormals") {
  Values x;
  for (const uint32_t bits : {0u, 0x80000000u, 0x3f808000u, 0x3f818000u, 0x3f808001u, 0x7f7fffffu,
                              0x7f800000u, 0xff800000u, 0x00000001u, 0x00008000u, 0x00018000u}) {
    float v;
    std::memcpy(&v, &bits, sizeof(v));
    x.push_back(v);
  }
  std::vector<Bfloat16> y(x.size());
  narrow(x.data(), y.data(), static_cast<int64_t>(x.size()));
  const Array<float> ax(x);
  const Array<Bfloat16> ay(static_cast<int64_t>(x.size()));
  cuda::narrow(nullptr, ax.data(), ay.data(), ax.size());
  check_same(ay, y, "narrow");
}

void check_optimizer(int64_t n) {
  if (!shapes.add({"adamw", "sum_squares", "add"}, {n})) return;
  CAPTURE(n);
  Values w = random_values(n, 1), m = random_values(n, 2), v = random_values(n, 3);
  for (float& x : v) x = std::abs(x);
  const Values g = random_values(n, 4);
  const Array<float> aw(w), am(m), av(v), ag(g);
  AdamWStep step;
  step.lr = 1e-3f;
  step.weight_decay = 0.1f;
  step.grad_scale = 0.7f;
  step.step = 1;
  adamw(w.data(), g.data(), m.data(), v.data(), n, step);
  cuda::adamw(nullptr, aw.data(), ag.data(), am.data(), av.data(), n, constants_of(step));
  check_same(aw, w, "w");
  check_same(am, m, "m");
  check_same(av, v, "v");
  Values cubes = random_values(n, static_cast<uint32_t>(5 + n % 20));
  for (float& value : cubes) value = value * value * value;
  const Array<double> partial((n + 65'535) / 65'536), sum(1);
  for (const Values& x : {g, cubes}) {
    const Array<float> ax(x);
    cuda::sum_squares(nullptr, ax.data(), n, partial.data(), sum.data());
    check_same(sum, {sum_squares(x.data(), n)}, "sum_squares");
  }
  Values y(n);
  add(g.data(), w.data(), y.data(), n);
  const Array<float> ay(n);
  cuda::add(nullptr, ag.data(), aw.data(), ay.data(), n);
  check_same(ay, y, "add");
}

TEST_CASE("the optimizer gives the CPU's bits") {
  for (const int64_t n : {1, 7, 1000, 70'000}) check_optimizer(n);
  for (Draw draw(5); shapes.wanting("adamw");) check_optimizer(draw.between(2, 3000));
}

TEST_CASE("operators on rows were compared on 200 shapes") { kCompared.check(); }

}  // namespace
}  // namespace zeroth::kernels
