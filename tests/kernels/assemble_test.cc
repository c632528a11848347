#include "kernels/assemble.h"

#include "kernel_test.h"

namespace zeroth::kernels {
namespace {

double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

TEST_CASE("rows are taken, added to, cleared and clipped, and nothing beside them is touched") {
  const int64_t m = 300, width = 5, ld = 7;
  const Values x = random_values(m * ld, 1), y = random_values(m * width, 2);
  const std::vector<int32_t> rows = shuffled(m, 3);
  const std::span<const int32_t> some = std::span(rows).first(200);
  const Values taken = everywhere([&] {
    Values out(200 * ld, 0.5f);
    take_rows(x.data(), ld, some, out.data(), ld, width);
    return out;
  });
  const Values added = everywhere([&] {
    Values out = x;
    add_to_rows(y.data(), width, some, out.data(), ld, width);
    return out;
  });
  Values expected = x;
  for (int64_t i = 0; i < 200; ++i) {
    for (int64_t j = 0; j < ld; ++j) {
      CHECK(taken[i * ld + j] == (j < width ? x[some[i] * ld + j] : 0.5f));
      if (j < width) expected[some[i] * ld + j] += y[i * width + j];
    }
  }
  CHECK(same_bits(added, expected));
  Values cleared = x, clipped = x, scaled = x, gradient(m * ld, 2.0f);
  scale_rows(scaled.data(), ld, m, width, 1.7f);
  zero_rows(cleared.data(), ld, m, width);
  clamp_rows(clipped.data(), ld, m, width, 0.5f);
  clamp_rows_backward(clipped.data(), ld, gradient.data(), ld, m, width, 0.5f);
  for (int64_t i = 0; i < m * ld; ++i) {
    const bool inside = i % ld < width;
    CHECK(cleared[i] == (inside ? 0 : x[i]));
    CHECK(scaled[i] == (inside ? x[i] * 1.7f : x[i]));
    CHECK(clipped[i] == (inside ? std::min(0.5f, std::max(-0.5f, x[i])) : x[i]));
    CHECK(gradient[i] == (inside && std::fabs(x[i]) >= 0.5f ? 0 : 2));
  }
}

TEST_CASE("pages of a cache are cleared and copied") {
  KvPages cache;
  cache.kv_heads = 2;
  cache.k_dim = 3;
  cache.v_dim = 4;
  Values k = random_values(4 * cache.k_page(), 1), v = random_values(4 * cache.v_page(), 2);
  const Values before_k = k, before_v = v;
  cache.k = k.data();
  cache.v = v.data();
  zero_pages(cache, std::vector<int32_t>{2, 0});
  copy_page(cache, 1, 2);
  const auto page = [](const Values& all, int64_t size, int64_t p) {
    return std::span(all).subspan(p * size, size);
  };
  CHECK(same_bits(page(k, cache.k_page(), 0), Values(cache.k_page())));
  CHECK(same_bits(page(v, cache.v_page(), 0), Values(cache.v_page())));
  for (const int64_t p : {1, 3}) {
    CHECK(same_bits(page(k, cache.k_page(), p), page(before_k, cache.k_page(), p)));
    CHECK(same_bits(page(v, cache.v_page(), p), page(before_v, cache.v_page(), p)));
  }
  CHECK(same_bits(page(k, cache.k_page(), 2), page(before_k, cache.k_page(), 1)));
  CHECK(same_bits(page(v, cache.v_page(), 2), page(before_v, cache.v_page(), 1)));
}

TEST_CASE("latent heads: collapse is the transpose of expand") {
  const LatentHeads w{3, 4, 2, 5};
  const int64_t m = 70, ldr = 9, kv_width = w.heads * (w.nope + w.v);
  const Values kv = random_values(m * kv_width, 1), rope_part = random_values(m * ldr, 2);
  const Values dk = random_values(m * w.heads * (w.nope + w.rope), 3),
               dv = random_values(m * w.heads * w.v, 4);
  Values k(dk.size()), v(dv.size()), dkv(kv.size()), drope(m * ldr);
  expand_latent(w, kv.data(), rope_part.data(), ldr, k.data(), v.data(), m);
  collapse_latent(w, dk.data(), dv.data(), dkv.data(), drope.data(), ldr, m);
  CHECK(k[w.nope] == rope_part[0]);
  CHECK(k[w.nope + w.rope + w.nope] == rope_part[0]);  // shared by heads
  CHECK(v[w.v] == kv[w.nope + w.v + w.nope]);
  CHECK(dot(k, dk) + dot(v, dv) ==
        doctest::Approx(dot(kv, dkv) + dot(rope_part, drope)).epsilon(1e-5));
}

TEST_CASE("merged attention is that over all keys") {
  const int64_t heads = 2, dim = 3, keys = 9, first = 4;
  Rng rng(4, 0);
  Values out(heads * dim), lse(heads), part_out(heads * dim), part_lse(heads);
  std::vector<double> expected(heads * dim), expected_lse(heads);
  for (int64_t h = 0; h < heads; ++h) {
    std::vector<double> score(keys), value(keys * dim);
    for (double& s : score) s = 3 * rng.normal();
    for (double& x : value) x = rng.normal();
    const auto over = [&](int64_t begin, int64_t end, double* y) {
      double sum = 0;
      for (int64_t i = begin; i < end; ++i) sum += std::exp(score[i]);
      for (int64_t j = 0; j < dim; ++j) {
        y[j] = 0;
        for (int64_t i = begin; i < end; ++i) y[j] += std::exp(score[i]) / sum * value[i * dim + j];
      }
      return std::log(sum);
    };
    double y[dim];
    lse[h] = static_cast<float>(over(0, first, y));
    std::copy_n(y, dim, out.begin() + h * dim);
    part_lse[h] = static_cast<float>(over(first, keys, y));
    std::copy_n(y, dim, part_out.begin() + h * dim);
    expected_lse[h] = over(0, keys, expected.data() + h * dim);
  }
  const std::vector<int32_t> rows = {0};
  merge_attention(part_out.data(), part_lse.data(), rows, heads, dim, out.data(), lse.data());
  CHECK(difference(out, expected) < 1e-5);
  CHECK(difference(lse, expected_lse) < 1e-6);
}

TEST_CASE("the balancing gradient agrees with finite differences") {
  const int64_t m = 3, experts = 5;
  for (const bool sigmoid : {false, true}) {
    RouterConfig config;
    config.experts = experts;
    config.sigmoid = sigmoid;
    const Values logits = random_values(m * experts, 1), aux = random_values(experts, 2);
    const auto scores_of = [&](std::span<const double> z) {
      std::vector<double> s(experts);
      double sum = 0;
      for (int64_t e = 0; e < experts; ++e) {
        s[e] = sigmoid ? 1 / (1 + std::exp(-z[e])) : std::exp(z[e]);
        sum += s[e];
      }
      if (!sigmoid) {
        for (double& x : s) x /= sum;
      }
      return s;
    };
    const auto expected = reference::gradient(
        [&](const reference::Doubles& z) {
          double loss = 0;
          for (int64_t i = 0; i < m; ++i) {
            const auto s = scores_of(std::span(z).subspan(i * experts, experts));
            double sum = 0;
            for (const double x : s) sum += x;
            for (int64_t e = 0; e < experts; ++e) loss += aux[e] * s[e] / sum;
          }
          return loss;
        },
        doubles(logits));
    Values scores(m * experts);
    for (int64_t i = 0; i < m; ++i) {
      const reference::Doubles z = doubles(std::span(logits).subspan(i * experts, experts));
      const auto s = scores_of(z);
      std::copy(s.begin(), s.end(), scores.begin() + i * experts);
    }
    const Values got = everywhere([&] {
      Values out(m * experts);
      balance_backward(config, scores.data(), aux.data(), out.data(), m);
      return out;
    });
    CHECK(difference(got, expected) < 1e-5);
  }
}

}  // namespace
}  // namespace zeroth::kernels
