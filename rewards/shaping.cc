#include "rewards/shaping.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>
#include <unordered_set>

#include "rewards/process.h"

namespace zeroth {
namespace {

struct ScriptRange {
  uint32_t first, last;
  const char* script;
};

// Letters by block, ascending. Blocks of signs and digits are left out.
constexpr ScriptRange kRanges[] = {
    {'A', 'Z', "latin"},          {'a', 'z', "latin"},        {0xc0, 0xd6, "latin"},
    {0xd8, 0xf6, "latin"},        {0xf8, 0x24f, "latin"},     {0x370, 0x3ff, "greek"},
    {0x400, 0x52f, "cyrillic"},   {0x5d0, 0x5ea, "hebrew"},   {0x620, 0x64a, "arabic"},
    {0x671, 0x6d3, "arabic"},     {0x750, 0x77f, "arabic"},   {0x904, 0x939, "devanagari"},
    {0x958, 0x961, "devanagari"}, {0xe01, 0xe30, "thai"},     {0xe32, 0xe33, "thai"},
    {0xe40, 0xe46, "thai"},       {0x1100, 0x11ff, "hangul"}, {0x1e00, 0x1eff, "latin"},
    {0x1f00, 0x1fff, "greek"},    {0x3041, 0x3096, "kana"},   {0x30a1, 0x30fa, "kana"},
    {0x3400, 0x4dbf, "han"},      {0x4e00, 0x9fff, "han"},    {0xac00, 0xd7a3, "hangul"},
    {0xf900, 0xfaff, "han"},      {0x20000, 0x323af, "han"},
};

const char* script_of(uint32_t code) {
  const auto* it =
      std::upper_bound(std::begin(kRanges), std::end(kRanges), code,
                       [](uint32_t c, const ScriptRange& range) { return c < range.first; });
  if (it == std::begin(kRanges) || code > std::prev(it)->last) return nullptr;
  return std::prev(it)->script;
}

// Next code point at *at, which moves on; bytes that are no UTF-8 come back as 0.
uint32_t next_code(std::string_view text, size_t* at) {
  const auto lead = static_cast<unsigned char>(text[*at]);
  const int length = lead < 0x80       ? 1
                     : lead >> 5 == 6  ? 2
                     : lead >> 4 == 14 ? 3
                     : lead >> 3 == 30 ? 4
                                       : 0;
  if (length == 0 || *at + static_cast<size_t>(length) > text.size()) {
    ++*at;
    return 0;
  }
  uint32_t code = length == 1 ? lead : lead & (0x7fu >> length);
  for (int i = 1; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(text[*at + static_cast<size_t>(i)]);
    if (byte >> 6 != 2) {
      ++*at;
      return 0;
    }
    code = code << 6 | (byte & 0x3f);
  }
  *at += static_cast<size_t>(length);
  return code;
}

// Marks that continue a word without changing its script.
bool joins_words(uint32_t code) {
  return code == '\'' || code == 0x2019 || (code >= 0x300 && code <= 0x36f) ||
         (code >= 0x900 && code <= 0x97f) || (code >= 0xe31 && code <= 0xe4e) ||
         (code >= 0x64b && code <= 0x65f) || (code >= 0x591 && code <= 0x5c7);
}

uint64_t mix(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2);
  hash *= 0xff51afd7ed558ccdu;
  return hash ^ (hash >> 32);
}

constexpr const char* kProblem = "problem";  // the script of the problem

// Calls f(script) for every word of the text.
template <class F>
void for_each_word(std::string_view text, const F& f) {
  const char* current = nullptr;  // script of the word that is being read
  for (size_t at = 0; at < text.size();) {
    // Tags such as <think> are markup, not language.
    if (text[at] == '<') {
      const size_t close = text.substr(at, 16).find('>');
      if (close != std::string_view::npos) {
        at += close + 1;
        current = nullptr;
        continue;
      }
    }
    const uint32_t code = next_code(text, &at);
    const char* script = script_of(code);
    if (script == nullptr) {
      if (!joins_words(code)) current = nullptr;
      continue;
    }
    if (std::string_view(script) == "han" || current == nullptr ||
        std::string_view(current) != script) {
      f(script);
    }
    current = script;
  }
}

void add_verdict(Sample& sample, const char* name, double score, double weight) {
  Verdict verdict;
  verdict.name = name;
  verdict.score = score;
  verdict.weight = weight;
  verdict.reason = Reason::kShaped;
  sample.verdicts.push_back(std::move(verdict));
}

bool is_right(const Sample& sample) {
  const Verdict* accuracy = accuracy_verdict(sample);
  return accuracy != nullptr && accuracy->score >= 1;
}

double cosine_score(const ShapingConfig& config, int max_tokens, const Sample& sample) {
  if (sample.finish == FinishReason::kLength) return config.cosine_truncated;
  const auto length = std::min<int64_t>(drawn_tokens(sample), max_tokens);
  return is_right(sample) ? cosine_length(length, max_tokens, config.cosine_right_short,
                                          config.cosine_right_long)
                          : cosine_length(length, max_tokens, config.cosine_wrong_short,
                                          config.cosine_wrong_long);
}

}  // namespace

const std::vector<std::string>& known_scripts() {
  static const std::vector<std::string> scripts = {"latin",      "greek",  "cyrillic", "han",
                                                   "kana",       "hangul", "arabic",   "hebrew",
                                                   "devanagari", "thai"};
  return scripts;
}

double language_consistency(std::string_view text, std::span<const std::string> scripts) {
  int64_t words = 0, target = 0;
  for_each_word(text, [&](const char* script) {
    ++words;
    target += std::find(scripts.begin(), scripts.end(), script) != scripts.end();
  });
  return words == 0 ? 1 : static_cast<double>(target) / static_cast<double>(words);
}

std::string main_script(std::string_view text) {
  std::vector<std::pair<std::string, int64_t>> counts;  // in the order in which they were met
  for_each_word(text, [&](const char* script) {
    const auto known = std::find_if(counts.begin(), counts.end(),
                                    [&](const auto& count) { return count.first == script; });
    if (known != counts.end()) {
      ++known->second;
    } else {
      counts.emplace_back(script, 1);
    }
  });
  const auto most =
      std::max_element(counts.begin(), counts.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == counts.end() ? "" : most->first;
}

double language_share(std::string_view text, std::string_view prompt,
                      std::span<const std::string> scripts) {
  if (std::find(scripts.begin(), scripts.end(), kProblem) == scripts.end())
    return language_consistency(text, scripts);
  std::vector<std::string> wanted(scripts.begin(), scripts.end());
  wanted.push_back(main_script(prompt));
  return wanted.back().empty() ? 1 : language_consistency(text, wanted);
}

double repeated_ngrams(std::span<const TokenId> tokens, int n) {
  const auto width = static_cast<size_t>(n);
  if (tokens.size() < width) return 0;
  const size_t all = tokens.size() - width + 1;
  std::unordered_set<uint64_t> seen;
  for (size_t i = 0; i < all; ++i) {
    uint64_t hash = 0;
    for (size_t k = 0; k < width; ++k) hash = mix(hash, static_cast<uint32_t>(tokens[i + k]));
    seen.insert(hash);
  }
  return 1 - static_cast<double>(seen.size()) / static_cast<double>(all);
}

double cosine_length(int64_t length, int64_t limit, double at_zero, double at_limit) {
  if (limit < 1) return at_limit;
  const double angle = std::numbers::pi * static_cast<double>(length) / static_cast<double>(limit);
  return at_limit + (at_zero - at_limit) * (1 + std::cos(angle)) / 2;
}

std::vector<double> kimi_length(std::span<const int64_t> lengths, std::span<const bool> right) {
  std::vector<double> scores(lengths.size(), 0.0);
  if (lengths.empty()) return scores;
  const auto [low, high] = std::minmax_element(lengths.begin(), lengths.end());
  if (*low == *high) return scores;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const double lambda =
        0.5 - static_cast<double>(lengths[i] - *low) / static_cast<double>(*high - *low);
    scores[i] = right[i] ? lambda : std::min(0.0, lambda);
  }
  return scores;
}

std::string_view thought_of(const Sample& sample) {
  const std::string_view text = sample.text;
  return text.substr(0, text.rfind("</think>"));
}

namespace {

void add_process(const ShapingConfig& config, Sample& sample) {
  for (Verdict& verdict : sample.verdicts) {
    if (verdict.name != "process") continue;
    if (verdict.weight == 0) verdict.weight = config.process_weight;
    return;
  }
  Verdict verdict = check_process(thought_of(sample), config.process_min_steps);
  verdict.weight = config.process_weight;
  sample.verdicts.push_back(std::move(verdict));
}

}  // namespace

bool ShapingConfig::any() const {
  return language_weight != 0 || repetition_weight != 0 || kimi_length_weight != 0 ||
         cosine_weight != 0 || process_weight != 0;
}

void check_scripts(std::span<const std::string> scripts, const char* field) {
  std::vector<std::string> known = known_scripts();
  known.emplace_back(kProblem);
  for (const std::string& script : scripts) {
    if (std::find(known.begin(), known.end(), script) != known.end()) continue;
    const std::string near = nearest(script, known);
    fail_usage(std::string(field) + ": \"" + script + "\" is not known" +
                   (near.empty() ? "" : "; did you mean \"" + near + "\"?"),
               "use latin, greek, cyrillic, han, kana, hangul, arabic, hebrew, devanagari, thai or "
               "problem");
  }
}

void ShapingConfig::check() const { check_scripts(scripts, "scripts"); }

const Verdict* accuracy_verdict(const Sample& sample) {
  for (const Verdict& verdict : sample.verdicts) {
    if (verdict.name == "accuracy") return &verdict;
  }
  return sample.verdicts.empty() ? nullptr : &sample.verdicts.front();
}

std::vector<double> group_ranks(std::span<const double> scores) {
  std::vector<double> ranks;
  for (const double score : scores) {
    double below = 0, equal = -1;  // itself
    for (const double other : scores) {
      below += other < score;
      equal += other == score;
    }
    const double others = static_cast<double>(scores.size()) - 1;
    ranks.push_back(others > 0 ? (below + equal / 2) / others : 0.5);
  }
  return ranks;
}

void rank_group(const ShapingConfig& config, Group& group) {
  for (const std::string& name : config.ranked) {
    std::vector<Verdict*> verdicts;
    std::vector<double> scores;
    for (Sample& sample : group.samples) {
      for (Verdict& verdict : sample.verdicts) {
        if (sample.masked || verdict.name != name || !has_score(verdict.reason)) continue;
        verdicts.push_back(&verdict);
        scores.push_back(verdict.score);
      }
    }
    const std::vector<double> ranks = group_ranks(scores);
    for (size_t i = 0; i < verdicts.size(); ++i) {
      verdicts[i]->info[name + "_score"] = scores[i];
      verdicts[i]->score = ranks[i];
    }
  }
}

void shape_group(const ShapingConfig& config, int max_tokens, Group& group) {
  if (!config.any()) return;
  std::vector<Sample*> samples;
  for (Sample& sample : group.samples) {
    if (!sample.masked) samples.push_back(&sample);
  }
  std::vector<double> lengths_score;
  if (config.kimi_length_weight != 0) {
    std::vector<int64_t> lengths;
    const auto right = std::make_unique<bool[]>(samples.size());
    for (size_t i = 0; i < samples.size(); ++i) {
      lengths.push_back(drawn_tokens(*samples[i]));
      right[i] = is_right(*samples[i]);
    }
    lengths_score = kimi_length(lengths, {right.get(), samples.size()});
  }
  for (size_t i = 0; i < samples.size(); ++i) {
    Sample& sample = *samples[i];
    const double cosine = config.cosine_weight != 0 ? cosine_score(config, max_tokens, sample) : 0;
    if (config.language_weight != 0) {
      add_verdict(sample, "language",
                  language_share(thought_of(sample), group.problem.prompt, config.scripts),
                  config.language_weight);
    }
    if (config.repetition_weight != 0) {
      add_verdict(sample, "repetition",
                  -repeated_ngrams(drawn_ids(sample), config.repetition_ngram),
                  config.repetition_weight);
    }
    if (config.kimi_length_weight != 0) {
      add_verdict(sample, "kimi_length", lengths_score[i], config.kimi_length_weight);
    }
    if (config.cosine_weight != 0) add_verdict(sample, "cosine", cosine, config.cosine_weight);
    if (config.process_weight != 0) add_process(config, sample);
  }
}

}  // namespace zeroth
