// The numeric contract in canonical text. docs/numerics.md quotes it word for word (a test compares
// them). Whoever changes the bits that an operator gives changes this text, and with it the hash
// that trainer and workers compare.
#include <algorithm>
#include <iterator>

#include "core/sha256.h"
#include "kernels/ops.h"

namespace zeroth::kernels {
namespace {

constexpr const char* kContract = R"(zeroth numeric contract 4
arithmetic: IEEE 754 binary32, round to nearest even, denormals kept, no contraction, fma(a,b,c) rounds once
lanes: 16; lane of element i is i mod 16; absent lanes of a last vector are +0 (sums) or -inf (maxima)
tree: lane i + lane i+8, then i+4, i+2, i+1
linear: leaves of 256 k, leaf j of k 256 j to 256 j + 255: chain over its k ascending from +0 of fma(x[k], w[k], acc); the first leaf, then leaves added ascending; then + bias
dot: vector j of the row goes to accumulator j mod 4, acc = fma(a, b, acc) from +0; (a0+a1)+(a2+a3); tree
exp: x clamped to [-88, 0x1.633334p+6]; t = fma(x, 0x1.715476p+0, 0x1.8p+23); n = t - 0x1.8p+23; r = fma(-n, 0x1.62e4p-1, x); r = fma(-n, 0x1.7f7d1cp-20, r); Horner by fma in r of 0x1.6b6e18p-10 0x1.122fc2p-7 0x1.555688p-5 0x1.5554a4p-3 0x1p-1 0x1p+0 0x1p+0; times the float whose exponent field is n + 127
log: of a float in binary64 without fma: x = 2^n m, m in (0x1.6a09e667f3bcdp-1, 0x1.6a09e667f3bcdp+0]; s = (m-1)/(m+1), q = s*s; Horner in q of 2/19 2/17 2/15 2/13 2/11 2/9 2/7 2/5 2/3 2; n*ln2 + p*s; rounded to binary32
sigmoid: 1 / (1 + exp(0-x)); silu: x / (1 + exp(0-x))
rms_norm: mean = dot(x, x) / width; inv = 1 / sqrt(mean + eps); y = (x * inv) * weight; plus one: y = (x * inv) * (weight + 1)
swiglu: silu(gate) * up
geglu: gelu(gate) * up; gelu: x / (1 + exp(0-u)), u = fma(x * x, 0x1.2444f2p-4, 0x1.988454p+0) * x
clamped swiglu: g = min(gate, limit), u = min(max(up, 0-limit), limit); (g / (1 + exp(0-(g * alpha)))) * (u + 1)
scale: x * factor
sigmoid gate: sigmoid(gate) * value, of what attention gives
softcap: fma(2 cap, sigmoid(x * (2 / cap)), 0-cap), of logits before the head
rope: a' = fma(-b, sin, a * cos); b' = fma(a, sin, b * cos)
softmax: largest; e = exp(x - largest); lane sums over vectors ascending; tree; e / sum
attention score: scale * (chain over k_dim ascending from +0 of fma(q[d], k[d], acc))
attention softmax: pages of 16 positions, lane = position mod 16; largest over visible positions; e = exp(score - largest), +0 where invisible; lane sums over pages ascending; tree; lse = largest + log(sum)
attention value: leaves of 256 positions, leaf j of positions 256 j to 256 j + 255: chain over its visible positions ascending from +0 of fma(e, v, acc); the first leaf that has any, then leaves that have any added ascending; then * (1 / sum)
attention sink: share = sigmoid(lse - sink); out * share; lse = larger + log(1 + exp(smaller - larger)) of lse and sink
causal convolution: chain over taps ascending from +0 of fma(w, x, acc), taps in front of the sequence left out; silu of it
l2 norm: rms_norm with eps 1e-6 / width and the weight 1 / sqrt(width) for keys, 1 / width for queries, each rounded once
delta gates: beta = sigmoid(b); t = a + dt_bias, softplus(t) = t above 20, else log(1 + exp(t)); g = (0-exp(a_log)) * softplus
delta rule: pages of 16 positions; c = c of the position before in the page (+0) + g; weight of j for i = exp(c_i - c_j) * dot(k_j, k_i), for queries exp(c_i - c_j) * dot(k_j, q_i); of a state S a chain over key_dim ascending from +0 of fma(k[d], S[d], acc); u = v - exp(c) * that as fma, then over j ascending fma(-weight, u_j, acc); beta * acc; out = exp(c) * (the same chain by q), then over j ascending fma(weight, u_j, acc), its own last; behind a page S = exp(c_15) * S, then over j ascending fma(exp(c_15 - c_j) * k_j[d], u_j, acc)
router scores: softmax or sigmoid of the logits; selection by score + bias, ties to the lowest index; group score is the best or the sum of the two best biased scores; ids ascending
router weights: score, divided by the sum of the chosen scores in ascending id order (+ 0x1.79ca1p-67 for sigmoid) when normalised; times scale
experts: stable by row; combine = chain over slots ascending from +0 of fma(weight, y, acc)
expert bias: y + bias of the expert, before combine
head: z = logit * (1 / temperature); largest; d = z - largest; e = exp(d); vector j of the row goes to accumulators j mod 4: sum of e, chain of fma(e, d, acc); (a0+a1)+(a2+a3); trees; lse = largest + log(sum); entropy = log(sum) - moment / sum; logprob = z - lse
truncation: top-k by logit, ties to the lowest id; then top-p of the rest's mass, most likely first; then min-p of p_max; kept logits in ascending id order take the place of the row
sampling: weights exp(z - largest); blocks of 64 ids, lane sums over vectors ascending, tree, added in binary64; first block, then first id in it, whose cumulative weight exceeds uniform * total
uniform: Philox4x32-10, key and counter of core/rng.h, upper 24 bits / 2^24
)";

constexpr int kNumber = 4;
// The contracts before this one, by number, of which runs may be left.
constexpr const char* kEarlier[] = {
    "8debf19ed580cba6593494f3c0241b6ed400509216929d2a86ad41d381f24981",
    "826ffcb75f7f9f144c816679521eed04fdcbbe03e519bb224ea8e4b101b9c367",
    "52ac61075854a968b3b2991d8d79d68f070109031db88749ddbd3ce23e59f4da",
};
// Contracts from this number on were only added to: what they computed has the same bits here.
constexpr int kSameBitsFrom = 2;
static_assert(std::size(kEarlier) == kNumber - 1);

}  // namespace

std::string contract_text() { return kContract; }

std::string contract_name(const std::string& hash) {
  if (hash == contract_hash()) return "contract " + std::to_string(kNumber);
  const auto at = std::find(std::begin(kEarlier), std::end(kEarlier), hash);
  if (at == std::end(kEarlier)) return "an unknown contract";
  return "contract " + std::to_string(at - std::begin(kEarlier) + 1);
}

bool goes_on_from(const std::string& hash) {
  if (hash == contract_hash()) return true;
  const auto at = std::find(std::begin(kEarlier), std::end(kEarlier), hash);
  return at != std::end(kEarlier) && at - std::begin(kEarlier) + 1 >= kSameBitsFrom;
}

std::string contract_hash() {
  static const std::string hash = sha256_hex(kContract);
  return hash;
}

}  // namespace zeroth::kernels
