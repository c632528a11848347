#include "rewards/expression.h"

#include <algorithm>
#include <numeric>

namespace zeroth {
namespace {

using Wide = __int128;

// Puts numerator / denominator into lowest terms; false outside the bounds.
bool reduce(Wide numerator, Wide denominator, Rational* result) {
  if (denominator < 0) {
    numerator = -numerator;
    denominator = -denominator;
  }
  Wide a = numerator < 0 ? -numerator : numerator;
  Wide b = denominator;
  while (b != 0) {
    const Wide rest = a % b;
    a = b;
    b = rest;
  }
  numerator /= a;
  denominator /= a;
  if (numerator > kRationalBound || numerator < -kRationalBound || denominator > kRationalBound) {
    return false;
  }
  *result = {static_cast<int64_t>(numerator), static_cast<int64_t>(denominator)};
  return true;
}

enum class Token { kNumber, kOperator, kOpen, kClose, kEnd, kBad };

struct Sign {
  std::string_view bytes;
  char op;
};
// Typographic operators that models write; each has one reading only.
constexpr Sign kSigns[] = {{"\u00d7", '*'}, {"\u00f7", '/'}, {"\u2212", '-'}, {"\u00b7", '*'}};

// Operator-precedence evaluation with explicit stacks (Dijkstra's shunting yard).
class Evaluator {
 public:
  Evaluator(std::string_view text, const ExpressionLimits& limits) : text_(text), limits_(limits) {}

  Expression run() {
    if (text_.size() > limits_.bytes) {
      fail(Reason::kOverBudget, "longer than " + std::to_string(limits_.bytes) + " bytes");
      return std::move(out_);
    }
    bool operand_next = true;
    for (;;) {
      const Token token = next();
      if (failed()) break;
      if (token == Token::kEnd) {
        finish(operand_next);
        break;
      }
      const bool fine = operand_next ? operand(token, &operand_next) : follow(token, &operand_next);
      if (!fine) break;
    }
    return std::move(out_);
  }

 private:
  bool failed() const { return out_.reason != Reason::kNone; }

  bool fail(Reason reason, const std::string& error) {
    if (!failed()) {
      out_.reason = reason;
      out_.error = error + " at byte " + std::to_string(start_);
    }
    return false;
  }

  Token next() {
    while (at_ < text_.size() &&
           std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos)
      ++at_;
    start_ = at_;
    if (at_ == text_.size()) return Token::kEnd;
    const char c = text_[at_];
    if (c >= '0' && c <= '9') return number();
    if (c == '(' || c == ')') {
      ++at_;
      return c == '(' ? Token::kOpen : Token::kClose;
    }
    if (c == '+' || c == '-' || c == '*' || c == '/') {
      ++at_;
      op_ = c;
      return Token::kOperator;
    }
    for (const Sign& sign : kSigns) {
      if (text_.substr(at_).starts_with(sign.bytes)) {
        at_ += sign.bytes.size();
        op_ = sign.op;
        return Token::kOperator;
      }
    }
    fail(Reason::kParseError, "a character that is no digit, operator or parenthesis");
    return Token::kBad;
  }

  Token number() {
    number_ = 0;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
      if (static_cast<int>(at_ - start_) >= limits_.digits) {
        fail(Reason::kOverBudget,
             "an integer of more than " + std::to_string(limits_.digits) + " digits");
        return Token::kBad;
      }
      number_ = number_ * 10 + (text_[at_++] - '0');
    }
    if (at_ - start_ > 1 && text_[start_] == '0') {
      fail(Reason::kParseError, "an integer with a leading zero");
      return Token::kBad;
    }
    return Token::kNumber;
  }

  // A token where an operand must stand.
  bool operand(Token token, bool* operand_next) {
    if (token == Token::kNumber) {
      if (static_cast<int>(out_.numbers.size()) >= limits_.numbers) {
        return fail(Reason::kOverBudget,
                    "more than " + std::to_string(limits_.numbers) + " integers");
      }
      out_.numbers.push_back(number_);
      values_.push_back({number_, 1});
      *operand_next = false;
      return true;
    }
    if (token == Token::kOpen) {
      if (++depth_ > limits_.depth) {
        return fail(Reason::kOverBudget,
                    "more than " + std::to_string(limits_.depth) + " open parentheses");
      }
      operators_.push_back('(');
      return true;
    }
    return fail(Reason::kParseError, token == Token::kOperator
                                         ? "an operator without a left operand"
                                         : "nothing inside parentheses");
  }

  // A token where an operator or a closing parenthesis must stand.
  bool follow(Token token, bool* operand_next) {
    if (token == Token::kOperator) {
      const char op = op_;
      while (!operators_.empty() && operators_.back() != '(' &&
             rank(operators_.back()) >= rank(op)) {
        if (!reduce_top()) return false;
      }
      operators_.push_back(op);
      *operand_next = true;
      return true;
    }
    if (token != Token::kClose)
      return fail(Reason::kParseError, "two operands without an operator between them");
    while (!operators_.empty() && operators_.back() != '(') {
      if (!reduce_top()) return false;
    }
    if (operators_.empty())
      return fail(Reason::kParseError, "a closing parenthesis that was never opened");
    operators_.pop_back();
    --depth_;
    return true;
  }

  void finish(bool operand_next) {
    if (values_.empty() && operators_.empty()) {
      fail(Reason::kNoAnswer, "no expression");
      return;
    }
    if (operand_next) {
      fail(Reason::kParseError, "the expression ends after an operator or parenthesis");
      return;
    }
    while (!operators_.empty()) {
      if (operators_.back() == '(') {
        fail(Reason::kParseError, "a parenthesis that is never closed");
        return;
      }
      if (!reduce_top()) return;
    }
    out_.value = values_.back();
    out_.reason = Reason::kCorrect;
  }

  static int rank(char op) { return op == '*' || op == '/' ? 2 : 1; }

  bool reduce_top() {
    const char op = operators_.back();
    operators_.pop_back();
    const Rational right = values_.back();
    values_.pop_back();
    if (op == '/' && right.numerator == 0) return fail(Reason::kIllegal, "a division by zero");
    if (!rational_op(op, values_.back(), right, &values_.back())) {
      return fail(Reason::kOverBudget, "a value outside the exact range");
    }
    return true;
  }

  std::string_view text_;
  const ExpressionLimits& limits_;
  Expression out_;
  std::vector<Rational> values_;
  std::vector<char> operators_;
  size_t at_ = 0, start_ = 0;
  int depth_ = 0;
  int64_t number_ = 0;
  char op_ = 0;
};

}  // namespace

bool rational_op(char op, const Rational& a, const Rational& b, Rational* result) {
  const Wide an = a.numerator, ad = a.denominator, bn = b.numerator, bd = b.denominator;
  switch (op) {
    case '+':
      return reduce(an * bd + bn * ad, ad * bd, result);
    case '-':
      return reduce(an * bd - bn * ad, ad * bd, result);
    case '*':
      return reduce(an * bn, ad * bd, result);
    case '/':
      return bn != 0 && reduce(an * bd, ad * bn, result);
    default:
      return false;
  }
}

std::string to_string(const Rational& value) {
  const std::string text = std::to_string(value.numerator);
  return value.denominator == 1 ? text : text + "/" + std::to_string(value.denominator);
}

Expression evaluate_expression(std::string_view text, const ExpressionLimits& limits) {
  return Evaluator(text, limits).run();
}

bool uses_each_once(std::vector<int64_t> used, std::vector<int64_t> given) {
  std::sort(used.begin(), used.end());
  std::sort(given.begin(), given.end());
  return used == given;
}

Verdict check_countdown(std::string_view answer, std::span<const int64_t> numbers, int64_t target) {
  Verdict verdict;
  verdict.name = "accuracy";
  verdict.extracted = std::string(answer.substr(0, 4096));
  const Expression expression = evaluate_expression(answer);
  verdict.reason = expression.reason;
  verdict.info = Json::object();
  if (!expression.ok()) {
    verdict.info["error"] = expression.error;
    return verdict;
  }
  verdict.info["value"] = to_string(expression.value);
  if (!uses_each_once(expression.numbers, {numbers.begin(), numbers.end()})) {
    verdict.reason = Reason::kIllegal;
    verdict.info["error"] = "every given number has to be used exactly once";
  } else if (expression.value != Rational{target, 1}) {
    verdict.reason = Reason::kWrong;
  } else {
    verdict.score = 1;
  }
  return verdict;
}

}  // namespace zeroth
