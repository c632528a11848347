#include "tasks/evaluation.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>

#include "rewards/shaping.h"

namespace zeroth {
namespace {

constexpr double kZ = 1.959963984540054;  // 97.5% quantile of the standard normal

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

bool has_verdict(const Sample& sample) {
  if (sample.finish == FinishReason::kAborted || sample.verdicts.empty()) return false;
  return std::all_of(sample.verdicts.begin(), sample.verdicts.end(), [](const Verdict& v) {
    return has_score(v.reason) || (v.reason == Reason::kNotApplicable && v.name != "accuracy");
  });
}

Json to_json_object(const std::vector<Measure>& measures) {
  Json out = Json::object();
  for (const Measure& measure : measures) {
    out[measure.name] = {{"mean", measure.mean}, {"ci95", {measure.ci95.lo, measure.ci95.hi}}};
  }
  return out;
}

void add_to(Json& sums, const std::string& key, double value) {
  sums[key] = sums.value(key, 0.0) + value;
}

}  // namespace

double pass_at_k(int n, int c, int k) {
  if (n - c < k) return 1;
  // C(n-c, k) / C(n, k) = prod_{i = n-c+1..n} (1 - k / i), which neither overflows nor cancels.
  double none = 1;
  for (int i = n - c + 1; i <= n; ++i) none *= 1 - static_cast<double>(k) / i;
  return 1 - none;
}

Interval clustered_interval(std::span<const double> values, std::span<const std::string> clusters) {
  if (values.empty()) return {};
  const auto count = static_cast<double>(values.size());
  double p = 0;
  for (const double value : values) p += value;
  p /= count;
  std::map<std::string, double> residuals;
  for (size_t i = 0; i < values.size(); ++i) residuals[clusters[i]] += values[i] - p;
  const auto groups = static_cast<double>(residuals.size());
  double variance = 0;
  for (const auto& [name, sum] : residuals) variance += sum * sum;
  if (groups > 1) variance *= groups / (groups - 1) / (count * count);
  const double binomial = p * (1 - p);
  const bool degenerate = groups < 2 || variance < 1e-15 || binomial < 1e-15;
  const double n = degenerate ? groups : binomial / variance;
  const double centre = (p + kZ * kZ / (2 * n)) / (1 + kZ * kZ / n);
  const double half =
      kZ / (1 + kZ * kZ / n) * std::sqrt(std::max(0.0, binomial) / n + kZ * kZ / (4 * n * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

Interval clustered_ratio_interval(std::span<const double> totals, std::span<const double> counts,
                                  std::span<const std::string> clusters) {
  double total = 0, count = 0;
  for (size_t i = 0; i < totals.size(); ++i) {
    total += totals[i];
    count += counts[i];
  }
  const double mean = count > 0 ? total / count : 0;
  std::map<std::string, double> residuals;
  for (size_t i = 0; i < totals.size(); ++i) {
    if (counts[i] > 0) residuals[clusters[i]] += totals[i] - mean * counts[i];
  }
  const auto groups = static_cast<double>(residuals.size());
  if (groups < 2) return {0, std::numeric_limits<double>::infinity()};
  double variance = 0;
  for (const auto& [name, sum] : residuals) variance += sum * sum;
  const double half = kZ * std::sqrt(variance * groups / (groups - 1)) / count;
  return {std::max(0.0, mean - half), mean + half};
}

double majority_score(std::span<const std::string> answers, std::span<const double> scores) {
  struct Votes {
    int count = 0;
    double score = 0;
  };
  std::map<std::string, Votes> votes;
  int most = 0;
  for (size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].empty()) continue;
    Votes& of = votes[answers[i]];
    ++of.count;
    of.score += scores[i];
    most = std::max(most, of.count);
  }
  double sum = 0;
  int tied = 0;
  for (const auto& [answer, of] : votes) {
    if (of.count < most) continue;
    ++tied;
    sum += of.score / of.count;
  }
  return tied == 0 ? 0 : sum / tied;
}

void Evaluation::add(const Group& group, const std::string& cluster) {
  std::vector<std::string> answers;
  std::vector<double> scores, formats, languages;
  double tokens = 0, right_tokens = 0;
  int right = 0;
  for (const Sample& sample : group.samples) {
    ++samples_;
    if (!has_verdict(sample)) continue;
    const Verdict& accuracy = *accuracy_verdict(sample);
    answers.push_back(accuracy.extracted);
    scores.push_back(accuracy.score);
    right += accuracy.score >= 1;
    languages.push_back(language_share(thought_of(sample), group.problem.prompt, scripts_));
    tokens += static_cast<double>(drawn_tokens(sample));
    if (accuracy.score >= 1) right_tokens += static_cast<double>(drawn_tokens(sample));
    tokens_ += drawn_tokens(sample);
    truncated_ += sample.finish == FinishReason::kLength;
    for (const Verdict& verdict : sample.verdicts) {
      if (verdict.name == "format" && has_score(verdict.reason)) formats.push_back(verdict.score);
      if (&verdict != &accuracy) add_to(sums_, verdict.name, verdict.score);
      for (const auto& [key, value] : verdict.info.items()) {
        if (value.is_number()) add_to(sums_, key, value.get<double>());
      }
    }
  }
  right_ += right;
  const int valid = static_cast<int>(scores.size());
  valid_ += valid;
  largest_ = std::max(largest_, static_cast<int>(group.samples.size()));
  if (valid == 0) return;
  shares_.push_back(static_cast<double>(right) / valid);
  scores_.push_back(mean(scores));
  majorities_.push_back(majority_score(answers, scores));
  clusters_.push_back(cluster);
  counts_.push_back(valid);
  rights_.push_back(right);
  languages_.push_back(mean(languages));
  lengths_.push_back(tokens);
  right_lengths_.push_back(right_tokens);
  if (formats.empty()) return;
  formats_.push_back(mean(formats));
  format_clusters_.push_back(cluster);
}

std::vector<Measure> Evaluation::measures() const {
  std::vector<Measure> out;
  const auto share = [&](const char* name, const std::vector<double>& values,
                         const std::vector<std::string>& clusters) {
    if (!values.empty()) out.push_back({name, mean(values), clustered_interval(values, clusters)});
  };
  const auto tokens = [&](const char* name, const std::vector<double>& totals,
                          const std::vector<int>& numbers) {
    const std::vector<double> counts(numbers.begin(), numbers.end());
    double total = 0, count = 0;
    for (const double value : totals) total += value;
    for (const double value : counts) count += value;
    if (count > 0)
      out.push_back({name, total / count, clustered_ratio_interval(totals, counts, clusters_)});
  };
  share("accuracy", shares_, clusters_);
  share("format", formats_, format_clusters_);
  share("language", languages_, clusters_);
  tokens("length", lengths_, counts_);
  tokens("right_length", right_lengths_, rights_);
  return out;
}

EvalReport Evaluation::report() const {
  EvalReport report;
  report.task = task_;
  report.n = static_cast<int64_t>(shares_.size());
  report.samples = largest_;
  report.pass_at_1 = mean(shares_);
  report.avg_at_K = mean(scores_);
  report.cons_at_K = mean(majorities_);
  report.ci95 = clustered_interval(shares_, clusters_);
  report.measures = measures();
  std::map<std::string, int> distinct;
  for (const std::string& cluster : clusters_) distinct[cluster] = 1;
  report.clusters = static_cast<int64_t>(distinct.size());
  const double valid = std::max<double>(1, static_cast<double>(valid_));
  report.mean_length = static_cast<double>(tokens_) / valid;
  if (right_ > 0)
    report.tokens_per_correct = static_cast<double>(tokens_) / static_cast<double>(right_);
  report.truncated = static_cast<double>(truncated_) / valid;
  report.errors =
      samples_ == 0 ? 0 : static_cast<double>(samples_ - valid_) / static_cast<double>(samples_);

  const auto pass = [&](int k) {
    std::vector<double> values;
    // A problem that lost samples to errors is asked for as many as it has.
    for (size_t i = 0; i < counts_.size(); ++i) {
      values.push_back(pass_at_k(counts_[i], rights_[i], std::min(k, counts_[i])));
    }
    return mean(values);
  };
  report.pass_at_K = pass(std::max(1, largest_));
  report.pass_curve = Json::object();
  for (int k = 2; k < largest_; k *= 2) report.pass_curve["pass@" + std::to_string(k)] = pass(k);

  report.facts = Json::object();
  for (const auto& [key, sum] : sums_.items()) {
    report.facts[key] = sum.get<double>() / valid;
    const std::string right = key + "_right";
    if (sums_.contains(right) && sum.get<double>() > 0) {
      report.facts[key + "_accuracy"] = sums_[right].get<double>() / sum.get<double>();
    }
  }
  return report;
}

const Measure* EvalReport::measure(const std::string& name) const {
  for (const Measure& measure : measures) {
    if (measure.name == name) return &measure;
  }
  return nullptr;
}

Json EvalReport::to_json() const {
  Json json = {{"task", task},
               {"n", n},
               {"samples", samples},
               {"pass@1", pass_at_1},
               {"pass@K", pass_at_K},
               {"avg@K", avg_at_K},
               {"cons@K", cons_at_K},
               {"ci95", {ci95.lo, ci95.hi}},
               {"mean_length", mean_length},
               {"truncated", truncated},
               {"errors", errors},
               {"clusters", clusters}};
  json.update(pass_curve);
  if (samples > 1) {
    const std::string k = std::to_string(samples);
    json["pass@" + k] = pass_at_K;
    json["avg@" + k] = avg_at_K;
    json["cons@" + k] = cons_at_K;
  }
  if (tokens_per_correct > 0) json["tokens_per_correct"] = tokens_per_correct;
  json["measures"] = to_json_object(measures);
  json["facts"] = facts;
  if (skipped > 0) json["skipped"] = skipped;
  for (const auto& [name, part] : parts) {
    json["parts"][name] = {{"n", part.n},
                           {"pass@1", part.pass_at_1},
                           {"avg@K", part.avg_at_K},
                           {"ci95", {part.ci95.lo, part.ci95.hi}},
                           {"mean_length", part.mean_length},
                           {"truncated", part.truncated},
                           {"measures", to_json_object(part.measures)}};
  }
  return json;
}

std::string EvalReport::to_text() const {
  char line[256];
  std::snprintf(line, sizeof line, "%s: %lld problems (%lld clusters) x %d samples\n", task.c_str(),
                static_cast<long long>(n), static_cast<long long>(clusters), samples);
  std::string text = line;
  std::snprintf(line, sizeof line, "  pass@1 %.3f  [%.3f, %.3f]   pass@%d %.3f   cons@%d %.3f\n",
                pass_at_1, ci95.lo, ci95.hi, samples, pass_at_K, samples, cons_at_K);
  text += line;
  std::snprintf(line, sizeof line,
                "  mean length %.1f tokens, truncated %.3f, checker errors %.3f\n", mean_length,
                truncated, errors);
  text += line;
  for (const Measure& measure : measures) {
    if (measure.name == "accuracy") continue;  // above
    const bool tokens = measure.name == "length" || measure.name == "right_length";
    std::snprintf(line, sizeof line,
                  tokens ? "  %-24s %.1f  [%.1f, %.1f]\n" : "  %-24s %.3f  [%.3f, %.3f]\n",
                  measure.name.c_str(), measure.mean, measure.ci95.lo, measure.ci95.hi);
    text += line;
  }
  if (tokens_per_correct > 0) {
    std::snprintf(line, sizeof line, "  cost of a right answer: %.1f tokens\n", tokens_per_correct);
    text += line;
  }
  if (skipped > 0)
    text += "  " + std::to_string(skipped) + " problems left out: they cannot be sampled from\n";
  for (const auto& [name, part] : parts) {
    std::snprintf(line, sizeof line, "  %-24s %lld problems, pass@1 %.3f  [%.3f, %.3f]\n",
                  name.c_str(), static_cast<long long>(part.n), part.pass_at_1, part.ci95.lo,
                  part.ci95.hi);
    text += line;
  }
  for (const auto& [key, value] : facts.items()) {
    if (measure(key) != nullptr) continue;  // above, with its interval
    std::snprintf(line, sizeof line, "  %-24s %.3f\n", key.c_str(), value.get<double>());
    text += line;
  }
  return text;
}

}  // namespace zeroth
