// The tokenizer inside a GGUF file (ggml docs/gguf.md, "tokenizer"; gguf-py, vocab.py).
#include <algorithm>

#include "core/error.h"
#include "model/formats/gguf_word_rules.h"
#include "model/formats/gguf_write.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer_ranks.h"
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
    const auto at = static_cast<size_t>(id);
    if (types_[at] != static_cast<double>(PieceType::kUnused) && texts_[at] != text) {
      fail("the tokens \"" + texts_[at] + "\" and \"" + text + "\" both have id " +
               std::to_string(id) + ", and a GGUF file has one token an id",
           "put the added tokens into the vocabulary under ids of their own");
    }
    texts_[at] = text;
    types_[at] = static_cast<double>(type);
    scores_[at] = score;
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

void write_byte_pairs(const TokenizerFile& file, const Tokenizer& tokenizer,
                      const std::string& rules, int vocab_size, Metadata& out) {
  TokenList tokens(vocab_size);
  for (TokenId id = 0; id < file.vocabulary.end(); ++id) {
    if (file.vocabulary.contains(id)) {
      tokens.set(id, file.vocabulary.spelling(id), PieceType::kNormal);
    }
  }
  const auto added = file.rest.find("added_tokens");
  if (added != file.rest.end()) {
    for (const Json& token : *added) {
      // The id that it has here, which may not be the stored one; the model may have no row for a
      // token that only a config names.
      const TokenId id = tokenizer.token_id(token_content(token));
      if (id >= vocab_size && !token.contains("id")) continue;
      tokens.set(id, token_content(token),
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

void write_pieces(const SentencePieceModel& model, const Tokenizer& tokenizer, int vocab_size,
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
  const int end = std::min(tokenizer.vocab_size(), vocab_size);
  for (TokenId id = static_cast<TokenId>(model.pieces.size()); id < end; ++id) {
    const std::string text = tokenizer.token_text(id);
    const bool control = tokenizer.decode(std::span(&id, 1), true).empty();
    tokens.set(id, text, control ? PieceType::kControl : PieceType::kUserDefined);
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

}  // namespace

std::string add_gguf_tokenizer(const Tokenizer& tokenizer, int vocab_size,
                               const std::string& word_rules,
                               std::map<std::string, GgufValue>& metadata) {
  std::string note;
  const Files files = tokenizer.contents();
  // A folder may hold both forms of a SentencePiece tokenizer; llama.cpp wants the model.
  const auto model = files.find("tokenizer.model");
  std::string rules = word_rules;
  TokenizerFile pairs;
  const bool has_pairs = holds_byte_pairs(files);
  if (has_pairs) {
    pairs = byte_pair_tokenizer(files, "the tokenizer");
    if (rules.empty()) rules = gguf_word_rules_name(pairs.rest);
  }
  if (has_pairs && !rules.empty()) {
    write_byte_pairs(pairs, tokenizer, rules, vocab_size, metadata);
    if (!word_rules.empty()) {
      metadata["tokenizer.huggingface.json"] = write_tokenizer_json(pairs);
    }
  } else if (model != files.end() && !is_rank_file(model->second)) {
    write_pieces(parse_sentencepiece_model(model->second, "tokenizer.model"), tokenizer, vocab_size,
                 metadata);
  } else {
    // llama.cpp would cut text into other tokens: it gets none, Zeroth gets the whole of it.
    Metadata checked;  // its ids are those of the model
    write_byte_pairs(pairs, tokenizer, rules, vocab_size, checked);
    metadata["tokenizer.ggml.model"] = std::string("none");
    metadata["tokenizer.huggingface.json"] = write_tokenizer_json(pairs);
    note =
        "llama.cpp has no word rules equal to those of this tokenizer: it loads the file, but "
        "takes token ids only (Zeroth reads the tokenizer from it). Name rules that come near "
        "with --word-rules to let it cut text, perhaps otherwise: " +
        gguf_word_rules_known();
  }
  write_special_ids(tokenizer, metadata);
  metadata["tokenizer.ggml.add_bos_token"] = !tokenizer.special().front.empty();
  const std::string chat = chat_template_text(files, "the tokenizer");
  if (!chat.empty()) metadata["tokenizer.chat_template"] = chat;
  return note;
}

}  // namespace zeroth
