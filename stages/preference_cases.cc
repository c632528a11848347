#include "stages/preference_cases.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/error.h"
#include "core/json_lines.h"
#include "stages/preference_loss.h"

namespace zeroth {
namespace {

using Rows = std::vector<std::vector<float>>;

void widen(double& largest, double got, double expected, double scale) {
  const double d = std::abs(got - expected) / scale;
  if (!(d <= largest)) largest = d;  // NaN stays
}

Rows rows_of(const Json& row, const char* name) { return row.at(name).get<Rows>(); }

// The config of a case; none for a loss that is not computed here.
std::optional<PreferenceLossConfig> config_of(const Json& row) {
  PreferenceLossConfig config;
  const auto types = row.at("loss_type").get<std::vector<std::string>>();
  const auto weights = row.at("loss_weights").get<std::vector<double>>();
  const std::vector<std::string> known = {"sigmoid", "sigmoid_norm", "ipo", "hinge", "robust"};
  if (row.at("use_weighting").get<bool>()) return std::nullopt;
  config.weight = 0;
  for (size_t i = 0; i < types.size(); ++i) {
    if (types[i] == "sft") {
      config.sft_weight = weights.at(i);
    } else if (std::find(known.begin(), known.end(), types[i]) != known.end() &&
               config.weight == 0) {
      config.type = types[i];
      config.weight = weights.at(i);
    } else {
      return std::nullopt;
    }
  }
  config.beta = row.at("beta").get<double>();
  config.label_smoothing = row.at("label_smoothing").get<double>();
  config.f_divergence = row.at("f_divergence_type").get<std::string>();
  config.alpha = row.at("f_alpha_divergence_coef").get<double>();
  if (!row.at("ld_alpha").is_null()) config.ld_alpha = row.at("ld_alpha").get<double>();
  return config;
}

// Largest difference between rows, relative to the largest expected value.
double gradient_gap(const std::vector<std::vector<double>>& got, const Rows& expected) {
  double scale = 1e-12, largest = 0;
  for (const auto& row : expected) {
    for (const float g : row) scale = std::max(scale, std::abs(static_cast<double>(g)));
  }
  for (size_t p = 0; p < expected.size(); ++p) {
    for (size_t t = 0; t < expected[p].size(); ++t) {
      widen(largest, got.at(p).at(t), expected[p][t], scale);
    }
  }
  return largest;
}

PreferenceCaseResult evaluate(const Json& row) {
  PreferenceCaseResult result;
  result.id = row.at("id").get<int64_t>();
  for (const Json& type : row.at("loss_type")) {
    result.name += (result.name.empty() ? "" : "+") + type.get<std::string>();
  }
  const auto divergence = row.at("f_divergence_type").get<std::string>();
  if (divergence != "reverse_kl") result.name += " " + divergence;
  if (!row.at("ld_alpha").is_null()) result.name += " ld_alpha";
  if (row.at("use_weighting").get<bool>()) result.name += " weighted";
  const auto config = config_of(row);
  if (!config) {
    result.not_computed = result.name;
    return result;
  }
  const Rows chosen = rows_of(row, "chosen_logprobs"), rejected = rows_of(row, "rejected_logprobs");
  const Rows ref_chosen = rows_of(row, "ref_chosen_logprobs"),
             ref_rejected = rows_of(row, "ref_rejected_logprobs");
  int64_t tokens = 0;
  for (const auto& tokens_of_one : chosen) tokens += static_cast<int64_t>(tokens_of_one.size());
  double loss = 0;
  std::vector<std::vector<double>> grad_chosen, grad_rejected;
  for (size_t p = 0; p < chosen.size(); ++p) {
    const PreferenceResult one =
        preference_loss(*config, {chosen[p], rejected.at(p), ref_chosen.at(p), ref_rejected.at(p)},
                        static_cast<int64_t>(chosen.size()), tokens);
    loss += one.loss;
    grad_chosen.push_back(one.grad_chosen);
    grad_rejected.push_back(one.grad_rejected);
    const double up = row.at("rewards_chosen").at(p).get<double>();
    const double down = row.at("rewards_rejected").at(p).get<double>();
    widen(result.reward_difference, one.reward_chosen, up, std::max(1.0, std::abs(up)));
    widen(result.reward_difference, one.reward_rejected, down, std::max(1.0, std::abs(down)));
  }
  const double expected = row.at("loss").get<double>();
  widen(result.loss_difference, loss, expected, std::max(1.0, std::abs(expected)));
  result.gradient_difference = std::max(gradient_gap(grad_chosen, rows_of(row, "grad_chosen")),
                                        gradient_gap(grad_rejected, rows_of(row, "grad_rejected")));
  return result;
}

}  // namespace

std::vector<PreferenceCaseResult> evaluate_preference_cases(const std::filesystem::path& file) {
  std::vector<PreferenceCaseResult> results;
  for_each_json_line(file, [&](const Json& row, int64_t line) {
    try {
      results.push_back(evaluate(row));
    } catch (const std::exception& error) {
      fail(file.string() + ":" + std::to_string(line) + ": " + error.what(),
           "see stages/preference_cases.h for the fields");
    }
  });
  if (results.empty())
    fail(file.string() + " holds no case", "name a JSON-lines file of recorded losses of pairs");
  return results;
}

}  // namespace zeroth
