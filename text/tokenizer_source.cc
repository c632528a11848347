#include "text/tokenizer_source.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "core/error.h"
#include "text/tokenizer_ranks.h"
#include "text/word_rules.h"

namespace zeroth {
namespace {

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

const std::string* find_file(const std::map<std::string, std::string>& files, const char* name) {
  const auto it = files.find(name);
  return it == files.end() ? nullptr : &it->second;
}

Json special_token(const std::string& content, TokenId id) {
  return {{"id", id}, {"content", content}, {"special", true}, {"normalized", false}};
}

Json special_token(const std::string& content) {
  return {{"content", content}, {"special", true}, {"normalized", false}};
}

int64_t token_number(const std::string& key, const std::string& place) {
  if (key.empty() || key.size() > 7 || key.find_first_not_of("0123456789") != std::string::npos) {
    fail(place + ": malformed entry \"" + key.substr(0, 80) + "\"",
         "an id with an object that has a content belongs there");
  }
  return std::stoll(key);
}

// added_tokens_decoder: {"32000": {"content": "<|im_end|>", ..}, ..}
void add_decoder(const Json& table, const std::string& place, std::map<int64_t, Json>& by_id) {
  for (const auto& [key, value] : table.items()) {
    const int64_t id = token_number(key, place);
    if (!value.is_object() || token_content(value).empty()) {
      fail(place + ": malformed entry \"" + key + "\"",
           "an id with an object that has a content belongs there");
    }
    Json item = value;
    item["id"] = id;
    by_id[id] = std::move(item);
  }
}

// added_tokens.json of older folders: {"<|im_end|>": 32000, ..}
void add_older(const Json& table, const std::vector<std::string>& named, const std::string& place,
               std::map<int64_t, Json>& by_id) {
  for (const auto& [content, id] : table.items()) {
    if (content.empty() || !id.is_number_unsigned() || id > 4'194'303) {
      fail(place + ": malformed entry \"" + content.substr(0, 80) + "\"",
           "a token with its id belongs there");
    }
    const bool special = std::find(named.begin(), named.end(), content) != named.end();
    by_id[id.get<int64_t>()] = {
        {"id", id}, {"content", content}, {"special", special}, {"normalized", !special}};
  }
}

// Special tokens by name, in the order in which transformers adds them.
std::vector<std::string> named_tokens(const Json& settings, const Json& map) {
  std::vector<std::string> out;
  const auto add = [&](const std::string& content) {
    if (!content.empty() && std::find(out.begin(), out.end(), content) == out.end()) {
      out.push_back(content);
    }
  };
  const auto either = [&](const char* key) -> const Json* {
    for (const Json* source : {&settings, &map}) {
      const auto at = source->find(key);
      if (at != source->end() && !at->is_null()) return &*at;
    }
    return nullptr;
  };
  for (const char* key : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                          "cls_token", "mask_token"}) {
    if (const Json* token = either(key)) add(token_content(*token));
  }
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    const Json* list = either(key);
    if (list == nullptr || !list->is_structured()) continue;
    for (const Json& token : *list) add(token_content(token));
  }
  return out;
}

// Puts the configured tokens behind those of the file; flags of equal ones are the configured ones.
void add_configured_tokens(TokenizerFile& file, const Json& configured) {
  Json& added = file.rest["added_tokens"];
  if (added.is_null()) added = Json::array();
  if (!added.is_array()) return;  // refused with its name by the tokenizer
  std::unordered_map<std::string, Json*> present;
  for (Json& item : added) {
    if (item.is_object()) present[token_content(item)] = &item;
  }
  Json fresh = Json::array();
  for (const Json& item : configured) {
    const auto at = present.find(token_content(item));
    if (at == present.end()) {
      fresh.push_back(item);
      continue;
    }
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized", "special"}) {
      if (item.contains("id") && item.contains(flag)) (*at->second)[flag] = item[flag];
    }
  }
  for (Json& item : fresh) added.push_back(std::move(item));
}

Json settings_file(const std::map<std::string, std::string>& files, const char* name,
                   const std::string& where) {
  const std::string* text = find_file(files, name);
  if (text == nullptr) return Json::object();
  Json json = parse_json(*text, where + "/" + name);
  if (!json.is_object()) {
    fail(where + "/" + name + ": expected an object, got " + json.type_name());
  }
  return json;
}

TokenizerFile from_vocab_and_merges(const std::map<std::string, std::string>& files,
                                    const Json& config, const std::string& where) {
  TokenizerFile file;
  file.rest = rules_of_class(
      config.contains("tokenizer_class") ? token_content(config["tokenizer_class"]) : "", where);
  file.vocabulary = parse_vocab_json(files.at("vocab.json"), where + "/vocab.json");
  file.merges = parse_merges_txt(files.at("merges.txt"), where + "/merges.txt");
  const TokenId end = file.vocabulary.find("<|endoftext|>");
  if (end >= 0) file.rest["added_tokens"] = Json::array({special_token("<|endoftext|>", end)});
  return file;
}

}  // namespace

bool holds_byte_pairs(const std::map<std::string, std::string>& files) {
  const std::string* model = find_file(files, "tokenizer.model");
  return files.contains("tokenizer.json") ||
         (files.contains("vocab.json") && files.contains("merges.txt")) ||
         files.contains("tekken.json") || files.contains("tiktoken.model") ||
         (model != nullptr && is_rank_file(*model));
}

std::string byte_pair_file(const std::map<std::string, std::string>& files) {
  for (const char* name : {"tokenizer.json", "vocab.json", "tekken.json", "tiktoken.model"}) {
    if (files.contains(name)) return name;
  }
  return "tokenizer.model";
}

Json configured_tokens(const std::map<std::string, std::string>& files, const std::string& where) {
  const Json settings = tokenizer_settings(files, where);
  const Json map = settings_file(files, "special_tokens_map.json", where);
  const std::vector<std::string> named = named_tokens(settings, map);
  std::map<int64_t, Json> by_id;
  const auto table = settings.find("added_tokens_decoder");
  if (table != settings.end() && table->is_object()) {
    add_decoder(*table, where + "/tokenizer_config.json: added_tokens_decoder", by_id);
  } else {
    add_older(settings_file(files, "added_tokens.json", where), named, where + "/added_tokens.json",
              by_id);
  }
  Json out = Json::array();
  for (auto& [id, item] : by_id) out.push_back(std::move(item));
  for (const std::string& content : named) {
    const bool known = std::any_of(
        out.begin(), out.end(), [&](const Json& item) { return token_content(item) == content; });
    if (!known) out.push_back(special_token(content));
  }
  return out;
}

std::string token_content(const Json& json) {
  if (json.is_string()) return json.get<std::string>();
  if (json.is_object() && json.contains("content") && json["content"].is_string()) {
    return json["content"].get<std::string>();
  }
  return "";
}

Json tokenizer_settings(const std::map<std::string, std::string>& files, const std::string& where) {
  return settings_file(files, "tokenizer_config.json", where);
}

TokenizerFile byte_pair_tokenizer(const std::map<std::string, std::string>& files,
                                  const std::string& where) {
  const Json config = tokenizer_settings(files, where);
  TokenizerFile file;
  if (const std::string* whole = find_file(files, "tokenizer.json")) {
    file = parse_tokenizer_json(*whole, where + "/tokenizer.json");
  } else if (files.contains("vocab.json") && files.contains("merges.txt")) {
    file = from_vocab_and_merges(files, config, where);
  } else if (const std::string* tekken = find_file(files, "tekken.json")) {
    return parse_tekken(*tekken, where + "/tekken.json");
  } else {
    const bool own_name = files.contains("tiktoken.model");
    const std::string name = own_name ? "tiktoken.model" : "tokenizer.model";
    const auto ranks = files.find(name);
    if (ranks == files.end()) {
      fail(where + ": no tokenizer.json, and no vocab.json with merges.txt");
    }
    file = parse_ranks(ranks->second, config, where + "/" + name);
  }
  add_configured_tokens(file, configured_tokens(files, where));
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
