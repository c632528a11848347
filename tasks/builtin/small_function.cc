#include "tasks/builtin/small_function.h"

#include <algorithm>
#include <cstdlib>

#include "rewards/format.h"

namespace zeroth {
namespace {

constexpr size_t kMaxBytes = 256;
constexpr int kMaxDepth = 32;
constexpr int64_t kBound = int64_t{1} << 62;

bool floor_divide(int64_t a, int64_t b, int64_t* quotient, int64_t* rest) {
  if (b == 0) return false;
  *quotient = a / b;
  *rest = a % b;
  if (*rest != 0 && (*rest < 0) != (b < 0)) {
    --*quotient;
    *rest += b;
  }
  return true;
}

}  // namespace

// Recursive descent; kMaxDepth bounds the recursion.
class SmallFunctionParser {
 public:
  explicit SmallFunctionParser(std::string_view text) : text_(text) {}

  SmallFunction run() {
    if (trim(text_).empty()) {
      stop(Reason::kNoAnswer, "no function");
    } else if (text_.size() > kMaxBytes) {
      stop(Reason::kOverBudget, "longer than 256 bytes");
    } else if (header()) {
      sum(0);
      skip();
      if (!failed() && at_ != text_.size()) stop(Reason::kParseError, "text after the function");
    }
    if (!failed()) out_.reason_ = Reason::kCorrect;
    return std::move(out_);
  }

 private:
  using Kind = SmallFunction::Op::Kind;

  bool failed() const { return out_.reason_ != Reason::kNone; }
  void stop(Reason reason, const std::string& error) {
    if (failed()) return;
    out_.reason_ = reason;
    out_.error_ = error + " at byte " + std::to_string(at_);
  }
  void emit(Kind kind, int64_t number = 0) { out_.ops_.push_back({kind, number}); }

  void skip() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
  }
  bool take(std::string_view token) {
    skip();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  static bool name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           static_cast<unsigned char>(c) >= 0x80;
  }
  bool take_name(std::string_view name) {
    skip();
    const size_t end = at_ + name.size();
    if (!text_.substr(at_).starts_with(name) || (end < text_.size() && name_byte(text_[end])))
      return false;
    at_ = end;
    return true;
  }

  bool header() {
    if (take_name("lambda") && take_name("a") && take(",") && take_name("b") && take(":"))
      return true;
    stop(Reason::kParseError, "it does not start with lambda a,b:");
    return false;
  }

  void sum(int depth) {
    product(depth);
    while (!failed()) {
      if (take("+")) {
        product(depth);
        emit(Kind::kAdd);
      } else if (take("-")) {
        product(depth);
        emit(Kind::kSubtract);
      } else {
        return;
      }
    }
  }

  void product(int depth) {
    factor(depth);
    while (!failed()) {
      skip();
      if (text_.substr(at_).starts_with("**")) {
        stop(Reason::kParseError, "a power");
      } else if (take("*")) {
        factor(depth);
        emit(Kind::kMultiply);
      } else if (take("//")) {
        factor(depth);
        emit(Kind::kFloor);
      } else if (take("%")) {
        factor(depth);
        emit(Kind::kModulo);
      } else {
        return;
      }
    }
  }

  void factor(int depth) {
    if (depth >= kMaxDepth) return stop(Reason::kOverBudget, "more than 32 levels");
    skip();
    if (take("-")) {
      factor(depth + 1);
      emit(Kind::kNegate);
    } else if (take("(")) {
      sum(depth + 1);
      if (!failed() && !take(")")) stop(Reason::kParseError, "a parenthesis that is never closed");
    } else if (take_name("a")) {
      emit(Kind::kA);
    } else if (take_name("b")) {
      emit(Kind::kB);
    } else if (take_name("max")) {
      arguments(2, Kind::kMax, depth);
    } else if (take_name("min")) {
      arguments(2, Kind::kMin, depth);
    } else if (take_name("abs")) {
      arguments(1, Kind::kAbs, depth);
    } else {
      number();
    }
  }

  void arguments(int count, Kind kind, int depth) {
    if (!take("(")) return stop(Reason::kParseError, "a function without its arguments");
    for (int i = 0; i < count && !failed(); ++i) {
      if (i > 0 && !take(",")) stop(Reason::kParseError, "too few arguments");
      sum(depth + 1);
    }
    if (!failed() && !take(")"))
      stop(Reason::kParseError, "too many arguments, or no closing parenthesis");
    emit(kind);
  }

  void number() {
    int64_t value = 0;
    const size_t first = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9' && at_ - first < 15) {
      value = value * 10 + (text_[at_++] - '0');
    }
    const bool glued = at_ < text_.size() && (name_byte(text_[at_]) || text_[at_] == '.');
    if (at_ == first || glued || (at_ - first > 1 && text_[first] == '0')) {
      return stop(Reason::kParseError, "neither a, b, a whole number nor max, min, abs");
    }
    emit(Kind::kNumber, value);
  }

  std::string_view text_;
  size_t at_ = 0;
  SmallFunction out_;
};

SmallFunction SmallFunction::parse(std::string_view text) {
  return SmallFunctionParser(text).run();
}

bool SmallFunction::call(int64_t a, int64_t b, int64_t* result) const {
  using Kind = Op::Kind;
  if (!ok()) return false;
  std::vector<int64_t> stack;
  for (const Op& op : ops_) {
    if (op.kind == Kind::kA || op.kind == Kind::kB || op.kind == Kind::kNumber) {
      stack.push_back(op.kind == Kind::kA ? a : op.kind == Kind::kB ? b : op.number);
      continue;
    }
    int64_t right = stack.back();
    if (op.kind == Kind::kNegate || op.kind == Kind::kAbs) {
      stack.back() = op.kind == Kind::kNegate ? -right : std::abs(right);
      continue;
    }
    stack.pop_back();
    const int64_t left = stack.back();
    __int128 value = 0;
    int64_t quotient = 0, rest = 0;
    switch (op.kind) {
      case Kind::kAdd:
        value = static_cast<__int128>(left) + right;
        break;
      case Kind::kSubtract:
        value = static_cast<__int128>(left) - right;
        break;
      case Kind::kMultiply:
        value = static_cast<__int128>(left) * right;
        break;
      case Kind::kMax:
        value = std::max(left, right);
        break;
      case Kind::kMin:
        value = std::min(left, right);
        break;
      default:
        if (!floor_divide(left, right, &quotient, &rest)) return false;
        value = op.kind == Kind::kFloor ? quotient : rest;
    }
    if (value > kBound || value < -kBound) return false;
    stack.back() = static_cast<int64_t>(value);
  }
  *result = stack.back();
  return true;
}

}  // namespace zeroth
