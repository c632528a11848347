// What a gate goes through before it is multiplied by its partner.
#pragma once

namespace zeroth::kernels {

// kSilu: x sigmoid(x) times up. kGelu: x Phi(x) times up, with the tanh form of Phi (Hendrycks and
// Gimpel, "Gaussian Error Linear Units", 2016), which is x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)).
// kClamped (gpt-oss): x sigmoid(alpha x) times (up + 1), where x is at most `limit` (> 0) and up in
// [-limit, limit]. kSigmoid: sigmoid(x) times up, of what attention gives where it has such a gate.
struct Gate {
  enum Kind { kSilu, kGelu, kClamped, kSigmoid };
  Kind kind = kSilu;
  float alpha = 1, limit = 0;

  constexpr Gate(Kind k = kSilu, float a = 1, float l = 0) : kind(k), alpha(a), limit(l) {}
  bool operator==(const Gate&) const = default;
};

}  // namespace zeroth::kernels
