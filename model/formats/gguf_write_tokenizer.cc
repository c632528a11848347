// The tokenizer inside a GGUF file (ggml docs/gguf.md, "tokenizer"; gguf-py, vocab.py).
#include <algorithm>

#include "core/error.h"
#include "model/formats/gguf_word_rules.h"
#include "model/formats/gguf_write.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer_source.h"

namespace zeroth {
namespace {

using Files = std::map<std::string, std::string>;
using Metadata = std::map<std::string, GgufValue>;

class TokenList {
 public:
  explicit TokenList(int vocab_size)
      : texts_(static_cast<size_t>(vocab_size)),
        types_(texts_.size(), static_cast<double>(PieceType::kUnused)),
        scores_(texts_.size(), -10000) {
    for (size_t id = 0; id < texts_.size(); ++id) texts_[id] = "[PAD" + std::to_string(id) + "]";
  }

  void set(int64_t id, const std::string& text, PieceType type, double score = 0) {
    if (id < 0 || id >= static_cast<int64_t>(texts_.size())) {
      fail("token \"" + text + "\" has id " + std::to_string(id) + ", the model has " +
               std::to_string(texts_.size()) + " tokens",
           "use the tokenizer that belongs to the model");
    }
    texts_[static_cast<size_t>(id)] = text;
    types_[static_cast<size_t>(id)] = static_cast<double>(type);
    scores_[static_cast<size_t>(id)] = score;
  }

  void write(Metadata& out, bool scores) {
    out["tokenizer.ggml.tokens"] = std::move(texts_);
    out["tokenizer.ggml.token_type"] = std::move(types_);
    if (scores) out["tokenizer.ggml.scores"] = std::move(scores_);
  }

 private:
  std::vector<std::string> texts_;
  std::vector<double> types_, scores_;
};

bool flag(const Json& json, const char* key, bool fallback) {
  const auto it = json.find(key);
  return it != json.end() && it->is_boolean() ? it->get<bool>() : fallback;
}

void write_byte_pairs(const TokenizerFile& file, const std::string& rules, int vocab_size,
                      Metadata& out) {
  TokenList tokens(vocab_size);
  for (TokenId id = 0; id < file.vocabulary.end(); ++id) {
    if (file.vocabulary.contains(id)) {
      tokens.set(id, file.vocabulary.spelling(id), PieceType::kNormal);
    }
  }
  const auto added = file.rest.find("added_tokens");
  if (added != file.rest.end()) {
    for (const Json& token : *added) {
      tokens.set(token.value("id", int64_t{-1}), token_content(token),
                 flag(token, "special", false) ? PieceType::kControl : PieceType::kUserDefined);
    }
  }
  tokens.write(out, false);
  std::vector<std::string> merges;
  for (const auto& [left, right] : file.merges) merges.push_back(left + " " + right);
  out["tokenizer.ggml.model"] = std::string("gpt2");
  out["tokenizer.ggml.pre"] = rules;
  out["tokenizer.ggml.merges"] = std::move(merges);
}

void write_pieces(const SentencePieceModel& model, const Json& settings, int vocab_size,
                  Metadata& out) {
  if (model.kind != SentencePieceModel::Kind::kBpe) {
    fail("this SentencePiece model is not BPE", "llama.cpp's \"llama\" tokenizer merges pairs");
  }
  TokenList tokens(vocab_size);
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const auto& piece = model.pieces[id];
    tokens.set(static_cast<int64_t>(id), piece.text, piece.type, piece.score);
  }
  // Tokens that were added behind the model's own.
  const auto added = settings.find("added_tokens_decoder");
  if (added != settings.end() && added->is_object()) {
    for (const auto& [key, token] : added->items()) {
      const int64_t id = std::atoll(key.c_str());
      if (id < static_cast<int64_t>(model.pieces.size())) continue;
      tokens.set(id, token_content(token),
                 flag(token, "special", false) ? PieceType::kControl : PieceType::kUserDefined);
    }
  }
  tokens.write(out, true);
  out["tokenizer.ggml.model"] = std::string("llama");
  out["tokenizer.ggml.pre"] = std::string("default");
  out["tokenizer.ggml.add_space_prefix"] = model.add_dummy_prefix;
  out["tokenizer.ggml.remove_extra_whitespaces"] = model.remove_extra_whitespaces;
}

void write_special_ids(const Tokenizer& tokenizer, Metadata& out) {
  const auto id = [](TokenId token) { return static_cast<uint64_t>(token); };
  const std::vector<TokenId>& ends = tokenizer.eos_ids();
  if (!ends.empty()) out["tokenizer.ggml.eos_token_id"] = id(ends[0]);
  if (ends.size() > 1) out["tokenizer.ggml.eot_token_id"] = id(ends[1]);
  if (tokenizer.bos_id() >= 0) out["tokenizer.ggml.bos_token_id"] = id(tokenizer.bos_id());
}

// Whether the tokenizer's own programs put the first token in front of a text.
bool adds_first_token(const Tokenizer& tokenizer, const Json& settings, const Json& document) {
  if (tokenizer.bos_id() < 0) return false;
  const bool pieces = tokenizer.format() == TokenizerFormat::kSentencePiece;
  const auto post = document.find("post_processor");
  const bool processed =
      post != document.end() &&
      post->dump().find(Json(tokenizer.token_text(tokenizer.bos_id())).dump()) != std::string::npos;
  return flag(settings, "add_bos_token", pieces || processed);
}

}  // namespace

void add_gguf_tokenizer(const Tokenizer& tokenizer, int vocab_size, const std::string& word_rules,
                        std::map<std::string, GgufValue>& metadata) {
  const Files files = tokenizer.contents();
  const Json settings = tokenizer_settings(files, "the tokenizer");
  Json document = Json::object();
  // A folder may hold both forms of a SentencePiece tokenizer; llama.cpp wants the model.
  const auto model = files.find("tokenizer.model");
  std::string rules = word_rules;
  TokenizerFile pairs;
  const bool has_pairs = files.contains("tokenizer.json") || files.contains("vocab.json");
  if (has_pairs) {
    pairs = byte_pair_tokenizer(files, "the tokenizer");
    document = pairs.rest;
    if (rules.empty()) rules = gguf_word_rules_name(document);
  }
  if (has_pairs && !rules.empty()) {
    write_byte_pairs(pairs, rules, vocab_size, metadata);
    if (!word_rules.empty()) {
      metadata["tokenizer.huggingface.json"] = write_tokenizer_json(pairs);
    }
  } else if (model != files.end()) {
    write_pieces(parse_sentencepiece_model(model->second, "tokenizer.model"), settings, vocab_size,
                 metadata);
  } else {
    fail("llama.cpp has no word rules equal to those of this tokenizer",
         "name rules that come near with --word-rules (known: " + gguf_word_rules_known() +
             "), which can change how llama.cpp cuts text, or leave the tokenizer out with "
             "--no-tokenizer");
  }
  write_special_ids(tokenizer, metadata);
  metadata["tokenizer.ggml.add_bos_token"] = adds_first_token(tokenizer, settings, document);
  const std::string chat = chat_template_text(files, "the tokenizer");
  if (!chat.empty()) metadata["tokenizer.chat_template"] = chat;
}

}  // namespace zeroth
