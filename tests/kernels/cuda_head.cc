// The head of the device over fibers against the CPU's, by bits: log-probs, draws, gradients.
#include <algorithm>

#include "cuda_test.h"
#include "kernels/cuda/head.h"
#include "kernels/head.h"

namespace zeroth::kernels {
namespace {

const Compared kCompared{"head_logits", "head_sample", "head_logprobs", "head_backward"};

struct Scene {
  int64_t m, vocab, width;
  Values hidden, w;
  CudaWeights weights;
  Values logits;
  std::vector<int32_t> target;
  Values temperature;

  // ties: few different logits, so that truncation has to break ties by id.
  Scene(int64_t rows, int64_t v, int64_t d, bool ties = false)
      : m(rows),
        vocab(v),
        width(d),
        hidden(ties ? Values(rows * d, 0.0f) : random_values(rows * d, 1)),
        w(random_values(v * d, 2)),
        weights(w, v, d, Element::kFloat32),
        logits(rows * v) {
    head_logits(hidden.data(), width, weights.packed, logits.data(), m);
    Rng rng(9, 9);
    for (int64_t i = 0; i < m; ++i) {
      target.push_back(static_cast<int32_t>(rng.below(static_cast<uint32_t>(vocab))));
      temperature.push_back(i % 4 == 0 ? 0.0f : 0.5f + 0.25f * static_cast<float>(i % 4));
    }
  }
};
struct Size {
  int64_t m, vocab;
};
// Less than a vector, than a block of 64 ids, than a piece of 1,024; and more than one of each.
constexpr Size kSizes[] = {{1, 5}, {5, 64}, {3, 70}, {65, 33}, {2, 1500}, {1, 2100}};

std::vector<SampleParams> truncations() {
  return {{1, 0, 1, 0},     {0.7f, 0, 1, 0},          {0, 0, 1, 0},      {1, 1, 1, 0},
          {1, 7, 1, 0},     {1.3f, 0, 0.9f, 0},       {1, 0, 0.3f, 0},   {1, 0, 1, 0.1f},
          {1, 20, 0.8f, 0}, {1.5f, 40, 0.95f, 0.02f}, {2, 0, 0.999f, 0}, {1, 1'000'000, 0.5f, 1}};
}

void check_draws(const Scene& s, const SampleParams& p, int64_t number, bool ties) {
  if (!shapes.add({"head_sample"}, {s.m, s.vocab, number, ties}, 7)) return;
  CAPTURE(s.vocab);
  CAPTURE(p.temperature);
  CAPTURE(p.top_k);
  CAPTURE(p.top_p);
  CAPTURE(p.min_p);
  const std::vector<SampleParams> params(s.m, p);
  std::vector<StreamKey> keys;
  std::vector<uint32_t> position;
  for (int64_t i = 0; i < s.m; ++i) {
    keys.push_back({7'000'000'000u, 1, static_cast<uint32_t>(i), 2});
    position.push_back(static_cast<uint32_t>(3 * i));
  }
  std::vector<int32_t> token(s.m);
  Values logprob(s.m), entropy(s.m);
  std::vector<std::vector<int32_t>> kept(s.m);
  head_sample(s.hidden.data(), s.width, s.weights.packed, params.data(), keys.data(),
              position.data(), token.data(), logprob.data(), entropy.data(), kept.data(), s.m);
  const Array<float> logits(s.logits), alogprob(s.m), aentropy(s.m);
  const Array<SampleParams> aparams(params);
  const Array<StreamKey> akeys(keys);
  const Array<uint32_t> aposition(position);
  const Array<int32_t> atoken(s.m), ids(s.m * s.vocab), count(s.m);
  cuda::head_sample(nullptr, {logits.data(), s.vocab, s.vocab, s.m}, aparams.data(), akeys.data(),
                    aposition.data(), atoken.data(), alogprob.data(), aentropy.data(),
                    {ids.data(), count.data(), s.vocab});
  check_same(atoken, token, "token");
  check_same(alogprob, logprob, "logprob");
  check_same(aentropy, entropy, "entropy");
  const std::vector<int32_t> all = ids.host(), counts = count.host();
  for (int64_t i = 0; i < s.m; ++i) {
    const auto first = all.begin() + i * s.vocab;
    const std::vector<int32_t> got(first, first + counts[i]);
    CHECK(got == kept[i]);
  }
}

TEST_CASE("draws give the CPU's tokens, bits and kept sets under every truncation") {
  const std::vector<SampleParams> all = truncations();
  const auto count = static_cast<int64_t>(all.size());
  for (const Size& size : kSizes) {
    for (const bool ties : {false, true}) {
      const Scene s(size.m, size.vocab, 8, ties);
      for (int64_t i = 0; i < count; ++i) check_draws(s, all[i], i, ties);
    }
  }
  for (Draw draw(1); shapes.wanting("head_sample");) {
    const int64_t m = draw.between(1, 5);
    const Scene s(m, draw.between(2, 150), 8);
    const int64_t i = draw.between(0, count - 1);
    check_draws(s, all[i], i, false);
  }
}

// Every third row keeps some ids, its target among them.
std::vector<std::vector<int32_t>> some_kept(const Scene& s) {
  std::vector<std::vector<int32_t>> kept(s.m);
  for (int64_t i = 0; i < s.m; i += 3) {
    for (int32_t id = static_cast<int32_t>(i % 2); id < s.vocab; id += 2) kept[i].push_back(id);
    kept[i].push_back(s.target[i]);
    std::sort(kept[i].begin(), kept[i].end());
    kept[i].erase(std::unique(kept[i].begin(), kept[i].end()), kept[i].end());
  }
  return kept;
}

void check_log_probs(const Size& size, bool with_kept, float cap) {
  if (!shapes.add({"head_logits", "head_logprobs", "head_backward"},
                  {size.m, size.vocab, with_kept, static_cast<int64_t>(10 * cap)})) {
    return;
  }
  const Scene s(size.m, size.vocab, 8);
  CAPTURE(size.vocab);
  CAPTURE(with_kept);
  const std::vector<std::vector<int32_t>> sets = some_kept(s);
  std::vector<KeptSet> kept;
  std::vector<int32_t> ids(s.m * s.vocab), count(s.m);
  for (int64_t i = 0; with_kept && i < s.m; ++i) {
    kept.emplace_back(sets[i]);
    std::copy(sets[i].begin(), sets[i].end(), ids.begin() + i * s.vocab);
    count[i] = static_cast<int32_t>(sets[i].size());
  }
  Values logprob(s.m), entropy(s.m), lse(s.m);
  head_logprobs(s.hidden.data(), s.width, s.weights.packed, s.target.data(), s.temperature.data(),
                kept, logprob.data(), entropy.data(), lse.data(), s.m, cap);
  const Array<float> hidden(s.hidden), logits(s.m * s.vocab), temperature(s.temperature);
  const Array<int32_t> target(s.target), aids(ids), acount(count);
  const Array<float> alogprob(s.m), aentropy(s.m), alse(s.m);
  const cuda::LogitRows rows{logits.data(), s.vocab, s.vocab, s.m, cap};
  cuda::KeptRows akept;
  if (with_kept) akept = {aids.data(), acount.data(), s.vocab};
  cuda::linear(nullptr, hidden.data(), s.width, s.weights.weights(), nullptr, logits.data(),
               s.vocab, s.m);
  check_same(logits, s.logits, "logits");
  if (cap > 0) {
    Values capped(s.m * s.vocab);
    head_logits(s.hidden.data(), s.width, s.weights.packed, capped.data(), s.m, cap);
    cuda::softcap(nullptr, rows);
    check_same(logits, capped, "capped logits");
  }
  cuda::head_logprobs(nullptr, rows, target.data(), temperature.data(), akept, alogprob.data(),
                      aentropy.data(), alse.data());
  check_same(alogprob, logprob, "logprob");
  check_same(aentropy, entropy, "entropy");
  check_same(alse, lse, "lse");

  const Values dlogprob = random_values(s.m, 3), dentropy = random_values(s.m, 4);
  Values dhidden(s.m * s.width), dw(s.vocab * s.width);
  const Array<float> adw(dw);
  head_backward(s.hidden.data(), s.width, s.weights.packed, s.target.data(), s.temperature.data(),
                kept, dlogprob.data(), dentropy.data(), dhidden.data(), s.width, dw.data(), s.m, {},
                cap);
  const Array<float> adlogprob(dlogprob), adentropy(dentropy), adhidden(s.m * s.width);
  cuda::head_gradient(nullptr, rows, target.data(), temperature.data(), akept, adlogprob.data(),
                      adentropy.data());
  cuda::linear_backward_input(nullptr, logits.data(), s.vocab, s.weights.weights(), adhidden.data(),
                              s.width, s.m, false);
  check_same(adhidden, dhidden, "dhidden");
  const DeviceBounds parts({0, s.m});
  cuda::linear_backward_weight(nullptr, logits.data(), s.vocab, hidden.data(), s.width, adw.data(),
                               s.width, nullptr, s.vocab, s.width, parts.bounds());
  check_same(adw, dw, "dw");
}

TEST_CASE("log-probs, entropies and gradients have the CPU's bits, kept sets and caps included") {
  for (const float cap : {0.0f, 1.5f}) {
    for (const Size& size : kSizes) {
      for (const bool with_kept : {false, true}) check_log_probs(size, with_kept, cap);
    }
  }
  for (Draw draw(2); shapes.wanting("head_logprobs");) {
    const Size size = {draw.between(1, 6), draw.between(2, 150)};
    check_log_probs(size, draw.coin(), draw.coin() ? 1.5f : 0.0f);
  }
}

TEST_CASE("the head was compared on 200 shapes") { kCompared.check(); }

}  // namespace
}  // namespace zeroth::kernels
