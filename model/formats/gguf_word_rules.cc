#include "model/formats/gguf_word_rules.h"

#include <vector>

#include "core/error.h"

namespace zeroth {
namespace {

// Word rules by the name that llama.cpp gives them (llama-vocab.cpp); the patterns are those of the
// tokenizer.json files that the names stand for.
struct WordRules {
  const char* name;
  std::vector<const char*> splits;
  bool gpt2_words;  // GPT-2's own pattern behind the splits
  bool single_digits;
  bool nfc;
  bool ignore_merges;
};

constexpr const char* kLlama3Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kDeepseek3Words =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

const std::vector<WordRules>& known_rules() {
  static const std::vector<WordRules> rules = {
      {"gpt-2", {}, true, false, false, false},
      {"olmo", {}, true, false, true, false},
      {"smollm", {}, true, true, false, false},
      {"qwen2", {kQwen2Words}, false, false, true, false},
      {"llama-bpe", {kLlama3Words}, false, false, false, true},
      {"deepseek-v3",
       {R"(\p{N}{1,3})", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", kDeepseek3Words},
       false,
       false,
       false,
       false},
      {"deepseek-llm",
       {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7a3]+"},
       false,
       true,
       false,
       false},
  };
  return rules;
}

Json rules_document(const WordRules& rules) {
  Json steps = Json::array();
  for (const char* split : rules.splits) {
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", split}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  if (rules.single_digits) steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
  steps.push_back(
      {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", rules.gpt2_words}});
  Json document = {{"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", steps}}},
                   {"decoder", {{"type", "ByteLevel"}}},
                   {"model", {{"type", "BPE"}, {"ignore_merges", rules.ignore_merges}}}};
  if (rules.nfc) document["normalizer"] = {{"type", "NFC"}};
  return document;
}

std::string known_names() {
  std::string known;
  for (const WordRules& rules : known_rules()) {
    known += std::string(known.empty() ? "" : ", ") + rules.name;
  }
  return known;
}

const Json* member(const Json& json, const char* key) {
  if (!json.is_object()) return nullptr;
  const auto it = json.find(key);
  return it == json.end() || it->is_null() ? nullptr : &*it;
}

std::string type_of(const Json& step) {
  const Json* type = member(step, "type");
  return type != nullptr && type->is_string() ? type->get<std::string>() : "?";
}

bool flag_of(const Json& step, const char* key, bool fallback) {
  const Json* value = member(step, key);
  return value != nullptr && value->is_boolean() ? value->get<bool>() : fallback;
}

// A pattern with line feeds and carriage returns as escapes: files write them either way.
std::string pattern_text(const Json& step) {
  const Json* pattern = member(step, "pattern");
  const Json* regex = pattern == nullptr ? nullptr : member(*pattern, "Regex");
  if (regex == nullptr || !regex->is_string()) return "?";
  std::string out;
  for (const char c : regex->get<std::string>()) {
    if (c == '\r' || c == '\n') {
      out += c == '\r' ? "\\r" : "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

// What a step does, options that only move offsets left out.
void describe_steps(const Json* step, const char* list, std::string& out) {
  if (step == nullptr) return;
  const std::string type = type_of(*step);
  if (type == "Sequence") {
    const Json* steps = member(*step, list);
    if (steps == nullptr || !steps->is_array()) return;
    for (const Json& inner : *steps) describe_steps(&inner, list, out);
    return;
  }
  out += type;
  if (type == "Split") {
    const Json* behavior = member(*step, "behavior");
    out += " " + pattern_text(*step) + (behavior ? behavior->dump() : "") +
           (flag_of(*step, "invert", false) ? "!" : "");
  } else if (type == "Digits") {
    out += flag_of(*step, "individual_digits", false) ? " one by one" : " together";
  } else if (type == "ByteLevel") {
    out += flag_of(*step, "add_prefix_space", true) ? " prefix" : "";
    out += flag_of(*step, "use_regex", true) ? " words" : "";
  } else if (type != "NFC") {
    out += step->dump();
  }
  out += "\n";
}

std::string describe_rules(const Json& document) {
  std::string out;
  describe_steps(member(document, "normalizer"), "normalizers", out);
  describe_steps(member(document, "pre_tokenizer"), "pretokenizers", out);
  const Json* model = member(document, "model");
  if (model != nullptr && flag_of(*model, "ignore_merges", false)) out += "ignore_merges\n";
  return out;
}

}  // namespace

Json gguf_word_rules(const std::string& name, const std::string& source) {
  for (const WordRules& rules : known_rules()) {
    if (name == rules.name) return rules_document(rules);
  }
  fail(source + ": tokenizer.ggml.pre is \"" + name + "\", whose word rules are not known",
       "known: " + known_names() + "; or use the model's tokenizer.json");
}

std::string gguf_word_rules_name(const Json& document) {
  const std::string wanted = describe_rules(document);
  for (const WordRules& rules : known_rules()) {
    if (describe_rules(rules_document(rules)) == wanted) return rules.name;
  }
  return "";
}

std::string gguf_word_rules_known() { return known_names(); }

}  // namespace zeroth
