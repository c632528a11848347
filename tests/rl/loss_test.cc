#include "rl/loss.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/error.h"
#include "core/rng.h"
#include "rl/loss_cases.h"

using namespace zeroth;

namespace {

struct Batch {
  std::vector<std::vector<float>> logprob, old_logprob, ref_logprob;
  std::vector<std::vector<uint8_t>> keep;
  std::vector<double> advantage;
  // Empty, or one row a sample.
  std::vector<std::vector<float>> sampler_logprob;
  std::vector<std::vector<uint8_t>> loss_mask;
  std::vector<std::vector<double>> token_advantage;
  std::vector<std::vector<uint8_t>> covariant;

  std::span<const float> sampler(size_t i) const {
    return sampler_logprob.empty() ? std::span<const float>() : sampler_logprob[i];
  }
  std::span<const uint8_t> mask(size_t i) const {
    return loss_mask.empty() ? std::span<const uint8_t>() : loss_mask[i];
  }
};

Batch random_batch(uint64_t seed, bool with_keep) {
  Rng rng(seed, 1);
  Batch batch;
  for (int i = 0; i < 4; ++i) {
    const size_t n = 1 + rng.below(6);
    std::vector<float> lp, old, ref;
    std::vector<uint8_t> keep;
    for (size_t t = 0; t < n; ++t) {
      lp.push_back(static_cast<float>(-3 * rng.uniform()));
      old.push_back(lp.back() + static_cast<float>(0.3 * rng.normal()));
      ref.push_back(lp.back() + static_cast<float>(0.5 * rng.normal()));
      keep.push_back(rng.chance(0.7));
    }
    batch.logprob.push_back(lp);
    batch.old_logprob.push_back(old);
    batch.ref_logprob.push_back(ref);
    batch.keep.push_back(with_keep ? keep : std::vector<uint8_t>{});
    batch.advantage.push_back(rng.normal());
  }
  return batch;
}

template <class T>
std::span<const T> row_of(const std::vector<std::vector<T>>& rows, size_t i) {
  return rows.empty() ? std::span<const T>() : rows[i];
}

LossScope scope_of(const Batch& batch) {
  LossScope scope;
  for (const auto& row : batch.logprob) scope.tokens += static_cast<double>(row.size());
  scope.step_tokens = 1.5 * scope.tokens;
  scope.samples = static_cast<double>(batch.logprob.size());
  scope.max_tokens = 9;
  return scope;
}

LossStats evaluate(const LossConfig& config, const Batch& batch,
                   std::vector<std::vector<double>>* gradient = nullptr) {
  LossStats stats;
  const LossScope scope = scope_of(batch);
  for (size_t i = 0; i < batch.logprob.size(); ++i) {
    std::vector<double> g(batch.logprob[i].size());
    PolicyLoss(config).add(scope,
                           {batch.logprob[i], batch.old_logprob[i], batch.ref_logprob[i],
                            batch.keep[i], batch.advantage[i], batch.sampler(i), batch.mask(i),
                            row_of(batch.token_advantage, i), row_of(batch.covariant, i)},
                           g, stats);
    if (gradient != nullptr) gradient->push_back(g);
  }
  return stats;
}

// How far `gradient` is from the slope of the loss by one log-prob. Where a clip border lies
// between the two ends, which their counts of clipped ratios show, the slope of the side without it
// counts.
double slope_gap(const LossConfig& config, Batch& batch, size_t i, size_t t, double gradient) {
  float& x = batch.logprob[i][t];
  const float at = x, up = at + 0x1p-9f, down = at - 0x1p-9f;
  const LossStats here = evaluate(config, batch);
  x = up;
  const LossStats plus = evaluate(config, batch);
  x = down;
  const LossStats minus = evaluate(config, batch);
  x = at;
  const auto clips = [](const LossStats& s) { return std::pair(s.clipped_low, s.clipped_high); };
  if (clips(plus) == clips(minus)) {
    return std::abs((plus.loss - minus.loss) / (static_cast<double>(up) - down) - gradient);
  }
  const double right = (plus.loss - here.loss) / (static_cast<double>(up) - at);
  const double left = (here.loss - minus.loss) / (static_cast<double>(at) - down);
  return std::abs((clips(plus) == clips(here) ? right : left) - gradient) -
         1e-3 * std::abs(gradient);
}

LossConfig config_of(const std::string& type, const std::string& level) {
  LossConfig config;
  config.type = type;
  config.importance_sampling = level;
  if (type == "cispo") config.clip_high = 2;
  return config;
}

}  // namespace

TEST_CASE("recorded losses and gradients agree within 1e-6") {
  const auto results = evaluate_loss_cases("tests/data/losses.jsonl");
  REQUIRE(results.size() == 44);
  for (const LossCaseResult& r : results) {
    CAPTURE(r.id);
    CHECK(r.loss_difference <= 1e-6);
    CHECK(r.gradient_difference <= 1e-6);
  }
}

TEST_CASE("recorded sampler corrections, masks, entropy quantiles, VESPO, GMPO and RLOO agree") {
  const auto results = evaluate_loss_cases("tests/data/losses_2.jsonl");
  REQUIRE(results.size() == 116);
  for (const LossCaseResult& r : results) {
    CAPTURE(r.id);
    CHECK(r.loss_difference <= 1e-6);
    CHECK(r.gradient_difference <= 1e-6);
  }
}

TEST_CASE("the gradient is the loss's derivative, for every type, level and switch") {
  for (const char* type : {"grpo", "bnpo", "dr_grpo", "dapo", "sapo", "luspo"}) {
    for (const char* level : {"token", "sequence", "sequence_sum"}) {
      for (int variant = 0; variant < 6; ++variant) {
        CAPTURE(type);
        CAPTURE(level);
        CAPTURE(variant);
        LossConfig config = config_of(type, level);
        config.beta = variant % 2 == 1 ? 0.1 : 0;
        config.kl_importance_weighted = variant >= 3;
        config.delta = variant == 2 ? 1.4 : 0;
        Batch batch = random_batch(10 + variant, variant >= 4);
        std::vector<std::vector<double>> gradient;
        evaluate(config, batch, &gradient);
        for (size_t i = 0; i < batch.logprob.size(); ++i) {
          for (size_t t = 0; t < batch.logprob[i].size(); ++t) {
            // The quotient's own error is of order h^2 = 4e-6.
            CHECK(slope_gap(config, batch, i, t, gradient[i][t]) < 2e-5);
          }
        }
      }
    }
  }
}

TEST_CASE("cispo passes the capped ratio through as a constant") {
  LossConfig config = config_of("cispo", "token");
  const std::vector<float> lp = {-1, -1, -1}, old = {-1, -3, -0.5f};
  std::vector<double> gradient(3);
  LossStats stats;
  LossScope scope{3, 3, 1, 8, 3};
  PolicyLoss(config).add(scope, {lp, old, {}, {}, 0.6}, gradient, stats);
  CHECK(gradient[0] == doctest::Approx(-0.6 / 3));
  CHECK(gradient[1] == doctest::Approx(-0.6 * 2 / 3));  // ratio e^2, capped at 2
  CHECK(gradient[2] == doctest::Approx(-0.6 * std::exp(-0.5) / 3));
  CHECK(stats.clipped_high == 1);
}

TEST_CASE("on-policy every clipped loss has the policy gradient -A times its token weight") {
  const std::vector<float> lp = {-0.25f, -2, -1.5f};
  for (const char* type : {"grpo", "bnpo", "dr_grpo", "dapo", "luspo"}) {
    CAPTURE(type);
    std::vector<double> gradient(3);
    LossStats stats;
    const LossScope scope{12, 12, 4, 10, 12};
    PolicyLoss(config_of(type, "token")).add(scope, {lp, lp, {}, {}, -0.75}, gradient, stats);
    const std::string name = type;
    const double weight = name == "grpo"      ? 1 / (4.0 * 3)
                          : name == "dr_grpo" ? 1 / 40.0
                          : name == "luspo"   ? 0.25
                                              : 1 / 12.0;
    for (double g : gradient) CHECK(g == doctest::Approx(0.75 * weight).epsilon(1e-14));
    CHECK(stats.ratio_min == 1);
    CHECK(stats.ratio_max == 1);
  }
}

TEST_CASE("off-policy mask drops only samples of negative advantage that drifted") {
  LossConfig config = config_of("dapo", "token");
  config.off_policy_mask_threshold = 0.5;
  const std::vector<float> lp = {-2, -2}, old = {-1, -1};
  std::vector<double> gradient(2);
  const LossScope scope{2, 2, 1, 2, 2};
  LossStats stats;
  PolicyLoss(config).add(scope, {lp, old, {}, {}, -1}, gradient, stats);
  CHECK(stats.off_policy_dropped == 1);
  CHECK(stats.loss == 0);
  CHECK(gradient[0] == 0);
  PolicyLoss(config).add(scope, {lp, old, {}, {}, 1}, gradient, stats);
  CHECK(stats.off_policy_dropped == 1);
  CHECK(gradient[0] != 0);
}

TEST_CASE("corrected, masked and geometric losses have their derivatives as gradients") {
  for (const char* correction :
       {"none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"}) {
    for (const char* type : {"dapo", "gmpo", "sapo"}) {
      CAPTURE(correction);
      CAPTURE(type);
      LossConfig config = config_of(type, "token");
      config.decoupled = true;
      config.correction = correction;
      config.correction_min = 0.9;
      config.correction_max = 1.1;
      config.beta = 0.1;
      if (config.type == "gmpo" && config.correction.starts_with("token")) {
        CHECK_THROWS_AS(config.check(), Error);  // its tokens share one ratio
        continue;
      }
      config.check();
      Batch batch = random_batch(31, true);
      Rng rng(32, 1);
      for (const auto& row : batch.old_logprob) {
        std::vector<float> sampler;
        std::vector<uint8_t> mask;
        for (float old : row) {
          sampler.push_back(old + static_cast<float>(0.2 * rng.normal()));
          mask.push_back(mask.empty() || rng.chance(0.8));
        }
        sampler[0] = std::nanf("");  // a token that the sampler could not score
        batch.sampler_logprob.push_back(sampler);
        batch.loss_mask.push_back(mask);
      }
      std::vector<std::vector<double>> gradient;
      const LossStats stats = evaluate(config, batch, &gradient);
      if (config.correction != "none") CHECK(stats.weights_bounded > 0);
      for (size_t i = 0; i < batch.logprob.size(); ++i) {
        for (size_t t = 0; t < batch.logprob[i].size(); ++t) {
          if (batch.loss_mask[i][t] == 0) {
            CHECK(gradient[i][t] == 0);
            continue;
          }
          CHECK(slope_gap(config, batch, i, t, gradient[i][t]) < 2e-5);
        }
      }
    }
  }
}

TEST_CASE("an unmasked, uncorrected token counts as if its sampler were the old policy") {
  Batch batch = random_batch(40, false);
  LossConfig config = config_of("dapo", "token");
  const double plain = evaluate(config, batch).loss;
  config.decoupled = true;
  config.correction = "token_truncate";
  batch.sampler_logprob = batch.old_logprob;
  CHECK(evaluate(config, batch).loss == plain);
}

TEST_CASE(
    "tokens with advantages of their own, chosen by covariance, and omd have their derivatives") {
  for (const char* type : {"dapo", "sapo", "grpo", "omd"}) {
    for (const char* covariance : {"none", "clip", "kl"}) {
      CAPTURE(type);
      CAPTURE(covariance);
      LossConfig config = config_of(type, "token");
      config.covariance = covariance;
      config.omd_tau = 0.7;
      config.beta = 0.05;
      if (config.type == "omd" && config.covariance != "none") {
        CHECK_THROWS_AS(config.check(), Error);
        continue;
      }
      config.check();
      Batch batch = random_batch(77, false);
      Rng rng(78, 1);
      for (const auto& row : batch.logprob) {
        auto& advantages = batch.token_advantage.emplace_back();
        auto& covariant = batch.covariant.emplace_back();
        for (size_t t = 0; t < row.size(); ++t) {
          advantages.push_back(rng.normal());
          covariant.push_back(rng.chance(0.4));
        }
      }
      if (config.type == "omd") batch.token_advantage.clear();
      std::vector<std::vector<double>> gradient;
      evaluate(config, batch, &gradient);
      for (size_t i = 0; i < batch.logprob.size(); ++i) {
        for (size_t t = 0; t < batch.logprob[i].size(); ++t)
          CHECK(slope_gap(config, batch, i, t, gradient[i][t]) < 2e-5);
      }
    }
  }
}

TEST_CASE("covariance: clip takes the policy term of the chosen tokens, kl adds |log ratio|") {
  LossConfig config = config_of("dapo", "token");
  const std::vector<float> lp = {-1, -2, -0.5f}, old = {-1.25f, -1.75f, -0.5f};
  const std::vector<uint8_t> chosen = {1, 0, 1};
  const LossScope scope{3, 3, 1, 8, 3};
  std::vector<double> plain(3), clip(3), kl(3);
  LossStats stats;
  const auto run = [&](std::vector<double>& gradient) {
    stats = {};
    PolicyLoss(config).add(scope, {lp, old, {}, {}, 0.5, {}, {}, {}, chosen}, gradient, stats);
    return stats.loss;
  };
  const double without = run(plain);
  config.covariance = "clip";
  run(clip);
  CHECK(clip[0] == 0);
  CHECK(clip[1] == plain[1]);
  CHECK(clip[2] == 0);
  config.covariance = "kl";
  config.covariance_kl_coef = 0.3;
  CHECK(run(kl) == doctest::Approx(without + 0.3 * 0.25 / 3));
  CHECK(kl[0] == doctest::Approx(plain[0] + 0.3 / 3));
  CHECK(kl[1] == plain[1]);
  CHECK(kl[2] == plain[2]);  // equal to the old policy: no pull
}

TEST_CASE("gpg is the advantage times the log-prob, omd Kimi k1.5's squared loss") {
  const std::vector<float> lp = {-1, -2}, old = {-1.5f, -1.75f};
  std::vector<double> gradient(2);
  LossStats stats;
  PolicyLoss(config_of("gpg", "token"))
      .add({2, 4, 1, 8, 2}, {lp, old, {}, {}, 0.5}, gradient, stats);
  CHECK(stats.loss == doctest::Approx(-0.5 * -3 / 4));
  CHECK(gradient[0] == doctest::Approx(-0.5 / 4));
  // arXiv 2501.12599, equation 3: -1/k sum [A grad log p - tau/2 grad s^2], which is the gradient of
  // (A - tau s)^2 / (2 tau).
  LossConfig config = config_of("omd", "token");
  config.omd_tau = 0.8;
  stats = {};
  PolicyLoss(config).add({2, 4, 2, 8, 2}, {lp, old, {}, {}, 0.5}, gradient, stats);
  const double s = 0.25, a = 0.5, tau = 0.8;
  const auto squared = [&](double x) { return (a - tau * x) * (a - tau * x) / (2 * tau); };
  CHECK(stats.loss == doctest::Approx((squared(s) - squared(0)) / 2));
  CHECK(gradient[0] == doctest::Approx((-a + tau * s) / 2));
  CHECK(gradient[1] == gradient[0]);
  // At the policy that sampled it is the policy gradient alone.
  stats = {};
  PolicyLoss(config).add({2, 4, 2, 8, 2}, {lp, lp, {}, {}, 0.5}, gradient, stats);
  CHECK(gradient[0] == doctest::Approx(-a / 2));
}

TEST_CASE("contradictions of a loss are refused by name") {
  const auto message = [](const LossConfig& config) -> std::string {
    try {
      config.check();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  LossConfig config = config_of("gmpo", "sequence");
  CHECK(message(config).find("importance_sampling") != std::string::npos);
  config = config_of("dapo", "token");
  config.correction = "token_mask";
  CHECK(message(config).find("decoupled") != std::string::npos);
  config.decoupled = true;
  CHECK(message(config).empty());
  config.correction_max = 0.5;
  CHECK(message(config).find("correction_max") != std::string::npos);
  config = config_of("vespo", "token");
  config.decoupled = true;
  config.correction = "sequence_mask";
  CHECK(message(config).find("vespo") != std::string::npos);
  config = config_of("gpg", "sequence");
  CHECK(message(config).find("gpg has no ratio") != std::string::npos);
  config = config_of("gmpo", "token");
  config.covariance = "clip";
  CHECK(message(config).find("covariance") != std::string::npos);
  config = config_of("grop", "token");
  CHECK(message(config).find("grop") != std::string::npos);
}

TEST_CASE("the entropy quantile is linear between order statistics") {
  std::vector<float> h = {4, 1, 3, 2};
  CHECK(entropy_threshold(h, 0.5) == doctest::Approx(2.5));
  CHECK(entropy_threshold(h, 1) == 1);
  CHECK(entropy_threshold(h, 0) == 4);
  std::vector<float> one = {7};
  CHECK(entropy_threshold(one, 0.3) == 7);
}

// A policy over three symbols with logits z, one token per completion, so expectations are sums.
namespace {
struct Toy {
  std::vector<double> z = {0.3, -0.2, 0.5}, ref = {0.1, 0.4, -0.3}, reward = {1, 0, 0.25};
  static std::vector<double> softmax(const std::vector<double>& z) {
    double sum = 0;
    std::vector<double> p;
    for (double x : z) sum += std::exp(x);
    for (double x : z) p.push_back(std::exp(x) / sum);
    return p;
  }
};
}  // namespace

TEST_CASE(
    "expected GRPO gradient on an enumerable policy is (1 - 1/G) times that of the expected "
    "reward") {
  const Toy toy;
  const auto p = Toy::softmax(toy.z);
  constexpr int kGroup = 3;
  double expected_reward = 0;
  for (int a = 0; a < 3; ++a) expected_reward += p[a] * toy.reward[a];
  std::vector<double> found(3);
  for (int code = 0; code < 27; ++code) {
    const int actions[kGroup] = {code % 3, code / 3 % 3, code / 9};
    double mean = 0, probability = 1;
    for (int a : actions) {
      mean += toy.reward[a] / kGroup;
      probability *= p[a];
    }
    for (int a : actions) {
      const std::vector<float> lp = {static_cast<float>(std::log(p[a]))};
      std::vector<double> gradient(1);
      LossStats stats;
      PolicyLoss(config_of("grpo", "token"))
          .add({kGroup, kGroup, kGroup, 1, kGroup}, {lp, lp, {}, {}, toy.reward[a] - mean},
               gradient, stats);
      for (int j = 0; j < 3; ++j) found[j] += probability * gradient[0] * ((a == j) - p[j]);
    }
  }
  for (int j = 0; j < 3; ++j) {
    const double exact = p[j] * (toy.reward[j] - expected_reward);  // d E[r] / d z_j
    CHECK(found[j] == doctest::Approx(-(1 - 1.0 / kGroup) * exact).epsilon(1e-12));
  }
}

TEST_CASE("k3 in the loss descends KL(ref||pi); weighted by the ratio it descends KL(pi||ref)") {
  const Toy toy;
  const auto p = Toy::softmax(toy.z), q = Toy::softmax(toy.ref);
  for (bool weighted : {false, true}) {
    CAPTURE(weighted);
    LossConfig config = config_of("grpo", "token");
    config.beta = 1;
    config.kl_importance_weighted = weighted;
    std::vector<double> found(3);
    double kl = 0;
    for (int a = 0; a < 3; ++a) {
      const std::vector<float> lp = {static_cast<float>(std::log(p[a]))},
                               ref = {static_cast<float>(std::log(q[a]))};
      std::vector<double> gradient(1);
      LossStats stats;
      PolicyLoss(config).add({1, 1, 1, 1, 1}, {lp, lp, ref, {}, 0}, gradient, stats);
      kl += p[a] * stats.kl;
      for (int j = 0; j < 3; ++j) found[j] += p[a] * gradient[0] * ((a == j) - p[j]);
    }
    double reverse = 0;
    for (int a = 0; a < 3; ++a) reverse += p[a] * std::log(p[a] / q[a]);
    CHECK(kl == doctest::Approx(reverse).epsilon(1e-6));
    for (int j = 0; j < 3; ++j) {
      const double exact = weighted ? p[j] * (std::log(p[j] / q[j]) - reverse) : p[j] - q[j];
      CHECK(found[j] == doctest::Approx(exact).epsilon(1e-6));
    }
  }
}

TEST_CASE("a malformed case file is named with its line") {
  CHECK_THROWS_WITH_AS(evaluate_loss_cases("tests/data/tiny_base/generation_config.json"),
                       doctest::Contains("generation_config.json:1"), Error);
}
