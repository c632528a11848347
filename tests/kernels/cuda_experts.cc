// What goes to experts and back, on the device over fibers against the CPU's operators, by bits.
#include <algorithm>
#include <cmath>
#include <tuple>

#include "cuda_test.h"
#include "kernels/cuda/experts.h"

namespace zeroth::kernels {
namespace {

const Compared kCompared{
    "route",          "weigh_choices",       "route_backward", "balance_backward",
    "add_group_bias", "group_bias_backward", "expert_sort",    "gather_rows",
    "combine",        "gather_rows_backward"};

// Widths of less than a vector, of whole ones, and of neither; one row, 65 rows.
constexpr int64_t kWidths[] = {1, 7, 16, 17, 64, 70, 129, 200};
constexpr int64_t kHeights[] = {1, 5, 65};

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

void check_routing(const RouterConfig& c, int64_t m, bool ties) {
  if (!shapes.add({"route", "weigh_choices", "route_backward", "balance_backward"},
                  {c.experts, c.top_k, c.groups, c.top_groups, c.sigmoid, c.normalize,
                   c.group_sum_top2, m, ties})) {
    return;
  }
  CAPTURE(c.experts);
  CAPTURE(c.top_k);
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
  const Array<float> alogits(logits), abias(bias), aweights(m * c.top_k), ascores(m * c.experts);
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
  route_backward(dweights.data(), ids.data(), weights.data(), scores.data(), c, dlogits.data(), m);
  const Array<float> adweights(dweights), aaux(aux), adlogits(m * c.experts);
  cuda::route_backward(nullptr, adweights.data(), aids.data(), ascores.data(), c, adlogits.data(),
                       m);
  check_same(adlogits, dlogits, "dlogits");
  balance_backward(c, scores.data(), aux.data(), dlogits.data(), m);
  cuda::balance_backward(nullptr, c, ascores.data(), aaux.data(), adlogits.data(), m);
  check_same(adlogits, dlogits, "balance_backward");
}

RouterConfig drawn_router(Draw& draw) {
  RouterConfig c;
  c.groups = static_cast<int>(draw.of({1, 1, 2, 4}));
  c.top_groups = c.groups == 1 ? 1 : static_cast<int>(draw.between(1, c.groups));
  c.experts = c.groups * static_cast<int>(draw.between(2, 24));
  c.top_k = static_cast<int>(draw.between(1, std::min(8, c.experts / c.groups * c.top_groups)));
  c.sigmoid = draw.coin();
  c.normalize = draw.coin();
  c.group_sum_top2 = c.groups > 1 && draw.coin();
  c.scale = draw.coin() ? 1.0f : 2.5f;
  return c;
}

TEST_CASE("routing and its gradients give the CPU's choices and bits, ties included") {
  for (const RouterConfig& c : routers()) {
    for (const int64_t m : kHeights) {
      for (const bool ties : {false, true}) check_routing(c, m, ties);
    }
  }
  for (Draw draw(6); shapes.wanting("route");) {
    const RouterConfig c = drawn_router(draw);
    check_routing(c, draw.between(1, 12), draw.coin());
  }
}

// Parts of each group begin at `begins`.
void check_group_bias(const std::vector<int64_t>& offsets, const std::vector<int64_t>& begins,
                      int64_t width) {
  std::vector<int64_t> all = offsets;
  all.push_back(width);
  all.insert(all.end(), begins.begin(), begins.end());
  if (!shapes.add({"add_group_bias", "group_bias_backward"}, all)) return;
  CAPTURE(width);
  CAPTURE(offsets.size());
  const int64_t m = offsets.back(), ld = width + 3;
  const auto groups = static_cast<int64_t>(offsets.size()) - 1;
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

TEST_CASE(
    "biases of experts and their gradients give the CPU's bits, parts and empty ones included") {
  for (const int64_t width : kWidths) {
    check_group_bias({0, 7, 7, 290, 300}, {0, 3, 7, 7, 7, 20, 290, 290}, width);
  }
  for (Draw draw(7); shapes.wanting("add_group_bias");) {
    // Every group begins a part; some have a second one.
    const int64_t m = draw.between(1, 40);
    std::vector<int64_t> offsets = draw.cuts(m, draw.between(1, 5)), begins;
    offsets.push_back(m);
    const bool two = draw.coin();
    for (size_t g = 0; g + 1 < offsets.size(); ++g) {
      begins.push_back(offsets[g]);
      if (two) begins.push_back(draw.between(offsets[g], offsets[g + 1]));
    }
    check_group_bias(offsets, begins, draw.between(1, 40));
  }
}

void check_way(int64_t m, int top_k, int experts, int64_t width) {
  if (!shapes.add({"expert_sort", "gather_rows", "combine", "gather_rows_backward"},
                  {m, top_k, experts, width})) {
    return;
  }
  CAPTURE(m);
  CAPTURE(experts);
  const int64_t n = m * top_k, ld = width + 2;
  std::vector<int32_t> ids = random_ids(n, std::max(1, experts - 1), 1);  // the last one is empty
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

TEST_CASE("the way of rows to experts and back gives the CPU's bits, empty experts included") {
  for (const auto& [m, top_k, experts] :
       {std::tuple<int64_t, int, int>{1, 1, 1}, {1, 2, 8}, {65, 2, 8}, {40, 3, 70}, {300, 2, 3}}) {
    check_way(m, top_k, experts, 19);
  }
  for (Draw draw(8); shapes.wanting("expert_sort");) {
    const int top_k = static_cast<int>(draw.between(1, 4));
    check_way(draw.of({1, 2, 3, 5, 16, 20, 33}), top_k,
              top_k + static_cast<int>(draw.between(0, 8)), draw.between(1, 24));
  }
}

TEST_CASE("operators on experts were compared on 200 shapes") { kCompared.check(); }

}  // namespace
}  // namespace zeroth::kernels
