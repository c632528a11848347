// The paged cache, attention and what takes rows apart, on the device over fibers against the CPU's
// operators, by bits.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "cuda_test.h"
#include "kernels/cuda/assemble.h"
#include "kernels/cuda/attention.h"

namespace zeroth::kernels {
namespace {

const Compared kCompared{"attention",           "attention_backward", "kv_write",
                         "kv_write_backward",   "copy_page",          "zero_pages",
                         "add_sinks",           "expand_latent",      "collapse_latent",
                         "add_sinks_backward",  "clamp_rows",         "scale_rows",
                         "take_rows",           "add_to_rows",        "zero_rows",
                         "clamp_rows_backward", "merge_attention"};

struct Shape {
  int heads, kv_heads, k_dim, v_dim, window;
  std::vector<int> lengths;  // of the sequences
  int shared;                // whole pages that all sequences begin with
  std::vector<int64_t> numbers(bool in_runs) const {
    std::vector<int64_t> all = {heads, kv_heads, k_dim, v_dim, window, shared, in_runs};
    all.insert(all.end(), lengths.begin(), lengths.end());
    return all;
  }
};
Shape drawn(Draw& draw) {
  Shape s;
  s.kv_heads = static_cast<int>(draw.between(1, 3));
  s.heads = s.kv_heads * static_cast<int>(draw.between(1, 5));
  s.k_dim = 2 * static_cast<int>(draw.between(1, 12));
  s.v_dim = static_cast<int>(draw.between(1, 24));
  s.window = static_cast<int>(draw.of({0, 0, 1, 5, 16, 23}));
  s.shared = static_cast<int>(draw.between(0, 1));
  for (int64_t n = draw.between(1, 3); n > 0; --n) {
    s.lengths.push_back(static_cast<int>(16 * s.shared + draw.of({1, 2, 15, 16, 17, 30, 33, 40})));
  }
  return s;
}
const std::vector<Shape> kShapes = {
    {1, 1, 4, 4, 0, {1}, 0},          {6, 2, 32, 32, 0, {40, 7, 33}, 0},
    {4, 4, 24, 16, 0, {50, 20}, 1},   {14, 2, 16, 16, 0, {20, 65}, 1},
    {3, 3, 5, 7, 0, {33, 18, 17}, 0}, {4, 2, 16, 16, 13, {90, 30}, 1},
    {5, 1, 10, 6, 32, {35, 60}, 2},   {16, 1, 8, 8, 0, {30}, 0},
    {2, 1, 8, 24, 0, {300}, 0},       {3, 1, 8, 16, 270, {290, 280}, 1},
    {2, 2, 6, 40, 1, {16, 17}, 0},
};

// Sequences in scattered pages; what nobody wrote holds NaN.
struct Scene {
  Shape s;
  Values cache_k, cache_v;
  std::vector<int32_t> sequence, position, table, begin{0};
  KvPages cache;
  int64_t longest = 0;

  explicit Scene(const Shape& shape) : s(shape) {
    int pages = s.shared;
    for (const int length : s.lengths) pages += (length + 15) / 16;
    const std::vector<int32_t> scattered = shuffled(pages + 2, 3);
    int next = s.shared;
    for (const int length : s.lengths) {
      for (int j = 0; j < (length + 15) / 16; ++j)
        table.push_back(scattered[j < s.shared ? j : next++]);
      begin.push_back(static_cast<int32_t>(table.size()));
      longest = std::max<int64_t>(longest, length);
    }
    cache.kv_heads = s.kv_heads;
    cache.k_dim = s.k_dim;
    cache.v_dim = s.v_dim;
    cache_k.assign((pages + 2) * cache.k_page(), NAN);
    cache_v.assign((pages + 2) * cache.v_page(), NAN);
    cache.k = cache_k.data();
    cache.v = cache_v.data();
    std::vector<KvWrite> writes;
    int32_t row = 0;
    for (size_t q = 0; q < s.lengths.size(); ++q)
      for (int p = 0; p < s.lengths[q]; ++p)
        writes.push_back({row++, int64_t{table[begin[q] + p / 16]} * 16 + p % 16});
    kv_write(cache, writes, random_values(int64_t{row} * s.kv_heads * s.k_dim, 4).data(),
             int64_t{s.kv_heads} * s.k_dim,
             random_values(int64_t{row} * s.kv_heads * s.v_dim, 5).data(),
             int64_t{s.kv_heads} * s.v_dim);
  }
  // Values are the first components of their keys; what the pages of values hold must not matter.
  void put_values_in_keys() {
    cache.values_in_keys = true;
    std::fill(cache_v.begin(), cache_v.end(), NAN);
  }
  // Rows in runs of a sequence, as in training; or one of each, as in decoding.
  void choose(bool in_runs) {
    sequence.clear();
    position.clear();
    Rng rng(3, in_runs ? 1 : 2);
    for (size_t q = 0; q < s.lengths.size(); ++q) {
      const int last = s.lengths[q] - 1;
      const int count = in_runs ? std::min(last + 1, 9) : 1;
      for (int i = count; i > 0; --i) {
        sequence.push_back(static_cast<int32_t>(q));
        position.push_back(in_runs ? last + 1 - i : last);
      }
      if (in_runs && last > 0) {  // and one from the middle
        sequence.push_back(static_cast<int32_t>(q));
        position.push_back(static_cast<int32_t>(rng.below(static_cast<uint32_t>(last))));
      }
    }
  }
  AttentionRows rows() const { return {sequence, position, table, begin, s.window}; }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(s.k_dim)); }
};

// The same on the device.
struct DeviceScene {
  Array<float> k, v;
  Array<int32_t> sequence, position, table, begin;
  KvPages cache;
  cuda::PagedRows rows;

  DeviceScene(const Scene& s, bool in_runs)
      : k(s.cache_k),
        v(s.cache_v),
        sequence(s.sequence),
        position(s.position),
        table(s.table),
        begin(s.begin),
        cache(s.cache) {
    cache.k = k.data();
    cache.v = v.data();
    rows = {sequence.data(), position.data(),  table.data(), begin.data(), sequence.size(),
            table.size(),    begin.size() - 1, s.s.window,   s.longest,    in_runs};
  }
};

void check_attention(const Shape& shape, bool in_runs, bool in_keys = false) {
  if (!in_keys && !shapes.add({"attention"}, shape.numbers(in_runs), 2)) return;
  Scene scene(shape);
  if (in_keys) scene.put_values_in_keys();
  CAPTURE(shape.heads);
  CAPTURE(shape.window);
  CAPTURE(in_runs);
  scene.choose(in_runs);
  const auto m = static_cast<int64_t>(scene.sequence.size());
  const int64_t ldq = int64_t{shape.heads} * shape.k_dim + 3;
  const int64_t ld = int64_t{shape.heads} * shape.v_dim + 1;
  const Values q = random_values(m * ldq, 1);
  Values out = unwritten(m * ld), lse = unwritten(m * shape.heads);
  attention(q.data(), ldq, scene.cache, scene.rows(), scene.scale(), shape.heads, out.data(), ld,
            lse.data());
  const DeviceScene device(scene, in_runs);
  const Array<float> aq(q), aout(m * ld), alse(m * shape.heads);
  cuda::attention(nullptr, aq.data(), ldq, device.cache, device.rows, scene.scale(), shape.heads,
                  aout.data(), ld, alse.data());
  check_same(aout, out, "attention");
  check_same(alse, lse, "lse");
}

TEST_CASE("attention gives the CPU's bits: heads, windows, leaves, shared pages, NaN unseen") {
  for (const Shape& shape : kShapes) {
    for (const bool in_runs : {false, true}) {
      check_attention(shape, in_runs);
      if (shape.v_dim <= shape.k_dim) check_attention(shape, in_runs, true);
    }
  }
  for (Draw draw(1); shapes.wanting("attention");) {
    const Shape shape = drawn(draw);
    check_attention(shape, draw.coin());
  }
}

TEST_CASE("attention over more than a block's shared memory keeps its scores in a workspace") {
  Scene scene(kShapes[1]);
  scene.choose(true);
  const Shape& shape = scene.s;
  const auto m = static_cast<int64_t>(scene.sequence.size());
  const int64_t ldq = int64_t{shape.heads} * shape.k_dim, ld = int64_t{shape.heads} * shape.v_dim;
  const Values q = random_values(m * ldq, 1);
  Values out = unwritten(m * ld);
  attention(q.data(), ldq, scene.cache, scene.rows(), scene.scale(), shape.heads, out.data(), ld,
            nullptr);
  DeviceScene device(scene, true);
  device.rows.longest = 20'000;
  const int64_t all = cuda::attention_workspace(device.cache, device.rows, shape.heads);
  CHECK(all > 0);
  const Array<float> aq(q);
  for (const int64_t floats : {all, all / 2, all / 11}) {  // fewer rows at a time
    const Array<float> aout(m * ld), workspace(floats);
    cuda::attention(nullptr, aq.data(), ldq, device.cache, device.rows, scene.scale(), shape.heads,
                    aout.data(), ld, nullptr, {workspace.data(), floats});
    check_same(aout, out, "attention");
  }
  const Array<float> aout(m * ld);
  CHECK_THROWS(cuda::attention(nullptr, aq.data(), ldq, device.cache, device.rows, scene.scale(),
                               shape.heads, aout.data(), ld, nullptr));
  CHECK_THROWS(cuda::attention(nullptr, aq.data(), ldq, device.cache, device.rows, scene.scale(),
                               shape.heads + 1, aout.data(), ld, nullptr));
}

void check_attention_backward(const Shape& shape, bool in_keys = false) {
  if (!in_keys && !shapes.add({"attention_backward"}, shape.numbers(true), 2)) return;
  Scene scene(shape);
  if (in_keys) scene.put_values_in_keys();
  scene.choose(true);
  CAPTURE(shape.heads);
  CAPTURE(shape.window);
  const auto m = static_cast<int64_t>(scene.sequence.size());
  const int64_t ldq = int64_t{shape.heads} * shape.k_dim + 3;
  const int64_t ld = int64_t{shape.heads} * shape.v_dim + 1;
  const Values q = random_values(m * ldq, 1), dout = random_values(m * ld, 2);
  Values out(m * ld), lse(m * shape.heads), dq = unwritten(m * ldq);
  attention(q.data(), ldq, scene.cache, scene.rows(), scene.scale(), shape.heads, out.data(), ld,
            lse.data());
  Values dk(scene.cache_k.size(), 0.0f), dv(scene.cache_v.size(), 0.0f);
  KvPages dcache = scene.cache;
  dcache.values_in_keys = false;
  dcache.k = dk.data();
  dcache.v = dv.data();
  const Array<float> adk(dk), adv(dv), again_dk(dk), again_dv(dv);
  attention_backward(q.data(), ldq, scene.cache, scene.rows(), scene.scale(), shape.heads,
                     out.data(), ld, lse.data(), dout.data(), ld, dq.data(), ldq, dcache);
  const DeviceScene device(scene, true);
  const Array<float> aq(q), adout(dout), aout(out), alse(lse);
  const int64_t all = cuda::attention_backward_workspace(device.cache, device.rows, shape.heads);
  for (const bool whole : {true, false}) {
    const Array<float> adq(m * ldq), workspace(whole ? all : all / m);
    KvPages adcache = device.cache;
    adcache.values_in_keys = false;
    adcache.k = (whole ? adk : again_dk).data();
    adcache.v = (whole ? adv : again_dv).data();
    cuda::attention_backward(nullptr, aq.data(), ldq, device.cache, device.rows, scene.scale(),
                             shape.heads, aout.data(), ld, alse.data(), adout.data(), ld,
                             adq.data(), ldq, adcache, {workspace.data(), workspace.size()});
    check_same(adq, dq, "dq");
    check_same(whole ? adk : again_dk, dk, "dk");
    check_same(whole ? adv : again_dv, dv, "dv");
  }
}

TEST_CASE("the gradient of attention has the CPU's bits, in one piece and row by row") {
  for (const Shape& shape : kShapes) {
    check_attention_backward(shape);
    if (shape.v_dim <= shape.k_dim) check_attention_backward(shape, true);
  }
  for (Draw draw(2); shapes.wanting("attention_backward");) check_attention_backward(drawn(draw));
}

void check_pages(int heads, int k_dim, int v_dim, int32_t rows, bool in_keys = false) {
  if (!in_keys && !shapes.add({"kv_write", "kv_write_backward", "copy_page", "zero_pages"},
                              {heads, k_dim, v_dim, rows})) {
    return;
  }
  KvPages cache;
  cache.kv_heads = heads, cache.k_dim = k_dim, cache.v_dim = v_dim;
  const int64_t pages = 5, ldk = heads * k_dim + 1, ldv = heads * v_dim + 2;
  Values k = random_values(pages * cache.k_page(), 1), v = random_values(pages * cache.v_page(), 2);
  const Values from_k = random_values(rows * ldk, 3), from_v = random_values(rows * ldv, 4);
  const Array<float> ak(k), av(v), afrom_k(from_k), afrom_v(from_v);
  KvPages device = cache;
  cache.k = k.data(), cache.v = v.data();
  device.k = ak.data(), device.v = av.data();
  std::vector<KvWrite> writes;
  for (int32_t i = 0; i < rows; ++i) writes.push_back({i, (i * 7 + 3) % 80});
  writes.push_back({rows / 5, 79});  // a row to a second slot
  const Array<KvWrite> awrites(writes);
  kv_write(cache, writes, from_k.data(), ldk, from_v.data(), ldv);
  cuda::kv_write(nullptr, device, awrites.data(), awrites.size(), afrom_k.data(), ldk,
                 afrom_v.data(), ldv);
  check_same(ak, k, "k");
  check_same(av, v, "v");

  Values dk = from_k, dv = from_v;
  const Array<float> adk(dk), adv(dv);
  kv_write_backward(cache, writes, dk.data(), ldk, dv.data(), ldv);
  cuda::kv_write_backward(nullptr, device, awrites.data(), awrites.size(), adk.data(), ldk,
                          adv.data(), ldv);
  check_same(adk, dk, "dk");
  check_same(adv, dv, "dv");

  cache.values_in_keys = device.values_in_keys = in_keys;  // then the values' pages stay
  const std::vector<int32_t> some = {4, 1};
  const Array<int32_t> asome(some);
  copy_page(cache, 0, 2);
  zero_pages(cache, some);
  cuda::copy_page(nullptr, device, 0, 2);
  cuda::zero_pages(nullptr, device, asome.data(), asome.size());
  check_same(ak, k, "k");
  check_same(av, v, "v");
}

TEST_CASE("the cache's pages are written, cleared, copied and summed as by the CPU") {
  check_pages(1, 4, 4, 20);
  check_pages(2, 7, 5, 20);
  check_pages(3, 16, 32, 20);
  check_pages(1, 20, 12, 20, true);
  for (Draw draw(3); shapes.wanting("kv_write");) {
    check_pages(static_cast<int>(draw.between(1, 4)), static_cast<int>(draw.between(1, 20)),
                static_cast<int>(draw.between(1, 20)), static_cast<int32_t>(draw.between(1, 60)));
  }
}

void check_sinks(int64_t dim, int64_t heads, int64_t m, const std::vector<int64_t>& parts) {
  std::vector<int64_t> numbers = {dim, heads, m};
  numbers.insert(numbers.end(), parts.begin(), parts.end());
  if (!shapes.add({"add_sinks", "add_sinks_backward"}, numbers)) return;
  CAPTURE(dim);
  CAPTURE(heads);
  const int64_t ld = heads * dim + 3;
  const Values sinks = random_values(heads, 1, 3), dout = random_values(m * ld, 2);
  Values out = random_values(m * ld, 3), lse = random_values(m * heads, 4, 3);
  const Array<float> asinks(sinks), aout(out), alse(lse), adout(dout);
  add_sinks(sinks.data(), out.data(), ld, lse.data(), m, heads, dim);
  cuda::add_sinks(nullptr, asinks.data(), aout.data(), ld, alse.data(), m, heads, dim);
  check_same(aout, out, "add_sinks");
  check_same(alse, lse, "lse");
  std::vector<int64_t> cut = parts;
  cut.push_back(m);
  const DeviceBounds bounds(cut);
  Values dsinks = random_values(heads, 5);
  const Array<float> adsinks(dsinks), partial(m * heads);
  add_sinks_backward(sinks.data(), out.data(), ld, lse.data(), dout.data(), ld, dsinks.data(), m,
                     heads, dim, parts);
  cuda::add_sinks_backward(nullptr, asinks.data(), aout.data(), ld, alse.data(), adout.data(), ld,
                           adsinks.data(), heads, dim, bounds.bounds(), partial.data());
  check_same(adsinks, dsinks, "dsinks");
}

TEST_CASE("attention sinks and their gradients have the CPU's bits, parts included") {
  for (const int64_t dim : {1, 16, 70}) {
    for (const int64_t heads : {1, 5, 18}) check_sinks(dim, heads, 13, {0, 4, 4, 9});
  }
  for (Draw draw(4); shapes.wanting("add_sinks");) {
    const int64_t m = draw.between(1, 12);
    check_sinks(draw.of({1, 2, 15, 16, 17, 33}), draw.between(1, 6), m,
                draw.cuts(m, draw.between(1, 4)));
  }
}

void check_rows(int64_t width, int64_t m, int64_t more) {
  if (!shapes.add({"clamp_rows", "clamp_rows_backward", "scale_rows", "take_rows", "add_to_rows",
                   "zero_rows"},
                  {width, m, more})) {
    return;
  }
  CAPTURE(width);
  CAPTURE(m);
  const int64_t ld = width + more, taken = (m + 1) / 2;
  Values x = random_values(m * ld, 1), dx = random_values(m * ld, 2);
  const Values y = random_values(m * ld, 3);
  const Array<float> ax(x), adx(dx), ay(y), aout(taken * ld);
  clamp_rows(x.data(), ld, m, width, 0.7f);
  cuda::clamp_rows(nullptr, ax.data(), ld, m, width, 0.7f);
  check_same(ax, x, "clamp_rows");
  clamp_rows_backward(x.data(), ld, dx.data(), ld, m, width, 0.7f);
  cuda::clamp_rows_backward(nullptr, ax.data(), ld, adx.data(), ld, m, width, 0.7f);
  check_same(adx, dx, "clamp_rows_backward");
  scale_rows(x.data(), ld, m, width, 1.3f);
  cuda::scale_rows(nullptr, ax.data(), ld, m, width, 1.3f);
  check_same(ax, x, "scale_rows");
  std::vector<int32_t> rows = shuffled(static_cast<int>(m), 3);
  rows.resize(taken);
  const Array<int32_t> arows(rows);
  Values out = unwritten(taken * ld);
  take_rows(x.data(), ld, rows, out.data(), ld, width);
  cuda::take_rows(nullptr, ax.data(), ld, arows.data(), arows.size(), aout.data(), ld, width);
  check_same(aout, out, "take_rows");
  add_to_rows(y.data(), ld, rows, x.data(), ld, width);
  cuda::add_to_rows(nullptr, ay.data(), ld, arows.data(), arows.size(), ax.data(), ld, width);
  check_same(ax, x, "add_to_rows");
  zero_rows(x.data(), ld, taken, width);
  cuda::zero_rows(nullptr, ax.data(), ld, taken, width);
  check_same(ax, x, "zero_rows");
}

TEST_CASE("rows are cleared, clipped, taken and added as by the CPU") {
  for (const int64_t width : {1, 16, 37}) check_rows(width, 11, 3);
  for (Draw draw(5); shapes.wanting("clamp_rows");) {
    check_rows(draw.of({1, 2, 7, 15, 16, 17, 31, 32, 33, 65}), draw.of({1, 2, 3, 9, 16, 65}),
               draw.between(0, 5));
  }
}

void check_latent(const LatentHeads& w, int64_t m) {
  if (!shapes.add({"expand_latent", "collapse_latent"}, {w.heads, w.nope, w.rope, w.v, m})) return;
  const int64_t ldr = w.rope + 5;
  const int64_t key = w.heads * (w.nope + w.rope), value = w.heads * w.v;
  const Values kv = random_values(m * w.heads * (w.nope + w.v), 1),
               part = random_values(m * ldr, 2);
  Values k(m * key), v(m * value), dkv(m * w.heads * (w.nope + w.v)), drope = unwritten(m * ldr);
  expand_latent(w, kv.data(), part.data(), ldr, k.data(), v.data(), m);
  const Values dk = random_values(m * key, 3), dv = random_values(m * value, 4);
  collapse_latent(w, dk.data(), dv.data(), dkv.data(), drope.data(), ldr, m);
  const Array<float> akv(kv), apart(part), ak(m * key), av(m * value), adk(dk), adv(dv),
      adkv(static_cast<int64_t>(dkv.size())), adrope(m * ldr);
  cuda::expand_latent(nullptr, w, akv.data(), apart.data(), ldr, ak.data(), av.data(), m);
  check_same(ak, k, "k");
  check_same(av, v, "v");
  cuda::collapse_latent(nullptr, w, adk.data(), adv.data(), adkv.data(), adrope.data(), ldr, m);
  check_same(adkv, dkv, "dkv");
  check_same(adrope, drope, "drope");
}

void check_merge(int64_t heads, int64_t dim, int64_t m, int64_t count) {
  if (!shapes.add({"merge_attention"}, {heads, dim, m, count})) return;
  std::vector<int32_t> rows = shuffled(static_cast<int>(m), 4);
  rows.resize(count);
  Values out = random_values(m * heads * dim, 1), lse = random_values(m * heads, 2, 5);
  const Values part_out = random_values(count * heads * dim, 3);
  Values part_lse = random_values(count * heads, 4, 5);
  part_lse.front() = 900.0f;  // all of the sum, and none of it
  part_lse.back() = -900.0f;
  const Array<float> aout(out), alse(lse), apart_out(part_out), apart_lse(part_lse);
  const Array<int32_t> arows(rows);
  merge_attention(part_out.data(), part_lse.data(), rows, heads, dim, out.data(), lse.data());
  cuda::merge_attention(nullptr, apart_out.data(), apart_lse.data(), arows.data(), arows.size(),
                        heads, dim, aout.data(), alse.data());
  check_same(aout, out, "merge_attention");
  check_same(alse, lse, "lse");
}

TEST_CASE("latent heads are expanded and collapsed, and attention merged, with the CPU's bits") {
  check_latent({1, 4, 2, 3}, 7);
  check_latent({3, 16, 8, 12}, 7);
  for (Draw draw(6); shapes.wanting("expand_latent");) {
    check_latent(
        {draw.between(1, 4), draw.between(1, 20), 2 * draw.between(1, 6), draw.between(1, 20)},
        draw.between(1, 20));
  }
  check_merge(3, 70, 9, 4);
  for (Draw draw(7); shapes.wanting("merge_attention");) {
    const int64_t m = draw.between(1, 12);
    check_merge(draw.between(1, 5), draw.of({1, 8, 16, 33, 64, 65, 100}), m, draw.between(1, m));
  }
}

TEST_CASE("attention and rows were compared on 200 shapes") { kCompared.check(); }

}  // namespace
}  // namespace zeroth::kernels
