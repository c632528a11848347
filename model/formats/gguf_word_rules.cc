#include "model/formats/gguf_word_rules.h"

#include <vector>

#include "core/error.h"
#include "text/word_rules.h"

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
  bool begins = false;                    // llama.cpp puts the begin token in front by default
  std::vector<const char*> aliases = {};  // other names of the same rules
};

constexpr const char* kQwen35Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekkenWords =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4oWords =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kDeepseek3Words =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

const std::vector<WordRules>& known_rules() {
  static const std::vector<WordRules> rules = {
      {"gpt-2",
       {},
       true,
       false,
       false,
       false,
       false,
       {"phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "gigachat", "a.x-4.0", "mellum",
        "modern-bert", "exaone4", "mpt", "jais", "trillion", "granite-docling"}},
      {"olmo", {}, true, false, true, false},
      {"smollm",
       {},
       true,
       true,
       false,
       false,
       false,
       {"starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"}},
      {"qwen2", {kQwen2Words}, false, false, true, false},
      // The same words without a normal form, which llama.cpp never applies.
      {"deepseek-r1-qwen",
       {kQwen2Words},
       false,
       false,
       false,
       false,
       false,
       {"kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"}},
      {"qwen35", {kQwen35Words}, false, false, true, false},
      {"llama-bpe",
       {kLlama3Words},
       false,
       false,
       false,
       true,
       true,
       {"llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
        "jina-v5-nano"}},
      {"glm4", {kLlama3Words}, false, false, false, true, false, {"glm5"}},
      {"dbrx", {kLlama3Words}, false, false, false, false, false, {"smaug-bpe", "chatglm-bpe"}},
      {"tekken", {kTekkenWords}, false, false, false, true, true},
      {"gpt-4o", {kGpt4oWords}, false, false, false, false, false, {"llama4", "kanana2"}},
      {"deepseek-v3",
       {R"(\p{N}{1,3})", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", kDeepseek3Words},
       false,
       false,
       false,
       false,
       false,
       {"hunyuan-dense", "joyai-llm", "hy_v4"}},
      {"deepseek-llm",
       {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7a3]+"},
       false,
       true,
       false,
       false,
       false,
       {"deepseek-coder"}},
  };
  return rules;
}

const WordRules* find_rules(const std::string& name) {
  for (const WordRules& rules : known_rules()) {
    if (name == rules.name) return &rules;
    for (const char* alias : rules.aliases) {
      if (name == alias) return &rules;
    }
  }
  return nullptr;
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
    for (const char* alias : rules.aliases) known += std::string(", ") + alias;
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
  if (const WordRules* rules = find_rules(name)) return rules_document(*rules);
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

bool gguf_adds_begin(const std::string& name) {
  const WordRules* rules = find_rules(name);
  return rules != nullptr && rules->begins;
}

std::string gguf_word_rules_known() { return known_names(); }

}  // namespace zeroth
