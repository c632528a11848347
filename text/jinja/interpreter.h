// Runs a tree: scopes, loops and macros as the Python that Jinja generates has them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/runtime.h"
#include "text/jinja/template.h"

namespace zeroth::jinja {

// The variables of one scope while it runs.
struct Frame : Object {
  Frame(Memory* memory, std::shared_ptr<Frame> around, const Scope& scope)
      : Object(memory, sizeof(Frame) + static_cast<size_t>(scope.slots) * sizeof(Value)),
        outer(std::move(around)),
        slots(static_cast<size_t>(scope.slots), Value::missing()) {}
  std::shared_ptr<Frame> outer;
  std::vector<Value> slots;
  bool kept = false;  // by a macro
};
using FramePtr = std::shared_ptr<Frame>;

class Interpreter : public Runtime {
 public:
  Interpreter(const std::string& source, const Json& variables, const DateTime& now,
              const Limits& limits);
  ~Interpreter() override;

  std::string run(const Tree& tree);
  const std::vector<GenerationSpan>& spans() const { return spans_; }

 private:
  enum class Flow { kNext, kBreak, kContinue };
  class Buffer;
  struct Macro;
  struct Loop;

  // --- statements ---
  Flow execute(const Block& body, const FramePtr& frame, Buffer& out);
  Flow execute(const Stmt& stmt, const FramePtr& frame, Buffer& out);
  Flow branch(const Stmt& stmt, const FramePtr& frame, Buffer& out);
  Flow for_statement(const Stmt& stmt, const FramePtr& frame, Buffer& out);
  Flow set_block(const Stmt& stmt, const FramePtr& frame);
  Flow filter_block(const Stmt& stmt, const FramePtr& frame, Buffer& out);
  Flow with(const Stmt& stmt, const FramePtr& frame, Buffer& out);
  void call_block(const Stmt& stmt, const FramePtr& frame, Buffer& out);
  void generation(const Stmt& stmt, const FramePtr& frame, Buffer& out);
  Flow run_loop(const ForParts& parts, const FramePtr& frame, const Value& iterable, int depth,
                Buffer& out);
  Value filtered(const ForParts& parts, const FramePtr& frame, const Value& iterable);
  std::string run_macro(const Value& macro, Arguments& arguments);
  void assign(const Expr& target, const FramePtr& frame, const Value& value);
  void check_namespaces(const Expr& target, const FramePtr& frame);
  Value make_macro(const MacroParts& parts, const FramePtr& frame);
  void enter(const Scope& scope, const FramePtr& frame);
  void write(Buffer& out, std::string_view text);

  // A macro or recursive loop that runs. Too many at a time are a RecursionError.
  class Call {
   public:
    explicit Call(Interpreter& interpreter);
    ~Call() { --calls_; }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    int& calls_;
  };

  // --- expressions ---
  Value evaluate(const Expr& node, const FramePtr& frame);
  Value name_value(const Expr& node, const FramePtr& frame);
  Value compare_chain(const Expr& node, const FramePtr& frame);
  Value item_or_slice(const Expr& node, const FramePtr& frame);
  Value call_value(const Expr& node, const FramePtr& frame, const Value* caller);
  Value apply_filter(const Expr& node, const FramePtr& frame, const Value* subject);
  Arguments evaluate_arguments(const CallArguments& arguments, const FramePtr& frame);
  std::vector<Value> evaluate_all(const std::vector<ExprPtr>& nodes, const FramePtr& frame);
  Value input(const std::string& name);
  Value from_json(const Json& json);

  // --- Runtime ---
  Value call_macro(const Value& macro, Arguments& arguments) override;
  Value call_loop(const Value& loop, Arguments& arguments) override;
  Value loop_attribute(const Value& loop, const std::string& name) override;
  Value macro_attribute(const Value& macro, const std::string& name) override;
  std::string special_text(const Value& value) override;

  std::string source_;
  DateTime now_;
  std::map<std::string, Value> inputs_;
  std::vector<FramePtr> kept_;  // frames that macros hold; rings of them are cut at the end
  std::vector<GenerationSpan> spans_;
  Buffer* root_ = nullptr;
  size_t buffered_ = 0;  // bytes of all buffers
  int calls_ = 0;        // macros and recursive loops that run, see Call
};

}  // namespace zeroth::jinja
