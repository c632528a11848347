#include "rollout/fleet/audit.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <set>

#include "model/image_codes.h"
#include "policy/packing.h"
#include "rollout/completion_text.h"
#include "rollout/sample_rules.h"

namespace zeroth::fleet {
namespace {

constexpr size_t kPassRows = 4096;  // of one forward call, but for one long sample

std::string at(size_t sample, const std::string& what) {
  return "sample " + std::to_string(sample) + ": " + what;
}

bool all_finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

std::string check_kept(const Sample& sample, bool truncated, int vocab) {
  if (!truncated) {
    return sample.kept_offsets.empty() && sample.kept_ids.empty() ? ""
                                                                  : "kept sets that are not due";
  }
  const std::vector<int32_t>& offsets = sample.kept_offsets;
  if (offsets.size() != sample.tokens.size() + 1 || offsets.front() != 0 ||
      offsets.back() != static_cast<int32_t>(sample.kept_ids.size()) ||
      !std::is_sorted(offsets.begin(), offsets.end()))
    return "its kept sets do not fit its tokens";
  const bool in_range = std::all_of(sample.kept_ids.begin(), sample.kept_ids.end(),
                                    [&](int32_t id) { return id >= 0 && id < vocab; });
  if (!in_range) return "a kept id outside the vocabulary";
  // Training normalises over the set, so it must hold the token, and each id once.
  for (size_t t = 0; t < sample.tokens.size(); ++t) {
    const auto begin = sample.kept_ids.begin() + offsets[t];
    const auto end = sample.kept_ids.begin() + offsets[t + 1];
    if (!std::is_sorted(begin, end, std::less_equal<>()) ||
        !std::binary_search(begin, end, sample.tokens[t]))
      return "the kept set of token " + std::to_string(t) + " does not hold it in ascending order";
  }
  return "";
}

// Training may send rows where a worker says that they went, so every id is looked at.
std::string check_experts(const Sample& sample, const kernels::RouterConfig& router, size_t prompt,
                          size_t layers) {
  const size_t n = sample.tokens.size(), k = router.top_k;
  if (sample.experts.size() != n * layers * k || sample.router_confidence.size() != n * layers ||
      sample.prompt_experts.size() != (layers > 0 ? (prompt - 1) * layers * k : 0))
    return "its experts do not fit its tokens";
  std::vector<bool> chosen(router.experts);
  for (const std::vector<uint8_t>* ids : {&sample.experts, &sample.prompt_experts}) {
    for (size_t at = 0; at < ids->size(); at += k) {
      chosen.assign(chosen.size(), false);
      for (size_t i = at; i < at + k; ++i) {
        const uint8_t id = (*ids)[i];
        if (id >= router.experts) return "expert " + std::to_string(id) + " is not of the model";
        if (chosen[id]) return "expert " + std::to_string(id) + " is chosen twice for a token";
        chosen[id] = true;
      }
    }
  }
  return "";
}

// Sets finish and text by going through the tokens as sampling does.
std::string replay(const GenerationRequest& request, const PolicyConfig& model,
                   const Tokenizer* tokenizer, const StopStrings& stops, Sample& sample) {
  CompletionText text(tokenizer, stops);
  const ImageCodes codes = image_codes(model);
  const auto most = static_cast<size_t>(longest_sample(request, model));
  for (size_t i = 0; i < sample.tokens.size(); ++i) {
    const bool ended = text.append(sample.tokens[i]);
    const bool stopped =
        ended || image_ends(codes, request.prompt, std::span(sample.tokens).first(i + 1));
    const bool last = i + 1 == sample.tokens.size();
    if (!stopped && i + 1 < most) {
      if (last) return "it ends before its end";
      continue;
    }
    if (!last) return "it goes on behind its end";
    sample.finish = stopped ? FinishReason::kStop : FinishReason::kLength;
  }
  sample.text = text.text(sample.tokens);
  return "";
}

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }

template <class T>
bool differs(const char* name, const std::vector<T>& claimed, const std::vector<T>& found,
             int sample, AuditFinding& out) {
  for (size_t i = 0; i < std::max(claimed.size(), found.size()); ++i) {
    const bool both = i < claimed.size() && i < found.size();
    bool same = both && claimed[i] == found[i];
    if constexpr (std::is_same_v<T, float>) same = both && same_bits(claimed[i], found[i]);
    if (same) continue;
    out = {sample, static_cast<int64_t>(i), name,
           i < claimed.size() ? static_cast<double>(claimed[i]) : NAN,
           i < found.size() ? static_cast<double>(found[i]) : NAN};
    return true;
  }
  return false;
}

// Tokens [begin, end) of a sample with all that goes with them.
Sample slice(const Sample& sample, size_t begin, size_t end) {
  const auto cut = [&](const auto& values) {
    const size_t each = sample.tokens.empty() ? 0 : values.size() / sample.tokens.size();
    return std::vector(values.begin() + static_cast<std::ptrdiff_t>(begin * each),
                       values.begin() + static_cast<std::ptrdiff_t>(end * each));
  };
  Sample out;
  out.tokens = cut(sample.tokens);
  out.logprobs = cut(sample.logprobs);
  out.entropies = cut(sample.entropies);
  out.experts = cut(sample.experts);
  out.router_confidence = cut(sample.router_confidence);
  if (begin == 0) out.prompt_experts = sample.prompt_experts;
  if (sample.kept_offsets.empty()) return out;
  const int32_t from = sample.kept_offsets[begin];
  for (size_t i = begin; i <= end; ++i) out.kept_offsets.push_back(sample.kept_offsets[i] - from);
  out.kept_ids.assign(sample.kept_ids.begin() + from,
                      sample.kept_ids.begin() + sample.kept_offsets[end]);
  return out;
}

bool sample_differs(const Sample& claimed, const Sample& found, int index, AuditFinding& out) {
  return differs("token", claimed.tokens, found.tokens, index, out) ||
         differs("logprob", claimed.logprobs, found.logprobs, index, out) ||
         differs("entropy", claimed.entropies, found.entropies, index, out) ||
         differs("kept_offsets", claimed.kept_offsets, found.kept_offsets, index, out) ||
         differs("kept_ids", claimed.kept_ids, found.kept_ids, index, out) ||
         differs("experts", claimed.experts, found.experts, index, out) ||
         differs("prompt_experts", claimed.prompt_experts, found.prompt_experts, index, out) ||
         differs("router_confidence", claimed.router_confidence, found.router_confidence, index,
                 out);
}

// Some samples of a request through one forward pass.
class Pass {
 public:
  Pass(const Weights& weights, const GenerationRequest& request, bool experts)
      : weights_(weights), request_(request), experts_(experts) {}

  void add(const Sample& sample) {
    const std::vector<TokenId>& prompt = request_.prompt;
    std::vector<TokenId>& row = rows_.emplace_back();
    row.push_back(prompt.back());
    row.insert(row.end(), sample.tokens.begin(), sample.tokens.end() - 1);
    samples_.push_back(&sample);
    size_ += row.size();
  }
  size_t size() const { return size_; }
  bool empty() const { return samples_.empty(); }

  // What the rules make of the same rows: one sample each.
  std::vector<Sample> draw() {
    PackedBatch batch;
    std::vector<std::span<const TokenId>> children(rows_.begin(), rows_.end());
    const std::span<const TokenId> prompt(request_.prompt);
    const int first = batch.add_group(prompt.first(prompt.size() - 1), children);
    batch.finish();
    const PolicyConfig& model = weights_.config();
    const kernels::Operators& ops = weights_.operators();
    KvCache cache(model, batch.pages(), ops);
    const kernels::Array<float> hidden(ops.device(), batch.rows() * hidden_width(model));
    const size_t ids = static_cast<size_t>(model.moe_layers()) * model.router.top_k;
    const size_t routed = ids + model.moe_layers();
    std::vector<uint8_t> routing(experts_ ? batch.rows() * routed : 0);
    weights_.forward(batch.view(), cache, hidden.data(),
                     {.routing = experts_ ? routing.data() : nullptr});
    std::vector<uint8_t> prompt_experts;
    const auto [prompt_row, prompt_rows] = batch.segment(first - 1);
    for (int64_t r = prompt_row; experts_ && r < prompt_row + prompt_rows; ++r) {
      const uint8_t* at = routing.data() + r * routed;
      prompt_experts.insert(prompt_experts.end(), at, at + ids);
    }
    std::vector<Sample> out;
    for (size_t i = 0; i < rows_.size(); ++i) {
      const auto [row, count] = batch.segment(first + static_cast<int>(i));
      out.push_back(drawn(hidden.data() + row * hidden_width(model), *samples_[i]));
      out.back().prompt_experts = prompt_experts;
      for (int64_t r = row; experts_ && r < row + count; ++r) {
        const uint8_t* at = routing.data() + r * routed;
        out.back().experts.insert(out.back().experts.end(), at, at + ids);
        out.back().router_confidence.insert(out.back().router_confidence.end(), at + ids,
                                            at + routed);
      }
    }
    return out;
  }

 private:
  Sample drawn(kernels::At<const float> hidden, const Sample& claimed) const {
    const size_t m = claimed.tokens.size();
    const kernels::SampleParams rules = to_params(request_.sampling);
    const std::vector<kernels::SampleParams> params(m, rules);
    const std::vector<StreamKey> keys(m, claimed.key);
    std::vector<uint32_t> positions(m);
    for (size_t i = 0; i < m; ++i) positions[i] = static_cast<uint32_t>(i);
    Sample out;
    out.tokens.resize(m);
    out.logprobs.resize(m);
    out.entropies.resize(m);
    std::vector<std::vector<int32_t>> kept(rules.truncated() ? m : 0);
    weights_.sample(hidden, static_cast<int64_t>(m), params.data(), keys.data(), positions.data(),
                    out.tokens.data(), out.logprobs.data(), out.entropies.data(),
                    kept.empty() ? nullptr : kept.data());
    if (rules.truncated()) out.kept_offsets.push_back(0);
    for (const std::vector<int32_t>& set : kept) {
      out.kept_ids.insert(out.kept_ids.end(), set.begin(), set.end());
      out.kept_offsets.push_back(static_cast<int32_t>(out.kept_ids.size()));
    }
    return out;
  }

  const Weights& weights_;
  const GenerationRequest& request_;
  bool experts_;
  std::vector<std::vector<TokenId>> rows_;
  std::vector<const Sample*> samples_;
  size_t size_ = 0;
};

}  // namespace

std::string AuditFinding::describe() const {
  if (honest()) return "every bit is right";
  char numbers[128];
  std::snprintf(numbers, sizeof numbers, "%.9g instead of %.9g", claimed, found);
  return field + " " + std::to_string(token) + " of sample " + std::to_string(sample) + ": " +
         numbers;
}

std::string check_shape(const GenerationRequest& request, const PolicyConfig& model,
                        const Tokenizer* tokenizer, bool record_experts,
                        std::vector<Sample>& samples) {
  if (samples.size() != static_cast<size_t>(request.samples)) {
    return std::to_string(samples.size()) + " samples, asked for " +
           std::to_string(request.samples);
  }
  const StopStrings stops(request.sampling.stop);
  const bool truncated = to_params(request.sampling).truncated();
  const size_t layers = record_experts ? model.moe_layers() : 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    Sample& sample = samples[i];
    const size_t n = sample.tokens.size();
    if (n == 0 || n > static_cast<size_t>(longest_sample(request, model)))
      return at(i, std::to_string(n) + " tokens");
    for (const TokenId token : sample.tokens) {
      if (token < 0 || token >= model.vocab_size)
        return at(i, "token " + std::to_string(token) + " is outside the vocabulary");
    }
    if (sample.logprobs.size() != n || sample.entropies.size() != n)
      return at(i, "its log-probs or entropies do not fit its tokens");
    if (!all_finite(sample.logprobs) || !all_finite(sample.entropies))
      return at(i, "a log-prob or entropy is not finite");
    if (const std::string why = check_kept(sample, truncated, model.vocab_size); !why.empty())
      return at(i, why);
    if (const std::string why = check_experts(sample, model.router, request.prompt.size(), layers);
        !why.empty())
      return at(i, why);
    sample.key = {request.seed, request.step, request.problem,
                  request.first_sample + static_cast<uint32_t>(i)};
    if (const std::string why = replay(request, model, tokenizer, stops, sample); !why.empty())
      return at(i, why);
  }
  return "";
}

namespace {

// What `weights` make of every row of the samples, one after the other.
template <class Use>
void draw_again(const Weights& weights, const GenerationRequest& request,
                const std::vector<Sample>& samples, const Use& use) {
  for (size_t begin = 0; begin < samples.size();) {
    const bool experts = !samples[begin].experts.empty();
    Pass pass(weights, request, experts);
    size_t end = begin;
    while (end < samples.size() && (pass.empty() || pass.size() < kPassRows))
      pass.add(samples[end++]);
    const std::vector<Sample> found = pass.draw();
    for (size_t i = begin; i < end; ++i) {
      if (!use(i, found[i - begin])) return;
    }
    begin = end;
  }
}

}  // namespace

AuditFinding audit(const Weights& weights, const GenerationRequest& request,
                   const std::vector<Sample>& samples) {
  AuditFinding finding;
  draw_again(weights, request, samples, [&](size_t i, const Sample& found) {
    return !sample_differs(samples[i], found, static_cast<int>(i), finding);
  });
  return finding;
}

AuditFinding audit_segments(const std::function<WeightsPtr(WeightsVersion)>& weights,
                            const GenerationRequest& request, const std::vector<Sample>& samples) {
  AuditFinding finding;
  std::set<WeightsVersion> versions;
  for (const Sample& sample : samples) {
    for (const VersionSegment& segment : sample.versions) versions.insert(segment.version);
  }
  for (const WeightsVersion version : versions) {
    draw_again(*weights(version), request, samples, [&](size_t i, const Sample& found) {
      const std::vector<VersionSegment>& segments = samples[i].versions;
      for (size_t s = 0; s < segments.size(); ++s) {
        if (segments[s].version != version) continue;
        const auto begin = static_cast<size_t>(segments[s].first);
        const size_t end = s + 1 < segments.size() ? static_cast<size_t>(segments[s + 1].first)
                                                   : samples[i].tokens.size();
        if (!sample_differs(slice(samples[i], begin, end), slice(found, begin, end),
                            static_cast<int>(i), finding))
          continue;
        finding.token += segments[s].first;
        return false;
      }
      return true;
    });
    if (!finding.honest()) break;
  }
  return finding;
}

AuditFinding compare_samples(const std::vector<Sample>& claimed, const std::vector<Sample>& found) {
  AuditFinding finding;
  for (size_t i = 0; i < std::min(claimed.size(), found.size()); ++i) {
    if (sample_differs(claimed[i], found[i], static_cast<int>(i), finding)) return finding;
  }
  if (claimed.size() != found.size())
    finding = {static_cast<int>(std::min(claimed.size(), found.size())), -1, "samples",
               static_cast<double>(claimed.size()), static_cast<double>(found.size())};
  return finding;
}

}  // namespace zeroth::fleet
