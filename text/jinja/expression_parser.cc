#include "text/jinja/expression_parser.h"

#include <algorithm>

#include "text/jinja/error.h"
#include "text/jinja/objects.h"
#include "text/jinja/python_text.h"

namespace zeroth::jinja {
namespace {

constexpr int kMaxNesting = 150;  // brackets, "not", conditionals inside each other
constexpr int kMaxHeight = 400;   // of a tree: chains of operators and filters too

std::string described(const Token& token) {
  switch (token.kind) {
    case TokenKind::kEnd:
      return "end of template";
    case TokenKind::kBlockEnd:
      return "end of statement block";
    case TokenKind::kVariableEnd:
      return "end of print statement";
    case TokenKind::kData:
      return "template data / text";
    case TokenKind::kBlockBegin:
      return "begin of statement block";
    case TokenKind::kVariableBegin:
      return "begin of print statement";
    case TokenKind::kInteger:
      return "integer";
    case TokenKind::kReal:
      return "float";
    case TokenKind::kText:
      return "string";
    default:
      return token.text;
  }
}

}  // namespace

class ExpressionParser::Deeper {
 public:
  explicit Deeper(ExpressionParser& parser) : parser_(parser) {
    if (++parser_.depth_ > kMaxNesting) {
      parser_.fail_with(Fault::kLimit, "an expression is nested more than " +
                                           std::to_string(kMaxNesting) + " levels deep");
    }
  }
  ~Deeper() { --parser_.depth_; }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;

 private:
  ExpressionParser& parser_;
};

void ExpressionParser::fail_with(Fault fault, const std::string& reason) const {
  throw TemplateError(fault, reason, current().line, source_);
}
void ExpressionParser::fail_syntax(const std::string& reason) const {
  fail_with(Fault::kSyntax, reason);
}

Token ExpressionParser::next() {
  const Token token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}
bool ExpressionParser::at_operator(std::string_view text) const {
  return current().kind == TokenKind::kOperator && current().text == text;
}
bool ExpressionParser::at_name(std::string_view name) const {
  return current().kind == TokenKind::kName && current().text == name;
}
bool ExpressionParser::skip_operator(std::string_view text) {
  const bool found = at_operator(text);
  if (found) next();
  return found;
}
bool ExpressionParser::skip_name(std::string_view name) {
  const bool found = at_name(name);
  if (found) next();
  return found;
}
void ExpressionParser::expect_operator(const char* text) {
  if (skip_operator(text)) return;
  fail_syntax(std::string("expected token '") + text + "', got '" + described(current()) + "'");
}
std::string ExpressionParser::expect_name() {
  if (current().kind != TokenKind::kName) {
    fail_syntax("expected token 'name', got '" + described(current()) + "'");
  }
  return next().text;
}
void ExpressionParser::expect(TokenKind kind) {
  if (current().kind != kind) {
    Token wanted;
    wanted.kind = kind;
    fail_syntax("expected token '" + described(wanted) + "', got '" + described(current()) + "'");
  }
  next();
}

void ExpressionParser::grow(Expr& node) const {
  int inner = 0;
  const auto add = [&](const ExprPtr& child) {
    if (child) inner = std::max(inner, child->height);
  };
  for (const ExprPtr& child : node.items) add(child);
  for (const ExprPtr& child : node.arguments.positional) add(child);
  for (const auto& [name, child] : node.arguments.named) add(child);
  add(node.arguments.spread);
  add(node.arguments.spread_named);
  node.height = inner + 1;
  if (node.height > kMaxHeight) {
    fail_with(Fault::kLimit,
              "an expression is more than " + std::to_string(kMaxHeight) + " operations deep");
  }
}

ExprPtr ExpressionParser::make(ExprKind kind, int line, std::vector<ExprPtr> items) const {
  auto node = std::make_unique<Expr>();
  node->kind = kind;
  node->line = line;
  node->items = std::move(items);
  grow(*node);
  return node;
}

namespace {
std::vector<ExprPtr> listed(ExprPtr a, ExprPtr b = nullptr) {
  std::vector<ExprPtr> out;
  out.push_back(std::move(a));
  if (b) out.push_back(std::move(b));
  return out;
}
}  // namespace

ExprPtr ExpressionParser::expression(bool with_conditional) {
  const Deeper deeper(*this);
  return with_conditional ? conditional() : logical(true);
}

ExprPtr ExpressionParser::conditional() {
  const Deeper deeper(*this);
  int line = current().line;
  ExprPtr node = logical(true);
  while (skip_name("if")) {
    std::vector<ExprPtr> parts;
    parts.push_back(logical(true));
    parts.push_back(std::move(node));
    parts.push_back(skip_name("else") ? conditional() : nullptr);
    node = make(ExprKind::kConditional, line, std::move(parts));
    line = current().line;
  }
  return node;
}

ExprPtr ExpressionParser::logical(bool either) {
  const int line = current().line;
  ExprPtr left = either ? logical(false) : negation();
  while (skip_name(either ? "or" : "and")) {
    ExprPtr right = either ? logical(false) : negation();
    left = make(either ? ExprKind::kOr : ExprKind::kAnd, line,
                listed(std::move(left), std::move(right)));
  }
  return left;
}

ExprPtr ExpressionParser::negation() {
  if (!at_name("not")) return comparison();
  const Deeper deeper(*this);
  const int line = next().line;
  return make(ExprKind::kNot, line, listed(negation()));
}

ExprPtr ExpressionParser::comparison() {
  const int line = current().line;
  ExprPtr first = sum();
  std::vector<ExprPtr> items;
  std::vector<std::string> operators;
  while (true) {
    std::string op;
    for (const char* known : {"==", "!=", "<", "<=", ">", ">="}) {
      if (at_operator(known)) op = known;
    }
    const bool not_in = at_name("not") && look().kind == TokenKind::kName && look().text == "in";
    if (at_name("in")) op = "in";
    if (not_in) {
      op = "not in";
      next();
    }
    if (op.empty()) break;
    next();
    if (items.empty()) items.push_back(std::move(first));
    operators.push_back(op);
    items.push_back(sum());
  }
  if (items.empty()) return first;
  ExprPtr node = make(ExprKind::kCompare, line, std::move(items));
  node->operators = std::move(operators);
  return node;
}

ExprPtr ExpressionParser::sum() {
  const int line = current().line;
  ExprPtr left = concatenation();
  while (at_operator("+") || at_operator("-")) {
    const std::string op = next().text;
    left = make(ExprKind::kBinary, line, listed(std::move(left), concatenation()));
    left->name = op;
  }
  return left;
}

ExprPtr ExpressionParser::concatenation() {
  const int line = current().line;
  ExprPtr first = product();
  if (!at_operator("~")) return first;
  std::vector<ExprPtr> parts = listed(std::move(first));
  while (skip_operator("~")) parts.push_back(product());
  return make(ExprKind::kConcat, line, std::move(parts));
}

ExprPtr ExpressionParser::product() {
  const int line = current().line;
  ExprPtr left = power();
  while (at_operator("*") || at_operator("/") || at_operator("//") || at_operator("%")) {
    const std::string op = next().text;
    left = make(ExprKind::kBinary, line, listed(std::move(left), power()));
    left->name = op;
  }
  return left;
}

ExprPtr ExpressionParser::power() {
  const int line = current().line;
  ExprPtr left = unary(true);
  while (skip_operator("**")) {
    left = make(ExprKind::kBinary, line, listed(std::move(left), unary(true)));
    left->name = "**";
  }
  return left;
}

ExprPtr ExpressionParser::unary(bool with_filters) {
  const int line = current().line;
  ExprPtr node;
  if (at_operator("-") || at_operator("+")) {
    const Deeper deeper(*this);
    const bool negative = next().text == "-";
    node = make(negative ? ExprKind::kNegative : ExprKind::kPositive, line, listed(unary(false)));
  } else {
    node = primary();
  }
  node = postfix(std::move(node));
  return with_filters ? filters_and_tests(std::move(node)) : std::move(node);
}

ExprPtr ExpressionParser::primary(bool namespaced) {
  const int line = current().line;
  ExprPtr node = make(ExprKind::kConstant, line);
  if (current().kind == TokenKind::kName) {
    const std::string name = next().text;
    if (name == "true" || name == "True" || name == "false" || name == "False") {
      node->constant = Value(name == "true" || name == "True");
    } else if (name == "none" || name == "None") {
      node->constant = Value();
    } else if (namespaced && skip_operator(".")) {
      node->kind = ExprKind::kNamespaceRef;
      node->name = name;
      node->attribute = expect_name();
    } else {
      node->kind = ExprKind::kName;
      node->name = name;
    }
  } else if (current().kind == TokenKind::kText) {
    std::string text = next().text;
    while (current().kind == TokenKind::kText) text += next().text;
    node->constant = Value(Type::kText, std::make_shared<Text>(nullptr, std::move(text), false));
  } else if (current().kind == TokenKind::kInteger) {
    node->constant = Value(next().integer);
  } else if (current().kind == TokenKind::kReal) {
    node->constant = Value(next().real);
  } else if (skip_operator("(")) {
    node = tuple({.parentheses = true});
    expect_operator(")");
  } else if (at_operator("[")) {
    node = list();
  } else if (at_operator("{")) {
    node = dict();
  } else {
    fail_syntax("unexpected '" + described(current()) + "'");
  }
  return node;
}

ExprPtr ExpressionParser::tuple(const TupleForm& form) {
  const int line = current().line;
  std::vector<ExprPtr> items;
  bool several = false;
  while (true) {
    if (!items.empty()) expect_operator(",");
    const bool at_end = current().kind == TokenKind::kVariableEnd ||
                        current().kind == TokenKind::kBlockEnd || at_operator(")") ||
                        (form.end != nullptr && at_name(form.end));
    if (at_end) break;
    items.push_back(form.simple ? primary(form.namespaced) : expression(form.conditional));
    if (!at_operator(",")) break;
    several = true;
  }
  if (!several && !items.empty()) return std::move(items[0]);
  if (!several && !form.parentheses) {
    fail_syntax("Expected an expression, got '" + described(current()) + "'");
  }
  return make(ExprKind::kTuple, line, std::move(items));
}

ExprPtr ExpressionParser::target(const TupleForm& form) {
  ExprPtr node = tuple(form);
  const auto check = [this](const Expr& part) {
    constexpr const char* kReserved[] = {"true", "false", "none", "True", "False", "None"};
    const bool name = part.kind == ExprKind::kName || part.kind == ExprKind::kNamespaceRef;
    const bool reserved =
        std::find(std::begin(kReserved), std::end(kReserved), part.name) != std::end(kReserved);
    if (!name || reserved) fail_syntax("can't assign to this expression");
  };
  const auto check_all = [&](const Expr& part, const auto& self) -> void {
    if (part.kind != ExprKind::kTuple) return check(part);
    for (const ExprPtr& item : part.items) self(*item, self);
  };
  check_all(*node, check_all);
  return node;
}

ExprPtr ExpressionParser::list() {
  const int line = next().line;
  std::vector<ExprPtr> items;
  while (!at_operator("]")) {
    if (!items.empty()) expect_operator(",");
    if (at_operator("]")) break;
    items.push_back(expression());
  }
  expect_operator("]");
  return make(ExprKind::kList, line, std::move(items));
}

ExprPtr ExpressionParser::dict() {
  const int line = next().line;
  std::vector<ExprPtr> items;
  while (!at_operator("}")) {
    if (!items.empty()) expect_operator(",");
    if (at_operator("}")) break;
    items.push_back(expression());
    expect_operator(":");
    items.push_back(expression());
  }
  expect_operator("}");
  return make(ExprKind::kDict, line, std::move(items));
}

ExprPtr ExpressionParser::postfix(ExprPtr node) {
  while (true) {
    if (at_operator(".") || at_operator("[")) {
      node = subscript(std::move(node));
    } else if (at_operator("(")) {
      node = call(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr ExpressionParser::filters_and_tests(ExprPtr node) {
  while (true) {
    if (at_operator("|")) {
      node = filters(std::move(node));
    } else if (at_name("is")) {
      node = test(std::move(node));
    } else if (at_operator("(")) {
      node = call(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr ExpressionParser::filters(ExprPtr subject, bool inline_first) {
  while (at_operator("|") || inline_first) {
    if (!inline_first) next();
    inline_first = false;
    const int line = current().line;
    std::string name = expect_name();
    while (skip_operator(".")) name += "." + expect_name();
    std::vector<ExprPtr> items;
    items.push_back(std::move(subject));
    ExprPtr node = make(ExprKind::kFilter, line, std::move(items));
    node->name = std::move(name);
    if (at_operator("(")) node->arguments = arguments();
    grow(*node);
    subject = std::move(node);
  }
  return subject;
}

ExprPtr ExpressionParser::subscript(ExprPtr node) {
  const Token mark = next();
  if (mark.text == ".") {
    const Token attribute = next();
    if (attribute.kind == TokenKind::kName) {
      node = make(ExprKind::kAttribute, mark.line, listed(std::move(node)));
      node->name = attribute.text;
      return node;
    }
    if (attribute.kind != TokenKind::kInteger) fail_syntax("expected name or number");
    ExprPtr index = make(ExprKind::kConstant, mark.line);
    index->constant = Value(attribute.integer);
    return make(ExprKind::kItem, mark.line, listed(std::move(node), std::move(index)));
  }
  std::vector<ExprPtr> indices;
  while (!at_operator("]")) {
    if (!indices.empty()) expect_operator(",");
    indices.push_back(subscribed());
  }
  expect_operator("]");
  ExprPtr index = indices.size() == 1 ? std::move(indices[0])
                                      : make(ExprKind::kTuple, mark.line, std::move(indices));
  return make(ExprKind::kItem, mark.line, listed(std::move(node), std::move(index)));
}

ExprPtr ExpressionParser::subscribed() {
  const int line = current().line;
  std::vector<ExprPtr> parts(3);
  const auto ends = [this] { return at_operator("]") || at_operator(","); };
  if (!at_operator(":")) {
    parts[0] = expression();
    if (!at_operator(":")) return std::move(parts[0]);
  }
  next();
  if (!at_operator(":") && !ends()) parts[1] = expression();
  if (skip_operator(":") && !ends()) parts[2] = expression();
  return make(ExprKind::kSlice, line, std::move(parts));
}

ExprPtr ExpressionParser::call(ExprPtr node) {
  node = make(ExprKind::kCall, current().line, listed(std::move(node)));
  node->arguments = arguments();
  grow(*node);
  return node;
}

CallArguments ExpressionParser::arguments() {
  CallArguments out;
  const auto ensure = [this](bool good) {
    if (!good) fail_syntax("invalid syntax for function call expression");
  };
  expect_operator("(");
  for (bool first = true; !at_operator(")"); first = false) {
    if (!first) {
      expect_operator(",");
      if (at_operator(")")) break;
    }
    if (skip_operator("*")) {
      ensure(!out.spread && !out.spread_named);
      out.spread = expression();
    } else if (skip_operator("**")) {
      ensure(!out.spread_named);
      out.spread_named = expression();
    } else if (current().kind == TokenKind::kName && look().kind == TokenKind::kOperator &&
               look().text == "=") {
      ensure(!out.spread_named);
      const std::string name = next().text;
      next();
      for (const auto& [known, value] : out.named) {
        if (known == name) fail_syntax("keyword argument repeated: " + name);
      }
      out.named.emplace_back(name, expression());
    } else {
      ensure(!out.spread && !out.spread_named && out.named.empty());
      out.positional.push_back(expression());
    }
  }
  expect_operator(")");
  return out;
}

ExprPtr ExpressionParser::test(ExprPtr node) {
  const int line = next().line;
  const bool negated = skip_name("not");
  std::string name = expect_name();
  while (skip_operator(".")) name += "." + expect_name();
  node = make(ExprKind::kTest, line, listed(std::move(node)));
  node->name = std::move(name);
  const TokenKind kind = current().kind;
  const bool literal = kind == TokenKind::kName || kind == TokenKind::kText ||
                       kind == TokenKind::kInteger || kind == TokenKind::kReal ||
                       at_operator("[") || at_operator("{");
  if (at_operator("(")) {
    node->arguments = arguments();
  } else if (literal && !at_name("else") && !at_name("or") && !at_name("and")) {
    if (at_name("is")) fail_syntax("You cannot chain multiple tests with is");
    node->arguments.positional.push_back(postfix(primary()));
  }
  grow(*node);
  return negated ? make(ExprKind::kNot, line, listed(std::move(node))) : std::move(node);
}

}  // namespace zeroth::jinja
