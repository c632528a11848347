#include "text/tokenizer.h"

#include "core/error.h"
#include "core/files.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_bpe.h"
#include "text/tokenizer_file.h"
#include "text/tokenizer_source.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

Json read_optional_json(const fs::path& path) {
  if (!fs::exists(path)) return Json::object();
  Json json = read_json_file(path);
  if (!json.is_object()) fail(path.string() + ": expected an object, got " + json.type_name());
  return json;
}

std::unique_ptr<Tokenizer> load_byte_pairs(const fs::path& dir,
                                           std::initializer_list<const char*> names) {
  std::map<std::string, std::string> files;
  for (const char* name : names) files[name] = read_file(dir / name, kMaxTokenizerFile);
  const fs::path config = dir / "tokenizer_config.json";
  if (fs::exists(config)) files["tokenizer_config.json"] = read_file(config, kMaxTokenizerFile);
  const std::string first = (dir / *names.begin()).string();
  return std::make_unique<BpeTokenizer>(byte_pair_tokenizer(files, dir.string()), first);
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

std::string Tokenizer::chat_template() const {
  return chat_template_text(contents(), "the tokenizer");
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
  std::unique_ptr<Tokenizer> tokenizer;
  if (fs::exists(dir / "tokenizer.json")) {
    tokenizer = load_byte_pairs(dir, {"tokenizer.json"});
  } else if (fs::exists(dir / "vocab.json") && fs::exists(dir / "merges.txt")) {
    tokenizer = load_byte_pairs(dir, {"vocab.json", "merges.txt"});
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
