// Products of the device over fibers against the CPU's, by bits.
#include <algorithm>

#include "cuda_test.h"

namespace zeroth::kernels {
namespace {

const Compared kCompared{"linear",         "linear_backward_input",  "linear_backward_weight",
                         "grouped_linear", "grouped_backward_input", "grouped_backward_weight"};

struct Shape {
  int64_t m, out, in, more;  // floats between rows beyond their width
  bool bias;
  std::vector<int64_t> numbers() const { return {m, out, in, more, bias}; }
};
Shape drawn(Draw& draw) {
  return {draw.of({1, 2, 3, 7, 16, 19, 34, 65}), draw.of({1, 5, 31, 32, 33, 64, 70, 129}),
          draw.of({1, 8, 15, 16, 17, 40, 66, 257, 300}), draw.between(0, 5), draw.coin()};
}
// One row, 65 rows, tiles of every height, odd widths and strides, one leaf and several, k that is
// no multiple of a stage.
constexpr Shape kShapes[] = {
    {1, 128, 64, 0, false},  {1, 33, 300, 1, true},   {2, 7, 16, 0, true},
    {5, 130, 257, 3, true},  {16, 128, 256, 4, true}, {17, 96, 100, 0, false},
    {33, 160, 40, 8, true},  {64, 64, 17, 0, false},  {65, 130, 70, 1, true},
    {65, 40, 520, 0, true},  {70, 257, 31, 4, false}, {129, 96, 288, 0, true},
    {3, 1, 1, 0, true},      {9, 257, 15, 2, false},  {40, 31, 512, 0, true},
    {128, 128, 48, 0, true},
};

void check_linear(const Shape& s) {
  if (!shapes.add({"linear"}, s.numbers())) return;
  for (const Element element : {Element::kFloat32, Element::kBfloat16}) {
    CAPTURE(s.m);
    CAPTURE(s.out);
    CAPTURE(s.in);
    const int64_t ldx = s.in + s.more, ldy = s.out + s.more;
    const Values x = random_values(s.m * ldx, 1), w = random_values(s.out * s.in, 2);
    const Values b = random_values(s.out, 3);
    const CudaWeights weights(w, s.out, s.in, element);
    Values y = unwritten(s.m * ldy);
    linear(x.data(), ldx, weights.packed, s.bias ? b.data() : nullptr, y.data(), ldy, s.m);
    const Array<float> dx(x), db(b), dy(s.m * ldy), apart(s.m * ldy);
    const float* const bias = s.bias ? db.data() : nullptr;
    cuda::linear(nullptr, dx.data(), ldx, weights.weights(), bias, dy.data(), ldy, s.m);
    check_same(dy, y, "linear");
    const Array<float> leaves((s.in + 255) / 256 * s.m * s.out);
    cuda::linear(nullptr, dx.data(), ldx, weights.weights(), bias, apart.data(), ldy, s.m,
                 {leaves.data(), leaves.size()});
    check_same(apart, y, "linear, leaves apart");
  }
}

TEST_CASE("linear gives the CPU's bits: rows, widths, strides, leaves, elements") {
  for (const Shape& s : kShapes) check_linear(s);
  for (Draw draw(1); shapes.wanting("linear");) check_linear(drawn(draw));
}

TEST_CASE("linear keeps the sign of a sum that is minus zero") {
  const int64_t in = 20;
  Values x(in, 1e-30f), w(in, -1e-30f);
  const CudaWeights weights(w, 1, in, Element::kFloat32);
  Values y = unwritten(1);
  linear(x.data(), in, weights.packed, nullptr, y.data(), 1, 1);
  const Array<float> dx(x), dy(1);
  cuda::linear(nullptr, dx.data(), in, weights.weights(), nullptr, dy.data(), 1, 1);
  check_same(dy, y, "linear");
}

struct Experts {
  std::vector<int64_t> bounds;
  int64_t out, in;
  std::vector<std::unique_ptr<CudaWeights>> weights;
  std::vector<const PackedMatrix*> packed;
  std::unique_ptr<Array<const void*>> table;

  Experts(std::vector<int64_t> offsets, int64_t o, int64_t i, Element element)
      : bounds(std::move(offsets)), out(o), in(i) {
    std::vector<const void*> panels;
    for (size_t g = 0; g + 1 < bounds.size(); ++g) {
      weights.push_back(std::make_unique<CudaWeights>(
          random_values(out * in, static_cast<uint32_t>(10 + g)), out, in, element));
      packed.push_back(&weights.back()->packed);
      panels.push_back(weights.back()->memory.data());
    }
    table = std::make_unique<Array<const void*>>(panels);
  }
  cuda::GroupedWeights device() const {
    return {table->data(), table->size(), out, in, weights[0]->packed.element()};
  }
};
const std::vector<std::vector<int64_t>> kGroups = {
    {0, 7}, {0, 0, 5, 5, 40}, {0, 65, 65, 66}, {0, 16, 32, 48, 64, 80}, {0, 1, 2, 3, 3}, {0, 0, 0}};

std::vector<int64_t> numbers_of(const std::vector<int64_t>& bounds, int64_t out, int64_t in,
                                int64_t more = 0) {
  std::vector<int64_t> all = bounds;
  all.insert(all.end(), {out, in, more});
  return all;
}

void check_grouped(const std::vector<int64_t>& bounds, int64_t out, int64_t in) {
  if (!shapes.add({"grouped_linear", "grouped_backward_input"}, numbers_of(bounds, out, in)))
    return;
  for (const Element element : {Element::kFloat32, Element::kBfloat16}) {
    CAPTURE(bounds.size());
    CAPTURE(in);
    const Experts e(bounds, out, in, element);
    const int64_t m = bounds.back(), most = m + 9;  // the host knows only that they are fewer
    const DeviceBounds groups(bounds, most);
    const Values x = random_values(m * in, 1), dy = random_values(m * e.out, 2);
    Values y = unwritten(m * e.out), dx = unwritten(m * in);
    grouped_linear(x.data(), in, bounds, e.packed, y.data(), e.out);
    grouped_backward_input(dy.data(), e.out, bounds, e.packed, dx.data(), in);
    const Array<float> ax(x), ady(dy), ay(m * e.out), apart(m * e.out), adx(m * in);
    cuda::grouped_linear(nullptr, ax.data(), in, groups.bounds(), e.device(), ay.data(), e.out);
    check_same(ay, y, "grouped_linear");
    const Array<float> leaves((in + 255) / 256 * most * e.out);
    cuda::grouped_linear(nullptr, ax.data(), in, groups.bounds(), e.device(), apart.data(), e.out,
                         {leaves.data(), leaves.size()});
    check_same(apart, y, "grouped_linear, leaves apart");
    cuda::grouped_backward_input(nullptr, ady.data(), e.out, groups.bounds(), e.device(),
                                 adx.data(), in);
    check_same(adx, dx, "grouped_backward_input");
  }
}

// Begins of up to six groups, and the end of their rows.
std::vector<int64_t> drawn_groups(Draw& draw) {
  const int64_t m = draw.of({0, 1, 3, 17, 40, 66});
  std::vector<int64_t> bounds = draw.cuts(m, draw.between(1, 6));
  bounds.push_back(m);
  return bounds;
}

TEST_CASE("grouped products give the CPU's bits: empty experts, uneven ones, sizes on the device") {
  for (const auto& bounds : kGroups) {
    for (const int64_t in : {48, 290}) check_grouped(bounds, 40, in);
  }
  for (Draw draw(2); shapes.wanting("grouped_linear");) {
    check_grouped(drawn_groups(draw), draw.of({1, 30, 32, 65}), draw.of({1, 16, 31, 260}));
  }
}

void check_backward_input(const Shape& s) {
  if (!shapes.add({"linear_backward_input"}, s.numbers())) return;
  for (const Element element : {Element::kFloat32, Element::kBfloat16}) {
    const bool accumulate = s.bias;
    CAPTURE(s.m);
    CAPTURE(s.out);
    CAPTURE(s.in);
    // `in` of the table is what is summed here: W is [in, out].
    const int64_t lddy = s.in + s.more, lddx = s.out + s.more;
    const CudaWeights weights(random_values(s.in * s.out, 2), s.in, s.out, element);
    const Values dy = random_values(s.m * lddy, 1), start = random_values(s.m * lddx, 3);
    Values dx = accumulate ? start : unwritten(s.m * lddx);
    linear_backward_input(dy.data(), lddy, weights.packed, dx.data(), lddx, s.m, accumulate);
    const Array<float> ady(dy), set(s.m * lddx), added(start);
    const Array<float>& adx = accumulate ? added : set;
    cuda::linear_backward_input(nullptr, ady.data(), lddy, weights.weights(), adx.data(), lddx, s.m,
                                accumulate);
    check_same(adx, dx, "linear_backward_input");
  }
}

TEST_CASE("the gradient of a product's input has the CPU's bits, set or added") {
  for (const Shape& s : kShapes) check_backward_input(s);
  for (Draw draw(3); shapes.wanting("linear_backward_input");) check_backward_input(drawn(draw));
}

void check_backward_weight(const Shape& s, const std::vector<int64_t>& parts) {
  std::vector<int64_t> numbers = parts;
  numbers.insert(numbers.end(), {s.m, s.out, s.in, s.more});
  if (!shapes.add({"linear_backward_weight"}, numbers)) return;
  CAPTURE(s.m);
  CAPTURE(s.out);
  CAPTURE(s.in);
  const int64_t lddy = s.out + s.more, ldx = s.in + s.more;
  const Values dy = random_values(s.m * lddy, 1), x = random_values(s.m * ldx, 2);
  Values dw = random_values(s.out * s.in, 3), db = random_values(s.out, 4);
  const Array<float> ady(dy), ax(x), adw(dw), adb(db);
  linear_backward_weight(dy.data(), lddy, x.data(), ldx, dw.data(), s.in, db.data(), s.m, s.out,
                         s.in, parts);
  std::vector<int64_t> bounds = parts.empty() ? std::vector<int64_t>{0} : parts;
  bounds.push_back(s.m);
  const DeviceBounds cut(bounds);
  cuda::linear_backward_weight(nullptr, ady.data(), lddy, ax.data(), ldx, adw.data(), s.in,
                               adb.data(), s.out, s.in, cut.bounds());
  check_same(adw, dw, "dw");
  check_same(adb, db, "dbias");
}

TEST_CASE("the gradient of a product's weights has the CPU's bits, for any parts") {
  const std::vector<std::vector<int64_t>> kParts = {{}, {0}, {0, 1, 20}, {0, 256, 300}};
  for (const Shape& s : kShapes) {
    for (const int64_t m : {s.m, s.m + 300}) {
      if (m > 350) continue;
      for (std::vector<int64_t> parts : kParts) {
        while (!parts.empty() && parts.back() >= m) parts.pop_back();
        check_backward_weight(
            {m, std::min<int64_t>(s.out, 140), std::min<int64_t>(s.in, 140), s.more, s.bias},
            parts);
      }
    }
  }
  for (Draw draw(4); shapes.wanting("linear_backward_weight");) {
    const Shape s = drawn(draw);
    std::vector<int64_t> parts = draw.cuts(s.m - 1, draw.between(1, 4));
    parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
    check_backward_weight(
        {s.m, std::min<int64_t>(s.out, 70), std::min<int64_t>(s.in, 70), s.more, s.bias}, parts);
  }
}

void check_grouped_weight(const std::vector<int64_t>& bounds, const std::vector<int64_t>& parts,
                          int64_t out, int64_t in) {
  std::vector<int64_t> numbers = numbers_of(bounds, out, in, -1);
  numbers.insert(numbers.end(), parts.begin(), parts.end());
  if (!shapes.add({"grouped_backward_weight"}, numbers)) return;
  CAPTURE(bounds.size());
  CAPTURE(parts.size());
  const int64_t m = bounds.back();
  const Values dy = random_values(m * out, 1), x = random_values(m * in, 2);
  std::vector<Values> dw;
  std::vector<float*> at;
  std::vector<std::unique_ptr<Array<float>>> device;
  std::vector<float*> device_at;
  for (size_t g = 0; g + 1 < bounds.size(); ++g) {
    dw.push_back(random_values(out * in, static_cast<uint32_t>(20 + g)));
    device.push_back(std::make_unique<Array<float>>(dw.back()));
    device_at.push_back(device.back()->data());
  }
  for (Values& v : dw) at.push_back(v.data());
  grouped_backward_weight(dy.data(), out, x.data(), in, bounds, at, out, in, parts);
  std::vector<int64_t> cut = parts.empty() ? std::vector<int64_t>{0} : parts;
  cut.push_back(m);
  const DeviceBounds groups(bounds), cuts(cut);
  const Array<float> ady(dy), ax(x);
  const Array<float*> table(device_at);
  cuda::grouped_backward_weight(nullptr, ady.data(), out, ax.data(), in, groups.bounds(),
                                cuts.bounds(), table.data(), out, in);
  for (size_t g = 0; g < dw.size(); ++g) check_same(*device[g], dw[g], "grouped dw");
}

TEST_CASE("the gradients of grouped weights have the CPU's bits") {
  for (const auto& bounds : kGroups) {
    for (std::vector<int64_t> parts : {std::vector<int64_t>{}, {0, 3, 30}}) {
      while (!parts.empty() && parts.back() >= std::max<int64_t>(bounds.back(), 1))
        parts.pop_back();
      check_grouped_weight(bounds, parts, 20, 33);
    }
  }
  for (Draw draw(5); shapes.wanting("grouped_backward_weight");) {
    const std::vector<int64_t> bounds = drawn_groups(draw);
    std::vector<int64_t> parts =
        draw.cuts(std::max<int64_t>(bounds.back() - 1, 0), draw.between(1, 3));
    parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
    check_grouped_weight(bounds, parts, draw.of({1, 20, 33}), draw.of({1, 16, 40}));
  }
}

TEST_CASE("products were compared on 200 shapes") { kCompared.check(); }

}  // namespace
}  // namespace zeroth::kernels
