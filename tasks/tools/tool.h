// What a policy can call in the middle of its response.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rewards/sandbox/sandbox_pool.h"

namespace zeroth {

struct ToolAnswer {
  std::string text;     // valid UTF-8; what went wrong when it failed
  bool failed = false;  // the call was none, or came to nothing
  std::string fault;    // not empty: the tool itself broke down, and says nothing about the call
  std::string detail = {};  // of the fault
};

// Const methods are thread safe, never throw on what the policy wrote, and are bounded in time.
class Tool {
 public:
  virtual ~Tool() = default;
  virtual std::string name() const = 0;
  // One answer each, in order.
  virtual std::vector<ToolAnswer> answer(std::span<const std::string_view> calls) const = 0;
};

// Evaluates an expression of integers, + - * / and parentheses exactly (rewards/expression.h): "7" or
// "7/2".
std::unique_ptr<Tool> make_calculator();

struct PythonToolOptions {
  double time_limit = 5;
  int memory_mb = 256;
  int max_output = 4096;  // bytes
};
// Runs a program in the sandbox (rewards/sandbox/sandbox.h), each call in a fresh one, and gives what it
// printed; for a program that fails also the last line of its error, for one that runs out of time
// or memory a line that says so. The pool must outlive it.
std::unique_ptr<Tool> make_python_tool(SandboxPool& pool, const PythonToolOptions& options);

}  // namespace zeroth
