#include "text/tokenizer_ranks.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <unordered_map>

#include "core/error.h"
#include "text/tokenizer_bytes.h"
#include "text/tokenizer_source.h"
#include "text/word_rules.h"

namespace zeroth {
namespace {

constexpr size_t kMaxRanks = 4'000'000;
constexpr size_t kLlama3Ranks = 128'000;
constexpr int kReserved = 256;  // ids that both models keep for special tokens

// Moonlight's tokenization_moonshot.py: pat_str.
constexpr const char* kKimiWords =
    R"([\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Appends what `text` encodes; false when it is no base64.
bool append_base64(std::string_view text, std::string& out) {
  static constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.empty() || text.size() % 4 != 0) return false;
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  uint32_t bits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t digit = i < text.size() - padding ? kAlphabet.find(text[i]) : 0;
    if (digit == std::string_view::npos) return false;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if (i % 4 != 3) continue;
    const size_t bytes = i + 1 == text.size() ? 3 - padding : 3;
    for (size_t b = 0; b < bytes; ++b) out += static_cast<char>(bits >> (16 - 8 * b));
    bits = 0;
  }
  return true;
}

using Ranks = std::vector<std::pair<std::string, int64_t>>;  // byte strings by rank, ascending

void check_ranks(Ranks& ranks, const std::string& source) {
  std::sort(ranks.begin(), ranks.end(),
            [](const auto& a, const auto& b) { return a.second < b.second; });
  std::array<bool, 256> single{};
  for (const auto& [bytes, rank] : ranks) {
    if (bytes.size() == 1) single[static_cast<unsigned char>(bytes[0])] = true;
  }
  const auto missing = std::find(single.begin(), single.end(), false);
  if (missing != single.end()) {
    fail(source + ": no token for the byte " + std::to_string(missing - single.begin()),
         "every byte is a token of a tiktoken file and of a tekken.json; fetch it again");
  }
}

// A merge for every way to put a token together from two lower ones; the pair that is merged first
// is the one whose result has the lowest rank, as in tiktoken.
void add_merges(const Ranks& ranks, Bpe::Merges& merges) {
  std::unordered_map<std::string_view, int64_t> rank_of;
  for (const auto& [bytes, rank] : ranks) rank_of.emplace(bytes, rank);
  for (const auto& [bytes, rank] : ranks) {
    const std::string_view whole = bytes;
    std::vector<std::pair<std::pair<int64_t, int64_t>, size_t>> ways;
    for (size_t cut = 1; cut < whole.size(); ++cut) {
      const auto left = rank_of.find(whole.substr(0, cut));
      const auto right = rank_of.find(whole.substr(cut));
      if (left == rank_of.end() || right == rank_of.end()) continue;
      ways.push_back({{left->second, right->second}, cut});
    }
    std::sort(ways.begin(), ways.end());
    for (const auto& [order, cut] : ways) {
      merges.emplace_back(to_byte_level(whole.substr(0, cut)), to_byte_level(whole.substr(cut)));
    }
  }
}

Json rules(const std::string& words) {
  const Json split = {{"type", "Split"},
                      {"pattern", {{"Regex", words}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  const Json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  return {{"model", {{"type", "BPE"}, {"ignore_merges", true}}},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", Json::array({split, bytes})}}},
          {"decoder", {{"type", "ByteLevel"}}}};
}

Json special(const std::string& content, int64_t id) {
  return {{"id", id}, {"content", content}, {"special", true}, {"normalized", false}};
}

Json front_template(const std::string& token, int64_t id) {
  return {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"SpecialToken", {{"id", token}, {"type_id", 0}}}},
        {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
      {"pair",
       {{{"SpecialToken", {{"id", token}, {"type_id", 0}}}},
        {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
        {{"SpecialToken", {{"id", token}, {"type_id", 1}}}},
        {{"Sequence", {{"id", "B"}, {"type_id", 1}}}}}},
      {"special_tokens",
       {{token, {{"id", token}, {"ids", Json::array({id})}, {"tokens", Json::array({token})}}}}}};
}

// Names that Llama 3.1's 256 special tokens have (llama-models, tokenizer.py).
std::string llama3_special(int i) {
  static constexpr const char* kNames[] = {"<|begin_of_text|>",
                                           "<|end_of_text|>",
                                           "<|reserved_special_token_0|>",
                                           "<|reserved_special_token_1|>",
                                           "<|finetune_right_pad_id|>",
                                           "<|step_id|>",
                                           "<|start_header_id|>",
                                           "<|end_header_id|>",
                                           "<|eom_id|>",
                                           "<|eot_id|>",
                                           "<|python_tag|>"};
  if (i < static_cast<int>(std::size(kNames))) return kNames[i];
  return "<|reserved_special_token_" + std::to_string(i - 9) + "|>";
}

// The name that added_tokens_decoder has for an id; empty: none.
std::string configured_name(const Json& settings, int64_t id) {
  const auto table = settings.find("added_tokens_decoder");
  if (table == settings.end() || !table->is_object()) return "";
  const auto item = table->find(std::to_string(id));
  return item == table->end() ? "" : token_content(*item);
}

}  // namespace

bool is_rank_file(std::string_view text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || space > 4096) return false;
  std::string bytes;
  const std::string_view rank =
      line.substr(space + 1, line.ends_with('\r') ? line.size() - space - 2 : line.npos);
  return append_base64(line.substr(0, space), bytes) && !rank.empty() &&
         rank.find_first_not_of("0123456789") == std::string_view::npos;
}

TokenizerFile parse_ranks(std::string_view text, const Json& settings, const std::string& source) {
  Ranks ranks;
  for (size_t at = 0, number = 1; at < text.size(); ++number) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const size_t space = std::min(line.find(' '), line.size());
    std::string bytes;
    int64_t rank = -1;
    const std::string_view digits = line.substr(std::min(space + 1, line.size()));
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), rank);
    if (!append_base64(line.substr(0, space), bytes) || read.ec != std::errc() || rank < 0 ||
        read.ptr != digits.data() + digits.size() || ranks.size() >= kMaxRanks) {
      fail(source + ":" + std::to_string(number) + ": no token in base64 with its rank",
           "this is a tiktoken file or none at all; fetch it again");
    }
    ranks.emplace_back(std::move(bytes), rank);
  }
  check_ranks(ranks, source);
  const auto type = settings.find("tokenizer_class");
  const bool kimi = type != settings.end() && token_content(*type).starts_with("TikTokenTokenizer");
  if (!kimi && ranks.size() != kLlama3Ranks) {
    fail(source + ": a tiktoken file of " + std::to_string(ranks.size()) +
             " ranks, whose word rules are not known",
         "those of Llama 3 (128000 ranks) and of Moonlight and Kimi (tokenizer_class "
         "TikTokenTokenizer) are; save the tokenizer as tokenizer.json");
  }
  TokenizerFile file;
  file.rest = rules(kimi ? kKimiWords : kLlama3Words);
  for (const auto& [bytes, rank] : ranks) file.vocabulary.add(to_byte_level(bytes), rank, source);
  add_merges(ranks, file.merges);
  const int64_t base = file.vocabulary.end();
  Json added = Json::array();
  for (int i = 0; i < kReserved; ++i) {
    const int64_t id = base + i;
    std::string name = configured_name(settings, id);
    if (name.empty())
      name = kimi ? "<|reserved_token_" + std::to_string(id) + "|>" : llama3_special(i);
    added.push_back(special(name, id));
  }
  file.rest["added_tokens"] = std::move(added);
  if (!kimi) file.rest["post_processor"] = front_template("<|begin_of_text|>", base);
  return file;
}

TokenizerFile parse_tekken(std::string_view text, const std::string& source) {
  const Json json = parse_json(text, source);
  const auto malformed = [&](const std::string& what) {
    fail(source + ": " + what, "a tekken.json of Mistral's models belongs here");
  };
  const Json config = json.is_object() ? json.value("config", Json()) : Json();
  if (!config.is_object() || !json.contains("vocab") || !json["vocab"].is_array() ||
      json["vocab"].empty()) {
    malformed("no config, or no vocab with tokens");
  }
  if (!config.contains("pattern") || !config["pattern"].is_string()) {
    malformed("config.pattern is missing");
  }
  const auto number = [&](const char* key, int64_t fallback) {
    const auto at = config.find(key);
    if (at == config.end() || at->is_null()) return fallback;
    if (!at->is_number_unsigned() || *at > kMaxRanks) malformed(std::string(key) + " is no size");
    return at->get<int64_t>();
  };
  const int64_t specials = number("default_num_special_tokens", 1000);
  const int64_t most = number("default_vocab_size", INT32_MAX) - specials;

  TokenizerFile file;
  file.rest = rules(config["pattern"].get<std::string>());
  std::vector<std::string> names(static_cast<size_t>(specials));
  static constexpr const char* kOlder[] = {"<unk>",
                                           "<s>",
                                           "</s>",
                                           "[INST]",
                                           "[/INST]",
                                           "[AVAILABLE_TOOLS]",
                                           "[/AVAILABLE_TOOLS]",
                                           "[TOOL_RESULTS]",
                                           "[/TOOL_RESULTS]",
                                           "[TOOL_CALLS]",
                                           "[IMG]",
                                           "<pad>",
                                           "[IMG_BREAK]",
                                           "[IMG_END]",
                                           "[PREFIX]",
                                           "[MIDDLE]",
                                           "[SUFFIX]"};
  for (size_t i = 0; i < names.size(); ++i) {
    names[i] = i < std::size(kOlder) ? kOlder[i] : "<SPECIAL_" + std::to_string(i) + ">";
  }
  if (json.contains("special_tokens") && json["special_tokens"].is_array()) {
    for (const Json& item : json["special_tokens"]) {
      const Json rank = item.is_object() ? item.value("rank", Json()) : Json();
      const std::string name =
          item.is_object() ? token_content(item.value("token_str", Json())) : "";
      if (!rank.is_number_unsigned() || rank >= names.size() || name.empty()) {
        malformed("a special token without rank and text");
      }
      names[rank.get<size_t>()] = name;
    }
  }
  Json added = Json::array();
  for (size_t i = 0; i < names.size(); ++i) {
    file.vocabulary.add(names[i], static_cast<int64_t>(i), source);
    added.push_back(special(names[i], static_cast<int64_t>(i)));
  }
  file.rest["added_tokens"] = std::move(added);
  Ranks ranks;
  for (const Json& item : json["vocab"]) {
    const Json rank = item.is_object() ? item.value("rank", Json()) : Json();
    const std::string encoded =
        item.is_object() ? token_content(item.value("token_bytes", Json())) : "";
    std::string bytes;
    if (!rank.is_number_unsigned() || rank > kMaxRanks || !append_base64(encoded, bytes)) {
      malformed("a token without rank and token_bytes");
    }
    if (rank.get<int64_t>() < most) ranks.emplace_back(std::move(bytes), rank.get<int64_t>());
  }
  check_ranks(ranks, source);
  for (const auto& [bytes, rank] : ranks) {
    const std::string spelling = to_byte_level(bytes);
    if (file.vocabulary.find(spelling) < 0) file.vocabulary.add(spelling, rank + specials, source);
  }
  add_merges(ranks, file.merges);
  if (names.size() > 1) file.rest["post_processor"] = front_template(names[1], 1);
  return file;
}

}  // namespace zeroth
