#include "tinker/losses.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace zeroth;
using namespace zeroth::tinker;

namespace {

PolicyConfig model() {
  PolicyConfig config;
  config.vocab_size = 50;
  config.max_position = 8;
  return config;
}

Tensor real(std::vector<float> values) {
  const auto n = static_cast<int64_t>(values.size());
  return {{n}, false, std::move(values), {}};
}

Tensor whole(std::vector<int64_t> values) {
  const auto n = static_cast<int64_t>(values.size());
  return {{n}, true, {}, std::move(values)};
}

// Four tokens whose ratios lie on all sides of the thresholds, for both signs of the advantage.
LossRequest request(const std::string& loss) {
  LossRequest out;
  out.loss = loss;
  Datum datum;
  datum.tokens = {1, 2, 3, 4, 5, 6};
  datum.inputs["target_tokens"] = whole({2, 3, 4, 5, 6, 7});
  if (loss == "cross_entropy") {
    datum.inputs["weights"] = real({0, 1, 0.5f, 2, -1, 1});
  } else {
    datum.inputs["logprobs"] = real({0, -1.5f, -1, -0.5f, -1.5f, -0.5f});
    datum.inputs["advantages"] = real({0, 1, 0.5f, 2, -1, -3});
  }
  out.data = {datum};
  return out;
}

const std::vector<float> kLogprobs = {-9, -1, -1.01f, -1, -1, -1};

double total(const LossRequest& request, const std::vector<float>& logprobs) {
  Loss loss(request, model());
  std::vector<float> losses, gradient(logprobs.size());
  loss.add(0, logprobs.data(), losses, gradient.data());
  return loss.metrics().at("loss:sum");
}

}  // namespace

TEST_CASE("gradients are those of the losses") {
  for (const char* name : {"cross_entropy", "importance_sampling", "ppo", "cispo", "dro"}) {
    CAPTURE(name);
    const LossRequest asked = request(name);
    Loss loss(asked, model());
    std::vector<float> losses, gradient(kLogprobs.size());
    loss.add(0, kLogprobs.data(), losses, gradient.data());
    double sum = 0;
    for (const float one : losses) sum += one;
    CHECK(sum == doctest::Approx(loss.metrics().at("loss:sum")).epsilon(1e-6));
    for (size_t i = 0; i < kLogprobs.size(); ++i) {
      CAPTURE(i);
      std::vector<float> up = kLogprobs, down = kLogprobs;
      up[i] += 1.0f / 1024;
      down[i] -= 1.0f / 1024;
      double slope = (total(asked, up) - total(asked, down)) * 512;
      if (std::string(name) == "cispo") {  // its weight is a constant
        const double given = asked.data[0].inputs.at("logprobs").real[i];
        const double ratio = std::exp(kLogprobs[i] - given);
        slope =
            -std::min(std::max(ratio, 0.8), 1.2) * asked.data[0].inputs.at("advantages").real[i];
      }
      CHECK(gradient[i] == doctest::Approx(slope).epsilon(1e-3));
    }
  }
}

TEST_CASE("values by hand") {
  // r = exp(.5) = 1.6487 at the first with an advantage; clipped to 1.2 where that is less.
  LossRequest one = request("ppo");
  one.data[0].inputs["advantages"] = real({0, 1, 0, 0, 0, 0});
  CHECK(total(one, kLogprobs) == doctest::Approx(-1.2));
  one.config["clip_high_threshold"] = 1.5;
  CHECK(total(one, kLogprobs) == doctest::Approx(-1.5));
  one.data[0].inputs["clip_high_threshold"] = real({1, 1.3f, 1, 1, 1, 1});  // token by token
  CHECK(total(one, kLogprobs) == doctest::Approx(-1.3));
  one.data[0].inputs["advantages"] = real({0, -1, 0, 0, 0, 0});
  CHECK(total(one, kLogprobs) == doctest::Approx(std::exp(0.5)));
  LossRequest dro = request("dro");
  dro.data[0].inputs["advantages"] = real({0, 2, 0, 0, 0, 0});
  dro.data[0].inputs["logprobs"] = real({-9, -1.5f, -1.01f, -1, -1, -1});
  CHECK(total(dro, kLogprobs) == doctest::Approx(-(2 * -1.0 - 0.05 / 2 * 0.25)));
  LossRequest plain = request("cross_entropy");
  plain.data[0].inputs.erase("weights");
  CHECK(total(plain, kLogprobs) == doctest::Approx(9 + 1 + 1.01 + 3));
  // A prompt's log-probs are nobody's: no ratio of theirs may become NaN.
  LossRequest far = request("importance_sampling");
  far.data[0].inputs["logprobs"].real[0] = -2000;
  CHECK(std::isfinite(total(far, kLogprobs)));
}

TEST_CASE("distances are told of tokens with an advantage") {
  const LossRequest asked = request("importance_sampling");
  Loss loss(asked, model());
  std::vector<float> losses, gradient(kLogprobs.size());
  loss.add(0, kLogprobs.data(), losses, gradient.data());
  CHECK(loss.metrics().at("sampling_logp_difference:max") == doctest::Approx(0.5));
  CHECK(loss.metrics().at("ratio:min") == doctest::Approx(std::exp(-0.5)));
  CHECK(loss.metrics().at("ratio:max") == doctest::Approx(std::exp(0.5)));
}
