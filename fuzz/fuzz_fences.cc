// The program in a response, whatever its bytes: no crash, nothing invented, linear.
#include <cstdint>
#include <string>

#include "fuzz/cpu_limit.h"
#include "tasks/builtin/code_extract.h"
#include "tasks/builtin/code_fences.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace zeroth;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  const CpuLimit limit(0.1);
  size_t total = 0;
  for (const FencedBlock& block : fenced_blocks(text)) total += block.text.size();
  // A line end may be added to each line.
  if (total > 2 * text.size() + 2) __builtin_trap();
  ProgramShape shape;
  if (data[0] & 1) shape.entry = "solve";
  if (data[0] & 2) shape.prompt = "def solve(x):\n";
  shape.program = (data[0] & 4) != 0;
  if (data[0] & 8) shape.language = "cpp";
  const FormatRules rules{(data[0] & 16) != 0, (data[0] & 32) != 0, (data[0] & 64) != 0};
  const std::string program = extract_program(text, rules, shape);
  if (program.size() > 3 * text.size() + shape.prompt.size() + 100) __builtin_trap();
  return 0;
}
