#include "policy/two_heads.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "policy/decoder.h"

namespace zeroth {

using namespace kernels;

namespace {

template <class T>
std::vector<T> picked(const IndexList& rows, const T* from) {
  std::vector<T> out;
  if (from == nullptr) return out;
  for (const int32_t row : rows.host) out.push_back(from[row]);
  return out;
}
template <class T>
void put_back(const IndexList& rows, const std::vector<T>& from, T* to) {
  if (to == nullptr) return;
  for (size_t i = 0; i < from.size(); ++i) to[rows.host[i]] = from[i];
}

// Where an entropy is not asked for.
float* or_null(std::vector<float>& values, const float* asked) {
  return asked != nullptr ? values.data() : nullptr;
}

const PackedMatrix& head_of(const WeightsImpl& weights, bool image) {
  return image ? weights.model.images.with_bias : weights.model.head;
}

}  // namespace

void TwoHeads::split(const WeightsImpl& weights, At<const float> hidden, int64_t m) {
  const Architecture& a = *weights.architecture;
  const int64_t row = hidden_width(a.config);
  const At<float> marks = marks_.get(m);
  a.ops.take_rows(hidden + (row - 1), row, ascending_.ascending(m, device_), marks, 1, 1);
  const OnHost<float> of(device_, marks, m);
  for (Group& group : groups_) {
    group.image = &group != groups_;
    group.rows.host.clear();
    for (int64_t i = 0; i < m; ++i)
      if ((of[i] != 0) == group.image) group.rows.host.push_back(static_cast<int32_t>(i));
    group.hidden = hidden;
    if (group.size() == 0 || group.size() == m) continue;
    group.gathered.on(device_);
    const At<float> gathered = group.gathered.get(group.size() * row);
    a.ops.take_rows(hidden, row, group.rows.put(device_), gathered, row, row);
    group.hidden = gathered;
  }
}

void TwoHeads::aim(const ImageCodes& codes, Group& group, const int32_t* target,
                   const float* temperature, std::span<const KeptSet> kept) const {
  group.target = picked(group.rows, target);
  group.temperature = picked(group.rows, temperature);
  group.kept.clear();
  group.shifted.clear();
  const auto shift = static_cast<int32_t>(group.image ? codes.text_vocab : 0);
  for (int32_t& id : group.target) {
    if (codes.is_code(id) != group.image) {
      fail(group.image
               ? "token id " + std::to_string(id) + " is text where an image code stands"
               : "image code " + std::to_string(id - codes.text_vocab) + " stands where text does",
           "codes follow the token that begins an image, or codes; text follows neither");
    }
    id -= shift;
  }
  if (kept.empty()) return;
  for (const int32_t row : group.rows.host) {
    std::vector<int32_t>& ids = group.shifted.emplace_back(kept[row].begin(), kept[row].end());
    for (int32_t& id : ids) id -= shift;
  }
  group.kept.assign(group.shifted.begin(), group.shifted.end());
}

void TwoHeads::logprobs(const WeightsImpl& weights, At<const float> hidden, int64_t m,
                        const int32_t* target, const float* temperature,
                        std::span<const KeptSet> kept, float* logprob, float* entropy) {
  const Architecture& a = *weights.architecture;
  split(weights, hidden, m);
  for (Group& group : groups_) {
    const int64_t n = group.size();
    if (n == 0) continue;
    aim(a.codes, group, target, temperature, kept);
    std::vector<float> logprobs(static_cast<size_t>(n)), entropies(static_cast<size_t>(n));
    a.ops.head_logprobs(group.hidden, hidden_width(a.config), head_of(weights, group.image),
                        group.target.data(), group.temperature.data(), group.kept, logprobs.data(),
                        or_null(entropies, entropy), nullptr, n, 0);
    put_back(group.rows, logprobs, logprob);
    put_back(group.rows, entropies, entropy);
  }
}

void TwoHeads::sample(const WeightsImpl& weights, At<const float> hidden, int64_t m,
                      const SampleParams* params, const StreamKey* keys, const uint32_t* position,
                      int32_t* token, float* logprob, float* entropy, std::vector<int32_t>* kept) {
  const Architecture& a = *weights.architecture;
  split(weights, hidden, m);
  for (const Group& group : groups_) {
    const int64_t n = group.size();
    if (n == 0) continue;
    const auto own_params = picked(group.rows, params);
    const auto own_keys = picked(group.rows, keys);
    const auto own_position = picked(group.rows, position);
    std::vector<int32_t> tokens(static_cast<size_t>(n));
    std::vector<float> logprobs(tokens.size()), entropies(tokens.size());
    std::vector<std::vector<int32_t>> sets(kept != nullptr ? tokens.size() : 0);
    a.ops.head_sample(group.hidden, hidden_width(a.config), head_of(weights, group.image),
                      own_params.data(), own_keys.data(), own_position.data(), tokens.data(),
                      logprobs.data(), or_null(entropies, entropy),
                      kept != nullptr ? sets.data() : nullptr, n, 0);
    const auto shift = static_cast<int32_t>(group.image ? a.codes.text_vocab : 0);
    for (int32_t& id : tokens) id += shift;
    for (std::vector<int32_t>& set : sets)
      for (int32_t& id : set) id += shift;
    put_back(group.rows, tokens, token);
    put_back(group.rows, logprobs, logprob);
    put_back(group.rows, entropies, entropy);
    put_back(group.rows, sets, kept);
  }
}

void TwoHeads::logits(const WeightsImpl& weights, At<const float> hidden, int64_t m,
                      At<float> out) {
  const Architecture& a = *weights.architecture;
  split(weights, hidden, m);
  if (groups_[1].size() > 0)
    fail("logits of rows in front of image codes", "ask for those in front of text only");
  a.ops.head_logits(hidden, hidden_width(a.config), weights.model.head, out, m, 0);
}

// The head and its bias get what each part adds as if it were alone, part after part, as
// kernels/parts.h has it.
void TwoHeads::image_backward(const WeightsImpl& weights, const Group& group,
                              std::span<const float> dlogprob, const float* dentropy,
                              At<float> dhidden, At<float> grads, std::span<const int64_t> parts) {
  const Architecture& a = *weights.architecture;
  const int64_t row = hidden_width(a.config), wide = bias_in(a.codes), in = a.codes.head_width;
  const int64_t codes = a.codes.codes;
  const At<float> dhead = dhead_.get(codes * wide), sum = sum_.get(codes * in);
  const View<const int32_t> all = ascending_.ascending(codes, device_);
  for (size_t p = 0; p + 1 < parts.size(); ++p) {
    const int64_t begin = parts[p], n = parts[p + 1] - begin;
    if (n == 0) continue;
    const auto kept = std::span<const KeptSet>(group.kept)
                          .subspan(group.kept.empty() ? 0 : static_cast<size_t>(begin),
                                   group.kept.empty() ? 0 : static_cast<size_t>(n));
    a.ops.zero_rows(dhead, wide, codes, wide);
    a.ops.head_backward(group.hidden + begin * row, row, weights.model.images.with_bias,
                        group.target.data() + begin, group.temperature.data() + begin, kept,
                        dlogprob.data() + begin, dentropy ? dentropy + begin : nullptr,
                        dhidden + begin * row, row, dhead, n, {}, 0);
    const At<float> weight = grads + a.images.head.weight, bias = grads + a.images.head.bias;
    a.ops.take_rows(dhead, wide, all, sum, in, in);
    a.ops.add(weight, sum, weight, codes * in);
    a.ops.take_rows(dhead + in, wide, all, sum, 1, 1);
    a.ops.add(bias, sum, bias, codes);
  }
}

void TwoHeads::backward(const WeightsImpl& weights, At<const float> hidden, int64_t m,
                        const int32_t* target, const float* temperature,
                        std::span<const KeptSet> kept, const float* dlogprob, const float* dentropy,
                        At<float> dhidden, At<float> grads, RowParts parts) {
  const Architecture& a = *weights.architecture;
  const int64_t row = hidden_width(a.config);
  split(weights, hidden, m);
  const bool mixed = groups_[0].size() > 0 && groups_[1].size() > 0;
  const At<float> drows = mixed ? drows_.get(m * row) : dhidden;
  from_.host.assign(static_cast<size_t>(m), 0);
  int32_t next = 0;
  for (Group& group : groups_) {
    const int64_t n = group.size();
    if (n == 0) continue;
    aim(a.codes, group, target, temperature, kept);
    const std::vector<float> dlogprobs = picked(group.rows, dlogprob);
    const std::vector<float> dentropies = picked(group.rows, dentropy);
    std::vector<int64_t> begins;  // of the parts among these rows
    for (const int64_t part : parts) {
      begins.push_back(std::lower_bound(group.rows.host.begin(), group.rows.host.end(), part) -
                       group.rows.host.begin());
    }
    const At<float> to = drows + int64_t{next} * row;
    if (group.image) {
      if (begins.empty()) begins.push_back(0);
      begins.push_back(n);
      image_backward(weights, group, dlogprobs, dentropy ? dentropies.data() : nullptr, to, grads,
                     begins);
    } else {
      a.ops.head_backward(group.hidden, row, weights.model.head, group.target.data(),
                          group.temperature.data(), group.kept, dlogprobs.data(),
                          dentropy ? dentropies.data() : nullptr, to, row,
                          grads + a.layout.head.weight, n, begins, 0);
    }
    for (const int32_t at : group.rows.host) from_.host[at] = next++;
  }
  if (mixed) a.ops.take_rows(drows, row, from_.put(device_), dhidden, row, row);
}

}  // namespace zeroth
