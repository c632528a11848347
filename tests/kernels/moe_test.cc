#include <algorithm>

#include "kernel_test.h"

namespace zeroth::kernels {
namespace {

struct Routed {
  std::vector<int32_t> ids;
  Values weights, scores;
};

Routed run_route(const Values& logits, const Values& bias, const RouterConfig& c, int64_t m) {
  Routed r{std::vector<int32_t>(m * c.top_k), Values(m * c.top_k), Values(m * c.experts)};
  route(logits.data(), bias.empty() ? nullptr : bias.data(), c, r.ids.data(), r.weights.data(),
        r.scores.data(), m);
  return r;
}

Values joined(const Routed& r) {
  Values all(r.ids.begin(), r.ids.end());
  all.insert(all.end(), r.weights.begin(), r.weights.end());
  all.insert(all.end(), r.scores.begin(), r.scores.end());
  return all;
}

std::vector<RouterConfig> configs() {
  RouterConfig mixtral{8, 2};
  mixtral.normalize = true;
  RouterConfig olmoe{33, 5};
  RouterConfig v2{16, 3};
  v2.groups = 4;
  v2.top_groups = 2;
  v2.scale = 1.5f;
  RouterConfig v3{16, 4};
  v3.sigmoid = v3.normalize = v3.group_sum_top2 = true;
  v3.groups = 4;
  v3.top_groups = 2;
  v3.scale = 2.5f;
  RouterConfig one{4, 1};
  one.normalize = true;
  return {mixtral, olmoe, v2, v3, one};
}

TEST_CASE("routing equals the reference, has the same bits everywhere, and rows are pure") {
  for (const RouterConfig& c : configs()) {
    CAPTURE(c.experts);
    const int64_t m = 65;
    const Values logits = random_values(m * c.experts, 1, 2);
    const Values bias = c.sigmoid ? random_values(c.experts, 2, 0.3) : Values();
    const Routed r = run_route(logits, bias, c, m);
    everywhere([&] { return joined(run_route(logits, bias, c, m)); });
    for (int64_t i = 0; i < m; ++i) {
      const auto expected = reference::route(
          doubles(std::span(logits).subspan(i * c.experts, c.experts)), doubles(bias), c);
      CHECK(std::equal(expected.ids.begin(), expected.ids.end(), r.ids.begin() + i * c.top_k));
      CHECK(difference(std::span(r.weights).subspan(i * c.top_k, c.top_k), expected.weights) <
            2e-6);
    }
    CHECK(rows_are_pure(65, c.top_k, [&](std::span<const int32_t> rows) {
      return run_route(pick_rows(logits, c.experts, rows), bias, c,
                       static_cast<int64_t>(rows.size()))
          .weights;
    }));
  }
}

TEST_CASE("ties go to the lowest expert; negative biased scores still fill every place") {
  RouterConfig c{8, 3};
  CHECK(run_route(Values(8, 0.25f), {}, c, 1).ids == std::vector<int32_t>{0, 1, 2});
  c.sigmoid = c.group_sum_top2 = true;
  c.groups = 4;
  c.top_groups = 2;
  // All biased scores below zero: experts of dropped groups must not win with a zero.
  const Routed r = run_route(Values(8, 0.0f), {-3, -3, -1, -1, -2, -2, -4, -4}, c, 1);
  CHECK(r.ids == std::vector<int32_t>{2, 3, 4});
}

TEST_CASE("impossible routers are refused") {
  RouterConfig c{8, 9};
  CHECK_THROWS(run_route(Values(8), {}, c, 1));
  c.top_k = 3;
  c.groups = 3;
  CHECK_THROWS(run_route(Values(8), {}, c, 1));
  c.groups = 4;
  c.top_groups = 1;
  CHECK_THROWS(run_route(Values(8), {}, c, 1));
}

TEST_CASE("weights of choices made elsewhere, and route's own ones bit for bit") {
  for (const RouterConfig& c : configs()) {
    CAPTURE(c.experts);
    const int64_t m = 65;
    const Values logits = random_values(m * c.experts, 1, 2);
    const Values bias = c.sigmoid ? random_values(c.experts, 2, 0.3) : Values();
    const Routed r = run_route(logits, bias, c, m);
    const auto weigh = [&](const std::vector<int32_t>& ids) {
      return everywhere([&] {
        Values weights(m * c.top_k, NAN);
        weigh_choices(r.scores.data(), ids.data(), c, weights.data(), m);
        return weights;
      });
    };
    CHECK(same_bits(weigh(r.ids), r.weights));
    // The last experts, whatever their scores.
    std::vector<int32_t> last(m * c.top_k);
    for (int64_t i = 0; i < m * c.top_k; ++i)
      last[i] = static_cast<int32_t>(c.experts - c.top_k + i % c.top_k);
    const Values weights = weigh(last);
    reference::Doubles expected;
    for (int64_t i = 0; i < m; ++i) {
      double own = 0, all = 0;
      const float* z = &logits[i * c.experts];
      const auto score = [&](int64_t e) {
        return c.sigmoid ? 1 / (1 + std::exp(-z[e])) : std::exp(z[e]);
      };
      for (int e = 0; e < c.experts; ++e) all += score(e);
      for (int j = 0; j < c.top_k; ++j) own += score(last[i * c.top_k + j]);
      for (int j = 0; j < c.top_k; ++j)
        expected.push_back(c.scale * score(last[i * c.top_k + j]) /
                           (c.normalize ? own
                            : c.sigmoid ? 1
                                        : all));
    }
    CHECK(difference(weights, expected) < 2e-6);
    CHECK(rows_are_pure(65, c.top_k, [&](std::span<const int32_t> rows) {
      Values out(rows.size() * c.top_k);
      weigh_choices(pick_rows(r.scores, c.experts, rows).data(), last.data(), c, out.data(),
                    static_cast<int64_t>(rows.size()));
      return out;
    }));
  }
}

TEST_CASE("router gradients agree with finite differences") {
  for (const RouterConfig& c : configs()) {
    const int64_t m = 4;
    const Values logits = random_values(m * c.experts, 1, 2),
                 dweights = random_values(m * c.top_k, 3);
    const Values bias = c.sigmoid ? random_values(c.experts, 2, 0.3) : Values();
    const Routed r = run_route(logits, bias, c, m);
    const Values g = everywhere([&] {
      Values dlogits(m * c.experts, NAN);
      route_backward(dweights.data(), r.ids.data(), r.weights.data(), r.scores.data(), c,
                     dlogits.data(), m);
      return dlogits;
    });
    const auto expected = reference::gradient(
        [&](const reference::Doubles& x) {
          double sum = 0;
          for (int64_t i = 0; i < m; ++i) {
            const auto row =
                reference::route(std::span(x).subspan(i * c.experts, c.experts), doubles(bias), c);
            for (int j = 0; j < c.top_k; ++j) sum += row.weights[j] * dweights[i * c.top_k + j];
          }
          return sum;
        },
        doubles(logits), 1e-6);
    if (c.top_k == 1 && c.normalize) {
      for (float v : g) CHECK(std::abs(v) < 1e-6);
    } else {
      CHECK(difference(g, expected) < 1e-5);
    }
  }
}

TEST_CASE("experts: sort, gather, combine and back") {
  const int64_t m = 50, width = 21;
  const int experts = 6, k = 2;
  std::vector<int32_t> ids;
  Rng rng(4, 4);
  for (int64_t i = 0; i < m; ++i) {
    const int32_t a = static_cast<int32_t>(rng.below(3)),
                  b = static_cast<int32_t>(3 + rng.below(2));  // 5 stays empty
    ids.insert(ids.end(), {a, b});
  }
  std::vector<int64_t> offsets(experts + 1);
  std::vector<int32_t> order(m * k);
  expert_sort(ids.data(), m, k, experts, offsets.data(), order.data());
  CHECK(offsets.front() == 0);
  CHECK(offsets.back() == m * k);
  CHECK(offsets[5] == offsets[6]);
  for (int e = 0; e < experts; ++e)
    for (int64_t i = offsets[e]; i < offsets[e + 1]; ++i) {
      CHECK(ids[order[i]] == e);
      if (i > offsets[e]) CHECK(order[i - 1] < order[i]);
    }
  const Values x = random_values(m * width, 1), y = random_values(m * k * width, 2),
               weights = random_values(m * k, 3);
  const Values dg = random_values(m * k * width, 4);
  const Values gathered = everywhere([&] {
    Values out(m * k * width);
    gather_rows(x.data(), width, order, k, out.data(), width);
    return out;
  });
  const Values combined = everywhere([&] {
    Values out(m * width, NAN);
    combine(y.data(), order, weights.data(), k, out.data(), width, m, width);
    return out;
  });
  for (bool accumulate : {false, true}) {
    const Values dx = everywhere([&] {
      Values out(m * width, 0.25f);
      gather_rows_backward(dg.data(), order, k, out.data(), width, m, width, accumulate);
      return out;
    });
    reference::Doubles expected(m * width, accumulate ? 0.25 : 0.0);
    for (int64_t i = 0; i < m * k; ++i)
      for (int64_t j = 0; j < width; ++j) expected[order[i] / k * width + j] += dg[i * width + j];
    CHECK(difference(dx, expected) < 1e-6);
  }
  reference::Doubles out(m * width);
  for (int64_t i = 0; i < m * k; ++i) {
    const int64_t row = order[i] / k;
    CHECK(same_bits(std::span(gathered).subspan(i * width, width),
                    std::span(x).subspan(row * width, width)));
    for (int64_t j = 0; j < width; ++j)
      out[row * width + j] += double{weights[order[i]]} * y[i * width + j];
  }
  CHECK(difference(combined, out) < 1e-6);
}

}  // namespace
}  // namespace zeroth::kernels
