// The tokenizer that a GGUF file embeds (ggml docs/gguf.md, "tokenizer").
#include <algorithm>

#include "core/error.h"
#include "model/formats/gguf_model.h"
#include "model/formats/gguf_word_rules.h"
#include "model/formats/model_folder.h"
#include "model/formats/peft.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_bpe.h"
#include "text/tokenizer_unicode.h"

namespace zeroth {
namespace {

// Type of every token; normal where the file lists none.
PieceType token_type(const GgufContents& gguf, const std::vector<double>& types, size_t id) {
  const double value = types.empty() ? 1 : types[id];
  if (!(value >= 1 && value <= 6)) {
    fail(gguf.source + ": tokenizer.ggml.token_type[" + std::to_string(id) + "] is unknown",
         "types are 1 (normal) to 6 (byte)");
  }
  return static_cast<PieceType>(static_cast<int>(value));
}

// A list that stands beside the tokens: as long, or absent.
const std::vector<double>& beside_tokens(const GgufContents& gguf, const char* key, size_t tokens) {
  const std::vector<double>& list = gguf.numbers(key);
  if (!list.empty() && list.size() != tokens) {
    fail(gguf.source + ": " + key + " has " + std::to_string(list.size()) + " entries for " +
             std::to_string(tokens) + " tokens",
         "fetch the file again");
  }
  return list;
}

// A text of the metadata that goes into JSON files.
const std::string& valid(const std::string& text, const std::string& place) {
  if (valid_utf8_prefix(text) != text.size()) {
    fail(place + " is not valid UTF-8: " +
             Json(text.substr(0, 80)).dump(-1, ' ', true, Json::error_handler_t::replace),
         "the file is damaged; fetch it again");
  }
  return text;
}

std::string token_place(const GgufContents& gguf, size_t id) {
  return gguf.source + ": tokenizer.ggml.tokens[" + std::to_string(id) + "]";
}

std::unique_ptr<Tokenizer> byte_pairs(const GgufContents& gguf) {
  // The whole of the original, in files whose word rules are only near to it.
  const std::string original = gguf.text("tokenizer.huggingface.json", "");
  if (!original.empty()) {
    const std::string where = gguf.source + ": tokenizer.huggingface.json";
    auto tokenizer = std::make_unique<BpeTokenizer>(parse_tokenizer_json(original, where), where);
    tokenizer->set_made_files({{"tokenizer.json", original}});
    return tokenizer;
  }
  const auto& tokens = gguf.texts("tokenizer.ggml.tokens");
  const auto& types = beside_tokens(gguf, "tokenizer.ggml.token_type", tokens.size());
  TokenizerFile file;
  file.rest = gguf_word_rules(gguf.text("tokenizer.ggml.pre"), gguf.source);
  Json added = Json::array();
  for (size_t id = 0; id < tokens.size(); ++id) {
    file.vocabulary.add(valid(tokens[id], token_place(gguf, id)), static_cast<int64_t>(id),
                        gguf.source);
    const PieceType type = token_type(gguf, types, id);
    if (type != PieceType::kControl && type != PieceType::kUserDefined) continue;
    added.push_back({{"id", id},
                     {"content", tokens[id]},
                     {"special", type == PieceType::kControl},
                     {"normalized", false}});
  }
  file.rest["added_tokens"] = std::move(added);
  std::string merges;
  for (const std::string& merge : gguf.texts("tokenizer.ggml.merges")) {
    merges += valid(merge, gguf.source + ": tokenizer.ggml.merges") + "\n";
  }
  file.merges = parse_merges_txt(merges, gguf.source + ": tokenizer.ggml.merges");
  std::string text = write_tokenizer_json(file);
  auto tokenizer = std::make_unique<BpeTokenizer>(std::move(file), gguf.source);
  tokenizer->set_made_files({{"tokenizer.json", std::move(text)}});
  return tokenizer;
}

std::unique_ptr<Tokenizer> pieces(const GgufContents& gguf) {
  const auto& tokens = gguf.texts("tokenizer.ggml.tokens");
  const auto& types = beside_tokens(gguf, "tokenizer.ggml.token_type", tokens.size());
  const auto& scores = beside_tokens(gguf, "tokenizer.ggml.scores", tokens.size());
  if (scores.empty()) fail(gguf.source + ": metadata \"tokenizer.ggml.scores\" is missing");
  SentencePieceModel model;
  model.kind = SentencePieceModel::Kind::kBpe;
  model.remove_extra_whitespaces = gguf.flag("tokenizer.ggml.remove_extra_whitespaces", false);
  model.add_dummy_prefix = gguf.flag("tokenizer.ggml.add_space_prefix", true);
  for (size_t id = 0; id < tokens.size(); ++id) {
    const PieceType type = token_type(gguf, types, id);
    model.byte_fallback = model.byte_fallback || type == PieceType::kByte;
    model.pieces.push_back(
        {valid(tokens[id], token_place(gguf, id)), static_cast<float>(scores[id]), type});
  }
  const auto spelling = [&](const char* key, const std::string& fallback) {
    const int64_t id = gguf.number(key, -1);
    return id >= 0 && id < static_cast<int64_t>(tokens.size()) ? tokens[static_cast<size_t>(id)]
                                                               : fallback;
  };
  model.bos_piece = spelling("tokenizer.ggml.bos_token_id", model.bos_piece);
  model.eos_piece = spelling("tokenizer.ggml.eos_token_id", model.eos_piece);
  std::string text = write_sentencepiece_model(model);
  auto tokenizer = std::make_unique<SentencePieceTokenizer>(std::move(model), gguf.source);
  tokenizer->set_made_files({{"tokenizer.model", std::move(text)}});
  return tokenizer;
}

}  // namespace

std::unique_ptr<Tokenizer> gguf_tokenizer(const std::filesystem::path& path) {
  const GgufFile file(path);
  const GgufContents& gguf = file.contents();
  const std::string model = gguf.text("tokenizer.ggml.model");
  std::unique_ptr<Tokenizer> tokenizer;
  const bool whole = gguf.has("tokenizer.huggingface.json");
  if (model == "gpt2" || (whole && model == "none")) {
    tokenizer = byte_pairs(gguf);
  } else if (model == "llama") {
    tokenizer = pieces(gguf);
  } else {
    fail(gguf.source + ": tokenizer.ggml.model is \"" + model + "\", which is not supported",
         "gpt2 and llama can be read");
  }
  const auto id_of = [&](const char* key) {
    const int64_t id = gguf.number(key, -1);
    if (id >= tokenizer->vocab_size()) {
      fail(gguf.source + ": " + key + " is " + std::to_string(id) + ", beyond the vocabulary");
    }
    return static_cast<TokenId>(id);
  };
  std::vector<TokenId> ends;
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    const TokenId id = id_of(key);
    if (id >= 0 && std::find(ends.begin(), ends.end(), id) == ends.end()) ends.push_back(id);
  }
  const TokenId begin = id_of("tokenizer.ggml.bos_token_id");

  std::map<std::string, std::string> files = tokenizer->contents();
  Json generation = {{"eos_token_id", ends}};
  Json config = {{"clean_up_tokenization_spaces", false}};
  config["tokenizer_class"] = model == "gpt2" ? "PreTrainedTokenizerFast" : "LlamaTokenizer";
  if (!ends.empty()) config["eos_token"] = tokenizer->token_text(ends[0]);
  if (begin >= 0) {
    generation["bos_token_id"] = begin;
    config["bos_token"] = tokenizer->token_text(begin);
  }
  const std::string chat = gguf.text("tokenizer.chat_template", "");
  if (!chat.empty()) {
    config["chat_template"] = valid(chat, gguf.source + ": tokenizer.chat_template");
  }
  // llama.cpp's defaults: pieces begin with it, and so do the words of Llama 3.
  const bool llama3 = !whole && model == "gpt2" && gguf_adds_begin(gguf.text("tokenizer.ggml.pre"));
  if (gguf.has("tokenizer.ggml.add_bos_token") || !whole) {
    config["add_bos_token"] =
        gguf.flag("tokenizer.ggml.add_bos_token", begin >= 0 && (model == "llama" || llama3));
  }
  files["generation_config.json"] = generation.dump(2) + "\n";
  files["tokenizer_config.json"] = config.dump(2) + "\n";
  tokenizer->set_made_files(std::move(files));
  tokenizer->read_special_tokens(Json::object(), gguf.source);
  return tokenizer;
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& model) {
  if (is_gguf(model)) return gguf_tokenizer(model);
  if (!std::filesystem::is_directory(model)) check_model_path(model);
  // PEFT writes a tokenizer beside an adapter only where one was trained with it.
  const bool has_own = std::filesystem::exists(model / "tokenizer.json") ||
                       std::filesystem::exists(model / "tokenizer.model");
  if (is_adapter(model) && !has_own) return load_tokenizer(adapter_base(model));
  return Tokenizer::load(model);
}

}  // namespace zeroth
