// Normal forms as text.
#include <algorithm>
#include <array>

#include "rewards/math/expr.h"

namespace zeroth::math {

namespace {

constexpr auto kNames = std::to_array<std::string_view>(
    {"sin",    "cos",       "tan",      "cot",    "sec",    "csc",      "arcsin", "arccos",
     "arctan", "arccot",    "arcsec",   "arccsc", "sinh",   "cosh",     "tanh",   "coth",
     "sech",   "csch",      "arsinh",   "arcosh", "artanh", "log",      "abs",    "floor",
     "ceil",   "factorial", "binomial", "gcd",    "lcm",    "max",      "min",    "mod",
     "gamma",  "re",        "im",       "conj",   "det",    "transpose"});

class Formatter {
 public:
  Formatter(const Pool& pool, size_t limit) : pool_(pool), limit_(limit) {}

  std::string format(Ref ref) {
    const Node node = pool_[ref];
    switch (node.op) {
      case Op::kNumber:
        return pool_.value(ref).to_string();
      case Op::kSymbol:
      case Op::kSpecialSet:
        return pool_.name(ref);
      case Op::kText:
        return "\"" + pool_.name(ref).substr(0, limit_) + "\"";
      case Op::kPi:
        return "pi";
      case Op::kEuler:
        return "e";
      case Op::kImaginary:
        return "i";
      case Op::kInfinity:
        return "oo";
      case Op::kAdd:
        return "(" + joined(ref, " + ", true) + ")";
      case Op::kMul:
        return joined(ref, "*", true);
      case Op::kDiv:
        return format(pool_.child(ref, 0)) + "/(" + format(pool_.child(ref, 1)) + ")";
      case Op::kPow:
        return format(pool_.child(ref, 0)) + "^(" + format(pool_.child(ref, 1)) + ")";
      case Op::kFunction:
        return std::string(kNames[static_cast<size_t>(node.data)]) + "(" +
               joined(ref, ", ", false) + ")";
      case Op::kCall:
      case Op::kOpaque:
        return pool_.name(ref) + "(" + joined(ref, ", ", false) + ")";
      case Op::kSum:
      case Op::kProduct:
        return std::string(node.op == Op::kSum ? "sum" : "product") + "(" +
               joined(ref, ", ", false) + ")";
      case Op::kPercent:
        return format(pool_.child(ref, 0)) + "%";
      case Op::kDegree:
        return format(pool_.child(ref, 0)) + " deg";
      case Op::kPlusMinus:
      case Op::kMinusPlus:
        return "+-(" + joined(ref, "", false) + ")";
      case Op::kBase:
        return pool_.name(ref) + "_" + std::to_string(node.flag);
      case Op::kRatio:
        return joined(ref, ":", false);
      case Op::kList:
        return joined(ref, ", ", true);
      case Op::kTuple:
        return "(" + joined(ref, ", ", false) + ")";
      case Op::kInterval:
        return (node.flag & kOpenLeft ? "(" : "[") + joined(ref, ", ", false) +
               (node.flag & kOpenRight ? ")" : "]");
      case Op::kSet:
        return "{" + joined(ref, ", ", true) + "}";
      case Op::kSetBuilder:
        return "{" + joined(ref, " | ", false) + "}";
      case Op::kUnion:
        return joined(ref, " U ", true);
      case Op::kIntersection:
        return joined(ref, " n ", true);
      case Op::kDifference:
        return joined(ref, " \\ ", false);
      case Op::kRelation:
        return relation(ref);
      case Op::kMatrix:
        return "[" + std::to_string(node.data) + " columns: " + joined(ref, ", ", false) + "]";
    }
    return {};
  }

 private:
  std::string joined(Ref ref, std::string_view separator, bool sorted) {
    std::vector<std::string> parts;
    size_t length = 0;
    for (int i = 0; i < pool_[ref].count && length < limit_; ++i) {
      parts.push_back(format(pool_.child(ref, i)));
      length += parts.back().size();
    }
    if (sorted) std::sort(parts.begin(), parts.end());
    std::string out;
    for (const std::string& part : parts) {
      if (!out.empty()) out += separator;
      out += part;
      if (out.size() > limit_) break;
    }
    return out;
  }

  std::string relation(Ref ref) {
    const std::string codes = pool_.name(ref);
    std::string out = format(pool_.child(ref, 0));
    for (size_t i = 0; i < codes.size(); ++i) {
      char c = codes[i];
      out += c == kLe   ? " <= "
             : c == kGe ? " >= "
             : c == kNe ? " != "
             : c == kIn ? " in "
                        : std::string{' ', c, ' '};
      out += format(pool_.child(ref, static_cast<int>(i) + 1));
    }
    return out;
  }

  const Pool& pool_;
  size_t limit_;
};

}  // namespace

std::string format_expr(const Pool& pool, Ref ref, size_t limit) {
  std::string out = Formatter(pool, limit).format(ref);
  if (out.size() > limit) out.resize(limit);
  return out;
}

}  // namespace zeroth::math
