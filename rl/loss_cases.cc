#include "rl/loss_cases.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "core/error.h"
#include "core/json_lines.h"

namespace zeroth {
namespace {

using Matrix = std::vector<std::vector<double>>;

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// A case as recorded. Fields that a file leaves out keep what they stand for: every token counts,
// nothing is accumulated, the sampler is the old policy.
struct LossCase {
  int64_t id = 0;
  std::string recorded_type, recorded_level;
  LossConfig config;
  double max_tokens = 0, loss = 0;
  double num_items = 0;  // 0: the tokens of the case
  double accumulation = 1, steps_per_generation = 1;
  std::vector<double> lengths, advantages;
  Matrix logprobs, old_logprobs, ref_logprobs, sampler_logprobs, mask, entropies;
  Matrix gradient, entropy_gradient;
};

double number_or(const Json& row, const char* name, double otherwise) {
  const auto value = row.find(name);
  return value == row.end() || value->is_null() ? otherwise : value->get<double>();
}

// A matrix whose entries may be null (NaN then); empty when the field is absent or null.
Matrix matrix_or_none(const Json& row, const char* name) {
  const auto value = row.find(name);
  Matrix matrix;
  if (value == row.end() || value->is_null()) return matrix;
  for (const Json& line : *value) {
    std::vector<double> numbers;
    for (const Json& x : line) numbers.push_back(x.is_null() ? kUnknown : x.get<double>());
    matrix.push_back(std::move(numbers));
  }
  return matrix;
}

// The settings of the run's config that stand for TRL's.
Json settings_of(const Json& row) {
  Json settings = {{"type", row.at("loss_type")},
                   {"clip_low", row.at("epsilon_low")},
                   {"clip_high", row.at("epsilon_high")},
                   {"delta", number_or(row, "delta", 0)},
                   {"beta", row.at("beta")},
                   {"off_policy_mask_threshold", number_or(row, "off_policy_mask_threshold", 0)},
                   {"entropy_coef", number_or(row, "entropy_coef", 0)},
                   {"top_entropy_quantile", number_or(row, "top_entropy_quantile", 1)}};
  const auto copy = [&](const char* from, const char* to) {
    if (row.contains(from) && !row.at(from).is_null()) settings[to] = row.at(from);
  };
  copy("importance_sampling_level", "importance_sampling");
  copy("kl_importance_weighted", "kl_importance_weighted");
  copy("sapo_tau_pos", "sapo_tau_pos");
  copy("sapo_tau_neg", "sapo_tau_neg");
  copy("sapo_temperature_pos", "sapo_tau_pos");
  copy("sapo_temperature_neg", "sapo_tau_neg");
  for (const char* name : {"vespo_k_pos", "vespo_k_neg", "vespo_lambda_pos", "vespo_lambda_neg"}) {
    copy(name, name);
  }
  if (row.contains("sampler_correction") && !row.at("sampler_correction").is_null()) {
    settings["decoupled"] = true;
    settings["correction"] = row.at("sampler_correction");
    settings["correction_min"] = number_or(row, "sampler_clip_min", 0);
    settings["correction_max"] = number_or(row, "sampler_clip_max", 0);
  }
  // TRL's RLOO: the clipped loss on one ratio per sample; its KL is part of the reward.
  if (row.at("loss_type") == "rloo") {
    settings["type"] = "grpo";
    settings["importance_sampling"] = "sequence_sum";
    settings["beta"] = 0;
  }
  return settings;
}

LossCase parse_case(const Json& row) {
  LossCase c;
  c.id = row.at("id").get<int64_t>();
  load_config(c.config, settings_of(row), "loss case " + std::to_string(c.id));
  c.recorded_type = row.at("loss_type").get<std::string>();
  c.recorded_level = c.config.importance_sampling;
  c.max_tokens = number_or(row, "max_completion_length", 0);
  c.num_items = number_or(row, "num_items_in_batch", 0);
  c.accumulation = number_or(row, "gradient_accumulation_steps", 1);
  c.steps_per_generation = number_or(row, "steps_per_generation", 1);
  c.loss = row.at("loss").get<double>();
  c.lengths = row.at("lengths").get<std::vector<double>>();
  c.advantages = row.at("advantages").get<std::vector<double>>();
  c.logprobs = row.at("logprobs").get<Matrix>();
  c.old_logprobs = row.at("old_logprobs").get<Matrix>();
  c.ref_logprobs = row.at("ref_logprobs").get<Matrix>();
  c.gradient = row.at("grad").get<Matrix>();
  c.sampler_logprobs = matrix_or_none(row, "sampler_logprobs");
  c.mask = matrix_or_none(row, "mask");
  c.entropies = matrix_or_none(row, "entropies");
  c.entropy_gradient = matrix_or_none(row, "grad_entropies");
  return c;
}

void check_shapes(const LossCase& c) {
  const size_t samples = c.lengths.size();
  const auto check = [&](bool good, const char* field) {
    if (!good)
      fail(std::string("field \"") + field + "\" of the case has the wrong shape",
           "record the case again");
  };
  check(samples > 0 && c.advantages.size() == samples, "advantages");
  const std::tuple<const Matrix*, const char*, bool> matrices[] = {
      {&c.logprobs, "logprobs", true},
      {&c.old_logprobs, "old_logprobs", true},
      {&c.ref_logprobs, "ref_logprobs", c.config.beta > 0},
      {&c.gradient, "grad", true},
      {&c.sampler_logprobs, "sampler_logprobs", false},
      {&c.mask, "mask", false},
      {&c.entropies, "entropies", c.config.top_entropy_quantile < 1},
      {&c.entropy_gradient, "grad_entropies", false}};
  for (const auto& [matrix, name, needed] : matrices) {
    if (matrix->empty() && !needed) continue;
    check(matrix->size() == samples, name);
    for (size_t i = 0; i < samples; ++i) {
      const auto width = static_cast<double>((*matrix)[i].size());
      check(c.lengths[i] >= 0 && c.lengths[i] <= width && c.lengths[i] == std::floor(c.lengths[i]),
            name);
    }
  }
}

std::vector<float> first(const Matrix& matrix, size_t i, size_t n) {
  if (matrix.empty()) return {};
  return {matrix[i].begin(), matrix[i].begin() + static_cast<int64_t>(n)};
}

// The samples of a case as the loss takes them.
struct CaseSample {
  std::vector<float> logprob, old, ref, sampler;
  std::vector<uint8_t> mask, keep;
};

std::vector<CaseSample> samples_of(const LossCase& c) {
  std::vector<CaseSample> samples;
  std::vector<float> entropies;
  const bool chooses = c.config.top_entropy_quantile < 1;
  for (size_t i = 0; i < c.lengths.size(); ++i) {
    const auto n = static_cast<size_t>(c.lengths[i]);
    CaseSample s{first(c.logprobs, i, n),
                 first(c.old_logprobs, i, n),
                 first(c.ref_logprobs, i, n),
                 first(c.sampler_logprobs, i, n),
                 {},
                 {}};
    for (float m : first(c.mask, i, n)) s.mask.push_back(m != 0);
    for (size_t t = 0; chooses && t < n; ++t) {
      if (s.mask.empty() || s.mask[t]) entropies.push_back(static_cast<float>(c.entropies[i][t]));
    }
    samples.push_back(std::move(s));
  }
  if (!chooses || entropies.empty()) return samples;
  const float threshold = entropy_threshold(entropies, c.config.top_entropy_quantile);
  for (size_t i = 0; i < samples.size(); ++i) {
    for (size_t t = 0; t < samples[i].logprob.size(); ++t) {
      samples[i].keep.push_back(static_cast<float>(c.entropies[i][t]) >= threshold);
    }
  }
  return samples;
}

// Dividing a loss by the accumulated micro-batches is the same as counting that many times as much.
LossScope scope_of(const LossCase& c, const std::vector<CaseSample>& samples) {
  LossScope scope;
  double kept = 0;
  for (const CaseSample& s : samples) {
    for (size_t t = 0; t < s.logprob.size(); ++t) {
      const bool counts = s.mask.empty() || s.mask[t] != 0;
      scope.tokens += counts;
      kept += counts && (s.keep.empty() || s.keep[t] != 0);
    }
  }
  const double items = c.num_items > 0 ? c.num_items : scope.tokens;
  scope.step_tokens = items * c.accumulation / c.steps_per_generation;
  scope.tokens *= c.accumulation;
  scope.samples = static_cast<double>(samples.size()) * c.accumulation;
  scope.max_tokens = c.max_tokens;
  scope.entropy_tokens = kept * c.accumulation;
  return scope;
}

// The largest absolute entry of a recorded gradient, and the largest difference from it.
struct Gap {
  double scale = 0, difference = 0;
  void see(double got, double expected) {
    scale = std::max(scale, std::abs(expected));
    difference = std::max(difference, std::abs(got - expected));
  }
  double relative() const { return difference == 0 ? 0 : difference / std::max(scale, 1e-30); }
};

LossCaseResult evaluate(const LossCase& c) {
  const PolicyLoss policy_loss(c.config);
  const std::vector<CaseSample> samples = samples_of(c);
  const LossScope scope = scope_of(c, samples);
  const double by_entropy = PolicyLoss::entropy_gradient(scope, c.config.entropy_coef);
  double magnitude = 0, before = 0, bonus = 0;
  Gap gradients, entropy_gradients;
  LossStats stats;
  for (size_t i = 0; i < samples.size(); ++i) {
    const CaseSample& s = samples[i];
    const size_t n = s.logprob.size();
    std::vector<double> gradient(n);
    policy_loss.add(scope, {s.logprob, s.old, s.ref, s.keep, c.advantages[i], s.sampler, s.mask},
                    gradient, stats);
    magnitude += std::abs(stats.loss - before);
    before = stats.loss;
    for (size_t t = 0; t < c.gradient[i].size(); ++t) {
      gradients.see(t < n ? gradient[t] : 0.0, c.gradient[i][t]);
    }
    for (size_t t = 0; t < n && c.config.entropy_coef > 0; ++t) {
      const bool counts = (s.mask.empty() || s.mask[t]) && (s.keep.empty() || s.keep[t]);
      if (counts) bonus += by_entropy * c.entropies[i][t];
      if (!c.entropy_gradient.empty()) {
        entropy_gradients.see(counts ? by_entropy : 0, c.entropy_gradient[i][t]);
      }
    }
  }
  LossCaseResult result;
  result.id = c.id;
  result.type = c.recorded_type;
  result.importance_sampling = c.recorded_level;
  result.loss = stats.loss + bonus;
  result.expected_loss = c.loss;
  result.loss_difference =
      std::abs(result.loss - c.loss) / std::max(magnitude + std::abs(bonus), 1e-30);
  result.gradient_difference = std::max(gradients.relative(), entropy_gradients.relative());
  return result;
}

}  // namespace

std::vector<LossCaseResult> evaluate_loss_cases(const std::filesystem::path& path) {
  std::vector<LossCaseResult> results;
  for_each_json_line(path, [&](const Json& row, int64_t line) {
    try {
      const LossCase c = parse_case(row);
      check_shapes(c);
      results.push_back(evaluate(c));
    } catch (const nlohmann::json::exception& error) {
      fail(path.string() + ":" + std::to_string(line) + ": " + error.what(),
           "give every case the fields of tests/data/losses.jsonl or tests/data/losses_2.jsonl");
    } catch (const Error& error) {
      throw Error(error.code(), path.string() + ":" + std::to_string(line) + ": " + error.what(),
                  "");
    }
  });
  if (results.empty())
    fail(path.string() + " holds no loss case", "name a JSON-lines file of recorded losses");
  return results;
}

}  // namespace zeroth
