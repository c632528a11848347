#include "core/ascii.h"
#include "rewards/expression.h"
#include "tasks/tools/tool.h"

namespace zeroth {
namespace {

class Calculator : public Tool {
 public:
  std::string name() const override { return "calculator"; }
  std::vector<ToolAnswer> answer(std::span<const std::string_view> calls) const override {
    std::vector<ToolAnswer> out;
    for (const std::string_view call : calls) {
      const Expression expression = evaluate_expression(ascii::trim(call));
      ToolAnswer& answer = out.emplace_back();
      answer.failed = !expression.ok();
      answer.text = expression.ok() ? to_string(expression.value) : "error: " + expression.error;
    }
    return out;
  }
};

}  // namespace

std::unique_ptr<Tool> make_calculator() { return std::make_unique<Calculator>(); }

}  // namespace zeroth
