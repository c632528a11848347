#include <numeric>

#include "kernel_test.h"
#include "kernels/cpu/table.h"

namespace zeroth::kernels {
namespace {

TEST_CASE("exp, sigmoid and silu are accurate and exact where they must be") {
  // Through the operators that show them: softmax of (x, 0) tables would round twice, so row_exp is
  // used directly.
  const Restore restore;
  Values x;
  for (double v = -87.3; v < 88.3; v += 0.0137) x.push_back(static_cast<float>(v));
  for (float v : {0.0f, -0.0f, -INFINITY, -87.7f, 1e-30f, -1e-30f, 88.4f, INFINITY}) x.push_back(v);
  const int64_t n = static_cast<int64_t>(x.size());
  const Values e = everywhere([&] {
    Values y(n);
    table().row_exp(x.data(), n, 1, 0, y.data());
    return y;
  });
  for (int64_t i = 0; i < n - 8; ++i) {
    const double truth = std::exp(double{x[i]});
    const double ulp = std::max(std::ldexp(1.0, -149), std::ldexp(1.0, std::ilogb(truth) - 23));
    REQUIRE(std::abs(e[i] - truth) <= 1.01 * ulp);
  }
  CHECK(e[n - 8] == 1.0f);
  CHECK(e[n - 7] == 1.0f);
  CHECK(e[n - 6] == 0.0f);
  CHECK_FALSE(std::signbit(e[n - 6]));
  CHECK(e[n - 5] == 0.0f);
  CHECK(e[n - 4] == 1.0f);
  CHECK(e[n - 3] == 1.0f);
  CHECK(e[n - 2] == INFINITY);
  CHECK(e[n - 1] == INFINITY);
  Values nan = {NAN, 1.0f}, out(2);
  table().row_exp(nan.data(), 2, 1, 0, out.data());
  CHECK(std::isnan(out[0]));
}

TEST_CASE("log of a row's sum is accurate") {
  for (int64_t n : {1, 2, 3, 16, 17, 1000, 100'000}) {
    const Values x = random_values(n, 5, 3);
    const RowStatistics row = table().row_statistics(x.data(), n, 1);
    double sum = 0, moment = 0;
    for (float v : x) sum += std::exp(double{v} - row.largest);
    for (float v : x) moment += std::exp(double{v} - row.largest) / sum * (double{v} - row.largest);
    CHECK(std::abs(row.lse - (row.largest + std::log(sum))) < 2e-6);
    CHECK(std::abs(row.entropy - (std::log(sum) - moment)) < 5e-6);
  }
  const float one = 3.25f;
  CHECK(table().row_statistics(&one, 1, 1).lse == 3.25f);
  CHECK(table().row_statistics(&one, 1, 1).entropy == 0.0f);
}

TEST_CASE("rms_norm: reference, bits, row distances, gradients") {
  for (const auto& [m, width] :
       {std::pair<int64_t, int64_t>{1, 1}, {5, 7}, {300, 32}, {37, 192}, {9, 1000}}) {
    CAPTURE(width);
    const int64_t ld = width + 5;
    const Values x = random_values(m * ld, 1, 2), w = random_values(width, 2),
                 dy = random_values(m * width, 3);
    Values dense;
    for (int64_t i = 0; i < m; ++i)
      dense.insert(dense.end(), x.begin() + i * ld, x.begin() + i * ld + width);
    const float eps = 1e-5f;
    for (const bool plus_one : {false, true})
      for (bool accumulate : {false, true}) {
        const Values y = everywhere([&] {
          Values out(m * width + m);
          rms_norm(x.data(), ld, w.data(), eps, out.data(), width, out.data() + m * width, m, width,
                   1, 0, plus_one);
          return out;
        });
        reference::Doubles factors = doubles(w);
        for (double& f : factors) f += plus_one ? 1 : 0;
        CHECK(difference(std::span(y).first(m * width),
                         reference::rms_norm(doubles(dense), factors, eps, m, width)) < 1e-6);
        const Values g = everywhere([&] {
          Values out(m * width + width, 0.5f);
          rms_norm_backward(dy.data(), width, x.data(), ld, w.data(), y.data() + m * width,
                            out.data(), width, out.data() + m * width, m, width, accumulate, 1, {},
                            plus_one);
          return out;
        });
        if (m * width > 400) continue;  // finite differences are for the small ones
        reference::Doubles start = doubles(dense);
        start.insert(start.end(), factors.begin(), factors.end());
        auto expected = reference::gradient(
            [&, m = m, width = width](const reference::Doubles& p) {
              const std::span<const double> s(p);
              const auto out =
                  reference::rms_norm(s.first(m * width), s.subspan(m * width), eps, m, width);
              double sum = 0;
              for (size_t i = 0; i < out.size(); ++i) sum += out[i] * dy[i];
              return sum;
            },
            start);
        for (int64_t i = 0; i < static_cast<int64_t>(expected.size()); ++i)
          if (accumulate || i >= m * width) expected[i] += 0.5;
        CHECK(difference(g, expected) < 1e-5);
      }
  }
}

TEST_CASE("a row of rms_norm, swiglu and rope does not depend on the other rows") {
  const int64_t width = 40;
  const Values x = random_values(65 * 2 * width, 1), w = random_values(width, 2);
  Values cos(65 * 20), sin(65 * 20);
  for (size_t i = 0; i < cos.size(); ++i) {
    cos[i] = static_cast<float>(std::cos(0.1 * static_cast<double>(i)));
    sin[i] = static_cast<float>(std::sin(0.1 * static_cast<double>(i)));
  }
  CHECK(rows_are_pure(65, width, [&](std::span<const int32_t> rows) {
    const Values in = pick_rows(x, width, rows);
    Values out(in.size());
    rms_norm(in.data(), width, w.data(), 1e-6f, out.data(), width, nullptr,
             static_cast<int64_t>(rows.size()), width);
    return out;
  }));
  CHECK(rows_are_pure(65, width, [&](std::span<const int32_t> rows) {
    const Values in = pick_rows(x, 2 * width, rows);
    Values out(rows.size() * width);
    swiglu(in.data(), 2 * width, out.data(), width, static_cast<int64_t>(rows.size()), width);
    return out;
  }));
  CHECK(rows_are_pure(65, width, [&](std::span<const int32_t> rows) {
    Values in = pick_rows(x, width, rows);
    rope(in.data(), width, width, rows.data(), cos.data(), sin.data(),
         static_cast<int64_t>(rows.size()), 1, width, false, false);
    return in;
  }));
}

void check_gate(Gate function) {
  for (const auto& [m, width] : {std::pair<int64_t, int64_t>{3, 5}, {100, 256}}) {
    const Values gu = random_values(m * 2 * width, 1, 3), dy = random_values(m * width, 2);
    const Values y = everywhere([&] {
      Values out(m * width);
      swiglu(gu.data(), 2 * width, out.data(), width, m, width, function);
      return out;
    });
    CHECK(difference(y, reference::swiglu(doubles(gu), m, width, function)) < 1e-6);
    const Values g = everywhere([&] {
      Values out(m * 2 * width);
      swiglu_backward(dy.data(), width, gu.data(), 2 * width, out.data(), 2 * width, m, width,
                      nullptr, {}, function);
      return out;
    });
    // With weights: of the rows in another order, it is the same as weighting dy, and what the
    // weighted sum needs comes with it.
    std::vector<int32_t> order(m);
    for (int64_t i = 0; i < m; ++i) order[i] = static_cast<int32_t>(m - 1 - i);
    const Values weights = random_values(m, 7);
    Values act(m * width), dweights(m), weighted_dy = dy, expected(m * 2 * width);
    const Values with_weights = everywhere([&] {
      Values out(m * 2 * width);
      swiglu_backward(dy.data(), width, gu.data(), 2 * width, out.data(), 2 * width, m, width,
                      act.data(), {order.data(), weights.data(), dweights.data()}, function);
      out.insert(out.end(), act.begin(), act.end());
      out.insert(out.end(), dweights.begin(), dweights.end());
      return out;
    });
    for (int64_t i = 0; i < m; ++i) {
      double inner = 0;
      for (int64_t j = i * width; j < (i + 1) * width; ++j) {
        weighted_dy[j] *= weights[order[i]];
        CHECK(act[j] == y[j] * weights[order[i]]);
        inner += double{y[j]} * dy[j];
      }
      CHECK(dweights[order[i]] == doctest::Approx(inner).epsilon(1e-4));
    }
    swiglu_backward(weighted_dy.data(), width, gu.data(), 2 * width, expected.data(), 2 * width, m,
                    width, nullptr, {}, function);
    CHECK(std::equal(expected.begin(), expected.end(), with_weights.begin()));
    if (m > 10) continue;
    CHECK(difference(g, reference::gradient(
                            [&, m = m, width = width](const reference::Doubles& p) {
                              const auto out = reference::swiglu(p, m, width, function);
                              double sum = 0;
                              for (size_t i = 0; i < out.size(); ++i) sum += out[i] * dy[i];
                              return sum;
                            },
                            doubles(gu))) < 1e-5);
  }
}

TEST_CASE("swiglu and geglu: reference, bits and gradients") {
  check_gate(Gate::kSilu);
  check_gate(Gate::kGelu);
  check_gate({Gate::kClamped, 1.7f, 2.5f});
  check_gate(Gate::kSigmoid);
}

TEST_CASE("gates far from zero") {
  for (const Gate function : {Gate::kSilu, Gate::kGelu}) {
    const Values gu = {1e4f, -1e4f, 0, 3, 3, 3};  // gates, ups
    Values y(3), d(6);
    const Values ones(3, 1.0f);
    swiglu(gu.data(), 6, y.data(), 3, 1, 3, function);
    swiglu_backward(ones.data(), 3, gu.data(), 6, d.data(), 6, 1, 3, nullptr, {}, function);
    CHECK(y == Values{3e4f, 0, 0});
    CHECK(d == Values{3, 0, 1.5f, 1e4f, 0, 0});
  }
}

TEST_CASE("rope: reference, bits, and inverse undoes it") {
  for (bool interleaved : {false, true})
    for (int dim : {2, 10, 64}) {
      const int64_t m = 30, heads = 3, ld = heads * (dim + 4) + 1;
      Values cos(64 * dim / 2), sin(64 * dim / 2);
      for (size_t i = 0; i < cos.size(); ++i) {
        cos[i] = static_cast<float>(std::cos(0.37 * static_cast<double>(i)));
        sin[i] = static_cast<float>(std::sin(0.37 * static_cast<double>(i)));
      }
      const Values x = random_values(m * ld, 1);
      std::vector<int32_t> positions(m);
      for (int64_t i = 0; i < m; ++i) positions[i] = static_cast<int32_t>(i * 7 % 64);
      const auto run = [&](bool inverse, Values y) {
        rope(y.data(), ld, dim + 4, positions.data(), cos.data(), sin.data(), m, heads, dim,
             interleaved, inverse);
        return y;
      };
      const Values y = everywhere([&] { return run(false, x); });
      for (int64_t row = 0; row < m; ++row)
        for (int64_t h = 0; h < heads; ++h) {
          const int64_t at = row * ld + h * (dim + 4), p = positions[row] * (dim / 2);
          const auto expected = reference::rope(
              doubles(std::span(x).subspan(at, dim)), doubles(std::span(cos).subspan(p, dim / 2)),
              doubles(std::span(sin).subspan(p, dim / 2)), 1, dim, interleaved);
          CHECK(difference(std::span(y).subspan(at, dim), expected) < 1e-6);
          CHECK(same_bits(std::span(y).subspan(at + dim, 4), std::span(x).subspan(at + dim, 4)));
        }
      CHECK(difference(run(true, y), doubles(x)) < 1e-6);
    }
}

TEST_CASE("add, embedding and its gradient") {
  const int64_t m = 200, width = 37, vocab = 11;
  const Values table = random_values(vocab * width, 1), dy = random_values(m * width, 2);
  std::vector<int32_t> ids(m);
  Rng rng(3, 3);
  for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(vocab));
  Values out(m * width);
  embedding({.floats = table.data()}, width, ids.data(), out.data(), m);
  CHECK(same_bits(out, pick_rows(table, width, ids)));
  const Values g = everywhere([&] {
    Values dtable(vocab * width);
    embedding_backward(dy.data(), ids.data(), dtable.data(), m, width, vocab);
    return dtable;
  });
  Values expected(vocab * width);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < width; ++j) expected[ids[i] * width + j] += dy[i * width + j];
  CHECK(same_bits(g, expected));
  Values sum(out);
  add(sum.data(), out.data(), sum.data(), m * width);
  for (size_t i = 0; i < out.size(); ++i) REQUIRE(sum[i] == out[i] + out[i]);
}

TEST_CASE("sum of squares: exact to double, same bits for any number of threads") {
  const Values x = random_values(200'001, 1);
  double truth = 0;
  for (float v : x) truth += double{v} * v;
  const Values bits = everywhere([&] {
    const double s = sum_squares(x.data(), static_cast<int64_t>(x.size()));
    CHECK(std::abs(s - truth) < 1e-12 * truth);
    Values halves(2);
    std::memcpy(halves.data(), &s, sizeof(s));
    return halves;
  });
  CHECK(sum_squares(nullptr, 0) == 0);
}

TEST_CASE("AdamW follows the published update") {
  const int64_t n = 1003;
  const Values start = random_values(n, 1);
  const AdamWStep base{0.01f, 0.9f, 0.95f, 1e-8f, 0.1f, 1, 0.5f};
  const auto run = [&] {
    Values all(start);
    all.resize(3 * n);
    for (int64_t t = 1; t <= 5; ++t) {
      const Values grad = random_values(n, 100 + t);
      AdamWStep step = base;
      step.step = t;
      adamw(all.data(), grad.data(), all.data() + n, all.data() + 2 * n, n, step);
    }
    return all;
  };
  const Values all = everywhere(run);
  reference::Doubles w = doubles(start), m(n), v(n);
  for (int64_t t = 1; t <= 5; ++t) {
    const Values grad = random_values(n, 100 + t);
    for (int64_t i = 0; i < n; ++i) {
      const double g = 0.5 * grad[i], b1 = base.beta1, b2 = base.beta2;
      m[i] = b1 * m[i] + (1 - b1) * g;
      v[i] = b2 * v[i] + (1 - b2) * g * g;
      const double mh = m[i] / (1 - std::pow(b1, t)), vh = v[i] / (1 - std::pow(b2, t));
      w[i] -= base.lr * (mh / (std::sqrt(vh) + base.eps) + base.weight_decay * w[i]);
    }
  }
  CHECK(difference(std::span(all).first(n), w) < 1e-6);
  CHECK(difference(std::span(all).subspan(n, n), m) < 1e-6);
  CHECK(difference(std::span(all).subspan(2 * n, n), v) < 1e-6);
  AdamWStep bad;
  bad.step = 0;
  CHECK_THROWS(adamw(nullptr, nullptr, nullptr, nullptr, 0, bad));
}

TEST_CASE("a part of a norm's gradient adds what it would add alone, in its turn") {
  const int64_t m = 700, width = 24, heads = 3, all = width * heads;
  const Values x = random_values(m * all, 1), dy = random_values(m * all, 2),
               w = random_values(width, 3);
  const std::vector<int64_t> parts = {0, 5, 260, 523};
  Values y(m * all), inv(heads * m);
  rms_norm(x.data(), all, w.data(), 1e-6f, y.data(), all, inv.data(), m, width, heads);
  const Values joint = everywhere([&] {
    Values out(m * all + width, 0.5f);
    rms_norm_backward(dy.data(), all, x.data(), all, w.data(), inv.data(), out.data(), all,
                      out.data() + m * all, m, width, false, heads, parts);
    return out;
  });
  Values apart(m * all + width, 0.5f);
  for (size_t p = 0; p < parts.size(); ++p) {
    const int64_t begin = parts[p], rows = (p + 1 < parts.size() ? parts[p + 1] : m) - begin;
    Values own(heads * rows);
    for (int64_t h = 0; h < heads; ++h)
      std::copy_n(inv.begin() + h * m + begin, rows, own.begin() + h * rows);
    rms_norm_backward(dy.data() + begin * all, all, x.data() + begin * all, all, w.data(),
                      own.data(), apart.data() + begin * all, all, apart.data() + m * all, rows,
                      width, false, heads);
  }
  CHECK(same_bits(joint, apart));
}

TEST_CASE("AdamW without a gradient and with a tiny epsilon stays finite") {
  Values w = {1.0f}, m = {0.0f}, v = {0.0f};
  const Values grad = {0.0f};
  AdamWStep step;
  step.lr = 0.1f;
  adamw(w.data(), grad.data(), m.data(), v.data(), 1, step);
  CHECK(w[0] == 1.0f);
}

}  // namespace
}  // namespace zeroth::kernels
