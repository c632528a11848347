#include <numeric>

#include "kernel_test.h"

namespace zeroth::kernels {
namespace {

struct Case {
  int heads, kv_heads, k_dim, v_dim, length, window;
};
constexpr Case kCases[] = {{1, 1, 4, 4, 1, 0},     {6, 2, 32, 32, 40, 0}, {4, 4, 24, 16, 50, 0},
                           {16, 1, 16, 16, 20, 0}, {2, 1, 8, 40, 70, 0},  {3, 3, 48, 32, 33, 0},
                           {4, 2, 16, 16, 90, 13}, {5, 1, 10, 6, 35, 32}, {4, 2, 8, 24, 530, 0},
                           {3, 1, 8, 16, 560, 270}};

// One sequence in a cache whose pages are scattered by `stream`; unused tokens hold NaN unless
// `clean`.
struct Scene {
  Case c;
  Values q, k, v, cache_k, cache_v;
  std::vector<int32_t> pages;
  KvPages cache;

  Scene(const Case& shape, uint32_t stream, bool clean = false) : c(shape) {
    q = random_values(int64_t{c.length} * c.heads * c.k_dim, 1);
    k = random_values(int64_t{c.length} * c.kv_heads * c.k_dim, 2);
    v = random_values(int64_t{c.length} * c.kv_heads * c.v_dim, 3);
    const int count = (c.length + 15) / 16;
    pages = shuffled(count + 3, stream);
    pages.resize(count);
    cache.kv_heads = c.kv_heads;
    cache.k_dim = c.k_dim;
    cache.v_dim = c.v_dim;
    cache_k.assign((count + 3) * cache.k_page(), clean ? 0.0f : NAN);
    cache_v.assign((count + 3) * cache.v_page(), clean ? 0.0f : NAN);
    cache.k = cache_k.data();
    cache.v = cache_v.data();
    write(0, c.length);
  }
  int64_t slot(int position) const { return int64_t{pages[position / 16]} * 16 + position % 16; }
  void write(int begin, int end) {
    std::vector<KvWrite> writes;
    for (int i = begin; i < end; ++i) writes.push_back({i, slot(i)});
    kv_write(cache, writes, k.data(), int64_t{c.kv_heads} * c.k_dim, v.data(),
             int64_t{c.kv_heads} * c.v_dim);
  }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(c.k_dim)); }
  int64_t width() const { return int64_t{c.heads} * c.v_dim; }

  // out rows followed by lse, for the given positions in the given order.
  Values run(std::span<const int32_t> positions, bool with_lse = false) const {
    const int64_t m = static_cast<int64_t>(positions.size());
    const Values some = pick_rows(q, int64_t{c.heads} * c.k_dim, positions);
    const std::vector<int32_t> sequence(m, 0), begin = {0, static_cast<int32_t>(pages.size())};
    Values out(m * width(), NAN), lse(m * c.heads, NAN);
    attention(some.data(), int64_t{c.heads} * c.k_dim, cache,
              {sequence, positions, pages, begin, c.window}, scale(), c.heads, out.data(), width(),
              with_lse ? lse.data() : nullptr);
    if (with_lse) out.insert(out.end(), lse.begin(), lse.end());
    return out;
  }
  std::vector<int32_t> all() const {
    std::vector<int32_t> positions(c.length);
    std::iota(positions.begin(), positions.end(), 0);
    return positions;
  }
  reference::Attention truth() const {
    return {c.length, c.heads, c.kv_heads, c.k_dim, c.v_dim, c.window, scale()};
  }
};

TEST_CASE("attention equals the reference and has the same bits everywhere") {
  for (const Case& c : kCases) {
    CAPTURE(c.heads);
    CAPTURE(c.length);
    const Scene scene(c, 1);
    const Values y = everywhere([&] { return scene.run(scene.all(), true); });
    CHECK(difference(std::span(y).first(c.length * scene.width()),
                     scene.truth()(doubles(scene.q), doubles(scene.k), doubles(scene.v))) < 3e-6);
  }
}

TEST_CASE("a row of attention depends on its own position only: rows, order, chunks") {
  for (const Case& c : kCases) {
    const Scene scene(c, 1);
    CHECK(rows_are_pure(std::min(c.length, 65), scene.width(),
                        [&](std::span<const int32_t> rows) { return scene.run(rows); }));
  }
}

TEST_CASE("attention does not depend on which pages hold a sequence, nor on what else they hold") {
  for (const Case& c : kCases) {
    const Scene scene(c, 1), moved(c, 2), clean(c, 3, true);
    const Values y = scene.run(scene.all(), true);
    CHECK(same_bits(moved.run(moved.all(), true), y));
    CHECK(same_bits(clean.run(clean.all(), true), y));
  }
}

TEST_CASE("decoding token by token gives the bits of one pass over the sequence") {
  const Case c = kCases[1];
  Scene scene(c, 1);
  const Values whole = scene.run(scene.all());
  scene.cache_k.assign(scene.cache_k.size(), NAN);
  scene.cache_v.assign(scene.cache_v.size(), NAN);
  for (int32_t t = 0; t < c.length; ++t) {
    scene.write(t, t + 1);
    CHECK(same_bits(scene.run(std::span(&t, 1)),
                    std::span(whole).subspan(t * scene.width(), scene.width())));
  }
}

TEST_CASE("values are summed in leaves of 256 positions, each a chain, added in ascending order") {
  for (const Case& c : {Case{1, 1, 8, 16, 256, 0},
                        {2, 1, 8, 24, 700, 0},
                        {3, 1, 8, 16, 700, 300},
                        {16, 1, 8, 100, 520, 0},
                        {4, 2, 8, 6, 1100, 257}}) {
    CAPTURE(c.length);
    CAPTURE(c.window);
    Scene scene(c, 1);
    scene.q.assign(scene.q.size(), 0.0f);  // every visible position weighs exp(0) = 1
    Values expected;
    for (int t = 0; t < c.length; ++t) {
      const int first = c.window > 0 ? std::max(0, t - c.window + 1) : 0;
      const float inverse = 1.0f / static_cast<float>(t - first + 1);
      for (int64_t column = 0; column < scene.width(); ++column) {
        const int64_t head = column / c.v_dim / (c.heads / c.kv_heads);
        float sum = 0;
        for (int begin = first; begin <= t;) {
          const int end = std::min(t, begin | 255);
          float leaf = 0;
          for (int p = begin; p <= end; ++p) {
            leaf += scene.v[(int64_t{p} * c.kv_heads + head) * c.v_dim + column % c.v_dim];
          }
          sum = begin == first ? leaf : sum + leaf;
          begin = end + 1;
        }
        expected.push_back(sum * inverse);
      }
    }
    CHECK(same_bits(everywhere([&] { return scene.run(scene.all()); }), expected));
  }
}

TEST_CASE("a shared prompt gives the bits of a private copy") {
  const Case c{6, 2, 16, 16, 48, 0};
  Scene scene(c, 1);
  // Two sequences over the same three pages, and a third over copies of them.
  const int per = 3;
  std::vector<int32_t> table, begin = {0};
  Values k = scene.cache_k, v = scene.cache_v;
  const int64_t first = static_cast<int64_t>(k.size()) / scene.cache.k_page();
  for (int p = 0; p < per; ++p) {
    const int64_t from = scene.pages[p];
    const Values pk(k.begin() + from * scene.cache.k_page(),
                    k.begin() + (from + 1) * scene.cache.k_page());
    const Values pv(v.begin() + from * scene.cache.v_page(),
                    v.begin() + (from + 1) * scene.cache.v_page());
    k.insert(k.end(), pk.begin(), pk.end());
    v.insert(v.end(), pv.begin(), pv.end());
  }
  for (int s = 0; s < 3; ++s) {
    for (int p = 0; p < per; ++p)
      table.push_back(s < 2 ? scene.pages[p] : static_cast<int32_t>(first + p));
    begin.push_back(static_cast<int32_t>(table.size()));
  }
  KvPages cache = scene.cache;
  cache.k = k.data();
  cache.v = v.data();
  std::vector<int32_t> sequence, position;
  Values q;
  for (int s = 0; s < 3; ++s)
    for (int32_t t = 20; t < 48; ++t) {
      sequence.push_back(s);
      position.push_back(t);
      const Values row = pick_rows(scene.q, c.heads * c.k_dim, std::span(&t, 1));
      q.insert(q.end(), row.begin(), row.end());
    }
  Values out(sequence.size() * scene.width());
  attention(q.data(), c.heads * c.k_dim, cache, {sequence, position, table, begin, 0},
            scene.scale(), c.heads, out.data(), scene.width(), nullptr);
  const Values expected = scene.run(std::span(position).first(28));
  for (int s = 0; s < 3; ++s)
    CHECK(same_bits(std::span(out).subspan(s * expected.size(), expected.size()), expected));
}

// <dout, attention> and its gradients.
struct Gradients {
  Values dq, dk, dv;
};
Gradients run_backward(const Scene& s, const Values& dout) {
  const int64_t m = s.c.length;
  const std::vector<int32_t> positions = s.all(), sequence(m, 0),
                             begin = {0, static_cast<int32_t>(s.pages.size())};
  const Values forward = s.run(positions, true);
  Values dck(s.cache_k.size()), dcv(s.cache_v.size());
  KvPages dcache = s.cache;
  dcache.values_in_keys = false;
  dcache.k = dck.data();
  dcache.v = dcv.data();
  Gradients g{Values(s.q.size(), NAN), Values(s.k.size()), Values(s.v.size())};
  const int64_t ldq = int64_t{s.c.heads} * s.c.k_dim, ldk = int64_t{s.c.kv_heads} * s.c.k_dim,
                ldv = int64_t{s.c.kv_heads} * s.c.v_dim;
  attention_backward(s.q.data(), ldq, s.cache, {sequence, positions, s.pages, begin, s.c.window},
                     s.scale(), s.c.heads, forward.data(), s.width(),
                     forward.data() + m * s.width(), dout.data(), s.width(), g.dq.data(), ldq,
                     dcache);
  std::vector<KvWrite> writes;
  for (int i = 0; i < s.c.length; ++i) writes.push_back({i, s.slot(i)});
  kv_write_backward(dcache, writes, g.dk.data(), ldk, g.dv.data(), ldv);
  return g;
}

TEST_CASE("gradients of attention agree with finite differences") {
  for (const Case& c : {Case{2, 1, 3, 5, 20, 0},
                        {4, 2, 4, 4, 18, 0},
                        {2, 2, 5, 3, 21, 7},
                        {6, 2, 4, 4, 20, 0}}) {  // the last fills a tile
    const Scene s(c, 1);
    const Values dout = random_values(c.length * s.width(), 9);
    const Values all = everywhere([&] {
      const Gradients g = run_backward(s, dout);
      Values joined = g.dq;
      joined.insert(joined.end(), g.dk.begin(), g.dk.end());
      joined.insert(joined.end(), g.dv.begin(), g.dv.end());
      return joined;
    });
    const auto loss = [&](const reference::Doubles& x) {
      const std::span<const double> xs(x);
      const auto y = s.truth()(xs.first(s.q.size()), xs.subspan(s.q.size(), s.k.size()),
                               xs.subspan(s.q.size() + s.k.size()));
      double sum = 0;
      for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dout[i];
      return sum;
    };
    reference::Doubles x = doubles(s.q);
    const auto k = doubles(s.k), v = doubles(s.v);
    x.insert(x.end(), k.begin(), k.end());
    x.insert(x.end(), v.begin(), v.end());
    CHECK(difference(all, reference::gradient(loss, x)) < 1e-5);
  }
}

TEST_CASE("values that lie in their keys give the bits of a copy of them") {
  for (const Case& c : {Case{4, 1, 24, 16, 50, 0},
                        {5, 1, 20, 10, 90, 13},
                        {16, 1, 24, 16, 560, 0},
                        {6, 2, 12, 12, 40, 0}}) {
    CAPTURE(c.heads);
    CAPTURE(c.length);
    Scene copied(c, 1), within(c, 1);
    for (int64_t i = 0; i < int64_t{c.length} * c.kv_heads; ++i)
      std::copy_n(copied.k.begin() + i * c.k_dim, c.v_dim, copied.v.begin() + i * c.v_dim);
    copied.write(0, c.length);
    within.cache.values_in_keys = true;
    within.cache.v = nullptr;
    within.cache_k.assign(within.cache_k.size(), NAN);
    within.write(0, c.length);
    const Values expected = copied.run(copied.all(), true);
    CHECK(same_bits(everywhere([&] { return within.run(within.all(), true); }), expected));
    const Values dout = random_values(c.length * copied.width(), 9);
    const Gradients a = run_backward(copied, dout);
    const Values all = everywhere([&] {
      const Gradients b = run_backward(within, dout);
      Values joined = b.dq;
      joined.insert(joined.end(), b.dk.begin(), b.dk.end());
      joined.insert(joined.end(), b.dv.begin(), b.dv.end());
      return joined;
    });
    Values joined = a.dq;
    joined.insert(joined.end(), a.dk.begin(), a.dk.end());
    joined.insert(joined.end(), a.dv.begin(), a.dv.end());
    CHECK(same_bits(all, joined));
  }
}

TEST_CASE("gradients of a shared prompt are the sums over its sequences") {
  // Sequences A and B share the first page; the gradient that reaches it is the sum of what each
  // alone sends.
  const Case c{2, 1, 8, 8, 32, 0};
  const Scene s(c, 1, true);
  Values k = s.cache_k, v = s.cache_v;
  k.insert(k.end(), k.begin() + s.pages[1] * s.cache.k_page(),
           k.begin() + (s.pages[1] + 1) * s.cache.k_page());
  v.insert(v.end(), v.begin() + s.pages[1] * s.cache.v_page(),
           v.begin() + (s.pages[1] + 1) * s.cache.v_page());
  const int32_t extra = static_cast<int32_t>(s.cache_k.size() / s.cache.k_page());
  KvPages cache = s.cache;
  cache.k = k.data();
  cache.v = v.data();
  const Values dout_a = random_values(16 * s.width(), 5), dout_b = random_values(16 * s.width(), 6);
  const auto run = [&](const std::vector<int32_t>& which) {
    std::vector<int32_t> sequence, position, table, begin = {0};
    Values q, dout;
    for (size_t i = 0; i < which.size(); ++i) {
      table.insert(table.end(), {s.pages[0], which[i] == 0 ? s.pages[1] : extra});
      begin.push_back(static_cast<int32_t>(table.size()));
      for (int32_t t = 16; t < 32; ++t) {
        sequence.push_back(static_cast<int32_t>(i));
        position.push_back(t);
        const Values row = pick_rows(s.q, c.heads * c.k_dim, std::span(&t, 1));
        q.insert(q.end(), row.begin(), row.end());
      }
      const Values& d = which[i] == 0 ? dout_a : dout_b;
      dout.insert(dout.end(), d.begin(), d.end());
    }
    const AttentionRows rows{sequence, position, table, begin, 0};
    const int64_t m = static_cast<int64_t>(sequence.size()), ldq = c.heads * c.k_dim;
    Values out(m * s.width()), lse(m * c.heads), dq(m * ldq), dk(k.size()), dv(v.size());
    attention(q.data(), ldq, cache, rows, s.scale(), c.heads, out.data(), s.width(), lse.data());
    KvPages dcache = cache;
    dcache.k = dk.data();
    dcache.v = dv.data();
    attention_backward(q.data(), ldq, cache, rows, s.scale(), c.heads, out.data(), s.width(),
                       lse.data(), dout.data(), s.width(), dq.data(), ldq, dcache);
    dk.insert(dk.end(), dv.begin(), dv.end());
    return dk;
  };
  const Values a = run({0}), b = run({1}), both = run({0, 1});
  reference::Doubles sum = doubles(a);
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += b[i];
  CHECK(difference(both, sum) < 1e-6);
  CHECK(same_bits(everywhere([&] { return run({0, 1}); }), both));
}

TEST_CASE("a row without a page is refused") {
  const Scene s(kCases[1], 1);
  const std::vector<int32_t> beyond = {static_cast<int32_t>(s.pages.size()) * 16};
  const std::vector<int32_t> sequence = {0}, begin = {0, static_cast<int32_t>(s.pages.size())};
  Values out(s.width());
  CHECK_THROWS(attention(s.q.data(), 1, s.cache, {sequence, beyond, s.pages, begin, 0}, 1,
                         s.c.heads, out.data(), s.width(), nullptr));
  const std::vector<int32_t> zero = {0};
  CHECK_THROWS(attention(s.q.data(), 1, s.cache, {sequence, zero, s.pages, begin, 0}, 1, 7,
                         out.data(), s.width(), nullptr));
}

}  // namespace
}  // namespace zeroth::kernels
