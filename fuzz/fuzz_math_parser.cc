// Any bytes as gold and as boxed answer: no crash, no sanitizer report, no case over 100 ms of
// CPU time, sanitizers included.
#include <cstdint>
#include <string>

#include "fuzz/cpu_limit.h"
#include "rewards/math/math_grader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const size_t cut = text.find('\n');
  const std::string gold = text.substr(0, cut);
  const std::string pred = cut == std::string::npos ? gold : text.substr(cut + 1);
  const zeroth::CpuLimit limit(0.1);
  const zeroth::MathVerdict verdict = zeroth::grade_math(gold, "\\boxed{" + pred + "}");
  if (verdict.score != 0 && verdict.score != 1) __builtin_trap();
  if ((verdict.score == 1) != (verdict.reason == zeroth::Reason::kCorrect)) __builtin_trap();
  return 0;
}
