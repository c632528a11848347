// Back ends side by side: equal ones are quiet, and a planted difference is found and named.
#include "kernels/check/check.h"

#include <numeric>

#include "kernel_test.h"
#include "kernels/reference/operators.h"

namespace zeroth::kernels {
namespace {

constexpr CheckBounds kRounding = {.share = 1e-5};

// The reference with a fault in one operator: element 7 of the sum moves by one float, once.
class Faulty : public ReferenceOperators {
 public:
  mutable int calls = 0;
  void add(At<const float> a, At<const float> b, At<float> y, int64_t n) const override {
    ReferenceOperators::add(a, b, y, n);
    float& value = y.address()[7];
    if (++calls == 2) value = std::nextafter(value, INFINITY);
  }
};

// Calls of several kinds: packed weights, in place, lists that an operator sizes, pages, numbers.
void run_operators(const Operators& ops) {
  const int64_t m = 5, in = 40, out = 33;
  const Values w = random_values(out * in, 1), x = random_values(m * in, 2);
  Values block(ops.packed_floats(out, in, Element::kBfloat16) + 16);
  PackedMatrix matrix;
  matrix.place(out, in, Element::kBfloat16, block.data());
  ops.pack_rows(matrix, 0, kPackRows, w.data(), in);
  ops.pack_rows(matrix, kPackRows, out - kPackRows, w.data() + kPackRows * in, in);
  Values y(m * out), back(out * in);
  ops.unpack_rows(matrix, 0, out, back.data());
  ops.linear(x.data(), in, matrix, nullptr, y.data(), out, m);
  const PackedMatrix* const matrices[] = {&matrix, &matrix};
  const std::vector<int64_t> halves = {0, 2, 5};
  ops.grouped_linear(x.data(), in, halves, matrices, y.data(), out);
  const std::vector<int32_t> tokens = {32, 0, 7};
  Values rows(3 * in);
  ops.embedding({.packed = &matrix}, in, tokens.data(), rows.data(), 3);

  const std::vector<int32_t> ids = {1, 0, 1, 2};
  std::vector<int64_t> offsets(4);
  std::vector<int32_t> order(4);
  ops.expert_sort(ids.data(), 4, 1, 3, offsets.data(), order.data());
  CHECK(offsets == std::vector<int64_t>{0, 1, 3, 4});
  Values k(2 * 2 * 3 * kPageTokens, NAN), v = k;  // two pages of two heads of three
  const DevicePages cache{k.data(), v.data(), 2, 3, 3};
  const std::vector<KvWrite> writes = {{0, 20}, {1, 3}};
  ops.kv_write(cache, writes, x.data(), in, x.data() + 8, in);
  CHECK(k[4 + cache.k_page()] == x[0]);
  ops.sum_squares(x.data(), m * in);
  Values sum = x;
  for (int i = 0; i < 3; ++i) ops.add(sum.data(), x.data(), sum.data(), m * in);
  for (size_t i = 0; i < x.size(); ++i) CHECK(sum[i] == doctest::Approx(4 * x[i]));
}

TEST_CASE("back ends that agree are quiet, and every call is compared") {
  const auto same = CheckedOperators::make(cpu_operators(), cpu_operators());
  run_operators(*same);
  CHECK(!same->difference());
  CHECK(same->calls().at("add") == 3);
  CHECK(same->calls().at("pack_rows") == 2);
  const ReferenceOperators reference;
  const auto rounding = CheckedOperators::make(cpu_operators(), reference, kRounding);
  run_operators(*rounding);
  CHECK(!rounding->difference());
  CHECK(rounding->name() == "cpu and reference");
}

TEST_CASE("instruction sets give the same bits, called by name") {
  const std::string before = isa();
  for (const std::string& name : supported_isas()) {
    const auto ops = cpu_operators(name);
    const auto checked = CheckedOperators::make(cpu_operators(), *ops);
    run_operators(*checked);
    CHECK(!checked->difference());
    CHECK(checked->name() == "cpu and " + name);
  }
  CHECK(isa() == before);
  CHECK_THROWS(cpu_operators("mmx"));
}

TEST_CASE("back ends that round differently differ in bits") {
  const ReferenceOperators reference;
  const auto checked = CheckedOperators::make(cpu_operators(), reference);
  run_operators(*checked);
  REQUIRE(checked->difference());
  CHECK(checked->difference()->op == "linear");
  CHECK(checked->difference()->array == "y");
  CHECK(checked->difference()->ulps > 0);
}

TEST_CASE("a planted difference is found in its operator, its call and its element") {
  const ReferenceOperators reference;
  const Faulty faulty;
  const auto checked = CheckedOperators::make(reference, faulty);
  run_operators(*checked);
  REQUIRE(checked->difference());
  const Difference found = *checked->difference();
  CHECK(found.op == "add");
  CHECK(found.array == "y");
  CHECK(found.call == 11);
  CHECK(found.rows == 1);
  CHECK(found.width == 200);
  CHECK(found.row == 0);
  CHECK(found.column == 7);
  CHECK(found.ulps == 1);
  CHECK(found.second > found.first);
  const std::string text = found.text("first", "second");
  CHECK(text.starts_with("add, call 11: y[0, 7] of [1, 200] is "));
  CHECK(text.ends_with("(second), 1 ulps"));
  // Within bounds it is none.
  const Faulty again;
  const auto loose = CheckedOperators::make(reference, again, {.ulps = 1});
  run_operators(*loose);
  CHECK(!loose->difference());
}

TEST_CASE("results that are no numbers are equal only to their like") {
  class Other : public ReferenceOperators {
   public:
    explicit Other(float value) : value_(value) {}
    void zero_rows(At<float> x, int64_t, int64_t, int64_t) const override { *x.address() = value_; }

   private:
    float value_;
  };
  const auto differs = [](float a, float b) {
    const Other first(a), second(b);
    const auto checked = CheckedOperators::make(first, second, {.ulps = 1 << 30, .share = 1});
    float x = 0;
    checked->zero_rows(&x, 1, 1, 1);
    return checked->difference().has_value();
  };
  CHECK(!differs(NAN, -NAN));
  CHECK(!differs(INFINITY, INFINITY));
  CHECK(differs(INFINITY, -INFINITY));
  CHECK(differs(1, NAN));
  CHECK(differs(INFINITY, 3e38f));
  CHECK(!differs(1, 1.5f));
}

}  // namespace
}  // namespace zeroth::kernels
