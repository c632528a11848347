#include "text/tokenizer_build.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <queue>
#include <set>
#include <unordered_map>

#include "core/config.h"
#include "core/error.h"
#include "text/tokenizer_bytes.h"
#include "text/tokenizer_file.h"
#include "text/tokenizer_steps.h"
#include "text/tokenizer_unicode.h"

namespace zeroth {
namespace {

constexpr int kMaxNumber = 999'999;
constexpr size_t kMaxListed = 4096;  // the words become one regular expression

using Pair = std::pair<int, int>;

// Vocabulary of a tokenizer under construction, in the byte-level spelling.
class Builder {
 public:
  explicit Builder(const TokenizerSpec& spec) : spec_(spec) {
    check();
    for (const auto* list : {&spec.specials, &spec.tags}) {
      for (const std::string& text : *list) add(text);
    }
    for (int byte = 0; byte < 256; ++byte) {
      byte_ids_[byte] = add(byte_level_character(static_cast<uint8_t>(byte)));
    }
    for (int number = 10; number <= spec.max_number; ++number) add(std::to_string(number));
    for (const std::string& word : spec.words) add(to_byte_level(word));
  }

  int add(const std::string& spelling) {
    const auto [it, fresh] = ids_.emplace(spelling, static_cast<int>(spellings_.size()));
    if (fresh) spellings_.push_back(spelling);
    return it->second;
  }

  bool holds(const std::string& spelling) const { return ids_.contains(spelling); }
  const std::string& spelling(int id) const { return spellings_[static_cast<size_t>(id)]; }
  int byte_id(char byte) const { return byte_ids_[static_cast<uint8_t>(byte)]; }

  Json pre_tokenizer() const {
    const Json split = {{"type", "Split"},
                        {"pattern", {{"Regex", pattern()}}},
                        {"behavior", "Isolated"},
                        {"invert", false}};
    const Json bytes = {{"type", "ByteLevel"},
                        {"add_prefix_space", false},
                        {"trim_offsets", false},
                        {"use_regex", false}};
    return {{"type", "Sequence"}, {"pretokenizers", Json::array({split, bytes})}};
  }

  std::string dump(Bpe::Merges merges) const {
    const Json byte_level = {{"type", "ByteLevel"},
                             {"add_prefix_space", false},
                             {"trim_offsets", false},
                             {"use_regex", false}};
    TokenizerFile file;
    file.rest = {{"added_tokens", Json::array()},
                 {"pre_tokenizer", pre_tokenizer()},
                 {"post_processor", byte_level},
                 {"decoder", byte_level},
                 {"model", {{"ignore_merges", true}}}};
    const size_t specials = spec_.specials.size();
    for (size_t id = 0; id < specials + spec_.tags.size(); ++id) {
      file.rest["added_tokens"].push_back(
          {{"id", id}, {"content", spellings_[id]}, {"special", id < specials}});
    }
    for (size_t id = 0; id < spellings_.size(); ++id) {
      file.vocabulary.add(spellings_[id], static_cast<int64_t>(id), "new tokenizer");
    }
    file.merges = std::move(merges);
    return write_tokenizer_json(file);
  }

 private:
  void check() const {
    if (spec_.specials.empty()) {
      fail_usage("a tokenizer without special tokens", "name at least the one that ends a text");
    }
    if (spec_.max_number < -1 || spec_.max_number > kMaxNumber) {
      fail_usage("max_number is " + std::to_string(spec_.max_number), "it may be -1..999999");
    }
    if (spec_.merges < 0 || spec_.merges > 1'000'000) {
      fail_usage("merges is " + std::to_string(spec_.merges), "it may be 0..1000000");
    }
    std::set<std::string> seen;
    for (const auto* list : {&spec_.specials, &spec_.tags, &spec_.words}) {
      if (list->size() > kMaxListed) {
        fail_usage(std::to_string(list->size()) + " entries in one list", "at most 4096");
      }
      for (const std::string& text : *list) {
        if (text.empty() || valid_utf8_prefix(text) != text.size()) {
          fail_usage("a token that is empty or not UTF-8: \"" + replace_invalid_utf8(text) + "\"");
        }
        if (!seen.insert(text).second) fail_usage("the token \"" + text + "\" is listed twice");
      }
    }
  }

  // A word, and what may not stand beside it.
  static std::string bounded(const std::string& word) {
    const auto kind = [](CodePoint c) -> std::string {
      if (is_numeric(c)) return "\\p{N}";
      return is_word(c) && c != '_' ? "\\p{L}" : "";
    };
    std::string literal;
    CodePoint last = 0;
    for (std::string_view rest = word; !rest.empty();) {
      const Utf8Char c = decode_utf8(rest);
      last = c.code;
      const std::string_view text = rest.substr(0, c.length);
      if (c.code < 0x80 && std::ispunct(static_cast<int>(c.code))) literal += '\\';
      if (c.code == '\n') {
        literal += "\\n";
      } else {
        literal += text;
      }
      rest.remove_prefix(c.length);
    }
    const std::string before = kind(decode_utf8(word).code);
    const std::string behind = kind(last);
    return (before.empty() ? "" : "(?<!" + before + ")") + literal +
           (behind.empty() ? "" : "(?!" + behind + ")");
  }

  std::string pattern() const {
    std::vector<std::string> words = spec_.words;
    std::sort(words.begin(), words.end(), [](const std::string& a, const std::string& b) {
      return a.size() != b.size() ? a.size() > b.size() : a < b;
    });
    std::string listed;
    for (const std::string& word : words) listed += (listed.empty() ? "" : "|") + bounded(word);
    // A listed word keeps to itself: the general rule for letters must not swallow it with its
    // space.
    const std::string not_listed = listed.empty() ? "" : "(?!" + listed + ")";
    const std::string general =
        "\\p{N}+| ?" + not_listed + "[\\p{L}\\p{M}]+|[^\\s\\p{L}\\p{M}\\p{N}]+|\\s+(?!\\S)|\\s";
    return listed.empty() ? general : listed + "|" + general;
  }

  const TokenizerSpec& spec_;
  std::vector<std::string> spellings_;
  std::unordered_map<std::string, int> ids_;
  int byte_ids_[256] = {};
};

// Learns merges: words with counts, and for every pair of neighbouring tokens how often it occurs
// and in which words.
class MergeLearner {
 public:
  explicit MergeLearner(Builder& builder) : builder_(builder) {}

  void read(const TextSource& corpus) {
    const auto steps = make_pre_tokenizer(builder_.pre_tokenizer(), "pre_tokenizer");
    std::map<std::string, int64_t> counts;  // ordered: the result must not depend on hashing
    corpus([&](std::string_view text) {
      const std::string valid = replace_invalid_utf8(text);
      Pieces pieces{valid, {{0, valid.size()}}, true};
      steps->apply(pieces);
      for (const Span& span : pieces.spans) ++counts[std::string(pieces.view(span))];
    });
    for (const auto& [spelling, count] : counts) {
      // What is one token already, and digits, learn nothing.
      if (builder_.holds(spelling) || spelling.find_first_of("0123456789") != spelling.npos) {
        continue;
      }
      Word word{{}, count};
      std::string bytes;
      append_from_byte_level(spelling, bytes);
      for (char byte : bytes) word.tokens.push_back(builder_.byte_id(byte));
      words_.push_back(std::move(word));
    }
  }

  Bpe::Merges learn(int merges) {
    for (size_t w = 0; w < words_.size(); ++w) count_pairs(w, +1, nullptr);
    for (const auto& [pair, count] : counts_) queue_.push({count, pair});
    Bpe::Merges out;
    while (static_cast<int>(out.size()) < merges && !queue_.empty()) {
      const Entry top = queue_.top();
      queue_.pop();
      const auto it = counts_.find(top.pair);
      if (it == counts_.end() || it->second != top.count) continue;  // outdated
      if (top.count < 2) break;
      const auto [a, b] = top.pair;
      out.emplace_back(builder_.spelling(a), builder_.spelling(b));
      merge(top.pair, builder_.add(builder_.spelling(a) + builder_.spelling(b)));
    }
    return out;
  }

 private:
  struct Word {
    std::vector<int> tokens;
    int64_t count;
  };
  struct Entry {
    int64_t count;
    Pair pair;
    bool operator<(const Entry& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  void count_pairs(size_t w, int sign, std::set<Pair>* changed) {
    const Word& word = words_[w];
    for (size_t i = 0; i + 1 < word.tokens.size(); ++i) {
      const Pair pair{word.tokens[i], word.tokens[i + 1]};
      counts_[pair] += sign * word.count;
      if (sign > 0) places_[pair].insert(w);
      if (changed != nullptr) changed->insert(pair);
    }
  }

  void merge(const Pair& pair, int merged) {
    std::set<Pair> changed;
    const std::set<size_t> places = std::move(places_[pair]);
    places_.erase(pair);
    for (const size_t w : places) {
      count_pairs(w, -1, &changed);
      std::vector<int>& tokens = words_[w].tokens;
      std::vector<int> next;
      for (size_t i = 0; i < tokens.size(); ++i) {
        const bool hit =
            i + 1 < tokens.size() && tokens[i] == pair.first && tokens[i + 1] == pair.second;
        next.push_back(hit ? merged : tokens[i]);
        i += hit;
      }
      tokens = std::move(next);
      count_pairs(w, +1, &changed);
    }
    for (const Pair& other : changed) {
      const auto it = counts_.find(other);
      if (it->second <= 0) {
        counts_.erase(it);
      } else {
        queue_.push({it->second, other});
      }
    }
  }

  Builder& builder_;
  std::vector<Word> words_;
  std::map<Pair, int64_t> counts_;
  std::map<Pair, std::set<size_t>> places_;  // words that hold the pair, or held it once
  std::priority_queue<Entry> queue_;
};

}  // namespace

std::string build_tokenizer_json(const TokenizerSpec& spec, const TextSource& corpus) {
  Builder builder(spec);
  Bpe::Merges merges;
  if (spec.merges > 0) {
    if (!corpus) fail_usage("merges without a corpus", "give the texts to learn them from");
    MergeLearner learner(builder);
    learner.read(corpus);
    merges = learner.learn(spec.merges);
  }
  return builder.dump(std::move(merges));
}

std::string build_tokenizer_config(const TokenizerSpec& spec) {
  if (spec.specials.empty()) fail_usage("a tokenizer without special tokens");
  const Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                       {"eos_token", spec.specials[0]},
                       {"clean_up_tokenization_spaces", false},
                       {"model_max_length", 1'000'000}};
  return config.dump(2) + "\n";
}

}  // namespace zeroth
