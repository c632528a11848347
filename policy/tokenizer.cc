#include "policy/tokenizer.h"

#include "core/error.h"
#include "core/files.h"
#include "policy/gguf_model.h"
#include "policy/sentencepiece.h"
#include "policy/tokenizer_bpe.h"
#include "policy/tokenizer_file.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

Json read_optional_json(const fs::path& path) {
  if (!fs::exists(path)) return Json::object();
  Json json = read_json_file(path);
  if (!json.is_object()) fail(path.string() + ": expected an object, got " + json.type_name());
  return json;
}

// Qwen2's words, for its vocab.json (transformers, Qwen2Tokenizer: PRETOKENIZE_REGEX).
constexpr const char* kQwen2Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// vocab.json and merges.txt leave the rules around the model to the tokenizer class.
Json rules_of_class(const std::string& name, const fs::path& dir) {
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
  fail((dir / "tokenizer_config.json").string() + ": the word rules of tokenizer_class \"" + name +
           "\" are not known",
       "save the tokenizer as tokenizer.json (transformers: AutoTokenizer.save_pretrained)");
}

// A token of tokenizer_config.json: "text" or {"content": "text", ..}.
std::string token_content(const Json& json) {
  if (json.is_string()) return json.get<std::string>();
  if (json.is_object() && json.contains("content") && json["content"].is_string()) {
    return json["content"].get<std::string>();
  }
  return "";
}

Json special_token(const std::string& content, TokenId id) {
  return {{"id", id}, {"content", content}, {"special", true}, {"normalized", false}};
}

// Tokens that only tokenizer_config.json knows (added_tokens_decoder); transformers adds them too.
void add_configured_tokens(TokenizerFile& file, const Json& config, const fs::path& path) {
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
      fail(path.string() + ": added_tokens_decoder: malformed entry \"" + key + "\"",
           "an id with an object that has a content belongs there");
    }
    if (present.contains(content)) continue;
    Json item = value;
    item["id"] = std::stoll(key);
    added.push_back(std::move(item));
  }
}

std::unique_ptr<Tokenizer> load_gpt2_files(const fs::path& dir, const Json& config) {
  const fs::path vocab = dir / "vocab.json";
  const fs::path merges = dir / "merges.txt";
  TokenizerFile file;
  file.rest = rules_of_class(
      config.contains("tokenizer_class") ? token_content(config["tokenizer_class"]) : "", dir);
  file.vocabulary = parse_vocab_json(read_file(vocab, kMaxTokenizerFile), vocab.string());
  file.merges = parse_merges_txt(read_file(merges, kMaxTokenizerFile), merges.string());
  const TokenId end = file.vocabulary.find("<|endoftext|>");
  if (end >= 0) file.rest["added_tokens"] = Json::array({special_token("<|endoftext|>", end)});
  add_configured_tokens(file, config, dir / "tokenizer_config.json");
  return std::make_unique<BpeTokenizer>(std::move(file), vocab.string());
}

std::unique_ptr<Tokenizer> load_tokenizer_json(const fs::path& path, const Json& config) {
  TokenizerFile file = parse_tokenizer_json(read_file(path, kMaxTokenizerFile), path.string());
  add_configured_tokens(file, config, path.parent_path() / "tokenizer_config.json");
  return std::make_unique<BpeTokenizer>(std::move(file), path.string());
}

// Token ids under `key`: a number or a list of numbers.
std::vector<TokenId> id_list(const Json& json, const char* key, const fs::path& path) {
  std::vector<TokenId> ids;
  const auto value = json.find(key);
  if (value == json.end() || value->is_null()) return ids;
  const auto add = [&](const Json& item) {
    if (!item.is_number_unsigned() || item.get<uint64_t>() > uint64_t{INT32_MAX}) {
      fail(path.string() + ": " + key + ": \"" + item.dump(-1, ' ', true) + "\" is no token id",
           "a token id or a list of token ids belongs there");
    }
    ids.push_back(item.get<TokenId>());
  };
  if (value->is_array()) {
    for (const Json& item : *value) add(item);
  } else {
    add(*value);
  }
  return ids;
}

}  // namespace

TokenId Tokenizer::token_id(std::string_view spelling) const {
  for (TokenId id = 0; id < vocab_size(); ++id) {
    if (token_text(id) == spelling) return id;
  }
  return -1;
}

std::map<std::string, std::string> Tokenizer::contents() const {
  std::map<std::string, std::string> out = made_files_;
  for (const fs::path& file : files_) {
    out[file.filename().string()] = read_file(file, kMaxTokenizerFile);
  }
  return out;
}

void Tokenizer::read_special_ids(const fs::path& dir) {
  const fs::path config_path = dir / "tokenizer_config.json";
  const Json tokens = read_optional_json(config_path);
  const auto named = [&](const char* key) {
    std::vector<TokenId> ids;
    if (tokens.contains(key)) {
      const TokenId id = token_id(token_content(tokens[key]));
      if (id >= 0) ids.push_back(id);
    }
    return ids;
  };
  const fs::path generation = dir / "generation_config.json";
  const fs::path model = dir / "config.json";
  const auto first_of = [&](const char* id_key, const char* token_key) {
    std::vector<TokenId> ids = id_list(read_optional_json(generation), id_key, generation);
    if (ids.empty()) ids = named(token_key);
    if (ids.empty()) ids = id_list(read_optional_json(model), id_key, model);
    return ids;
  };
  const std::vector<TokenId> ends = first_of("eos_token_id", "eos_token");
  if (!ends.empty()) eos_ = ends;
  const std::vector<TokenId> starts = first_of("bos_token_id", "bos_token");
  if (!starts.empty()) bos_ = starts[0];
}

std::unique_ptr<Tokenizer> Tokenizer::load(const fs::path& dir) {
  if (is_gguf(dir)) return gguf_tokenizer(dir);
  const Json config = read_optional_json(dir / "tokenizer_config.json");
  std::unique_ptr<Tokenizer> tokenizer;
  if (fs::exists(dir / "tokenizer.json")) {
    tokenizer = load_tokenizer_json(dir / "tokenizer.json", config);
  } else if (fs::exists(dir / "vocab.json") && fs::exists(dir / "merges.txt")) {
    tokenizer = load_gpt2_files(dir, config);
    const TokenId end = tokenizer->token_id("<|endoftext|>");
    if (end >= 0) tokenizer->eos_ = {end};
  } else if (fs::exists(dir / "tokenizer.model")) {
    const fs::path path = dir / "tokenizer.model";
    tokenizer = std::make_unique<SentencePieceTokenizer>(
        parse_sentencepiece_model(read_file(path, kMaxTokenizerFile), path.string()),
        path.string());
  } else {
    fail(dir.string() + ": no tokenizer",
         "tokenizer.json, vocab.json with merges.txt, or tokenizer.model belongs beside the "
         "weights");
  }
  tokenizer->read_special_ids(dir);
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model",
                           "chat_template.jinja", "generation_config.json"}) {
    if (fs::exists(dir / name)) tokenizer->files_.push_back(dir / name);
  }
  return tokenizer;
}

}  // namespace zeroth
