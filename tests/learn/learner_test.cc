// What a learner tells a collective while it differentiates.
#include "learn/learner.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/rng.h"
#include "policy/scoring.h"
#include "tests/model/support.h"

using namespace zeroth;

namespace {

// What was said to be complete, as it was at that moment.
struct Said {
  std::vector<int64_t> from;
  std::vector<std::vector<float>> values;  // from there on
  int wrong = 0;  // of those, floats that changed before the sum was asked for
};

class Witness : public Alone {
 public:
  explicit Witness(Said& said) : said_(said) {}
  void contribute(GradientTree& gradients, int64_t from) override {
    const std::span<float> all = gradients.parts(from).front().values;
    said_.from.push_back(from);
    said_.values.emplace_back(all.begin() + from, all.end());
  }
  std::span<float> reduce(GradientTree& gradients, std::span<GradientTree* const>) override {
    const std::span<float> sum = gradients.parts().front().values;
    for (size_t i = 0; i < said_.from.size(); ++i) {
      const auto& values = said_.values[i];
      for (size_t k = 0; k < values.size(); ++k)
        said_.wrong += values[k] != sum[static_cast<size_t>(said_.from[i]) + k];
    }
    return sum;
  }

 private:
  Said& said_;
};

// Of four calls in two branches, by what learns.
std::vector<float> gradient_of(Policy& policy, std::unique_ptr<Collective> collective) {
  const PolicyConfig& config = policy.config();
  Learner learner(policy, {}, {Activations::Mode::kFull, 3}, std::move(collective));
  learner.begin();
  Rng rng(1, 1);
  std::vector<float> logprob;
  for (int call = 0; call < 4; ++call) {
    std::vector<TokenId> tokens(6);
    for (TokenId& token : tokens) token = static_cast<TokenId>(rng.below(config.vocab_size));
    const std::vector<std::vector<TokenId>> sequences = {tokens};
    for_each_pass(config, sequences, 1000, [&](const TargetBatch& batch) {
      logprob.resize(batch.target.size());
      learner.forward(batch, logprob.data(), nullptr);
      const std::vector<float> dlogprob(batch.target.size(), -1.0f);
      learner.accumulate(batch, dlogprob.data(), nullptr, {0.01, 20}, call / 2, call == 3);
    });
  }
  const std::span<const float> sum = learner.reduce();
  std::vector<float> out;
  for (const ParameterInfo& info : policy.parameters().infos()) {
    if (info.trainable) out.insert(out.end(), &sum[info.offset], &sum[info.offset] + info.count);
  }
  return out;
}

}  // namespace

TEST_CASE("what is said to be complete gets nothing more, layer by layer, in every family") {
  for (const std::string& family : test::families()) {
    CAPTURE(family);
    const auto policy = Policy::load(test::fixture(family));
    const int layers = policy->config().layers;
    Said said;
    const std::vector<float> want = gradient_of(*policy, nullptr);
    const std::vector<float> got = gradient_of(*policy, std::make_unique<Witness>(said));
    REQUIRE(said.from.size() == static_cast<size_t>(layers));
    CHECK(std::is_sorted(said.from.rbegin(), said.from.rend()));
    CHECK(said.from.front() < static_cast<int64_t>(got.size()));
    CHECK(said.wrong == 0);
    // Nothing was summed too early.
    CHECK(got == want);
  }
}
