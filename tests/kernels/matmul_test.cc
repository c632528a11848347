#include <array>
#include <bit>
#include <memory>

#include "kernel_test.h"
#include "kernels/cpu/table.h"

namespace zeroth::kernels {
namespace {

Values run_linear(const Values& x, const PackedMatrix& w, const Values& bias, int64_t m) {
  Values y(m * w.out(), NAN);
  linear(x.data(), w.in(), w, bias.empty() ? nullptr : bias.data(), y.data(), w.out(), m);
  return y;
}

PackedMatrix packed(const Values& w, int64_t out, int64_t in, Element element = Element::kFloat32) {
  PackedMatrix p;
  p.pack(w.data(), out, in, in, element);
  return p;
}

// Each value rounded to bfloat16 (to nearest even), by arithmetic of its own.
Values rounded(Values x) {
  for (float& value : x) {
    int exponent = 0;
    std::frexp(value, &exponent);
    value = static_cast<float>(
        std::ldexp(std::nearbyint(std::ldexp(value, 8 - exponent)), exponent - 8));
  }
  return x;
}

TEST_CASE("linear equals the reference and has the same bits everywhere") {
  struct Shape {
    int64_t m, out, in;
  };
  for (const Shape& s : {Shape{1, 1, 1},
                         {1, 33, 17},
                         {3, 7, 5},
                         {5, 100, 64},
                         {13, 32, 192},
                         {64, 96, 48},
                         {70, 130, 512},
                         {1, 520, 64},
                         {2, 300, 33},
                         {40, 16, 100},
                         {200, 8, 64}}) {
    CAPTURE(s.m);
    CAPTURE(s.out);
    CAPTURE(s.in);
    const Values x = random_values(s.m * s.in, 1), w = random_values(s.out * s.in, 2),
                 bias = random_values(s.out, 3);
    const Values y = everywhere([&] { return run_linear(x, packed(w, s.out, s.in), bias, s.m); });
    CHECK(difference(y, reference::linear(x, w, bias, s.m, s.out, s.in)) < 2e-6);
  }
}

// The sum of a[k] * b[k] for n values of k, some apart, as every product has it: leaves of 256, each
// a chain, added in ascending order, to what `start` holds if it is there.
float sum_of_leaves(const float* a, int64_t a_k, const float* b, int64_t b_k, int64_t n,
                    const float* start = nullptr) {
  float sum = start ? *start : 0;
  for (int64_t begin = 0; begin < n; begin += 256) {
    float leaf = 0;
    for (int64_t k = begin; k < std::min(n, begin + 256); ++k) {
      leaf = std::fma(a[k * a_k], b[k * b_k], leaf);
    }
    sum = begin == 0 && !start ? leaf : sum + leaf;
  }
  return sum;
}

TEST_CASE("linear is a sum of leaves: chains of 256 fused multiply-adds, in ascending order") {
  for (const int64_t in : {77, 255, 256, 257, 512, 700, 1300}) {
    CAPTURE(in);
    for (const int64_t m : {1, 3, 5, 8, 30}) {
      const int64_t out = 141;
      const Values x = random_values(m * in, 1), w = random_values(out * in, 2),
                   bias = random_values(out, 3);
      Values expected(m * out);
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < out; ++j)
          expected[i * out + j] = sum_of_leaves(&x[i * in], 1, &w[j * in], 1, in) + bias[j];
      CHECK(same_bits(everywhere([&] { return run_linear(x, packed(w, out, in), bias, m); }),
                      expected));
    }
  }
}

TEST_CASE(
    "gradients are sums of leaves too: of outputs for the input's, of rows for the weight's") {
  for (const auto& [m, out, in] :
       {std::array<int64_t, 3>{3, 700, 40}, {20, 1300, 70}, {600, 33, 20}, {257, 256, 33}}) {
    CAPTURE(m);
    CAPTURE(out);
    const Values x = random_values(m * in, 1), w = random_values(out * in, 2),
                 dy = random_values(m * out, 3), start = random_values(m * in + out * in, 4);
    for (const bool accumulate : {false, true}) {
      Values expected(m * in);
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < in; ++j)
          expected[i * in + j] = sum_of_leaves(&dy[i * out], 1, &w[j], in, out,
                                               accumulate ? &start[i * in + j] : nullptr);
      CHECK(same_bits(everywhere([&] {
                        Values dx(start.begin(), start.begin() + m * in);
                        linear_backward_input(dy.data(), out, packed(w, out, in), dx.data(), in, m,
                                              accumulate);
                        return dx;
                      }),
                      expected));
    }
    Values expected(out * in);
    for (int64_t i = 0; i < out; ++i)
      for (int64_t j = 0; j < in; ++j)
        expected[i * in + j] = sum_of_leaves(&dy[i], out, &x[j], in, m, &start[i * in + j]);
    CHECK(same_bits(everywhere([&] {
                      Values dw(start.begin(), start.begin() + out * in);
                      linear_backward_weight(dy.data(), out, x.data(), in, dw.data(), in, nullptr,
                                             m, out, in);
                      return dw;
                    }),
                    expected));
  }
}

TEST_CASE("a row of linear does not depend on the other rows") {
  for (const auto& [out, in] : {std::pair<int64_t, int64_t>{100, 64}, {7, 512}, {320, 192}}) {
    const Values x = random_values(65 * in, 1), w = random_values(out * in, 2);
    const PackedMatrix p = packed(w, out, in);
    CHECK(rows_are_pure(65, out, [&](std::span<const int32_t> rows) {
      return run_linear(pick_rows(x, in, rows), p, {}, static_cast<int64_t>(rows.size()));
    }));
  }
}

TEST_CASE("the harness sees a kernel whose reduction is split by the number of rows") {
  const int64_t out = 24, in = 64;
  const Values x = random_values(65 * in, 1), w = random_values(out * in, 2);
  const auto split_by_batch = [&](std::span<const int32_t> rows) {
    // What a library does that splits the reduction when there are few rows.
    const int64_t parts = rows.size() < 16 ? 2 : 1;
    const Values picked = pick_rows(x, in, rows);
    Values y(rows.size() * out);
    for (size_t i = 0; i < rows.size(); ++i)
      for (int64_t j = 0; j < out; ++j)
        for (int64_t part = 0; part < parts; ++part) {
          float sum = 0;
          for (int64_t k = in * part / parts; k < in * (part + 1) / parts; ++k)
            sum = std::fma(picked[i * in + k], w[j * in + k], sum);
          y[i * out + j] += sum;
        }
    return y;
  };
  CHECK_FALSE(rows_are_pure(65, out, split_by_batch));
}

TEST_CASE("large products cut into many tasks keep the chain of a single row") {
  const int64_t m = 700, out = 200, in = 520;
  const Values x = random_values(m * in, 1), w = random_values(out * in, 2);
  const PackedMatrix p = packed(w, out, in);
  const Values y = run_linear(x, p, {}, m);
  for (int64_t row : {0, 13, 255, 256, 699}) {
    const int32_t r = static_cast<int32_t>(row);
    CHECK(same_bits(std::span(y).subspan(row * out, out),
                    run_linear(pick_rows(x, in, std::span(&r, 1)), p, {}, 1)));
  }
}

TEST_CASE("what a product fetches for later never shows") {
  for (const int64_t m : {1, 4, 8, 40}) {
    const int64_t out = 200, in = 100;
    const Values x = random_values(m * in, 1), w = random_values(out * in, 2);
    const PackedMatrix p = packed(w, out, in);
    const Values expected = run_linear(x, p, {}, m);
    for (const int64_t floats : {1, 191, 192, 193, 4096}) {
      for (const size_t count : {0, 1, 2, 7, 300}) {
        CAPTURE(floats);
        CAPTURE(count);
        std::vector<Values> memory(count, Values(floats, NAN));
        // Allocated to the float, so that a read behind the list is seen.
        std::unique_ptr<const float*[]> pieces(new const float*[count]);
        for (size_t i = 0; i < count; ++i) pieces[i] = memory[i].data();
        Values y(m * out, NAN);
        linear(x.data(), in, p, nullptr, y.data(), out, m, {{pieces.get(), count}, floats});
        CHECK(same_bits(y, expected));
      }
    }
  }
}

TEST_CASE("a product takes A by rows or by columns, whatever its shape") {
  const int64_t k = 37, columns = 200, panels = (columns + kPanelColumns - 1) / kPanelColumns;
  const Values b = random_values(panels * k * kPanelColumns, 1);
  for (int64_t m = 1; m <= 26; ++m) {
    CAPTURE(m);
    const Values a = random_values(m * k, 2);
    Values transposed(m * k);
    for (int64_t i = 0; i < m * k; ++i) transposed[i % k * m + i / k] = a[i];
    const auto run = [&](const Values& from, Operands operands, int64_t lda) {
      Values c(m * columns, NAN);
      table().gemm({.operands = operands,
                    .a = from.data(),
                    .lda = lda,
                    .b = b.data(),
                    .panel = k * kPanelColumns,
                    .c = c.data(),
                    .ldc = columns,
                    .m = m,
                    .k = k,
                    .columns = columns,
                    .accumulate = Accumulate::kStart});
      return c;
    };
    CHECK(same_bits(everywhere([&] { return run(a, Operands::kRows, k); }),
                    everywhere([&] { return run(transposed, Operands::kColumns, m); })));
  }
}

TEST_CASE("linear respects row distances and writes nothing else") {
  const int64_t m = 9, out = 37, in = 50, ldx = 61, ldy = 45;
  const Values x = random_values(m * ldx, 1), w = random_values(out * in, 2);
  Values dense, y(m * ldy, 7.0f);
  for (int64_t i = 0; i < m; ++i)
    dense.insert(dense.end(), x.begin() + i * ldx, x.begin() + i * ldx + in);
  const PackedMatrix p = packed(w, out, in);
  linear(x.data(), ldx, p, nullptr, y.data(), ldy, m);
  const Values expected = run_linear(dense, p, {}, m);
  for (int64_t i = 0; i < m; ++i) {
    CHECK(same_bits(std::span(y).subspan(i * ldy, out), std::span(expected).subspan(i * out, out)));
    for (int64_t j = out; j < ldy; ++j) CHECK(y[i * ldy + j] == 7.0f);
  }
}

TEST_CASE("a product over bfloat16 is that over the widened weights, bit for bit") {
  struct Shape {
    int64_t out, in;
  };
  for (const Shape& s : {Shape{1, 1}, {33, 17}, {100, 64}, {130, 512}, {300, 33}, {65, 700}}) {
    CAPTURE(s.out);
    CAPTURE(s.in);
    const Values w = random_values(s.out * s.in, 2), bias = random_values(s.out, 3);
    CHECK_FALSE(same_bits(rounded(w), w));
    for (const int64_t m : {1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 64, 200}) {
      CAPTURE(m);
      const Values x = random_values(m * s.in, 1);
      const auto run = [&](const Values& values, Element element) {
        return everywhere(
            [&] { return run_linear(x, packed(values, s.out, s.in, element), bias, m); });
      };
      CHECK(same_bits(run(w, Element::kBfloat16), run(rounded(w), Element::kFloat32)));
    }
  }
}

TEST_CASE("every float rounds to bfloat16 as it should, and comes back exactly") {
  struct Case {
    uint32_t from, to;
  };
  for (const Case& c : {Case{0x00000000, 0x0000},
                        {0x80000000, 0x8000},
                        {0x3f800000, 0x3f80},
                        {0x3f808000, 0x3f80},
                        {0x3f808001, 0x3f81},
                        {0x3f818000, 0x3f82},
                        {0x3f817fff, 0x3f81},
                        {0xbf818000, 0xbf82},
                        {0x00000001, 0x0000},
                        {0x00008001, 0x0001},
                        {0x007fffff, 0x0080},
                        {0x7f7f7fff, 0x7f7f},
                        {0x7f7fffff, 0x7f80},
                        {0x7f800000, 0x7f80},
                        {0xff800000, 0xff80}}) {
    CAPTURE(c.from);
    for (const int64_t n : {1, 16, 21}) {
      Values x(n, std::bit_cast<float>(c.from));
      const Values back = everywhere([&] {
        std::vector<Bfloat16> y(n);
        narrow(x.data(), y.data(), n);
        for (const Bfloat16 bits : y) CHECK(bits == c.to);
        Values wide(n);
        widen(y.data(), wide.data(), n);
        return wide;
      });
      for (const float v : back) CHECK(std::bit_cast<uint32_t>(v) == c.to << 16);
    }
  }
  for (const uint32_t nan : {0x7fc00000u, 0x7f800001u, 0xff800001u, 0xffffffffu, 0x7fffffffu}) {
    Values x(17, std::bit_cast<float>(nan));
    const Values back = everywhere([&] {
      std::vector<Bfloat16> y(17);
      narrow(x.data(), y.data(), 17);
      Values wide(17);
      widen(y.data(), wide.data(), 17);
      return wide;
    });
    for (const float v : back) CHECK(std::isnan(v));
  }
}

TEST_CASE("a packed matrix tells its element and takes half the memory as bfloat16") {
  CHECK(packed_floats(40, 7) == 64 * 7);
  CHECK(packed_floats(40, 7, Element::kBfloat16) == 32 * 7);
  const Values w = random_values(40 * 7, 1);
  PackedMatrix p = packed(w, 40, 7, Element::kBfloat16);
  CHECK(p.element() == Element::kBfloat16);
  p.pack(w.data(), 40, 7, 7);  // and may change
  CHECK(p.element() == Element::kFloat32);
  CHECK(same_bits(run_linear(w, p, {}, 40), run_linear(w, packed(w, 40, 7), {}, 40)));
}

TEST_CASE("the gradient of the input is a sum of leaves of outputs, by the bits that are packed") {
  struct Shape {
    int64_t out, in;
  };
  for (const Shape& s :
       {Shape{1, 1}, {5, 3}, {33, 50}, {64, 32}, {1100, 40}, {36, 600}, {70, 1027}}) {
    CAPTURE(s.out);
    CAPTURE(s.in);
    for (const int64_t m : {1, 9, 40}) {
      const Values w = random_values(s.out * s.in, 2), dy = random_values(m * s.out, 1),
                   start = random_values(m * s.in, 3);
      for (const Element element : {Element::kFloat32, Element::kBfloat16}) {
        const Values published = element == Element::kBfloat16 ? rounded(w) : w;
        for (const bool accumulate : {false, true}) {
          Values expected(m * s.in);
          for (int64_t i = 0; i < m; ++i)
            for (int64_t j = 0; j < s.in; ++j) {
              expected[i * s.in + j] = sum_of_leaves(&dy[i * s.out], 1, &published[j], s.in, s.out,
                                                     accumulate ? &start[i * s.in + j] : nullptr);
            }
          CHECK(same_bits(everywhere([&] {
                            Values dx = start;
                            linear_backward_input(dy.data(), s.out, packed(w, s.out, s.in, element),
                                                  dx.data(), s.in, m, accumulate);
                            return dx;
                          }),
                          expected));
        }
      }
    }
  }
}

TEST_CASE("rows of an embedding come from floats, from bfloat16 and from a packed head") {
  const int64_t vocab = 71, width = 45;
  const Values w = random_values(vocab * width, 1);
  std::vector<Bfloat16> half(w.size());
  narrow(w.data(), half.data(), static_cast<int64_t>(w.size()));
  const std::vector<int32_t> ids = {70, 0, 31, 32, 5, 70};
  const auto rows = [&](const EmbeddingTable& table) {
    return everywhere([&] {
      Values out(ids.size() * width, NAN);
      embedding(table, width, ids.data(), out.data(), static_cast<int64_t>(ids.size()));
      return out;
    });
  };
  const PackedMatrix whole = packed(w, vocab, width),
                     halves = packed(w, vocab, width, Element::kBfloat16);
  CHECK(same_bits(rows({.floats = w.data()}), pick_rows(w, width, ids)));
  CHECK(same_bits(rows({.packed = &whole}), pick_rows(w, width, ids)));
  CHECK(same_bits(rows({.halves = half.data()}), pick_rows(rounded(w), width, ids)));
  CHECK(same_bits(rows({.packed = &halves}), pick_rows(rounded(w), width, ids)));
  Values back(40 * width);
  unpack_rows(halves, 31, 40, back.data());
  const Values all = rounded(w);
  CHECK(same_bits(back, std::span(all).subspan(31 * width)));
}

TEST_CASE("no rows, no work") {
  const Values w = random_values(64, 1);
  const PackedMatrix p = packed(w, 8, 8);
  linear(nullptr, 8, p, nullptr, nullptr, 8, 0);
  Values dw(64, 2.0f);
  linear_backward_weight(nullptr, 8, nullptr, 8, dw.data(), 8, nullptr, 0, 8, 8);
  CHECK(dw == Values(64, 2.0f));
}

TEST_CASE("grouped products equal one product per group, empty and skewed groups too") {
  const int64_t out = 70, in = 48;
  const std::vector<int64_t> offsets = {0, 40, 40, 41, 60, 60};
  const int64_t groups = static_cast<int64_t>(offsets.size()) - 1, m = offsets.back();
  std::vector<Values> w;
  std::vector<PackedMatrix> p(groups);
  std::vector<const PackedMatrix*> pointers;
  for (int64_t g = 0; g < groups; ++g) {
    w.push_back(random_values(out * in, 10 + g));
    p[g].pack(w[g].data(), out, in, in);
  }
  for (int64_t g = 0; g < groups; ++g) pointers.push_back(&p[g]);
  const Values x = random_values(m * in, 1), dy = random_values(m * out, 2);
  const Values y = everywhere([&] {
    Values result(m * out);
    grouped_linear(x.data(), in, offsets, pointers, result.data(), out);
    return result;
  });
  const Values dx = everywhere([&] {
    Values result(m * in);
    grouped_backward_input(dy.data(), out, offsets, pointers, result.data(), in);
    return result;
  });
  const Values dw = everywhere([&] {
    Values result(groups * out * in, 0.5f);
    std::vector<float*> targets;
    for (int64_t g = 0; g < groups; ++g) targets.push_back(result.data() + g * out * in);
    grouped_backward_weight(dy.data(), out, x.data(), in, offsets, targets, out, in);
    return result;
  });
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t from = offsets[g], rows = offsets[g + 1] - from;
    Values one_y(rows * out), one_dx(rows * in), one_dw(out * in, 0.5f);
    linear(x.data() + from * in, in, p[g], nullptr, one_y.data(), out, rows);
    linear_backward_input(dy.data() + from * out, out, p[g], one_dx.data(), in, rows, false);
    linear_backward_weight(dy.data() + from * out, out, x.data() + from * in, in, one_dw.data(), in,
                           nullptr, rows, out, in);
    CHECK(same_bits(std::span(y).subspan(from * out, rows * out), one_y));
    CHECK(same_bits(std::span(dx).subspan(from * in, rows * in), one_dx));
    CHECK(same_bits(std::span(dw).subspan(g * out * in, out * in), one_dw));
  }
}

TEST_CASE("a part of a weight gradient adds what it would add alone, in its turn") {
  const int64_t out = 70, in = 48, m = 900;
  const Values x = random_values(m * in, 1), dy = random_values(m * out, 2);
  const std::vector<int64_t> parts = {0, 1, 300, 300, 557, 899};
  const Values joint = everywhere([&] {
    Values result(out * in + out, 0.5f);
    linear_backward_weight(dy.data(), out, x.data(), in, result.data(), in,
                           result.data() + out * in, m, out, in, parts);
    return result;
  });
  Values apart(out * in + out, 0.5f);
  for (size_t p = 0; p < parts.size(); ++p) {
    const int64_t begin = parts[p], end = p + 1 < parts.size() ? parts[p + 1] : m;
    linear_backward_weight(dy.data() + begin * out, out, x.data() + begin * in, in, apart.data(),
                           in, apart.data() + out * in, end - begin, out, in);
  }
  CHECK(same_bits(joint, apart));
  Values whole(out * in + out, 0.5f);  // the parts show
  linear_backward_weight(dy.data(), out, x.data(), in, whole.data(), in, whole.data() + out * in, m,
                         out, in);
  CHECK_FALSE(same_bits(joint, whole));
  // Groups: a part that begins inside a group begins a sum of its own there.
  const std::vector<int64_t> offsets = {0, 280, 280, 600, m};
  Values grouped(4 * out * in, 0.5f), by_hand(4 * out * in, 0.5f);
  std::vector<float*> targets;
  for (int g = 0; g < 4; ++g) targets.push_back(grouped.data() + g * out * in);
  grouped_backward_weight(dy.data(), out, x.data(), in, offsets, targets, out, in, parts);
  for (int g = 0; g < 4; ++g) {
    std::vector<int64_t> cuts = {offsets[g]};
    for (const int64_t part : parts) {
      if (part > offsets[g] && part < offsets[g + 1] && part != cuts.back()) cuts.push_back(part);
    }
    cuts.push_back(offsets[g + 1]);
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
      linear_backward_weight(dy.data() + cuts[i] * out, out, x.data() + cuts[i] * in, in,
                             by_hand.data() + g * out * in, in, nullptr, cuts[i + 1] - cuts[i], out,
                             in);
    }
  }
  CHECK(same_bits(grouped, by_hand));
}

TEST_CASE("backward products equal the reference and have the same bits everywhere") {
  struct Shape {
    int64_t m, out, in;
  };
  for (const Shape& s :
       {Shape{1, 5, 3}, {40, 33, 50}, {300, 40, 70}, {9, 1100, 40}, {600, 100, 36}}) {
    CAPTURE(s.m);
    CAPTURE(s.out);
    CAPTURE(s.in);
    const Values dy = random_values(s.m * s.out, 1), x = random_values(s.m * s.in, 2),
                 w = random_values(s.out * s.in, 3);
    const Values start = random_values(std::max({s.m * s.in, s.out * s.in, s.out}), 4);
    for (bool accumulate : {false, true}) {
      const Values dx = everywhere([&] {
        Values result(start.begin(), start.begin() + s.m * s.in);
        linear_backward_input(dy.data(), s.out, packed(w, s.out, s.in), result.data(), s.in, s.m,
                              accumulate);
        return result;
      });
      auto expected = reference::product(doubles(dy), doubles(w), s.m, s.out, s.in);
      for (size_t i = 0; accumulate && i < expected.size(); ++i) expected[i] += start[i];
      CHECK(difference(dx, expected) < 2e-6);
    }
    const Values dwb = everywhere([&] {
      Values dw(start.begin(), start.begin() + s.out * s.in),
          dbias(start.begin(), start.begin() + s.out);
      linear_backward_weight(dy.data(), s.out, x.data(), s.in, dw.data(), s.in, dbias.data(), s.m,
                             s.out, s.in);
      dw.insert(dw.end(), dbias.begin(), dbias.end());
      return dw;
    });
    const auto dyt = reference::transpose(doubles(dy), s.m, s.out);
    auto expected = reference::product(dyt, doubles(x), s.out, s.m, s.in);
    for (int64_t i = 0; i < s.out * s.in; ++i) expected[i] += start[i];
    CHECK(difference(std::span(dwb).first(s.out * s.in), expected) < 2e-6);
    reference::Doubles bias(s.out);
    for (int64_t j = 0; j < s.out; ++j) {
      bias[j] = start[j];
      for (int64_t i = 0; i < s.m; ++i) bias[j] += dy[i * s.out + j];
    }
    CHECK(difference(std::span(dwb).subspan(s.out * s.in), bias) < 2e-6);
  }
}

}  // namespace
}  // namespace zeroth::kernels
