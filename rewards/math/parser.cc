#include "rewards/math/parser.h"

#include <algorithm>

#include "rewards/math/bases.h"
#include "rewards/math/extract_parts.h"
#include "rewards/math/parser_depth.h"
#include "rewards/math/parser_words.h"
#include "rewards/math/rewrite.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

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
    if (value_before && at().is(Kind::kWord) && (at().text == "not" || is_qualifier(at().text)) &&
        !more_cases_ahead())
      break;
    size_t before = pos_;
    Ref item = element();
    if (item != kNoRef) {
      for (Ref variant : expand_signs(pool_, item)) items.push_back(variant);
    }
    if (pos_ == before) ++pos_;
  }
  if (pool_.full()) return {kNoRef, true, true};
  items = without_ranges(std::move(items));
  if (items.empty()) return {};
  // {1,2} in plain braces is a list.
  Ref whole = items.size() == 1 ? items[0] : pool_.make(Op::kList, items, 0, joined);
  ParsedAnswer result{whole, as_text_, false};
  result.half_day = half_day_;
  result.angle = angle_;
  result.unit = unit_;
  result.parameters = std::move(parameters_);
  return result;
}

// "x = 2k pi, k in Z": the range of a parameter is no member of the list. \\{2k pi : k in Z\\} says
// the same.
std::vector<Ref> Parser::without_ranges(std::vector<Ref> items) {
  auto range_of = [&](Ref ref) {
    const bool range = pool_.is(ref, Op::kRelation) && pool_.name(ref) == "i" &&
                       pool_.is(pool_.child(ref, 1), Op::kSpecialSet) &&
                       pool_.is(pool_.child(ref, 0), Op::kSymbol);
    return range ? pool_[pool_.child(ref, 0)].data : -1;
  };
  if (items.size() == 1 && pool_.is(items[0], Op::kSetBuilder) && pool_[items[0]].count == 2) {
    const Ref element = pool_.child(items[0], 0);
    const int32_t name = range_of(pool_.child(items[0], 1));
    const bool bare = pool_.is(element, Op::kSymbol) || pool_.is(element, Op::kRelation);
    if (name >= 0 && !bare) {
      parameters_.push_back(name);
      return {element};
    }
  }
  if (items.size() < 2) return items;
  std::vector<Ref> kept;
  for (Ref item : items) {
    const int32_t name = range_of(item);
    if (name < 0) {
      kept.push_back(item);
    } else {
      parameters_.push_back(name);
    }
  }
  if (!kept.empty()) return kept;
  parameters_.clear();
  return items;
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
    negated |= tokens_[i].is(Kind::kWord) && is_negation(tokens_[i].text);
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
  // "A circle", "I think": the article and the pronoun are no names.
  const bool article = pool_.is(value, Op::kSymbol) && pos_ == value_begin + 1 &&
                       (pool_.name(value) == "A" || pool_.name(value) == "I") &&
                       at().is(Kind::kWord) && !is_qualifier(at().text);
  as_text_ |= article && pool_.name(value) == "I";
  if (article || (variable && words && label.empty())) {
    const size_t end = element_end(begin);
    pos_ = end;
    return text_between(begin, end);
  }
  bool remark = at().is(Kind::kWord) || at_unit_fraction() || at_symbol_unit() || at_remark() ||
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
      while (at().is(Kind::kWord) && !is_negation(at().text)) ++pos_;
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

namespace {

// "0.333...": the dots belong to the number.
bool recurs(std::string_view source) {
  if (!source.ends_with("...")) return false;
  while (source.ends_with('.')) source.remove_suffix(1);
  return !source.empty() && source.back() >= '0' && source.back() <= '9';
}

}  // namespace

ParsedAnswer parse_answer(Pool& pool, std::string_view source, bool plain, bool comma_groups) {
  while (source.starts_with("..")) source.remove_prefix(1);
  while (!source.empty() && !recurs(source) &&
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
  // Quotes.
  if (source.size() > 2 && source.front() == '\'' && source.back() == '\'' &&
      source.find('\'', 1) == source.size() - 1) {
    source = source.substr(1, source.size() - 2);
  }
  if (source.empty()) return {};
  const bool group = source.starts_with("\\text{") && source.ends_with('}');
  const std::string date = read_date(group ? source.substr(6, source.size() - 7) : source);
  if (!date.empty()) {
    ParsedAnswer result;
    result.ref = pool.text(date);
    return result;
  }
  if (const Ref base = read_lettered_base(pool, source); base != kNoRef) {
    ParsedAnswer result;
    result.ref = base;
    return result;
  }
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
  rewrite_tokens(&tokens);
  Measure measure = read_measure(tokens);
  if (measure.compound) {
    result.ref =
        pool.text(std::string("measure ") + measure.dimension + " " + measure.value.to_string());
    result.measure = std::move(measure);
    return result;
  }
  result = Parser(pool, tokens).answer();
  result.measure = std::move(measure);
  if (result.over_budget) result.ref = pool.text(source);
  return result;
}

}  // namespace zeroth::math
