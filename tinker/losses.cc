#include "tinker/losses.h"

#include <algorithm>
#include <cmath>

namespace zeroth::tinker {
namespace {

constexpr char kLow[] = "clip_low_threshold", kHigh[] = "clip_high_threshold";
constexpr char kTargets[] = "target_tokens", kWeights[] = "weights", kLogprobs[] = "logprobs",
               kAdvantages[] = "advantages";

[[noreturn]] void refuse(const std::string& why) { throw Refusal{400, why}; }

std::string where(size_t index) { return "datum " + std::to_string(index) + ": "; }

}  // namespace

Loss::Loss(const LossRequest& request, const PolicyConfig& model)
    : request_(request), kind_(Kind::kCrossEntropy) {
  const std::pair<const char*, Kind> kinds[] = {{"cross_entropy", Kind::kCrossEntropy},
                                                {"importance_sampling", Kind::kImportance},
                                                {"ppo", Kind::kPpo},
                                                {"cispo", Kind::kCispo},
                                                {"dro", Kind::kDro}};
  const auto found = std::find_if(std::begin(kinds), std::end(kinds),
                                  [&](const auto& known) { return request.loss == known.first; });
  if (found == std::end(kinds)) {
    refuse("there is no loss \"" + request.loss +
           "\", but cross_entropy, importance_sampling, ppo, cispo and dro");
  }
  kind_ = found->second;
  read_config(request);
  if (request.data.empty()) refuse("'data' is empty");
  for (size_t i = 0; i < request.data.size(); ++i) check_datum(i, request.data[i], model);
}

void Loss::read_config(const LossRequest& request) {
  const bool clips = kind_ == Kind::kPpo || kind_ == Kind::kCispo;
  for (const auto& [name, value] : request.config) {
    if (!std::isfinite(value)) refuse("loss_fn_config." + name + " is not finite");
    if (clips && name == kLow) {
      low_ = value;
    } else if (clips && name == kHigh) {
      high_ = value;
    } else if (kind_ == Kind::kDro && name == "beta") {
      beta_ = value;
    } else {
      refuse("loss " + request.loss + " has no field \"" + name + "\" in loss_fn_config" +
             (clips                 ? std::string(", but ") + kLow + " and " + kHigh
              : kind_ == Kind::kDro ? std::string(", but beta")
                                    : std::string()));
    }
  }
  if (low_ > high_) refuse(std::string("loss_fn_config: ") + kLow + " is above " + kHigh);
}

void Loss::check_datum(size_t index, const Datum& datum, const PolicyConfig& model) const {
  const size_t n = datum.tokens.size();
  if (n == 0) refuse(where(index) + "model_input is empty");
  if (static_cast<int64_t>(n) > model.max_position) {
    refuse(where(index) + "model_input has " + std::to_string(n) + " tokens, the context " +
           std::to_string(model.max_position));
  }
  const bool sampled = kind_ != Kind::kCrossEntropy;
  const bool clips = kind_ == Kind::kPpo || kind_ == Kind::kCispo;
  for (const auto& [name, tensor] : datum.inputs) {
    const bool known = name == kTargets || (!sampled && name == kWeights) ||
                       (sampled && (name == kLogprobs || name == kAdvantages)) ||
                       (clips && (name == kLow || name == kHigh));
    if (!known) refuse(where(index) + "loss " + request_.loss + " has no input \"" + name + "\"");
    if (tensor.integer != (name == kTargets))
      refuse(where(index) + name + " is " + (tensor.integer ? "int64" : "float32") + ", not " +
             (tensor.integer ? "float32" : "int64"));
    if (tensor.size() != n) {
      refuse(where(index) + name + " has " + std::to_string(tensor.size()) +
             " values, model_input has " + std::to_string(n) + " tokens");
    }
    for (const float value : tensor.real) {
      if (!std::isfinite(value)) refuse(where(index) + name + " holds what is not finite");
    }
  }
  for (const char* needed :
       {kTargets, sampled ? kLogprobs : kTargets, sampled ? kAdvantages : kTargets}) {
    if (!datum.inputs.contains(needed))
      refuse(where(index) + "loss " + request_.loss + " needs \"" + needed + "\"");
  }
  const auto check_id = [&](int64_t id, const char* what) {
    if (id >= 0 && id < model.vocab_size) return;
    refuse(where(index) + what + " holds " + std::to_string(id) + ", the vocabulary has " +
           std::to_string(model.vocab_size) + " tokens");
  };
  for (const TokenId id : datum.tokens) check_id(id, "model_input");
  for (const int64_t id : datum.inputs.at(kTargets).whole) check_id(id, kTargets);
}

const float* Loss::input(const Datum& datum, const char* name) const {
  const auto found = datum.inputs.find(name);
  return found == datum.inputs.end() ? nullptr : found->second.real.data();
}

Loss::Term Loss::term(double lp, double q, double advantage, double low, double high) const {
  const double ratio = std::exp(lp - q);
  const double clipped = std::min(std::max(ratio, low), high);
  switch (kind_) {
    case Kind::kCrossEntropy:
      break;  // add() has it
    case Kind::kImportance:
      return {-ratio * advantage, -ratio * advantage};
    case Kind::kPpo:
      if (ratio * advantage <= clipped * advantage) return {-ratio * advantage, -ratio * advantage};
      return {-clipped * advantage, 0};
    case Kind::kCispo:
      return {-clipped * advantage * lp, -clipped * advantage};
    case Kind::kDro: {
      const double away = lp - q;
      return {-(advantage * lp - beta_ / 2 * away * away), -(advantage - beta_ * away)};
    }
  }
  return {0, 0};
}

void Loss::add(size_t index, const float* logprob, std::vector<float>& losses, float* dlogprob) {
  const Datum& datum = request_.data[index];
  const float* weights = input(datum, kWeights);
  const float* given = input(datum, kLogprobs);
  const float* advantages = input(datum, kAdvantages);
  const float *lows = input(datum, kLow), *highs = input(datum, kHigh);
  losses.resize(datum.tokens.size());
  for (size_t i = 0; i < losses.size(); ++i) {
    Term at = {0, 0};
    if (kind_ == Kind::kCrossEntropy) {
      const double weight = weights != nullptr ? weights[i] : 1;
      at = {-weight * logprob[i], -weight};
    } else if (advantages[i] != 0 || kind_ == Kind::kDro) {  // a prompt's ratio may be any
      at = term(logprob[i], given[i], advantages[i], lows != nullptr ? lows[i] : low_,
                highs != nullptr ? highs[i] : high_);
    }
    if (kind_ != Kind::kCrossEntropy && advantages[i] != 0) {
      const double away = static_cast<double>(logprob[i]) - given[i];
      difference_ = std::max(difference_, std::abs(away));
      ratio_min_ = std::min(ratio_min_, std::exp(away));
      ratio_max_ = std::max(ratio_max_, std::exp(away));
    }
    sum_ += at.loss;
    losses[i] = static_cast<float>(at.loss);
    dlogprob[i] = static_cast<float>(at.gradient);
  }
}

std::map<std::string, double> Loss::metrics() const {
  std::map<std::string, double> out = {{"loss:sum", sum_}};
  if (kind_ == Kind::kCrossEntropy) return out;
  const bool none = ratio_max_ < ratio_min_;
  out["sampling_logp_difference:max"] = difference_;
  out["ratio:min"] = none ? 1 : ratio_min_;
  out["ratio:max"] = none ? 1 : ratio_max_;
  return out;
}

}  // namespace zeroth::tinker
