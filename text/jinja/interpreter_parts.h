// What the files of the interpreter share.
#pragma once

#include <optional>

#include "text/jinja/builtins.h"
#include "text/jinja/interpreter.h"

namespace zeroth::jinja {

// Text that is being written: the output, or the body of a macro or block.
class Interpreter::Buffer {
 public:
  explicit Buffer(Interpreter& interpreter) : interpreter_(interpreter) {}
  ~Buffer() { interpreter_.buffered_ -= std::min(interpreter_.buffered_, text.size()); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  std::string text;

 private:
  Interpreter& interpreter_;
};

struct Interpreter::Macro : Object {
  Macro(Memory* memory, const MacroParts& what, FramePtr where)
      : Object(memory, sizeof(Macro)), parts(what), frame(std::move(where)) {}
  const MacroParts& parts;
  FramePtr frame;
};

// The variable `loop` (jinja2.runtime.LoopContext).
struct Interpreter::Loop : Object {
  Loop(Memory* memory, Value what, Iterator::Next step, int depth)
      : Object(memory, sizeof(Loop)),
        iterable(std::move(what)),
        next(std::move(step)),
        depth0(depth) {}

  // The item behind the current one, looked at ahead; null: there is none.
  const Value* peek() {
    Value item;
    if (!after && next(item)) after = item;
    return after ? &*after : nullptr;
  }
  bool advance(Value& item) {
    if (after) {
      item = *after;
      after.reset();
    } else if (!next(item)) {
      return false;
    }
    ++index0;
    before = current;
    current = item;
    return true;
  }

  Value iterable;
  Iterator::Next next;
  std::optional<Value> after;
  Value current = Value::missing(), before = Value::missing();
  std::optional<std::vector<Value>> changed;
  std::optional<int64_t> length;
  int64_t index0 = -1;
  int depth0;
  // Of recursive loops: what loop(..) runs, and where.
  const ForParts* recursion = nullptr;
  FramePtr frame;
};

// strftime of Python for a date without time zone. Throws Failure kUnsupported for directives that
// depend on the machine.
std::string formatted_date(const DateTime& date, const std::string& format);

}  // namespace zeroth::jinja
