#include "text/jinja/interpreter.h"

#include <algorithm>

#include "text/jinja/error.h"
#include "text/jinja/interpreter_parts.h"
#include "text/jinja/python_text.h"

namespace zeroth::jinja {

Interpreter::Interpreter(const std::string& source, const Json& variables, const DateTime& now,
                         const Limits& limits)
    : Runtime(limits), source_(source), now_(now) {
  try {
    for (const auto& [name, value] : variables.items()) inputs_[name] = from_json(value);
  } catch (const Failure& failure) {
    throw TemplateError(failure.fault, failure.reason, 0, source_);
  }
}

Interpreter::~Interpreter() {
  std::vector<Value> contents;
  for (const FramePtr& first : kept_) {
    for (Frame* frame = first.get(); frame != nullptr; frame = frame->outer.get()) {
      std::move(frame->slots.begin(), frame->slots.end(), std::back_inserter(contents));
      frame->slots.clear();
    }
  }
}

std::string Interpreter::run(const Tree& tree) {
  Buffer out(*this);
  root_ = &out;
  const auto frame = std::make_shared<Frame>(memory(), nullptr, tree.scope);
  try {
    enter(tree.scope, frame);
    execute(tree.body, frame, out);
  } catch (const Failure& failure) {
    throw TemplateError(failure.fault, failure.reason, 0, source_);
  }
  return std::move(out.text);
}

void Interpreter::enter(const Scope& scope, const FramePtr& frame) {
  for (const Load& load : scope.loads) {
    Value& slot = frame->slots[static_cast<size_t>(load.slot)];
    switch (load.from) {
      case Load::From::kParameter:
        break;
      case Load::From::kNothing:
        slot = Value::missing();
        break;
      case Load::From::kInput:
        slot = input(load.name);
        break;
      case Load::From::kOuter: {
        const Frame* from = frame.get();
        for (int i = 0; i < load.outer.hops; ++i) from = from->outer.get();
        slot = from->slots[static_cast<size_t>(load.outer.slot)];
        break;
      }
    }
  }
}

void Interpreter::write(Buffer& out, std::string_view text) {
  spend_bytes(text.size());
  if (text.size() > limits_.output_bytes - buffered_) {
    fail_as(Fault::kLimit,
            "it writes more than " + std::to_string(limits_.output_bytes >> 20) + " MiB");
  }
  buffered_ += text.size();
  out.text += text;
}

Interpreter::Flow Interpreter::execute(const Block& body, const FramePtr& frame, Buffer& out) {
  const Deeper deeper(*this);
  for (const Stmt& stmt : body) {
    Flow flow = Flow::kNext;
    try {
      spend(0);
      flow = execute(stmt, frame, out);
    } catch (const Failure& failure) {
      throw TemplateError(failure.fault, failure.reason, stmt.line, source_);
    }
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::execute(const Stmt& stmt, const FramePtr& frame, Buffer& out) {
  switch (stmt.kind) {
    case StmtKind::kText:
      write(out, stmt.text.bytes());
      return Flow::kNext;
    case StmtKind::kOutput:
      write(out, str(evaluate(*stmt.expression, frame)));
      return Flow::kNext;
    case StmtKind::kSet:
      check_namespaces(*stmt.target, frame);
      assign(*stmt.target, frame, evaluate(*stmt.expression, frame));
      return Flow::kNext;
    case StmtKind::kSetBlock:
      return set_block(stmt, frame);
    case StmtKind::kIf:
      return branch(stmt, frame, out);
    case StmtKind::kFor:
      return for_statement(stmt, frame, out);
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
    case StmtKind::kMacro: {
      Frame* home = frame.get();
      for (int i = 0; i < stmt.variable.hops; ++i) home = home->outer.get();
      home->slots[static_cast<size_t>(stmt.variable.slot)] = make_macro(*stmt.macro, frame);
      return Flow::kNext;
    }
    case StmtKind::kCallBlock:
      call_block(stmt, frame, out);
      return Flow::kNext;
    case StmtKind::kFilterBlock:
      return filter_block(stmt, frame, out);
    case StmtKind::kWith:
      return with(stmt, frame, out);
    case StmtKind::kGeneration:
      generation(stmt, frame, out);
      return Flow::kNext;
    case StmtKind::kUnloadable:
      fail_runtime("no loader for this environment specified");
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::branch(const Stmt& stmt, const FramePtr& frame, Buffer& out) {
  for (const IfBranch& part : stmt.branches) {
    if (truth(evaluate(*part.test, frame))) return execute(part.body, frame, out);
  }
  return execute(stmt.otherwise, frame, out);
}

Interpreter::Flow Interpreter::set_block(const Stmt& stmt, const FramePtr& frame) {
  const auto inner = std::make_shared<Frame>(memory(), frame, stmt.scope);
  enter(stmt.scope, inner);
  Buffer body(*this);
  const Flow flow = execute(stmt.body, inner, body);
  if (flow != Flow::kNext) return flow;
  Value value = text(body.text);
  if (stmt.expression) value = apply_filter(*stmt.expression, inner, &value);
  check_namespaces(*stmt.target, frame);
  assign(*stmt.target, frame, value);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::filter_block(const Stmt& stmt, const FramePtr& frame, Buffer& out) {
  const auto inner = std::make_shared<Frame>(memory(), frame, stmt.scope);
  enter(stmt.scope, inner);
  Buffer body(*this);
  const Flow flow = execute(stmt.body, inner, body);
  if (flow != Flow::kNext) return flow;
  const Value value = text(body.text);
  write(out, str(apply_filter(*stmt.expression, inner, &value)));
  return Flow::kNext;
}

Interpreter::Flow Interpreter::with(const Stmt& stmt, const FramePtr& frame, Buffer& out) {
  const auto inner = std::make_shared<Frame>(memory(), frame, stmt.scope);
  enter(stmt.scope, inner);
  for (size_t i = 0; i < stmt.targets.size(); ++i) {
    assign(*stmt.targets[i], inner, evaluate(*stmt.values[i], frame));
  }
  return execute(stmt.body, inner, out);
}

void Interpreter::call_block(const Stmt& stmt, const FramePtr& frame, Buffer& out) {
  const Value caller = make_macro(*stmt.macro, frame);
  write(out, str(call_value(*stmt.expression, frame, &caller)));
}

void Interpreter::generation(const Stmt& stmt, const FramePtr& frame, Buffer& out) {
  Arguments none;
  const std::string body = run_macro(make_macro(*stmt.macro, frame), none);
  spend_bytes(root_->text.size());
  const int64_t begin = code_points(root_->text);
  spans_.push_back({begin, begin + code_points(body)});
  write(out, body);
}

// --- assignment ---

// Checked before the value is computed, as in the reference.
void Interpreter::check_namespaces(const Expr& target, const FramePtr& frame) {
  if (target.kind == ExprKind::kNamespaceRef) {
    if (!name_value(target, frame).is(Type::kNamespace)) {
      fail_runtime("cannot assign attribute on non-namespace object");
    }
  }
  for (const ExprPtr& item : target.items) check_namespaces(*item, frame);
}

void Interpreter::assign(const Expr& target, const FramePtr& frame, const Value& value) {
  if (target.kind == ExprKind::kNamespaceRef) {
    return set_attribute(name_value(target, frame), target.attribute, value);
  }
  if (target.kind == ExprKind::kName) {
    Frame* home = frame.get();
    for (int i = 0; i < target.variable.hops; ++i) home = home->outer.get();
    home->slots[static_cast<size_t>(target.variable.slot)] = value;
    return;
  }
  const std::vector<Value> parts = items_of(value);
  if (parts.size() != target.items.size()) {
    fail_runtime((parts.size() > target.items.size() ? "too many" : "not enough") +
                 std::string(" values to unpack (expected ") + std::to_string(target.items.size()) +
                 ")");
  }
  for (size_t i = 0; i < parts.size(); ++i) assign(*target.items[i], frame, parts[i]);
}

// --- the input of the template ---

Value Interpreter::input(const std::string& name) {
  const auto at = inputs_.find(name);
  if (at != inputs_.end()) return at->second;
  Value made = global_function(*this, name);
  if (name == "strftime_now") {
    made = function(name, [now = now_](Runtime& runtime, Arguments& arguments) {
      const auto args = bound(arguments, "strftime_now", {"format"}, 1);
      return runtime.text(formatted_date(now, text_argument(*args[0], "strftime_now")));
    });
  }
  inputs_[name] = made;
  return made;
}

Value Interpreter::from_json(const Json& json) {
  const Deeper deeper(*this);
  switch (json.type()) {
    case Json::value_t::boolean:
      return Value(json.get<bool>());
    case Json::value_t::number_integer:
      return Value(static_cast<Int>(json.get<int64_t>()));
    case Json::value_t::number_unsigned:
      return Value(static_cast<Int>(json.get<uint64_t>()));
    case Json::value_t::number_float:
      return Value(json.get<double>());
    case Json::value_t::string: {
      const auto& bytes = json.get_ref<const std::string&>();
      if (!is_valid_utf8(bytes)) fail_runtime("a text of the conversation is not valid UTF-8");
      return text(bytes);
    }
    case Json::value_t::array: {
      std::vector<Value> items;
      for (const Json& item : json) items.push_back(from_json(item));
      return list(std::move(items));
    }
    case Json::value_t::object: {
      std::vector<std::pair<Value, Value>> items;
      for (const auto& [key, value] : json.items()) {
        if (!is_valid_utf8(key)) fail_runtime("a key of the conversation is not valid UTF-8");
        items.emplace_back(text(key), from_json(value));
      }
      return dict(std::move(items));
    }
    default:
      return {};
  }
}

}  // namespace zeroth::jinja
