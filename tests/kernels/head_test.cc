#include "kernels/head.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "kernel_test.h"
#include "kernels/cpu/table.h"

namespace zeroth::kernels {
namespace {

reference::Doubles capped(reference::Doubles z, double cap) {
  for (double& x : z) x = cap > 0 ? cap * std::tanh(x / cap) : x;
  return z;
}

struct Scene {
  int64_t m, vocab, width;
  float cap = 0;
  Values hidden, w;
  PackedMatrix packed;
  std::vector<StreamKey> keys;
  std::vector<uint32_t> position;
  std::vector<int32_t> target;

  Scene(int64_t rows, int64_t v, int64_t d, double size = 1) : m(rows), vocab(v), width(d) {
    hidden = random_values(m * width, 1, size);
    w = random_values(vocab * width, 2);
    packed.pack(w.data(), vocab, width, width);
    Rng rng(9, 9);
    for (int64_t i = 0; i < m; ++i) {
      keys.push_back({7, 1, static_cast<uint32_t>(i), 2});
      position.push_back(static_cast<uint32_t>(3 * i));
      target.push_back(static_cast<int32_t>(rng.below(static_cast<uint32_t>(vocab))));
    }
  }
  reference::Doubles logits(int64_t row) const {
    return capped(
        reference::linear(std::span(hidden).subspan(row * width, width), w, {}, 1, vocab, width),
        cap);
  }
};

struct Drawn {
  std::vector<int32_t> token;
  Values logprob, entropy;
  std::vector<std::vector<int32_t>> kept;
};

Drawn draw(const Scene& s, std::span<const int32_t> rows, const std::vector<SampleParams>& params) {
  const int64_t m = static_cast<int64_t>(rows.size());
  Drawn d{std::vector<int32_t>(m), Values(m), Values(m), std::vector<std::vector<int32_t>>(m)};
  const Values hidden = pick_rows(s.hidden, s.width, rows);
  std::vector<SampleParams> p;
  std::vector<StreamKey> keys;
  std::vector<uint32_t> position;
  for (int32_t r : rows) {
    p.push_back(params[r]);
    keys.push_back(s.keys[r]);
    position.push_back(s.position[r]);
  }
  head_sample(hidden.data(), s.width, s.packed, p.data(), keys.data(), position.data(),
              d.token.data(), d.logprob.data(), d.entropy.data(), d.kept.data(), m, s.cap);
  return d;
}

std::vector<int32_t> all_rows(const Scene& s) {
  std::vector<int32_t> rows(s.m);
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

// Every way of sampling, one after the other.
std::vector<SampleParams> mixed_params(int64_t m) {
  const SampleParams kinds[] = {{1, 0, 1, 0},           {0.7f, 0, 1, 0},    {0, 0, 1, 0},
                                {1, 5, 1, 0},           {1.3f, 0, 0.8f, 0}, {1, 0, 1, 0.1f},
                                {0.9f, 9, 0.9f, 0.02f}, {1, 1, 1, 0}};
  std::vector<SampleParams> params;
  for (int64_t i = 0; i < m; ++i) params.push_back(kinds[i % 8]);
  return params;
}

Values numbers(const Drawn& d) {
  Values all(d.token.begin(), d.token.end());
  all.insert(all.end(), d.logprob.begin(), d.logprob.end());
  all.insert(all.end(), d.entropy.begin(), d.entropy.end());
  for (const auto& ids : d.kept) all.insert(all.end(), ids.begin(), ids.end());
  return all;
}

TEST_CASE("log-probs and entropies equal the reference and have the same bits everywhere") {
  for (int64_t vocab : {7, 64, 513}) {
    Scene s(20, vocab, 24);
    s.cap = vocab == 64 ? 2.5f : 0;
    Values temperature(s.m);
    for (int64_t i = 0; i < s.m; ++i)
      temperature[i] = i % 3 == 0 ? 1.0f : 0.5f + 0.1f * static_cast<float>(i);
    const Values y = everywhere([&] {
      Values out(3 * s.m);
      head_logprobs(s.hidden.data(), s.width, s.packed, s.target.data(), temperature.data(), {},
                    out.data(), out.data() + s.m, out.data() + 2 * s.m, s.m, s.cap);
      return out;
    });
    reference::Doubles logprob, entropy;
    for (int64_t i = 0; i < s.m; ++i) {
      const auto row = reference::head(s.logits(i), temperature[i], s.target[i], {});
      logprob.push_back(row.logprob);
      entropy.push_back(row.entropy);
    }
    CHECK(difference(std::span(y).first(s.m), logprob) < 1e-6);
    CHECK(difference(std::span(y).subspan(s.m, s.m), entropy) < 5e-6);
  }
}

TEST_CASE("sampling: rows are pure, bits are the same everywhere") {
  const Scene s(65, 200, 16);
  const auto params = mixed_params(s.m);
  everywhere([&] { return numbers(draw(s, all_rows(s), params)); });
  CHECK(rows_are_pure(65, 3, [&](std::span<const int32_t> rows) {
    const Drawn d = draw(s, rows, params);
    Values out;
    for (size_t i = 0; i < rows.size(); ++i)
      out.insert(out.end(), {static_cast<float>(d.token[i]), d.logprob[i], d.entropy[i]});
    return out;
  }));
}

TEST_CASE(
    "a recorded log-prob is the teacher-forced one, bit for bit, truncated sampling included") {
  for (const float cap : {0.0f, 6.0f}) {
    Scene s(64, 300, 32);
    s.cap = cap;
    const auto params = mixed_params(s.m);
    const Drawn d = draw(s, all_rows(s), params);
    Values temperature, logprob(s.m), entropy(s.m);
    std::vector<KeptSet> kept;
    for (int64_t i = 0; i < s.m; ++i) {
      temperature.push_back(params[i].temperature);
      kept.emplace_back(d.kept[i]);
    }
    head_logprobs(s.hidden.data(), s.width, s.packed, d.token.data(), temperature.data(), kept,
                  logprob.data(), entropy.data(), nullptr, s.m, cap);
    CHECK(same_bits(logprob, d.logprob));
    CHECK(same_bits(entropy, d.entropy));
  }
}

TEST_CASE("capped logits: the plain ones through cap tanh(z / cap), everywhere the same bits") {
  Scene s(5, 70, 12);
  for (const float cap : {0.5f, 4.0f, 30.0f}) {
    s.cap = cap;
    const Values y = everywhere([&] {
      Values out(s.m * s.vocab);
      head_logits(s.hidden.data(), s.width, s.packed, out.data(), s.m, cap);
      return out;
    });
    for (int64_t i = 0; i < s.m; ++i) {
      CHECK(difference(std::span(y).subspan(i * s.vocab, s.vocab), s.logits(i)) < 1e-6);
    }
  }
  for (const std::string& name : supported_isas()) {
    const Restore restore;
    set_isa(name);
    Values far = {0, 1e6f, -1e6f, 1e30f};
    table().softcap(far.data(), 4, 30);
    CHECK(far == Values{0, 30, -30, 30});
  }
}

TEST_CASE("truncation keeps what it says") {
  const Scene s(48, 100, 16);
  for (const SampleParams& p :
       {SampleParams{1, 5, 1, 0}, {0.8f, 0, 0.7f, 0}, {1, 0, 1, 0.2f}, {1, 20, 0.9f, 0.01f}}) {
    const Drawn d = draw(s, all_rows(s), std::vector<SampleParams>(s.m, p));
    for (int64_t i = 0; i < s.m; ++i) {
      auto z = s.logits(i);
      for (double& v : z) v /= p.temperature;
      std::vector<int32_t> ids(s.vocab);
      std::iota(ids.begin(), ids.end(), 0);
      std::stable_sort(ids.begin(), ids.end(), [&](int a, int b) { return z[a] > z[b]; });
      if (p.top_k > 0) ids.resize(p.top_k);
      double total = 0, mass = 0;
      for (int id : ids) total += std::exp(z[id] - z[ids[0]]);
      size_t n = 0;
      while (n < ids.size() && mass < p.top_p * total) mass += std::exp(z[ids[n++]] - z[ids[0]]);
      ids.resize(p.top_p < 1 ? n : ids.size());
      std::erase_if(ids,
                    [&, best = z[ids[0]]](int id) { return std::exp(z[id] - best) < p.min_p; });
      std::sort(ids.begin(), ids.end());
      CHECK(d.kept[i] == ids);
      CHECK(std::binary_search(ids.begin(), ids.end(), d.token[i]));
      CHECK(std::abs(d.logprob[i] -
                     reference::head(s.logits(i), p.temperature, d.token[i], ids).logprob) < 2e-5);
    }
  }
}

TEST_CASE("greedy takes the first of the largest, and reports the log-prob at temperature 1") {
  Scene s(3, 40, 8);
  // Ids 11 and 30 get the same row of W, which wins.
  for (int64_t j = 0; j < s.width; ++j)
    s.w[11 * s.width + j] = s.w[30 * s.width + j] = 5 * s.hidden[j];
  s.packed.pack(s.w.data(), s.vocab, s.width, s.width);
  const Drawn d = draw(s, all_rows(s), std::vector<SampleParams>(s.m, SampleParams{0, 0, 1, 0}));
  CHECK(d.token[0] == 11);
  CHECK(std::abs(d.logprob[0] - reference::head(s.logits(0), 1, 11, {}).logprob) < 1e-5);
}

TEST_CASE("a draw is the inverse of the cumulative sum") {
  const Restore restore;
  for (const std::string& name : supported_isas()) {
    set_isa(name);
    for (int64_t n : {1, 15, 64, 65, 1000}) {
      Values w = random_values(n, 11);
      for (float& v : w) v = v > -0.5f ? std::abs(v) : 0.0f;  // some ids are impossible
      w[n / 2] = 1;
      reference::Doubles below(n + 1);
      for (int64_t i = 0; i < n; ++i) below[i + 1] = below[i] + w[i];
      const double total = table().row_total(w.data(), n);
      CHECK(std::abs(total - below[n]) < 1e-5 * total);
      for (int k = 0; k <= 2000; ++k) {
        const double target = total * k / 2000;
        const int64_t id = table().row_find(w.data(), n, target);
        REQUIRE(w[id] > 0);
        REQUIRE(below[id] <= target + 1e-5 * total);
        REQUIRE(below[id + 1] >= target - 1e-5 * total);
      }
    }
  }
}

TEST_CASE("draws follow the distribution") {
  const Scene s(1, 50, 8, 0.4);
  const auto z = s.logits(0);
  const auto p = reference::softmax(z);
  constexpr int kDraws = 40'000;
  Values hidden;
  std::vector<StreamKey> keys(kDraws, StreamKey{1, 2, 3, 4});
  std::vector<uint32_t> position(kDraws);
  std::iota(position.begin(), position.end(), 0u);
  for (int i = 0; i < kDraws; ++i) hidden.insert(hidden.end(), s.hidden.begin(), s.hidden.end());
  std::vector<SampleParams> params(kDraws);
  std::vector<int32_t> token(kDraws);
  Values logprob(kDraws);
  head_sample(hidden.data(), s.width, s.packed, params.data(), keys.data(), position.data(),
              token.data(), logprob.data(), nullptr, nullptr, kDraws);
  std::vector<double> count(s.vocab);
  for (int32_t t : token) ++count[t];
  double chi2 = 0;
  for (int64_t i = 0; i < s.vocab; ++i)
    chi2 += (count[i] - kDraws * p[i]) * (count[i] - kDraws * p[i]) / (kDraws * p[i]);
  CHECK(chi2 < 49 + 5 * std::sqrt(2 * 49.0));
}

TEST_CASE("one token of the vocabulary can hold all the mass") {
  Scene s(2, 130, 4);
  for (int64_t i = 0; i < s.vocab; ++i)
    for (int64_t j = 0; j < s.width; ++j)
      s.w[i * s.width + j] = i == 129 ? 400 * s.hidden[j] : -400 * s.hidden[j];
  s.packed.pack(s.w.data(), s.vocab, s.width, s.width);
  const Drawn d = draw(s, std::vector<int32_t>{0}, std::vector<SampleParams>(2));
  CHECK(d.token[0] == 129);
  CHECK(d.logprob[0] == 0.0f);
  CHECK(d.entropy[0] == 0.0f);
}

TEST_CASE("gradients of the head agree with finite differences") {
  const Scene s(3, 11, 5);
  const Values temperature = {1.0f, 0.7f, 1.5f}, dlogprob = random_values(3, 7),
               dentropy = random_values(3, 8);
  const std::vector<int32_t> some = [&] {
    std::vector<int32_t> ids = {s.target[1], (s.target[1] + 3) % 11, (s.target[1] + 7) % 11};
    std::sort(ids.begin(), ids.end());
    return ids;
  }();
  const std::vector<KeptSet> kept = {{}, some, {}};
  for (const auto& [truncated, cap] :
       {std::pair{false, 0.0f}, {true, 0.0f}, {false, 1.5f}, {true, 1.5f}}) {
    const std::span<const KeptSet> sets =
        truncated ? std::span<const KeptSet>(kept) : std::span<const KeptSet>();
    const Values g = everywhere([&, cap = cap] {
      Values out(s.hidden.size() + s.w.size());
      head_backward(s.hidden.data(), s.width, s.packed, s.target.data(), temperature.data(), sets,
                    dlogprob.data(), dentropy.data(), out.data(), s.width,
                    out.data() + s.hidden.size(), s.m, {}, cap);
      return out;
    });
    reference::Doubles x = doubles(s.hidden);
    const auto w = doubles(s.w);
    x.insert(x.end(), w.begin(), w.end());
    const auto expected = reference::gradient(
        [&, truncated = truncated, cap = cap](const reference::Doubles& p) {
          double sum = 0;
          for (int64_t i = 0; i < s.m; ++i) {
            const auto z = capped(
                reference::product(
                    std::span(p).subspan(i * s.width, s.width),
                    reference::transpose(std::span(p).subspan(s.hidden.size()), s.vocab, s.width),
                    1, s.width, s.vocab),
                cap);
            const auto row =
                reference::head(z, temperature[i], s.target[i], truncated ? kept[i] : KeptSet());
            sum += dlogprob[i] * row.logprob + dentropy[i] * row.entropy;
          }
          return sum;
        },
        x);
    CHECK(difference(g, expected) < 2e-5);
  }
}

TEST_CASE(
    "rows over several tiles of logits give the bits of single rows, gradients do not need the "
    "head's") {
  const Scene s(600, 9000, 8);
  const Values ones(s.m, 1.0f);
  Values logprob(s.m), entropy(s.m), dhidden(s.m * s.width), dw(s.w.size()), frozen(s.m * s.width);
  head_logprobs(s.hidden.data(), s.width, s.packed, s.target.data(), ones.data(), {},
                logprob.data(), entropy.data(), nullptr, s.m);
  head_backward(s.hidden.data(), s.width, s.packed, s.target.data(), ones.data(), {}, ones.data(),
                nullptr, dhidden.data(), s.width, dw.data(), s.m);
  head_backward(s.hidden.data(), s.width, s.packed, s.target.data(), ones.data(), {}, ones.data(),
                nullptr, frozen.data(), s.width, nullptr, s.m);
  CHECK(same_bits(frozen, dhidden));
  for (int64_t i : {0, 231, 232, 233, 599}) {
    float one = 0;
    head_logprobs(s.hidden.data() + i * s.width, s.width, s.packed, s.target.data() + i,
                  ones.data(), {}, &one, nullptr, nullptr, 1);
    CHECK(one == logprob[i]);
  }
}

TEST_CASE("a part of the head's gradient adds what it would add alone, in its turn") {
  for (const int64_t vocab : {300, 60'000}) {  // tiles of many chunks, and of less than one
    const Scene s(vocab == 300 ? 700 : 400, vocab, 8);
    const Values ones(s.m, 1.0f), dlogprob = random_values(s.m, 4);
    const std::vector<int64_t> parts = {0, 3, 170, 333};
    Values dhidden(s.m * s.width), dw(s.w.size(), 0.5f), one_dhidden(s.m * s.width),
        one_dw(s.w.size(), 0.5f);
    head_backward(s.hidden.data(), s.width, s.packed, s.target.data(), ones.data(), {},
                  dlogprob.data(), nullptr, dhidden.data(), s.width, dw.data(), s.m, parts);
    for (size_t p = 0; p < parts.size(); ++p) {
      const int64_t begin = parts[p], rows = (p + 1 < parts.size() ? parts[p + 1] : s.m) - begin;
      head_backward(s.hidden.data() + begin * s.width, s.width, s.packed, s.target.data() + begin,
                    ones.data(), {}, dlogprob.data() + begin, nullptr,
                    one_dhidden.data() + begin * s.width, s.width, one_dw.data(), rows);
    }
    CHECK(same_bits(dhidden, one_dhidden));
    CHECK(same_bits(dw, one_dw));
  }
}

TEST_CASE("bad targets and kept sets are refused") {
  const Scene s(1, 20, 4);
  const float one = 1;
  float out = 0;
  const int32_t beyond = 20;
  CHECK_THROWS(
      head_logprobs(s.hidden.data(), 4, s.packed, &beyond, &one, {}, &out, nullptr, nullptr, 1));
  const int32_t target = 3;
  for (const std::vector<int32_t>& ids :
       {std::vector<int32_t>{1, 2}, {3, 1}, {3, 25}, {-1, 3}, {3, 3}}) {
    const std::vector<KeptSet> kept = {ids};
    CHECK_THROWS(head_logprobs(s.hidden.data(), 4, s.packed, &target, &one, kept, &out, nullptr,
                               nullptr, 1));
  }
}

TEST_CASE("logits are the products") {
  const Scene s(4, 33, 12);
  Values z(s.m * s.vocab);
  head_logits(s.hidden.data(), s.width, s.packed, z.data(), s.m);
  for (int64_t i = 0; i < s.m; ++i)
    CHECK(difference(std::span(z).subspan(i * s.vocab, s.vocab), s.logits(i)) < 2e-6);
}

}  // namespace
}  // namespace zeroth::kernels
