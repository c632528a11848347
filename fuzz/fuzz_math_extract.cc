// Any bytes as a completion, in every answer format: no crash, no sanitizer report, no case over
// 100 ms of CPU time, sanitizers included.
#include <cstdint>
#include <string>

#include "fuzz/cpu_limit.h"
#include "rewards/math/math_grader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  zeroth::MathOptions options;
  options.format = static_cast<zeroth::AnswerFormat>(data[0] % 3);
  if (data[0] & 4) options.targets = {zeroth::MathTarget{}};
  if (data[0] & 8) {
    zeroth::MathTarget target;
    target.kind =
        data[0] & 16 ? zeroth::MathTarget::Kind::kExpr : zeroth::MathTarget::Kind::kString;
    options.targets.push_back(target);
  }
  const std::string completion(reinterpret_cast<const char*>(data + 1), size - 1);
  {
    const zeroth::CpuLimit limit(0.1);
    const zeroth::MathVerdict verdict = zeroth::grade_math("42", completion, options);
    if (verdict.extracted.size() > 4096) __builtin_trap();
  }
  const zeroth::CpuLimit limit(0.1);
  (void)zeroth::grade_math(completion, completion, options);
  return 0;
}
