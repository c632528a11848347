#include "text/sentencepiece.h"

#include <algorithm>
#include <cstdio>

#include "core/error.h"
#include "text/tokenizer_unicode.h"

namespace zeroth {
namespace {

constexpr std::string_view kSpace = "\xe2\x96\x81";  // U+2581, stands for a space
constexpr size_t kMaxText = size_t{256} << 20;

// Where the second word of `text` starts: at the first space behind anything else.
size_t word_end(std::string_view text) {
  size_t at = 0;
  while (text.substr(at).starts_with(kSpace)) at += kSpace.size();
  return std::min(text.find(kSpace, at), text.size());
}

}  // namespace

// A stretch of the text; a merge makes the left symbol longer and the right one empty.
struct SentencePieceTokenizer::Symbol {
  int32_t previous;
  int32_t next;
  std::string_view text;
  bool frozen;  // a user-defined piece takes part in no merge
};

struct SentencePieceTokenizer::Pair {
  int32_t left;
  int32_t right;
  float score;
  size_t size;  // of both, to recognise outdated entries
  // The best score first, then the leftmost.
  bool operator<(const Pair& other) const {
    return score != other.score ? score < other.score : left > other.left;
  }
};

// Merges the symbols of one text (bpe_model.cc of the library: always the adjacent pair whose piece
// has the best score).
class SentencePieceTokenizer::Merger {
 public:
  Merger(const SentencePieceTokenizer& owner, std::string_view text) : owner_(owner) {
    for (size_t at = 0; at < text.size();) {
      const std::string_view rest = text.substr(at);
      const auto [user, user_length] = owner.user_defined_.longest(rest);
      const auto length =
          user >= 0 ? user_length : static_cast<size_t>(std::max(1, decode_utf8(rest).length));
      const auto i = static_cast<int32_t>(symbols_.size());
      symbols_.push_back({i - 1, i + 1, rest.substr(0, length), user >= 0});
      at += length;
    }
    if (!symbols_.empty()) symbols_.back().next = -1;
  }

  void run(std::vector<TokenId>& ids) {
    for (size_t i = 1; i < symbols_.size(); ++i) {
      consider(static_cast<int32_t>(i) - 1, static_cast<int32_t>(i));
    }
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end());
      const Pair top = heap_.back();
      heap_.pop_back();
      Symbol& left = symbols_[top.left];
      Symbol& right = symbols_[top.right];
      if (left.text.empty() || right.text.empty() ||
          left.text.size() + right.text.size() != top.size) {
        continue;
      }
      left.text = {left.text.data(), top.size};
      right.text = {};
      left.next = right.next;
      if (right.next >= 0) symbols_[right.next].previous = top.left;
      consider(left.previous, top.left);
      consider(top.left, left.next);
    }
    for (int32_t i = symbols_.empty() ? -1 : 0; i >= 0; i = symbols_[i].next) {
      append(symbols_[i].text, ids);
    }
  }

 private:
  void consider(int32_t left, int32_t right) {
    if (left < 0 || right < 0 || symbols_[left].frozen || symbols_[right].frozen) return;
    const std::string_view a = symbols_[left].text;
    const std::string_view merged(a.data(), a.size() + symbols_[right].text.size());
    const TokenId id = owner_.find_piece(merged);
    if (id < 0) return;
    heap_.push_back({left, right, owner_.model_.pieces[id].score, merged.size()});
    std::push_heap(heap_.begin(), heap_.end());
    // An unused piece may be passed through but not come out; remember how to take it apart.
    if (owner_.type(id) == PieceType::kUnused) halves_[merged] = a.size();
  }

  void append(std::string_view text, std::vector<TokenId>& ids) {
    std::vector<std::string_view> todo{text};
    while (!todo.empty()) {
      const std::string_view part = todo.back();
      todo.pop_back();
      const TokenId id = owner_.find_piece(part);
      const auto half = halves_.find(part);
      if (id < 0 || owner_.type(id) != PieceType::kUnused || half == halves_.end()) {
        owner_.append_piece(part, ids);
        continue;
      }
      todo.push_back(part.substr(half->second));
      todo.push_back(part.substr(0, half->second));
    }
  }

  const SentencePieceTokenizer& owner_;
  std::vector<Symbol> symbols_;
  std::vector<Pair> heap_;
  std::unordered_map<std::string_view, size_t> halves_;
};

SentencePieceTokenizer::SentencePieceTokenizer(SentencePieceModel model, const std::string& source)
    : model_(std::move(model)) {
  if (model_.kind != SentencePieceModel::Kind::kBpe) {
    fail(source + ": a SentencePiece model of kind " +
             std::to_string(static_cast<int>(model_.kind)) + " is not supported",
         "only kind 2 (BPE) can be read; convert the tokenizer to tokenizer.json");
  }
  if (!model_.charsmap.empty()) {
    fail(source + ": the model has precompiled normalization rules, which are not supported",
         "convert the tokenizer to tokenizer.json");
  }
  std::fill(std::begin(byte_ids_), std::end(byte_ids_), -1);
  for (size_t i = 0; i < model_.pieces.size(); ++i) {
    const auto& piece = model_.pieces[i];
    const auto id = static_cast<TokenId>(i);
    const std::string name = source + ": piece " + std::to_string(i) + " \"" + piece.text + "\"";
    if (piece.text.empty()) fail(source + ": piece " + std::to_string(i) + " is empty");
    const bool reserved = piece.type == PieceType::kControl || piece.type == PieceType::kUnknown ||
                          piece.type == PieceType::kByte;
    if (!(reserved ? reserved_ : pieces_).emplace(piece.text, id).second) {
      fail(name + " is listed twice", "fetch the file again");
    }
    if (piece.type == PieceType::kUserDefined) user_defined_.add(piece.text, id);
    if (piece.type == PieceType::kControl) control_.add(piece.text, id);
    if (piece.type == PieceType::kUnknown) {
      if (unk_ >= 0) fail(name + " is a second unknown piece", "fetch the file again");
      unk_ = id;
    }
    if (piece.type == PieceType::kByte) {
      unsigned byte = 0;
      char end = 0;
      char spelling[8];
      if (std::sscanf(piece.text.c_str(), "<0x%2X%c", &byte, &end) == 2) {
        std::snprintf(spelling, sizeof(spelling), "<0x%02X>", byte & 255);
      }
      if (end != '>' || piece.text != spelling) fail(name + " is no byte", "bytes are <0xNN>");
      byte_ids_[byte] = id;
    }
  }
  for (const auto& [text, id] : pieces_) {
    if (word_end(text) != text.size()) words_are_apart_ = false;
  }
  if (unk_ < 0) fail(source + ": no unknown piece", "fetch the file again");
  const auto control_id = [&](const std::string& piece) {
    const auto it = reserved_.find(piece);
    return it != reserved_.end() && type(it->second) == PieceType::kControl ? it->second : -1;
  };
  special_.begin = control_id(model_.bos_piece);
  if (control_id(model_.eos_piece) >= 0) special_.ends = {control_id(model_.eos_piece)};
}

// White space rules of the library's normalizer.cc; characters stay as they are.
std::string SentencePieceTokenizer::normalize(std::string_view text, bool prefix) const {
  const std::string_view space = model_.escape_whitespaces ? kSpace : " ";
  const bool squeeze = model_.remove_extra_whitespaces;
  std::string out;
  out.reserve(text.size() + text.size() / 2 + kSpace.size());
  if (squeeze) text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  if (text.empty()) return out;
  if (prefix && model_.add_dummy_prefix && !model_.whitespace_as_suffix) out += space;
  bool after_space = squeeze;
  while (!text.empty()) {
    const auto [user, user_length] = user_defined_.longest(text);
    const size_t length = user >= 0 ? user_length : 1;
    std::string_view unit = text.substr(0, length);
    text.remove_prefix(length);
    while (after_space && unit.starts_with(' ')) unit.remove_prefix(1);
    if (unit.empty()) continue;
    for (char c : unit) {
      if (c == ' ') {
        out += space;
      } else {
        out += c;
      }
    }
    after_space = squeeze && unit.ends_with(' ');
  }
  while (squeeze && std::string_view(out).ends_with(space)) out.resize(out.size() - space.size());
  if (model_.add_dummy_prefix && model_.whitespace_as_suffix) out += space;
  return out;
}

TokenId SentencePieceTokenizer::find_piece(std::string_view text) const {
  const auto it = pieces_.find(text);
  return it == pieces_.end() ? -1 : it->second;
}

void SentencePieceTokenizer::append_piece(std::string_view text, std::vector<TokenId>& ids) const {
  TokenId id = find_piece(text);
  if (id < 0) {
    const auto it = reserved_.find(text);
    if (it != reserved_.end()) id = it->second;
  }
  if (id >= 0 && id != unk_) {
    ids.push_back(id);
    return;
  }
  if (model_.byte_fallback) {
    for (char c : text) {
      const TokenId byte = byte_ids_[static_cast<unsigned char>(c)];
      ids.push_back(byte >= 0 ? byte : unk_);
    }
  } else if (ids.empty() || ids.back() != unk_) {  // a run of unknown characters is one piece
    ids.push_back(unk_);
  }
}

void SentencePieceTokenizer::add_tokens(const Json& items, bool prefix_once,
                                        const std::string& source) {
  prefix_once_ = prefix_once;
  // Ids of the pieces are those that added tokens of equal spelling have.
  Vocabulary vocabulary;
  for (size_t id = 0; id < model_.pieces.size(); ++id) {
    if (vocabulary.find(model_.pieces[id].text) >= 0) continue;
    vocabulary.add(model_.pieces[id].text, static_cast<int64_t>(id), source);
  }
  for (const Json& item : items) {
    AddedToken token;
    token.content = item.value("content", "");
    token.special = item.value("special", false);
    token.single_word = item.value("single_word", false);
    token.lstrip = item.value("lstrip", false);
    token.rstrip = item.value("rstrip", false);
    added_.add(token, vocabulary);
    if (!item.contains("id") || added_.id_of(token.content) == item["id"].get<TokenId>()) continue;
    fail(source + ": the added token \"" + token.content + "\" has id " + item["id"].dump() +
             ", and the model's pieces leave it " + std::to_string(added_.id_of(token.content)),
         "ids of added tokens follow the model's " + std::to_string(model_.pieces.size()) +
             " pieces without gaps");
  }
  added_.finish(nullptr);
}

void SentencePieceTokenizer::encode_plain(std::string_view text, bool prefix,
                                          std::vector<TokenId>& ids) const {
  const std::string normalized = normalize(text, prefix);
  std::string_view rest = normalized;
  std::vector<TokenId> part;
  while (!rest.empty()) {
    const size_t end = words_are_apart_ ? word_end(rest) : rest.size();
    Merger(*this, rest.substr(0, end)).run(part);
    rest.remove_prefix(end);
  }
  ids.insert(ids.end(), part.begin(), part.end());
}

std::vector<TokenId> SentencePieceTokenizer::encode(std::string_view text, bool special) const {
  if (text.size() > kMaxText) {
    fail("tokenizing " + std::to_string(text.size()) + " bytes at once", "at most 256 MiB");
  }
  std::vector<TokenId> ids;
  for (const AddedTokens::Part& part : added_.split(text, false, special)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
    } else {
      encode_part(text.substr(part.span.begin, part.span.end - part.span.begin),
                  part.span.begin == 0, special, ids);
    }
  }
  return ids;
}

void SentencePieceTokenizer::encode_part(std::string_view text, bool opens_text, bool special,
                                         std::vector<TokenId>& ids) const {
  size_t done = 0;
  const auto prefix = [&] { return !prefix_once_ || (opens_text && done == 0); };
  for (size_t at = 0; special && at < text.size();) {
    const auto [id, length] = control_.longest(text.substr(at));
    if (id < 0) {
      ++at;
      continue;
    }
    if (done < at) encode_plain(text.substr(done, at - done), prefix(), ids);
    ids.push_back(id);
    done = at += length;
  }
  if (done < text.size()) encode_plain(text.substr(done), prefix(), ids);
}

std::string SentencePieceTokenizer::token_text(TokenId id) const {
  if (const AddedToken* token = added_.find(id)) return token->content;
  return known(id) ? model_.pieces[static_cast<size_t>(id)].text : "";
}

TokenId SentencePieceTokenizer::token_id(std::string_view text) const {
  if (const TokenId id = added_.id_of(text); id >= 0) return id;
  const TokenId id = find_piece(text);
  if (id >= 0) return id;
  const auto it = reserved_.find(text);
  return it == reserved_.end() ? -1 : it->second;
}

std::string SentencePieceTokenizer::surface(TokenId id) const {
  const std::string& text = model_.pieces[static_cast<size_t>(id)].text;
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const bool space = std::string_view(text).substr(at).starts_with(kSpace);
    out += space ? ' ' : text[at];
    at += space ? kSpace.size() : 1;
  }
  return out;
}

std::string SentencePieceTokenizer::token_bytes(TokenId id) const {
  if (!known(id)) return token_text(id);
  switch (type(id)) {
    case PieceType::kControl:
      return token_text(id);
    case PieceType::kUnknown:
      return model_.unk_surface;
    case PieceType::kByte:
      return std::string(1,
                         static_cast<char>(std::find(byte_ids_, byte_ids_ + 256, id) - byte_ids_));
    default:
      return surface(id);
  }
}

std::string SentencePieceTokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  std::string out;
  bool strip = model_.add_dummy_prefix || model_.remove_extra_whitespaces;
  for (const TokenId id : ids) {
    const AddedToken* added = added_.find(id);
    if (added != nullptr && (added->special ? skip_special : false)) continue;
    if (!known(id)) {
      out += token_text(id);
      strip = strip && out.empty();
      continue;
    }
    if (type(id) == PieceType::kControl && skip_special) continue;
    std::string piece = token_bytes(id);
    const bool plain = type(id) != PieceType::kControl && type(id) != PieceType::kUnknown &&
                       type(id) != PieceType::kByte;
    // The space that encode put before the text goes; where runs of spaces were squeezed, so do
    // all spaces at the start.
    if (strip && plain && out.empty() && token_text(id).starts_with(kSpace)) {
      piece.erase(0, 1);
      strip = model_.remove_extra_whitespaces;
    }
    out += piece;
    if (!out.empty()) strip = false;
  }
  return out;
}

}  // namespace zeroth
