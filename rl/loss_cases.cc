#include "rl/loss_cases.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/json_lines.h"

namespace zeroth {
namespace {

using Matrix = std::vector<std::vector<double>>;

struct LossCase {
  int64_t id = 0;
  LossConfig config;
  double max_tokens = 0, loss = 0;
  std::vector<double> lengths, advantages;
  Matrix logprobs, old_logprobs, ref_logprobs, gradient;
};

LossCase parse_case(const Json& row) {
  LossCase c;
  c.id = row.at("id").get<int64_t>();
  const auto number_or_none = [&](const char* name) {
    return row.at(name).is_null() ? 0.0 : row.at(name).get<double>();
  };
  Json settings = {{"type", row.at("loss_type")},
                   {"importance_sampling", row.at("importance_sampling_level")},
                   {"clip_low", row.at("epsilon_low")},
                   {"clip_high", row.at("epsilon_high")},
                   {"delta", number_or_none("delta")},
                   {"beta", row.at("beta")},
                   {"kl_importance_weighted", row.at("kl_importance_weighted")},
                   {"off_policy_mask_threshold", number_or_none("off_policy_mask_threshold")}};
  for (const char* name : {"sapo_tau_pos", "sapo_tau_neg"}) {
    if (row.contains(name)) settings[name] = row.at(name);
  }
  load_config(c.config, settings, "loss case " + std::to_string(c.id));
  c.max_tokens = row.at("max_completion_length").get<double>();
  c.loss = row.at("loss").get<double>();
  c.lengths = row.at("lengths").get<std::vector<double>>();
  c.advantages = row.at("advantages").get<std::vector<double>>();
  c.logprobs = row.at("logprobs").get<Matrix>();
  c.old_logprobs = row.at("old_logprobs").get<Matrix>();
  c.ref_logprobs = row.at("ref_logprobs").get<Matrix>();
  c.gradient = row.at("grad").get<Matrix>();
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
  const std::pair<const Matrix*, const char*> matrices[] = {{&c.logprobs, "logprobs"},
                                                            {&c.old_logprobs, "old_logprobs"},
                                                            {&c.ref_logprobs, "ref_logprobs"},
                                                            {&c.gradient, "grad"}};
  for (const auto& [matrix, name] : matrices) {
    check(matrix->size() == samples, name);
    for (size_t i = 0; i < samples; ++i) {
      const auto width = static_cast<double>((*matrix)[i].size());
      check(c.lengths[i] >= 0 && c.lengths[i] <= width && c.lengths[i] == std::floor(c.lengths[i]),
            name);
    }
  }
}

std::vector<float> first(const std::vector<double>& row, size_t n) {
  return {row.begin(), row.begin() + n};
}

LossCaseResult evaluate(const LossCase& c) {
  LossScope scope;
  for (double length : c.lengths) scope.tokens += length;
  scope.step_tokens = scope.tokens;
  scope.samples = static_cast<double>(c.lengths.size());
  scope.max_tokens = c.max_tokens;
  LossCaseResult result;
  double scale = 0, magnitude = 0, difference = 0, before = 0;
  LossStats stats;
  for (size_t i = 0; i < c.lengths.size(); ++i) {
    const auto n = static_cast<size_t>(c.lengths[i]);
    const auto logprob = first(c.logprobs[i], n), old = first(c.old_logprobs[i], n);
    const auto ref = first(c.ref_logprobs[i], n);
    std::vector<double> gradient(n);
    sample_loss(c.config, scope, {logprob, old, ref, {}, c.advantages[i]}, gradient, stats);
    magnitude += std::abs(stats.loss - before);
    before = stats.loss;
    for (size_t t = 0; t < c.gradient[i].size(); ++t) {
      const double expected = c.gradient[i][t];
      scale = std::max(scale, std::abs(expected));
      difference = std::max(difference, std::abs((t < n ? gradient[t] : 0.0) - expected));
    }
  }
  result.id = c.id;
  result.type = c.config.type;
  result.importance_sampling = c.config.importance_sampling;
  result.loss = stats.loss;
  result.expected_loss = c.loss;
  result.loss_difference = std::abs(stats.loss - c.loss) / std::max(magnitude, 1e-30);
  result.gradient_difference = difference / std::max(scale, 1e-30);
  if (scale == 0 && difference == 0) result.gradient_difference = 0;
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
           "give every case the fields of tests/data/losses.jsonl");
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
