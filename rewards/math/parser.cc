#include "rewards/math/parser.h"

#include <algorithm>
#include <array>

#include "rewards/math/extract_parts.h"
#include "rewards/math/parser_depth.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

// Phrases that begin with these qualify the answer before them; they end it.
constexpr auto kQualifiers = std::to_array<std::string_view>(
    {"is",   "for", "where", "when", "if",    "such",     "with",   "because", "since",
     "as",   "are", "at",    "on",   "given", "whenever", "which",  "that",    "so",
     "from", "per", "of",    "both", "only",  "in",       "forall", "holds",   "have"});
// With one of these the number beside it is not the answer.
constexpr auto kNegations = std::to_array<std::string_view>(
    {"not", "no", "never", "cannot", "none", "neither", "nor", "isn", "isnt", "undefined",
     "impossible", "wrong", "incorrect", "without", "except", "NOT", "Not", "No", "unknown"});

// Beside one of these a number is a date, not a value.
constexpr auto kMonths =
    std::to_array<std::string_view>({"January", "February", "March", "April", "May", "June", "July",
                                     "August", "September", "October", "November", "December"});

// Spellings of the empty set, as text_between makes them.
constexpr auto kEmptySet =
    std::to_array<std::string_view>({"emptyset", "theemptyset", "nullset", "nosolution",
                                     "nosolutions", "norealsolutions", "therearenosolutions"});

template <size_t N>
bool one_of(std::string_view word, const std::array<std::string_view, N>& list) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

}  // namespace

ParsedAnswer Parser::answer() {
  std::vector<Ref> items;
  uint8_t joined = 0;  // by which conjunctions
  while (!done() && !cut_) {
    if (at().is(Kind::kSeparator)) {
      if (at().ch == 'o') joined |= kJoinedByOr;
      if (at().ch == '&') joined |= kJoinedByAnd;
      ++pos_;
      continue;
    }
    if (static_cast<int>(items.size()) > pool_.budget().set_elements || pool_.full())
      return {kNoRef, true, true};
    // "9, not 8", "x = 2k, where k ..": a clause about the answer before it.
    bool value_before = !items.empty() && !pool_.is(items.back(), Op::kText);
    if (value_before && at().is(Kind::kWord) &&
        (at().text == "not" || one_of(at().text, kQualifiers)))
      break;
    size_t before = pos_;
    Ref item = element();
    if (item != kNoRef) {
      for (Ref variant : expand_signs(pool_, item)) items.push_back(variant);
    }
    if (pos_ == before) ++pos_;
  }
  if (pool_.full()) return {kNoRef, true, true};
  // "x = 2k pi, k in Z": the range of a parameter is no member of the list.
  if (items.size() > 1) {
    auto ranges = [&](Ref ref) {
      return pool_.is(ref, Op::kRelation) && pool_.name(ref) == "i" &&
             pool_.is(pool_.child(ref, 1), Op::kSpecialSet);
    };
    std::vector<Ref> kept;
    std::copy_if(items.begin(), items.end(), std::back_inserter(kept),
                 [&](Ref r) { return !ranges(r); });
    if (!kept.empty()) items = std::move(kept);
  }
  if (items.empty()) return {};
  // {1,2} in plain braces is a list.
  Ref whole = items.size() == 1 ? items[0] : pool_.make(Op::kList, items, 0, joined);
  return {whole, as_text_, false, half_day_};
}

// Elements up to a closing token, which stays; commas, semicolons and conjunctions separate.
std::vector<Ref> Parser::elements_until(Kind kind, char ch) {
  std::vector<Ref> items;
  auto closes = [&] {
    if (at().is(kind) && (ch == 0 || at().ch == ch)) return true;
    return done();
  };
  while (!closes()) {
    if (at().is(Kind::kSeparator)) {
      ++pos_;
      continue;
    }
    if (static_cast<int>(items.size()) > pool_.budget().set_elements || pool_.full()) return {};
    Ref item = relation_chain();
    if (item == kNoRef) return {};
    if (at().is(Kind::kWord) && !skip_trailing_words()) return {};
    items.push_back(item);
    if (!closes() && !at().is(Kind::kSeparator)) return {};
  }
  return items;
}

bool Parser::at_element_end() const { return done() || at().is(Kind::kSeparator) || cut_; }

// The end of the element that starts at `from`: the next separator outside brackets.
size_t Parser::element_end(size_t from) const {
  int depth = 0;
  for (size_t i = from; i < tokens_.size(); ++i) {
    const Token& token = tokens_[i];
    if (token.is(Kind::kEnd)) return i;
    if (token.is(Kind::kOpen)) ++depth;
    if (token.is(Kind::kClose)) depth = std::max(0, depth - 1);
    if (depth == 0 && token.is(Kind::kSeparator)) return i;
  }
  return tokens_.size() - 1;
}

bool Parser::only_words_ahead() const {
  for (size_t i = pos_; i < tokens_.size(); ++i) {
    const Token& t = tokens_[i];
    if (t.is(Kind::kEnd) || t.is(Kind::kSeparator)) return true;
    bool wordish = t.is(Kind::kWord) || (t.is(Kind::kLetter) && t.upright) ||
                   t.is(Kind::kOperator, '\'') || t.is(Kind::kOperator, ':') ||
                   t.is(Kind::kOperator, '-') || t.is(Kind::kOperator, '/') ||
                   t.is(Kind::kOpen, '(') || t.is(Kind::kClose, ')');
    if (!wordish) return false;
  }
  return true;
}

// The spelling of tokens [begin, end): words in lower case without blanks between letters of one
// run.
Ref Parser::text_between(size_t begin, size_t end) {
  std::string out;
  bool words_only = true;
  for (size_t i = begin; i < end; ++i) {
    const Token& t = tokens_[i];
    if (t.is(Kind::kWord) || (t.is(Kind::kLetter))) continue;
    words_only = false;
  }
  for (size_t i = begin; i < end; ++i) {
    const Token& t = tokens_[i];
    switch (t.kind) {
      case Kind::kWord:
        out += lower_case(t.text);
        break;
      case Kind::kLetter:
        out += words_only || t.upright ? lower_case(t.text) : t.text;
        break;
      case Kind::kNumber:
        out += t.text;
        break;
      case Kind::kCommand:
        out += "\\" + t.text;
        break;
      case Kind::kSeparator:
        out += t.ch == 'n' ? ';' : t.ch;
        break;
      case Kind::kPercent:
        out += '%';
        break;
      case Kind::kDegree:
        out += "^\\circ";
        break;
      case Kind::kCell:
        out += '&';
        break;
      default:
        if (t.ch == '-' && i + 1 < end && (tokens_[i + 1].is(Kind::kWord)) && i > begin)
          break;  // hyphen
        if (t.ch != 0) out += t.ch;
        break;
    }
  }
  if (one_of(out, kEmptySet)) {
    return pool_.make(Op::kSpecialSet, std::initializer_list<Ref>{}, pool_.intern("empty"));
  }
  return pool_.text(out);
}

// Passes words before a formula. False when they negate it. `label` gets the words when "=" or ":"
// follows.
bool Parser::skip_leading_words(std::string* label) {
  size_t begin = pos_;
  while (at().is(Kind::kWord)) {
    if (one_of(at().text, kNegations) || one_of(at().text, kMonths)) return false;
    ++pos_;
    while (at().is(Kind::kLetter) && at().upright && (at(1).is(Kind::kWord))) ++pos_;  // "is a"
  }
  if (pos_ == begin) return true;
  if (at().is(Kind::kOperator, ':') || at().is(Kind::kRelation, kEq)) {
    for (size_t i = begin; i < pos_; ++i) *label += lower_case(tokens_[i].text);
    ++pos_;
  }
  return true;
}

// Passes units and remarks after a formula up to the end of the element; false when they change its
// meaning.
bool Parser::skip_trailing_words() {
  bool first = true;
  bool number_seen = false;
  int open = 0;  // brackets opened by the remark itself
  while (!done() && !at().is(Kind::kSeparator) && !at().is(Kind::kCell)) {
    const Token& t = at();
    if (t.is(Kind::kClose) && open == 0) break;
    open += t.is(Kind::kOpen);
    open -= t.is(Kind::kClose);
    if (t.is(Kind::kWord) || (t.is(Kind::kLetter) && t.upright)) {
      if (one_of(t.text, kNegations) || one_of(t.text, kMonths)) return false;
      if (t.text == "am" || t.text == "AM") half_day_ = 'a';
      if (t.text == "pm" || t.text == "PM") half_day_ = 'p';
      if (one_of(t.text, kQualifiers) && depth_ <= 1 && !in_set_) {
        cut_ = true;
        return true;
      }
    } else if (t.is(Kind::kNumber) && !first) {
      // "5 hours 20 minutes" is not 5; "cm^2" and "cm2" are.
      bool script = tokens_[pos_ - 1].is(Kind::kOperator, '^') ||
                    tokens_[pos_ - 1].is(Kind::kOperator, '-') ||
                    (tokens_[pos_ - 1].is(Kind::kOpen, '{')) || !t.space;
      if (!script) number_seen = true;
    } else if (t.is(Kind::kRelation)) {
      return false;
    }
    first = false;
    ++pos_;
  }
  return !number_seen;
}

// "W(n) = .." defines W: then W(..) is an application, not a product.
void Parser::mark_function_definition() {
  size_t i = pos_;
  if (!at().is(Kind::kLetter) && !at().is(Kind::kCommand)) return;
  std::string name = at().text;
  ++i;
  auto token = [&](size_t k) -> const Token& {
    return k < tokens_.size() ? tokens_[k] : tokens_.back();
  };
  if (token(i).is(Kind::kOperator, '_')) {
    ++i;
    if (token(i).is(Kind::kOpen, '{')) {
      while (i < tokens_.size() && !token(i).is(Kind::kClose, '}') && !token(i).is(Kind::kEnd)) ++i;
    }
    ++i;
  }
  while (token(i).is(Kind::kOperator, '\'')) ++i;
  if (!token(i).is(Kind::kOpen, '(')) return;
  int depth = 0;
  for (; i < tokens_.size(); ++i) {
    if (token(i).is(Kind::kOpen)) ++depth;
    if (token(i).is(Kind::kClose) && --depth == 0) break;
    if (token(i).is(Kind::kEnd)) return;
  }
  if (token(i + 1).is(Kind::kRelation)) {
    call_pos_ = pos_;
    calls_.insert(name);
  }
}

Ref Parser::element() {
  size_t begin = pos_;
  Ref result = element_body(begin);
  if (result != kNoRef && at_element_end()) {
    if (cut_) {
      while (!done()) ++pos_;
    }
    return result;
  }
  if (pool_.full()) {
    pos_ = tokens_.size() - 1;
    return kNoRef;
  }
  // Not understood: after a chain of equations the last part may still be.
  size_t end = element_end(begin);
  int depth = 0;
  size_t last_eq = 0;
  int equations = 0;
  bool negated = false;
  for (size_t i = begin; i < end; ++i) {
    negated |= tokens_[i].is(Kind::kWord) && one_of(tokens_[i].text, kNegations);
    if (tokens_[i].is(Kind::kOpen)) ++depth;
    if (tokens_[i].is(Kind::kClose)) --depth;
    if (depth == 0 && tokens_[i].is(Kind::kRelation, kEq)) {
      last_eq = i;
      ++equations;
    }
  }
  if (equations >= 2 && !negated) {
    pos_ = last_eq + 1;
    cut_ = false;
    result = element_body(pos_);
    if (result != kNoRef && at_element_end()) return result;
  }
  cut_ = false;
  pos_ = end;
  as_text_ = true;
  return text_between(begin, end);
}

Ref Parser::element_body(size_t begin) {
  if (only_words_ahead() && at().is(Kind::kWord)) {
    size_t end = element_end(begin);
    pos_ = end;
    return text_between(begin, end);
  }
  std::string label;
  bool math_word = at().is(Kind::kWord) && !at().upright &&
                   (at(1).is(Kind::kOperator) || at(1).is(Kind::kOpen)) &&
                   !at(1).is(Kind::kOperator, ':');
  if (!math_word && !skip_leading_words(&label)) return kNoRef;
  if (at().is(Kind::kRelation, kEq) || at().is(Kind::kRelation, kApprox)) ++pos_;  // "= 5"
  if (at_element_end()) return kNoRef;
  mark_function_definition();
  const size_t value_begin = pos_;
  Ref value = relation_chain();
  if (value == kNoRef) return kNoRef;
  // "all odd n", "n is odd": about a bare variable the words are the answer.
  const bool variable = pool_.is(value, Op::kSymbol) && pos_ == value_begin + 1 &&
                        pool_.name(value).size() == 1 && pool_.name(value)[0] >= 'a';
  const bool words = value_begin > begin || (at().is(Kind::kWord) && !is_unit(at().text));
  if (variable && words && label.empty()) {
    const size_t end = element_end(begin);
    pos_ = end;
    return text_between(begin, end);
  }
  bool remark = at().is(Kind::kWord) || at_unit_fraction() ||
                ((at().is(Kind::kLetter) || at().is(Kind::kOpen, '(')) && at().upright);
  if (!at_element_end() && remark) {
    if (!skip_trailing_words()) return kNoRef;
  }
  if (!label.empty() && !pool_.is(value, Op::kRelation)) {
    return pool_.make(Op::kRelation, {pool_.symbol(label), value}, pool_.intern("="));
  }
  return value;
}

Ref Parser::relation_chain() {
  ParserDepth guard(&depth_);
  if (depth_ > pool_.budget().depth || pool_.full()) return kNoRef;
  std::vector<Ref> terms;
  std::string codes;
  Ref first = relation_term();
  if (first == kNoRef) return kNoRef;
  terms.push_back(first);
  while (at().is(Kind::kRelation)) {
    codes.push_back(at().ch);
    ++pos_;
    if (at().is(Kind::kRelation, kEq)) ++pos_;  // ">= =" and the like
    // "x = 5 or 6", "x = \text{five}"
    if (at().is(Kind::kWord) && at().upright) {
      size_t begin = pos_;
      size_t end = element_end(pos_);
      if (only_words_ahead()) {
        pos_ = end;
        terms.push_back(text_between(begin, end));
        continue;
      }
      while (at().is(Kind::kWord) && !one_of(at().text, kNegations)) ++pos_;
    }
    Ref next = relation_term();
    if (next == kNoRef) return kNoRef;
    terms.push_back(next);
  }
  if (terms.size() == 1) return first;
  if (codes == "c" && modulus_ != kNoRef) {
    codes += kModulo;
    terms.push_back(std::exchange(modulus_, kNoRef));
  }
  return finish_relation(std::move(terms), std::move(codes));
}

// A side of a relation: an expression or a ratio a : b : c.
Ref Parser::relation_term() { return set_expression(); }

Ref Parser::finish_relation(std::vector<Ref> terms, std::string codes) {
  auto symbolic = [&](Ref ref) {
    return pool_.is(ref, Op::kSymbol) || pool_.is(ref, Op::kCall) || pool_.is(ref, Op::kText);
  };
  size_t approx = codes.find(kApprox);
  if (approx != std::string::npos) {
    // "a = b ~ 0.57": the value before the approximation counts; "x ~ 11" is an assignment.
    if (approx == 0 && symbolic(terms[0])) {
      codes[0] = kEq;
      approx = codes.find(kApprox);
    }
    if (approx != std::string::npos) {
      codes.resize(approx);
      terms.resize(approx + 1);
    }
  }
  if (terms.size() == 1) return terms[0];
  return pool_.make(Op::kRelation, terms, pool_.intern(codes));
}

// A word in the place of a factor: the product of its letters.
Ref Parser::word_symbol() {
  const std::string word = at().text;
  ++pos_;
  Ref product = kNoRef;
  if (tokens_[pos_ - 1].upright) return pool_.symbol(word);
  for (char c : word) {
    Ref letter = pool_.symbol(std::string(1, c));
    product = product == kNoRef ? letter : pool_.mul(product, letter);
  }
  return product;
}

ParsedAnswer parse_answer(Pool& pool, std::string_view source, bool plain, bool comma_groups) {
  while (!source.empty() &&
         (source.back() == ' ' || source.back() == '\n' || source.back() == '.' ||
          source.back() == ',' || source.back() == ';' || source.back() == '\\')) {
    source.remove_suffix(1);
  }
  while (!source.empty() && (source.front() == ' ' || source.front() == '\n'))
    source.remove_prefix(1);
  // Emphasis marks of Markdown.
  while (source.size() >= 4 && source.starts_with("**") && source.ends_with("**")) {
    source = source.substr(2, source.size() - 4);
  }
  // Braces around the whole answer.
  while (source.size() >= 2 && source.front() == '{' && source.back() == '}' &&
         matching_brace(source, 0) == source.size() - 1) {
    source = source.substr(1, source.size() - 2);
  }
  if (source.empty()) return {};
  thread_local std::vector<Token> tokens;
  LexOptions options;
  options.plain = plain && comma_groups;
  options.comma_groups = comma_groups;
  options.max_tokens = pool.budget().tokens;
  ParsedAnswer result;
  if (static_cast<int>(source.size()) > pool.budget().answer_bytes ||
      !tokenize(source, options, &tokens)) {
    return {pool.text(source), true, true};
  }
  result = Parser(pool, tokens).answer();
  if (result.over_budget) result.ref = pool.text(source);
  return result;
}

}  // namespace zeroth::math
