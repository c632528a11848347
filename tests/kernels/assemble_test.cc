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

// Attention of one head whose keys have these scores, and one more logit without a value.
reference::Doubles with_sink(std::span<const double> scores, std::span<const double> values,
                             double sink) {
  reference::Doubles logits(scores.begin(), scores.end());
  logits.push_back(sink);
  const reference::Doubles p = reference::softmax(logits);
  const size_t dim = values.size() / scores.size();
  reference::Doubles out(dim);
  for (size_t t = 0; t < scores.size(); ++t)
    for (size_t j = 0; j < dim; ++j) out[j] += p[t] * values[t * dim + j];
  return out;
}

TEST_CASE("attention sinks: one more logit of the softmax, its gradient, bits") {
  const int64_t m = 300, heads = 3, dim = 5, keys = 4, ld = heads * dim + 2;
  const Values scores = random_values(m * heads * keys, 1, 2), sinks = {1.5f, -40.0f, 60.0f};
  const Values values = random_values(m * heads * keys * dim, 2), dout = random_values(m * ld, 3);
  Values out(m * ld), lse(m * heads);
  reference::Doubles expected(m * ld), slope(heads);
  for (int64_t i = 0; i < m * heads; ++i) {
    const int64_t at = i / heads * ld + i % heads * dim;
    const reference::Doubles s = doubles(std::span(scores).subspan(i * keys, keys));
    const reference::Doubles v = doubles(std::span(values).subspan(i * keys * dim, keys * dim));
    const reference::Doubles plain = with_sink(s, v, -1e9),
                             sunk = with_sink(s, v, sinks[i % heads]);
    const double step = 1e-5;
    const reference::Doubles above = with_sink(s, v, sinks[i % heads] + step),
                             below = with_sink(s, v, sinks[i % heads] - step);
    double sum = 0;
    for (const double x : s) sum += std::exp(x);
    lse[i] = static_cast<float>(std::log(sum));
    for (int64_t j = 0; j < dim; ++j) {
      out[at + j] = static_cast<float>(plain[j]);
      expected[at + j] = sunk[j];
      slope[i % heads] += dout[at + j] * (above[j] - below[j]) / (2 * step);
    }
  }
  const Values lse_before = lse;
  const Values all = everywhere([&] {
    Values y = out, l = lse_before;
    add_sinks(sinks.data(), y.data(), ld, l.data(), m, heads, dim);
    y.insert(y.end(), l.begin(), l.end());
    return y;
  });
  const std::span<const float> y = std::span(all).first(m * ld), l = std::span(all).subspan(m * ld);
  CHECK(difference(y, expected) < 1e-6);
  for (int64_t i = 0; i < m * heads; ++i) {
    const double a = lse_before[i], b = sinks[i % heads], top = std::max(a, b);
    CHECK(l[i] == doctest::Approx(top + std::log(std::exp(a - top) + std::exp(b - top))));
  }
  const auto gradient = [&](RowParts parts, Values start) {
    add_sinks_backward(sinks.data(), y.data(), ld, l.data(), dout.data(), ld, start.data(), m,
                       heads, dim, parts);
    return start;
  };
  const Values whole = everywhere([&] { return gradient({}, Values(heads)); });
  CHECK(difference(whole, slope) < 1e-4);
  // A part adds what it adds alone.
  const std::vector<int64_t> parts{0, 7, 7, 290};
  Values by_part(heads);
  for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 7}, {7, 290}, {290, m}}) {
    add_sinks_backward(sinks.data(), y.data() + begin * ld, ld, l.data() + begin * heads,
                       dout.data() + begin * ld, ld, by_part.data(), end - begin, heads, dim);
  }
  CHECK(same_bits(gradient(parts, Values(heads)), by_part));
}

TEST_CASE("biases of experts reach their rows, and get their gradients") {
  const std::vector<int64_t> offsets{0, 4, 4, 300};
  const int64_t m = 300, width = 37, ld = width + 2, groups = 3;
  const Values x = random_values(m * ld, 1), dy = random_values(m * ld, 2);
  const Values bias = random_values(groups * width, 3), weights = random_values(m, 4);
  const std::vector<int32_t> order = shuffled(m, 5);
  const Values y = everywhere([&] {
    Values out = x;
    add_group_bias(out.data(), ld, offsets, bias.data(), width);
    return out;
  });
  const Values g = everywhere([&] {
    Values out(groups * width, 0.5f), dweights(m, 2.0f);
    group_bias_backward(dy.data(), ld, offsets, bias.data(), out.data(), width,
                        {order.data(), weights.data(), dweights.data()});
    out.insert(out.end(), dweights.begin(), dweights.end());
    return out;
  });
  reference::Doubles expected(groups * width, 0.5), dweights(m, 2.0);
  for (int64_t i = 0; i < m; ++i) {
    const int64_t e = i < 4 ? 0 : 2;
    for (int64_t j = 0; j < ld; ++j) {
      CHECK(y[i * ld + j] == (j < width ? x[i * ld + j] + bias[e * width + j] : x[i * ld + j]));
      if (j >= width) continue;
      expected[e * width + j] += double{weights[order[i]]} * dy[i * ld + j];
      dweights[order[i]] += double{dy[i * ld + j]} * bias[e * width + j];
    }
  }
  expected.insert(expected.end(), dweights.begin(), dweights.end());
  CHECK(difference(g, expected) < 1e-5);
  // Parts: those of a group one after the other, each as if it were alone.
  const std::vector<int64_t> begins{0, 2, 4, 4, 4, 200};
  Values by_parts(groups * width), alone(groups * width);
  group_bias_backward(dy.data(), ld, offsets, bias.data(), by_parts.data(), width, {}, begins);
  for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 2}, {2, 4}, {4, 200}, {200, m}}) {
    const int64_t e = begin < 4 ? 0 : 2;
    const std::vector<int64_t> one{0, end - begin};
    group_bias_backward(dy.data() + begin * ld, ld, one, bias.data() + e * width,
                        alone.data() + e * width, width);
  }
  CHECK(same_bits(by_parts, alone));
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
