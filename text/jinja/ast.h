// The syntax tree of a template.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace zeroth::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;
struct Stmt;
using Block = std::vector<Stmt>;

// A variable: `hops` scopes up, in slot `slot`; slot < 0: not a variable of the template, but of
// its input.
struct Reference {
  int hops = 0;
  int slot = -1;
};

// How a scope's variables begin (Jinja's idtracking.py).
struct Load {
  enum class From {
    kParameter,  // set by whoever enters the scope
    kInput,      // the template's input of that name
    kOuter,      // a copy of `outer`
    kNothing,
  };
  int slot = 0;
  From from = From::kNothing;
  std::string name = {};
  Reference outer = {};
};
struct Scope {
  int slots = 0;
  std::vector<Load> loads;
};

struct CallArguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr spread, spread_named;  // *a, **a
};

enum class ExprKind {
  kConstant,
  kName,
  kNamespaceRef,  // name.attribute as a target of set
  kTuple,
  kList,
  kDict,       // items: key, value, key, value ..
  kAttribute,  // items[0].name
  kItem,       // items[0][items[1]]
  kSlice,      // of kItem: three items, null where left out
  kCall,       // items[0](arguments)
  kFilter,     // items[0] | name(arguments); items[0] null in filter blocks
  kTest,       // items[0] is name(arguments)
  kNot,
  kAnd,
  kOr,
  kConditional,  // items: test, then, else (may be null)
  kCompare,      // items with `operators` between them
  kConcat,       // ~
  kBinary,       // name: + - * / // % **
  kNegative,
  kPositive,
};

struct Expr {
  ExprKind kind = ExprKind::kConstant;
  int line = 0;
  int height = 1;
  std::string name;       // of names, attributes, filters, tests, operators
  std::string attribute;  // of kNamespaceRef
  Value constant;
  std::vector<ExprPtr> items;
  std::vector<std::string> operators;  // "==", "in", "not in", ..
  CallArguments arguments;
  Reference variable;
};

enum class StmtKind {
  kText,      // text
  kOutput,    // expression
  kSet,       // target = expression
  kSetBlock,  // target, body; expression: filters or null
  kIf,        // branches, otherwise
  kFor,
  kBreak,
  kContinue,
  kMacro,
  kCallBlock,    // expression is the call, macro the body
  kFilterBlock,  // expression is the filter, body
  kWith,         // targets, values, body
  kGeneration,   // macro: the body
  kUnloadable,   // include, import, extends: there is no loader
};

struct MacroParts {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<int> slots;                      // of the parameters
  std::vector<ExprPtr> defaults;               // of the last of them
  int caller = -1, kwargs = -1, varargs = -1;  // slots; -1: not used by the body
  bool explicit_caller = false;
  Scope scope;
  Block body;
};

struct ForParts {
  ExprPtr target, test_target, iterable, test;  // test may be null, test_target too then
  bool recursive = false;
  int loop = -1;  // slot of `loop`; -1: the body does not use it
  Scope scope, test_scope, else_scope;
  Block body, otherwise;
};

struct IfBranch {
  ExprPtr test;
  Block body;
};

struct Stmt {
  StmtKind kind = StmtKind::kText;
  int line = 0;
  Value text;
  ExprPtr target, expression;
  std::vector<ExprPtr> targets, values;
  std::vector<IfBranch> branches;
  Block body, otherwise;
  Scope scope;
  std::unique_ptr<ForParts> loop;
  std::unique_ptr<MacroParts> macro;
  Reference variable;  // where a macro is kept
};

struct Tree {
  Scope scope;
  Block body;
  std::vector<std::string> inputs;  // names that come from outside, sorted
};

}  // namespace zeroth::jinja
