#include <utility>

#include "kernels/host_calls.h"
#include "kernels/operators.h"

namespace zeroth::kernels {
namespace {

class CpuOperators final : public Operators {
 public:
  std::string name() const override { return "cpu"; }
  bool in_slices() const override { return true; }

#define ZEROTH_OPERATOR(result, name, parameters, arguments, writes)                      \
  result name parameters const override {                                                 \
    const auto call = [](auto&&... a) -> result { return kernels::name(on_host(a)...); }; \
    return call arguments;                                                                \
  }
#include "kernels/operator_list.inc"
#undef ZEROTH_OPERATOR
};

// The CPU's by one instruction set, which is set for the time of every call.
class IsaOperators final : public Operators {
 public:
  explicit IsaOperators(std::string isa) : isa_(std::move(isa)) { const Use use(isa_); }
  std::string name() const override { return isa_; }

#define ZEROTH_OPERATOR(result, name, parameters, arguments, writes) \
  result name parameters const override {                            \
    const Use use(isa_);                                             \
    return cpu_operators().name arguments;                           \
  }
#include "kernels/operator_list.inc"
#undef ZEROTH_OPERATOR

 private:
  struct Use {
    const std::string before = isa();
    explicit Use(const std::string& name) { set_isa(name); }
    ~Use() { set_isa(before); }
  };

  const std::string isa_;
};

}  // namespace

const Operators& cpu_operators() {
  static const CpuOperators operators;
  return operators;
}

std::unique_ptr<const Operators> cpu_operators(const std::string& isa) {
  return std::make_unique<IsaOperators>(isa);
}

}  // namespace zeroth::kernels
