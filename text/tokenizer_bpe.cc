#include "text/tokenizer_bpe.h"

#include <algorithm>

#include "core/error.h"
#include "text/tokenizer_bytes.h"
#include "text/tokenizer_unicode.h"

namespace zeroth {
namespace {

constexpr size_t kMaxText = size_t{1} << 30;

std::string optional_text(const Json& json, const char* key, const std::string& where) {
  return step_fields::find(json, key, where) == nullptr ? "" : step_fields::text(json, key, where);
}

std::unique_ptr<Bpe> make_model(TokenizerFile& file, const std::string& source) {
  const std::string where = source + ": model";
  const Json* model = step_fields::find(file.rest, "model", source);
  if (model == nullptr) fail(where + ": missing", "fetch the file again");
  // Files of before 2020 lack the type.
  const std::string type = step_fields::find(*model, "type", where) == nullptr
                               ? "BPE"
                               : step_fields::text(*model, "type", where);
  if (type != "BPE") {
    fail(where + ".type: \"" + type + "\" is not supported", "only BPE tokenizers can be read");
  }
  for (const char* member : {"vocab", "merges"}) {
    if (model->contains(member)) fail(where + "." + member + ": wrong type");
  }
  const Json* dropout = step_fields::find(*model, "dropout", where);
  if (dropout != nullptr && *dropout != 0) {
    fail(where + ".dropout: " + dropout->dump(-1, ' ', true) + " makes tokens random",
         "set it to null");
  }
  if (file.vocabulary.size() == 0) fail(where + ".vocab: no tokens", "fetch the file again");
  BpeOptions options;
  options.unk_token = optional_text(*model, "unk_token", where);
  options.continuing_subword_prefix = optional_text(*model, "continuing_subword_prefix", where);
  options.end_of_word_suffix = optional_text(*model, "end_of_word_suffix", where);
  options.fuse_unk = step_fields::flag(*model, "fuse_unk", false, where);
  options.byte_fallback = step_fields::flag(*model, "byte_fallback", false, where);
  options.ignore_merges = step_fields::flag(*model, "ignore_merges", false, where);
  return std::make_unique<Bpe>(std::move(file.vocabulary), file.merges, std::move(options), where);
}

// The ids that the file gives must not contradict each other or the vocabulary.
void check_added_id(const Json& item, const std::string& content, const Vocabulary& vocabulary,
                    std::unordered_map<int64_t, std::string>& seen, const std::string& where) {
  const int64_t id = step_fields::number(item, "id", where);
  if (id > Vocabulary::kMaxId) {
    fail(where + ".id: " + std::to_string(id) + " for \"" + content + "\"",
         "ids are 0.." + std::to_string(Vocabulary::kMaxId));
  }
  std::string other;
  const auto [it, fresh] = seen.emplace(id, content);
  if (!fresh && it->second != content) other = it->second;
  const auto token = static_cast<TokenId>(id);
  const std::string& spelling = vocabulary.spelling(token);
  if (vocabulary.contains(token) && spelling != content) other = spelling;
  if (!other.empty()) {
    fail(where + ": tokens \"" + other + "\" and \"" + content + "\" both have id " +
             std::to_string(id),
         "every id belongs to one token; fetch the file again");
  }
}

// The library gives a token the id of its spelling, or else the next free one, whatever the file
// says. Where that opens a gap, rows of the model's tables would be other tokens' rows.
void check_given_id(const Json& item, const AddedToken& token, const Vocabulary& vocabulary,
                    const AddedTokens& added, const std::string& where,
                    std::vector<std::string>& notes) {
  if (!item.contains("id")) return;
  const auto stored = static_cast<TokenId>(step_fields::number(item, "id", where));
  const TokenId given = added.id_of(token.content);
  if (given == stored) return;
  if (stored >= vocabulary.end()) {
    fail(where + ": token \"" + token.content + "\" has id " + std::to_string(stored) +
             ", but ids have a gap before it, and the tokenizers library makes it " +
             std::to_string(given),
         "give the added tokens ids without gaps behind the vocabulary's " +
             std::to_string(vocabulary.end()) + ", or put the token into the vocabulary");
  }
  if (notes.empty()) {
    notes.push_back("tokenizer.json gives \"" + token.content + "\" the id " +
                    std::to_string(stored) + " without holding it in its vocabulary; the " +
                    "tokenizers library makes it " + std::to_string(given) + ", and so it is here");
  }
}

void read_added_tokens(const Json& json, const Vocabulary& vocabulary, AddedTokens& added,
                       const std::string& source, SpecialTokens& special) {
  if (json.is_null()) return;
  if (!json.is_array()) fail(source + ": added_tokens: expected a list");
  std::unordered_map<int64_t, std::string> seen;
  size_t index = 0;
  for (const Json& item : json) {
    const std::string where = source + ": added_tokens[" + std::to_string(index++) + "]";
    AddedToken token;
    token.content = step_fields::text(item, "content", where);
    if (item.contains("id")) check_added_id(item, token.content, vocabulary, seen, where);
    token.special = step_fields::flag(item, "special", false, where);
    token.single_word = step_fields::flag(item, "single_word", false, where);
    token.lstrip = step_fields::flag(item, "lstrip", false, where);
    token.rstrip = step_fields::flag(item, "rstrip", false, where);
    token.normalized = step_fields::flag(item, "normalized", !token.special, where);
    const TokenId end = std::max(added.end(), vocabulary.end());
    added.add(token, vocabulary);
    check_given_id(item, token, vocabulary, added, where, special.notes);
    if (item.contains("id") || added.end() <= end) continue;
    ++special.named_only;
    special.notes.push_back("the configs name the special token \"" + token.content +
                            "\", which the vocabulary lacks: it is token " +
                            std::to_string(added.id_of(token.content)) + ", as in transformers");
  }
}

const Json& member(const Json& json, const char* key) {
  static const Json kNull;
  const auto it = json.find(key);
  return it == json.end() ? kNull : *it;
}

}  // namespace

BpeTokenizer::BpeTokenizer(TokenizerFile file, const std::string& source) {
  model_ = make_model(file, source);
  const Json& normalizer = member(file.rest, "normalizer");
  const Json& pre_tokenizer = member(file.rest, "pre_tokenizer");
  normalizer_ = make_normalizer(normalizer, source + ": normalizer");
  pre_tokenizer_ = make_pre_tokenizer(pre_tokenizer, source + ": pre_tokenizer");
  decoder_ = make_decoder(member(file.rest, "decoder"), source + ": decoder");
  byte_level_ = uses_byte_level(normalizer, pre_tokenizer);
  post_processor_ = member(file.rest, "post_processor");
  read_added_tokens(member(file.rest, "added_tokens"), model_->vocabulary(), added_, source,
                    special_);
  added_.finish(normalizer_.get());
}

std::vector<TokenId> BpeTokenizer::encode(std::string_view text, bool special) const {
  if (text.size() > kMaxText) {
    fail("tokenizing " + std::to_string(text.size()) + " bytes at once", "at most 1 GiB");
  }
  std::vector<TokenId> ids;
  ids.reserve(text.size() / 3 + 4);
  // Bytes that are not UTF-8 stand outside every rule about characters; they are kept, as bytes.
  for (size_t at = 0; at < text.size();) {
    const size_t good = valid_utf8_prefix(text.substr(at));
    if (good > 0) encode_valid(text.substr(at, good), at == 0, special, ids);
    at += good;
    const size_t bad = invalid_utf8_prefix(text.substr(at));
    if (bad > 0) encode_bytes(text.substr(at, bad), ids);
    at += bad;
  }
  return ids;
}

void BpeTokenizer::encode_valid(std::string_view text, bool opens_text, bool special,
                                std::vector<TokenId>& ids) const {
  for (const AddedTokens::Part& part : added_.split(text, false, special)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
      continue;
    }
    std::string_view plain = text.substr(part.span.begin, part.span.end - part.span.begin);
    const bool opens_plain = opens_text && part.span.begin == 0;
    std::string normalized;
    if (normalizer_ != nullptr) {
      normalized = normalizer_->apply(plain);
      if (normalized.size() > kMaxText) fail("the normalizer makes more than 1 GiB of text");
      plain = normalized;
    }
    for (const AddedTokens::Part& inner : added_.split(plain, true, special)) {
      if (inner.id >= 0) {
        ids.push_back(inner.id);
      } else {
        encode_words(plain.substr(inner.span.begin, inner.span.end - inner.span.begin),
                     opens_plain && inner.span.begin == 0, ids);
      }
    }
  }
}

void BpeTokenizer::encode_words(std::string_view text, bool opens_text,
                                std::vector<TokenId>& ids) const {
  if (pre_tokenizer_ == nullptr) {
    model_->encode(text, ids);
    return;
  }
  Pieces pieces;
  pieces.text = std::string(text);
  pieces.spans.push_back({0, text.size()});
  pieces.opens_text = opens_text;
  pre_tokenizer_->apply(pieces);
  for (const Span& span : pieces.spans) model_->encode(pieces.view(span), ids);
}

void BpeTokenizer::encode_bytes(std::string_view bytes, std::vector<TokenId>& ids) const {
  model_->encode(byte_level_ ? to_byte_level(bytes) : bytes, ids);
}

std::string BpeTokenizer::token_text(TokenId id) const {
  if (const AddedToken* token = added_.find(id)) return token->content;
  return model_->vocabulary().spelling(id);
}

TokenId BpeTokenizer::token_id(std::string_view text) const {
  const TokenId id = added_.id_of(text);
  return id >= 0 ? id : model_->vocabulary().find(text);
}

int BpeTokenizer::vocab_size() const { return std::max(model_->vocabulary().end(), added_.end()); }

std::string BpeTokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const TokenId id : ids) {
    const AddedToken* added = added_.find(id);
    if (added != nullptr && added->special && skip_special) continue;
    if (added == nullptr && !model_->vocabulary().contains(id)) continue;
    tokens.push_back(token_text(id));
  }
  if (decoder_ != nullptr) decoder_->apply(tokens, true);
  std::string out;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (decoder_ == nullptr && i > 0) out += ' ';
    out += tokens[i];
  }
  return out;
}

std::string BpeTokenizer::token_bytes(TokenId id) const {
  std::vector<std::string> tokens{token_text(id)};
  if (decoder_ != nullptr) decoder_->apply(tokens, false);
  return tokens.empty() ? "" : tokens[0];
}

}  // namespace zeroth
