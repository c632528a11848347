#include "scan/step_stats.h"

#include <algorithm>
#include <cmath>

namespace zeroth {
namespace {

constexpr double kZ = 1.959963984540054;  // 97.5% point of the normal distribution

// Wilson's score interval of a share.
std::pair<double, double> wilson(double hits, double n) {
  const double p = hits / n;
  const double z2 = kZ * kZ;
  const double middle = (p + z2 / (2 * n)) / (1 + z2 / n);
  const double half = kZ / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
  return {middle - half, middle + half};
}

// One broken sample must not spoil the sums of its step: its number is left out, and squares of
// what is counted stay finite.
bool countable(double value) { return std::abs(value) < 1e100; }

double ratio(double a, double b) { return b == 0 ? 0 : a / b; }

void accumulate(std::vector<int64_t>& sums, size_t at, int64_t value) {
  if (sums.size() <= at) sums.resize(at + 1, 0);
  sums[at] += value;
}

}  // namespace

ShareDifference difference_of_shares(int64_t hits1, int64_t n1, int64_t hits2, int64_t n2) {
  ShareDifference out;
  out.n_with = n1;
  out.n_without = n2;
  if (n1 == 0 || n2 == 0) return out;
  const auto d = [](int64_t x) { return static_cast<double>(x); };
  const double p1 = d(hits1) / d(n1);
  const double p2 = d(hits2) / d(n2);
  const auto [l1, u1] = wilson(d(hits1), d(n1));
  const auto [l2, u2] = wilson(d(hits2), d(n2));
  out.value = p1 - p2;
  out.low = out.value - std::hypot(p1 - l1, u2 - p2);
  out.high = out.value + std::hypot(u1 - p1, p2 - l2);
  return out;
}

void StepStats::add(const Group& group, const std::vector<SampleScan>& scans) {
  ++groups;
  zero_variance += group.zero_variance;
  for (size_t i = 0; i < group.samples.size(); ++i) {
    const Sample& sample = group.samples[i];
    const SampleScan& scan = scans[i];
    ++samples;
    tokens += drawn_tokens(sample);
    if (countable(sample.reward)) {
      reward += sample.reward;
      reward_squares += sample.reward * sample.reward;
    }
    for (const float value : sample.entropies) entropy += std::isfinite(value) ? value : 0.0f;
    for (const float value : sample.logprobs) logprob += std::isfinite(value) ? value : 0.0f;
    correct += scan.correct;
    truncated += scan.truncated;
    aborted += sample.finish == FinishReason::kAborted;
    masked += sample.masked;
    loops += scan.loop;
    switched += scan.language_switches > 0;
    repetition += scan.repetition;
    failed += scan.failed;
    if (!scan.failed) {
      ++reflected[scan.reflected()][scan.correct];
      ++several[scan.candidates.size() > 1][scan.correct];
    }
    for (size_t f = 0; f < kFlips; ++f) flips[f] += scan.flips[f];
    flip_samples += scan.flips[0] > 0;
    aha_samples += !scan.ahas.empty();
    candidates += static_cast<int64_t>(scan.candidates.size());
    for (size_t list = 0; list < scan.words.size(); ++list) {
      accumulate(words, list, scan.words[list]);
      accumulate(word_samples, list, scan.words[list] > 0);
      accumulate(substrings, list, scan.substrings[list]);
    }
    if (extra.size() < scan.extra.size()) extra.resize(scan.extra.size(), 0);
    for (size_t e = 0; e < scan.extra.size(); ++e) {
      if (countable(scan.extra[e])) extra[e] += scan.extra[e];
    }
    for (const Verdict& verdict : sample.verdicts) {
      auto at = std::find_if(verdicts.begin(), verdicts.end(),
                             [&](const auto& entry) { return entry.first == verdict.name; });
      if (at == verdicts.end()) at = verdicts.insert(verdicts.end(), {verdict.name, 0.0});
      if (countable(verdict.score)) at->second += verdict.score;
    }
  }
}

void StepStats::add_experts(const Sample& sample, const ExpertShape& shape) {
  const size_t row = shape.row();
  if (row == 0 || sample.experts.empty() || sample.experts.size() % row != 0) return;
  experts.resize(static_cast<size_t>(shape.layers),
                 std::vector<int64_t>(static_cast<size_t>(shape.experts), 0));
  for (size_t i = 0; i < sample.experts.size(); ++i) {
    const size_t layer = i % row / static_cast<size_t>(shape.top_k);
    const size_t expert = sample.experts[i];
    if (expert < experts[layer].size()) ++experts[layer][expert];
  }
}

ShareDifference StepStats::reflection_gap() const {
  return difference_of_shares(reflected[1][1], reflected[1][0] + reflected[1][1], reflected[0][1],
                              reflected[0][0] + reflected[0][1]);
}

ShareDifference StepStats::thinking_gap() const {
  return difference_of_shares(several[1][1], several[1][0] + several[1][1], several[0][1],
                              several[0][0] + several[0][1]);
}

Json StepStats::to_json() const {
  Json parts = Json::object();
  for (const auto& [name, sum] : verdicts) parts[name] = sum;
  return {{"groups", groups},
          {"samples", samples},
          {"tokens", tokens},
          {"zero", zero_variance},
          {"reward", reward},
          {"reward2", reward_squares},
          {"entropy", entropy},
          {"logprob", logprob},
          {"correct", correct},
          {"failed", failed},
          {"truncated", truncated},
          {"aborted", aborted},
          {"masked", masked},
          {"loops", loops},
          {"switched", switched},
          {"repetition", repetition},
          {"reflected", {reflected[0][0], reflected[0][1], reflected[1][0], reflected[1][1]}},
          {"several", {several[0][0], several[0][1], several[1][0], several[1][1]}},
          {"flips", {flips[0], flips[1], flips[2], flips[3]}},
          {"flip_samples", flip_samples},
          {"aha_samples", aha_samples},
          {"candidates", candidates},
          {"words", words},
          {"word_samples", word_samples},
          {"substrings", substrings},
          {"extra", extra},
          {"verdicts", parts},
          {"experts", experts}};
}

StepStats StepStats::from_json(const Json& json) {
  StepStats stats;
  const auto read = [&](const char* key, auto& into) { json.at(key).get_to(into); };
  const auto read_table = [&](const char* key, int64_t(&into)[2][2]) {
    for (size_t i = 0; i < 4; ++i) into[i / 2][i % 2] = json.at(key).at(i).get<int64_t>();
  };
  read("groups", stats.groups);
  read("samples", stats.samples);
  read("tokens", stats.tokens);
  read("zero", stats.zero_variance);
  read("reward", stats.reward);
  read("reward2", stats.reward_squares);
  read("entropy", stats.entropy);
  read("logprob", stats.logprob);
  read("correct", stats.correct);
  read("failed", stats.failed);
  read("truncated", stats.truncated);
  read("aborted", stats.aborted);
  read("masked", stats.masked);
  read("loops", stats.loops);
  read("switched", stats.switched);
  read("repetition", stats.repetition);
  read_table("reflected", stats.reflected);
  read_table("several", stats.several);
  for (size_t f = 0; f < kFlips; ++f) stats.flips[f] = json.at("flips").at(f).get<int64_t>();
  read("flip_samples", stats.flip_samples);
  read("aha_samples", stats.aha_samples);
  read("candidates", stats.candidates);
  read("words", stats.words);
  read("word_samples", stats.word_samples);
  read("substrings", stats.substrings);
  read("extra", stats.extra);
  for (const auto& [name, sum] : json.at("verdicts").items()) {
    stats.verdicts.emplace_back(name, sum.get<double>());
  }
  read("experts", stats.experts);
  return stats;
}

Json scan_metrics(const StepStats& stats, const std::vector<WordList>& lists,
                  const std::vector<std::shared_ptr<const Scanner>>& scanners) {
  const auto n = static_cast<double>(stats.samples);
  const auto share = [n](int64_t count) { return ratio(static_cast<double>(count), n); };
  Json out;
  out["scan/reflection_rate"] =
      ratio(static_cast<double>(stats.reflected[1][0] + stats.reflected[1][1]),
            static_cast<double>(stats.graded()));
  out["scan/aha_rate"] = share(stats.aha_samples);
  out["scan/flips_wrong_to_right"] = share(stats.flips[0]);
  out["scan/flips_right_to_wrong"] = share(stats.flips[1]);
  out["scan/flips_right_to_right"] = share(stats.flips[2]);
  out["scan/flips_wrong_to_wrong"] = share(stats.flips[3]);
  out["scan/candidates"] = share(stats.candidates);
  const ShareDifference reflection = stats.reflection_gap();
  if (reflection.n_with > 0 && reflection.n_without > 0) {
    out["scan/reflection_gap"] = reflection.value;
    out["scan/reflection_gap_low"] = reflection.low;
    out["scan/reflection_gap_high"] = reflection.high;
  }
  const ShareDifference thinking = stats.thinking_gap();
  if (thinking.n_with > 0 && thinking.n_without > 0) out["scan/thinking_gap"] = thinking.value;
  out["scan/loop_rate"] = share(stats.loops);
  out["scan/truncated_rate"] = share(stats.truncated);
  out["scan/language_switch_rate"] = share(stats.switched);
  out["scan/repetition"] = ratio(stats.repetition, n);
  for (size_t i = 0; i < lists.size() && i < stats.words.size(); ++i) {
    out["scan/words_per_1k_tokens/" + lists[i].name] =
        ratio(1000.0 * static_cast<double>(stats.words[i]), static_cast<double>(stats.tokens));
    out["scan/words_per_trace/" + lists[i].name] = share(stats.words[i]);
  }
  for (size_t i = 0; i < scanners.size() && i < stats.extra.size(); ++i) {
    out["scan/" + scanners[i]->name()] = ratio(stats.extra[i], n);
  }
  return out;
}

}  // namespace zeroth
