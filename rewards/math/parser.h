// Reads an answer into an expression tree. Recursive descent with a depth count; what the grammar
// does not know becomes text, which equals only the same text.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "rewards/math/expr.h"
#include "rewards/math/lexer.h"
#include "rewards/math/measures.h"

namespace zeroth::math {

struct ParsedAnswer {
  ParsedAnswer() = default;
  ParsedAnswer(Ref ref, bool as_text, bool over_budget)
      : ref(ref), as_text(as_text), over_budget(over_budget) {}
  Ref ref = kNoRef;                 // kNoRef when there is nothing in it
  bool as_text = false;             // some part was not understood and is kept as text
  bool over_budget = false;         // ref is the whole source as text
  char half_day = 0;                // 'a' or 'p' when a time of day said so
  char angle = 0;                   // 'd' or 'r' when degrees or radians were said
  std::string unit;                 // behind the value, when it is one letter
  Measure measure;                  // "5 ft 10 in", "80 min": the same in one unit
  std::vector<int32_t> parameters;  // names said to run through a set of numbers: k in Z
};

// Parses ASCII LaTeX (see unicode.h). `plain` tells that it stood outside mathematics. Without
// `comma_groups`, "1,234" is two members.
ParsedAnswer parse_answer(Pool& pool, std::string_view source, bool plain,
                          bool comma_groups = true);

// Sums, products and powers that also know matrices, percentages and sets; kNoRef when undefined.
Ref combine_add(Pool& pool, Ref a, Ref b);
Ref combine_mul(Pool& pool, Ref a, Ref b);
Ref combine_pow(Pool& pool, Ref base, Ref exponent);
Ref transpose(Pool& pool, Ref matrix);
Ref determinant(Pool& pool, Ref matrix);

// A single-signed expression for each choice of the plus-minus signs in `ref`, at most 16.
std::vector<Ref> expand_signs(Pool& pool, Ref ref);

class Parser {
 public:
  // `tokens` end with kEnd; rewrite.h tells what was done to them.
  Parser(Pool& pool, const std::vector<Token>& tokens) : pool_(pool), tokens_(tokens) {}
  ParsedAnswer answer();

 private:
  using Kind = Token::Kind;
  struct DepthGuard;

  const Token& at(size_t ahead = 0) const {
    size_t i = pos_ + ahead;
    return i < tokens_.size() ? tokens_[i] : tokens_.back();
  }
  bool done() const { return at().is(Kind::kEnd); }
  bool accept(Kind kind, char ch) {
    if (!at().is(kind, ch)) return false;
    ++pos_;
    return true;
  }

  // parser.cc: lists, elements, relations
  std::vector<Ref> elements_until(Kind kind, char ch);
  Ref element();
  Ref element_body(size_t begin);
  Ref relation_chain();
  Ref relation_term();
  Ref finish_relation(std::vector<Ref> terms, std::string codes);
  bool at_element_end() const;
  std::vector<Ref> without_ranges(std::vector<Ref> items);
  size_t element_end(size_t from) const;
  void mark_function_definition();
  Ref word_symbol();

  // parser_words.cc: words before, behind and in place of values
  bool skip_leading_words(std::string* label);
  bool skip_trailing_words();
  bool only_words_ahead() const;
  bool more_cases_ahead() const;
  bool note_word(const std::string& word);
  Ref named_set(const std::string& words);
  Ref text_between(size_t begin, size_t end);

  // parser_expr.cc: set operations, sums, products, powers
  Ref set_expression();
  Ref additive();
  Ref term();
  Ref juxtaposition(Ref first);
  bool starts_factor() const;
  bool stops_for_unit(Ref so_far) const;
  bool at_unit_fraction() const;
  bool at_symbol_unit() const;
  bool at_remark() const;
  bool at_bracketed_modulus() const;
  bool accept_degree_letter();
  Ref signed_factor();
  Ref factor();
  Ref postfix(Ref base);
  Ref exponent();

  // parser_atoms.cc: numbers, letters, groups, commands
  Ref primary();
  Ref number();
  Ref mixed_fraction(Ref integer);
  Ref letter();
  std::string subscript_text();
  Ref call(const std::string& name);
  Ref open_group();
  Ref bracket_group(char open);
  Ref set_group();
  Ref bars();
  Ref command();
  Ref function_command(Function f);
  Ref function_argument();
  Ref logarithm(bool natural);
  Ref fraction();
  Ref square_root();
  Ref binomial();
  Ref combinations();
  Ref big_operator(Op op);
  Ref opaque_operator(const std::string& name);
  Ref environment();
  Ref overline();
  Ref braced();  // {..} or one token
  std::string raw_group();

  Pool& pool_;
  const std::vector<Token>& tokens_;
  size_t pos_ = 0;
  int depth_ = 0;
  int bars_open_ = 0;
  bool in_set_ = false;
  bool as_text_ = false;
  bool cut_ = false;   // a qualifying phrase ended the answer
  char half_day_ = 0;  // see ParsedAnswer
  char angle_ = 0;
  std::string unit_;
  std::vector<int32_t> parameters_;
  Ref modulus_ = kNoRef;        // of the last \\pmod
  size_t call_pos_ = SIZE_MAX;  // token of the name in a definition "W(n) = .."
  std::set<std::string> calls_;
};

}  // namespace zeroth::math
