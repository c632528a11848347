#include "text/tokenizer_source.h"

#include <unordered_map>

#include "core/error.h"

namespace zeroth {
namespace {

// Qwen2's words, for its vocab.json (transformers, Qwen2Tokenizer: PRETOKENIZE_REGEX).
constexpr const char* kQwen2Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// vocab.json and merges.txt leave the rules around the model to the tokenizer class.
Json rules_of_class(const std::string& name, const std::string& where) {
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  Json rules = {{"model", {{"type", "BPE"}}}, {"decoder", {{"type", "ByteLevel"}}}};
  if (name.empty() || name.starts_with("GPT2Tokenizer")) {
    rules["pre_tokenizer"] = byte_level;
    return rules;
  }
  if (name.starts_with("Qwen2Tokenizer")) {
    Json bytes_only = byte_level;
    bytes_only["use_regex"] = false;
    const Json split = {{"type", "Split"},
                        {"pattern", {{"Regex", kQwen2Words}}},
                        {"behavior", "Isolated"},
                        {"invert", false}};
    rules["normalizer"] = {{"type", "NFC"}};
    rules["pre_tokenizer"] = {{"type", "Sequence"},
                              {"pretokenizers", Json::array({split, bytes_only})}};
    return rules;
  }
  fail(where + "/tokenizer_config.json: the word rules of tokenizer_class \"" + name +
           "\" are not known",
       "save the tokenizer as tokenizer.json (transformers: AutoTokenizer.save_pretrained)");
}

Json special_token(const std::string& content, TokenId id) {
  return {{"id", id}, {"content", content}, {"special", true}, {"normalized", false}};
}

// Tokens that only tokenizer_config.json knows (added_tokens_decoder); transformers adds them too.
void add_configured_tokens(TokenizerFile& file, const Json& config, const std::string& path) {
  const auto table = config.find("added_tokens_decoder");
  if (table == config.end() || !table->is_object()) return;
  Json& added = file.rest["added_tokens"];
  if (!added.is_null() && !added.is_array()) return;  // refused with its name by the tokenizer
  std::unordered_map<std::string, bool> present;
  for (const Json& item : added) {
    if (item.is_object()) present[token_content(item)] = true;
  }
  for (const auto& [key, value] : table->items()) {
    const std::string content = token_content(value);
    if (!value.is_object() || content.empty() || key.empty() || key.size() > 7 ||
        key.find_first_not_of("0123456789") != std::string::npos) {
      fail(path + ": added_tokens_decoder: malformed entry \"" + key + "\"",
           "an id with an object that has a content belongs there");
    }
    if (present.contains(content)) continue;
    Json item = value;
    item["id"] = std::stoll(key);
    added.push_back(std::move(item));
  }
}

const std::string* find_file(const std::map<std::string, std::string>& files, const char* name) {
  const auto it = files.find(name);
  return it == files.end() ? nullptr : &it->second;
}

}  // namespace

std::string token_content(const Json& json) {
  if (json.is_string()) return json.get<std::string>();
  if (json.is_object() && json.contains("content") && json["content"].is_string()) {
    return json["content"].get<std::string>();
  }
  return "";
}

Json tokenizer_settings(const std::map<std::string, std::string>& files, const std::string& where) {
  const std::string* text = find_file(files, "tokenizer_config.json");
  if (text == nullptr) return Json::object();
  Json json = parse_json(*text, where + "/tokenizer_config.json");
  if (!json.is_object()) {
    fail(where + "/tokenizer_config.json: expected an object, got " + json.type_name());
  }
  return json;
}

TokenizerFile byte_pair_tokenizer(const std::map<std::string, std::string>& files,
                                  const std::string& where) {
  const Json config = tokenizer_settings(files, where);
  TokenizerFile file;
  if (const std::string* text = find_file(files, "tokenizer.json")) {
    file = parse_tokenizer_json(*text, where + "/tokenizer.json");
  } else {
    const std::string* vocab = find_file(files, "vocab.json");
    const std::string* merges = find_file(files, "merges.txt");
    if (vocab == nullptr || merges == nullptr) {
      fail(where + ": no tokenizer.json, and no vocab.json with merges.txt");
    }
    file.rest = rules_of_class(
        config.contains("tokenizer_class") ? token_content(config["tokenizer_class"]) : "", where);
    file.vocabulary = parse_vocab_json(*vocab, where + "/vocab.json");
    file.merges = parse_merges_txt(*merges, where + "/merges.txt");
    const TokenId end = file.vocabulary.find("<|endoftext|>");
    if (end >= 0) file.rest["added_tokens"] = Json::array({special_token("<|endoftext|>", end)});
  }
  add_configured_tokens(file, config, where + "/tokenizer_config.json");
  return file;
}

std::string chat_template_text(const std::map<std::string, std::string>& files,
                               const std::string& where) {
  if (const std::string* text = find_file(files, "chat_template.jinja")) return *text;
  const Json settings = tokenizer_settings(files, where);
  const auto found = settings.find("chat_template");
  if (found == settings.end()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) return "";
  for (const Json& item : *found) {
    const bool whole = item.is_object() && item.contains("name") && item.contains("template");
    if (whole && item["name"] == "default" && item["template"].is_string()) {
      return item["template"].get<std::string>();
    }
  }
  return "";
}

}  // namespace zeroth
