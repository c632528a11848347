// Operators on rows, experts and the optimizer of the device over fibers against the CPU's, by bits.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "cuda_test.h"
#include "kernels/adamw_constants.h"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/rows.h"

namespace zeroth::kernels {
namespace {

// Widths of less than a vector, of whole ones, and of neither; one row, 65 rows.
constexpr int64_t kWidths[] = {1, 7, 16, 17, 64, 70, 129, 200};
constexpr int64_t kHeights[] = {1, 5, 65};

std::vector<int32_t> numbers(int64_t n, int32_t below, uint32_t stream) {
  std::vector<int32_t> x(n);
  Rng rng(30, stream);
  for (int32_t& v : x) v = static_cast<int32_t>(rng.below(static_cast<uint32_t>(below)));
  return x;
}

TEST_CASE("rms_norm and its gradients give the CPU's bits: heads, strides, parts, in place") {
  for (const int64_t width : kWidths) {
    for (const int64_t m : {int64_t{1}, int64_t{9}, int64_t{300}}) {
      for (const int64_t heads : {1, 3}) {
        if (m * width * heads > 40'000) continue;
        CAPTURE(width);
        CAPTURE(m);
        CAPTURE(heads);
        const int64_t ld = heads * width + 3, ldinv = m + 2;
        const bool plus_one = (width + m) % 2 == 0;
        const Values x = random_values(m * ld, 1), w = random_values(width, 2);
        Values y = x, inv = unwritten(heads * ldinv);
        rms_norm(y.data(), ld, w.data(), 1e-6f, y.data(), ld, inv.data(), m, width, heads, ldinv,
                 plus_one);
        const Array<float> ax(x), aw(w), ainv(heads * ldinv);
        cuda::rms_norm(nullptr, ax.data(), ld, aw.data(), 1e-6f, ax.data(), ld, ainv.data(), m,
                       width, heads, ldinv, plus_one);
        check_same(ax, y, "rms_norm");
        check_same(ainv, inv, "inv_rms");

        std::vector<int64_t> bounds =
            m > 20 ? std::vector<int64_t>{0, 7, 20} : std::vector<int64_t>{0};
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
                                  adx.data(), ld, adw.data(), m, width, accumulate, heads,
                                  cut.bounds(), partial.data(), plus_one);
          check_same(adx, dx, "dx");
          check_same(adw, dw, "dweight");
        }
      }
    }
  }
}

void check_gates(const Gate& gate) {
  for (const int64_t width : kWidths) {
    for (const int64_t m : kHeights) {
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
  }
}

TEST_CASE("gates and their gradients give the CPU's bits, with and without weights") {
  for (const Gate& gate :
       {Gate(), Gate(Gate::kGelu), Gate(Gate::kClamped, 1.7f, 2.5f), Gate(Gate::kSigmoid)}) {
    check_gates(gate);
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

TEST_CASE(
    "rope gives the CPU's bits: halves and pairs, forward and back, heads inside wider rows") {
  for (const int dim : {2, 6, 32, 36}) {
    for (const bool interleaved : {false, true}) {
      for (const bool inverse : {false, true}) {
        const int64_t m = 7, stride = dim + 4, ld = 3 * stride + 1;
        const int heads = 3;
        const std::vector<int32_t> positions = numbers(m, 20, 1);
        const Values cos = random_values(20 * dim / 2, 2), sin = random_values(20 * dim / 2, 3);
        Values x = random_values(m * ld, 4);
        const Array<float> ax(x), ac(cos), as(sin);
        const Array<int32_t> ap(positions);
        rope(x.data(), ld, stride, positions.data(), cos.data(), sin.data(), m, heads, dim,
             interleaved, inverse);
        cuda::rope(nullptr, ax.data(), ld, stride, ap.data(), ac.data(), as.data(), m, heads, dim,
                   interleaved, inverse);
        check_same(ax, x, "rope");
      }
    }
  }
}

TEST_CASE("embeddings of three forms, packing and publishing give the CPU's bits and bytes") {
  for (const auto& [vocab, width] : {std::pair<int64_t, int64_t>{50, 17}, {64, 32}, {33, 48}}) {
    const int64_t m = 65;
    const std::vector<int32_t> ids = numbers(m, static_cast<int32_t>(vocab), 1);
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
    for (const Element element : {Element::kFloat32, Element::kBfloat16}) {
      const CudaWeights w(floats, vocab, width, element);
      table = {};
      table.packed = &w.packed;
      embedding(table, width, ids.data(), y.data(), m);
      cuda::embedding(nullptr, w.weights(), aids.data(), out.data(), m);
      check_same(out, y, "embedding of packed rows");
      // Packed in two parts on the device: the CPU's bytes.
      const Array<float> panels(packed_floats(vocab, width, element)), rows(vocab * width);
      cuda::pack_rows(nullptr, w.weights(), panels.data(), 0, 32, afloats.data(), width);
      cuda::pack_rows(nullptr, w.weights(), panels.data(), 32, vocab - 32,
                      afloats.data() + 32 * width, width);
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

TEST_CASE("the optimizer gives the CPU's bits") {
  for (const int64_t n : {1, 7, 1000, 70'000}) {
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
    const Array<double> partial((n + 65'535) / 65'536), sum(1);
    cuda::sum_squares(nullptr, ag.data(), n, partial.data(), sum.data());
    check_same(sum, {sum_squares(g.data(), n)}, "sum_squares");
    for (uint32_t stream = 5; stream < 25; ++stream) {
      Values x = random_values(std::min<int64_t>(n, 3000), stream);
      for (float& value : x) value = value * value * value;
      const Array<float> ax(x);
      cuda::sum_squares(nullptr, ax.data(), ax.size(), partial.data(), sum.data());
      check_same(sum, {sum_squares(x.data(), ax.size())}, "sum_squares");
    }
    Values y(n);
    add(g.data(), w.data(), y.data(), n);
    const Array<float> ay(n);
    cuda::add(nullptr, ag.data(), aw.data(), ay.data(), n);
    check_same(ay, y, "add");
  }
}

// --- experts

std::vector<RouterConfig> routers() {
  RouterConfig mixtral{8, 2};
  mixtral.normalize = true;
  RouterConfig olmoe{33, 5};
  RouterConfig v2{16, 3};
  v2.groups = 4;
  v2.top_groups = 2;
  v2.scale = 1.5f;
  RouterConfig v3{64, 6};
  v3.sigmoid = v3.normalize = v3.group_sum_top2 = true;
  v3.groups = 8;
  v3.top_groups = 3;
  v3.scale = 2.5f;
  RouterConfig one{4, 1};
  one.normalize = true;
  RouterConfig all{5, 5};
  RouterConfig many{100, 40};
  many.sigmoid = true;
  return {mixtral, olmoe, v2, v3, one, all, many};
}

TEST_CASE("routing and its gradients give the CPU's choices and bits, ties included") {
  for (const RouterConfig& c : routers()) {
    for (const int64_t m : kHeights) {
      for (const bool ties : {false, true}) {
        CAPTURE(c.experts);
        CAPTURE(m);
        Values logits = random_values(m * c.experts, 1, 2);
        if (ties) {
          for (float& x : logits) x = std::round(x);
        } else if (c.sigmoid) {  // scores so small that what is added to their sum shows
          for (float& x : logits) x -= 48.0f;
        }
        const Values bias = c.sigmoid ? random_values(c.experts, 2, 0.3) : Values();
        std::vector<int32_t> ids(m * c.top_k);
        Values weights(m * c.top_k), scores(m * c.experts);
        route(logits.data(), bias.empty() ? nullptr : bias.data(), c, ids.data(), weights.data(),
              scores.data(), m);
        const Array<float> alogits(logits), abias(bias), aweights(m * c.top_k),
            ascores(m * c.experts);
        const Array<int32_t> aids(m * c.top_k);
        cuda::route(nullptr, alogits.data(), bias.empty() ? nullptr : abias.data(), c, aids.data(),
                    aweights.data(), ascores.data(), m);
        check_same(aids, ids, "ids");
        check_same(aweights, weights, "weights");
        check_same(ascores, scores, "scores");

        // The choices of other rows, weighed by this row's scores.
        std::vector<int32_t> others(ids.begin() + (m - 1) * c.top_k, ids.end());
        others.insert(others.end(), ids.begin(), ids.end() - c.top_k);
        Values weighed(m * c.top_k);
        weigh_choices(scores.data(), others.data(), c, weighed.data(), m);
        const Array<int32_t> aothers(others);
        const Array<float> aweighed(m * c.top_k);
        cuda::weigh_choices(nullptr, ascores.data(), aothers.data(), c, aweighed.data(), m);
        check_same(aweighed, weighed, "weigh_choices");

        const Values dweights = random_values(m * c.top_k, 3), aux = random_values(c.experts, 4);
        Values dlogits(m * c.experts);
        route_backward(dweights.data(), ids.data(), weights.data(), scores.data(), c,
                       dlogits.data(), m);
        const Array<float> adweights(dweights), aaux(aux), adlogits(m * c.experts);
        cuda::route_backward(nullptr, adweights.data(), aids.data(), ascores.data(), c,
                             adlogits.data(), m);
        check_same(adlogits, dlogits, "dlogits");
        balance_backward(c, scores.data(), aux.data(), dlogits.data(), m);
        cuda::balance_backward(nullptr, c, ascores.data(), aaux.data(), adlogits.data(), m);
        check_same(adlogits, dlogits, "balance_backward");
      }
    }
  }
}

TEST_CASE(
    "biases of experts and their gradients give the CPU's bits, parts and empty ones included") {
  const std::vector<int64_t> offsets{0, 7, 7, 290, 300}, begins{0, 3, 7, 7, 7, 20, 290, 290};
  const int64_t m = 300;
  for (const int64_t width : kWidths) {
    CAPTURE(width);
    const int64_t ld = width + 3, groups = 4;
    const Values bias = random_values(groups * width, 1), dy = random_values(m * ld, 2);
    Values y = random_values(m * ld, 3);
    const Array<float> ay(y), abias(bias), ady(dy);
    const DeviceBounds bounds(offsets, m + 5);
    add_group_bias(y.data(), ld, offsets, bias.data(), width);
    // More rows than the groups have: what the host knows is a bound.
    cuda::add_group_bias(nullptr, ay.data(), ld, bounds.bounds(), abias.data(), width);
    check_same(ay, y, "add_group_bias");
    const std::vector<int32_t> order = shuffled(static_cast<int>(m), 4);
    const Values weights = random_values(m, 5);
    const Array<int32_t> aorder(order);
    const Array<float> aweights(weights);
    for (const bool weighted : {false, true}) {
      Values dbias = random_values(groups * width, 6), dweights = random_values(m, 7);
      const Array<float> adbias(dbias), adweights(dweights);
      RowWeights w;
      cuda::GroupBiasGradient t;
      t.dy = ady.data(), t.lddy = ld, t.bias = abias.data(), t.dbias = adbias.data();
      t.width = width;
      if (weighted) {
        w = {order.data(), weights.data(), dweights.data()};
        t.order = aorder.data(), t.weights = aweights.data(), t.dweights = adweights.data();
      }
      group_bias_backward(dy.data(), ld, offsets, bias.data(), dbias.data(), width, w, begins);
      std::vector<int64_t> cuts = begins;
      cuts.push_back(m);
      const DeviceBounds parts(cuts), of_groups(offsets);
      cuda::group_bias_backward(nullptr, t, of_groups.bounds(), parts.bounds());
      check_same(adbias, dbias, "dbias");
      check_same(adweights, dweights, "dweights");
    }
  }
}

TEST_CASE("the way of rows to experts and back gives the CPU's bits, empty experts included") {
  for (const auto& [m, top_k, experts] :
       {std::tuple<int64_t, int, int>{1, 1, 1}, {1, 2, 8}, {65, 2, 8}, {40, 3, 70}, {300, 2, 3}}) {
    CAPTURE(m);
    CAPTURE(experts);
    const int64_t n = m * top_k, width = 19, ld = width + 2;
    std::vector<int32_t> ids = numbers(n, std::max(1, experts - 1), 1);  // the last one is empty
    std::vector<int64_t> offsets(experts + 1);
    std::vector<int32_t> order(n);
    expert_sort(ids.data(), m, top_k, experts, offsets.data(), order.data());
    const Array<int32_t> aids(ids), aorder(n), place(n), again(n);
    const Array<int64_t> aoffsets(experts + 1);
    cuda::expert_sort(nullptr, aids.data(), m, top_k, experts, aoffsets.data(), aorder.data(),
                      place.data());
    check_same(aoffsets, offsets, "offsets");
    check_same(aorder, order, "order");
    cuda::places_of(nullptr, aorder.data(), n, again.data());
    check_same(again, place.host(), "places");

    const Values x = random_values(m * ld, 2), y = random_values(n * width, 3);
    const Values weights = random_values(n, 4);
    Values gathered(n * width), combined = unwritten(m * ld), dx = random_values(m * ld, 5);
    const Array<float> ax(x), ay(y), aweights(weights), agathered(n * width), acombined(m * ld);
    gather_rows(x.data(), ld, order, top_k, gathered.data(), width);
    cuda::gather_rows(nullptr, ax.data(), ld, aorder.data(), n, top_k, agathered.data(), width);
    check_same(agathered, gathered, "gather_rows");
    combine(y.data(), order, weights.data(), top_k, combined.data(), ld, m, width);
    cuda::combine(nullptr, ay.data(), place.data(), aweights.data(), top_k, acombined.data(), ld, m,
                  width);
    check_same(acombined, combined, "combine");
    for (const bool accumulate : {false, true}) {
      const Array<float> adx(dx);
      gather_rows_backward(y.data(), order, top_k, dx.data(), ld, m, width, accumulate);
      cuda::gather_rows_backward(nullptr, ay.data(), place.data(), top_k, adx.data(), ld, m, width,
                                 accumulate);
      check_same(adx, dx, "gather_rows_backward");
    }
  }
}

}  // namespace
}  // namespace zeroth::kernels
