#include "text/jinja/parser.h"

#include <algorithm>
#include <initializer_list>

#include "text/jinja/error.h"
#include "text/jinja/expression_parser.h"
#include "text/jinja/objects.h"
#include "text/jinja/scopes.h"

namespace zeroth::jinja {
namespace {

constexpr int kMaxBlocks = 60;  // statements inside each other

class Parser : private ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Tree run() {
    Tree tree;
    tree.body = statements({});
    return tree;
  }

 private:
  // Up to one of the names, which is the current token then; to the end of the template without
  // any.
  Block statements(std::initializer_list<const char*> ends) {
    Block body;
    while (true) {
      const Token& token = current();
      switch (token.kind) {
        case TokenKind::kData: {
          Stmt text = make(StmtKind::kText);
          text.text = Value(Type::kText, std::make_shared<Text>(nullptr, next().text, false));
          body.push_back(std::move(text));
          break;
        }
        case TokenKind::kVariableBegin: {
          Stmt output = make(StmtKind::kOutput);
          next();
          output.expression = tuple({});
          expect(TokenKind::kVariableEnd);
          body.push_back(std::move(output));
          break;
        }
        case TokenKind::kBlockBegin:
          next();
          if (std::any_of(ends.begin(), ends.end(),
                          [&](const char* end) { return at_name(end); })) {
            return body;
          }
          statement(body, ends);
          expect(TokenKind::kBlockEnd);
          break;
        default:
          if (ends.size() == 0 && token.kind == TokenKind::kEnd) return body;
          fail_syntax("Unexpected end of template. Jinja was looking for the following tags: " +
                      listed(ends) + ".");
      }
    }
  }

  static std::string listed(std::initializer_list<const char*> names) {
    std::string out;
    for (const char* name : names) out += (out.empty() ? "'" : " or '") + std::string(name) + "'";
    return out;
  }

  // The body of a tag, whose end tag may stand behind it; `drop`: that one is passed over.
  Block body(std::initializer_list<const char*> ends, bool drop = true) {
    skip_operator(":");
    expect(TokenKind::kBlockEnd);
    if (++blocks_ > kMaxBlocks) {
      fail_with(Fault::kLimit,
                "statements are nested more than " + std::to_string(kMaxBlocks) + " deep");
    }
    Block out = statements(ends);
    --blocks_;
    if (drop) next();
    return out;
  }

  Stmt make(StmtKind kind) const {
    Stmt out;
    out.kind = kind;
    out.line = current().line;
    return out;
  }

  void statement(Block& out, std::initializer_list<const char*> ends) {
    if (current().kind != TokenKind::kName) fail_syntax("tag name expected");
    const std::string tag = current().text;
    if (tag == "set") return out.push_back(set());
    if (tag == "if") return out.push_back(conditional());
    if (tag == "for") return out.push_back(loop());
    if (tag == "macro") return out.push_back(macro());
    if (tag == "call") return out.push_back(call_block());
    if (tag == "filter") return out.push_back(filter_block());
    if (tag == "with") return out.push_back(with());
    if (tag == "generation") return out.push_back(generation());
    if (tag == "print") return print(out);
    if (tag == "break" || tag == "continue") {
      if (!in_loop_) fail_syntax("'" + tag + "' outside loop");
      out.push_back(make(tag == "break" ? StmtKind::kBreak : StmtKind::kContinue));
      next();
      return;
    }
    if (tag == "include" || tag == "import" || tag == "from" || tag == "extends") {
      out.push_back(make(StmtKind::kUnloadable));
      next();
      expression();
      while (current().kind != TokenKind::kBlockEnd && current().kind != TokenKind::kEnd) next();
      return;
    }
    if (tag == "block" || tag == "autoescape") {
      fail_with(Fault::kUnsupported, "the tag '" + tag + "' is not read here");
    }
    fail_syntax("Encountered unknown tag '" + tag + "'." +
                (ends.size() > 0
                     ? " Jinja was looking for the following tags: " + listed(ends) + "."
                     : ""));
  }

  Stmt set() {
    Stmt out = make(StmtKind::kSet);
    next();
    out.target = target({.simple = true, .namespaced = true});
    if (skip_operator("=")) {
      out.expression = tuple({});
      return out;
    }
    out.kind = StmtKind::kSetBlock;
    out.expression = filters(nullptr);
    out.body = body({"endset"});
    return out;
  }

  Stmt conditional() {
    Stmt out = make(StmtKind::kIf);
    while (true) {
      next();
      IfBranch branch;
      branch.test = tuple({.conditional = false});
      branch.body = body({"elif", "else", "endif"}, false);
      out.branches.push_back(std::move(branch));
      if (at_name("elif")) continue;
      if (skip_name("else")) {
        out.otherwise = body({"endif"});
      } else {
        next();
      }
      return out;
    }
  }

  Stmt loop() {
    Stmt out = make(StmtKind::kFor);
    next();
    out.loop = std::make_unique<ForParts>();
    ForParts& parts = *out.loop;
    const size_t from = position();
    parts.target = target({.simple = true, .end = "in"});
    const size_t behind = position();
    if (!skip_name("in")) fail_syntax("expected token 'in'");
    parts.iterable = tuple({.conditional = false, .end = "recursive"});
    if (skip_name("if")) {
      parts.test = expression();
      const size_t here = position();
      rewind(from);  // the test binds the same names in a scope of its own
      parts.test_target = target({.simple = true, .end = "in"});
      if (position() != behind) fail_syntax("malformed loop");
      rewind(here);
    }
    parts.recursive = skip_name("recursive");
    const bool outer = std::exchange(in_loop_, true);
    parts.body = body({"endfor", "else"}, false);
    in_loop_ = outer;
    if (skip_name("else")) {
      parts.otherwise = body({"endfor"});
    } else {
      next();
    }
    return out;
  }

  void signature(MacroParts& parts) {
    expect_operator("(");
    for (bool first = true; !at_operator(")"); first = false) {
      if (!first) expect_operator(",");
      parts.parameters.push_back(expect_name());
      if (skip_operator("=")) {
        parts.defaults.push_back(expression());
      } else if (!parts.defaults.empty()) {
        fail_syntax("non-default argument follows default argument");
      }
    }
    expect_operator(")");
  }

  void macro_body(MacroParts& parts, const char* end) {
    const bool outer = std::exchange(in_loop_, false);
    parts.body = body({end});
    in_loop_ = outer;
  }

  Stmt macro() {
    Stmt out = make(StmtKind::kMacro);
    next();
    out.macro = std::make_unique<MacroParts>();
    out.macro->name = expect_name();
    signature(*out.macro);
    macro_body(*out.macro, "endmacro");
    return out;
  }

  Stmt call_block() {
    Stmt out = make(StmtKind::kCallBlock);
    next();
    out.macro = std::make_unique<MacroParts>();
    out.macro->name = "caller";
    if (at_operator("(")) signature(*out.macro);
    out.expression = expression();
    if (out.expression->kind != ExprKind::kCall) fail_syntax("expected call");
    macro_body(*out.macro, "endcall");
    return out;
  }

  Stmt generation() {
    Stmt out = make(StmtKind::kGeneration);
    next();
    out.macro = std::make_unique<MacroParts>();
    out.macro->name = "caller";
    macro_body(*out.macro, "endgeneration");
    return out;
  }

  Stmt filter_block() {
    Stmt out = make(StmtKind::kFilterBlock);
    next();
    out.expression = filters(nullptr, true);
    out.body = body({"endfilter"});
    return out;
  }

  Stmt with() {
    Stmt out = make(StmtKind::kWith);
    next();
    while (current().kind != TokenKind::kBlockEnd) {
      if (!out.targets.empty()) expect_operator(",");
      out.targets.push_back(target({.simple = true}));
      expect_operator("=");
      out.values.push_back(expression());
    }
    out.body = body({"endwith"});
    return out;
  }

  void print(Block& out) {
    next();
    for (bool first = true; current().kind != TokenKind::kBlockEnd; first = false) {
      if (!first) expect_operator(",");
      Stmt output = make(StmtKind::kOutput);
      output.expression = expression();
      out.push_back(std::move(output));
    }
  }

  int blocks_ = 0;
  bool in_loop_ = false;
};

}  // namespace

Tree parse_template(std::string_view text, const std::string& source) {
  Tree tree = Parser(tokenize(text, source), source).run();
  place_variables(tree, source);
  return tree;
}

}  // namespace zeroth::jinja
