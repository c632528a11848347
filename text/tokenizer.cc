#include "text/tokenizer.h"

#include "core/error.h"
#include "core/files.h"
#include "text/lfs_pointer.h"
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

constexpr const char* kFiles[] = {"tokenizer.json",
                                  "tokenizer_config.json",
                                  "special_tokens_map.json",
                                  "added_tokens.json",
                                  "vocab.json",
                                  "merges.txt",
                                  "tokenizer.model",
                                  "tiktoken.model",
                                  "tekken.json",
                                  "chat_template.jinja",
                                  "generation_config.json"};

// The pieces of a tokenizer.model, with what the configs add.
std::unique_ptr<Tokenizer> load_pieces(const std::map<std::string, std::string>& files,
                                       const fs::path& dir) {
  const std::string source = (dir / "tokenizer.model").string();
  auto tokenizer = std::make_unique<SentencePieceTokenizer>(
      parse_sentencepiece_model(files.at("tokenizer.model"), source), source);
  const Json settings = tokenizer_settings(files, dir.string());
  const auto legacy = settings.find("legacy");
  const bool once = legacy != settings.end() && legacy->is_boolean() && !legacy->get<bool>();
  tokenizer->add_tokens(configured_tokens(files, dir.string()), once, source);
  return tokenizer;
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

void Tokenizer::read_special_tokens(const Json& model_config, const std::string& where) {
  special_ = special_tokens_of(*this, contents(), model_config, post_processor_, where);
}

std::unique_ptr<Tokenizer> Tokenizer::load(const fs::path& dir) {
  std::map<std::string, std::string> files;
  std::vector<fs::path> paths;
  for (const char* name : kFiles) {
    if (!fs::exists(dir / name)) continue;
    files[name] = read_file(dir / name, kMaxTokenizerFile);
    refuse_lfs_pointer(files[name], (dir / name).string());
    paths.push_back(dir / name);
  }
  std::unique_ptr<Tokenizer> tokenizer;
  if (holds_byte_pairs(files)) {
    tokenizer = std::make_unique<BpeTokenizer>(byte_pair_tokenizer(files, dir.string()),
                                               (dir / byte_pair_file(files)).string());
  } else if (files.contains("tokenizer.model")) {
    tokenizer = load_pieces(files, dir);
  } else {
    fail(dir.string() + ": no tokenizer",
         "tokenizer.json, vocab.json with merges.txt, tokenizer.model, tiktoken.model or "
         "tekken.json belongs beside the weights");
  }
  tokenizer->files_ = std::move(paths);
  tokenizer->read_special_tokens(read_optional_json(dir / "config.json"), dir.string());
  return tokenizer;
}

}  // namespace zeroth
