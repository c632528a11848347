// Expressions.
#include "text/jinja/error.h"
#include "text/jinja/interpreter_parts.h"
#include "text/jinja/python_text.h"

namespace zeroth::jinja {

Value Interpreter::evaluate(const Expr& node, const FramePtr& frame) {
  const Deeper deeper(*this);
  spend(0);
  switch (node.kind) {
    case ExprKind::kConstant:
      return node.constant;
    case ExprKind::kName:
    case ExprKind::kNamespaceRef:
      return name_value(node, frame);
    case ExprKind::kTuple:
      return tuple(evaluate_all(node.items, frame));
    case ExprKind::kList:
      return list(evaluate_all(node.items, frame));
    case ExprKind::kDict: {
      const std::vector<Value> flat = evaluate_all(node.items, frame);
      std::vector<std::pair<Value, Value>> items;
      for (size_t i = 0; i < flat.size(); i += 2) items.emplace_back(flat[i], flat[i + 1]);
      return dict(std::move(items));
    }
    case ExprKind::kAttribute:
      return attribute(evaluate(*node.items[0], frame), node.name);
    case ExprKind::kItem:
      return item_or_slice(node, frame);
    case ExprKind::kSlice:
      fail_unsupported("a slice inside a tuple of indices");
    case ExprKind::kCall:
      return call_value(node, frame, nullptr);
    case ExprKind::kFilter:
      return apply_filter(node, frame, nullptr);
    case ExprKind::kTest: {
      const Value subject = evaluate(*node.items[0], frame);
      Arguments arguments = evaluate_arguments(node.arguments, frame);
      return Value(test(node.name, subject, arguments));
    }
    case ExprKind::kNot:
      return Value(!truth(evaluate(*node.items[0], frame)));
    case ExprKind::kAnd:
    case ExprKind::kOr: {
      Value left = evaluate(*node.items[0], frame);
      const bool decided = truth(left) == (node.kind == ExprKind::kOr);
      return decided ? left : evaluate(*node.items[1], frame);
    }
    case ExprKind::kConditional:
      if (truth(evaluate(*node.items[0], frame))) return evaluate(*node.items[1], frame);
      if (node.items[2]) return evaluate(*node.items[2], frame);
      return undefined("the inline if-expression on line " + std::to_string(node.line) +
                       " evaluated to false and no else section was defined.");
    case ExprKind::kCompare:
      return compare_chain(node, frame);
    case ExprKind::kConcat: {
      std::string out;
      for (const ExprPtr& item : node.items) {
        out += str(evaluate(*item, frame));
        if (out.size() > text_room()) fail_as(Fault::kLimit, "a text grows too long");
      }
      return text(std::move(out));
    }
    case ExprKind::kBinary: {
      const Value left = evaluate(*node.items[0], frame);
      return binary(node.name, left, evaluate(*node.items[1], frame));
    }
    case ExprKind::kNegative:
      return negated(evaluate(*node.items[0], frame));
    case ExprKind::kPositive: {
      const Value value = evaluate(*node.items[0], frame);
      if (value.is_whole()) return Value(value.whole());
      if (value.is(Type::kFloat)) return value;
      negated(value);  // says what is wrong
      return value;
    }
  }
  return {};
}

Value Interpreter::name_value(const Expr& node, const FramePtr& frame) {
  Value value;
  if (node.variable.slot < 0) {
    value = input(node.name);
  } else {
    const Frame* home = frame.get();
    for (int i = 0; i < node.variable.hops; ++i) home = home->outer.get();
    value = home->slots[static_cast<size_t>(node.variable.slot)];
  }
  return value.is(Type::kMissing) ? undefined_name(node.name) : value;
}

Value Interpreter::compare_chain(const Expr& node, const FramePtr& frame) {
  Value left = evaluate(*node.items[0], frame);
  for (size_t i = 0; i < node.operators.size(); ++i) {
    const Value right = evaluate(*node.items[i + 1], frame);
    if (!compare(node.operators[i], left, right)) return Value(false);
    left = right;
  }
  return Value(true);
}

Value Interpreter::item_or_slice(const Expr& node, const FramePtr& frame) {
  const Value object = evaluate(*node.items[0], frame);
  const Expr& key = *node.items[1];
  if (key.kind != ExprKind::kSlice) return item(object, evaluate(key, frame));
  const auto part = [&](size_t i) {
    return key.items[i] ? evaluate(*key.items[i], frame) : Value();
  };
  const Value begin = part(0);
  const Value end = part(1);
  return slice(object, begin, end, part(2));
}

std::vector<Value> Interpreter::evaluate_all(const std::vector<ExprPtr>& nodes,
                                             const FramePtr& frame) {
  std::vector<Value> out;
  out.reserve(nodes.size());
  for (const ExprPtr& node : nodes) out.push_back(evaluate(*node, frame));
  return out;
}

Arguments Interpreter::evaluate_arguments(const CallArguments& nodes, const FramePtr& frame) {
  Arguments out;
  out.positional = evaluate_all(nodes.positional, frame);
  for (const auto& [name, node] : nodes.named) out.named.emplace_back(name, evaluate(*node, frame));
  if (nodes.spread) {
    for (Value& item : items_of(evaluate(*nodes.spread, frame))) {
      out.positional.push_back(std::move(item));
    }
  }
  if (!nodes.spread_named) return out;
  const Value named = evaluate(*nodes.spread_named, frame);
  if (!named.is(Type::kDict)) fail_runtime("argument after ** must be a mapping");
  for (const auto& [key, value] : named.mapping().items) {
    const std::string& name = text_argument(key, "**");
    for (const auto& [known, other] : out.named) {
      if (known == name)
        fail_runtime("got multiple values for keyword argument " + repr_text(name));
    }
    out.named.emplace_back(name, value);
  }
  return out;
}

Value Interpreter::call_value(const Expr& node, const FramePtr& frame, const Value* caller) {
  const Value function = evaluate(*node.items[0], frame);
  Arguments arguments = evaluate_arguments(node.arguments, frame);
  if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
  return call(function, arguments);
}

// In filter blocks the innermost of a chain has the body as its subject.
Value Interpreter::apply_filter(const Expr& node, const FramePtr& frame, const Value* subject) {
  Value value;
  if (!node.items[0]) {
    value = *subject;
  } else if (subject != nullptr && node.items[0]->kind == ExprKind::kFilter) {
    value = apply_filter(*node.items[0], frame, subject);
  } else {
    value = evaluate(*node.items[0], frame);
  }
  Arguments arguments = evaluate_arguments(node.arguments, frame);
  return filter(node.name, value, arguments);
}

}  // namespace zeroth::jinja
