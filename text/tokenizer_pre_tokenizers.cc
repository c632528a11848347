#include <algorithm>
#include <functional>
#include <utility>

#include "core/error.h"
#include "text/tokenizer_bytes.h"
#include "text/tokenizer_steps.h"
#include "text/tokenizer_unicode.h"

namespace zeroth {
namespace {

using step_fields::flag;
using step_fields::text;

// GPT-2's words (Radford et al., 2019, published encoder).
constexpr std::string_view kGpt2Words =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// What becomes of the text that a pattern matches.
enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Behavior behavior_field(const Json& json, const char* key, const std::string& where) {
  const std::string name = text(json, key, where);
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  fail(where + "." + key + ": unknown behavior \"" + name + "\"",
       "known: Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
}

// A stretch of text that the pattern matched, or that lies between matches.
struct Stretch {
  Span span;
  bool match;
};

void append_piece(std::vector<Span>& out, const Span& span) {
  if (span.begin < span.end) out.push_back(span);
}

// Cuts one piece, given its stretches from left to right.
void apply_behavior(std::vector<Stretch>& stretches, Behavior behavior, std::vector<Span>& out) {
  switch (behavior) {
    case Behavior::kRemoved:
      for (const Stretch& s : stretches) {
        if (!s.match) append_piece(out, s.span);
      }
      return;
    case Behavior::kIsolated:
      for (const Stretch& s : stretches) append_piece(out, s.span);
      return;
    case Behavior::kContiguous:
    case Behavior::kMergedWithPrevious: {
      std::vector<Span> merged;
      bool previous = false;
      for (const Stretch& s : stretches) {
        const bool join =
            behavior == Behavior::kContiguous ? s.match == previous : s.match && !previous;
        if (join && !merged.empty()) {
          merged.back().end = s.span.end;
        } else {
          merged.push_back(s.span);
        }
        previous = s.match;
      }
      for (const Span& span : merged) append_piece(out, span);
      return;
    }
    case Behavior::kMergedWithNext: {
      std::vector<Span> merged;  // from right to left
      bool previous = false;
      for (auto s = stretches.rbegin(); s != stretches.rend(); ++s) {
        if (s->match && !previous && !merged.empty()) {
          merged.back().begin = s->span.begin;
        } else {
          merged.push_back(s->span);
        }
        previous = s->match;
      }
      for (auto span = merged.rbegin(); span != merged.rend(); ++span) append_piece(out, *span);
      return;
    }
  }
}

// Splits every piece by a function that lists the matches in a text.
template <class FindAll>
void split_pieces(Pieces& pieces, const FindAll& find_all, Behavior behavior, bool invert) {
  std::vector<Span> out;
  std::vector<Span> matches;
  std::vector<Stretch> stretches;
  out.reserve(pieces.spans.size());
  for (const Span& piece : pieces.spans) {
    const std::string_view view = pieces.view(piece);
    find_all(view, matches);
    if (matches.empty() && !(invert && behavior == Behavior::kRemoved)) {
      out.push_back(piece);
      continue;
    }
    stretches.clear();
    size_t at = 0;
    const auto stretch = [&](size_t begin, size_t end, bool match) {
      stretches.push_back({{piece.begin + begin, piece.begin + end}, match != invert});
    };
    for (const Span& match : matches) {
      if (at != match.begin) stretch(at, match.begin, false);
      stretch(match.begin, match.end, true);
      at = match.end;
    }
    if (at != view.size()) stretch(at, view.size(), false);
    apply_behavior(stretches, behavior, out);
  }
  pieces.spans = std::move(out);
}

// Every character that fulfils the predicate is a match of its own.
template <class Predicate>
auto characters_where(const Predicate& predicate) {
  return [&predicate](std::string_view view, std::vector<Span>& matches) {
    matches.clear();
    for (size_t at = 0; at < view.size();) {
      const Utf8Char c = decode_utf8(view.substr(at));
      const auto length = static_cast<size_t>(std::max(1, c.length));
      if (predicate(c.code)) matches.push_back({at, at + length});
      at += length;
    }
  };
}

// Replaces the text of every piece.
template <class Rewrite>
void rewrite_pieces(Pieces& pieces, const Rewrite& rewrite) {
  Pieces out;
  out.opens_text = pieces.opens_text && !pieces.spans.empty() && pieces.spans[0].begin == 0;
  out.text.reserve(pieces.text.size() + pieces.text.size() / 4);
  for (const Span& span : pieces.spans) {
    const size_t begin = out.text.size();
    rewrite(pieces.view(span), pieces.opens_text && span.begin == 0, out.text);
    append_piece(out.spans, {begin, out.text.size()});
  }
  pieces = std::move(out);
}

class ByteLevelStep : public PreTokenizer {
 public:
  ByteLevelStep(bool prefix_space, bool use_regex, const std::string& where)
      : prefix_space_(prefix_space) {
    if (use_regex) words_ = std::make_unique<Regex>(Regex::compile(kGpt2Words, where));
  }
  void apply(Pieces& pieces) const override {
    if (prefix_space_) {
      rewrite_pieces(pieces, [](std::string_view view, bool, std::string& out) {
        if (!view.starts_with(' ')) out += ' ';
        out += view;
      });
    }
    if (words_) {
      split_pieces(
          pieces,
          [&](std::string_view view, std::vector<Span>& found) { words_->find_all(view, found); },
          Behavior::kIsolated, false);
    }
    rewrite_pieces(pieces, [](std::string_view view, bool, std::string& out) {
      for (char byte : view) out += byte_level_character(static_cast<uint8_t>(byte));
    });
  }

 private:
  bool prefix_space_;
  std::unique_ptr<Regex> words_;
};

class SplitStep : public PreTokenizer {
 public:
  SplitStep(Regex pattern, Behavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void apply(Pieces& pieces) const override {
    split_pieces(
        pieces,
        [&](std::string_view view, std::vector<Span>& found) { pattern_.find_all(view, found); },
        behavior_, invert_);
  }

 private:
  Regex pattern_;
  Behavior behavior_;
  bool invert_;
};

// Splits at single characters: digits, white space, punctuation, a delimiter.
class CharacterStep : public PreTokenizer {
 public:
  CharacterStep(std::function<bool(CodePoint)> predicate, Behavior behavior)
      : predicate_(std::move(predicate)), behavior_(behavior) {}
  void apply(Pieces& pieces) const override {
    split_pieces(pieces, characters_where(predicate_), behavior_, false);
  }

 private:
  std::function<bool(CodePoint)> predicate_;
  Behavior behavior_;
};

// Runs of word characters and runs of other visible characters.
class WhitespaceStep : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    const auto runs = [](std::string_view view, std::vector<Span>& found) {
      enum class Kind { kSpace, kWord, kOther };
      found.clear();
      Kind last = Kind::kSpace;
      for (size_t at = 0; at < view.size();) {
        const Utf8Char c = decode_utf8(view.substr(at));
        const auto length = static_cast<size_t>(std::max(1, c.length));
        const Kind kind = is_word(c.code)          ? Kind::kWord
                          : is_white_space(c.code) ? Kind::kSpace
                                                   : Kind::kOther;
        if (kind != Kind::kSpace && kind == last) {
          found.back().end = at + length;
        } else if (kind != Kind::kSpace) {
          found.push_back({at, at + length});
        }
        last = kind;
        at += length;
      }
    };
    split_pieces(pieces, runs, Behavior::kRemoved, true);
  }
};

class MetaspaceStep : public PreTokenizer {
 public:
  enum class Prepend { kFirst, kAlways, kNever };
  MetaspaceStep(std::string replacement, Prepend prepend, bool split, const std::string& where)
      : replacement_(std::move(replacement)),
        prepend_(prepend),
        split_(split),
        marks_(Regex::literal(replacement_, where)) {}
  void apply(Pieces& pieces) const override {
    rewrite_pieces(pieces, [&](std::string_view view, bool opens_text, std::string& out) {
      const bool wanted =
          prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && opens_text);
      if (wanted && !view.starts_with(' ') && !view.starts_with(replacement_)) out += replacement_;
      for (char c : view) {
        if (c == ' ') {
          out += replacement_;
        } else {
          out += c;
        }
      }
    });
    if (!split_) return;
    split_pieces(
        pieces,
        [&](std::string_view view, std::vector<Span>& found) { marks_.find_all(view, found); },
        Behavior::kMergedWithNext, false);
  }

 private:
  std::string replacement_;
  Prepend prepend_;
  bool split_;
  Regex marks_;
};

class PreTokenizerSequence : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<std::unique_ptr<PreTokenizer>> steps)
      : steps_(std::move(steps)) {}
  void apply(Pieces& pieces) const override {
    for (const auto& step : steps_) step->apply(pieces);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

std::string one_character(const Json& json, const char* key, const std::string& where) {
  const std::string value = text(json, key, where);
  if (value.empty() || static_cast<size_t>(decode_utf8(value).length) != value.size()) {
    fail(where + "." + key + ": expected one character, got \"" + value + "\"");
  }
  return value;
}

std::unique_ptr<PreTokenizer> make_metaspace(const Json& json, const std::string& where) {
  using Prepend = MetaspaceStep::Prepend;
  Prepend prepend = Prepend::kAlways;
  if (step_fields::find(json, "prepend_scheme", where) != nullptr) {
    const std::string scheme = text(json, "prepend_scheme", where);
    if (scheme == "first") {
      prepend = Prepend::kFirst;
    } else if (scheme == "never") {
      prepend = Prepend::kNever;
    } else if (scheme != "always") {
      fail(where + ".prepend_scheme: unknown value \"" + scheme + "\"",
           "known: first, never, always");
    }
  } else if (!flag(json, "add_prefix_space", true, where)) {
    prepend = Prepend::kNever;
  }
  return std::make_unique<MetaspaceStep>(one_character(json, "replacement", where), prepend,
                                         flag(json, "split", true, where), where);
}

}  // namespace

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Json& json, const std::string& where) {
  if (json.is_null()) return nullptr;
  const std::string type = text(json, "type", where);
  const auto at_characters = [](std::function<bool(CodePoint)> predicate, Behavior behavior) {
    return std::make_unique<CharacterStep>(std::move(predicate), behavior);
  };
  if (type == "ByteLevel") {
    return std::make_unique<ByteLevelStep>(flag(json, "add_prefix_space", true, where),
                                           flag(json, "use_regex", true, where), where);
  }
  if (type == "Split") {
    return std::make_unique<SplitStep>(step_fields::pattern(json, "pattern", where),
                                       behavior_field(json, "behavior", where),
                                       flag(json, "invert", false, where));
  }
  if (type == "Digits") {
    return at_characters(is_numeric, flag(json, "individual_digits", false, where)
                                         ? Behavior::kIsolated
                                         : Behavior::kContiguous);
  }
  if (type == "Punctuation") {
    return at_characters(is_any_punctuation, step_fields::find(json, "behavior", where) == nullptr
                                                 ? Behavior::kIsolated
                                                 : behavior_field(json, "behavior", where));
  }
  if (type == "Whitespace") return std::make_unique<WhitespaceStep>();
  if (type == "WhitespaceSplit") return at_characters(is_white_space, Behavior::kRemoved);
  if (type == "CharDelimiterSplit") {
    const CodePoint delimiter = decode_utf8(one_character(json, "delimiter", where)).code;
    return at_characters([delimiter](CodePoint c) { return c == delimiter; }, Behavior::kRemoved);
  }
  if (type == "Metaspace") return make_metaspace(json, where);
  if (type == "Sequence") {
    std::vector<std::unique_ptr<PreTokenizer>> steps;
    for (const Json& item : step_fields::list(json, "pretokenizers", where)) {
      const std::string at = where + ".pretokenizers[" + std::to_string(steps.size()) + "]";
      auto step = make_pre_tokenizer(item, at);
      if (step == nullptr) fail(at + ": null instead of a step");
      steps.push_back(std::move(step));
    }
    return std::make_unique<PreTokenizerSequence>(std::move(steps));
  }
  fail(where + ": unknown pre-tokenizer \"" + type + "\"",
       "known: ByteLevel, Split, Digits, Punctuation, Whitespace, WhitespaceSplit, "
       "CharDelimiterSplit, Metaspace, Sequence");
}

bool uses_byte_level(const Json& normalizer, const Json& pre_tokenizer) {
  for (const Json* step : {&normalizer, &pre_tokenizer}) {
    if (!step->is_object()) continue;
    const auto type = step->find("type");
    if (type != step->end() && *type == "ByteLevel") return true;
    for (const char* key : {"normalizers", "pretokenizers"}) {
      const auto list = step->find(key);
      if (list == step->end() || !list->is_array()) continue;
      for (const Json& item : *list) {
        if (uses_byte_level(item, nullptr)) return true;
      }
    }
  }
  return false;
}

}  // namespace zeroth
