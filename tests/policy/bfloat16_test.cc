// Weights that are published as bfloat16: forward and backward use the rounded bits, masters keep
// theirs.
#include <cmath>

#include "policy/policy.h"
#include "policy/scoring.h"
#include "policy/weights.h"
#include "support.h"

namespace zeroth::test {
namespace {

using kernels::Element;

const std::vector<std::vector<TokenId>> kSequences = {{1, 5, 9, 2, 7, 3, 3, 8, 1, 4},
                                                      {2, 2, 6, 11, 4}};

struct Scores {
  std::vector<std::vector<float>> logprobs;
  std::vector<float> grads;
};
Scores scores_of(const Policy& policy, Activations::Mode mode = Activations::Mode::kFull) {
  Scores out;
  out.grads.resize(policy.parameters().values().size());
  for_each_pass(policy.config(), kSequences, 4096, [&](const TargetBatch& batch) {
    const int64_t m = batch.responses(), width = policy.config().width;
    Activations saved(mode);
    KvCache cache(policy.config(), batch.packed.pages());
    std::vector<float> hidden(m * width), dhidden(m * width), logprobs(m), dlogprob(m, -1.0f);
    policy.forward(batch.packed.view(), cache, hidden.data(), &saved);
    policy.weights()->logprobs(hidden.data(), m, batch.target.data(), batch.temperature.data(), {},
                               logprobs.data(), nullptr);
    append_by_sequence(batch, logprobs, out.logprobs);
    policy.logprobs_backward(hidden.data(), m, batch.target.data(), batch.temperature.data(), {},
                             dlogprob.data(), nullptr, dhidden.data(), out.grads);
    policy.backward(batch.packed.view(), cache, saved, dhidden.data(), out.grads);
  });
  return out;
}

TEST_CASE("every model published as bfloat16 is its bfloat16 checkpoint, bit for bit") {
  for (const NamedModel& model : all_models()) {
    CAPTURE(model.name);
    const TempDir whole, half;
    model.policy->save(whole.path(), {});
    model.policy->save(half.path(), {.bfloat16 = true});
    const auto published = Policy::load(whole.path(), Element::kBfloat16);
    const auto rounded = Policy::load(half.path());
    CHECK(same_bits(published->parameters().values(), model.policy->parameters().values()));
    CHECK(published->weights()->element() == Element::kBfloat16);

    const Scores a = scores_of(*published), b = scores_of(*rounded);
    CHECK(a.logprobs == b.logprobs);
    CHECK(a.logprobs != scores_of(*model.policy).logprobs);
    CHECK(same_bits(a.grads, b.grads));
    CHECK(same_bits(scores_of(*published, Activations::Mode::kCheckpoint).grads, a.grads));

    // Without masters too, from either file; the hash is that of the bits.
    const WeightsPtr light = load_weights(whole.path(), Element::kBfloat16);
    CHECK(score_sequences(*light, kSequences) == a.logprobs);
    const std::string hash = published->weights()->sha256();
    CHECK(light->sha256() == hash);
    CHECK(load_weights(half.path(), Element::kBfloat16)->sha256() == hash);
    CHECK(model.policy->weights()->sha256() != hash);
  }
}

TEST_CASE("bfloat16 takes half the memory of the published weights") {
  for (const std::string& family : families()) {
    CAPTURE(family);
    const int64_t whole = load_weights(fixture(family))->bytes();
    const int64_t half = load_weights(fixture(family), Element::kBfloat16)->bytes();
    CHECK(half >= whole / 2);
    CHECK(half < whole * 0.56);  // norms and biases stay floats, in whole cache lines
  }
}

TEST_CASE("masters gather what one step of bfloat16 does not show") {
  const auto policy = Policy::load(fixture("qwen2"), Element::kBfloat16);
  // A matrix value that is a bfloat16, moved by a fifth of the distance to the next one.
  const ParameterInfo& info = policy->parameters().infos().front();
  float& value = policy->parameters().view(info)[3];
  value = 1.0f;
  const std::string before = policy->publish(1)->sha256();
  const float step = 0.2f / 128;
  value += step;
  CHECK(policy->publish(2)->sha256() == before);
  value += step;
  CHECK(policy->publish(3)->sha256() == before);
  value += step;
  CHECK(value == doctest::Approx(1 + 3 * step));
  CHECK(policy->publish(4)->sha256() != before);
  value = 1.0f + 1.0f / 128;
  CHECK(policy->publish(5)->sha256() == policy->publish(4)->sha256());
}

TEST_CASE("selection biases keep every bit") {
  const auto policy = Policy::load(fixture("deepseek_v3"), Element::kBfloat16);
  int biases = 0;
  for (const ParameterInfo& info : policy->parameters().infos()) {
    const bool bias = info.name.ends_with("e_score_correction_bias");
    CHECK(info.exact() == bias);
    if (!bias) continue;
    ++biases;
    const std::string before = policy->weights()->sha256();
    float& value = policy->parameters().view(info)[0];
    value = std::nextafter(value, 10.0f);
    CHECK(policy->publish(1)->sha256() != before);
  }
  CHECK(biases > 0);
}

}  // namespace
}  // namespace zeroth::test
