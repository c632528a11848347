// Loops and macros.
#include <algorithm>

#include "text/jinja/error.h"
#include "text/jinja/interpreter_parts.h"
#include "text/jinja/python_text.h"

namespace zeroth::jinja {

Interpreter::Flow Interpreter::for_statement(const Stmt& stmt, const FramePtr& frame, Buffer& out) {
  const Value iterable = evaluate(*stmt.loop->iterable, frame);
  if (!stmt.loop->recursive) return run_loop(*stmt.loop, frame, iterable, 0, out);
  Buffer body(*this);
  run_loop(*stmt.loop, frame, iterable, 0, body);
  write(out, body.text);
  return Flow::kNext;
}

// The items that pass the loop's test, which is asked when the loop comes to them.
Value Interpreter::filtered(const ForParts& parts, const FramePtr& frame, const Value& iterable) {
  FramePtr inner;
  return iterator([this, &parts, frame, inner, next = iterate(iterable)](Value& item) mutable {
    if (!inner) {
      inner = std::make_shared<Frame>(memory(), frame, parts.test_scope);
      enter(parts.test_scope, inner);
    }
    while (next(item)) {
      spend(0);
      assign(*parts.test_target, inner, item);
      if (truth(evaluate(*parts.test, inner))) return true;
    }
    return false;
  });
}

Interpreter::Flow Interpreter::run_loop(const ForParts& parts, const FramePtr& frame,
                                        const Value& iterable, int depth, Buffer& out) {
  const Value items = parts.test ? filtered(parts, frame, iterable) : iterable;
  const auto loop = std::make_shared<Loop>(memory(), items, iterate(items), depth);
  if (parts.recursive) {
    loop->recursion = &parts;
    loop->frame = frame;
  }
  const auto inner = std::make_shared<Frame>(memory(), frame, parts.scope);
  bool finished_one = false;  // a body that ran to its end
  for (Value item; loop->advance(item);) {
    spend(1);
    assign(*parts.target, inner, item);
    if (parts.loop >= 0) inner->slots[static_cast<size_t>(parts.loop)] = Value(Type::kLoop, loop);
    enter(parts.scope, inner);
    const Flow flow = execute(parts.body, inner, out);
    if (flow == Flow::kBreak) break;
    finished_one = finished_one || flow == Flow::kNext;
  }
  // The loop's variable may hold the loop, which may hold its frame.
  if (!inner->kept) inner->slots.clear();
  if (finished_one || parts.otherwise.empty()) return Flow::kNext;
  const auto last = std::make_shared<Frame>(memory(), frame, parts.else_scope);
  enter(parts.else_scope, last);
  return execute(parts.otherwise, last, out);
}

Interpreter::Call::Call(Interpreter& interpreter) : calls_(interpreter.calls_) {
  if (calls_ >= interpreter.limits_.macro_depth)
    fail_as(Fault::kRecursion, "maximum recursion depth exceeded");
  ++calls_;
}

Value Interpreter::call_loop(const Value& loop, Arguments& arguments) {
  const auto args = bound(arguments, "loop", {"iterable"}, 1);
  const auto& self = loop.as<Loop>();
  if (self.recursion == nullptr) {
    fail_runtime("The loop must have the 'recursive' marker to be called recursively.");
  }
  const Call call(*this);
  Buffer body(*this);
  run_loop(*self.recursion, self.frame, *args[0], self.depth0 + 1, body);
  return text(body.text);
}

Value Interpreter::loop_attribute(const Value& value, const std::string& name) {
  auto& loop = value.as<Loop>();
  const auto length = [&]() -> int64_t {
    if (!loop.length && has_length(loop.iterable)) loop.length = Runtime::length(loop.iterable);
    if (!loop.length) {
      std::vector<Value> rest;
      for (Value item; loop.next(item);) {
        spend(0);
        rest.push_back(item);
      }
      loop.length = static_cast<int64_t>(rest.size()) + loop.index0 + 1 + (loop.after ? 1 : 0);
      loop.next = iterate(list(std::move(rest)));
    }
    return *loop.length;
  };
  if (name == "index") return Value::integer(loop.index0 + 1);
  if (name == "index0") return Value::integer(loop.index0);
  if (name == "first") return Value(loop.index0 == 0);
  if (name == "last") return Value(loop.peek() == nullptr);
  if (name == "length") return Value::integer(length());
  if (name == "revindex") return Value::integer(length() - loop.index0);
  if (name == "revindex0") return Value::integer(length() - loop.index0 - 1);
  if (name == "depth") return Value::integer(loop.depth0 + 1);
  if (name == "depth0") return Value::integer(loop.depth0);
  if (name == "previtem") {
    return loop.index0 == 0 ? undefined("there is no previous item") : loop.before;
  }
  if (name == "nextitem") {
    const Value* next = loop.peek();
    return next != nullptr ? *next : undefined("there is no next item");
  }
  if (name == "cycle") {
    return function(name, [value](Runtime&, Arguments& arguments) {
      if (!arguments.named.empty()) fail_runtime("cycle() takes no keyword arguments");
      if (arguments.positional.empty()) fail_runtime("no items for cycling given");
      const auto at = static_cast<size_t>(value.as<Loop>().index0);
      return arguments.positional[at % arguments.positional.size()];
    });
  }
  if (name == "changed") {
    return function(name, [value](Runtime& runtime, Arguments& arguments) {
      auto& last = value.as<Loop>().changed;
      const auto& now = arguments.positional;
      const bool equal =
          last && last->size() == now.size() &&
          std::equal(now.begin(), now.end(), last->begin(),
                     [&](const Value& a, const Value& b) { return runtime.equal(a, b); });
      last = now;
      return Value(!equal);
    });
  }
  return undefined("'jinja2.runtime.LoopContext object' has no attribute " + repr_text(name));
}

// --- macros ---

Value Interpreter::make_macro(const MacroParts& parts, const FramePtr& frame) {
  for (Frame* at = frame.get(); at != nullptr && !at->kept; at = at->outer.get()) {
    at->kept = true;
    if (at == frame.get()) kept_.push_back(frame);
  }
  return {Type::kMacro, std::make_shared<Macro>(memory(), parts, frame)};
}

Value Interpreter::macro_attribute(const Value& value, const std::string& name) {
  const MacroParts& parts = value.as<Macro>().parts;
  if (name == "name") return text(parts.name);
  if (name == "arguments") {
    std::vector<Value> names;
    for (const std::string& parameter : parts.parameters) names.push_back(text(parameter));
    return tuple(std::move(names));
  }
  if (name == "catch_kwargs") return Value(parts.kwargs >= 0);
  if (name == "catch_varargs") return Value(parts.varargs >= 0);
  if (name == "caller") return Value(parts.caller >= 0);
  return undefined("'jinja2.runtime.Macro object' has no attribute " + repr_text(name));
}

Value Interpreter::call_macro(const Value& macro, Arguments& arguments) {
  return text(run_macro(macro, arguments));
}

namespace {

// Takes a named argument out; false: it is not there.
bool take_named(Arguments& arguments, const std::string& name, Value& value) {
  const auto at = std::find_if(arguments.named.begin(), arguments.named.end(),
                               [&](const auto& pair) { return pair.first == name; });
  if (at == arguments.named.end()) return false;
  value = at->second;
  arguments.named.erase(at);
  return true;
}

}  // namespace

std::string Interpreter::run_macro(const Value& value, Arguments& arguments) {
  const Call call(*this);
  const Value kept = value;
  const auto& macro = kept.as<Macro>();
  const MacroParts& parts = macro.parts;
  const auto frame = std::make_shared<Frame>(memory(), macro.frame, parts.scope);
  const auto slot = [&](int at) -> Value& { return frame->slots[static_cast<size_t>(at)]; };

  const size_t count = parts.parameters.size();
  for (size_t i = 0; i < count; ++i) {
    Value& place = slot(parts.slots[i]);
    if (i < arguments.positional.size()) {
      place = arguments.positional[i];
    } else {
      take_named(arguments, parts.parameters[i], place);
    }
  }
  if (parts.caller >= 0 && !take_named(arguments, "caller", slot(parts.caller))) {
    slot(parts.caller) = undefined("No caller defined");
  }
  if (parts.kwargs >= 0) {
    std::vector<std::pair<Value, Value>> rest;
    for (const auto& [name, content] : arguments.named) rest.emplace_back(text(name), content);
    slot(parts.kwargs) = dict(std::move(rest));
  } else if (!arguments.named.empty()) {
    fail_runtime("macro " + repr_text(parts.name) + " takes no keyword argument " +
                 repr_text(arguments.named[0].first));
  }
  if (parts.varargs >= 0) {
    const auto begin = arguments.positional.begin();
    const size_t used = std::min(count, arguments.positional.size());
    slot(parts.varargs) = tuple({begin + static_cast<int64_t>(used), arguments.positional.end()});
  } else if (arguments.positional.size() > count) {
    fail_runtime("macro " + repr_text(parts.name) + " takes not more than " +
                 std::to_string(count) + " argument(s)");
  }
  enter(parts.scope, frame);
  for (size_t i = 0; i < count; ++i) {
    Value& place = slot(parts.slots[i]);
    if (!place.is(Type::kMissing)) continue;
    const size_t without = count - parts.defaults.size();
    place = i < without
                ? undefined("parameter " + repr_text(parts.parameters[i]) + " was not provided")
                : evaluate(*parts.defaults[i - without], frame);
  }
  Buffer body(*this);
  execute(parts.body, frame, body);
  if (!frame->kept) frame->slots.clear();
  return body.text;
}

std::string Interpreter::special_text(const Value& value) {
  if (value.is(Type::kMacro)) return "<Macro " + repr_text(value.as<Macro>().parts.name) + ">";
  return "<LoopContext " + std::to_string(value.as<Loop>().index0 + 1) + "/" +
         std::to_string(Runtime::length(value)) + ">";
}

}  // namespace zeroth::jinja
