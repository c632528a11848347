// The losses of the Tinker protocol on log-probabilities of given targets: sums over tokens, as its
// documents define them. A caller that wants a mean scales its weights or advantages.
//
// With lp the log-probability by the weights that learn, q the one that was given ("logprobs"), A
// "advantages", r = exp(lp - q):
//   cross_entropy        -w lp                      w: "weights", 1 where they are left out
//   importance_sampling  -r A
//   ppo                  -min(r A, clip(r) A)       clip(r): into [clip_low_threshold,
//   cispo                -clip(r) A lp              clip_high_threshold], .8 and 1.2 unless said
//                                                   otherwise; clip(r) of cispo is a constant
//   dro                  -(A lp - beta / 2 (lp - q)^2)      beta .05 unless said otherwise
// The thresholds may also be given token by token, as inputs of these names.
#pragma once

#include <string>
#include <vector>

#include "model/config.h"
#include "tinker/messages.h"

namespace zeroth::tinker {

// A request's loss, with its inputs checked: every tensor has a value for each token. Immutable.
class Loss {
 public:
  // Throws Refusal that names the datum and the field: an unknown loss or field, a tensor that is
  // missing, of the wrong type, of another length than the tokens or not finite, a token outside the
  // vocabulary, a sequence that is empty or longer than the context. `request` outlives it.
  Loss(const LossRequest& request, const PolicyConfig& model);

  // Of a datum's targets, given their log-probs [tokens]: the loss of each token, and its gradient by
  // the log-prob. Adds to what metrics() tells.
  void add(size_t datum, const float* logprob, std::vector<float>& losses, float* dlogprob);

  // "loss:sum", and of the losses with given log-probs what the distance to these was:
  // "sampling_logp_difference:max", "ratio:min" and "ratio:max" over tokens with an advantage. The
  // word behind the colon is how the client joins several.
  std::map<std::string, double> metrics() const;

 private:
  enum class Kind { kCrossEntropy, kImportance, kPpo, kCispo, kDro };
  struct Term {
    double loss, gradient;
  };
  void read_config(const LossRequest& request);
  void check_datum(size_t index, const Datum& datum, const PolicyConfig& model) const;
  const float* input(const Datum& datum, const char* name) const;
  Term term(double lp, double q, double advantage, double low, double high) const;

  const LossRequest& request_;
  Kind kind_;
  double low_ = 0.8, high_ = 1.2, beta_ = 0.05;
  double sum_ = 0, difference_ = 0, ratio_min_ = 1e300, ratio_max_ = -1e300;
};

}  // namespace zeroth::tinker
