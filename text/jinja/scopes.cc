#include "text/jinja/scopes.h"

#include <algorithm>
#include <map>
#include <set>

#include "text/jinja/builtins.h"
#include "text/jinja/error.h"
#include "text/jinja/runtime.h"

namespace zeroth::jinja {
namespace {

// The names of one scope.
class Symbols {
 public:
  explicit Symbols(const Symbols* parent) : parent_(parent) {}

  // In which slot a name is, here or further out.
  std::optional<Reference> find(const std::string& name) const {
    int hops = 0;
    for (const Symbols* at = this; at != nullptr; at = at->parent_, ++hops) {
      const auto found = at->slots_.find(name);
      if (found != at->slots_.end()) return Reference{hops, found->second};
    }
    return std::nullopt;
  }

  int parameter(const std::string& name) {
    stores_.insert(name);
    return define(name, {.from = Load::From::kParameter});
  }

  void store(const std::string& name) {
    stores_.insert(name);
    if (slots_.contains(name)) return;
    if (const auto outer = outer_of(name)) {
      define(name, {.from = Load::From::kOuter, .outer = *outer});
    } else {
      define(name, {.from = Load::From::kNothing});
    }
  }

  void load(const std::string& name) {
    if (!find(name)) define(name, {.from = Load::From::kInput, .name = name});
  }

  // Branches were analysed on copies of this. What only some of them set begins as the outer
  // variable or the input.
  void join(const std::vector<Symbols>& branches) {
    std::set<std::string> stored;
    for (const Symbols& branch : branches)
      stored.insert(branch.stores_.begin(), branch.stores_.end());
    for (const std::string& name : stores_) stored.erase(name);
    for (const Symbols& branch : branches) {
      for (const auto& [name, slot] : branch.slots_) {
        // Copies number their new names alike; here every name gets a slot of its own.
        Load load = branch.loads_.at(slot);
        const auto known = slots_.find(name);
        const int place = known == slots_.end() ? static_cast<int>(slots_.size()) : known->second;
        load.slot = place;
        slots_[name] = place;
        loads_[place] = load;
      }
      stores_.insert(branch.stores_.begin(), branch.stores_.end());
    }
    for (const std::string& name : stored) {
      const int slot = slots_.at(name);
      const auto outer = outer_of(name);
      loads_[slot] = outer ? Load{slot, Load::From::kOuter, "", *outer}
                           : Load{slot, Load::From::kInput, name, {}};
    }
  }

  void write(Scope& scope) const {
    scope.slots = static_cast<int>(slots_.size());
    for (const auto& [slot, load] : loads_) scope.loads.push_back(load);
  }

 private:
  int define(const std::string& name, Load load) {
    const auto [at, fresh] = slots_.emplace(name, static_cast<int>(slots_.size()));
    load.slot = at->second;
    loads_[at->second] = load;
    return at->second;
  }

  std::optional<Reference> outer_of(const std::string& name) const {
    if (parent_ == nullptr) return std::nullopt;
    auto found = parent_->find(name);
    if (found) ++found->hops;
    return found;
  }

  const Symbols* parent_;
  std::map<std::string, int> slots_;
  std::map<int, Load> loads_;
  std::set<std::string> stores_;
};

// The names that a block uses, in the order of the text: what is used before it is set there.
class Undeclared {
 public:
  explicit Undeclared(std::set<std::string> names) : names_(std::move(names)) {}

  std::set<std::string> in(const Block& body) {
    for (const Stmt& stmt : body) visit(stmt);
    return found_;
  }

 private:
  void declared(const std::string& name) { names_.erase(name); }
  void target(const ExprPtr& node) {
    if (!node) return;
    if (node->kind == ExprKind::kName) declared(node->name);
    for (const ExprPtr& item : node->items) target(item);
  }
  void use(const ExprPtr& node) {
    if (!node) return;
    if (node->kind == ExprKind::kName) {
      if (names_.contains(node->name)) {
        found_.insert(node->name);
      } else {
        declared(node->name);
      }
    }
    for (const ExprPtr& item : node->items) use(item);
    for (const ExprPtr& item : node->arguments.positional) use(item);
    for (const auto& [name, item] : node->arguments.named) use(item);
    use(node->arguments.spread);
    use(node->arguments.spread_named);
  }
  void visit(const Stmt& stmt) {
    target(stmt.target);
    use(stmt.expression);
    for (const ExprPtr& item : stmt.targets) target(item);
    for (const ExprPtr& item : stmt.values) use(item);
    for (const IfBranch& branch : stmt.branches) {
      use(branch.test);
      in(branch.body);
    }
    if (stmt.loop) {
      target(stmt.loop->target);
      use(stmt.loop->iterable);
      in(stmt.loop->body);
      in(stmt.loop->otherwise);
      use(stmt.loop->test);
    }
    if (stmt.macro) {
      for (const std::string& name : stmt.macro->parameters) declared(name);
      for (const ExprPtr& item : stmt.macro->defaults) use(item);
      in(stmt.macro->body);
    }
    in(stmt.body);
    in(stmt.otherwise);
  }

  std::set<std::string> names_, found_;
};

class Placer {
 public:
  explicit Placer(const std::string& source) : source_(source) {}

  void run(Tree& tree) {
    Symbols root(nullptr);
    visit(tree.body, root);
    place(tree.body, root, false);
    write(root, tree.scope);
    tree.inputs.assign(inputs_.begin(), inputs_.end());
  }

 private:
  // --- which names a scope has ---
  static void load(const ExprPtr& node, Symbols& symbols) {
    if (!node) return;
    if (node->kind == ExprKind::kName) symbols.load(node->name);
    for (const ExprPtr& item : node->items) load(item, symbols);
    for (const ExprPtr& item : node->arguments.positional) load(item, symbols);
    for (const auto& [name, item] : node->arguments.named) load(item, symbols);
    load(node->arguments.spread, symbols);
    load(node->arguments.spread_named, symbols);
  }
  static void store(const Expr& node, Symbols& symbols, bool as_parameter) {
    if (node.kind == ExprKind::kNamespaceRef) return symbols.load(node.name);
    if (node.kind == ExprKind::kName) {
      as_parameter ? static_cast<void>(symbols.parameter(node.name)) : symbols.store(node.name);
    }
    for (const ExprPtr& item : node.items) store(*item, symbols, as_parameter);
  }

  static void visit(const Block& body, Symbols& symbols) {
    for (const Stmt& stmt : body) visit(stmt, symbols);
  }
  // Bodies with a scope of their own are not entered.
  static void visit(const Stmt& stmt, Symbols& symbols) {
    switch (stmt.kind) {
      case StmtKind::kOutput:
      case StmtKind::kCallBlock:
      case StmtKind::kFilterBlock:
        return load(stmt.expression, symbols);
      case StmtKind::kSet:
        load(stmt.expression, symbols);
        return store(*stmt.target, symbols, false);
      case StmtKind::kSetBlock:
        return store(*stmt.target, symbols, false);
      case StmtKind::kIf:
        return visit_if(stmt, symbols);
      case StmtKind::kFor:
        return load(stmt.loop->iterable, symbols);
      case StmtKind::kMacro:
        return symbols.store(stmt.macro->name);
      case StmtKind::kWith:
        for (const ExprPtr& value : stmt.values) load(value, symbols);
        return;
      default:
        return;
    }
  }
  static void visit_if(const Stmt& stmt, Symbols& symbols) {
    load(stmt.branches[0].test, symbols);
    std::vector<Symbols> branches(3, symbols);
    visit(stmt.branches[0].body, branches[0]);
    for (size_t i = 1; i < stmt.branches.size(); ++i) {
      load(stmt.branches[i].test, branches[1]);
      std::vector<Symbols> inner(1, branches[1]);
      visit(stmt.branches[i].body, inner[0]);
      inner.push_back(branches[1]);
      branches[1].join(inner);
    }
    visit(stmt.otherwise, branches[2]);
    symbols.join(branches);
  }

  // --- references, scope by scope ---
  void write(const Symbols& symbols, Scope& scope) {
    symbols.write(scope);
    for (const Load& load : scope.loads) {
      if (load.from == Load::From::kInput) inputs_.insert(load.name);
    }
  }
  void refer(const ExprPtr& node, const Symbols& symbols, bool soft) {
    if (!node) return;
    if (node->kind == ExprKind::kName || node->kind == ExprKind::kNamespaceRef) {
      node->variable = symbols.find(node->name).value_or(Reference{});
      if (node->variable.slot < 0) inputs_.insert(node->name);
    }
    if (!soft && node->kind == ExprKind::kFilter && !has_filter(node->name)) {
      throw TemplateError(Fault::kSyntax, "No filter named '" + node->name + "'.", node->line,
                          source_);
    }
    if (!soft && node->kind == ExprKind::kTest && !has_test(node->name)) {
      throw TemplateError(Fault::kSyntax, "No test named '" + node->name + "'.", node->line,
                          source_);
    }
    const bool inner_soft = soft || node->kind == ExprKind::kConditional;
    for (const ExprPtr& item : node->items) refer(item, symbols, inner_soft);
    for (const ExprPtr& item : node->arguments.positional) refer(item, symbols, inner_soft);
    for (const auto& [name, item] : node->arguments.named) refer(item, symbols, inner_soft);
    refer(node->arguments.spread, symbols, inner_soft);
    refer(node->arguments.spread_named, symbols, inner_soft);
  }

  void place(Block& body, const Symbols& symbols, bool soft) {
    for (Stmt& stmt : body) place(stmt, symbols, soft);
  }
  void place(Stmt& stmt, const Symbols& symbols, bool soft) {
    switch (stmt.kind) {
      case StmtKind::kIf:
        for (IfBranch& branch : stmt.branches) {
          refer(branch.test, symbols, true);
          place(branch.body, symbols, true);
        }
        return place(stmt.otherwise, symbols, true);
      case StmtKind::kFor:
        return place_loop(stmt, symbols, soft);
      case StmtKind::kMacro:
        stmt.variable = symbols.find(stmt.macro->name).value_or(Reference{});
        return place_macro(*stmt.macro, symbols, stmt.line);
      case StmtKind::kCallBlock:
        refer(stmt.expression, symbols, soft);
        return place_macro(*stmt.macro, symbols, stmt.line);
      case StmtKind::kGeneration:
        return place_macro(*stmt.macro, symbols, stmt.line);
      case StmtKind::kSetBlock:
      case StmtKind::kFilterBlock:
      case StmtKind::kWith:
        return place_inner(stmt, symbols, soft);
      default:
        check_target(stmt.target, stmt.line);
        refer(stmt.expression, symbols, soft);
        refer(stmt.target, symbols, soft);
    }
  }

  // set, filter and with have a body with a scope.
  void place_inner(Stmt& stmt, const Symbols& symbols, bool soft) {
    Symbols inner(&symbols);
    for (const ExprPtr& target : stmt.targets) store(*target, inner, true);
    visit(stmt.body, inner);
    if (stmt.kind == StmtKind::kFilterBlock) load(stmt.expression, inner);
    refer(stmt.expression, inner, false);
    for (const ExprPtr& target : stmt.targets) refer(target, inner, false);
    for (const ExprPtr& value : stmt.values) refer(value, symbols, soft);
    check_target(stmt.target, stmt.line);
    refer(stmt.target, symbols, soft);
    place(stmt.body, inner, false);
    write(inner, stmt.scope);
  }

  void place_loop(Stmt& stmt, const Symbols& symbols, bool soft) {
    ForParts& loop = *stmt.loop;
    ++loops_;
    check_target(loop.target, stmt.line);
    Symbols inner(&symbols);
    if (loop.recursive || Undeclared({"loop"}).in(loop.body).contains("loop")) {
      loop.loop = inner.parameter("loop");
    }
    store(*loop.target, inner, true);
    visit(loop.body, inner);
    refer(loop.iterable, symbols, soft);
    refer(loop.target, inner, false);
    place(loop.body, inner, false);
    write(inner, loop.scope);
    if (loop.test) {
      Symbols test(&symbols);
      store(*loop.test_target, test, true);
      load(loop.test, test);
      refer(loop.test_target, test, false);
      refer(loop.test, test, false);
      write(test, loop.test_scope);
    }
    Symbols otherwise(&symbols);
    visit(loop.otherwise, otherwise);
    place(loop.otherwise, otherwise, false);
    write(otherwise, loop.else_scope);
    --loops_;
  }

  void place_macro(MacroParts& macro, const Symbols& symbols, int line) {
    Symbols inner(&symbols);
    for (const std::string& name : macro.parameters) macro.slots.push_back(inner.parameter(name));
    for (const ExprPtr& value : macro.defaults) load(value, inner);
    visit(macro.body, inner);
    const auto used = Undeclared({"caller", "kwargs", "varargs"}).in(macro.body);
    const auto listed = [&](const char* name) {
      return std::find(macro.parameters.begin(), macro.parameters.end(), name) !=
             macro.parameters.end();
    };
    macro.explicit_caller = listed("caller");
    if (used.contains("caller")) {
      if (!macro.explicit_caller) {
        macro.caller = inner.parameter("caller");
      } else {
        const size_t at = static_cast<size_t>(
            std::find(macro.parameters.begin(), macro.parameters.end(), "caller") -
            macro.parameters.begin());
        if (macro.parameters.size() - at > macro.defaults.size()) {
          throw TemplateError(Fault::kSyntax,
                              "When defining macros or call blocks the special \"caller\" argument "
                              "must be omitted or be given a default.",
                              line, source_);
        }
      }
    }
    if (used.contains("kwargs") && !listed("kwargs")) macro.kwargs = inner.parameter("kwargs");
    if (used.contains("varargs") && !listed("varargs")) macro.varargs = inner.parameter("varargs");
    for (const ExprPtr& value : macro.defaults) refer(value, inner, false);
    place(macro.body, inner, false);
    write(inner, macro.scope);
  }

  // A loop's own variable cannot be set inside it.
  void check_target(const ExprPtr& target, int line) const {
    if (!target || loops_ == 0) return;
    if (target->kind == ExprKind::kName && target->name == "loop") {
      throw TemplateError(Fault::kSyntax,
                          "Can't assign to special loop variable in for-loop target", line,
                          source_);
    }
    for (const ExprPtr& item : target->items) check_target(item, line);
  }

  const std::string& source_;
  int loops_ = 0;
  std::set<std::string> inputs_;
};

}  // namespace

void place_variables(Tree& tree, const std::string& source) { Placer(source).run(tree); }

}  // namespace zeroth::jinja
