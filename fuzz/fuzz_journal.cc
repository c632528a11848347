// The journal of a run: a line as it is, and one whose chain is right and whose content is anything.
// What is read must be written again as the same line.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/error.h"
#include "core/sha256.h"
#include "fuzz/cpu_limit.h"
#include "rl/journal.h"

using namespace zeroth;

namespace {

void read_line(const std::string& line) {
  std::string chain, again;
  try {
    const JournalStep step = parse_journal_line(line, -1, chain);
    std::string written;
    const std::string text = journal_line(step, written);
    if (!(parse_journal_line(text, step.step, again) == step)) std::abort();
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const CpuLimit limit(5);
  std::string bytes(reinterpret_cast<const char*>(data), size);
  read_line(bytes);
  if (!bytes.empty() && bytes.back() == '}') bytes.pop_back();
  Sha256 hash;
  hash.update(bytes);
  read_line(bytes + ",\"chain\":\"" + hash.hex() + "\"}");
  return 0;
}
