#include "learn/parity.h"

#include <algorithm>
#include <cmath>

#include "core/config.h"
#include "learn/learner.h"
#include "model/image_codes.h"
#include "policy/packing.h"
#include "policy/scoring.h"

namespace zeroth {
namespace {

template <class T>
std::vector<T> numbers(const Json& row, const char* key, const std::string& where) {
  const auto it = row.is_object() ? row.find(key) : row.end();
  if (!row.is_object() || it == row.end() || !it->is_array()) {
    fail(where + ": no list \"" + key + "\"", "make the file from the reference implementation");
  }
  std::vector<T> out;
  for (const Json& value : *it) {
    if (!value.is_number()) fail(where + ": \"" + key + "\" holds something that is no number");
    out.push_back(value.get<T>());
  }
  return out;
}

// Keeps the larger difference, and NaN once seen.
void widen_gap(double& gap, double a, double b) {
  if (std::isnan(gap)) return;
  const double difference = std::fabs(a - b);
  if (!(difference <= gap)) gap = difference;
}

double largest(const std::vector<float>& got, const std::vector<double>& expected, double gap,
               const std::string& where) {
  if (got.size() != expected.size()) {
    fail(where + ": " + std::to_string(expected.size()) + " expected values for " +
             std::to_string(got.size()),
         "make the file from the same ids and model");
  }
  for (size_t i = 0; i < got.size(); ++i) widen_gap(gap, got[i], expected[i]);
  return gap;
}

std::vector<float> last_logits(const Weights& weights, const std::vector<TokenId>& ids) {
  PackedBatch batch;
  batch.add(ids);
  batch.finish();
  KvCache cache(weights.config(), batch.pages(), weights.operators());
  const int64_t width = hidden_width(weights.config());
  const kernels::Device& device = weights.operators().device();
  const int64_t vocab = text_vocab(weights.config());
  kernels::Array<float> hidden(device, batch.rows() * width), logits(device, vocab);
  weights.forward(batch.view(), cache, hidden.data());
  weights.logits(hidden.data() + (batch.rows() - 1) * width, 1, logits.data());
  const kernels::OnHost<float> last(device, logits.data(), vocab);
  return {last.values().begin(), last.values().end()};
}

}  // namespace

ParityGap measure_parity(const std::filesystem::path& dir) {
  const std::string where = (dir / "expected.json").string();
  const Json expected = read_json_file(dir / "expected.json");
  if (!expected.is_object() || !expected.contains("sequences") ||
      !expected["sequences"].is_array()) {
    fail(where + ": no list \"sequences\"", "make the file from the reference implementation");
  }
  const std::unique_ptr<Policy> policy = Policy::load(dir);
  ParityGap d;
  d.delta_net = policy->config().recurrent_layers() > 0;
  std::vector<std::vector<TokenId>> sequences;
  for (const Json& row : expected["sequences"]) {
    sequences.push_back(numbers<TokenId>(row, "ids", where));
  }
  Learner learner(*policy, {});
  learner.begin();
  const auto scores = differentiate_sequences(learner, sequences);
  const std::span<const float> grads = learner.reduce();
  for (size_t i = 0; i < sequences.size(); ++i) {
    const Json& row = expected["sequences"][i];
    d.logprob = largest(scores[i], numbers<double>(row, "logprobs", where), d.logprob, where);
    if (row.contains("last_logits")) {
      d.logit = largest(last_logits(*policy->weights(), sequences[i]),
                        numbers<double>(row, "last_logits", where), d.logit, where);
    }
    if (row.contains("greedy")) {
      const std::vector<TokenId> greedy = numbers<TokenId>(row, "greedy", where);
      d.greedy_equal =
          d.greedy_equal && greedy_continuation(*policy->weights(), sequences[i],
                                                static_cast<int>(greedy.size())) == greedy;
    }
  }
  if (expected.contains("total_grad_norm") && expected["total_grad_norm"].is_number()) {
    const double want = expected["total_grad_norm"].get<double>();
    const double got = std::sqrt(policy->operators().sum_squares(grads.data(), grads.size()));
    widen_gap(d.grad_norm, got / want, 1);
  }
  return d;
}

}  // namespace zeroth
